//! A server connection between an owner that does anything and a client that sends anything.

#![no_main]

mod common;

use core::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    Connect, ConnectReason, DisconnectReason, Packet, ProtocolVersion, PublishReason, ReasonCode,
    Str, SubscribeReason, UnsubscribeReason,
};
use mqtt_state::server::{
    Acceptance, AckError, Acknowledge, Config, Connection, Event, Receipt, Session,
};
use mqtt_state::{Timestamp, Transmit};

use common::{Held, Sent, bytes, message, pass, version, words};

const REASONS: [PublishReason; 4] = [
    PublishReason::Success,
    PublishReason::NoMatchingSubscribers,
    PublishReason::NotAuthorized,
    PublishReason::PayloadFormatInvalid,
];

fuzz_target!(|data: &[u8]| {
    // An error says that the input is used up.
    let _end = run(&mut Unstructured::new(data));
});

fn config(u: &mut Unstructured<'_>) -> Result<Config> {
    let small = Config {
        packet_size_max: 400,
        connect_packet_size_max: 100,
        receive_maximum: 2,
        in_flight_max: 2,
        topic_alias_maximum: 1,
        outbound_topic_aliases_max: 1,
        payload_size_max: Some(20),
        answers_bytes_max: 16,
        waiting_len_max: 3,
        messages_bytes_max: 1_000,
        events_max: 4,
        events_bytes_max: 1_000,
        ..Config::default()
    };
    let base = if u.arbitrary()? {
        small
    } else {
        Config::default()
    };
    Ok(Config {
        acknowledge: *u.choose(&[Acknowledge::Automatic, Acknowledge::Manual])?,
        enhanced_authentication: u.arbitrary()?,
        ..base
    })
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let config = config(u)?;
    let version = version(u)?;
    let mut kept = Session::new();
    let mut now = Timestamp::ZERO;
    let mut receipts = Vec::new();
    // Connections of the same client, one after the other, and what its owner does meanwhile.
    while !u.is_empty() {
        kept = connection(u, &config, version, kept, &mut now, &mut receipts)?;
        while !u.is_empty() && u.ratio(1, 2)? {
            away(u, &config, &mut kept, now, &mut receipts)?;
        }
    }
    Ok(())
}

/// What an owner does in a session whose client is away.
fn away(
    u: &mut Unstructured<'_>,
    config: &Config,
    session: &mut Session,
    now: Timestamp,
    receipts: &mut Vec<Receipt>,
) -> Result<()> {
    match u.int_in_range(0..=4_u8)? {
        0 | 1 => {
            let before = (session.waiting_len(), session.messages_bytes());
            let message = message(u)?;
            match session.deliver(now, config, message) {
                Ok(_) => assert_eq!(session.waiting_len(), before.0 + 1),
                Err(_) => {
                    assert_eq!((session.waiting_len(), session.messages_bytes()), before);
                }
            }
            assert!(session.waiting_len() <= config.waiting_len_max);
            assert!(session.messages_bytes() <= config.messages_bytes_max);
        }
        2 if !receipts.is_empty() => {
            let receipt = receipts.swap_remove(u.choose_index(receipts.len())?);
            let reason = *u.choose(&REASONS)?;
            let is_refusal = ReasonCode::from(reason).is_error();
            let words = words(u)?;
            match u.int_in_range(0..=2_u8)? {
                0 => drop(session.ack(receipt)),
                1 => {
                    let result = session.ack_with(receipt, reason, words);
                    assert_eq!(result == Err(AckError::NotASuccess), is_refusal);
                }
                _ => {
                    let result = session.reject_publish(receipt, reason, words);
                    assert_eq!(result == Err(AckError::NotARefusal), !is_refusal);
                }
            }
        }
        3 => {
            let stored = session.snapshot(now);
            let open = session.open_deliveries().count();
            let elapsed = Duration::from_secs(u.int_in_range(0..=10)?);
            let restored = Session::restore(now, elapsed, config, stored);
            let restored = restored.expect("what it says of itself can be restored");
            assert_eq!(restored.open_deliveries().count(), open);
            *session = restored;
            receipts.clear();
        }
        _ => {}
    }
    Ok(())
}

/// One connection, and what is left of it.
fn connection(
    u: &mut Unstructured<'_>,
    config: &Config,
    version: ProtocolVersion,
    kept: Session,
    now: &mut Timestamp,
    receipts: &mut Vec<Receipt>,
) -> Result<Session> {
    let mut held = Held::default();
    let mut connection = held.during(|| Connection::new(*now, config.clone()));
    let (mut sent, mut input) = (Sent::by_server(version), Vec::new());
    let (mut kept, mut requests) = (Some(kept), Vec::new());
    if !u.ratio(1, 8)? {
        let mut connect = Connect::new(version, Str::new("c").unwrap());
        connect.keep_alive_secs = 10;
        let encoded = Packet::Connect(connect).encode_to(version, &mut input);
        assert!(encoded.is_ok());
    }
    while !u.is_empty() {
        match u.int_in_range(0..=12_u8)? {
            0 => {
                pass(u, now)?;
                connection.handle_timeout(*now);
            }
            1..=4 => {
                input.extend(bytes(u, version)?);
                let consumed = connection.handle_input(*now, &input);
                assert!(consumed.bytes <= input.len());
                sent.hear(&input[..consumed.bytes]);
                input.drain(..consumed.bytes);
                input.truncate(2_000);
            }
            5 | 6 => {
                let _full = connection.deliver(*now, message(u)?).is_ok();
            }
            7 if !receipts.is_empty() => {
                let receipt = receipts.swap_remove(u.choose_index(receipts.len())?);
                let reason = *u.choose(&REASONS)?;
                let is_refusal = ReasonCode::from(reason).is_error();
                let words = words(u)?;
                match u.int_in_range(0..=2_u8)? {
                    0 => drop(connection.ack(*now, receipt)),
                    1 => {
                        let result = connection.ack_with(*now, receipt, reason, words);
                        assert_eq!(result == Err(AckError::NotASuccess), is_refusal);
                    }
                    _ => {
                        let result = connection.reject_publish(*now, receipt, reason, words);
                        assert_eq!(result == Err(AckError::NotARefusal), !is_refusal);
                    }
                }
            }
            8 if !requests.is_empty() => {
                let (token, filters) = requests.swap_remove(u.choose_index(requests.len())?);
                let granted = vec![SubscribeReason::GrantedQoS1; filters];
                let gone = vec![UnsubscribeReason::Success; filters];
                let _wrong = connection.answer_subscribe(*now, token, &granted).is_ok();
                let _wrong = connection.answer_unsubscribe(*now, token, &gone).is_ok();
            }
            9 if u.ratio(1, 8)? => connection.disconnect(*now, DisconnectReason::ServerBusy),
            10 | 11 => {
                let max = *u.choose(&[1, 30, 10_000])?;
                let mut out = Vec::new();
                let transmit = connection.poll_transmit(*now, max, &mut out);
                sent.take(&out, transmit);
                if transmit == Transmit::Close {
                    connection.handle_close(*now);
                    break;
                }
            }
            _ => {
                while let Some(event) = connection.poll_event() {
                    match event {
                        Event::Connect(_) => {
                            let session = if u.arbitrary()? { kept.take() } else { None };
                            let acceptance = Acceptance {
                                session,
                                ..Acceptance::default()
                            };
                            if u.ratio(1, 8)? {
                                let _ = connection.reject(*now, ConnectReason::NotAuthorized);
                            } else {
                                let _ = connection.accept(*now, acceptance);
                            }
                        }
                        Event::Authenticate { .. } => {
                            let _ = match u.arbitrary()? {
                                true => connection.accept_authentication(*now, None).is_ok(),
                                false => connection.reject_authentication(*now).is_ok(),
                            };
                        }
                        Event::Publish {
                            receipt: Some(receipt),
                            ..
                        } => receipts.push(receipt),
                        Event::Subscribe { token, filters, .. } => {
                            requests.push((token, filters.len()));
                        }
                        Event::Unsubscribe { token, filters, .. } => {
                            requests.push((token, filters.len()));
                        }
                        _ => {}
                    }
                }
            }
        }
        let (_, _, _) = (
            connection.explain(),
            connection.poll_timeout(),
            connection.stats(),
        );
    }
    connection.handle_close(*now);
    while connection.poll_event().is_some() {}
    Ok(connection.into_session().unwrap_or_default())
}
