//! The sending half from inside: order, identifiers, what is sent again.

use mqtt_codec::PacketId;

use super::*;

fn with(messages: &[(QoS, u64)]) -> Outbound<char> {
    let mut outbound = Outbound::new();
    for (qos, tag) in messages {
        outbound.enqueue(*qos, 'm', *tag, 10, 0);
    }
    outbound
}

fn tag_of(outbound: &Outbound<char>, turn: Turn) -> u64 {
    match turn {
        Turn::AtMostOnce => outbound.qos0.front().unwrap().tag,
        Turn::Counted(place) => outbound.flows.get(place).unwrap().tag,
    }
}

fn puback(outbound: &mut Outbound<char>, id: PacketId) -> Result<u64, Mismatch> {
    outbound.handle_puback(id, |_| {}).map(|ended| ended.tag)
}

fn pubrec(
    outbound: &mut Outbound<char>,
    id: PacketId,
    refused: bool,
) -> Result<Received, Mismatch> {
    outbound.handle_pubrec(id, refused, |_| {})
}

/// Sends all that may go; answers (tag, identifier or 0, DUP).
fn send_all(outbound: &mut Outbound<char>, quota: &mut u16) -> Vec<(u64, u16, bool)> {
    let mut sent = Vec::new();
    while let Some(turn) = outbound.next(*quota > 0) {
        let delivery = outbound.look(turn).unwrap().delivery;
        sent.push((
            tag_of(outbound, turn),
            delivery.id().map_or(0, PacketId::get),
            delivery.dup(),
        ));
        *quota = quota.saturating_sub(u16::from(delivery.id().is_some()));
        match turn {
            Turn::AtMostOnce => outbound.finish_qos0(|_, _| {}),
            Turn::Counted(place) => assert_eq!(outbound.sent(place), delivery.dup()),
        }
    }
    sent
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

#[test]
fn sends_in_the_order_of_publishing_across_qos() {
    let mut outbound = with(&[
        (QoS::AtLeastOnce, 1),
        (QoS::AtMostOnce, 2),
        (QoS::ExactlyOnce, 3),
        (QoS::AtMostOnce, 4),
    ]);
    let sent = send_all(&mut outbound, &mut 10);
    assert_eq!(
        sent,
        [(1, 1, false), (2, 0, false), (3, 2, false), (4, 0, false)]
    );
    assert_eq!(
        (
            outbound.waiting_len(),
            outbound.messages_bytes(),
            outbound.in_flight_len()
        ),
        (0, 20, 2)
    );
}

#[test]
fn without_quota_only_qos_0_goes() {
    // [5:MQTT-4.9.0-2]
    let mut outbound = with(&[
        (QoS::AtLeastOnce, 1),
        (QoS::AtLeastOnce, 2),
        (QoS::AtMostOnce, 3),
    ]);
    assert_eq!(
        send_all(&mut outbound, &mut 1),
        [(1, 1, false), (3, 0, false)]
    );
    assert_eq!(send_all(&mut outbound, &mut 0), []);
    assert_eq!(send_all(&mut outbound, &mut 1), [(2, 2, false)]);
}

#[test]
fn resumes_in_the_order_first_sent_with_dup_and_the_same_identifiers() {
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] [5:MQTT-3.3.1-1]
    let mut outbound = with(&[
        (QoS::AtLeastOnce, 1),
        (QoS::ExactlyOnce, 2),
        (QoS::AtLeastOnce, 3),
        (QoS::AtLeastOnce, 4),
    ]);
    send_all(&mut outbound, &mut 3);
    puback(&mut outbound, id(1)).unwrap();
    assert_eq!(outbound.resume().count(), 0);
    assert_eq!(
        send_all(&mut outbound, &mut 1),
        [(2, 2, true)],
        "through the new, smaller quota"
    );
    assert_eq!(
        send_all(&mut outbound, &mut 5),
        [(3, 3, true), (4, 4, false)],
        "never sent means no DUP"
    );
}

#[test]
fn an_acknowledgement_before_the_resend_skips_it() {
    let mut outbound = with(&[
        (QoS::AtLeastOnce, 1),
        (QoS::AtLeastOnce, 2),
        (QoS::AtLeastOnce, 3),
    ]);
    send_all(&mut outbound, &mut 3);
    assert_eq!(outbound.resume().count(), 0);
    puback(&mut outbound, id(1)).unwrap();
    puback(&mut outbound, id(3)).unwrap();
    assert_eq!(send_all(&mut outbound, &mut 3), [(2, 2, true)]);
}

#[test]
fn pubrel_is_due_again_in_the_order_of_the_pubrecs() {
    // [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4] [5:MQTT-4.3.3-6]
    let mut outbound = with(&[
        (QoS::ExactlyOnce, 1),
        (QoS::ExactlyOnce, 2),
        (QoS::ExactlyOnce, 3),
    ]);
    send_all(&mut outbound, &mut 3);
    for value in [3, 1] {
        let received = pubrec(&mut outbound, id(value), false);
        assert_eq!(received, Ok(Received::Now(value.into())));
    }
    assert_eq!(
        outbound.resume().map(PacketId::get).collect::<Vec<_>>(),
        [3, 1]
    );
    assert_eq!(
        send_all(&mut outbound, &mut 3),
        [(2, 2, true)],
        "no PUBLISH for the released ones"
    );
    // [5:MQTT-3.3.4-9] It took nothing from the quota of this connection.
    let ended = Ended {
        tag: 3,
        counted: false,
        was_told: false,
    };
    assert_eq!(outbound.handle_pubcomp(id(3)), Ok(ended));
    assert_eq!(outbound.in_flight_len(), 2);
}

#[test]
fn a_repeated_pubrec_is_answered_again_and_a_refusal_ends_the_flow() {
    let mut outbound = with(&[(QoS::ExactlyOnce, 1), (QoS::ExactlyOnce, 2)]);
    send_all(&mut outbound, &mut 2);
    assert_eq!(pubrec(&mut outbound, id(1), false), Ok(Received::Now(1)));
    assert_eq!(pubrec(&mut outbound, id(1), false), Ok(Received::Before));
    let ended = Ended {
        tag: 2,
        counted: true,
        was_told: false,
    };
    assert_eq!(
        pubrec(&mut outbound, id(2), true),
        Ok(Received::Refused(ended))
    );
    assert_eq!(outbound.handle_pubcomp(id(2)), Err(Mismatch::Unknown));
    assert_eq!(outbound.ids_len(), 1);
}

#[test]
fn an_acknowledgement_of_another_flow_is_told_apart_from_an_unknown_one() {
    let mut outbound = with(&[(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)]);
    send_all(&mut outbound, &mut 2);
    let request = outbound
        .start_request(RequestKind::Subscribe, 9, 1)
        .unwrap();
    let other = Err(Mismatch::OtherFlow);
    assert_eq!(puback(&mut outbound, id(2)), other);
    assert_eq!(puback(&mut outbound, request), other);
    let received = pubrec(&mut outbound, id(1), false);
    assert_eq!(received, Err(Mismatch::OtherFlow));
    let pubcomp = outbound.handle_pubcomp(id(2)).map(|ended| ended.tag);
    assert_eq!(pubcomp, other);
    assert_eq!(puback(&mut outbound, id(77)), Err(Mismatch::Unknown));
    assert_eq!(
        outbound.finish_request(RequestKind::Unsubscribe, request),
        Err(Mismatch::OtherFlow)
    );
    assert_eq!(
        outbound.finish_request(RequestKind::Subscribe, request),
        Ok((9, 1))
    );
}

#[test]
fn room_is_a_matter_of_count_and_of_bytes() {
    let limits = QueueLimits {
        len_max: 2,
        bytes_max: 25,
    };
    let mut outbound = with(&[(QoS::AtLeastOnce, 1)]);
    assert!(!outbound.has_room(16, limits), "26 bytes");
    assert!(outbound.has_room(15, limits));
    outbound.enqueue(QoS::AtMostOnce, 'm', 2, 5, 0);
    assert!(!outbound.has_room(0, limits), "3 messages");
    send_all(&mut outbound, &mut 1);
    assert!(outbound.has_room(15, limits));
    assert!(!outbound.has_room(16, limits), "what is in flight counts");
    puback(&mut outbound, id(1)).unwrap();
    assert!(outbound.has_room(25, limits));
}

#[test]
fn the_oldest_goes_first_whatever_its_qos() {
    let mut outbound = with(&[
        (QoS::AtMostOnce, 1),
        (QoS::AtLeastOnce, 2),
        (QoS::AtMostOnce, 3),
    ]);
    for tag in 1..=3 {
        assert_eq!(outbound.drop_oldest().map(|held| held.tag), Some(tag));
    }
    assert!(outbound.drop_oldest().is_none());
    assert_eq!((outbound.waiting_len(), outbound.messages_bytes()), (0, 0));
}

#[test]
fn a_lost_session_gives_back_everything_in_flight_and_keeps_what_waits() {
    let mut outbound = with(&[
        (QoS::AtLeastOnce, 1),
        (QoS::ExactlyOnce, 2),
        (QoS::AtLeastOnce, 3),
    ]);
    send_all(&mut outbound, &mut 2);
    pubrec(&mut outbound, id(2), false).unwrap();
    let lost = outbound.take_in_flight().into_iter();
    let lost: Vec<_> = lost
        .map(|lost| (lost.tag, lost.message.is_some()))
        .collect();
    assert_eq!(lost, [(2, false), (1, true)]);
    assert_eq!((outbound.ids_len(), outbound.waiting_len()), (0, 1));
}

#[test]
fn with_a_journal_an_identifier_comes_first_and_sending_waits_for_the_store() {
    let mut outbound = Outbound::new();
    outbound.follow();
    outbound.enqueue(QoS::ExactlyOnce, 'm', 1, 10, 1);
    outbound.enqueue(QoS::AtMostOnce, 'm', 2, 10, 0);
    outbound.enqueue(QoS::AtLeastOnce, 'm', 3, 10, 2);
    assert_eq!(send_all(&mut outbound, &mut 5), [(2, 0, false)]);
    for (position, tag) in [(3, 1), (4, 3)] {
        let (place, found, _) = outbound.assign(2).unwrap();
        assert_eq!(found, tag);
        outbound.hold(place, position);
    }
    assert_eq!(send_all(&mut outbound, &mut 5), []);
    outbound.note_stored(3);
    assert_eq!(send_all(&mut outbound, &mut 5), [(1, 1, false)]);
    outbound.note_stored(4);
    assert_eq!(outbound.resume().count(), 0);
    assert_eq!(
        send_all(&mut outbound, &mut 5),
        [(1, 1, true), (3, 2, false)],
        "DUP says that it was sent, not that it has an identifier"
    );
}

#[test]
fn no_more_identifiers_are_assigned_than_may_be_used() {
    let mut outbound = with(&[(QoS::AtLeastOnce, 1); 4]);
    outbound.follow();
    let assigned = |outbound: &mut Outbound<char>, quota| {
        core::iter::from_fn(|| outbound.assign(quota)).count()
    };
    assert_eq!(assigned(&mut outbound, 2), 2);
    assert_eq!(send_all(&mut outbound, &mut 2).len(), 2);
    assert_eq!(assigned(&mut outbound, 0), 0);
    puback(&mut outbound, id(1)).unwrap();
    assert_eq!(assigned(&mut outbound, 1), 1);
    assert_eq!(assigned(&mut outbound, 1), 0);
    // An acknowledgement for one that was never sent leaves the others countable.
    puback(&mut outbound, id(3)).unwrap();
    assert_eq!(assigned(&mut outbound, 1), 1);
}

/// A journal that went on asking for one would never come to an end.
#[test]
fn without_a_free_identifier_none_is_assigned() {
    let mut outbound = with(&[(QoS::AtLeastOnce, 1)]);
    outbound.follow();
    for tag in 0..65_535 {
        let started = outbound.start_request(RequestKind::Subscribe, tag, 1);
        assert!(started.is_some(), "{tag}");
    }
    assert!(!outbound.may_assign(1));
    assert_eq!(outbound.assign(1), None);
    outbound
        .finish_request(RequestKind::Subscribe, id(9))
        .unwrap();
    assert!(outbound.may_assign(1));
    let assigned = outbound.assign(1).unwrap();
    assert_eq!((assigned.1, assigned.2), (1, id(9)));
}
