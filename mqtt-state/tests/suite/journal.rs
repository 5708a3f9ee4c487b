//! A store that follows a session: what waits for it, what does not, and what it can make of it.

use core::time::Duration;

use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, PublishProperties, QoS};
use mqtt_state::client::{Acknowledge, Config, Event, LostCause, PublishErrorKind};
use mqtt_state::session::{JournalEntry, SessionSnapshot};
use mqtt_state::{InputWaits, OutputWaits};

use crate::recorded::Client;
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, puback, pubcomp, publish, pubrec, pubrel, show_all, text,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

fn config() -> Config {
    Config {
        journal: true,
        ..Config::default()
    }
}

fn message(payload: &'static str, qos: QoS) -> Message {
    Message::new("t", payload).unwrap().with_qos(qos)
}

fn entries(client: &mut Client) -> Vec<JournalEntry> {
    core::iter::from_fn(|| client.poll_journal()).collect()
}

/// Stores all there is.
fn store(client: &mut Client) {
    if let Some(last) = entries(client).last() {
        client.handle_stored(last.position());
    }
}

fn connect(client: &mut Client, peer: &Peer, session_present: bool) {
    let mut connect = Connect::new(peer.version, text("c"));
    connect.clean_start = false;
    if peer.version == V5_0 {
        connect.properties.session_expiry_secs = Some(10_000);
    }
    client.connect(peer.now, &connect).unwrap();
    store(client);
    peer.hear(client);
    assert_eq!(peer.ask(client, connack(session_present)), [""; 0]);
}

fn connected(version: ProtocolVersion, config: Config) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(version));
    connect(&mut client, &peer, false);
    store(&mut client);
    (client, peer)
}

/// A client that goes on with what is in the store, in a program that begins again.
fn restored(snapshot: SessionSnapshot, elapsed: Duration) -> Client {
    let text = serde_json::to_string(&snapshot).unwrap();
    let snapshot = serde_json::from_str(&text).unwrap();
    Client::restore(mqtt_state::Timestamp::ZERO, elapsed, config(), snapshot).unwrap()
}

#[test]
fn nothing_goes_out_before_what_it_depends_on_is_stored() {
    for version in VERSIONS {
        let (mut client, peer) = connected(version, config());
        let rows: [(&str, Option<Packet<'_>>, &str); 7] = [
            ("PUBLISH at QoS 1", None, "PUBLISH q1 #1"),
            ("its PUBACK", Some(puback(1)), ""),
            ("PUBLISH at QoS 2", None, "PUBLISH q2 #2"),
            ("PUBREL", Some(pubrec(2)), "PUBREL #2"),
            ("its PUBCOMP", Some(pubcomp(2)), ""),
            (
                "PUBREC",
                Some(publish("t", "x", QoS::ExactlyOnce, 9).into()),
                "PUBREC #9",
            ),
            ("PUBCOMP", Some(pubrel(9)), "PUBCOMP #9"),
        ];
        for (row, packet, expected) in rows {
            match packet {
                Some(packet) => peer.say(&mut client, packet),
                None => {
                    let qos = if row.ends_with('1') { 1 } else { 2 };
                    let qos = QoS::try_from(qos).unwrap();
                    client.publish(peer.now, message("m", qos)).unwrap();
                }
            }
            assert_eq!(
                peer.hear(&mut client),
                [""; 0],
                "{version} {row}: too early"
            );
            let entries = entries(&mut client);
            let last = entries.last().unwrap().position();
            client.handle_stored(last - 1);
            assert_eq!(peer.hear(&mut client), [""; 0], "{version} {row}: not yet");
            client.handle_stored(last);
            let heard = peer.hear(&mut client).join(" ");
            let short = |text: &str| text.split(' ').next().map(str::to_owned);
            assert_eq!(short(&heard), short(expected), "{version} {row}: {heard}");
        }
    }
}

#[test]
fn what_depends_on_nothing_waits_for_nothing() {
    for version in VERSIONS {
        let (mut client, peer) = connected(version, config());
        client
            .publish(peer.now, message("held", QoS::AtLeastOnce))
            .unwrap();
        client
            .publish(peer.now, message("free", QoS::AtMostOnce))
            .unwrap();
        let heard = peer.hear(&mut client);
        assert_eq!(heard.len(), 1, "{version}: {heard:?}");
        let heard = peer.ask(&mut client, publish("t", "x", QoS::AtLeastOnce, 4));
        assert!(
            heard.len() == 1 && heard[0].starts_with("PUBACK"),
            "{version}: {heard:?}"
        );
        assert_eq!(
            client.explain().output,
            Some(OutputWaits::ForStore),
            "{version}"
        );
        store(&mut client);
        assert_eq!(
            client.explain().output,
            Some(OutputWaits::ForPoll),
            "{version}"
        );
    }
}

#[test]
fn a_position_that_was_not_handed_out_is_not_stored() {
    let (mut client, peer) = connected(V5_0, config());
    client
        .publish(peer.now, message("m", QoS::AtLeastOnce))
        .unwrap();
    client.handle_stored(u64::MAX);
    assert_eq!(peer.hear(&mut client), [""; 0]);
    store(&mut client);
    assert_eq!(peer.hear(&mut client).len(), 1);
}

#[test]
fn positions_rise_by_one_and_nothing_is_noted_without_a_journal() {
    let (mut client, peer) = (Client::new(config()), Peer::new(V5_0));
    connect(&mut client, &peer, false);
    for _ in 0..3 {
        client
            .publish(peer.now, message("m", QoS::AtLeastOnce))
            .unwrap();
    }
    peer.hear(&mut client);
    let positions: Vec<_> = entries(&mut client)
        .iter()
        .map(JournalEntry::position)
        .collect();
    let first = positions[0];
    let expected: Vec<_> = (first..).take(positions.len()).collect();
    assert_eq!(positions, expected);

    let (mut without, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    connect(&mut without, &peer, false);
    without
        .publish(peer.now, message("m", QoS::AtLeastOnce))
        .unwrap();
    assert_eq!(peer.hear(&mut without).len(), 1, "nothing waits");
    assert_eq!(without.poll_journal(), None);
}

/// The application stores what it makes of a message with the entry that says it has come.
#[test]
fn a_received_message_is_there_exactly_once_if_it_is_stored_with_its_entry() {
    for version in VERSIONS {
        for (acknowledge, is_stored) in [
            (Acknowledge::Automatic, false),
            (Acknowledge::Automatic, true),
            (Acknowledge::Manual, false),
            (Acknowledge::Manual, true),
        ] {
            let row = format!("{version} {acknowledge:?}, stored: {is_stored}");
            let config = Config {
                acknowledge,
                ..config()
            };
            let (mut client, mut peer) = connected(version, config);
            let mut stored = client.snapshot(peer.now);
            peer.say(&mut client, publish("t", "x", QoS::ExactlyOnce, 9));
            while let Some(event) = client.poll_event() {
                if let Event::Message {
                    receipt: Some(receipt),
                    ..
                } = event
                {
                    client.ack(peer.now, receipt).unwrap();
                }
            }
            if is_stored {
                entries(&mut client)
                    .into_iter()
                    .for_each(|entry| stored.apply(entry));
            }
            // The program ends here, and the server sends the message again.
            let mut client = restored(stored, Duration::ZERO);
            peer.now = mqtt_state::Timestamp::ZERO;
            connect(&mut client, &peer, true);
            peer.say(&mut client, publish("t", "x", QoS::ExactlyOnce, 9));
            let events = core::iter::from_fn(|| client.poll_event());
            let came = events
                .filter(|event| matches!(event, Event::Message { .. }))
                .count();
            assert_eq!(came, usize::from(!is_stored), "{row}");
            store(&mut client);
            let heard = peer.hear(&mut client);
            assert!(heard[0].starts_with("PUBREC"), "{row}: {heard:?}");
        }
    }
}

#[test]
fn time_that_the_store_lay_idle_counts() {
    let (mut client, mut peer) = connected(V5_0, config());
    let mut stored = client.snapshot(peer.now);
    let properties = PublishProperties {
        message_expiry_secs: Some(100),
        ..PublishProperties::default()
    };
    client.handle_close(peer.now);
    let expiring = message("m", QoS::AtLeastOnce).with_properties(&properties);
    let token = client.publish(peer.now, expiring.unwrap()).unwrap();
    // Forty seconds later something else is stored, so much is over of it.
    peer.now = peer.now + Duration::from_secs(40);
    client
        .publish(peer.now, message("other", QoS::AtLeastOnce))
        .unwrap();
    entries(&mut client)
        .into_iter()
        .for_each(|entry| stored.apply(entry));

    for (elapsed_secs, is_there) in [(59, true), (61, false)] {
        let mut client = restored(stored.clone(), Duration::from_secs(elapsed_secs));
        let open: Vec<_> = client.open_publishes().map(|(token, _)| token).collect();
        assert_eq!((open.len(), open[0]), (2, token));
        let peer = Peer::new(V5_0);
        let peer = Peer {
            now: mqtt_state::Timestamp::ZERO,
            ..peer
        };
        connect(&mut client, &peer, true);
        store(&mut client);
        peer.hear(&mut client);
        store(&mut client);
        peer.hear(&mut client);
        let lost = core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
            Event::PublishLost { token, cause, .. } => Some((token, cause)),
            _ => None,
        });
        let expected = (!is_there).then_some((token, LostCause::Expired));
        assert_eq!(lost, expected, "after {elapsed_secs} s");
    }
}

#[test]
fn a_journal_that_nobody_fetches_stops_what_would_make_it_longer() {
    let limited = Config {
        events_max: 8,
        ..config()
    };
    let (mut client, peer) = connected(V5_0, limited);
    while client.poll_event().is_some() {}
    let full = (0..20).find_map(|_| {
        let published = client.publish(peer.now, message("m", QoS::AtLeastOnce));
        published.err().map(|error| error.kind)
    });
    assert_eq!(full, Some(PublishErrorKind::QueueFull));
    assert!(!client.wants_input());
    assert_eq!(client.explain().input, Some(InputWaits::ForJournal));
    store(&mut client);
    assert!(client.wants_input());
    client
        .publish(peer.now, message("m", QoS::AtLeastOnce))
        .unwrap();
}

#[test]
fn qos_0_is_in_no_store() {
    let mut client = Client::new(config());
    let peer = Peer::new(V5_0);
    client
        .publish(peer.now, message("m", QoS::AtMostOnce))
        .unwrap();
    let mut stored = Client::new(config()).snapshot(peer.now);
    entries(&mut client)
        .into_iter()
        .for_each(|entry| stored.apply(entry));
    assert_eq!(stored, client.snapshot(peer.now));
    assert_eq!(restored(stored, Duration::ZERO).open_publishes().count(), 0);
}

/// What an entry says once, it does not say again: what it speaks of has moved on.
#[test]
fn an_entry_that_is_carried_out_twice_changes_nothing_more() {
    let (mut client, peer) = connected(V5_0, config());
    let mut stored = client.snapshot(peer.now);
    let mut carry_out = |client: &mut Client, row: &str| {
        for entry in entries(client) {
            client.handle_stored(entry.position());
            stored.apply(entry.clone());
            let once = stored.clone();
            if row != "published" {
                stored.apply(entry);
            }
            assert_eq!(stored, once, "{row}");
        }
        assert_eq!(stored, client.snapshot(peer.now), "{row}");
    };
    client
        .publish(peer.now, message("m", QoS::ExactlyOnce))
        .unwrap();
    carry_out(&mut client, "published");
    peer.hear(&mut client);
    carry_out(&mut client, "assigned");
    peer.say(&mut client, pubrec(1));
    carry_out(&mut client, "released");
    let arrived = publish("t", "x", QoS::ExactlyOnce, 7);
    peer.say(&mut client, arrived);
    carry_out(&mut client, "received");
}

#[test]
fn the_names_of_messages_are_never_given_out_again() {
    let (mut client, peer) = connected(V5_0, config());
    let mut stored = client.snapshot(peer.now);
    let mut last = None;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtMostOnce] {
        last = Some(client.publish(peer.now, message("m", qos)).unwrap());
        entries(&mut client)
            .into_iter()
            .for_each(|entry| stored.apply(entry));
    }
    let mut client = restored(stored, Duration::ZERO);
    let next = client
        .publish(peer.now, message("m", QoS::AtLeastOnce))
        .unwrap();
    assert!(Some(next) > last);
}

#[test]
fn a_server_that_may_have_made_a_session_is_known_after_a_crash() {
    // [5:MQTT-3.2.2-4] Otherwise a session would be present that this side knows nothing of.
    let (mut client, peer) = (Client::new(config()), Peer::new(V5_0));
    let mut stored = client.snapshot(peer.now);
    let mut offer = Connect::new(V5_0, text("c"));
    offer.clean_start = false;
    offer.properties.session_expiry_secs = Some(10_000);
    client.connect(peer.now, &offer).unwrap();
    assert_eq!(peer.hear(&mut client), [""; 0], "CONNECT waits");
    for entry in entries(&mut client) {
        client.handle_stored(entry.position());
        stored.apply(entry);
    }
    assert_eq!(peer.hear(&mut client).len(), 1);

    let mut client = restored(stored, Duration::ZERO);
    connect(&mut client, &peer, true);
    let state = client.state();
    assert_eq!(state, mqtt_state::client::State::Connected);
}

/// As found in the broker by its model: the message that had expired took the only identifier that
/// the quota had.
#[test]
fn a_message_that_has_expired_leaves_its_turn_to_the_next() {
    let config = Config {
        in_flight_max: 1,
        ..config()
    };
    let (mut client, mut peer) = (Client::new(config), Peer::new(V5_0));
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    for _ in 0..3 {
        let late = message("late", QoS::AtLeastOnce);
        let late = late.with_properties(&properties).unwrap();
        client.publish(peer.now, late).unwrap();
    }
    let in_time = message("in time", QoS::AtLeastOnce);
    client.publish(peer.now, in_time).unwrap();
    store(&mut client);
    peer.now = peer.now + Duration::from_secs(30);
    connect(&mut client, &peer, false);
    // Identifiers are noted when they are polled for, and sent when that is stored.
    for _ in 0..4 {
        store(&mut client);
        let heard = peer.hear(&mut client);
        if !heard.is_empty() {
            return assert_eq!(heard, ["PUBLISH t=in time q1 id4"]);
        }
    }
    panic!("{:?}", client.explain());
}

/// As found in the broker by a simulation: the message that was dropped came again after a crash, behind
/// the one that was sent in its place.
#[test]
fn nothing_goes_before_it_is_stored_that_what_stood_in_front_of_it_is_dropped() {
    // [5:MQTT-4.6.0-1]
    let (mut client, mut peer) = connected(V5_0, config());
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    let late = message("late", QoS::AtLeastOnce);
    let late = late.with_properties(&properties).unwrap();
    client.publish(peer.now, late).unwrap();
    let next = message("next", QoS::AtLeastOnce);
    client.publish(peer.now, next).unwrap();
    assert_eq!(
        peer.hear(&mut client),
        [""; 0],
        "they get their identifiers"
    );
    peer.now = peer.now + Duration::from_secs(30);
    store(&mut client);
    assert_eq!(peer.hear(&mut client), [""; 0], "the drop is not stored");
    assert_eq!(client.explain().output, Some(OutputWaits::ForStore));
    store(&mut client);
    assert_eq!(peer.hear(&mut client), ["PUBLISH t=next q1 id2"]);
}

/// The door that writes at once writes nothing that is not stored.
#[test]
fn what_is_published_and_written_in_one_call_waits_for_the_store_as_well() {
    for version in VERSIONS {
        for (qos, at_once, when_stored) in [
            (QoS::AtMostOnce, "PUBLISH t=m q0", ""),
            (QoS::AtLeastOnce, "", "PUBLISH t=m q1 id1"),
            (QoS::ExactlyOnce, "", "PUBLISH t=m q2 id1"),
        ] {
            let (mut client, peer) = connected(version, config());
            let mut out = Vec::new();
            let message = message("m", qos);
            let taken = client.publish_into(peer.now, &message, 4096, &mut out);
            assert!(taken.is_ok());
            let row = format!("{version} {qos:?}");
            assert_eq!(show_all(&out, version).join(" "), at_once, "{row}");
            store(&mut client);
            assert_eq!(peer.hear(&mut client).join(" "), when_stored, "{row}");
        }
    }
}
