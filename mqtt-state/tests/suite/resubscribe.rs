//! Subscriptions that a client keeps, to ask for them again when the server has lost them.

use mqtt_codec::{
    Packet, ProtocolVersion, QoS, ReasonCode, SubAck, SubAckReasons, SubscribeFilter,
    SubscribeReason, SubscriptionId, UnsubAck, UnsubAckReasons, UnsubscribeReason, UserProperties,
};
use mqtt_state::client::{Config, Event, RequestError};

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, filter, id, want};

fn connected(version: ProtocolVersion, config: Config) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(version));
    reconnect(&mut client, &peer, None);
    (client, peer)
}

/// A connection without the old session, to a server that takes packets of some size.
fn reconnect(client: &mut Client, peer: &Peer, size_max: Option<u32>) {
    client.handle_close(peer.now);
    client
        .connect(peer.now, &connect(peer.version, "c"))
        .unwrap();
    peer.hear(client);
    let mut accepted = connack(false);
    accepted.properties.packet_size_max = size_max.and_then(core::num::NonZeroU32::new);
    peer.say(client, accepted);
    while client.poll_event().is_some() {}
}

/// The identifiers of the requests that go out now.
fn asked(client: &mut Client, peer: &Peer) -> Vec<u16> {
    let id = |packet: &String| packet.split(' ').nth(1).unwrap().parse().unwrap();
    peer.hear(client).iter().map(id).collect()
}

fn suback(client: &mut Client, peer: &Peer, value: u16, codes: &[u8]) {
    let reasons: Vec<_> = codes
        .iter()
        .map(|code| ReasonCode::from_value(*code).unwrap())
        .map(|code| SubscribeReason::try_from(code).unwrap())
        .collect();
    peer.say(
        client,
        SubAck {
            id: id(value),
            reasons: SubAckReasons::new(&reasons).unwrap(),
            properties: Default::default(),
        },
    );
}

fn held(client: &Client) -> Vec<(String, u8, Option<u32>)> {
    let show = |held: &mqtt_state::client::Subscription| {
        let filter = held.filter();
        let id = held.id().map(SubscriptionId::get);
        (filter.filter.to_string(), filter.options.qos.into(), id)
    };
    client.subscriptions().iter().map(show).collect()
}

#[test]
fn what_was_granted_is_kept_and_what_was_ended_is_not() {
    for version in [V3_1_1, V5_0] {
        let (mut client, peer) = connected(version, Config::default());
        let filters = [
            want("a", QoS::AtMostOnce),
            want("b", QoS::AtLeastOnce),
            want("c", QoS::ExactlyOnce),
        ];
        client.subscribe(&filters).unwrap();
        peer.hear(&mut client);
        assert_eq!(held(&client), [], "{version}: not granted yet");
        suback(&mut client, &peer, 1, &[0, 0x80, 1]);
        let (a, c) = (("a".to_owned(), 0, None), ("c".to_owned(), 2, None));
        assert_eq!(held(&client), [a, c.clone()], "{version}");
        // Again, with other options: replaced, in its place.
        client.subscribe(&[want("a", QoS::AtLeastOnce)]).unwrap();
        let asked_again = asked(&mut client, &peer)[0];
        suback(&mut client, &peer, asked_again, &[1]);
        assert_eq!(held(&client), [("a".to_owned(), 1, None), c.clone()]);

        client.unsubscribe(&[filter("a"), filter("x")]).unwrap();
        let ending = asked(&mut client, &peer)[0];
        let reasons = [
            UnsubscribeReason::Success,
            UnsubscribeReason::NoSubscriptionExisted,
        ];
        let unsuback = UnsubAck {
            id: id(ending),
            reasons: match version {
                V3_1_1 => UnsubAckReasons::default(),
                V5_0 => UnsubAckReasons::new(&reasons),
            },
            properties: Default::default(),
        };
        peer.say(&mut client, Packet::UnsubAck(unsuback));
        assert_eq!(held(&client), [c], "{version}");
    }
}

#[test]
fn one_call_asks_for_everything_again() {
    let (mut client, peer) = connected(V5_0, Config::default());
    let with_id = SubscriptionId::new(7);
    client
        .subscribe(&[want("a", QoS::AtMostOnce), want("b", QoS::AtLeastOnce)])
        .unwrap();
    client
        .subscribe_with(
            &[want("c", QoS::AtLeastOnce)],
            with_id,
            UserProperties::default(),
        )
        .unwrap();
    peer.hear(&mut client);
    suback(&mut client, &peer, 1, &[0, 1]);
    suback(&mut client, &peer, 2, &[1]);

    reconnect(&mut client, &peer, None);
    let tokens = client.resubscribe().unwrap();
    assert_eq!(tokens.len(), 2, "one for each identifier");
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert_eq!(
        crate::wire::show_all(&bytes, V5_0),
        ["SUBSCRIBE 3", "SUBSCRIBE 4"]
    );
    assert!(bytes.ends_with(b"\x02\x0B\x07\0\x01c\x01"), "{bytes:02X?}");
    suback(&mut client, &peer, 3, &[0, 1]);
    let answered = core::iter::from_fn(|| client.poll_event()).last();
    assert!(matches!(answered, Some(Event::Subscribed { token, .. }) if token == tokens[0]));
    assert_eq!(held(&client).len(), 3, "none twice");
}

#[test]
fn a_server_with_small_packets_gets_small_requests() {
    let (mut client, peer) = connected(V5_0, Config::default());
    let texts: Vec<_> = (0..40)
        .map(|number| format!("a/rather/long/filter/{number:03}"))
        .collect();
    let filters: Vec<_> = texts
        .iter()
        .map(|text| want(text, QoS::AtLeastOnce))
        .collect();
    client.subscribe(&filters).unwrap();
    peer.hear(&mut client);
    suback(&mut client, &peer, 1, &[1; 40]);
    reconnect(&mut client, &peer, Some(150));
    let tokens = client.resubscribe().unwrap();
    assert_eq!(tokens.len(), 8, "five of 27 bytes each");
    assert_eq!(asked(&mut client, &peer).len(), 8);

    reconnect(&mut client, &peer, Some(20));
    let error = client.resubscribe().unwrap_err();
    assert!(
        matches!(error, RequestError::Encode(_)),
        "not even one: {error}"
    );
}

#[test]
fn a_client_keeps_as_many_as_it_may() {
    let config = Config {
        subscriptions_max: 2,
        ..Config::default()
    };
    let (mut client, peer) = connected(V5_0, config);
    let mut ask = |filters: &[SubscribeFilter<'_>]| client.subscribe(filters).map(|_| ());
    assert_eq!(
        ask(&[want("a", QoS::AtMostOnce), want("b", QoS::AtMostOnce)]),
        Ok(())
    );
    let one_more = ask(&[want("c", QoS::AtMostOnce)]);
    assert_eq!(one_more, Err(RequestError::TooManySubscriptions));
    peer.hear(&mut client);
    suback(&mut client, &peer, 1, &[0, 0]);
    assert!(
        client.subscribe(&[want("a", QoS::AtLeastOnce)]).is_ok(),
        "no new one"
    );
}

#[test]
fn what_the_connection_ended_before_was_never_granted() {
    let (mut client, peer) = connected(V5_0, Config::default());
    client.subscribe(&[want("a", QoS::AtMostOnce)]).unwrap();
    peer.hear(&mut client);
    reconnect(&mut client, &peer, None);
    assert_eq!(held(&client), []);
    assert_eq!(client.resubscribe(), Ok(vec![]));
}

#[test]
fn what_is_ended_in_the_middle_of_asking_again_leaves_nothing_out() {
    // Two have been asked for again, each in a request of its own, and one is ended before the others are.
    for (ended, expected) in [
        ("a", &["c", "d"][..]),
        ("b", &["c", "d"]),
        ("c", &["d"]),
        ("d", &["c"]),
    ] {
        let config = Config {
            requests_max: 2,
            ..Config::default()
        };
        let (mut client, peer) = connected(V5_0, config);
        for (number, text) in (1..).zip(["a", "b", "c", "d"]) {
            let (filters, with_id) = ([want(text, QoS::AtMostOnce)], u32::from(number));
            client
                .subscribe_with(
                    &filters,
                    SubscriptionId::new(with_id),
                    UserProperties::default(),
                )
                .unwrap();
            assert_eq!(asked(&mut client, &peer), [number]);
            suback(&mut client, &peer, number, &[0]);
        }
        reconnect(&mut client, &peer, None);
        assert_eq!(client.resubscribe(), Err(RequestError::Busy));
        for request in asked(&mut client, &peer) {
            suback(&mut client, &peer, request, &[0]);
        }
        client.unsubscribe(&[filter(ended)]).unwrap();
        let unsuback = UnsubAck {
            id: id(asked(&mut client, &peer)[0]),
            reasons: UnsubAckReasons::new(&[UnsubscribeReason::Success]),
            properties: Default::default(),
        };
        peer.say(&mut client, Packet::UnsubAck(unsuback));
        client.resubscribe().unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        // The last byte is the options.
        let found = { bytes.split(|byte| *byte == 0x82) }.filter_map(|it| it.iter().nth_back(1));
        let found: Vec<_> = found.map(|it| char::from(*it).to_string()).collect();
        assert_eq!(found, expected, "{ended} is ended");
    }
}
