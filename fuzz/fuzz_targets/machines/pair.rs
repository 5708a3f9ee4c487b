//! A client and a broker, joined by a line that is slow and is cut at any byte: neither finds fault with the
//! other, and every message arrives as its QoS says.

#![no_main]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, Str, SubscribeFilter, TopicFilter};
use mqtt_state::broker::{self, Broker, ConnectionId, Peer};
use mqtt_state::client::{self, Acknowledge, Client, Receipt};
use mqtt_state::{CloseCause, Timestamp, Transmit, server};

use common::{qos, version};

/// Messages in each direction.
const MESSAGES: usize = 200;

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    // An error says that there are no choices at all.
    let Ok(mut pair) = Pair::new(&mut u) else {
        return;
    };
    // Or that they are used up.
    let _end = pair.run(&mut u);
    pair.finish();
});

struct Pair {
    version: ProtocolVersion,
    now: Timestamp,
    client: Client,
    broker: Broker,
    connection: Option<ConnectionId>,
    is_ready: bool,
    up: Vec<u8>,
    down: Vec<u8>,
    receipts: Vec<Receipt>,
    /// QoS of what was sent, by number, and how often each came.
    sent_up: Vec<QoS>,
    sent_down: Vec<QoS>,
    came_up: BTreeMap<usize, usize>,
    came_down: BTreeMap<usize, usize>,
    has_subscribed: bool,
}

impl Pair {
    fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let client = client::Config {
            receive_maximum: *u.choose(&[1, 2, 65_535])?,
            in_flight_max: *u.choose(&[1, 2, 100])?,
            in_flight_max_v3: *u.choose(&[1, 20])?,
            acknowledge: *u.choose(&[Acknowledge::Automatic, Acknowledge::Manual])?,
            ..client::Config::default()
        };
        let broker = broker::Config {
            server: server::Config {
                receive_maximum: *u.choose(&[1, 2, 20])?,
                in_flight_max: *u.choose(&[1, 2, 20])?,
                ..server::Config::default()
            },
            work_per_call: *u.choose(&[1, 2, 1_000])?,
            ..broker::Config::default()
        };
        let mut broker = Broker::new(broker);
        let all = TopicFilter::new("up").unwrap();
        broker.subscribe_local(all).unwrap();
        Ok(Self {
            version: version(u)?,
            now: Timestamp::ZERO,
            client: Client::new(client),
            broker,
            connection: None,
            is_ready: false,
            up: Vec::new(),
            down: Vec::new(),
            receipts: Vec::new(),
            sent_up: Vec::new(),
            sent_down: Vec::new(),
            came_up: BTreeMap::new(),
            came_down: BTreeMap::new(),
            has_subscribed: false,
        })
    }

    fn run(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        while !u.is_empty() {
            match u.int_in_range(0..=12_u8)? {
                0 if self.connection.is_none() => self.connect(),
                1 if u.ratio(1, 3)? => self.cut(u)?,
                2 | 3 if self.sent_up.len() < MESSAGES => {
                    let qos = qos(u)?;
                    let text = self.sent_up.len().to_string();
                    let message = Message::new("up", text).unwrap().with_qos(qos);
                    self.client.publish(self.now, message).unwrap();
                    self.sent_up.push(qos);
                }
                4 | 5 if self.sent_down.len() < MESSAGES && self.has_subscribed => {
                    let qos = qos(u)?;
                    let text = self.sent_down.len().to_string();
                    let message = Message::new("down", text).unwrap().with_qos(qos);
                    self.broker.publish(self.now, message);
                    self.sent_down.push(qos);
                }
                6 => {
                    self.now = self.now + Duration::from_millis(u.int_in_range(0..=5)?);
                    self.client.handle_timeout(self.now);
                    self.broker.handle_timeout(self.now);
                }
                7 if !self.receipts.is_empty() => {
                    let place = u.choose_index(self.receipts.len())?;
                    let receipt = self.receipts.swap_remove(place);
                    let _came_again = self.client.ack(self.now, receipt).is_ok();
                }
                _ => {
                    let (max, piece) = (u.int_in_range(1..=60)?, u.int_in_range(1..=60)?);
                    self.carry(max, piece);
                }
            }
            self.look();
        }
        Ok(())
    }

    fn connect(&mut self) {
        let mut connect = Connect::new(self.version, Str::new("c").unwrap());
        connect.clean_start = false;
        if self.version == ProtocolVersion::V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        if self.client.connect(self.now, &connect).is_ok() {
            self.connection = Some(self.broker.accept(self.now, Peer::default()).unwrap());
            self.is_ready = false;
        }
    }

    /// The line breaks: of what is on its way some may still arrive.
    fn cut(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(connection) = self.connection else {
            return Ok(());
        };
        if u.arbitrary()? {
            self.carry(100, 100);
        }
        if self.connection.take().is_some() {
            self.broker.handle_close(self.now, connection);
            self.client.handle_close(self.now);
            self.up.clear();
            self.down.clear();
        }
        Ok(())
    }

    /// Lets some bytes travel in both directions. Answers whether any did.
    fn carry(&mut self, max: usize, piece: usize) -> bool {
        let Some(connection) = self.connection else {
            return false;
        };
        let before = (self.up.len(), self.down.len());
        let up = self.client.poll_transmit(self.now, max, &mut self.up);
        let (mut down, now, buf) = (Transmit::Idle, self.now, &mut self.down);
        while let Some((ready, transmit)) = self.broker.poll_ready_into(now, |ready| {
            (ready == connection).then_some((&mut *buf, max))
        }) {
            if ready == connection {
                down = transmit;
                self.is_ready = down == Transmit::More;
            }
        }
        if self.is_ready {
            down = self.broker.poll_transmit(now, connection, max, buf);
            self.is_ready = down == Transmit::More;
        }
        let grown = before != (self.up.len(), self.down.len());
        let offered = &self.up[..piece.min(self.up.len())];
        // By one door or another, as the length is.
        let taken = match offered.len() % 3 {
            0 => self.broker.handle_input(now, connection, offered),
            room => self
                .broker
                .handle_input_into(now, connection, offered, |to, packet| {
                    let is_taken = to == connection && room == 1;
                    if is_taken {
                        self.down.extend(packet);
                    }
                    is_taken
                }),
        };
        self.up.drain(..taken.bytes);
        let offered = &self.down[..piece.min(self.down.len())];
        let came = &mut self.came_down;
        let received = match offered.len() % 2 {
            0 => self.client.handle_input(now, offered),
            _ => self.client.handle_input_with(now, offered, |message| {
                *came.entry(number(&message.to_message())).or_default() += 1;
            }),
        };
        self.down.drain(..received.bytes);
        assert!(up != Transmit::Close && down != Transmit::Close);
        // A packet that is longer than the piece waits for a longer one.
        grown || taken.bytes > 0 || received.bytes > 0
    }

    /// What has happened on both sides.
    fn look(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                client::Event::Connected { .. } if !self.has_subscribed => {
                    let filter = SubscribeFilter::new("down", QoS::ExactlyOnce).unwrap();
                    // It may be over already.
                    let _connected = self.client.subscribe(&[filter]).is_ok();
                }
                client::Event::Subscribed { .. } => self.has_subscribed = true,
                client::Event::Message {
                    message, receipt, ..
                } => {
                    *self.came_down.entry(number(&message)).or_default() += 1;
                    self.receipts.extend(receipt);
                }
                client::Event::Closed { cause, .. } => {
                    assert_eq!(cause, CloseCause::ConnectionLost);
                }
                client::Event::PublishLost { cause, .. } => panic!("{cause:?}"),
                _ => {}
            }
        }
        while let Some(event) = self.broker.poll_event() {
            match event {
                broker::Event::Local { message, .. } => {
                    *self.came_up.entry(number(&message)).or_default() += 1;
                }
                broker::Event::Closed { cause, .. } => {
                    assert_eq!(cause, CloseCause::ConnectionLost);
                }
                broker::Event::Dropped { cause, .. } => panic!("{cause:?}"),
                _ => {}
            }
        }
    }

    /// Faults are over: everything comes to its end, in a bounded number of steps.
    fn finish(&mut self) {
        if self.connection.is_none() {
            self.connect();
        }
        let mut quiet = 0;
        for _ in 0..20_000 {
            for receipt in core::mem::take(&mut self.receipts) {
                let _came_again = self.client.ack(self.now, receipt).is_ok();
            }
            self.broker.handle_timeout(self.now);
            quiet = if self.carry(10_000, 100_000) {
                0
            } else {
                quiet + 1
            };
            self.look();
            if quiet > 3 {
                break;
            }
        }
        assert!(quiet > 3, "it comes to rest");
        assert_eq!(
            (self.client.waiting_len(), self.client.in_flight_len()),
            (0, 0)
        );
        let session = self.broker.session("c").unwrap();
        assert_eq!((session.waiting_len, session.in_flight_len), (0, 0));
        for (name, sent, came) in [
            ("up", &self.sent_up, &self.came_up),
            ("down", &self.sent_down, &self.came_down),
        ] {
            for (number, qos) in sent.iter().enumerate() {
                let times = came.get(&number).copied().unwrap_or(0);
                let is_right = match qos {
                    QoS::AtMostOnce => times <= 1,
                    QoS::AtLeastOnce => times >= 1,
                    QoS::ExactlyOnce => times == 1,
                };
                assert!(is_right, "{name} {number} at {qos:?}: {times} times");
            }
        }
    }
}

fn number(message: &Message) -> usize {
    let text = String::from_utf8_lossy(message.payload());
    text.parse().unwrap()
}
