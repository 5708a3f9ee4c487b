//! A small system whose every state is visited: a client and a server, two messages, windows of one
//! and two, and a cut or the end of either program anywhere. Breadth first, over the real machines.

use core::fmt::Write;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt_codec::{Connect, Message, Packet, Parsed, ProtocolVersion, QoS, Str, decode};
use mqtt_state::client::{self, State};
use mqtt_state::server::{self, Acceptance, Session};
use mqtt_state::{Timestamp, Transmit};

use crate::recorded::{Client, Connection};

const NOW: Timestamp = Timestamp::from_secs(1);
const TOPICS: [&str; 2] = ["0", "1"];

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) version: ProtocolVersion,
    /// Of both messages.
    pub(crate) qos: [QoS; 2],
    pub(crate) window: u16,
    /// The client sends, or the server does.
    pub(crate) is_up: bool,
    /// The receiver may come back and take less: the first message is too large then.
    pub(crate) shrinks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Send,
    Connect,
    ConnectSmall,
    ClientOut,
    ClientIn,
    ServerOut,
    ServerIn,
    Cut,
    RestartClient,
    RestartServer,
}

/// The first six bring everything to its end.
const ACTIONS: [Action; 10] = [
    Action::Send,
    Action::Connect,
    Action::ClientOut,
    Action::ClientIn,
    Action::ServerOut,
    Action::ServerIn,
    Action::ConnectSmall,
    Action::Cut,
    Action::RestartClient,
    Action::RestartServer,
];

/// Bytes of a packet that a receiver takes which takes less.
const SMALL: u32 = 40;

struct System {
    setting: Setting,
    client: Client,
    connection: Option<Connection>,
    /// While there is no connection.
    session: Option<Session>,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    sent: usize,
    /// How often each message has arrived, and become known to have.
    arrived: [u8; 2],
    told: [u8; 2],
    /// It is known to be lost.
    lost: [bool; 2],
    /// The connection is one of a receiver that takes less.
    is_small: bool,
    tokens: BTreeMap<String, usize>,
    /// PUBLISH packets that this connection carried and that are not done with.
    open: BTreeSet<u16>,
}

fn server_config(setting: Setting, is_small: bool) -> server::Config {
    let usual = server::Config::default();
    let packet_size_max = match setting.is_up && is_small {
        true => SMALL,
        false => usual.packet_size_max,
    };
    server::Config {
        packet_size_max,
        receive_maximum: setting.window,
        in_flight_max: setting.window,
        ..usual
    }
}

fn client_config(setting: Setting) -> client::Config {
    client::Config {
        receive_maximum: setting.window,
        in_flight_max: setting.window,
        in_flight_max_v3: setting.window,
        ..client::Config::default()
    }
}

impl System {
    fn new(setting: Setting) -> Self {
        let mut client = Client::new(client_config(setting));
        client.assume_session();
        Self {
            setting,
            client,
            connection: None,
            session: Some(Session::new()),
            up: VecDeque::new(),
            down: VecDeque::new(),
            sent: 0,
            arrived: [0; 2],
            told: [0; 2],
            lost: [false; 2],
            is_small: false,
            tokens: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Carries out an action; `false` when there is nothing to do.
    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Send => self.send(),
            Action::Connect => self.connect(false),
            Action::ConnectSmall => self.setting.shrinks && self.connect(true),
            Action::ClientOut => {
                let mut bytes = Vec::new();
                while self.client.poll_transmit(NOW, 1000, &mut bytes) == Transmit::More {}
                let packets = self.packets(&bytes, true);
                let some = !packets.is_empty();
                self.up.extend(packets);
                self.events();
                some
            }
            Action::ServerOut => {
                let Some(connection) = &mut self.connection else {
                    return false;
                };
                let mut bytes = Vec::new();
                while connection.poll_transmit(NOW, 1000, &mut bytes) == Transmit::More {}
                let packets = self.packets(&bytes, false);
                let some = !packets.is_empty();
                self.down.extend(packets);
                self.events();
                some
            }
            Action::ClientIn => {
                let Some(packet) = self.down.pop_front() else {
                    return false;
                };
                self.heard(&packet, true);
                assert_eq!(self.client.handle_input(NOW, &packet).bytes, packet.len());
                self.events();
                true
            }
            Action::ServerIn => {
                let (Some(connection), Some(packet)) = (&mut self.connection, self.up.pop_front())
                else {
                    return false;
                };
                assert_eq!(connection.handle_input(NOW, &packet).bytes, packet.len());
                self.heard(&packet, false);
                self.events();
                true
            }
            Action::Cut => {
                let some = self.connection.is_some();
                self.cut();
                some
            }
            Action::RestartClient => {
                self.cut();
                let snapshot = self.client.snapshot(NOW);
                let config = client_config(self.setting);
                self.client = Client::restore(NOW, Duration::ZERO, config, snapshot).unwrap();
                true
            }
            Action::RestartServer => {
                self.cut();
                let snapshot = self.session.take().unwrap().snapshot(NOW);
                let config = server_config(self.setting, false);
                let session = Session::restore(NOW, Duration::ZERO, &config, snapshot);
                self.session = Some(session.unwrap());
                true
            }
        }
    }

    fn send(&mut self) -> bool {
        let place = self.sent;
        if place >= 2 {
            return false;
        }
        let payload = if self.setting.shrinks && place == 0 {
            "a message of more bytes than a receiver takes which takes less"
        } else {
            "m"
        };
        let message = Message::new(TOPICS[place], payload).unwrap();
        let message = message.with_qos(self.setting.qos[place]);
        let token = if self.setting.is_up {
            let Ok(token) = self.client.publish(NOW, message) else {
                assert!(self.is_small, "it is refused where it is too large");
                return false;
            };
            format!("{token:?}")
        } else {
            // A server that delivers to somebody who is away has a queue of its own; here it waits.
            let Some(connection) = self.connection.as_mut().filter(|it| it.is_connected()) else {
                return false;
            };
            format!("{:?}", connection.deliver(NOW, message).unwrap())
        };
        self.tokens.insert(token, place);
        self.sent += 1;
        true
    }

    fn connect(&mut self, is_small: bool) -> bool {
        if self.client.state() != State::Disconnected {
            return false;
        }
        let mut connect = Connect::new(self.setting.version, Str::new("c").unwrap());
        connect.clean_start = false;
        if self.setting.version == ProtocolVersion::V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        self.is_small = is_small;
        if !self.setting.is_up && self.setting.shrinks {
            // What a client takes, its configuration says.
            let mut config = client_config(self.setting);
            if is_small {
                config.packet_size_max = SMALL;
            }
            let snapshot = self.client.snapshot(NOW);
            self.client = Client::restore(NOW, Duration::ZERO, config, snapshot).unwrap();
        }
        self.client.connect(NOW, &connect).unwrap();
        let config = server_config(self.setting, is_small);
        self.connection = Some(Connection::new(NOW, config));
        true
    }

    fn cut(&mut self) {
        self.client.handle_close(NOW);
        self.events();
        if let Some(mut connection) = self.connection.take() {
            connection.handle_close(NOW);
            // A session that its connection has not got yet is still here.
            let kept = self.session.take();
            self.session = kept.or_else(|| connection.into_session());
        }
        self.up.clear();
        self.down.clear();
        self.open.clear();
    }

    /// Whole packets; and what the sender of the messages sends is within the window, each identifier
    /// for one message.
    fn packets(&mut self, bytes: &[u8], of_client: bool) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let decoded = decode(rest, self.setting.version, u32::MAX);
            let Ok(Parsed::Complete((packet, size))) = decoded else {
                panic!("{decoded:?}");
            };
            if let Packet::Publish(publish) = packet
                && of_client == self.setting.is_up
            {
                // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4]
                let id = publish.delivery.id().unwrap().get();
                assert!(self.open.insert(id), "{id} twice on one connection");
                // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
                assert!(
                    self.open.len() <= usize::from(self.setting.window),
                    "the window"
                );
            }
            packets.push(rest[..size].to_vec());
            rest = &rest[size..];
        }
        packets
    }

    /// The sender of the messages hears that one is done with.
    fn heard(&mut self, packet: &[u8], at_client: bool) {
        if at_client != self.setting.is_up {
            return;
        }
        if let Ok(Parsed::Complete((packet, _))) = decode(packet, self.setting.version, u32::MAX) {
            match packet {
                Packet::PubAck(ack) => self.open.remove(&ack.id.get()),
                Packet::PubComp(ack) => self.open.remove(&ack.id.get()),
                _ => false,
            };
        }
    }

    fn note_arrived(&mut self, message: &Message) {
        let place = usize::from(message.topic().as_str() == TOPICS[1]);
        assert!(!self.lost[place], "it came after it was lost");
        // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
        let is_first = self.arrived[place] == 0;
        let same_qos = self.setting.qos[0] == self.setting.qos[1];
        let in_order = place == 1 || self.arrived[1] == 0;
        assert!(!is_first || !same_qos || in_order, "the order");
        // [5:MQTT-4.3.3-1] [3:MQTT-4.3.3-1]
        let is_once = is_first || self.setting.qos[place] == QoS::AtLeastOnce;
        assert!(is_once, "exactly once");
        self.arrived[place] = (self.arrived[place] + 1).min(2);
    }

    fn note_told(&mut self, token: &str) {
        let place = self.tokens[token];
        self.told[place] += 1;
        assert_eq!(self.told[place], 1, "one outcome");
        assert!(self.arrived[place] > 0, "told before it arrived");
    }

    fn note_lost(&mut self, token: &str) {
        let place = self.tokens[token];
        assert!(self.setting.shrinks && place == 0, "nothing else is lost");
        self.told[place] += 1;
        assert_eq!(self.told[place], 1, "one outcome");
        self.lost[place] = true;
    }

    fn events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                client::Event::Message { message, .. } => self.note_arrived(&message),
                client::Event::Published { token, .. } => self.note_told(&format!("{token:?}")),
                client::Event::PublishLost { token, .. } => self.note_lost(&format!("{token:?}")),
                client::Event::Closed { cause, .. } => {
                    assert_eq!(cause, mqtt_state::CloseCause::ConnectionLost);
                }
                _ => {}
            }
        }
        while let Some(event) = self.connection.as_mut().and_then(|it| it.poll_event()) {
            match event {
                server::Event::Connect(_) => {
                    let acceptance = Acceptance {
                        session: self.session.take(),
                        ..Acceptance::default()
                    };
                    let connection = self.connection.as_mut().unwrap();
                    connection.accept(NOW, acceptance).unwrap();
                }
                server::Event::Publish { message, .. } => self.note_arrived(&message),
                server::Event::Delivered { token, .. } => self.note_told(&format!("{token:?}")),
                server::Event::DeliveryDropped { token, .. } => {
                    self.note_lost(&format!("{token:?}"));
                }
                server::Event::Closed { cause, .. } => {
                    assert_eq!(cause, mqtt_state::CloseCause::ConnectionLost);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything that tells this state from others, and from here on nothing goes wrong: all of it
    /// completes. Uses the system up.
    fn look_and_finish(mut self) -> String {
        let mut key = String::new();
        let server = self
            .connection
            .as_ref()
            .map(|it| it.session())
            .or(self.session.as_ref());
        let kept = server.map(|session| session.snapshot(NOW));
        write!(
            key,
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.client.state(),
            self.client.snapshot(NOW),
            self.client.explain(),
            self.connection.as_ref().map(|it| it.explain()),
            self.session.is_some(),
            kept,
            self.up,
            self.down,
            (self.sent, self.arrived, self.told, self.lost),
            self.open,
            (self.connection.is_some(), self.is_small),
        )
        .unwrap();
        let mut out = Vec::new();
        while self.client.poll_transmit(NOW, 1000, &mut out) == Transmit::More {}
        let packets = self.packets(&out, true);
        self.up.extend(packets);
        let mut answers = Vec::new();
        if let Some(connection) = &mut self.connection {
            while connection.poll_transmit(NOW, 1000, &mut answers) == Transmit::More {}
        }
        let packets = self.packets(&answers, false);
        self.down.extend(packets);
        self.events();
        write!(key, " {out:?} {answers:?}").unwrap();
        if self.is_small {
            self.cut();
        }
        for _ in 0..100 {
            let mut some = false;
            for action in &ACTIONS[..6] {
                some |= self.act(*action);
            }
            if !some {
                break;
            }
        }
        assert_eq!((self.sent, self.told), (2, [1, 1]), "all of it completes");
        assert_eq!(
            (self.client.in_flight_len(), self.client.waiting_len()),
            (0, 0)
        );
        let session = self.connection.as_ref().unwrap().session();
        assert_eq!((session.in_flight_len(), session.waiting_len()), (0, 0));
        assert_eq!(session.unreleased_len(), 0);
        key
    }
}

/// Visits every state; answers how many there are.
pub(crate) fn visit(setting: Setting) -> usize {
    let replay = |path: &[Action]| {
        let mut system = System::new(setting);
        for action in path {
            assert!(system.act(*action));
        }
        system
    };
    let mut seen = BTreeSet::from([replay(&[]).look_and_finish()]);
    let mut queue = VecDeque::from([Vec::new()]);
    while let Some(path) = queue.pop_front() {
        for action in ACTIONS {
            let mut system = replay(&path);
            if !system.act(action) {
                continue;
            }
            if seen.insert(system.look_and_finish()) {
                let mut longer = path.clone();
                longer.push(action);
                queue.push_back(longer);
            }
        }
    }
    seen.len()
}

#[test]
fn every_state_of_a_small_system_is_good() {
    let setting = Setting {
        version: ProtocolVersion::V5_0,
        qos: [QoS::ExactlyOnce, QoS::AtLeastOnce],
        window: 1,
        is_up: true,
        shrinks: false,
    };
    let states = visit(setting);
    assert!(states > 150, "{states}");
    for is_up in [true, false] {
        let setting = Setting {
            qos: [QoS::ExactlyOnce; 2],
            is_up,
            shrinks: true,
            ..setting
        };
        let states = visit(setting);
        assert!(states > 150, "{states}");
    }
}
