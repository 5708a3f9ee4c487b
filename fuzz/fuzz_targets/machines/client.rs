//! A client between an application that does anything and a server that sends anything.

#![no_main]

mod common;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{Connect, DisconnectReason, PublishReason, Str, SubscribeFilter, TopicFilter};
use mqtt_state::client::{AckError, Acknowledge, Client, Config, Event, Receipt, State, WhenFull};
use mqtt_state::{Timestamp, Transmit};

use common::{FILTERS, Held, Sent, bytes, message, pass, qos, version, words};

fuzz_target!(|data: &[u8]| {
    // An error says that the input is used up.
    let _end = run(&mut Unstructured::new(data));
});

/// Receipts that the application has in its hands.
const RECEIPTS: usize = 100;

fn config(u: &mut Unstructured<'_>) -> Result<Config> {
    let small = Config {
        packet_size_max: 400,
        receive_maximum: 2,
        in_flight_max: 3,
        in_flight_max_v3: 2,
        topic_alias_maximum: 1,
        outbound_topic_aliases_max: 1,
        subscriptions_max: 2,
        subscriptions_bytes_max: 20,
        requests_max: 2,
        waiting_len_max: 3,
        messages_bytes_max: 1_000,
        events_max: 8,
        events_bytes_max: 1_000,
        answers_bytes_max: 16,
        ..Config::default()
    };
    let base = if u.arbitrary()? {
        small
    } else {
        Config::default()
    };
    Ok(Config {
        acknowledge: *u.choose(&[Acknowledge::Automatic, Acknowledge::Manual])?,
        when_full: *u.choose(&[WhenFull::Refuse, WhenFull::DropOldest, WhenFull::DropNewest])?,
        journal: u.arbitrary()?,
        ..base
    })
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let config = config(u)?;
    let version = version(u)?;
    let (bound, journal) = (config.memory_bound(), config.journal);
    let mut held = Held::default();
    let mut client = held.during(|| Client::new(config));
    let mut now = Timestamp::ZERO;
    let mut sent = Sent::by_client(version);
    let mut input = Vec::new();
    let mut receipts: Vec<Receipt> = Vec::with_capacity(RECEIPTS);
    while !u.is_empty() {
        match u.int_in_range(0..=15_u8)? {
            0 => {
                held.during(|| client.handle_close(now));
                input.clear();
                sent = Sent::by_client(version);
                let mut connect = Connect::new(version, Str::new("c").unwrap());
                connect.clean_start = u.arbitrary()?;
                connect.keep_alive_secs = *u.choose(&[0, 10])?;
                if version == mqtt_codec::ProtocolVersion::V5_0 {
                    connect.properties.session_expiry_secs = *u.choose(&[None, Some(100)])?;
                }
                let _refused = held.during(|| client.connect(now, &connect));
            }
            1 | 2 => {
                held.during(|| {
                    let message = message(u)?;
                    let _refused = client.publish(now, message).is_ok();
                    Ok(())
                })?;
            }
            3 => {
                let filter = SubscribeFilter::new(u.choose(&FILTERS)?, qos(u)?).unwrap();
                let _refused = held.during(|| client.subscribe(&[filter]).is_ok());
            }
            4 => {
                let filter = TopicFilter::new(u.choose(&FILTERS)?).unwrap();
                let _refused = held.during(|| client.unsubscribe(&[filter]).is_ok());
            }
            5 if !receipts.is_empty() => {
                let receipt = receipts.swap_remove(u.choose_index(receipts.len())?);
                let way = u.int_in_range(0..=3_u8)?;
                let words = words(u)?;
                let unanswered = client.unacknowledged_len();
                held.during(|| match way {
                    0 => drop(client.ack(now, receipt)),
                    1 => drop(client.ack_with(now, receipt, words)),
                    2 => {
                        let reason = PublishReason::QuotaExceeded;
                        let _refused = client.reject(now, receipt, reason, words);
                    }
                    _ => {
                        let reason = PublishReason::NoMatchingSubscribers;
                        let none = client.reject(now, receipt, reason, words);
                        assert_eq!(none, Err(AckError::NotARefusal));
                        assert_eq!(client.unacknowledged_len(), unanswered);
                        assert_ne!(client.ack(now, receipt), Err(AckError::NotARefusal));
                    }
                });
            }
            6 => {
                pass(u, &mut now)?;
                held.during(|| client.handle_timeout(now));
            }
            7 => {
                let reason = DisconnectReason::NormalDisconnection;
                let _refused = held.during(|| client.disconnect(now, reason).is_ok());
            }
            8..=10 => {
                input.extend(bytes(u, version)?);
                // By either door, as the length is: what is shown is what an event would have told.
                let consumed = held.during(|| match input.len() % 2 {
                    0 => client.handle_input(now, &input),
                    _ => client.handle_input_with(now, &input, |message| {
                        assert!(message.payload().len() <= input.len());
                    }),
                });
                assert!(consumed.bytes <= input.len());
                sent.hear(&input[..consumed.bytes]);
                input.drain(..consumed.bytes);
                // A reader that never gives up has no more than this in its hands.
                input.truncate(2_000);
            }
            11 if journal => {
                let last = held.during(|| {
                    core::iter::from_fn(|| client.poll_journal())
                        .map(|entry| entry.position())
                        .last()
                });
                if let Some(last) = last {
                    held.during(|| client.handle_stored(last));
                }
            }
            12 | 13 => {
                let max = *u.choose(&[1, 30, 10_000])?;
                let mut out = Vec::with_capacity(1 << 17);
                let transmit = held.during(|| client.poll_transmit(now, max, &mut out));
                sent.take(&out, transmit);
                if transmit == Transmit::Close {
                    held.during(|| client.handle_close(now));
                    assert_eq!(client.state(), State::Disconnected);
                    input.clear();
                }
            }
            _ => {
                held.during(|| {
                    while let Some(event) = client.poll_event() {
                        if let Event::Message {
                            receipt: Some(receipt),
                            ..
                        } = event
                            && receipts.len() < RECEIPTS
                        {
                            receipts.push(receipt);
                        }
                    }
                });
            }
        }
        let (_, _, _) = (client.explain(), client.poll_timeout(), client.stats());
        assert!(
            held.bytes() <= bound + 4_096,
            "{} bytes held, {bound} allowed",
            held.bytes()
        );
    }
    Ok(())
}
