//! A broker and its clients in one thread, joined by memory, with a clock that the test moves.
//!
//! Bytes travel packet by packet, so that a test can cut a connection between any two of them.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::BytesMut;
use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, SubscribeFilter};
use mqtt_state::broker::{self, ConnectionId};
use mqtt_state::client::{self, Event, PublishToken};
use mqtt_state::{TimeoutReason, Timestamp, Transmit};

use crate::disk::Disk;
use crate::recorded::{Broker, Client};
use crate::wire::{connect, text, want};

/// One client of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who(usize);

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Timestamp,
    ends: Vec<End>,
    /// What the broker has named and has not been drained: nothing else is polled.
    ready: BTreeSet<ConnectionId>,
    /// Packets that have travelled.
    pub(crate) packets: usize,
    /// Bytes that a machine is asked for at once.
    pub(crate) chunk: usize,
    /// Packets come in by the door that may share their memory.
    pub(crate) shared: bool,
    /// What outlives the broker, where it has a journal.
    pub(crate) disk: Disk,
    /// Of the next broker.
    pub(crate) config: broker::Config,
}

#[derive(Debug)]
struct End {
    name: &'static str,
    client: Client,
    connection: Option<ConnectionId>,
    up: Vec<u8>,
    down: Vec<u8>,
    events: Vec<Event>,
}

impl End {
    /// What was on its way is lost.
    fn hang_up(&mut self) -> Option<ConnectionId> {
        self.up.clear();
        self.down.clear();
        self.connection.take()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(broker::Config::default())
    }

    pub(crate) fn with(config: broker::Config) -> Self {
        Self {
            broker: Broker::new(config.clone()),
            now: Timestamp::from_secs(1000),
            ends: Vec::new(),
            ready: BTreeSet::new(),
            packets: 0,
            chunk: 64,
            shared: false,
            disk: Disk::default(),
            config,
        }
    }

    pub(crate) fn client(&mut self, name: &'static str) -> Who {
        self.client_with(name, client::Config::default())
    }

    pub(crate) fn client_with(&mut self, name: &'static str, config: client::Config) -> Who {
        self.ends.push(End {
            name,
            client: Client::new(config),
            connection: None,
            up: Vec::new(),
            down: Vec::new(),
            events: Vec::new(),
        });
        Who(self.ends.len() - 1)
    }

    /// A client that is connected, with a clean start.
    pub(crate) fn joined(&mut self, name: &'static str, version: ProtocolVersion) -> Who {
        let who = self.client(name);
        self.join(who, version);
        who
    }

    /// A client that is connected and subscribed.
    pub(crate) fn subscribed(
        &mut self,
        name: &'static str,
        version: ProtocolVersion,
        filter: &str,
        qos: QoS,
    ) -> Who {
        let who = self.joined(name, version);
        self.subscribe(who, &[want(filter, qos)]);
        self.events(who);
        who
    }

    /// Connects with a clean start and a session as long as the connection.
    pub(crate) fn join(&mut self, who: Who, version: ProtocolVersion) {
        self.connect(who, &connect(version, self.ends[who.0].name));
        self.settle();
    }

    /// Connects to a session that is kept for ever, or begins one.
    pub(crate) fn resume(&mut self, who: Who, version: ProtocolVersion) {
        self.begin_resume(who, version);
        self.settle();
    }

    pub(crate) fn begin_resume(&mut self, who: Who, version: ProtocolVersion) {
        let mut connect = Connect {
            clean_start: false,
            ..Connect::new(version, text(self.ends[who.0].name))
        };
        if version == ProtocolVersion::V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        self.connect(who, &connect);
    }

    pub(crate) fn connect(&mut self, who: Who, connect: &Connect<'_>) {
        let connection = self
            .broker
            .accept(self.now, broker::Peer::default())
            .unwrap();
        let end = &mut self.ends[who.0];
        assert_eq!(
            end.connection, None,
            "{}: one connection at a time",
            end.name
        );
        end.connection = Some(connection);
        end.client.connect(self.now, connect).unwrap();
    }

    pub(crate) fn connection(&self, who: Who) -> Option<ConnectionId> {
        self.ends[who.0].connection
    }

    pub(crate) fn of(&mut self, who: Who) -> &mut Client {
        &mut self.ends[who.0].client
    }

    pub(crate) fn subscribe(&mut self, who: Who, filters: &[SubscribeFilter<'_>]) {
        self.of(who).subscribe(filters).unwrap();
        self.settle();
    }

    /// Publishes, without moving a byte.
    pub(crate) fn publish(
        &mut self,
        who: Who,
        topic: &str,
        payload: &str,
        qos: QoS,
    ) -> PublishToken {
        let message = Message::new(topic, payload.to_owned())
            .unwrap()
            .with_qos(qos);
        self.send(who, message)
    }

    pub(crate) fn publish_retained(&mut self, who: Who, topic: &str, payload: &str, qos: QoS) {
        let message = Message::new(topic, payload.to_owned()).unwrap();
        self.send(who, message.with_qos(qos).with_retain(true));
        self.settle();
    }

    pub(crate) fn send(&mut self, who: Who, message: Message) -> PublishToken {
        let now = self.now;
        self.of(who).publish(now, message).unwrap()
    }

    pub(crate) fn disconnect(&mut self, who: Who) {
        let now = self.now;
        let reason = mqtt_codec::DisconnectReason::NormalDisconnection;
        self.of(who).disconnect(now, reason).unwrap();
        self.settle();
        assert_eq!(self.connection(who), None, "both sides closed");
    }

    /// Somebody else has polled this connection until it was idle.
    pub(crate) fn drained(&mut self, connection: ConnectionId) {
        self.ready.remove(&connection);
    }

    /// Takes a client out that is not connected, and puts another one in its place.
    pub(crate) fn replace(&mut self, who: Who, client: Client) -> Client {
        let end = &mut self.ends[who.0];
        assert_eq!(end.connection, None, "{}: not connected", end.name);
        core::mem::replace(&mut end.client, client)
    }

    /// The network between a client and the broker fails: what was on its way is lost.
    pub(crate) fn cut(&mut self, who: Who) {
        let now = self.now;
        let end = &mut self.ends[who.0];
        end.client.handle_close(now);
        if let Some(connection) = end.hang_up() {
            self.broker.handle_close(now, connection);
        }
        self.collect();
    }

    /// As [`cut`](Self::cut), but the broker is not told.
    pub(crate) fn vanish(&mut self, who: Who) -> Option<ConnectionId> {
        let now = self.now;
        let end = &mut self.ends[who.0];
        end.client.handle_close(now);
        let connection = end.hang_up();
        self.collect();
        connection
    }

    /// Moves packets until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }

    /// Moves at most so many packets.
    pub(crate) fn settle_for(&mut self, packets: usize) {
        for _ in 0..packets {
            if !self.step() {
                return;
            }
        }
    }

    /// Moves one packet, in some direction; answers whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        self.collect();
        for place in 0..self.ends.len() {
            if self.step_up(place) || self.step_down(place) {
                self.packets += 1;
                self.collect();
                return true;
            }
        }
        // What was stored just now may have been waited for.
        let ready = self.ready.len();
        self.collect();
        self.ready.len() > ready
    }

    fn step_up(&mut self, place: usize) -> bool {
        let end = &mut self.ends[place];
        let Some(connection) = end.connection else {
            return false;
        };
        let mut closes = false;
        while !is_whole(&end.up) && !closes {
            let before = end.up.len();
            closes = end.client.poll_transmit(self.now, self.chunk, &mut end.up) == Transmit::Close;
            if end.up.len() == before {
                break;
            }
        }
        if closes {
            // The last bytes, whatever they are, and then the end.
            let _rest = self.broker.handle_input(self.now, connection, &end.up);
            self.broker.handle_close(self.now, connection);
            end.hang_up();
            return true;
        }
        if end.up.is_empty() || !self.broker.wants_input(connection) {
            return false;
        }
        let size = packet_size(&end.up).unwrap();
        let mut packet: BytesMut = end.up.drain(..size).collect();
        let consumed = if self.shared {
            self.broker
                .handle_input_shared(self.now, connection, &mut packet)
        } else {
            self.broker.handle_input(self.now, connection, &packet)
        };
        assert_eq!(consumed.bytes, size, "{}: a whole packet", end.name);
        true
    }

    fn step_down(&mut self, place: usize) -> bool {
        let end = &mut self.ends[place];
        let Some(connection) = end.connection else {
            return false;
        };
        let mut closes = false;
        while self.ready.contains(&connection) && !is_whole(&end.down) && !closes {
            let before = end.down.len();
            let transmit =
                self.broker
                    .poll_transmit(self.now, connection, self.chunk, &mut end.down);
            closes = transmit == Transmit::Close;
            if transmit != Transmit::More {
                self.ready.remove(&connection);
            }
            if end.down.len() == before {
                break;
            }
        }
        if closes {
            let _rest = end.client.handle_input(self.now, &end.down);
            end.client.handle_close(self.now);
            end.hang_up();
            return true;
        }
        if end.down.is_empty() || !end.client.wants_input() {
            return false;
        }
        let size = packet_size(&end.down).unwrap();
        let mut packet: BytesMut = end.down.drain(..size).collect();
        let consumed = if self.shared {
            end.client.handle_input_shared(self.now, &mut packet)
        } else {
            end.client.handle_input(self.now, &packet)
        };
        assert_eq!(consumed.bytes, size, "{}: a whole packet", end.name);
        true
    }

    /// The broker's program ends without a warning, and another one goes on after so long with what
    /// is on the disk. Its clock starts where it likes.
    pub(crate) fn crash(&mut self, elapsed: Duration) {
        for end in &mut self.ends {
            end.client.handle_close(self.now);
            end.hang_up();
        }
        self.ready.clear();
        self.now = self.now + elapsed;
        self.broker = self.disk.restore(self.config.clone(), self.now, elapsed);
        self.collect();
    }

    fn collect(&mut self) {
        self.disk.follow(&mut self.broker);
        for end in &mut self.ends {
            end.events
                .extend(core::iter::from_fn(|| end.client.poll_event()));
        }
        while let Some(connection) = self.broker.poll_ready() {
            let end = { self.broker.explain(connection) }.and_then(|it| it.timeout);
            let is_over =
                end.is_some_and(|it| it.reason == TimeoutReason::Close && it.at <= self.now);
            assert!(
                self.ready.insert(connection) || is_over,
                "named once until it is drained, and once more when it has had its time"
            );
        }
    }

    /// Lets time pass, with every deadline on its way.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.settle();
        let end = self.now + duration;
        loop {
            let clients = self.ends.iter().filter_map(|end| end.client.poll_timeout());
            let due = clients
                .chain(self.broker.poll_timeout())
                .map(|timeout| timeout.at)
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            for place in 0..self.ends.len() {
                self.ends[place].client.handle_timeout(self.now);
            }
            self.broker.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    /// What a client told since the last time.
    pub(crate) fn events(&mut self, who: Who) -> Vec<Event> {
        self.collect();
        core::mem::take(&mut self.ends[who.0].events)
    }

    /// The messages among these, as "topic=payload", with the QoS and a set RETAIN flag.
    pub(crate) fn got(&mut self, who: Who) -> Vec<String> {
        let events = self.events(who);
        let messages = events.iter().filter_map(|event| match event {
            Event::Message { message, .. } => Some(show_message(message)),
            _ => None,
        });
        messages.collect()
    }

    /// The messages themselves.
    pub(crate) fn messages(&mut self, who: Who) -> Vec<Message> {
        let events = self.events(who);
        let messages = events.into_iter().filter_map(|event| match event {
            Event::Message { message, .. } => Some(message),
            _ => None,
        });
        messages.collect()
    }

    pub(crate) fn broker_events(&mut self) -> Vec<broker::Event> {
        core::iter::from_fn(|| self.broker.poll_event()).collect()
    }
}

fn show_message(message: &Message) -> String {
    let payload = String::from_utf8_lossy(message.payload());
    let retain = if message.retain() { " retain" } else { "" };
    let qos = u8::from(message.qos());
    format!("{}={payload} q{qos}{retain}", message.topic())
}

/// The size of the packet at the front, once its header is there.
fn packet_size(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0_usize;
    for (place, byte) in bytes.iter().skip(1).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(remaining + place + 2);
        }
    }
    None
}

fn is_whole(bytes: &[u8]) -> bool {
    packet_size(bytes).is_some_and(|size| size <= bytes.len())
}
