//! A client whose connection is cut anywhere, again and again, against a server that is right: every
//! message that was taken completes or is reported lost, once.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt_codec::{
    Ack, Connect, Delivery, Message, Packet, PacketId, Parsed, ProtocolVersion, Publish,
    PublishReason, QoS, ReleaseReason, decode,
};
use mqtt_state::client::{Config, Event, PublishToken, State};
use mqtt_state::session::{JournalEntry, SessionSnapshot};
use mqtt_state::{Timestamp, Transmit};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::Client;
use crate::wire::{V3_1_1, V5_0, connack, text};

const NOW: Timestamp = Timestamp::ZERO;

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(QoS),
    /// So many bytes go to the server.
    Up(usize),
    /// So many bytes of its answers come back.
    Down(usize),
    /// The connection is cut; the server may lose the session with it.
    Cut {
        loses_session: bool,
    },
    Reconnect,
    /// The program ends and begins again with what it has stored.
    Restart,
    /// The store has taken so many more entries of the journal.
    Store(usize),
    /// The program ends without warning, and begins again with what is in the store.
    Crash,
}

fn link_step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    prop_oneof![
        4 => qos.prop_map(Step::Publish),
        6 => (0..60_usize).prop_map(Step::Up),
        6 => (0..20_usize).prop_map(Step::Down),
        1 => prop::bool::weighted(0.2).prop_map(|loses_session| Step::Cut { loses_session }),
        3 => Just(Step::Reconnect),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![20 => link_step(), 1 => Just(Step::Restart)]
}

/// The same with a store that follows, late and in batches.
fn stored_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        15 => link_step(),
        5 => (0..6_usize).prop_map(Step::Store),
        1 => Just(Step::Crash),
    ]
}

/// What has been stored of a client.
struct Store {
    /// With everything that is stored.
    snapshot: SessionSnapshot,
    /// Handed out and not stored.
    entries: VecDeque<JournalEntry>,
    /// Messages of which the store has heard, and those that it knows to have ended.
    known: BTreeSet<PublishToken>,
}

/// What a right server has, and both directions of the connection.
#[derive(Default)]
struct Server {
    has_session: bool,
    /// QoS 2 identifiers received and not released.
    unreleased: BTreeSet<PacketId>,
    /// Identifiers whose last acknowledgement is not with the client yet.
    unacknowledged: BTreeSet<PacketId>,
    /// How often each payload has arrived.
    arrived: BTreeMap<Vec<u8>, u32>,
    up: Vec<u8>,
    down: Vec<u8>,
}

struct Run {
    version: ProtocolVersion,
    client: Client,
    /// From the client, and not with the server yet.
    on_the_way: Vec<u8>,
    /// With the client, and not taken yet.
    input: Vec<u8>,
    server: Server,
    /// What was taken, with its QoS and payload.
    taken: BTreeMap<PublishToken, (QoS, Vec<u8>)>,
    published: BTreeSet<PublishToken>,
    lost: BTreeSet<PublishToken>,
    /// Payloads that a lost session let come twice.
    may_double: bool,
    number: u32,
    store: Option<Store>,
}

impl Server {
    fn take(&mut self, version: ProtocolVersion, receive_maximum: u16) {
        let up = core::mem::take(&mut self.up);
        let mut rest = up.as_slice();
        while let Ok(Parsed::Complete((packet, size))) = decode(rest, version, u32::MAX) {
            let mut answers = Vec::new();
            match packet {
                Packet::Connect(_) => {
                    let mut accepted = connack(self.has_session);
                    if version == V5_0 {
                        let maximum = core::num::NonZeroU16::new(receive_maximum);
                        accepted.properties.receive_maximum = maximum;
                    }
                    self.has_session = true;
                    answers.push(accepted.into());
                }
                Packet::Publish(publish) => answers.extend(self.publish(&publish)),
                Packet::PubRel(ack) => {
                    self.unreleased.remove(&ack.id);
                    self.unacknowledged.insert(ack.id);
                    answers.push(Packet::PubComp(Ack::new(ack.id, ReleaseReason::Success)));
                }
                Packet::PingReq => answers.push(Packet::PingResp),
                other => panic!("{other:?}"),
            }
            for answer in answers {
                answer.encode_to(version, &mut self.down).unwrap();
            }
            rest = &rest[size..];
        }
        self.up = rest.to_vec();
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Option<Packet<'static>> {
        let mut arrive = || *self.arrived.entry(publish.payload.to_vec()).or_default() += 1;
        match publish.delivery {
            Delivery::AtMostOnce => {
                arrive();
                None
            }
            Delivery::AtLeastOnce { id, dup } => {
                // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4]
                assert!(
                    dup || !self.unacknowledged.contains(&id),
                    "{id} is in flight"
                );
                arrive();
                self.unacknowledged.insert(id);
                Some(Packet::PubAck(Ack::new(id, PublishReason::Success)))
            }
            Delivery::ExactlyOnce { id, dup } => {
                let is_new = self.unreleased.insert(id);
                let in_flight = !is_new || self.unacknowledged.contains(&id);
                assert!(dup || !in_flight, "{id} is in flight");
                if is_new {
                    arrive();
                }
                Some(Packet::PubRec(Ack::new(id, PublishReason::Success)))
            }
        }
    }

    /// The client has taken these bytes.
    fn arrived(&mut self, version: ProtocolVersion, mut bytes: &[u8]) {
        while let Ok(Parsed::Complete((packet, size))) = decode(bytes, version, u32::MAX) {
            match packet {
                Packet::PubAck(ack) => self.unacknowledged.remove(&ack.id),
                Packet::PubComp(ack) => self.unacknowledged.remove(&ack.id),
                _ => false,
            };
            bytes = &bytes[size..];
        }
    }
}

impl Run {
    fn new(version: ProtocolVersion, journal: bool) -> Self {
        let client = Client::new(config(journal));
        let store = Store {
            snapshot: client.snapshot(NOW),
            entries: VecDeque::new(),
            known: BTreeSet::new(),
        };
        Self {
            version,
            store: journal.then_some(store),
            client,
            on_the_way: Vec::new(),
            input: Vec::new(),
            server: Server::default(),
            taken: BTreeMap::new(),
            published: BTreeSet::new(),
            lost: BTreeSet::new(),
            may_double: false,
            number: 0,
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Publish(qos) => {
                self.number += 1;
                let payload = self.number.to_string().into_bytes();
                let message = Message::new("t", payload.clone()).unwrap().with_qos(qos);
                let token = self.client.publish(NOW, message).unwrap();
                assert!(
                    self.taken.insert(token, (qos, payload)).is_none(),
                    "a token twice"
                );
            }
            Step::Up(len) => self.up(len),
            Step::Down(len) => self.down(len),
            Step::Cut { loses_session } => self.cut(loses_session),
            Step::Reconnect => self.reconnect(),
            Step::Restart => {
                self.cut(false);
                let text = serde_json::to_vec(&self.client.snapshot(NOW)).unwrap();
                let snapshot = serde_json::from_slice(&text).unwrap();
                let restored = Client::restore(NOW, Duration::ZERO, config(false), snapshot);
                self.client = restored.unwrap();
            }
            Step::Store(len) => self.save(len),
            Step::Crash => self.crash(),
        }
        self.look();
    }

    fn save(&mut self, len: usize) {
        let Some(store) = &mut self.store else { return };
        let len = len.min(store.entries.len());
        for entry in store.entries.drain(..len) {
            self.client.handle_stored(entry.position());
            store.snapshot.apply(entry);
            store.known.extend(tokens(&store.snapshot));
        }
    }

    /// What was not stored has never happened, and nobody but this program may know of it.
    fn crash(&mut self) {
        self.cut(false);
        let Some(mut store) = self.store.take() else {
            return;
        };
        self.look();
        let text = serde_json::to_vec(&store.snapshot).unwrap();
        let snapshot: SessionSnapshot = serde_json::from_slice(&text).unwrap();
        let open = tokens(&snapshot);
        let restored = Client::restore(NOW, Duration::ZERO, config(true), snapshot);
        self.client = restored.unwrap();
        let server = &self.server;
        self.taken.retain(|token, (qos, payload)| {
            if *qos == QoS::AtMostOnce {
                let arrived = server.arrived.get(payload).copied().unwrap_or(0);
                assert!(arrived <= 1, "QoS 0 at most once");
                // No store knows its name.
                return false;
            }
            let is_stored = store.known.contains(token);
            let has_arrived = server.arrived.contains_key(payload);
            assert!(
                is_stored || !has_arrived,
                "{token:?} was sent before it was stored"
            );
            is_stored
        });
        self.published
            .retain(|token| self.taken.contains_key(token) && !open.contains(token));
        self.lost
            .retain(|token| self.taken.contains_key(token) && !open.contains(token));
        store.snapshot = self.client.snapshot(NOW);
        store.entries.clear();
        self.store = Some(store);
    }

    /// What is on the way is lost when the connection is cut, at whatever byte that is.
    fn up(&mut self, len: usize) {
        let transmit = self.client.poll_transmit(NOW, 64, &mut self.on_the_way);
        assert_ne!(transmit, Transmit::Close, "the server has broken no rule");
        let len = len.min(self.on_the_way.len());
        self.server.up.extend(self.on_the_way.drain(..len));
        self.server.take(self.version, 3);
    }

    fn down(&mut self, len: usize) {
        let len = len.min(self.server.down.len());
        self.input.extend(self.server.down.drain(..len));
        let consumed = self.client.handle_input(NOW, &self.input).bytes;
        self.server.arrived(self.version, &self.input[..consumed]);
        self.input.drain(..consumed);
    }

    fn cut(&mut self, loses_session: bool) {
        self.client.handle_close(NOW);
        self.on_the_way.clear();
        self.input.clear();
        self.server.up.clear();
        self.server.down.clear();
        // What was acknowledged in vain is sent again with the same identifier and DUP.
        self.server.unacknowledged.clear();
        if loses_session && self.server.has_session {
            self.server.has_session = false;
            self.server.unreleased.clear();
            self.may_double = true;
        }
    }

    fn reconnect(&mut self) {
        if self.client.state() != State::Disconnected {
            return;
        }
        let mut connect = Connect::new(self.version, text("c"));
        connect.clean_start = false;
        if self.version == V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        self.client.connect(NOW, &connect).unwrap();
    }

    fn look(&mut self) {
        if let Some(store) = &mut self.store {
            store
                .entries
                .extend(core::iter::from_fn(|| self.client.poll_journal()));
            let mut followed = store.snapshot.clone();
            store
                .entries
                .iter()
                .cloned()
                .for_each(|entry| followed.apply(entry));
            assert_eq!(followed, self.client.snapshot(NOW), "the journal says all");
        }
        while let Some(event) = self.client.poll_event() {
            let (token, outcome) = match event {
                Event::Published { token, .. } => (token, &mut self.published),
                Event::PublishLost { token, .. } => (token, &mut self.lost),
                Event::Closed { cause, .. } => {
                    assert_eq!(cause, mqtt_state::CloseCause::ConnectionLost);
                    continue;
                }
                _ => continue,
            };
            assert!(self.taken.contains_key(&token), "{token:?} was never taken");
            assert!(outcome.insert(token), "{token:?} is told twice");
        }
        assert!(
            self.published.is_disjoint(&self.lost),
            "two outcomes of one message"
        );
        let in_flight = self.client.in_flight_len();
        assert!(in_flight <= self.taken.len() - self.published.len() - self.lost.len());
    }

    /// Nothing is cut any more: all of it completes, in a bounded number of steps.
    fn finish(&mut self) {
        let bound = 10 + 8 * self.taken.len();
        for _ in 0..bound {
            self.reconnect();
            self.save(1_000);
            self.up(1_000);
            self.down(1_000);
            self.look();
        }
        assert_eq!(
            self.published.len() + self.lost.len(),
            self.taken.len(),
            "all are told"
        );
        assert_eq!(
            (self.client.in_flight_len(), self.client.waiting_len()),
            (0, 0)
        );
        for (token, (qos, payload)) in &self.taken {
            let arrived = self.server.arrived.get(payload).copied().unwrap_or(0);
            match qos {
                QoS::AtMostOnce => assert!(arrived <= 1, "QoS 0 at most once"),
                QoS::AtLeastOnce if self.published.contains(token) => {
                    assert!(arrived >= 1, "QoS 1 at least once");
                }
                QoS::ExactlyOnce if self.published.contains(token) && !self.may_double => {
                    assert_eq!(arrived, 1, "QoS 2 exactly once");
                }
                QoS::AtLeastOnce | QoS::ExactlyOnce => {}
            }
        }
        if !self.may_double {
            assert_eq!(
                self.lost.len(),
                0,
                "nothing is lost while the session lives"
            );
        }
    }
}

/// The messages in a snapshot, by name.
fn tokens(snapshot: &SessionSnapshot) -> BTreeSet<PublishToken> {
    let client = Client::restore(NOW, Duration::ZERO, config(true), snapshot.clone()).unwrap();
    client.open_publishes().map(|(token, _)| token).collect()
}

fn config(journal: bool) -> Config {
    Config {
        journal,
        in_flight_max: 3,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_has_one_outcome_wherever_the_connection_is_cut(
        is_v5 in any::<bool>(),
        steps in vec(step(), 0..150),
    ) {
        let mut run = Run::new(if is_v5 { V5_0 } else { V3_1_1 }, false);
        run.reconnect();
        steps.into_iter().for_each(|step| run.act(step));
        run.finish();
    }

    #[test]
    fn what_a_store_has_survives_a_crash_at_any_time(
        is_v5 in any::<bool>(),
        steps in vec(stored_step(), 0..150),
    ) {
        let mut run = Run::new(if is_v5 { V5_0 } else { V3_1_1 }, true);
        run.reconnect();
        steps.into_iter().for_each(|step| run.act(step));
        run.finish();
    }
}
