//! A broker, its clients, and the connections between them, with everything that looks at them.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;
use mqtt_codec::{ProtocolVersion, QoS};

use super::actor::Actor;
use super::coverage::{Coverage, Fault, Stage};
use super::embed::Embedder;
use super::oracle::Oracle;
use super::packets::{AckKind, Seen};
use super::plan::Plan;
use super::sessions::{Session, Wills};
use super::strangers::Strangers;
use super::watch::{Broken, Flights, Way};
use super::{Failure, Trace};
use crate::broker::{self, Broker, ConnectionId, Idle, JournalEntry, Restore};
use crate::client::{Event, State};
use crate::{CloseCause, Timestamp, Transmit};

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Bytes on their way, those that have arrived, and who looks at them.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// On the way.
    pub(super) transit: VecDeque<u8>,
    /// Arrived, and not taken.
    arrived: Vec<u8>,
    pub(super) way: Way,
    /// Its sender has handed out the last byte.
    has_closed: bool,
    /// Nothing arrives before.
    pub(super) not_before: Timestamp,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) client: usize,
    pub(super) id: ConnectionId,
    version: ProtocolVersion,
    clean_start: bool,
    expiry_secs: u32,
    pub(super) up: Half,
    pub(super) down: Half,
    /// The client's transport has ended.
    pub(super) client_gone: bool,
    /// The broker's has.
    pub(super) broker_gone: bool,
    stage: Stage,
    present: bool,
    /// Of the session.
    epoch: u32,
    /// Numbers of the messages that came with these identifiers.
    taken: BTreeMap<mqtt_codec::PacketId, u32>,
    subscribes: BTreeMap<mqtt_codec::PacketId, Vec<(String, QoS, bool)>>,
    unsubscribes: BTreeMap<mqtt_codec::PacketId, Vec<String>>,
}

pub(super) struct World<'e> {
    pub(super) embedder: &'e mut dyn Embedder,
    pub(super) plan: Plan,
    pub(super) now: Timestamp,
    pub(super) broker: Broker,
    config: broker::Config,
    pub(super) actors: Vec<Actor>,
    pub(super) sessions: Vec<Session>,
    pub(super) wills: Wills,
    pub(super) oracle: Oracle,
    pub(super) lines: Vec<Line>,
    next_line: u64,
    /// Identifiers of the broker, one space for each session.
    flights: Vec<Flights>,
    /// What the broker has named and has not been drained.
    pub(super) ready: BTreeSet<ConnectionId>,
    behind: VecDeque<JournalEntry>,
    /// When the last entry that is stored was handed out.
    stored_at: Timestamp,
    pub(super) is_store_slow: bool,
    /// Entries that were written, by whomever.
    pub(super) stored: usize,
    /// Questions that nobody has answered, in their order.
    questions: VecDeque<broker::Event>,
    pub(super) strangers: Strangers,
    pub(super) coverage: Coverage,
    pub(super) step: usize,
    pub(super) failure: Option<Failure>,
    pub(super) trace: Trace,
}

impl<'e> World<'e> {
    pub(super) fn new(plan: Plan, embedder: &'e mut dyn Embedder, trace: Trace) -> Self {
        let now = Timestamp::from_secs(1000);
        embedder.clear();
        let config = embedder.broker_config(plan.broker.clone());
        let mut actors = Vec::new();
        for (place, client) in plan.clients.iter().enumerate() {
            let mut client = client.clone();
            client.config = embedder.client_config(client.config);
            actors.push(Actor::new(format!("c{place}"), client, now));
        }
        let len = actors.len();
        Self {
            embedder,
            now,
            broker: Broker::new(config.clone()),
            config,
            sessions: alloc::vec![Session::new(); len],
            flights: alloc::vec![Flights::default(); len],
            actors,
            wills: Wills::default(),
            oracle: Oracle::default(),
            lines: Vec::new(),
            next_line: 1,
            ready: BTreeSet::new(),
            behind: VecDeque::new(),
            stored_at: now,
            is_store_slow: false,
            stored: 0,
            questions: VecDeque::new(),
            strangers: Strangers::new(plan.seed),
            coverage: Coverage::of_one_run(),
            step: 0,
            failure: None,
            trace,
            plan,
        }
    }

    pub(super) fn check(&mut self, result: Result<(), Broken>) {
        if let Err((rule, text)) = result {
            self.fail(rule, text);
        }
    }

    pub(super) fn fail(&mut self, rule: &'static str, text: String) {
        self.trace.note(|| format!("BROKEN {rule}: {text}"));
        let step = self.step;
        self.failure.get_or_insert(Failure { step, rule, text });
    }

    pub(super) fn line_of(&self, client: usize) -> Option<usize> {
        let number = self.actors[client].line?;
        self.lines.iter().position(|line| line.number == number)
    }

    /// Opens a connection for a client that has just begun one.
    pub(super) fn open(
        &mut self,
        client: usize,
        clean_start: bool,
        expiry_secs: u32,
    ) -> Option<u64> {
        let id = match self.broker.accept(self.now, broker::Peer::default()) {
            Ok(id) => id,
            Err(error) => {
                self.fail("there is room for a connection", format!("{error}"));
                return None;
            }
        };
        let number = self.next_line;
        self.next_line += 1;
        let expiry_max = self.config.server.session_expiry_max_secs;
        self.lines.push(Line {
            number,
            client,
            id,
            version: self.actors[client].plan.version,
            clean_start,
            expiry_secs: expiry_secs.min(expiry_max.unwrap_or(u32::MAX)),
            up: Half::default(),
            down: Half::default(),
            client_gone: false,
            broker_gone: false,
            stage: Stage::Connecting,
            present: false,
            epoch: 0,
            taken: BTreeMap::new(),
            subscribes: BTreeMap::new(),
            unsubscribes: BTreeMap::new(),
        });
        self.actors[client].line = Some(number);
        self.drain_broker();
        Some(number)
    }

    /// A client hands out bytes. Answers whether something happened.
    pub(super) fn send_up(&mut self, place: usize) -> bool {
        let line = &mut self.lines[place];
        if line.client_gone || line.up.has_closed || line.up.transit.len() >= self.plan.capacity {
            return false;
        }
        let actor = &mut self.actors[line.client];
        let mut bytes = Vec::new();
        let transmit = actor
            .client
            .poll_transmit(self.now, self.plan.chunk, &mut bytes);
        let closes = transmit == Transmit::Close;
        line.up.has_closed = closes;
        line.up.transit.extend(&bytes);
        let client = line.client;
        self.watch(place, Direction::Up, &bytes);
        self.drain_client(client);
        if closes {
            self.trace.note(|| format!("c{client} closes"));
            let number = self.lines[place].number;
            self.lines[place].client_gone = true;
            self.actors[client].end_line(number);
        }
        closes || !bytes.is_empty()
    }

    /// The broker hands out bytes.
    pub(super) fn send_down(&mut self, place: usize) -> bool {
        let line = &mut self.lines[place];
        let is_slow = self.actors[line.client].reads_slowly;
        let is_full = line.down.transit.len() >= self.plan.capacity;
        if line.broker_gone || line.down.has_closed || is_slow || is_full {
            return false;
        }
        if !self.ready.contains(&line.id) {
            return false;
        }
        let mut bytes = Vec::new();
        let transmit = self
            .broker
            .poll_transmit(self.now, line.id, self.plan.chunk, &mut bytes);
        let closes = transmit == Transmit::Close;
        line.down.has_closed = closes;
        line.down.transit.extend(&bytes);
        if transmit != Transmit::More {
            self.ready.remove(&line.id);
        }
        if closes {
            line.broker_gone = true;
        }
        self.watch(place, Direction::Down, &bytes);
        if closes {
            self.trace.note(|| format!("broker closes line {place}"));
        }
        self.drain_broker();
        closes || !bytes.is_empty()
    }

    /// So many bytes arrive at the broker, which takes what it can.
    pub(super) fn arrive_up(&mut self, place: usize, len: usize) -> bool {
        let now = self.now;
        let line = &mut self.lines[place];
        if line.broker_gone {
            // Nobody reads any more.
            line.up.transit.clear();
            return false;
        }
        if line.up.not_before > now {
            return false;
        }
        let len = len.min(line.up.transit.len());
        line.up.arrived.extend(line.up.transit.drain(..len));
        let offered = line.up.arrived.len();
        let bytes = if offered == 0 {
            0
        } else if self.plan.shared {
            let mut buffer = BytesMut::from(&line.up.arrived[..]);
            self.broker
                .handle_input_shared(now, line.id, &mut buffer)
                .bytes
        } else {
            self.broker
                .handle_input(now, line.id, &line.up.arrived)
                .bytes
        };
        if bytes < offered && len > 0 {
            self.coverage.fault(Fault::Split);
        }
        let taken: Vec<u8> = self.lines[place].up.arrived.drain(..bytes).collect();
        let took = !taken.is_empty();
        if took {
            let stage = self.lines[place].stage;
            self.hear_up(place, &taken, stage);
            self.drain_broker();
        }
        let line = &self.lines[place];
        let is_over = line.up.has_closed && line.up.transit.is_empty();
        if is_over && !line.broker_gone {
            // What is still in the buffer was not taken, and the client has gone.
            self.broker_loses(place);
            return true;
        }
        took || len > 0
    }

    /// So many bytes arrive at the client.
    pub(super) fn arrive_down(&mut self, place: usize, len: usize) -> bool {
        let now = self.now;
        let line = &mut self.lines[place];
        if line.client_gone {
            line.down.transit.clear();
            return false;
        }
        if line.down.not_before > now || self.actors[line.client].reads_slowly {
            return false;
        }
        let len = len.min(line.down.transit.len());
        line.down.arrived.extend(line.down.transit.drain(..len));
        let offered = line.down.arrived.len();
        let client = line.client;
        let stage = stage_of(self.actors[client].client.state());
        let machine = &mut self.actors[client].client;
        let bytes = if offered == 0 {
            0
        } else if self.plan.shared {
            let mut buffer = BytesMut::from(&line.down.arrived[..]);
            machine.handle_input_shared(now, &mut buffer).bytes
        } else {
            machine.handle_input(now, &line.down.arrived).bytes
        };
        if bytes < offered && len > 0 {
            self.coverage.fault(Fault::Split);
        }
        let taken: Vec<u8> = self.lines[place].down.arrived.drain(..bytes).collect();
        let took = !taken.is_empty();
        if took {
            self.hear_at(place, &taken, stage);
            self.drain_client(client);
        }
        let line = &self.lines[place];
        let is_over = line.down.has_closed && line.down.transit.is_empty();
        if is_over && !line.client_gone {
            self.client_loses(place);
            return true;
        }
        took || len > 0
    }

    /// The client's transport ends.
    pub(super) fn client_loses(&mut self, place: usize) {
        let line = &mut self.lines[place];
        if line.client_gone {
            return;
        }
        line.client_gone = true;
        line.down.arrived.clear();
        let (client, number) = (line.client, line.number);
        if self.actors[client].line == Some(number) {
            self.actors[client].client.handle_close(self.now);
            self.drain_client(client);
        }
        self.actors[client].end_line(number);
    }

    /// The broker's transport ends.
    pub(super) fn broker_loses(&mut self, place: usize) {
        let line = &mut self.lines[place];
        if line.broker_gone {
            return;
        }
        line.broker_gone = true;
        line.up.arrived.clear();
        let id = line.id;
        self.ready.remove(&id);
        self.broker.handle_close(self.now, id);
        self.drain_broker();
    }

    /// Forgets connections that both sides have forgotten. The broker hears late that the transport has
    /// ended, as it does from threads and tasks.
    pub(super) fn sweep(&mut self) {
        let is_over = |line: &Line| line.client_gone && line.broker_gone;
        let over: Vec<_> = self.lines.iter().filter(|line| is_over(line)).collect();
        let late: Vec<_> = over.iter().map(|line| line.id).collect();
        self.lines.retain(|line| !is_over(line));
        for id in late {
            self.broker.handle_close(self.now, id);
            self.drain_broker();
        }
    }

    /// Looks at what a machine hands out.
    fn watch(&mut self, place: usize, direction: Direction, bytes: &[u8]) {
        self.trace.bytes(bytes);
        let line = &mut self.lines[place];
        let half = match direction {
            Direction::Up => &mut line.up,
            Direction::Down => &mut line.down,
        };
        let packets = match half.way.packets(line.version, bytes) {
            Ok(packets) => packets,
            Err((rule, text)) => return self.fail(rule, text),
        };
        for (seen, size) in packets {
            let line = &mut self.lines[place];
            let client = line.client;
            self.trace
                .note(|| format!("line {} {direction:?} sends {seen:?}", line.number));
            let result = match direction {
                Direction::Up => {
                    let actor = &mut self.actors[client];
                    let own = match line.version {
                        ProtocolVersion::V5_0 => actor.plan.config.in_flight_max,
                        ProtocolVersion::V3_1_1 => actor
                            .plan
                            .config
                            .in_flight_max_v3
                            .min(actor.plan.config.in_flight_max),
                    };
                    if let Seen::Connect {
                        clean_start: true, ..
                    } = seen
                    {
                        actor.flights.forget_all();
                    }
                    let way = &mut line.up.way;
                    way.send(line.number, &seen, size, &mut actor.flights, own)
                }
                Direction::Down => {
                    let own = self.config.server.in_flight_max;
                    if let Seen::ConnAck {
                        session_present: false,
                        ..
                    } = seen
                    {
                        self.flights[client].forget_all();
                    }
                    // What was queued before the end says nothing about the session any more.
                    let mut old = Flights::default();
                    old.is_restored = true;
                    let flights = match line.stage {
                        Stage::Ending => &mut old,
                        Stage::Connecting | Stage::Connected => &mut self.flights[client],
                    };
                    let way = &mut line.down.way;
                    way.send(line.number, &seen, size, flights, own)
                }
            };
            if let Seen::Publish { dup: true, .. } = seen {
                self.coverage.repeated += 1;
            }
            self.check(result);
            if direction == Direction::Down {
                self.broker_has_sent(place, &seen);
            }
        }
    }

    /// What the broker has said is stored, and binds it.
    fn broker_has_sent(&mut self, place: usize, seen: &Seen) {
        let line = &mut self.lines[place];
        let client = line.client;
        match seen {
            Seen::ConnAck {
                is_accepted: true,
                session_present,
                ..
            } => {
                let (number, present) = (line.number, line.present);
                self.sessions[client].connack(number, present);
                self.wills.connack(number);
                if present != *session_present {
                    self.fail("session present is the truth", format!("{seen:?}"));
                }
            }
            Seen::Ack {
                kind: AckKind::PubAck | AckKind::PubRec,
                id,
                reason,
            } => {
                let Some(number) = line.taken.remove(id) else {
                    return;
                };
                if reason.value() >= 0x80 {
                    self.oracle.refuse(number);
                    return;
                }
                let none_matched = reason.value() == 0x10;
                let result =
                    self.oracle
                        .acknowledge(number, &mut self.sessions, &self.actors, none_matched);
                self.check(result);
            }
            Seen::SubAck { id, granted } => {
                let filters = line.subscribes.remove(id).unwrap_or_default();
                for ((filter, ..), granted) in filters.iter().zip(granted) {
                    self.sessions[client].suback(filter, *granted);
                }
            }
            Seen::UnsubAck { id } => {
                for filter in line.unsubscribes.remove(id).unwrap_or_default() {
                    self.sessions[client].unsuback(&filter);
                }
            }
            _ => {}
        }
    }

    /// The packets that a machine has taken; those that it has ignored need not be whole.
    fn split(&mut self, place: usize, bytes: &[u8], stage: Stage) -> Option<Vec<Seen>> {
        let version = self.lines[place].version;
        match Way::default().packets(version, bytes) {
            Ok(packets) => Some(packets.into_iter().map(|(seen, _)| seen).collect()),
            Err(_) if stage == Stage::Ending => None,
            Err((rule, text)) => {
                self.fail(rule, text);
                None
            }
        }
    }

    /// Looks at what the broker has taken.
    fn hear_up(&mut self, place: usize, bytes: &[u8], stage: Stage) {
        self.coverage.bytes += bytes.len() as u64;
        let Some(packets) = self.split(place, bytes, stage) else {
            return;
        };
        count_packets(&mut self.coverage, false, stage, bytes);
        for seen in packets {
            let line = &mut self.lines[place];
            let client = line.client;
            if stage == Stage::Ending {
                continue;
            }
            self.trace
                .note(|| format!("line {} broker takes {seen:?}", line.number));
            line.down.way.hear(&seen, &mut self.flights[client]);
            match seen {
                Seen::Connect { limits, .. } => line.down.way.limits = limits,
                Seen::Publish {
                    id,
                    number: Some(number),
                    ..
                } => {
                    if let Some(id) = id {
                        line.taken.insert(id, number);
                    }
                    if self.sessions[client].is_mixed {
                        self.oracle.doubt(number);
                    }
                    if !self.config.ask.publish {
                        self.oracle.route(number, &self.sessions);
                    }
                }
                Seen::Subscribe { id, filters } => {
                    for (filter, qos, no_local) in &filters {
                        self.sessions[client].subscribe(filter, *qos, *no_local);
                    }
                    line.subscribes.insert(id, filters);
                }
                Seen::Unsubscribe { id, filters } => {
                    for filter in &filters {
                        self.sessions[client].unsubscribe(filter);
                    }
                    line.unsubscribes.insert(id, filters);
                }
                _ => {}
            }
        }
    }

    /// Looks at what a client has taken.
    fn hear_at(&mut self, place: usize, bytes: &[u8], stage: Stage) {
        self.coverage.bytes += bytes.len() as u64;
        let Some(packets) = self.split(place, bytes, stage) else {
            return;
        };
        count_packets(&mut self.coverage, true, stage, bytes);
        for seen in packets {
            let line = &mut self.lines[place];
            let actor = &mut self.actors[line.client];
            self.trace
                .note(|| format!("line {} {} takes {seen:?}", line.number, actor.name));
            if stage == Stage::Ending {
                continue;
            }
            line.up.way.hear(&seen, &mut actor.flights);
            if let Seen::ConnAck {
                is_accepted: true,
                session_present,
                limits,
            } = seen
            {
                line.up.way.limits = limits;
                if session_present {
                    self.coverage.resumes += 1;
                } else {
                    actor.may_lose = true;
                    actor.flights.forget_all();
                }
                actor.is_fresh = false;
                if !session_present {
                    actor.begin_epoch(line.epoch);
                }
            }
        }
    }

    /// Takes what a client has to say.
    pub(super) fn drain_client(&mut self, client: usize) {
        while let Some(event) = self.actors[client].client.poll_event() {
            self.trace.note(|| format!("c{client} {event:?}"));
            let result = self.actors[client].note_outcome(&event);
            self.check(result);
            match &event {
                Event::Message { message, dup, .. } => {
                    let version = self.actors[client].plan.version;
                    self.coverage.delivery(version, message.qos());
                    let actor = &mut self.actors[client];
                    let has_store = actor.has_store();
                    let result = self.oracle.deliver(
                        client,
                        message,
                        *dup,
                        &mut self.sessions[client],
                        &mut actor.inbox,
                        has_store,
                    );
                    self.check(result);
                }
                Event::Closed {
                    cause: CloseCause::ProtocolError(error),
                    ..
                } => {
                    self.fail("the broker breaks no rule", format!("c{client}: {error:?}"));
                }
                _ => {}
            }
        }
        let actor = &mut self.actors[client];
        actor.may_lose = false;
        actor.follow();
        let lag = match actor.is_store_slow {
            true => usize::MAX,
            false => self.plan.lag,
        };
        let behind = actor.behind_len();
        self.stored += actor.store(behind.saturating_sub(lag));
    }

    /// Takes what the broker has to say.
    pub(super) fn drain_broker(&mut self) {
        while let Some(event) = self.broker.poll_event() {
            self.trace.note(|| format!("broker {event:?}"));
            self.handle_event(event);
        }
        for place in 0..self.sessions.len() {
            let result = self.sessions[place].settle();
            self.check(result);
        }
        while let Some(entry) = self.broker.poll_journal() {
            self.behind.push_back(entry);
        }
        let lag = match self.is_store_slow {
            true => usize::MAX,
            false => self.plan.lag,
        };
        let behind = self.behind.len();
        self.store(behind.saturating_sub(lag));
        if self.behind.is_empty() {
            self.sessions.iter_mut().for_each(Session::note_stored);
            self.wills.note_stored();
        }
        while let Some(id) = self.broker.poll_ready() {
            if !self.ready.insert(id) {
                self.fail("named once until it is drained", format!("{id:?}"));
            }
        }
    }

    /// So many entries of the broker's journal are written.
    pub(super) fn store(&mut self, len: usize) -> bool {
        let len = len.min(self.behind.len());
        self.stored += len;
        for entry in self.behind.drain(..len) {
            self.embedder.write(&entry);
            self.stored_at = entry.at();
            self.broker.handle_stored(entry.position());
        }
        if len > 0 {
            while let Some(id) = self.broker.poll_ready() {
                if !self.ready.insert(id) {
                    self.fail("named once until it is drained", format!("{id:?}"));
                }
            }
        }
        len > 0
    }

    pub(super) fn behind_len(&self) -> usize {
        self.behind.len()
    }

    fn client_named(&self, client_id: &str) -> Option<usize> {
        self.actors.iter().position(|actor| actor.name == client_id)
    }

    fn handle_event(&mut self, event: broker::Event) {
        use broker::Event;
        match event {
            Event::Authenticate { .. }
            | Event::AuthenticateStep { .. }
            | Event::AuthorizeSubscribe { .. } => self.questions.push_back(event),
            Event::AuthorizePublish {
                is_will,
                ref message,
                ..
            } => {
                if is_will {
                    let topic = String::from(message.topic().as_str());
                    self.will_published(&topic);
                }
                self.questions.push_back(event);
            }
            Event::Connected {
                connection,
                session_present,
                ..
            } => self.connected(connection, session_present),
            Event::Closed {
                connection, cause, ..
            } => {
                self.strangers.note_closed(connection);
                let line = self.lines.iter_mut().find(|line| line.id == connection);
                let Some(line) = line else { return };
                line.stage = Stage::Ending;
                let (client, number) = (line.client, line.number);
                self.sessions[client].close(self.now, number);
                let normally = matches!(
                    cause,
                    CloseCause::DisconnectedByPeer(
                        mqtt_codec::DisconnectReason::NormalDisconnection
                    )
                );
                self.wills.close(self.now, number, normally);
                if let CloseCause::ProtocolError(error) = cause {
                    self.fail("a client breaks no rule", format!("c{client}: {error:?}"));
                }
            }
            Event::Dropped {
                client_id, topic, ..
            } => {
                let Some(client) = self.client_named(&client_id) else {
                    return;
                };
                let oracle = &self.oracle;
                let last = oracle.messages.len() as u32;
                let is_it = |number| oracle.get(number).is_some_and(|it| it.topic == topic);
                self.sessions[client].waive(&topic, last, is_it);
            }
            // Where it was asked for, what counts is when.
            Event::WillPublished { topic, .. } if !self.config.ask.publish => {
                self.will_published(&topic);
            }
            Event::SessionEnded { client_id } => {
                let Some(client) = self.client_named(&client_id) else {
                    return;
                };
                self.sessions[client].end(self.now);
                let result = self.wills.end_session(client);
                self.check(result);
            }
            _ => {}
        }
    }

    fn will_published(&mut self, topic: &str) {
        if topic.starts_with("w/") {
            self.coverage.wills += 1;
            let result = self.wills.publish(self.now, topic);
            self.check(result);
        }
    }

    fn connected(&mut self, connection: ConnectionId, present: bool) {
        self.strangers.note_connected(connection);
        let line = self.lines.iter_mut().find(|line| line.id == connection);
        let Some(line) = line else { return };
        line.stage = Stage::Connected;
        line.present = present;
        let (client, number) = (line.client, line.number);
        let (clean_start, expiry_secs) = (line.clean_start, line.expiry_secs);
        let session = &mut self.sessions[client];
        let result = session.connect(self.now, number, clean_start, expiry_secs, present);
        self.check(result);
        if !present {
            self.flights[client].forget_all();
        } else if self.actors[client].epoch() != self.sessions[client].epoch {
            self.sessions[client].mix();
        }
        let epoch = self.sessions[client].epoch;
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == connection) {
            line.epoch = epoch;
        }
        let result = self.wills.connect(self.now, client, present);
        self.check(result);
        if let Some(will) = self.actors[client].plan.will {
            let connects = number;
            let topic = format!("w/c{client}/{connects}");
            self.wills
                .leave(client, number, topic, will.delay_secs, expiry_secs);
        }
    }

    /// Answers some questions. Answers whether there were some.
    pub(super) fn decide(&mut self, len: usize) -> bool {
        use broker::Event;
        let mut some = false;
        for _ in 0..len {
            let Some(event) = self.questions.pop_front() else {
                break;
            };
            some = true;
            let now = self.now;
            match event {
                Event::Authenticate {
                    decision, request, ..
                } => {
                    let answer = self.embedder.decide_connect(&request);
                    let _stale = self.broker.decide_connect(now, decision, answer);
                }
                Event::AuthenticateStep { decision, .. } => {
                    let answer = broker::ConnectAnswer::Allow;
                    let _stale = self.broker.decide_connect(now, decision, answer);
                }
                Event::AuthorizePublish {
                    decision,
                    client_id,
                    message,
                    ..
                } => {
                    let answer = self.embedder.decide_publish(&client_id, &message);
                    let number = super::packets::number_of(message.payload());
                    let is_allowed = answer == broker::PublishAnswer::Allow;
                    let is_taken = self.broker.decide_publish(now, decision, answer).is_ok();
                    if let Some(number) = number.filter(|_| is_allowed && is_taken) {
                        self.oracle.route(number, &self.sessions);
                    }
                }
                Event::AuthorizeSubscribe {
                    decision,
                    client_id,
                    filter,
                    ..
                } => {
                    let answer = self.embedder.decide_subscribe(&client_id, &filter);
                    let _stale = self.broker.decide_subscribe(now, decision, answer);
                }
                _ => {}
            }
            self.drain_broker();
        }
        some
    }

    /// The broker's program ends without a warning, and another goes on with what was stored.
    pub(super) fn crash_broker(&mut self) {
        let has_store = self.config.journal;
        for place in 0..self.lines.len() {
            self.lines[place].broker_gone = true;
            self.client_loses(place);
        }
        self.lines.clear();
        self.strangers.forget_lines();
        self.ready.clear();
        self.behind.clear();
        self.questions.clear();
        for session in &mut self.sessions {
            session.crash(has_store);
        }
        self.wills.crash(has_store);
        self.oracle.crash();
        for flights in &mut self.flights {
            flights.is_restored = true;
        }
        if !has_store {
            self.broker = Broker::new(self.config.clone());
            self.coverage.fault(Fault::CrashBrokerWithoutStore);
            return;
        }
        self.coverage.fault(Fault::CrashBroker);
        self.coverage.restores += 1;
        let idle = Idle {
            at: self.stored_at,
            elapsed: self.now.saturating_since(self.stored_at),
        };
        let mut restore = Restore::new(self.config.clone(), self.now, idle);
        let mut refused = None;
        self.embedder.read(&mut |key, value| {
            let put = restore.put(key.clone(), value);
            if let Err(error) = put {
                refused.get_or_insert((key, error));
            }
        });
        self.broker = restore.finish();
        if let Some((key, error)) = refused {
            self.fail(
                "what was stored can be restored",
                format!("{key:?}: {error}"),
            );
        }
        self.drain_broker();
        self.fire();
    }

    /// Everything that is due is done.
    pub(super) fn fire(&mut self) {
        for _ in 0..100_000 {
            let now = self.now;
            let mut fired = false;
            if self.broker.poll_timeout().is_some_and(|due| due.at <= now) {
                self.broker.handle_timeout(now);
                self.drain_broker();
                fired = true;
            }
            for client in 0..self.actors.len() {
                let machine = &mut self.actors[client].client;
                if machine.poll_timeout().is_some_and(|due| due.at <= now) {
                    let before = machine.poll_timeout();
                    machine.handle_timeout(now);
                    fired |= machine.poll_timeout() != before;
                    self.drain_client(client);
                }
            }
            if !fired {
                return;
            }
        }
        let text = format!("{:?}", self.broker.poll_timeout());
        self.fail("deadlines come to an end", text);
    }

    /// After each step.
    pub(super) fn look(&mut self) {
        self.fire();
        self.sweep();
        let result = self.wills.settle(self.now);
        self.check(result);
        for client in 0..self.actors.len() {
            if let Some(filter) = self.lacks(client) {
                let text = format!("c{client} has no {filter}: {:?}", self.sessions[client]);
                self.fail("a subscription that was granted stays", text);
            }
        }
    }

    /// A filter that a client is subscribed to for certain, and the broker knows nothing of.
    fn lacks(&self, client: usize) -> Option<String> {
        let mut sure = self.sessions[client].sure().peekable();
        sure.peek()?;
        let there = self.broker.subscriptions(&self.actors[client].name);
        let is_there = |filter: &&str| there.iter().any(|(it, _)| it == filter);
        sure.find(|filter| !is_there(filter)).map(String::from)
    }

    /// The number that the next connection gets.
    pub(super) const fn next_line(&self) -> u64 {
        self.next_line
    }
}

pub(super) fn stage_of(state: State) -> Stage {
    match state {
        State::Connecting => Stage::Connecting,
        State::Connected => Stage::Connected,
        State::Ending | State::Disconnected => Stage::Ending,
    }
}

/// Counts whole packets by their first bytes.
pub(super) fn count_packets(coverage: &mut Coverage, at_client: bool, stage: Stage, bytes: &[u8]) {
    let mut rest = bytes;
    let mut stage = stage;
    while let Some(first) = rest.first() {
        coverage.packet(at_client, stage, *first);
        coverage.packets += 1;
        // CONNACK opens what comes behind it in the same piece.
        if stage == Stage::Connecting {
            stage = Stage::Connected;
        }
        let mut remaining = 0_usize;
        let mut len = 0;
        for (place, byte) in rest.iter().skip(1).take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                len = remaining + place + 2;
                break;
            }
        }
        rest = match len {
            0 => &[],
            len => rest.get(len..).unwrap_or_default(),
        };
    }
}
