//! A broker with several connections interleaved: valid packets and hostile bytes, output read or not, a
//! store that is slow, and an end without a warning.

#![no_main]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    ConnectReason, DisconnectReason, Packet, ProtocolVersion, PublishReason, Str, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscribeReason, TopicFilter,
};
use mqtt_state::broker::{
    Ask, Broker, Config, ConnectAnswer, ConnectionId, Drain, Event, Idle, Peer, PublishAnswer,
    Restore, StoreKey, StoreValue, SubscribeAnswer,
};
use mqtt_state::{TimeoutReason, Timestamp, Transmit, server};

use common::{FILTERS, NAMES, Sent, bytes, message, pass, qos, version};

fuzz_target!(|data: &[u8]| {
    // An error says that the input is used up.
    let _end = run(&mut Unstructured::new(data));
});

fn config(u: &mut Unstructured<'_>) -> Result<Config> {
    let small = Config {
        server: server::Config {
            packet_size_max: 400,
            receive_maximum: 2,
            in_flight_max: 2,
            waiting_len_max: 3,
            answers_bytes_max: 16,
            ..server::Config::default()
        },
        connections_max: 3,
        sessions_max: 2,
        subscriptions_per_session_max: 2,
        retained_len_max: 2,
        work_per_call: 1,
        held_max: 1,
        decisions_per_connection_max: 1,
        journal_len_max: 4,
        ..Config::default()
    };
    let base = if u.arbitrary()? {
        small
    } else {
        Config::default()
    };
    let asks = u.ratio(1, 4)?;
    Ok(Config {
        journal: u.arbitrary()?,
        ask: Ask {
            connect: asks,
            publish: asks,
            subscribe: asks,
        },
        ..base
    })
}

/// One connection, from outside.
struct Line {
    version: ProtocolVersion,
    sent: Sent,
    input: Vec<u8>,
    is_ready: bool,
}

struct World {
    config: Config,
    broker: Broker,
    now: Timestamp,
    /// What the broker takes for it: it does not go back.
    latest: Timestamp,
    lines: BTreeMap<ConnectionId, Line>,
    disk: BTreeMap<Vec<u8>, StoreValue>,
    at: Timestamp,
    /// Questions without an answer.
    questions: Vec<Event>,
    /// The store takes nothing more.
    has_failed: bool,
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let config = config(u)?;
    let mut world = World {
        broker: Broker::new(config.clone()),
        config,
        now: Timestamp::ZERO,
        latest: Timestamp::ZERO,
        lines: BTreeMap::new(),
        disk: BTreeMap::new(),
        at: Timestamp::ZERO,
        questions: Vec::new(),
        has_failed: false,
    };
    while !u.is_empty() {
        world.step(u)?;
        world.latest = world.latest.max(world.now);
        while let Some(id) = world.broker.poll_ready() {
            // And once more when it has ended and has had its time.
            let end = world.broker.explain(id).and_then(|it| it.timeout);
            let is_over =
                end.is_some_and(|it| it.reason == TimeoutReason::Close && it.at <= world.latest);
            if let Some(line) = world.lines.get_mut(&id) {
                assert!(!line.is_ready || is_over, "named once until it is drained");
                line.is_ready = true;
            }
        }
        let (_, _) = (world.broker.poll_timeout(), world.broker.stats());
    }
    Ok(())
}

impl World {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=19_u8)? {
            0 => self.open(u)?,
            1 => {
                pass(u, &mut self.now)?;
                self.broker.handle_timeout(self.now);
            }
            2..=7 => self.say(u)?,
            8..=11 => self.read(u)?,
            12 => {
                if let Some(id) = self.choose(u)? {
                    self.broker.handle_close(self.now, id);
                    self.lines.remove(&id);
                }
            }
            13 => {
                self.broker.publish(self.now, message(u)?);
            }
            14 | 15 => self.answer(u)?,
            16 => self.store(u.int_in_range(0..=3_u8)? == 0),
            17 => match u.int_in_range(0..=7_u8)? {
                0 => self.broker.drain(self.now, Drain::default()),
                1..=3 => {
                    let name = u.choose(&NAMES)?;
                    let reason = DisconnectReason::AdministrativeAction;
                    self.broker.disconnect_client(self.now, name, reason, None);
                }
                4 | 5 => {
                    let filter = TopicFilter::new(u.choose(&FILTERS)?).unwrap();
                    self.broker.revoke(u.choose(&NAMES)?, filter);
                }
                _ => {
                    self.broker.reauthorize(self.now, u.choose(&NAMES)?);
                }
            },
            18 => match u.int_in_range(0..=7_u8)? {
                0 | 1 if self.config.journal => self.crash(u)?,
                2 => {
                    // What was said before, and what was handed out and not stored.
                    self.fetch();
                    self.has_failed |= self.config.journal;
                    let was_draining = self.broker.is_draining();
                    self.broker.handle_store_failed(self.now);
                    let drains = was_draining || self.config.journal;
                    assert_eq!(self.broker.is_draining(), drains);
                }
                _ => {}
            },
            _ => {
                if let Some(id) = self.choose(u)? {
                    let _ = self.broker.explain(id);
                }
            }
        }
        Ok(())
    }

    fn choose(&self, u: &mut Unstructured<'_>) -> Result<Option<ConnectionId>> {
        let ids: Vec<_> = self.lines.keys().copied().collect();
        match ids.is_empty() {
            true => Ok(None),
            false => Ok(Some(*u.choose(&ids)?)),
        }
    }

    fn open(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Ok(id) = self.broker.accept(self.now, Peer::default()) else {
            return Ok(());
        };
        let version = version(u)?;
        let mut input = Vec::new();
        if !u.ratio(1, 8)? {
            let name = Str::new(u.choose(&NAMES)?).unwrap();
            let mut connect = mqtt_codec::Connect::new(version, name);
            connect.clean_start = name.is_empty() || u.arbitrary()?;
            connect.keep_alive_secs = *u.choose(&[0, 10])?;
            if version == ProtocolVersion::V5_0 {
                connect.properties.session_expiry_secs = *u.choose(&[None, Some(60)])?;
            }
            let encoded = Packet::Connect(connect).encode_to(version, &mut input);
            assert!(encoded.is_ok());
        }
        let line = Line {
            version,
            sent: Sent::by_server(version),
            input,
            is_ready: false,
        };
        self.lines.insert(id, line);
        Ok(())
    }

    fn say(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(id) = self.choose(u)? else {
            return Ok(());
        };
        let Some(line) = self.lines.get_mut(&id) else {
            return Ok(());
        };
        match u.int_in_range(0..=3_u8)? {
            0 => {
                let filters = [SubscribeFilter::new(u.choose(&FILTERS)?, qos(u)?).unwrap()];
                let packet_id = mqtt_codec::PacketId::new(u.int_in_range(1..=3)?).unwrap();
                let subscribe = Subscribe {
                    id: packet_id,
                    filters: SubscribeFilters::new(&filters).unwrap(),
                    properties: Default::default(),
                };
                let _ = Packet::Subscribe(subscribe).encode_to(line.version, &mut line.input);
            }
            1 => {
                let message = message(u)?;
                let id = mqtt_codec::PacketId::new(u.int_in_range(1..=3)?).unwrap();
                let dup = u.ratio(1, 8)?;
                let delivery = match message.qos() {
                    mqtt_codec::QoS::AtMostOnce => mqtt_codec::Delivery::AtMostOnce,
                    mqtt_codec::QoS::AtLeastOnce => mqtt_codec::Delivery::AtLeastOnce { id, dup },
                    mqtt_codec::QoS::ExactlyOnce => mqtt_codec::Delivery::ExactlyOnce { id, dup },
                };
                let _ = message
                    .publish(delivery)
                    .encode_to(line.version, &mut line.input);
            }
            _ => line.input.extend(bytes(u, line.version)?),
        }
        // By either door, and with room or without, as the length is.
        let input = line.input.clone();
        let mut at_once: Vec<(ConnectionId, Vec<u8>)> = Vec::new();
        let consumed = match input.len() % 4 {
            len @ 0..=1 => self
                .broker
                .handle_input_into(self.now, id, &input, |to, packet| {
                    let is_taken = len == 0 || at_once.is_empty();
                    if is_taken {
                        at_once.push((to, packet.to_vec()));
                    }
                    is_taken
                }),
            _ => self.broker.handle_input(self.now, id, &input),
        };
        assert!(consumed.bytes <= input.len());
        if let Some(line) = self.lines.get_mut(&id) {
            line.sent.hear(&input[..consumed.bytes]);
        }
        for (to, packet) in at_once {
            let line = self.lines.get_mut(&to).expect("it is there");
            line.sent.take(&packet, Transmit::Idle);
        }
        let Some(line) = self.lines.get_mut(&id) else {
            return Ok(());
        };
        line.input.drain(..consumed.bytes);
        line.input.truncate(2_000);
        Ok(())
    }

    fn read(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(id) = self.choose(u)? else {
            return Ok(());
        };
        let Some(line) = self.lines.get_mut(&id) else {
            return Ok(());
        };
        if !line.is_ready {
            return Ok(());
        }
        let mut out = Vec::new();
        let max = *u.choose(&[1, 30, 10_000])?;
        let transmit = self.broker.poll_transmit(self.now, id, max, &mut out);
        line.sent.take(&out, transmit);
        match transmit {
            Transmit::More => {}
            Transmit::Idle => line.is_ready = false,
            Transmit::Close => drop(self.lines.remove(&id)),
        }
        Ok(())
    }

    /// Takes what the broker has to say. Nobody is let in when the store has failed.
    fn fetch(&mut self) {
        while let Some(event) = self.broker.poll_event() {
            let is_in = matches!(event, Event::Connected { .. });
            assert!(!is_in || !self.has_failed, "{event:?}");
            let is_question = matches!(
                event,
                Event::Authenticate { .. }
                    | Event::AuthenticateStep { .. }
                    | Event::AuthorizePublish { .. }
                    | Event::AuthorizeSubscribe { .. }
            );
            if is_question {
                self.questions.push(event);
            }
        }
    }

    fn answer(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.fetch();
        while !self.questions.is_empty() && u.ratio(3, 4)? {
            let place = u.choose_index(self.questions.len())?;
            let event = self.questions.swap_remove(place);
            self.decide(u, event)?;
        }
        Ok(())
    }

    fn decide(&mut self, u: &mut Unstructured<'_>, event: Event) -> Result<()> {
        let allows = u.ratio(3, 4)?;
        match event {
            Event::Authenticate { decision, .. } | Event::AuthenticateStep { decision, .. } => {
                let answer = match allows {
                    true => ConnectAnswer::Allow,
                    false => ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
                };
                let _stale = self.broker.decide_connect(self.now, decision, answer);
            }
            Event::AuthorizePublish { decision, .. } => {
                let answer = match allows {
                    true => PublishAnswer::Allow,
                    false => PublishAnswer::Refuse(PublishReason::NotAuthorized),
                };
                let _stale = self.broker.decide_publish(self.now, decision, answer);
            }
            Event::AuthorizeSubscribe { decision, .. } => {
                let answer = match allows {
                    true => SubscribeAnswer::Allow,
                    false => SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized),
                };
                let _stale = self.broker.decide_subscribe(self.now, decision, answer);
            }
            _ => {}
        }
        Ok(())
    }

    fn store(&mut self, loses: bool) {
        while let Some(entry) = self.broker.poll_journal() {
            if loses || self.has_failed {
                // It is never written, and nothing behind it may be.
                return;
            }
            for change in entry.changes() {
                let key = change.key().to_bytes();
                match change.value() {
                    Some(value) => drop(self.disk.insert(key, value.clone())),
                    None => drop(self.disk.remove(&key)),
                }
            }
            self.at = entry.at();
            self.broker.handle_stored(entry.position());
        }
    }

    fn crash(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.lines.clear();
        let idle = Idle {
            at: self.at,
            elapsed: Duration::from_secs(u.int_in_range(0..=100)?),
        };
        let mut restore = Restore::new(self.config.clone(), self.now, idle);
        for (key, value) in &self.disk {
            let key = StoreKey::from_bytes(key).unwrap();
            let _no_room = restore.put(key, value.clone());
        }
        self.broker = restore.finish();
        self.latest = self.now;
        self.has_failed = false;
        self.questions.clear();
        Ok(())
    }
}
