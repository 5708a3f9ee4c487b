//! A network in memory with one clock: one broker, any number of clients, and hand-driven peers.
//!
//! Nothing in here knows more of the machines than their public methods, and what is compared is
//! what was on the wire.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its own part of this"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests: a failure here is a failure of the test"
)]

use core::time::Duration;

use mqtt_codec::{
    Ack, Connect, ConnectProperties, Delivery, Disconnect, DisconnectReason, Message, Packet,
    PacketId, Parsed, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties,
    PublishReason, PublishTopic, QoS, ReleaseReason, Str, SubAckReasons, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscribeReason, TopicFilter,
    TopicName, Unsubscribe, UnsubscribeFilters, UserProperties, decode,
};
use mqtt_state::broker::{self, Broker, ConnectionId};
use mqtt_state::client::{self, Client};
use mqtt_state::{CloseCause, Timestamp, Transmit};

pub(crate) const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5_0;
pub(crate) const BOTH: [ProtocolVersion; 2] = [V3, V5];

/// One transport between a peer and the broker.
#[derive(Debug)]
struct Line {
    id: ConnectionId,
    /// Sent by the peer, still on its way.
    up: Vec<u8>,
    /// Arrived at the broker, which has not taken it yet.
    up_offered: Vec<u8>,
    /// Sent by the broker, still on its way.
    down: Vec<u8>,
    /// Arrived at the client, which has not taken it yet.
    down_offered: Vec<u8>,
    /// Bytes that arrive at once.
    piece: usize,
    /// Bytes in both directions until the transport breaks.
    fuse: Option<usize>,
    /// The peer does not read.
    stopped: bool,
    /// `poll_ready` has handed the connection out, and it is not drained.
    ready: bool,
    broker_closed: bool,
    peer_closed: bool,
}

#[derive(Debug)]
struct Node {
    client: Client,
    line: Option<Line>,
    events: Vec<client::Event>,
    piece: usize,
    fuse: Option<usize>,
}

#[derive(Debug)]
struct Raw {
    version: ProtocolVersion,
    line: Line,
}

/// A hand-driven connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(usize);

/// A `Client` of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node0(usize);

/// One broker, its peers, and the time.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: Timestamp,
    pub(crate) broker: Broker,
    events: Vec<broker::Event>,
    nodes: Vec<Node>,
    raws: Vec<Raw>,
    /// Every byte that the broker and the clients sent, when asked for.
    pub(crate) trace: Option<Vec<u8>>,
}

impl Line {
    fn new(id: ConnectionId) -> Self {
        Self {
            id,
            up: Vec::new(),
            up_offered: Vec::new(),
            down: Vec::new(),
            down_offered: Vec::new(),
            piece: usize::MAX,
            fuse: None,
            stopped: false,
            ready: false,
            broker_closed: false,
            peer_closed: false,
        }
    }

    /// Takes from `count` bytes those that may arrive now.
    fn pass(&mut self, count: usize) -> usize {
        let count = count.min(self.piece).min(self.fuse.unwrap_or(usize::MAX));
        if let Some(fuse) = &mut self.fuse {
            *fuse -= count;
        }
        count
    }

    fn is_blown(&self) -> bool {
        self.fuse == Some(0) && !(self.up.is_empty() && self.down.is_empty())
    }

    fn pump_up(&mut self, now: Timestamp, broker: &mut Broker) -> bool {
        let mut moved = false;
        while broker.wants_input(self.id) {
            let count = self.pass(self.up.len());
            self.up_offered.extend(self.up.drain(..count));
            if self.up_offered.is_empty() {
                break;
            }
            let taken = broker.handle_input(now, self.id, &self.up_offered).bytes;
            self.up_offered.drain(..taken);
            if count == 0 && taken == 0 {
                break;
            }
            moved = true;
        }
        moved
    }

    fn poll_broker(
        &mut self,
        now: Timestamp,
        broker: &mut Broker,
        trace: &mut Option<Vec<u8>>,
    ) -> bool {
        let mut moved = false;
        while self.ready && !self.stopped {
            let before = self.down.len();
            let transmit = broker.poll_transmit(now, self.id, self.piece, &mut self.down);
            if let Some(trace) = trace {
                trace.extend_from_slice(&self.down[before..]);
            }
            moved |= self.down.len() > before;
            match transmit {
                Transmit::More => assert!(self.down.len() > before, "More without a byte"),
                Transmit::Idle => self.ready = false,
                Transmit::Close => {
                    self.ready = false;
                    self.broker_closed = true;
                    moved = true;
                }
            }
        }
        moved
    }

    fn pump_down(&mut self, now: Timestamp, client: &mut Client) -> bool {
        let mut moved = false;
        while client.wants_input() {
            let count = self.pass(self.down.len());
            self.down_offered.extend(self.down.drain(..count));
            if self.down_offered.is_empty() {
                break;
            }
            let taken = client.handle_input(now, &self.down_offered).bytes;
            self.down_offered.drain(..taken);
            if count == 0 && taken == 0 {
                break;
            }
            moved = true;
        }
        moved
    }
}

impl Network {
    pub(crate) fn new(config: broker::Config) -> Self {
        Self {
            now: Timestamp::from_secs(1000),
            broker: Broker::new(config),
            events: Vec::new(),
            nodes: Vec::new(),
            raws: Vec::new(),
            trace: None,
        }
    }

    // Time.

    /// Lets time pass, with every deadline on the way exactly when it is due.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run();
        for round in 0.. {
            assert!(round < 100_000, "deadlines never end");
            let due = self
                .nodes
                .iter()
                .filter_map(|node| node.client.poll_timeout())
                .chain(self.broker.poll_timeout())
                .map(|timeout| timeout.at)
                .min();
            let Some(at) = due.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.fire();
        }
        self.now = end;
        self.fire();
    }

    pub(crate) fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    fn fire(&mut self) {
        self.broker.handle_timeout(self.now);
        for node in &mut self.nodes {
            node.client.handle_timeout(self.now);
        }
        self.run();
    }

    /// Carries bytes until everything is silent.
    pub(crate) fn run(&mut self) {
        for round in 0.. {
            assert!(round < 1_000_000, "the network never rests");
            if !self.step() {
                break;
            }
        }
    }

    fn step(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        for node in &mut self.nodes {
            if let Some(line) = &mut node.line {
                loop {
                    let before = line.up.len();
                    let transmit = node.client.poll_transmit(now, line.piece, &mut line.up);
                    if let Some(trace) = &mut self.trace {
                        trace.extend_from_slice(&line.up[before..]);
                    }
                    moved |= line.up.len() > before;
                    match transmit {
                        Transmit::More => assert!(line.up.len() > before, "More without a byte"),
                        Transmit::Idle => break,
                        Transmit::Close => {
                            line.peer_closed = true;
                            break;
                        }
                    }
                }
                moved |= line.pump_up(now, &mut self.broker);
            }
            node.events
                .extend(core::iter::from_fn(|| node.client.poll_event()));
        }
        for raw in &mut self.raws {
            moved |= raw.line.pump_up(now, &mut self.broker);
        }
        while let Some(id) = self.broker.poll_ready() {
            let lines = self.nodes.iter_mut().filter_map(|node| node.line.as_mut());
            let raws = self.raws.iter_mut().map(|raw| &mut raw.line);
            if let Some(line) = lines.chain(raws).find(|line| line.id == id) {
                line.ready = true;
            }
        }
        for raw in &mut self.raws {
            moved |= raw
                .line
                .poll_broker(now, &mut self.broker, &mut self.trace);
        }
        for node in &mut self.nodes {
            let Some(line) = &mut node.line else { continue };
            moved |= line.poll_broker(now, &mut self.broker, &mut self.trace);
            moved |= line.pump_down(now, &mut node.client);
            let over = line.is_blown()
                || (line.broker_closed && line.down.is_empty())
                || (line.peer_closed && line.up.is_empty());
            if over {
                self.broker.handle_close(now, line.id);
                node.client.handle_close(now);
                node.line = None;
                moved = true;
            }
            node.events
                .extend(core::iter::from_fn(|| node.client.poll_event()));
        }
        self.events
            .extend(core::iter::from_fn(|| self.broker.poll_event()));
        moved
    }

    // Hand-driven peers.

    /// Opens a connection and sends nothing.
    pub(crate) fn peer(&mut self, version: ProtocolVersion) -> Peer {
        let id = self.broker.accept(self.now).unwrap();
        self.raws.push(Raw {
            version,
            line: Line::new(id),
        });
        Peer(self.raws.len() - 1)
    }

    /// Opens a connection and has its CONNECT accepted; answers Session Present too.
    #[track_caller]
    pub(crate) fn login_with(&mut self, connect: &Connect<'_>) -> (Peer, bool) {
        let peer = self.peer(connect.version);
        self.send(peer, &Packet::Connect(*connect));
        let inbox = &mut self.raws[peer.0].line.down;
        assert_eq!(inbox.first(), Some(&0x20), "CONNACK comes first");
        assert_eq!(inbox[3], 0, "accepted");
        let present = inbox[2] == 1;
        let size = usize::from(inbox[1]) + 2;
        inbox.drain(..size);
        (peer, present)
    }

    /// A clean start that ends with its connection.
    #[track_caller]
    pub(crate) fn login(&mut self, version: ProtocolVersion, client_id: &str) -> Peer {
        self.login_with(&clean(version, client_id)).0
    }

    /// A session that is kept for an hour, or for ever in 3.1.1.
    #[track_caller]
    pub(crate) fn login_kept(&mut self, version: ProtocolVersion, client_id: &str) -> (Peer, bool) {
        self.login_with(&kept(version, client_id))
    }

    pub(crate) fn send(&mut self, peer: Peer, packet: &Packet<'_>) {
        let bytes = wire(self.raws[peer.0].version, &[*packet]);
        self.send_bytes(peer, &bytes);
    }

    pub(crate) fn send_bytes(&mut self, peer: Peer, bytes: &[u8]) {
        self.raws[peer.0].line.up.extend_from_slice(bytes);
        self.run();
    }

    /// Takes what has arrived.
    pub(crate) fn take(&mut self, peer: Peer) -> Vec<u8> {
        core::mem::take(&mut self.raws[peer.0].line.down)
    }

    /// What has arrived is exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, peer: Peer, packets: &[Packet<'_>]) {
        let version = self.raws[peer.0].version;
        let got = self.take(peer);
        same_wire(version, &got, packets);
    }

    /// The packets that have arrived are as the test says.
    pub(crate) fn packets<R>(&mut self, peer: Peer, look: impl FnOnce(&[Packet<'_>]) -> R) -> R {
        let version = self.raws[peer.0].version;
        let got = self.take(peer);
        look(&parse(version, &got))
    }

    /// The payloads of the messages that have arrived, in order.
    pub(crate) fn payloads(&mut self, peer: Peer) -> Vec<String> {
        self.packets(peer, |packets| {
            publishes(packets)
                .map(|publish| String::from_utf8(publish.payload.to_vec()).unwrap())
                .collect()
        })
    }

    /// The broker has closed this connection.
    pub(crate) fn is_closed(&self, peer: Peer) -> bool {
        self.raws[peer.0].line.broker_closed
    }

    pub(crate) fn id(&self, peer: Peer) -> ConnectionId {
        self.raws[peer.0].line.id
    }

    /// The transport of a peer breaks.
    pub(crate) fn cut(&mut self, peer: Peer) {
        let line = &mut self.raws[peer.0].line;
        line.broker_closed = true;
        let id = line.id;
        self.broker.handle_close(self.now, id);
        self.run();
    }

    /// The peer stops, or begins again, to read.
    pub(crate) fn stop(&mut self, peer: Peer, stopped: bool) {
        self.raws[peer.0].line.stopped = stopped;
        self.run();
    }

    /// Bytes of a peer arrive in pieces of this size.
    pub(crate) fn pieces(&mut self, peer: Peer, piece: usize) {
        self.raws[peer.0].line.piece = piece;
    }

    /// Bytes that the peer sent and the broker has not taken.
    pub(crate) fn untaken(&self, peer: Peer) -> usize {
        let line = &self.raws[peer.0].line;
        line.up.len() + line.up_offered.len()
    }

    /// Subscribes, and takes the SUBACK that grants it.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, peer: Peer, filter: &str, qos: u8) {
        self.subscribe_with(peer, SubscribeFilter::new(filter, level(qos)).unwrap(), None);
    }

    #[track_caller]
    pub(crate) fn subscribe_with(
        &mut self,
        peer: Peer,
        filter: SubscribeFilter<'_>,
        id: Option<u32>,
    ) {
        let id = id.map(|id| mqtt_codec::SubscriptionId::new(id).unwrap());
        let version = self.raws[peer.0].version;
        send_subscribe(self, peer, 777, &[filter], id);
        let reason = granted(filter.options.qos);
        let suback = wire(version, &[suback(777, &[reason])]);
        let inbox = &mut self.raws[peer.0].line.down;
        assert!(
            inbox.starts_with(&suback),
            "SUBACK comes first: {:02X?}",
            &inbox[..inbox.len().min(20)]
        );
        inbox.drain(..suback.len());
    }

    /// Publishes at QoS 0.
    pub(crate) fn publish(&mut self, peer: Peer, topic: &str, payload: &str) {
        self.send(peer, &publish(topic, payload, 0, 0).into());
    }

    /// A message from the embedder, so that no publisher is needed.
    pub(crate) fn inject(&mut self, topic: &str, payload: &str, qos: u8) -> usize {
        self.inject_message(message(topic, payload, qos))
    }

    pub(crate) fn inject_message(&mut self, message: Message) -> usize {
        let receivers = self.broker.publish(self.now, message);
        self.run();
        receivers
    }

    // Clients.

    pub(crate) fn node(&mut self, config: client::Config) -> Node0 {
        self.nodes.push(Node {
            client: Client::new(config),
            line: None,
            events: Vec::new(),
            piece: usize::MAX,
            fuse: None,
        });
        Node0(self.nodes.len() - 1)
    }

    pub(crate) fn client(&mut self, node: Node0) -> &mut Client {
        &mut self.nodes[node.0].client
    }

    /// The next connections of a client arrive in pieces of this size.
    pub(crate) fn node_pieces(&mut self, node: Node0, piece: usize) {
        self.nodes[node.0].piece = piece;
    }

    /// The next connection of a client breaks after so many bytes, those of both directions
    /// counted; with `None` it does not.
    pub(crate) fn node_fuse(&mut self, node: Node0, fuse: Option<usize>) {
        self.nodes[node.0].fuse = fuse;
        if let Some(line) = &mut self.nodes[node.0].line {
            line.fuse = fuse;
        }
    }

    /// Opens a connection for a client and sends CONNECT; whether it is accepted is in the events.
    pub(crate) fn connect(&mut self, node: Node0, connect: &Connect<'_>) {
        let id = self.broker.accept(self.now).unwrap();
        let node = &mut self.nodes[node.0];
        assert!(node.line.is_none(), "still connected");
        let mut line = Line::new(id);
        line.piece = node.piece;
        line.fuse = node.fuse;
        node.client.connect(self.now, connect).unwrap();
        node.line = Some(line);
        self.run();
    }

    /// The transport of a client breaks, with whatever is in it.
    pub(crate) fn cut_node(&mut self, node: Node0) {
        let node = &mut self.nodes[node.0];
        if let Some(line) = node.line.take() {
            self.broker.handle_close(self.now, line.id);
            node.client.handle_close(self.now);
        }
        self.run();
    }

    pub(crate) fn is_linked(&self, node: Node0) -> bool {
        self.nodes[node.0].line.is_some()
    }

    pub(crate) fn publish_from(&mut self, node: Node0, message: Message) -> client::PublishToken {
        let now = self.now;
        let token = self.client(node).publish(now, message).unwrap();
        self.run();
        token
    }

    pub(crate) fn subscribe_from(&mut self, node: Node0, filter: &str, qos: u8) {
        let filters = [SubscribeFilter::new(filter, level(qos)).unwrap()];
        self.client(node).subscribe(&filters).unwrap();
        self.run();
    }

    pub(crate) fn node_events(&mut self, node: Node0) -> Vec<client::Event> {
        core::mem::take(&mut self.nodes[node.0].events)
    }

    /// The broker's events since the last look.
    pub(crate) fn events(&mut self) -> Vec<broker::Event> {
        self.run();
        core::mem::take(&mut self.events)
    }

    /// The cause of the only connection that ended since the last look, and the text at fault.
    #[track_caller]
    pub(crate) fn close_cause(&mut self) -> (CloseCause, Option<String>) {
        let mut causes: Vec<_> = self
            .events()
            .into_iter()
            .filter_map(|event| match event {
                broker::Event::Closed { cause, text, .. } => Some((cause, text)),
                _ => None,
            })
            .collect();
        assert_eq!(causes.len(), 1, "{causes:?}");
        causes.remove(0)
    }
}

/// A `Client` whose server is the test itself.
#[derive(Debug)]
pub(crate) struct Handheld {
    pub(crate) client: Client,
    pub(crate) now: Timestamp,
    pub(crate) version: ProtocolVersion,
    pub(crate) closed: bool,
    events: Vec<client::Event>,
    sent: Vec<u8>,
}

impl Handheld {
    pub(crate) fn new(config: client::Config) -> Self {
        Self {
            client: Client::new(config),
            now: Timestamp::from_secs(1000),
            version: V5,
            closed: false,
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Sends CONNECT and throws its bytes away.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) {
        self.version = connect.version;
        self.closed = false;
        self.client.connect(self.now, connect).unwrap();
        self.drive();
        self.sent.clear();
    }

    /// Connects, and accepts that with a plain CONNACK.
    pub(crate) fn accepted(config: client::Config, connect: &Connect<'_>) -> Self {
        let mut held = Self::new(config);
        held.connect(connect);
        held.give(&connack(false));
        assert!(matches!(
            held.events()[..],
            [client::Event::Connected { .. }]
        ));
        held
    }

    /// The transport breaks, and the client connects again.
    pub(crate) fn reconnect(&mut self, connect: &Connect<'_>, session_present: bool) {
        self.client.handle_close(self.now);
        self.drive();
        self.connect(connect);
        self.give(&connack(session_present));
    }

    /// The server sends a packet.
    pub(crate) fn give(&mut self, packet: &Packet<'_>) {
        let bytes = wire(self.version, &[*packet]);
        self.give_bytes(&bytes);
    }

    pub(crate) fn give_bytes(&mut self, bytes: &[u8]) {
        let taken = self.client.handle_input(self.now, bytes);
        assert_eq!(taken.bytes, bytes.len());
        self.drive();
    }

    pub(crate) fn publish(&mut self, message: Message) -> client::PublishToken {
        let token = self.client.publish(self.now, message).unwrap();
        self.drive();
        token
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.client.handle_timeout(self.now);
        self.drive();
    }

    pub(crate) fn drive(&mut self) {
        loop {
            match self.client.poll_transmit(self.now, 4096, &mut self.sent) {
                Transmit::More => {}
                Transmit::Idle => break,
                Transmit::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        self.events
            .extend(core::iter::from_fn(|| self.client.poll_event()));
    }

    /// What the client sent is exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, packets: &[Packet<'_>]) {
        let sent = self.take();
        same_wire(self.version, &sent, packets);
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.sent)
    }

    pub(crate) fn events(&mut self) -> Vec<client::Event> {
        core::mem::take(&mut self.events)
    }

    /// The client ended the connection with this cause.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self, expected: &CloseCause) {
        assert!(self.closed, "the transport is to be closed");
        let causes: Vec<_> = self
            .events()
            .into_iter()
            .filter_map(|event| match event {
                client::Event::Closed { cause, .. } => Some(cause),
                _ => None,
            })
            .collect();
        assert_eq!(causes, [*expected]);
    }
}

// Packets.

/// The bytes of packets.
pub(crate) fn wire(version: ProtocolVersion, packets: &[Packet<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode_to(version, &mut bytes).unwrap();
    }
    bytes
}

/// Reads packets, and insists on whole ones.
#[track_caller]
pub(crate) fn parse(version: ProtocolVersion, mut bytes: &[u8]) -> Vec<Packet<'_>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        match decode(bytes, version, u32::MAX).unwrap() {
            Parsed::Complete((packet, size)) => {
                packets.push(packet);
                bytes = &bytes[size..];
            }
            Parsed::Partial { needed } => panic!("{needed} bytes are missing after {packets:?}"),
        }
    }
    packets
}

#[track_caller]
fn same_wire(version: ProtocolVersion, got: &[u8], expected: &[Packet<'_>]) {
    let bytes = wire(version, expected);
    assert!(
        got == bytes,
        "{version}\n got {:#?}\nwant {expected:#?}\n got {got:02X?}\nwant {bytes:02X?}",
        parse(version, got)
    );
}

pub(crate) fn publishes<'p, 'a>(
    packets: &'p [Packet<'a>],
) -> impl Iterator<Item = &'p Publish<'a>> {
    packets.iter().filter_map(|packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    })
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn level(qos: u8) -> QoS {
    QoS::try_from(qos).unwrap()
}

pub(crate) fn clean(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        keep_alive_secs: 0,
        ..Connect::new(version, Str::new(client_id).unwrap())
    }
}

/// Resumes, and has the session kept for an hour (in 3.1.1 for ever).
pub(crate) fn kept(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        clean_start: false,
        properties: ConnectProperties {
            session_expiry_secs: (version == V5).then_some(3600),
            ..ConnectProperties::default()
        },
        ..clean(version, client_id)
    }
}

pub(crate) fn connack(session_present: bool) -> Packet<'static> {
    mqtt_codec::ConnAck::new(mqtt_codec::ConnAckOutcome::Accepted { session_present }).into()
}

pub(crate) fn publish<'a>(topic: &'a str, payload: &'a str, qos: u8, packet_id: u16) -> Publish<'a> {
    let delivery = match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce {
            id: id(packet_id),
            dup: false,
        },
        _ => Delivery::ExactlyOnce {
            id: id(packet_id),
            dup: false,
        },
    };
    Publish {
        delivery,
        ..Publish::new(TopicName::new(topic).unwrap(), payload.as_bytes())
    }
}

/// The same PUBLISH, sent again.
pub(crate) fn again(publish: Publish<'_>) -> Publish<'_> {
    let delivery = match publish.delivery {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup: true },
        Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup: true },
    };
    Publish {
        delivery,
        ..publish
    }
}

pub(crate) fn retained(publish: Publish<'_>) -> Publish<'_> {
    Publish {
        retain: true,
        ..publish
    }
}

pub(crate) fn aliased(publish: Publish<'_>, alias: u16, with_name: bool) -> Publish<'_> {
    let alias = mqtt_codec::TopicAlias::new(alias).unwrap();
    let topic = match publish.topic.name() {
        Some(name) if with_name => PublishTopic::NameAndAlias(name, alias),
        _ => PublishTopic::Alias(alias),
    };
    Publish { topic, ..publish }
}

pub(crate) fn message(topic: &str, payload: &str, qos: u8) -> Message {
    Message::new(topic, payload.as_bytes().to_vec())
        .unwrap()
        .with_qos(level(qos))
}

pub(crate) fn expiring(message: Message, secs: u32) -> Message {
    message
        .with_properties(&PublishProperties {
            message_expiry_secs: Some(secs),
            ..PublishProperties::default()
        })
        .unwrap()
}

pub(crate) fn puback(packet_id: u16, reason: PublishReason) -> Packet<'static> {
    Packet::PubAck(PubAck::new(id(packet_id), reason))
}

pub(crate) fn pubrec(packet_id: u16, reason: PublishReason) -> Packet<'static> {
    Packet::PubRec(PubRec::new(id(packet_id), reason))
}

pub(crate) fn pubrel(packet_id: u16, reason: ReleaseReason) -> Packet<'static> {
    Packet::PubRel(PubRel::new(id(packet_id), reason))
}

pub(crate) fn pubcomp(packet_id: u16, reason: ReleaseReason) -> Packet<'static> {
    Packet::PubComp(PubComp::new(id(packet_id), reason))
}

/// PUBACK, or PUBREC, with success.
pub(crate) fn ack_of(publish: &Publish<'_>) -> Option<Packet<'static>> {
    match publish.delivery {
        Delivery::AtMostOnce => None,
        Delivery::AtLeastOnce { id, .. } => {
            Some(Packet::PubAck(Ack::new(id, PublishReason::Success)))
        }
        Delivery::ExactlyOnce { id, .. } => {
            Some(Packet::PubRec(Ack::new(id, PublishReason::Success)))
        }
    }
}

pub(crate) fn goodbye(reason: DisconnectReason) -> Packet<'static> {
    Packet::Disconnect(Disconnect::new(reason))
}

pub(crate) fn granted(qos: QoS) -> SubscribeReason {
    match qos {
        QoS::AtMostOnce => SubscribeReason::GrantedQoS0,
        QoS::AtLeastOnce => SubscribeReason::GrantedQoS1,
        QoS::ExactlyOnce => SubscribeReason::GrantedQoS2,
    }
}

pub(crate) fn suback(packet_id: u16, reasons: &[SubscribeReason]) -> Packet<'_> {
    Packet::SubAck(mqtt_codec::SubAck {
        id: id(packet_id),
        reasons: SubAckReasons::new(reasons).unwrap(),
        properties: mqtt_codec::AckProperties::default(),
    })
}

pub(crate) fn unsuback(
    packet_id: u16,
    reasons: &[mqtt_codec::UnsubscribeReason],
) -> Packet<'_> {
    Packet::UnsubAck(mqtt_codec::UnsubAck {
        id: id(packet_id),
        reasons: mqtt_codec::UnsubAckReasons::new(reasons),
        properties: mqtt_codec::AckProperties::default(),
    })
}

pub(crate) fn send_subscribe(
    net: &mut Network,
    peer: Peer,
    packet_id: u16,
    filters: &[SubscribeFilter<'_>],
    subscription_id: Option<mqtt_codec::SubscriptionId>,
) {
    let subscribe = Subscribe {
        id: id(packet_id),
        filters: SubscribeFilters::new(filters).unwrap(),
        properties: SubscribeProperties {
            subscription_id,
            user_properties: UserProperties::default(),
        },
    };
    net.send(peer, &Packet::Subscribe(subscribe));
}

pub(crate) fn send_unsubscribe(net: &mut Network, peer: Peer, packet_id: u16, filters: &[&str]) {
    let filters: Vec<_> = filters
        .iter()
        .map(|filter| TopicFilter::new(filter).unwrap())
        .collect();
    let unsubscribe = Unsubscribe {
        id: id(packet_id),
        filters: UnsubscribeFilters::new(&filters).unwrap(),
        user_properties: UserProperties::default(),
    };
    net.send(peer, &Packet::Unsubscribe(unsubscribe));
}
