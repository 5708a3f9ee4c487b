//! Many connected sessions: what one of them and one of its subscriptions holds, what a message costs
//! among them, and what a tick does.
//!
//! Each size runs in a process of its own, once as it is for time and memory, and once under
//! callgrind for instructions.

use std::time::Instant;

use mqtt_codec::{
    Packet, PacketId, ProtocolVersion, Publish, QoS, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeProperties, TopicName,
};
use mqtt_state::Transmit;
use mqtt_state::broker::{Broker, Config, ConnectionId};
use stats_alloc::Region;

use super::fan_out::{MAX_BYTES, NOW, connect, say};
use crate::callgrind;

/// Messages of a measured phase, each to another session.
const MESSAGES: usize = 1000;
/// Sessions, and how many subscriptions each of them has.
const SIZES: [(usize, usize); 7] = [
    (1_000, 1),
    (10_000, 1),
    (100_000, 1),
    (1_000_000, 1),
    (1_000, 10),
    (10_000, 10),
    (100_000, 10),
];

/// What came of one size.
#[derive(Clone, Copy, Debug)]
struct Figures {
    sessions: usize,
    subscriptions: usize,
    /// Live, for one session with all of its subscriptions.
    bytes: f64,
    nanos: f64,
    instructions: f64,
    tick: f64,
}

/// As it would be in a building: the first is the session's own, the others are its own too, below.
fn filter(session: usize, number: usize) -> String {
    let (room, sensor) = (session / 50, session % 50);
    let (building, room) = (room / 20, room % 20);
    let (site, building) = (building / 10, building % 10);
    match number {
        0 => format!("site/{site}/building/{building}/room/{room}/sensor/{sensor}"),
        _ => format!("site/{site}/building/{building}/room/{room}/sensor/{sensor}/{number}"),
    }
}

fn subscribe(broker: &mut Broker, id: ConnectionId, version: ProtocolVersion, texts: &[String]) {
    let filters: Vec<_> = texts
        .iter()
        .map(|text| SubscribeFilter::new(text, QoS::AtLeastOnce).expect("a valid filter"))
        .collect();
    let subscribe = Subscribe {
        id: PacketId::MIN,
        properties: SubscribeProperties::default(),
        filters: SubscribeFilters::new(&filters).expect("one or more"),
    };
    say(broker, id, version, &Packet::Subscribe(subscribe));
}

/// A message to each of some sessions, spread over all of them; answers how many have it.
fn messages(
    broker: &mut Broker,
    publisher: ConnectionId,
    packets: &[Vec<u8>],
    buf: &mut Vec<u8>,
) -> usize {
    let mut arrived = 0;
    for packet in packets {
        let taken = broker.handle_input(NOW, publisher, packet);
        assert_eq!(taken.bytes, packet.len());
        while let Some(id) = broker.poll_ready() {
            buf.clear();
            while broker.poll_transmit(NOW, id, MAX_BYTES, buf) == Transmit::More {}
            arrived += usize::from(buf.len() > 64);
        }
    }
    arrived
}

/// What the process of one size does.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn run(sessions: usize, subscriptions: usize) {
    let mut broker = Broker::new(Config {
        connections_max: usize::MAX,
        sessions_max: usize::MAX,
        total_bytes_max: usize::MAX,
        ..Config::default()
    });
    let publisher = connect(&mut broker, ProtocolVersion::V5_0, "publisher");
    let region = Region::new(crate::ALLOCATOR);
    for session in 0..sessions {
        let version = match session % 2 {
            0 => ProtocolVersion::V5_0,
            _ => ProtocolVersion::V3_1_1,
        };
        let id = connect(&mut broker, version, &format!("session-{session:015}"));
        let texts: Vec<_> = (0..subscriptions)
            .map(|number| filter(session, number))
            .collect();
        subscribe(&mut broker, id, version, &texts);
    }
    let change = region.change();
    let live = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    let packets: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let text = filter(number * (sessions / MESSAGES), 0);
            let topic = TopicName::new(&text).expect("a valid topic");
            let mut packet = Vec::new();
            let publish = Publish::new(topic, &[0x55; 64]);
            publish
                .encode_to(ProtocolVersion::V5_0, &mut packet)
                .expect("a packet");
            packet
        })
        .collect();
    let mut buf = Vec::with_capacity(MAX_BYTES);
    assert_eq!(
        messages(&mut broker, publisher, &packets, &mut buf),
        MESSAGES
    );
    let start = Instant::now();
    let mut arrived = 0;
    callgrind::measured(&mut || arrived = messages(&mut broker, publisher, &packets, &mut buf));
    let nanos = start.elapsed().as_nanos();
    assert_eq!(arrived, MESSAGES);
    callgrind::measured(&mut || broker.handle_timeout(NOW));
    println!("{} {nanos}", live / sessions as f64);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn figures(sessions: usize, subscriptions: usize) -> Result<Figures, String> {
    let (sessions_text, subscriptions_text) = (sessions.to_string(), subscriptions.to_string());
    let arguments = ["session", "--sessions", &sessions_text, &subscriptions_text];
    let printed = callgrind::native(&arguments)?;
    let mut words = printed.split_whitespace().map(str::parse::<f64>);
    let (Some(Ok(bytes)), Some(Ok(nanos))) = (words.next(), words.next()) else {
        return Err(format!("what is {printed:?}?"));
    };
    let counts = callgrind::counts(&arguments, 2)?;
    Ok(Figures {
        sessions,
        subscriptions,
        bytes,
        nanos: nanos / MESSAGES as f64,
        instructions: counts[0] as f64 / MESSAGES as f64,
        tick: counts[1] as f64,
    })
}

/// Prints all figures and whether the bars hold; answers that too.
pub(crate) fn compare() -> Result<bool, String> {
    println!(
        "\n{:>10} {:>14} {:>16} {:>10} {:>14} {:>14}",
        "sessions", "subscriptions", "bytes/session", "ns", "instructions", "of one tick"
    );
    let mut all = Vec::new();
    for (sessions, subscriptions) in SIZES {
        let row = figures(sessions, subscriptions)?;
        println!(
            "{:>10} {:>14} {:>16.1} {:>10.1} {:>14.1} {:>14.0}",
            row.sessions, row.subscriptions, row.bytes, row.nanos, row.instructions, row.tick
        );
        all.push(row);
    }
    let of = |sessions, subscriptions| {
        let named = |row: &&Figures| (row.sessions, row.subscriptions) == (sessions, subscriptions);
        all.iter().find(named).copied().expect("one of the sizes")
    };
    println!();
    let mut holds = true;
    let mut bar = |what: &str, found: f64, at_most: f64| {
        let verdict = if found <= at_most { "pass" } else { "MISS" };
        holds &= found <= at_most;
        println!("{what:<78} {found:>9.3} {at_most:>7} {verdict}");
    };
    for sessions in [1_000, 10_000, 100_000, 1_000_000] {
        let row = of(sessions, 1);
        bar(
            &format!("bytes of one of {sessions} sessions with one subscription"),
            row.bytes,
            1024.0,
        );
    }
    for sessions in [1_000, 10_000, 100_000] {
        let further = (of(sessions, 10).bytes - of(sessions, 1).bytes) / 9.0;
        bar(
            &format!("bytes of a further subscription of one of {sessions} sessions"),
            further,
            150.0,
        );
    }
    let (few, many) = (of(1_000, 1), of(1_000_000, 1));
    bar(
        "instructions of a message among 1,000,000 sessions, against 1,000",
        many.instructions / few.instructions,
        2.0,
    );
    bar(
        "instructions of a tick among 1,000,000 sessions, against 1,000",
        many.tick / few.tick,
        1.0,
    );
    Ok(holds)
}
