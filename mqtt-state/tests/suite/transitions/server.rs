//! The server side, against `server.txt`: a connection whose owner stands above it, and a broker.

use mqtt_codec::{
    Authentication, Connect, Message, Packet, QoS, SubscribeReason, UnsubscribeReason,
};
use mqtt_state::broker::{self, Ask, ConnectAnswer, ConnectionId};
use mqtt_state::server::{Acceptance, Config, Event};

use super::{METHOD, bytes_of, cells, check_that_all_are_there, or_nothing};
use mqtt_state::record::Recorder;

use crate::recorded::{Broker, Connection};
use crate::wire::{Machine, Peer, connect, publish, pubrec, text, want, with_subscribe};

const TABLE: &str = include_str!("server.txt");
const LEVELS: &[u8] = &[4, 5];
const STATES: [(&str, &[u8]); 6] = [
    ("new", LEVELS),
    ("undecided", LEVELS),
    ("authenticating", &[5]),
    ("connected", LEVELS),
    ("reauthenticating", &[5]),
    ("ending", LEVELS),
];

/// What both machines do, each in its way.
trait Served: Machine {
    fn new(peer: &Peer, has_decision: bool) -> Self;

    /// Whoever decides does so, on everything that has come. Answers what there was, and what the
    /// machine told besides.
    fn decide(&mut self, peer: &Peer) -> Vec<String>;

    /// Asks for the next step of the authentication that has begun.
    fn ask_for_more(&mut self, peer: &Peer);

    /// A message for the client.
    fn deliver(&mut self, peer: &Peer, qos: QoS);
}

fn config() -> Config {
    Config {
        enhanced_authentication: true,
        // The numbers of messages are to be seen, whatever is repeated.
        outbound_topic_aliases_max: 0,
        ..Config::default()
    }
}

impl Served for Connection {
    fn new(peer: &Peer, _always: bool) -> Self {
        Self::new(peer.now, config())
    }

    fn decide(&mut self, peer: &Peer) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = self.poll_event() {
            let name = match event {
                Event::Connect(_) => {
                    self.accept(peer.now, Acceptance::default()).unwrap();
                    "connect"
                }
                Event::Authenticate { .. } if self.is_connected() => {
                    self.accept_authentication(peer.now, None).unwrap();
                    "authenticate"
                }
                Event::Authenticate { .. } => {
                    self.accept(peer.now, Acceptance::default()).unwrap();
                    "authenticate"
                }
                Event::Publish { .. } => "message",
                Event::Subscribe { token, .. } => {
                    let reasons = [SubscribeReason::GrantedQoS0];
                    self.answer_subscribe(peer.now, token, &reasons).unwrap();
                    "subscribe"
                }
                Event::Unsubscribe { token, .. } => {
                    let reasons = [UnsubscribeReason::NoSubscriptionExisted];
                    self.answer_unsubscribe(peer.now, token, &reasons).unwrap();
                    "unsubscribe"
                }
                Event::Delivered { .. } => "delivered",
                Event::Closed { .. } => "closed",
                other => panic!("{other:?}"),
            };
            told.push(name.to_owned());
        }
        told
    }

    fn ask_for_more(&mut self, peer: &Peer) {
        while self.poll_event().is_some() {}
        self.ask(peer.now, None).unwrap();
    }

    fn deliver(&mut self, peer: &Peer, qos: QoS) {
        let message = Message::new("down", "m").unwrap().with_qos(qos);
        Recorder::deliver(self, peer.now, message).unwrap();
    }
}

/// A broker with one connection, and a subscriber for what that publishes.
struct Hall {
    broker: Broker,
    id: ConnectionId,
    is_asked: bool,
}

impl Machine for Hall {
    fn input(&mut self, now: mqtt_state::Timestamp, bytes: &[u8]) -> mqtt_state::Consumed {
        self.broker.handle_input(now, self.id, bytes)
    }

    fn output(
        &mut self,
        now: mqtt_state::Timestamp,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> mqtt_state::Transmit {
        self.broker.poll_transmit(now, self.id, max_bytes, buf)
    }
}

impl Hall {
    fn answer(&mut self, peer: &Peer, answer: &ConnectAnswer) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = self.broker.poll_event() {
            match event {
                broker::Event::Authenticate { decision, .. }
                | broker::Event::AuthenticateStep { decision, .. } => {
                    let answer = answer.clone();
                    self.broker
                        .decide_connect(peer.now, decision, answer)
                        .unwrap();
                }
                broker::Event::Closed { connection, .. } if connection == self.id => {
                    told.push("closed".to_owned());
                }
                _ => {}
            }
        }
        told
    }
}

impl Served for Hall {
    fn new(peer: &Peer, has_decision: bool) -> Self {
        let mut broker = Broker::new(broker::Config {
            server: config(),
            ask: Ask {
                connect: has_decision,
                ..Ask::default()
            },
            ..broker::Config::default()
        });
        let other = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut hall = Self {
            broker,
            id: other,
            is_asked: has_decision,
        };
        peer.say(&mut hall, connect(peer.version, "other"));
        hall.decide(peer);
        with_subscribe(1, &[want("t", QoS::ExactlyOnce)], |packet| {
            peer.say(&mut hall, packet);
        });
        hall.decide(peer);
        hall.id = id;
        hall
    }

    fn decide(&mut self, peer: &Peer) -> Vec<String> {
        let answer = ConnectAnswer::Allow;
        self.answer(peer, &answer)
    }

    fn ask_for_more(&mut self, peer: &Peer) {
        self.answer(peer, &ConnectAnswer::Ask(None));
    }

    fn deliver(&mut self, peer: &Peer, qos: QoS) {
        assert!(!self.is_asked);
        let message = Message::new("down", "m").unwrap().with_qos(qos);
        self.broker.publish(peer.now, message);
    }
}

/// A machine in a state, with nothing left to say or to tell.
fn in_state<S: Served>(state: &str, peer: &Peer) -> S {
    let has_method = matches!(state, "authenticating" | "reauthenticating");
    let mut machine = S::new(peer, has_method || state == "undecided");
    if state == "new" {
        return machine;
    }
    let mut connect: Connect<'_> = connect(peer.version, "c");
    let authentication = Authentication {
        method: text(METHOD),
        data: None,
    };
    connect.properties.authentication = has_method.then_some(authentication);
    peer.say(&mut machine, connect);
    match state {
        "undecided" => return machine,
        "authenticating" => machine.ask_for_more(peer),
        "connected" | "ending" => {}
        "reauthenticating" => {
            machine.decide(peer);
            peer.say_bytes(&mut machine, &bytes_of("AUTH 19", peer.version));
            machine.ask_for_more(peer);
        }
        "busy" => {
            machine.decide(peer);
            with_subscribe(1, &[want("down", QoS::ExactlyOnce)], |packet| {
                peer.say(&mut machine, packet);
            });
            machine.decide(peer);
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
                machine.deliver(peer, qos);
            }
            peer.hear(&mut machine);
            peer.say(&mut machine, pubrec(3));
            peer.say(&mut machine, publish("t", "m", QoS::ExactlyOnce, 9));
            let sent = peer.hear(&mut machine);
            assert_eq!(sent, ["PUBREL 3 00", "PUBREC 9 00"]);
        }
        other => panic!("{other}"),
    }
    if state == "ending" {
        machine.decide(peer);
        peer.say(&mut machine, Packet::PingResp);
        let sent = peer.hear(&mut machine);
        assert_eq!(sent.last().map(String::as_str), Some("close"));
    }
    if !matches!(state, "authenticating" | "reauthenticating") {
        machine.decide(peer);
    }
    peer.hear(&mut machine);
    machine
}

/// What goes out, and what is told.
fn reaction<S: Served>(state: &str, packet: &str, peer: &Peer) -> [String; 2] {
    let mut machine = in_state::<S>(state, peer);
    let bytes = bytes_of(packet, peer.version);
    if machine.input(peer.now, &bytes).bytes == 0 {
        let silent = peer.hear(&mut machine);
        assert_eq!(silent, [""; 0]);
        return ["waits".to_owned(), "-".to_owned()];
    }
    let told = machine.decide(peer);
    let sent = peer.hear(&mut machine);
    [or_nothing(&sent), or_nothing(&told)]
}

#[test]
fn a_connection_reacts_as_the_table_says() {
    for cell in cells::<2>(TABLE) {
        let peer = Peer::new(cell.version);
        let found = reaction::<Connection>(cell.state, cell.packet, &peer);
        assert_eq!(found, cell.reactions, "{cell}");
    }
}

#[test]
fn a_broker_reacts_as_the_table_says() {
    for cell in cells::<2>(TABLE) {
        let peer = Peer::new(cell.version);
        let [sent, told] = reaction::<Hall>(cell.state, cell.packet, &peer);
        let [expected, to_the_owner] = cell.reactions;
        assert_eq!(sent, expected, "{cell}");
        assert_eq!(told == "closed", to_the_owner == "closed", "{cell}");
    }
}

#[test]
fn the_table_has_every_cell_once() {
    check_that_all_are_there::<2>(TABLE, &STATES);
}
