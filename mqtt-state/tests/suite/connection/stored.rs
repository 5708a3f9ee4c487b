//! Sessions that go from one connection to the next, by hand or through a store.

use core::time::Duration;

use mqtt_codec::QoS;
use mqtt_state::Timestamp;
use mqtt_state::server::{Config, DropCause, Event, RestoreError, Session};

use super::{events, message, open};
use crate::wire::{Peer, V3_1_1, V5_0, puback, pubcomp, publish, pubrec};

/// Messages 1 and 2 in flight, 3 released, 4 waits, QoS 2 message 9 of the client not released.
fn busy(peer: &Peer) -> Session {
    let mut connection = open(peer, Config::default(), Some(Session::new()));
    peer.hear(&mut connection);
    for (payload, qos) in [
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
        ("3", QoS::ExactlyOnce),
    ] {
        connection.deliver(peer.now, message(payload, qos)).unwrap();
    }
    peer.hear(&mut connection);
    peer.ask(&mut connection, pubrec(3));
    peer.say(&mut connection, publish("t", "up", QoS::ExactlyOnce, 9));
    connection.handle_close(peer.now);
    connection
        .deliver(peer.now, message("4", QoS::AtLeastOnce))
        .unwrap();
    connection.into_session().unwrap()
}

#[test]
fn a_stored_session_goes_on_as_if_it_had_been_kept() {
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let kept = busy(&peer);
        let stored = kept.snapshot(peer.now);
        let elapsed = Duration::from_secs(60);
        let restored =
            Session::restore(Timestamp::ZERO, elapsed, &Config::default(), stored).unwrap();
        let tokens = |session: &Session| -> Vec<_> {
            let open = session.open_deliveries();
            open.map(|(token, message)| (token, message.cloned()))
                .collect()
        };
        assert_eq!(tokens(&restored), tokens(&kept));
        assert_eq!(restored.unreleased_len(), 1);
        for session in [kept, restored] {
            let mut connection = open(&peer, Config::default(), Some(session));
            assert_eq!(
                peer.hear(&mut connection),
                [
                    "CONNACK 00 present",
                    "PUBREL 3 00",
                    "PUBLISH t=1 q1 id1 dup",
                    "PUBLISH t=2 q2 id2 dup",
                    "PUBLISH t=4 q1 id4",
                ],
                "{version}"
            );
            let repeated = publish("t", "up", QoS::ExactlyOnce, 9);
            assert_eq!(peer.ask(&mut connection, repeated), ["PUBREC 9 00"]);
            assert_eq!(events(&mut connection), []);
        }
    }
}

#[test]
fn deliveries_have_names_of_their_own_on_every_connection() {
    let peer = Peer::new(V5_0);
    let session = busy(&peer);
    let before: Vec<_> = session.open_deliveries().map(|(token, _)| token).collect();
    let mut connection = open(&peer, Config::default(), Some(session));
    let token = connection
        .deliver(peer.now, message("5", QoS::AtLeastOnce))
        .unwrap();
    assert!(!before.contains(&token), "{token:?} in {before:?}");
    peer.hear(&mut connection);
    for answer in [puback(1), pubcomp(3), puback(5)] {
        peer.say(&mut connection, answer);
    }
    let told: Vec<_> = events(&mut connection)
        .into_iter()
        .map(|event| match event {
            Event::Delivered { token, .. } => token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told.last(), Some(&token));
    assert!(before.contains(&told[0]) && before.contains(&told[1]));
}

#[test]
fn a_clean_start_has_no_session_whatever_the_owner_gives() {
    // [5:MQTT-3.1.2-4] [5:MQTT-3.2.2-2] [3:MQTT-3.1.2-6] [3:MQTT-3.2.2-1]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let session = busy(&peer);
        let mut connection = crate::recorded::Connection::new(peer.now, Config::default());
        peer.say(&mut connection, crate::wire::connect(version, "c"));
        let acceptance = mqtt_state::server::Acceptance {
            session: Some(session),
            ..Default::default()
        };
        connection.accept(peer.now, acceptance).unwrap();
        assert_eq!(peer.hear(&mut connection), ["CONNACK 00"], "{version}");
        assert_eq!(connection.session().waiting_len(), 0);
    }
}

#[test]
fn nothing_in_a_store_is_believed() {
    let peer = Peer::new(V5_0);
    let stored = busy(&peer).snapshot(peer.now);
    let restore = |config: &Config| {
        let restored = Session::restore(peer.now, Duration::ZERO, config, stored.clone());
        restored.map(|session| session.waiting_len())
    };
    assert_eq!(restore(&Config::default()), Ok(1));
    let small = Config {
        waiting_len_max: 0,
        ..Config::default()
    };
    assert_eq!(restore(&small), Err(RestoreError::TooMuch));
    let small = Config {
        messages_bytes_max: 3,
        ..Config::default()
    };
    assert_eq!(restore(&small), Err(RestoreError::TooMuch));
}

#[test]
fn a_message_that_waited_too_long_is_dropped_and_told() {
    // [5:MQTT-3.3.2-5]
    let mut peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), Some(Session::new()));
    connection.handle_close(peer.now);
    let properties = mqtt_codec::PublishProperties {
        message_expiry_secs: Some(10),
        ..Default::default()
    };
    let late = message("late", QoS::AtLeastOnce)
        .with_properties(&properties)
        .unwrap();
    let token = connection.deliver(peer.now, late.clone()).unwrap();
    let session = connection.into_session().unwrap();
    peer.now = peer.now + Duration::from_secs(10);
    let mut connection = open(&peer, Config::default(), Some(session));
    assert_eq!(peer.hear(&mut connection), ["CONNACK 00 present"]);
    let dropped = Event::DeliveryDropped {
        token,
        message: late,
        cause: DropCause::Expired,
    };
    assert_eq!(events(&mut connection), [dropped]);
}

#[test]
fn a_session_comes_back_from_a_client_that_has_gone_while_somebody_decided() {
    let peer = Peer::new(V5_0);
    let session = busy(&peer);
    let waiting = session.waiting_len();
    let mut connection = crate::recorded::Connection::new(peer.now, Config::default());
    let mut packet = crate::wire::connect(V5_0, "c");
    packet.clean_start = false;
    peer.say(&mut connection, packet);
    connection.handle_close(peer.now);
    let acceptance = mqtt_state::server::Acceptance {
        session: Some(session),
        ..Default::default()
    };
    let error = connection.accept(peer.now, acceptance).unwrap_err();
    assert_eq!(error.kind, mqtt_state::server::CommandError::Over);
    let session = error.acceptance.session.unwrap();
    assert_eq!(session.waiting_len(), waiting);
    assert!(connection.into_session().is_none());
}

/// Identifiers below one that is in use are free, however high that is.
/// What comes for a client that is away goes out behind what it has in flight, up to the same limits.
#[test]
fn messages_for_a_client_that_is_away_wait_in_its_session() {
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut session = busy(&peer);
        let config = Config {
            waiting_len_max: 2,
            ..Config::default()
        };
        let five = session.deliver(peer.now, &config, message("5", QoS::AtLeastOnce));
        let tokens: Vec<_> = session.open_deliveries().map(|(token, _)| token).collect();
        assert_eq!(tokens.last().copied(), five.ok(), "{version}");
        let error =
            { session.deliver(peer.now, &config, message("6", QoS::AtLeastOnce)) }.unwrap_err();
        assert_eq!(error.kind, mqtt_state::server::DeliverErrorKind::QueueFull);
        assert_eq!(error.message.payload(), b"6");
        let mut connection = open(&peer, config, Some(session));
        let said = peer.hear(&mut connection);
        assert_eq!(
            said[said.len() - 2..],
            ["PUBLISH t=4 q1 id4", "PUBLISH t=5 q1 id5"],
            "{version}"
        );
    }
}

/// A client that subscribes and says goodbye in one breath: the answer comes too late, and that is no mistake.
#[test]
fn an_answer_to_who_has_gone_in_the_same_breath_is_too_late_and_harmless() {
    use mqtt_codec::{Disconnect, DisconnectReason, SubscribeReason};
    use mqtt_state::server::CommandError;
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut connection = open(&peer, Config::default(), Some(busy(&peer)));
        peer.hear(&mut connection);
        let wanted = [crate::wire::want("t", QoS::AtLeastOnce)];
        crate::wire::with_subscribe(7, &wanted, |packet| peer.say(&mut connection, packet));
        peer.say(
            &mut connection,
            Disconnect::new(DisconnectReason::NormalDisconnection),
        );
        let Some(Event::Subscribe { token, .. }) = connection.poll_event() else {
            panic!("{version}: it is told of all the same");
        };
        let late = connection.answer_subscribe(peer.now, token, &[SubscribeReason::GrantedQoS1]);
        assert_eq!(late, Err(CommandError::Over), "{version}");
        assert!(matches!(
            connection.poll_event(),
            Some(Event::Closed { .. })
        ));
        assert!(connection.into_session().is_some(), "{version}");
    }
}

#[test]
fn identifiers_around_those_that_are_stored_can_be_given_out() {
    let peer = Peer::new(V5_0);
    for id in [1, 5, 65_535_u16] {
        let mut connection = open(&peer, Config::default(), Some(Session::new()));
        let message_1 = message("1", QoS::AtLeastOnce);
        connection.deliver(peer.now, message_1).unwrap();
        peer.hear(&mut connection);
        connection.handle_close(peer.now);
        let stored = connection.into_session().unwrap().snapshot(peer.now);
        let mut stored = serde_json::to_value(stored).unwrap();
        let place = stored.pointer_mut("/publishes/0/id").unwrap();
        assert_eq!(*place, 1);
        *place = id.into();
        let stored = serde_json::from_value(stored).unwrap();
        let (now, elapsed) = (Timestamp::ZERO, Duration::ZERO);
        let session = Session::restore(now, elapsed, &Config::default(), stored).unwrap();
        assert_eq!(session.packet_ids_in_use(), 1, "{id}");
        let mut connection = open(&peer, Config::default(), Some(session));
        let message_2 = message("2", QoS::AtLeastOnce);
        connection.deliver(peer.now, message_2).unwrap();
        let heard = peer.hear(&mut connection);
        let other = if id == 65_535 { 1 } else { id + 1 };
        let expected = [
            "CONNACK 00 present".to_owned(),
            format!("PUBLISH t=1 q1 id{id} dup"),
            format!("PUBLISH t=2 q1 id{other}"),
        ];
        assert_eq!(heard, expected);
    }
}
