//! A publisher, a broker and a subscriber, joined by memory.

use bytes::BytesMut;
use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, Str, SubscribeFilter};
use mqtt_state::broker::{self, Broker, ConnectionId, Peer};
use mqtt_state::client::{self, Client, Event};
use mqtt_state::{Timestamp, Transmit};

const NOW: Timestamp = Timestamp::ZERO;
const MAX_BYTES: usize = 64 * 1024;
/// Where its messages go.
pub const TOPIC: &str = "site/7/building/3/room/12/sensor/41";
/// What its subscriber wants.
pub const FILTER: &str = "site/7/building/+/room/12/#";

/// Publisher, broker and subscriber, connected and subscribed.
#[derive(Debug)]
pub struct Line {
    broker: Broker,
    publisher: End,
    subscriber: End,
    message: Message,
}

/// One client, and its connection to the broker.
#[derive(Debug)]
struct End {
    client: Client,
    connection: ConnectionId,
    up: Vec<u8>,
    down: Vec<u8>,
    /// What was read, in memory that messages share and give back.
    input: BytesMut,
}

/// What the clients told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    arrived: usize,
    published: usize,
}

impl Line {
    /// A line whose messages have a QoS and so many bytes of payload, and always their topic.
    ///
    /// # Panics
    ///
    /// When the machines do not agree with each other.
    #[must_use]
    pub fn new(version: ProtocolVersion, qos: QoS, payload_len: usize) -> Self {
        let config = client::Config {
            topic_alias_maximum: 0,
            outbound_topic_aliases_max: 0,
            ..client::Config::default()
        };
        Self::with_clients(config, version, qos, payload_len)
    }

    /// A line as the defaults make it: in 5.0 with aliases on both ways.
    ///
    /// # Panics
    ///
    /// When the machines do not agree with each other.
    #[must_use]
    pub fn with_aliases(version: ProtocolVersion, qos: QoS, payload_len: usize) -> Self {
        Self::with_clients(client::Config::default(), version, qos, payload_len)
    }

    fn with_clients(
        config: client::Config,
        version: ProtocolVersion,
        qos: QoS,
        payload_len: usize,
    ) -> Self {
        let mut broker = Broker::new(broker::Config::default());
        let publisher = End::connect(&mut broker, config.clone(), version, "publisher");
        let subscriber = End::connect(&mut broker, config, version, "subscriber");
        let message = Message::new(TOPIC, vec![0x55; payload_len])
            .expect("a valid topic")
            .with_qos(qos);
        let mut line = Self {
            broker,
            publisher,
            subscriber,
            message,
        };
        let filter = SubscribeFilter::new(FILTER, qos);
        let filters = [filter.expect("a valid filter")];
        line.settle();
        line.subscriber
            .client
            .subscribe(&filters)
            .expect("connected");
        line.settle();
        assert_eq!(line.pass(1), 1, "the line stands");
        line
    }

    /// Publishes messages one after the other, each acknowledged before the next; answers how many
    /// of them arrived.
    ///
    /// # Panics
    ///
    /// When the publisher takes no message, or its publish is not completed.
    pub fn pass(&mut self, messages: usize) -> usize {
        (0..messages).map(|_| self.burst(1)).sum()
    }

    /// Publishes messages at once, fewer than the broker takes unacknowledged; answers how many of them
    /// arrived.
    ///
    /// # Panics
    ///
    /// When the publisher does not take them all, or one of its publishes is not completed.
    pub fn burst(&mut self, messages: usize) -> usize {
        let Self {
            broker, publisher, ..
        } = self;
        let mut told = Told::default();
        publisher.up.clear();
        for _ in 0..messages {
            let (_, transmit) = publisher
                .client
                .publish_into(NOW, &self.message, MAX_BYTES, &mut publisher.up)
                .expect("room for one message");
            assert_eq!(transmit, Transmit::Idle, "all of it is written");
        }
        publisher.hand_over(broker, &mut told);
        self.carry(&mut told);
        assert_eq!(told.published, messages, "the publishes are complete");
        told.arrived
    }

    /// Carries bytes to and fro until all are silent.
    fn settle(&mut self) -> Told {
        let mut told = Told::default();
        self.publisher.send(&mut self.broker, &mut told);
        self.subscriber.send(&mut self.broker, &mut told);
        self.carry(&mut told);
        told
    }

    /// Carries what the broker has, and what that brings about.
    fn carry(&mut self, told: &mut Told) {
        while let Some(ready) = self.broker.poll_ready() {
            let end = if ready == self.publisher.connection {
                &mut self.publisher
            } else {
                &mut self.subscriber
            };
            end.receive(&mut self.broker);
            end.send(&mut self.broker, told);
        }
        while self.broker.poll_event().is_some() {}
    }
}

impl End {
    fn connect(
        broker: &mut Broker,
        config: client::Config,
        version: ProtocolVersion,
        client_id: &str,
    ) -> Self {
        let connection = broker
            .accept(NOW, Peer::default())
            .expect("room for two connections");
        let mut client = Client::new(config);
        let client_id = Str::new(client_id).expect("a valid client identifier");
        client
            .connect(NOW, &Connect::new(version, client_id))
            .expect("not connected yet");
        Self {
            client,
            connection,
            up: Vec::new(),
            down: Vec::new(),
            input: BytesMut::new(),
        }
    }

    /// From the client to the broker.
    #[inline]
    fn send(&mut self, broker: &mut Broker, told: &mut Told) {
        self.up.clear();
        while self.client.poll_transmit(NOW, MAX_BYTES, &mut self.up) == Transmit::More {}
        self.hand_over(broker, told);
    }

    /// What the client has written.
    #[inline]
    fn hand_over(&mut self, broker: &mut Broker, told: &mut Told) {
        told.hear(&mut self.client);
        if self.up.is_empty() {
            return;
        }
        let taken = broker.handle_input(NOW, self.connection, &self.up);
        assert_eq!(taken.bytes, self.up.len(), "nothing holds the broker back");
    }

    /// From the broker to the client, which is heard when its answer is sent.
    fn receive(&mut self, broker: &mut Broker) {
        self.down.clear();
        while broker.poll_transmit(NOW, self.connection, MAX_BYTES, &mut self.down)
            == Transmit::More
        {}
        // As a transport would bring it.
        self.input.extend_from_slice(&self.down);
        let taken = self.client.handle_input_shared(NOW, &mut self.input);
        assert_eq!(
            taken.bytes,
            self.down.len(),
            "nothing holds the client back"
        );
    }
}

impl Told {
    fn hear(&mut self, client: &mut Client) {
        while let Some(event) = client.poll_event() {
            match event {
                Event::Message { .. } => self.arrived += 1,
                Event::Published { .. } => self.published += 1,
                _ => {}
            }
        }
    }
}
