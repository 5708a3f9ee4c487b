//! What comes out of a store is anybody's: sessions of clients and servers, and entries of a broker.

#![no_main]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, QoS, Str};
use mqtt_state::broker::{Broker, Config, Idle, Peer, Restore, StoreKey, StoreValue};
use mqtt_state::client::{self, Client};
use mqtt_state::session::{JournalEntry, SessionSnapshot};
use mqtt_state::{Timestamp, Transmit, server};

use common::{Sent, pass};

const V5: ProtocolVersion = ProtocolVersion::V5_0;

fuzz_target!(|data: &[u8]| {
    // An error says that the input is used up.
    let _end = run(&mut Unstructured::new(data));
});

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=3_u8)? {
        0 => session(u),
        _ => broker(u),
    }
}

fn session(u: &mut Unstructured<'_>) -> Result<()> {
    let mut now = Timestamp::ZERO;
    let rest = u.bytes(u.len())?;
    let Ok((mut snapshot, rest)) = postcard::take_from_bytes::<SessionSnapshot>(rest) else {
        return Ok(());
    };
    let mut rest = rest;
    while let Ok((entry, behind)) = postcard::take_from_bytes::<JournalEntry>(rest) {
        snapshot.apply(entry);
        rest = behind;
    }
    let elapsed = Duration::from_secs(1);
    let config = server::Config::default();
    let _refused = server::Session::restore(now, elapsed, &config, snapshot.clone()).is_ok();
    let config = client::Config::default();
    let Ok(mut client) = Client::restore(now, elapsed, config.clone(), snapshot) else {
        return Ok(());
    };
    // Out and in again it is the same.
    let again = client.snapshot(now);
    let copy = Client::restore(now, Duration::ZERO, config, again.clone()).unwrap();
    assert_eq!(copy.snapshot(now), again);
    let message = Message::new("t", "m").unwrap().with_qos(QoS::AtLeastOnce);
    let _full = client.publish(now, message).is_ok();
    let mut connect = Connect::new(V5, Str::new("c").unwrap());
    connect.clean_start = false;
    let _busy = client.connect(now, &connect).is_ok();
    pass(&mut Unstructured::new(rest), &mut now)?;
    client.handle_timeout(now);
    let mut out = Vec::new();
    let transmit = client.poll_transmit(now, 10_000, &mut out);
    Sent::by_client(V5).take(&out, transmit);
    Ok(())
}

fn broker(u: &mut Unstructured<'_>) -> Result<()> {
    let mut table = BTreeMap::new();
    let sorted = u.arbitrary()?;
    let idle = Idle {
        at: Timestamp::from_secs(u.int_in_range(0..=10)?),
        elapsed: Duration::from_secs(u.int_in_range(0..=10)?),
    };
    let config = Config {
        journal: u.arbitrary()?,
        ..Config::default()
    };
    let mut restore = Restore::new(config.clone(), Timestamp::ZERO, idle);
    while !u.is_empty() {
        let key_len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let key = u.bytes(key_len)?;
        let value_len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let value = u.bytes(value_len)?;
        let (Some(key), Ok(value)) = (
            StoreKey::from_bytes(key),
            postcard::from_bytes::<StoreValue>(value),
        ) else {
            continue;
        };
        match sorted {
            true => drop(table.insert(key, value)),
            false => drop(restore.put(key, value)),
        }
    }
    for (key, value) in &table {
        let _left_out = restore.put(key.clone(), value.clone()).is_ok();
    }
    works(restore.finish());
    Ok(())
}

/// Whatever was put, the broker serves.
fn works(mut broker: Broker) {
    let mut now = Timestamp::ZERO;
    for client_id in ["one", "", "a"] {
        let mut connect = Connect::new(V5, Str::new(client_id).unwrap());
        connect.clean_start = false;
        let mut input = Vec::new();
        assert!(Packet::Connect(connect).encode_to(V5, &mut input).is_ok());
        let Ok(id) = broker.accept(now, Peer::default()) else {
            return;
        };
        let _taken = broker.handle_input(now, id, &input);
        let mut sent = Sent::by_server(V5);
        for _ in 0..100 {
            while let Some(entry) = broker.poll_journal() {
                broker.handle_stored(entry.position());
            }
            let mut out = Vec::new();
            let transmit = broker.poll_transmit(now, id, 1_000, &mut out);
            sent.take(&out, transmit);
            if transmit != Transmit::More {
                break;
            }
        }
        now = now + Duration::from_secs(1_000_000);
        broker.handle_timeout(now);
    }
}
