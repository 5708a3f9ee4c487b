//! A client and a server connection that is cut anywhere, again and again: whoever acknowledges, QoS 2
//! arrives once and QoS 1 at least once, in both directions, and every delivery is told of once.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, ReasonCode};
use mqtt_state::server::{
    Acceptance, AckError, Acknowledge, Config, DeliveryToken, Event, Session,
};
use mqtt_state::session::SessionSnapshot;
use mqtt_state::{Timestamp, Transmit, client, server};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::Connection;
use crate::wire::{V3_1_1, V5_0, text};

const NOW: Timestamp = Timestamp::ZERO;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client publishes.
    Publish(QoS),
    /// The owner of the connection delivers.
    Deliver(QoS),
    /// So many bytes go up, or down.
    Up(usize),
    Down(usize),
    /// The owner, or the application, acknowledges one of what waits for that.
    AckAbove(usize),
    AckBelow(usize),
    Cut,
    Reconnect,
    /// The owner's program ends, and begins again with the session that it has stored.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let qos = || {
        prop_oneof![
            Just(QoS::AtMostOnce),
            Just(QoS::AtLeastOnce),
            Just(QoS::ExactlyOnce)
        ]
    };
    prop_oneof![
        3 => qos().prop_map(Step::Publish),
        3 => qos().prop_map(Step::Deliver),
        8 => (0..60_usize).prop_map(Step::Up),
        8 => (0..60_usize).prop_map(Step::Down),
        4 => (0..5_usize).prop_map(Step::AckAbove),
        4 => (0..5_usize).prop_map(Step::AckBelow),
        1 => Just(Step::Cut),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

/// The messages of one direction.
#[derive(Default)]
struct Flow {
    sent: BTreeMap<String, QoS>,
    arrived: Vec<String>,
}

impl Flow {
    fn next(&mut self, qos: QoS) -> Message {
        let payload = format!("{:04}", self.sent.len());
        self.sent.insert(payload.clone(), qos);
        Message::new("t", payload).unwrap().with_qos(qos)
    }

    fn arrive(&mut self, message: &Message) {
        let payload = String::from_utf8(message.payload().to_vec()).unwrap();
        self.arrived.push(payload);
    }

    fn check(&self, direction: &str) -> Result<(), TestCaseError> {
        for (payload, qos) in &self.sent {
            let count = self.arrived.iter().filter(|it| *it == payload).count();
            let is_right = match qos {
                QoS::AtMostOnce => count <= 1,
                QoS::AtLeastOnce => count >= 1,
                QoS::ExactlyOnce => count == 1,
            };
            prop_assert!(
                is_right,
                "{direction}: {payload} {qos} arrived {count} times"
            );
        }
        // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] First arrivals of one QoS are in order.
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut seen = BTreeSet::new();
            for payload in &self.arrived {
                if self.sent.get(payload) == Some(&qos) && seen.insert(payload) {
                    prop_assert_eq!(seen.last(), Some(&payload), "{}: order", direction);
                }
            }
        }
        Ok(())
    }
}

struct Run {
    version: ProtocolVersion,
    config: Config,
    client: crate::recorded::Client,
    connection: Option<Connection>,
    /// While there is no connection.
    session: Session,
    up: Vec<u8>,
    down: Vec<u8>,
    above: Flow,
    below: Flow,
    for_owner: Vec<server::Receipt>,
    for_application: Vec<client::Receipt>,
    /// Deliveries that no event has told of.
    open: BTreeSet<DeliveryToken>,
    is_known: bool,
}

impl Run {
    fn new(version: ProtocolVersion, above: Acknowledge, below: Acknowledge) -> Self {
        let config = Config {
            acknowledge: above,
            receive_maximum: 3,
            in_flight_max: 3,
            ..Config::default()
        };
        let client = crate::recorded::Client::new(client::Config {
            acknowledge: below,
            in_flight_max_v3: 3,
            ..client::Config::default()
        });
        Self {
            version,
            config,
            client,
            connection: None,
            session: Session::new(),
            up: Vec::new(),
            down: Vec::new(),
            above: Flow::default(),
            below: Flow::default(),
            for_owner: Vec::new(),
            for_application: Vec::new(),
            open: BTreeSet::new(),
            is_known: false,
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Publish(qos) => {
                let message = self.above.next(qos);
                self.client.publish(NOW, message).unwrap();
            }
            Step::Deliver(qos) => {
                if let Some(connection) = &mut self.connection
                    && connection.is_connected()
                {
                    let message = self.below.next(qos);
                    let token = connection.deliver(NOW, message).unwrap();
                    assert!(self.open.insert(token), "a token twice");
                }
            }
            Step::Up(len) => self.go_up(len),
            Step::Down(len) => self.go_down(len),
            Step::AckAbove(place) => {
                if place < self.for_owner.len() {
                    let receipt = self.for_owner.remove(place);
                    let here = self.connection.as_mut().map(|it| it.ack(NOW, receipt));
                    if matches!(here, None | Some(Err(AckError::NotAccepted))) {
                        let _stale = self.session.ack(receipt);
                    }
                }
            }
            Step::AckBelow(place) => {
                if place < self.for_application.len() {
                    let receipt = self.for_application.remove(place);
                    let _stale = self.client.ack(NOW, receipt);
                }
            }
            Step::Cut => self.cut(),
            Step::Reconnect => self.reconnect(),
            Step::Restart => self.restart(),
        }
        self.look();
    }

    fn go_up(&mut self, len: usize) {
        let len = len.max(1);
        let _close = self.client.poll_transmit(NOW, len, &mut self.up);
        let Some(connection) = &mut self.connection else {
            return;
        };
        let len = len.min(self.up.len());
        let taken = connection.handle_input(NOW, &self.up[..len]);
        self.up.drain(..taken.bytes);
    }

    fn go_down(&mut self, len: usize) {
        let len = len.max(1);
        if let Some(connection) = &mut self.connection {
            let transmit = connection.poll_transmit(NOW, len, &mut self.down);
            assert_ne!(transmit, Transmit::Close, "nobody breaks a rule");
            let len = len.min(self.down.len());
            let taken = self.client.handle_input(NOW, &self.down[..len]);
            self.down.drain(..taken.bytes);
        }
    }

    fn cut(&mut self) {
        self.client.handle_close(NOW);
        if let Some(mut connection) = self.connection.take() {
            connection.handle_close(NOW);
            self.hear(&mut connection);
            if let Some(session) = connection.into_session() {
                self.session = session;
            }
        }
        self.up.clear();
        self.down.clear();
    }

    fn reconnect(&mut self) {
        self.cut();
        let mut connect = Connect {
            clean_start: false,
            ..Connect::new(self.version, text("c"))
        };
        if self.version == V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        self.client.connect(NOW, &connect).unwrap();
        self.connection = Some(Connection::new(NOW, self.config.clone()));
    }

    /// What the owner has not acknowledged comes again, so this is for those that leave it to the
    /// connection.
    fn restart(&mut self) {
        if self.config.acknowledge == Acknowledge::Manual {
            return;
        }
        self.cut();
        let text = serde_json::to_vec(&self.session.snapshot(NOW)).unwrap();
        let snapshot: SessionSnapshot = serde_json::from_slice(&text).unwrap();
        let restored = Session::restore(NOW, Duration::ZERO, &self.config, snapshot);
        self.session = restored.unwrap();
    }

    fn look(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            self.hear(&mut connection);
            self.connection = Some(connection);
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                client::Event::Message {
                    message, receipt, ..
                } => {
                    self.below.arrive(&message);
                    self.for_application.extend(receipt);
                }
                client::Event::Closed { cause, .. } => {
                    assert_eq!(cause, mqtt_state::CloseCause::ConnectionLost);
                }
                client::Event::PublishLost { .. } => panic!("the session is never lost"),
                _ => {}
            }
        }
    }

    fn hear(&mut self, connection: &mut Connection) {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connect(_) => {
                    let session = core::mem::take(&mut self.session);
                    let session = self.is_known.then_some(session);
                    self.is_known = true;
                    let acceptance = Acceptance {
                        session,
                        ..Acceptance::default()
                    };
                    connection.accept(NOW, acceptance).unwrap();
                }
                Event::Publish {
                    message, receipt, ..
                } => {
                    self.above.arrive(&message);
                    self.for_owner.extend(receipt);
                }
                Event::Delivered { token, reason, .. } => {
                    assert!(self.open.remove(&token), "told twice, or of nothing");
                    assert_eq!(reason, ReasonCode::Success);
                }
                Event::Closed { cause, .. } => {
                    assert_eq!(cause, mqtt_state::CloseCause::ConnectionLost);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// One more connection, on which everything comes to its end.
    fn finish(mut self) -> Result<(), TestCaseError> {
        self.act(Step::Reconnect);
        for _ in 0..2000 {
            self.act(Step::Up(100));
            self.act(Step::Down(100));
            self.act(Step::AckAbove(0));
            self.act(Step::AckBelow(0));
        }
        prop_assert!(self.open.is_empty(), "not told of: {:?}", self.open);
        let session = self.connection.as_ref().unwrap().session();
        prop_assert_eq!((session.in_flight_len(), session.waiting_len()), (0, 0));
        prop_assert_eq!(
            (session.unacknowledged_len(), session.unreleased_len()),
            (0, 0)
        );
        prop_assert_eq!(self.client.in_flight_len(), 0);
        self.above.check("up")?;
        self.below.check("down")
    }
}

fn whoever() -> impl Strategy<Value = Acknowledge> {
    prop_oneof![Just(Acknowledge::Automatic), Just(Acknowledge::Manual)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn messages_arrive_wherever_the_connection_is_cut(
        version in prop_oneof![Just(V3_1_1), Just(V5_0)],
        above in whoever(),
        below in whoever(),
        steps in vec(step(), 0..200),
    ) {
        let mut run = Run::new(version, above, below);
        run.act(Step::Reconnect);
        for step in steps {
            run.act(step);
        }
        run.finish()?;
    }
}
