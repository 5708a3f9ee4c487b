//! Much that is due at once: how much of it one call does. For the suite in small, for
//! `exhaustive.rs` in full size.

use core::time::Duration;

use mqtt_codec::{
    Connect, Message, Packet, ProtocolVersion, PublishProperties, QoS, Str, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscribeProperties,
};
use mqtt_state::broker::{Config, ConnectionId, Event, Peer};
use mqtt_state::{TimeoutReason, Timestamp, Transmit};

use crate::recorded::Broker;

const START: Timestamp = Timestamp::from_secs(1);
const STEPS: usize = 1000;

fn broker(count: usize) -> Broker {
    Broker::new(Config {
        sessions_max: count + 10,
        retained_len_max: count + 10,
        retained_bytes_max: usize::MAX,
        messages_len_max: count + 10,
        total_bytes_max: usize::MAX,
        work_per_call: STEPS,
        events_max: 2 * STEPS + 10,
        ..Config::default()
    })
}

fn encoded(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode_to(ProtocolVersion::V5_0, &mut bytes).unwrap();
    bytes
}

fn join(
    broker: &mut Broker,
    now: Timestamp,
    client_id: &str,
    expiry_secs: u32,
    out: &mut Vec<u8>,
) -> ConnectionId {
    let id = broker.accept(now, Peer::default()).unwrap();
    let mut connect = Connect::new(ProtocolVersion::V5_0, Str::new(client_id).unwrap());
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(expiry_secs);
    let packet = encoded(Packet::Connect(connect));
    assert_eq!(broker.handle_input(now, id, &packet).bytes, packet.len());
    out.clear();
    assert_eq!(broker.poll_transmit(now, id, 1000, out), Transmit::Idle);
    id
}

fn subscribe(broker: &mut Broker, now: Timestamp, id: ConnectionId, filter: &str) {
    let filters = [SubscribeFilter::new(filter, QoS::AtMostOnce).unwrap()];
    let subscribe = Subscribe {
        id: mqtt_codec::PacketId::MIN,
        filters: SubscribeFilters::new(&filters).unwrap(),
        properties: SubscribeProperties::default(),
    };
    let bytes = encoded(subscribe.into());
    assert_eq!(broker.handle_input(now, id, &bytes).bytes, bytes.len());
}

/// Calls `handle_timeout` as long as that is due; `each` looks at what one call did.
fn work_off(broker: &mut Broker, now: Timestamp, mut each: impl FnMut(&mut Broker)) -> usize {
    let mut calls = 0;
    while broker.poll_timeout().is_some_and(|due| due.at <= now) {
        if calls > 0 {
            let reason = broker.poll_timeout().unwrap().reason;
            assert_eq!(reason, TimeoutReason::Work, "after {calls} calls");
        }
        broker.handle_timeout(now);
        calls += 1;
        each(broker);
    }
    calls
}

/// Sessions that end at the same moment.
pub(crate) fn sessions_expire_together(count: usize) {
    let mut broker = broker(count);
    let mut out = Vec::new();
    for number in 0..count {
        let id = join(&mut broker, START, &format!("{number}"), 10, &mut out);
        if number % 10 == 0 {
            subscribe(&mut broker, START, id, &format!("t/{number}"));
        }
        broker.handle_close(START, id);
        while broker.poll_event().is_some() {}
    }
    let now = START + Duration::from_secs(10);
    let other = join(&mut broker, now, "other", 100, &mut out);
    assert_eq!(broker.stats().sessions, count + 1);
    let mut before = count + 1;
    let ping = encoded(Packet::PingReq);
    let calls = work_off(&mut broker, now, |broker| {
        let sessions = broker.stats().sessions;
        assert!(before - sessions <= STEPS, "{} at once", before - sessions);
        let ended = core::iter::from_fn(|| broker.poll_event())
            .filter(|event| matches!(event, Event::SessionEnded { .. }))
            .count();
        assert_eq!(ended, before - sessions, "each is told");
        before = sessions;
        // Who is there is served in between.
        assert_eq!(broker.handle_input(now, other, &ping).bytes, 2);
        out.clear();
        let _idle = broker.poll_transmit(now, other, 1000, &mut out);
        assert_eq!(out, [0xD0, 0]);
    });
    assert!(calls >= count / STEPS, "{calls} calls");
    assert_eq!(
        (broker.stats().sessions, broker.stats().subscriptions),
        (1, 0)
    );
    assert!(broker.stats().work_of_call_max <= STEPS);
}

/// Retained messages, each of its own topic: a subscription that gets all of them, one that gets
/// none after looking at all of them, and their end at the same moment.
pub(crate) fn retained_are_replayed_and_expire_together(count: usize) {
    let mut broker = broker(count);
    for number in 0..count {
        let properties = PublishProperties {
            message_expiry_secs: Some(100),
            ..PublishProperties::default()
        };
        let message = Message::new(&format!("t/{number}"), "x").unwrap();
        let message = message.with_properties(&properties).unwrap();
        broker.publish(START, message.with_retain(true));
    }
    assert_eq!(broker.stats().retained, count);
    for (filter, expected) in [("t/+", count), ("+/+/none", 0)] {
        let mut out = Vec::new();
        let id = join(&mut broker, START, filter, 100, &mut out);
        subscribe(&mut broker, START, id, filter);
        let (mut calls, mut bytes) = (0, 0);
        loop {
            out.clear();
            let transmit = broker.poll_transmit(START, id, 64 * 1024, &mut out);
            calls += 1;
            bytes += out.len();
            if transmit == Transmit::Idle {
                break;
            }
        }
        assert!(calls >= count / STEPS, "{filter}: {calls} calls");
        // SUBACK, and PUBLISH packets of more than ten bytes each.
        assert_eq!(bytes > 10 * count, expected > 0, "{filter}: {bytes} bytes");
        broker.handle_close(START, id);
    }
    assert!(broker.stats().work_of_call_max <= STEPS);
    let now = START + Duration::from_secs(100);
    let mut before = count;
    let calls = work_off(&mut broker, now, |broker| {
        let retained = broker.stats().retained;
        assert!(before - retained <= STEPS, "{} at once", before - retained);
        before = retained;
    });
    assert!(calls >= count / STEPS, "{calls} calls");
    assert_eq!((broker.stats().retained, broker.stats().messages), (0, 0));
    assert!(broker.stats().work_of_call_max <= STEPS);
}

/// Connections whose time is over at the same moment, each with a session that ends with it.
pub(crate) fn connections_end_together(count: usize) {
    let mut broker = Broker::new(Config {
        connections_max: count,
        sessions_max: count,
        work_per_call: STEPS,
        ..Config::default()
    });
    let mut out = Vec::new();
    for number in 0..count {
        join(&mut broker, START, &format!("{number}"), 0, &mut out);
    }
    broker.drain(START, mqtt_state::broker::Drain::default());
    let mut before = count;
    let mut each = |broker: &mut Broker| {
        let sessions = broker.stats().sessions;
        assert!(before - sessions <= STEPS, "{} at once", before - sessions);
        before = sessions;
    };
    each(&mut broker);
    let calls = work_off(&mut broker, START, each);
    assert!(calls >= count / STEPS - 1, "{calls} calls");
    assert_eq!(broker.stats().sessions, 0);
    assert!(broker.stats().work_of_call_max <= STEPS);
}

/// One message for very many, of whom the last half hear of it late: each once, in slices, and the
/// next message of the same client waits for its turn.
pub(crate) fn many_receive_one(count: usize) {
    let mut broker = Broker::new(Config {
        connections_max: count + 2,
        sessions_max: count + 2,
        work_per_call: STEPS,
        events_max: 0,
        ..Config::default()
    });
    let mut out = Vec::new();
    let mut receivers = Vec::with_capacity(count);
    for number in 0..count {
        let id = join(&mut broker, START, &format!("{number}"), 0, &mut out);
        subscribe(&mut broker, START, id, "all");
        let _idle = broker.poll_transmit(START, id, 1000, &mut out);
        receivers.push(id);
    }
    while let Some(id) = broker.poll_ready() {
        let _idle = broker.poll_transmit(START, id, 1000, &mut out);
    }
    let publisher = join(&mut broker, START, "publisher", 0, &mut out);
    let other = join(&mut broker, START, "other", 0, &mut out);
    let topic = mqtt_codec::TopicName::new("all").unwrap();
    let packet = |id, payload| {
        encoded(Packet::Publish(mqtt_codec::Publish {
            delivery: mqtt_codec::Delivery::AtLeastOnce {
                id: mqtt_codec::PacketId::new(id).unwrap(),
                dup: false,
            },
            ..mqtt_codec::Publish::new(topic, payload)
        }))
    };
    let (first, second) = (packet(1, b"1"), packet(2, b"2"));
    let both = [first.clone(), second.clone()].concat();
    let consumed = broker.handle_input(START, publisher, &both);
    assert_eq!(consumed.bytes, first.len(), "the second one waits");
    assert!(!broker.wants_input(publisher) && broker.wants_input(other));
    let mut ready = 0;
    let mut each = |broker: &mut Broker| {
        let mut more = 0;
        while let Some(id) = broker.poll_ready() {
            more += usize::from(id != publisher && id != other);
        }
        assert!(more <= STEPS, "{more} at once");
        ready += more;
        // Who waits for none of this is served in between.
        assert_eq!(
            broker
                .handle_input(START, other, &encoded(Packet::PingReq))
                .bytes,
            2
        );
        out.clear();
        let _idle = broker.poll_transmit(START, other, 1000, &mut out);
        assert_eq!(out, [0xD0, 0]);
        while broker.poll_ready().is_some() {}
    };
    each(&mut broker);
    let calls = work_off(&mut broker, START, each);
    assert_eq!((ready, calls), (count, count / STEPS - 1));
    out.clear();
    let _idle = broker.poll_transmit(START, publisher, 1000, &mut out);
    assert_eq!(out, [0x40, 2, 0, 1], "PUBACK when all have it");
    assert!(broker.wants_input(publisher));
    assert_eq!(broker.stats().messages, 1, "kept once for all");
    let consumed = broker.handle_input(START, publisher, &second);
    assert_eq!(consumed.bytes, second.len());
    work_off(&mut broker, START, |_| {});
    for id in receivers {
        out.clear();
        while broker.poll_transmit(START, id, 1000, &mut out) == Transmit::More {}
        let payloads: Vec<_> = out
            .chunk_by(|_, next| *next != 0x30)
            .filter_map(|packet| packet.last())
            .collect();
        assert_eq!(payloads, [&b'1', &b'2'], "{out:02X?}");
    }
    assert_eq!(broker.stats().messages, 0);
    assert!(broker.stats().work_of_call_max <= STEPS);
}
