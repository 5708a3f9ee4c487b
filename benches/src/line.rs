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
    downs: Downs,
    message: Message,
    /// Its driver polls everything: what is ready, the bytes for it, and messages as events. If not, the broker hands
    /// out at once what it can, and clients are shown their messages.
    is_polled: bool,
}

/// One client, and its connection to the broker.
#[derive(Debug)]
struct End {
    client: Client,
    connection: ConnectionId,
    up: Vec<u8>,
    /// What was read, where its messages share that.
    input: BytesMut,
}

/// What the broker has written.
#[derive(Debug)]
struct Downs {
    publisher: (ConnectionId, Vec<u8>),
    subscriber: (ConnectionId, Vec<u8>),
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

    /// The same with a driver that polls everything.
    ///
    /// # Panics
    ///
    /// When the machines do not agree with each other.
    #[must_use]
    pub fn polled(version: ProtocolVersion, qos: QoS, payload_len: usize) -> Self {
        Self {
            is_polled: true,
            ..Self::new(version, qos, payload_len)
        }
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
            downs: Downs {
                publisher: (publisher.connection, Vec::new()),
                subscriber: (subscriber.connection, Vec::new()),
            },
            publisher,
            subscriber,
            message,
            is_polled: false,
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
        let mut told = Told::default();
        let publisher = &mut self.publisher;
        for _ in 0..messages {
            let (_, transmit) = publisher
                .client
                .publish_into(NOW, &self.message, MAX_BYTES, &mut publisher.up)
                .expect("room for one message");
            assert_eq!(transmit, Transmit::Idle, "all of it is written");
        }
        told.hear(&mut publisher.client);
        self.carry(&mut told);
        assert_eq!(told.published, messages, "the publishes are complete");
        told.arrived
    }

    /// Carries bytes to and fro until all are silent, beginning with what the clients have to say.
    fn settle(&mut self) {
        let mut told = Told::default();
        self.publisher.send(&mut told);
        self.subscriber.send(&mut told);
        self.carry(&mut told);
    }

    fn carry(&mut self, told: &mut Told) {
        match self.is_polled {
            true => self.carry_by::<true>(told),
            false => self.carry_by::<false>(told),
        }
    }

    /// Carries what the clients have sent, and what that brings about.
    fn carry_by<const POLLED: bool>(&mut self, told: &mut Told) {
        let Self {
            broker,
            publisher,
            subscriber,
            downs,
            ..
        } = self;
        while !(publisher.up.is_empty() && subscriber.up.is_empty()) {
            publisher.hand_over::<POLLED>(broker, downs);
            subscriber.hand_over::<POLLED>(broker, downs);
            // What did not go at once.
            while let Some((id, transmit)) =
                broker.poll_ready_into(NOW, |id| Some((downs.of(id), MAX_BYTES)))
            {
                let mut transmit = transmit;
                while transmit == Transmit::More {
                    transmit = broker.poll_transmit(NOW, id, MAX_BYTES, downs.of(id));
                }
            }
            for (end, (_, down)) in [
                (&mut *publisher, &mut downs.publisher),
                (&mut *subscriber, &mut downs.subscriber),
            ] {
                if !down.is_empty() {
                    end.receive::<POLLED>(down, told);
                }
            }
        }
        while broker.poll_event().is_some() {}
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
            input: BytesMut::new(),
        }
    }

    /// What the client has to say, and to send.
    #[inline]
    fn send(&mut self, told: &mut Told) {
        told.hear(&mut self.client);
        while self.client.poll_transmit(NOW, MAX_BYTES, &mut self.up) == Transmit::More {}
    }

    /// What the client has sent, to the broker.
    #[inline]
    fn hand_over<const POLLED: bool>(&mut self, broker: &mut Broker, downs: &mut Downs) {
        if self.up.is_empty() {
            return;
        }
        let taken = if POLLED {
            broker.handle_input(NOW, self.connection, &self.up)
        } else {
            broker.handle_input_into(NOW, self.connection, &self.up, |id, packet| {
                downs.of(id).extend_from_slice(packet);
                true
            })
        };
        assert_eq!(taken.bytes, self.up.len(), "nothing holds the broker back");
        self.up.clear();
    }

    /// What the broker has written, to the client, which is heard when its answer is sent.
    #[inline]
    fn receive<const POLLED: bool>(&mut self, down: &mut Vec<u8>, told: &mut Told) {
        let (client, arrived) = (&mut self.client, &mut told.arrived);
        let taken = if POLLED {
            // As a transport would bring it.
            self.input.extend_from_slice(down);
            client.handle_input_shared(NOW, &mut self.input)
        } else {
            client.handle_input_with(NOW, down, |_message| *arrived += 1)
        };
        assert_eq!(taken.bytes, down.len(), "nothing holds the client back");
        down.clear();
        self.send(told);
    }
}

impl Downs {
    #[inline]
    fn of(&mut self, id: ConnectionId) -> &mut Vec<u8> {
        match id == self.publisher.0 {
            true => &mut self.publisher.1,
            false => &mut self.subscriber.1,
        }
    }
}

impl Told {
    #[inline]
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
