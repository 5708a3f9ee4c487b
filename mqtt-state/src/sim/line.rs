//! One connection: bytes that go over it, piece by piece, and how it ends.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;
use mqtt_codec::{ProtocolVersion, QoS};

use super::authenticate::Dialogue;
use super::coverage::{Fault, Stage};
use super::plan::WillPlan;
use super::store_failure::Told;
use super::watch::Way;
use super::world::World;
use crate::broker::{self, ConnectionId};
use crate::client::{Incoming, State};
use crate::{Timestamp, Transmit};

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
    pub(super) arrived: Vec<u8>,
    pub(super) way: Way,
    /// Its sender has handed out the last byte.
    pub(super) has_closed: bool,
    /// Nothing arrives before.
    pub(super) not_before: Timestamp,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) client: usize,
    /// The broker, and its name for it.
    pub(super) node: usize,
    pub(super) id: ConnectionId,
    pub(super) version: ProtocolVersion,
    pub(super) clean_start: bool,
    pub(super) expiry_secs: u32,
    pub(super) up: Half,
    pub(super) down: Half,
    /// No link between brokers was cut since it began.
    pub(super) was_whole: bool,
    /// The client's transport has ended.
    pub(super) client_gone: bool,
    /// The broker's has.
    pub(super) broker_gone: bool,
    pub(super) stage: Stage,
    pub(super) present: bool,
    /// What its broker said to it, and what it owes it.
    pub(super) told: Told,
    pub(super) will: Option<WillPlan>,
    /// Its CONNECT was for a session that is there, and brought nothing to keep.
    pub(super) comes_back: bool,
    /// An enhanced authentication on it.
    pub(super) dialogue: Dialogue,
    /// When the client handed out something last.
    pub(super) sent_at: Timestamp,
    /// Of the session.
    pub(super) epoch: u32,
    /// Numbers of the messages that came with these identifiers.
    pub(super) taken: BTreeMap<mqtt_codec::PacketId, u32>,
    pub(super) subscribes: BTreeMap<mqtt_codec::PacketId, Vec<(String, QoS, bool)>>,
    pub(super) unsubscribes: BTreeMap<mqtt_codec::PacketId, Vec<String>>,
}

impl World<'_> {
    /// Opens a connection for a client that has just begun one.
    pub(super) fn open(
        &mut self,
        client: usize,
        node: usize,
        clean_start: bool,
        expiry_secs: u32,
    ) -> Option<u64> {
        self.begin_at(client, node);
        self.at = node;
        let id = match self.nodes[node]
            .broker
            .accept(self.now, broker::Peer::default())
        {
            Ok(id) => id,
            Err(error) => {
                self.fail("there is room for a connection", format!("{error}"));
                return None;
            }
        };
        let number = self.next_line;
        self.next_line += 1;
        let was_whole = self.is_whole();
        let expiry_max = self.nodes[self.at].config.server.session_expiry_max_secs;
        self.lines.push(Line {
            number,
            client,
            node,
            id,
            was_whole,
            version: self.actors[client].plan.version,
            clean_start,
            expiry_secs: expiry_secs.min(expiry_max.unwrap_or(u32::MAX)),
            up: Half::default(),
            down: Half::default(),
            client_gone: false,
            broker_gone: false,
            stage: Stage::Connecting,
            present: false,
            told: Told::default(),
            will: self.actors[client].plan.will,
            comes_back: false,
            dialogue: Dialogue::default(),
            sent_at: self.now,
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
        if !bytes.is_empty() {
            line.sent_at = self.now;
        }
        let client = line.client;
        self.watch(place, Direction::Up, &bytes);
        self.drain_client(client);
        if closes {
            self.trace.note(|| format!("c{client} closes"));
            let number = self.lines[place].number;
            self.lines[place].client_gone = true;
            self.actors[client].end_line(number);
        } else if transmit == Transmit::Idle {
            self.check_keep_alive(place);
        }
        closes || !bytes.is_empty()
    }

    /// A client that has nothing to say wants to be called before its interval is over, as the broker counts
    /// from what came last: from CONNECT, if its CONNACK was slow.
    // [5:MQTT-3.1.2-20] [3:MQTT-3.1.2-23]
    fn check_keep_alive(&mut self, place: usize) {
        let line = &self.lines[place];
        let client = &self.actors[line.client].client;
        let Some(negotiated) = client.negotiated() else {
            return;
        };
        let interval = Duration::from_secs(negotiated.keep_alive_secs.into());
        let until = line.sent_at + interval;
        let due = client.poll_timeout();
        // Where it is over already, whatever is to be sent waits to be handed out.
        let is_on = interval > Duration::ZERO && until > self.now;
        if is_on && due.is_none_or(|due| due.at > until) {
            let text = format!("c{}: {due:?}, until {until:?}", line.client);
            self.fail("something is sent in every interval", text);
        }
    }

    /// The broker hands out bytes.
    pub(super) fn send_down(&mut self, place: usize) -> bool {
        self.at = self.lines[place].node;
        let line = &mut self.lines[place];
        let is_slow = self.actors[line.client].reads_slowly;
        let is_full = line.down.transit.len() >= self.plan.capacity;
        if line.broker_gone || line.down.has_closed || is_slow || is_full {
            return false;
        }
        if !self.nodes[self.at].ready.contains(&line.id) {
            return false;
        }
        let mut bytes = Vec::new();
        let transmit = self.nodes[self.at].broker.poll_transmit(
            self.now,
            line.id,
            self.plan.chunk,
            &mut bytes,
        );
        let closes = transmit == Transmit::Close;
        line.down.has_closed = closes;
        line.down.transit.extend(&bytes);
        if transmit != Transmit::More {
            self.nodes[self.at].ready.remove(&line.id);
        }
        if closes {
            line.broker_gone = true;
        }
        self.watch(place, Direction::Down, &bytes);
        if closes {
            self.trace.note(|| format!("broker closes line {place}"));
            self.check_last_words(place);
        }
        self.drain_broker();
        closes || !bytes.is_empty()
    }

    /// So many bytes arrive at the broker, which takes what it can.
    pub(super) fn arrive_up(&mut self, place: usize, len: usize) -> bool {
        self.at = self.lines[place].node;
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
        let mut at_once = Vec::new();
        let bytes = if offered == 0 {
            0
        } else if self.plan.at_once {
            self.take_at_once(place, &mut at_once)
        } else if self.plan.shared {
            let mut buffer = BytesMut::from(&line.up.arrived[..]);
            self.nodes[self.at]
                .broker
                .handle_input_shared(now, line.id, &mut buffer)
                .bytes
        } else {
            self.nodes[self.at]
                .broker
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
            // As if it had been asked for then.
            self.coverage.handed_out_at_once += at_once.len() as u64;
            for (place, packet) in at_once {
                self.watch(place, Direction::Down, &packet);
                self.drain_broker();
            }
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

    /// The broker takes what it can of what has arrived, and what that brings about goes on its way at once where
    /// there is room: which packet on which line. Answers how many bytes it took.
    fn take_at_once(&mut self, place: usize, handed_out: &mut Vec<(usize, Vec<u8>)>) -> usize {
        let Self {
            lines,
            nodes,
            actors,
            plan,
            at,
            ..
        } = self;
        let id = lines[place].id;
        let arrived = core::mem::take(&mut lines[place].up.arrived);
        let output = |to, packet: &[u8]| {
            let mut all = lines.iter_mut().enumerate();
            let found =
                all.find(|(_, line)| line.node == *at && line.id == to && !line.broker_gone);
            let Some((place, line)) = found else {
                return false;
            };
            let is_full = line.down.transit.len() >= plan.capacity;
            if line.down.has_closed || is_full || actors[line.client].reads_slowly {
                return false;
            }
            line.down.transit.extend(packet);
            handed_out.push((place, packet.to_vec()));
            true
        };
        let broker = &mut nodes[*at].broker;
        let consumed = broker.handle_input_into(self.now, id, &arrived, output);
        self.lines[place].up.arrived = arrived;
        consumed.bytes
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
        let mut shown = Vec::new();
        let bytes = if offered == 0 {
            0
        } else if self.plan.at_once {
            let show = |message: Incoming<'_>| shown.push(message.into());
            machine
                .handle_input_with(now, &line.down.arrived, show)
                .bytes
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
            self.drain_client_behind(client, shown);
            if stage == Stage::Connecting {
                self.check_keep_alive(place);
            }
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
        self.lose_connecting(place);
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
        self.at = line.node;
        self.lose_connecting(place);
        self.nodes[self.at].ready.remove(&id);
        self.nodes[self.at].broker.handle_close(self.now, id);
        self.drain_broker();
    }

    /// Forgets connections that both sides have forgotten. The broker hears late that the transport has
    /// ended, as it does from threads and tasks.
    pub(super) fn sweep(&mut self) {
        let is_over = |line: &Line| line.client_gone && line.broker_gone;
        let over: Vec<_> = self.lines.iter().filter(|line| is_over(line)).collect();
        let late: Vec<_> = over.iter().map(|line| (line.node, line.id)).collect();
        self.lines.retain(|line| !is_over(line));
        for (node, id) in late {
            self.at = node;
            self.nodes[self.at].broker.handle_close(self.now, id);
            self.drain_broker();
        }
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
