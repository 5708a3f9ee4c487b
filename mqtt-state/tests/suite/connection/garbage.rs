//! Whatever bytes come, and in whatever pieces: nothing panics, the pieces make no difference, and
//! after the end nothing is said any more.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::arbitrary::EncodedPacket;
use mqtt_codec::{ProtocolVersion, SubscribeReason, UnsubscribeReason};
use mqtt_state::server::{Acceptance, Acknowledge, Config, Event};
use mqtt_state::{Timestamp, Transmit};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::Connection;
use crate::wire::{V3_1_1, V5_0, connect, show_all};

const NOW: Timestamp = Timestamp::ZERO;

/// What an owner hears, and what goes out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<Event>,
    output: Vec<u8>,
    version: Option<ProtocolVersion>,
    is_closed: bool,
}

impl Seen {
    /// Whether two requests have had the same identifier.
    fn has_asked_twice(&self) -> bool {
        let mut asked = BTreeSet::new();
        { self.events.iter() }
            .filter_map(|event| match event {
                Event::Subscribe { token, .. } | Event::Unsubscribe { token, .. } => {
                    let token = format!("{token:?}");
                    token.split(',').next().map(String::from)
                }
                _ => None,
            })
            .any(|id| !asked.insert(id))
    }
}

/// An owner that says yes to everything at once.
fn hear(connection: &mut Connection, seen: &mut Seen) -> bool {
    let mut heard = false;
    while let Some(event) = connection.poll_event() {
        heard = true;
        match &event {
            Event::Connect(_) => connection.accept(NOW, Acceptance::default()).unwrap(),
            Event::Authenticate { .. } => panic!("none is taken"),
            Event::Subscribe { token, filters, .. } => {
                let granted: Vec<_> = filters
                    .iter()
                    .map(|_| SubscribeReason::GrantedQoS0)
                    .collect();
                let _too_large = connection.answer_subscribe(NOW, *token, &granted);
            }
            Event::Unsubscribe { token, filters, .. } => {
                let gone: Vec<_> = filters.iter().map(|_| UnsubscribeReason::Success).collect();
                let _too_large = connection.answer_unsubscribe(NOW, *token, &gone);
            }
            Event::Publish {
                receipt: Some(receipt),
                ..
            } => {
                let _stale = connection.ack(NOW, *receipt);
            }
            _ => {}
        }
        seen.events.push(event);
    }
    loop {
        let before = seen.output.len();
        let transmit = connection.poll_transmit(NOW, 4096, &mut seen.output);
        if seen.is_closed {
            assert_eq!(seen.output.len(), before, "nothing after the end");
        }
        seen.is_closed |= transmit == Transmit::Close;
        if transmit != Transmit::More {
            return heard;
        }
    }
}

/// Offers the bytes in pieces that end at these places, and what was left of one with the next.
fn offer(config: &Config, bytes: &[u8], mut ends: Vec<usize>) -> Seen {
    let (mut connection, mut seen) = (Connection::new(NOW, config.clone()), Seen::default());
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        loop {
            let taken = connection.handle_input(NOW, &bytes[from..end]).bytes;
            from += taken;
            if !hear(&mut connection, &mut seen) && taken == 0 {
                break;
            }
        }
    }
    seen.version = connection.version();
    seen
}

/// CONNECT, then packets and other bytes.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let packet = |version: ProtocolVersion| {
        vec(any::<u8>(), 20..200).prop_map(move |seed| {
            let mut u = Unstructured::new(&seed);
            match EncodedPacket::arbitrary(&mut u) {
                Ok(packet) if packet.version() == version => packet.bytes().to_vec(),
                _other => vec![0xC0, 0],
            }
        })
    };
    let version = prop_oneof![Just(V3_1_1), Just(V5_0)];
    version.prop_flat_map(move |version| {
        let piece = prop_oneof![
            12 => packet(version),
            1 => vec(any::<u8>(), 0..20),
        ];
        (prop::bool::weighted(0.95), vec(piece, 0..20)).prop_map(move |(connects, pieces)| {
            let mut bytes = Vec::new();
            if connects {
                let connect = mqtt_codec::Packet::from(connect(version, "c"));
                connect.encode_to(version, &mut bytes).unwrap();
            }
            bytes.extend(pieces.concat());
            bytes
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn pieces_make_no_difference(
        bytes in conversation(),
        ends in vec(any::<prop::sample::Index>(), 0..30),
        is_manual in any::<bool>(),
    ) {
        let acknowledge = if is_manual { Acknowledge::Manual } else { Acknowledge::Automatic };
        let config = Config {
            acknowledge,
            ..Config::default()
        };
        let whole = offer(&config, &bytes, Vec::new());
        let ends = ends.into_iter().map(|end| end.index(bytes.len() + 1)).collect();
        let pieces = offer(&config, &bytes, ends);
        // Whether an identifier is still in use depends on when the owner answers.
        prop_assume!(!pieces.has_asked_twice());
        prop_assert_eq!(&whole.events, &pieces.events);
        prop_assert_eq!(whole.is_closed, pieces.is_closed);
        // The owner answers later than the connection itself, and too late if the same piece has a
        // fault behind the question.
        if let (false, Some(version)) = (whole.is_closed, whole.version) {
            let sorted = |seen: &Seen| {
                let mut shown = show_all(&seen.output, version);
                shown.sort();
                shown
            };
            prop_assert_eq!(sorted(&whole), sorted(&pieces));
        }
        let closed = whole.events.iter().filter(|it| matches!(it, Event::Closed { .. }));
        let closed = closed.count();
        prop_assert_eq!(closed, usize::from(whole.is_closed), "told once, and when it is so");
    }
}
