//! The short way of a QoS 1 message to a client who has nothing else: its session has it back as soon as
//! anything but the PUBACK comes, so that nobody can tell from outside which way it went.

use mqtt_codec::{Ack, Connect, DisconnectReason, Packet, ProtocolVersion, PublishReason, QoS};
use mqtt_state::broker::{Config, ConnectionId};
use mqtt_state::{OutputWaits, Transmit};

use crate::hall::Hall;
use crate::wire::{
    V3_1_1, V5_0, connect, disconnect, id as packet_id, puback, publish, pubrec, show_all,
};

const BOTH: [ProtocolVersion; 2] = [V3_1_1, V5_0];

/// What waits and whether that is at hand, what is in flight, and what the connection has to say.
type State = (usize, bool, usize, Option<OutputWaits>);

const AT_HAND: State = (1, true, 0, Some(OutputWaits::ForPoll));
const SENT: State = (0, false, 1, None);
const NOTHING: State = (0, false, 0, None);

/// A broker with one reader of `t`, whose session stays.
struct Room {
    hall: Hall,
    reader: ConnectionId,
}

fn lasting(version: ProtocolVersion) -> Connect<'static> {
    let mut packet = connect(version, "reader");
    packet.clean_start = false;
    if version == V5_0 {
        packet.properties.session_expiry_secs = Some(1000);
    }
    packet
}

impl Room {
    /// He has had one message on the long way: from here on there is a place in his session.
    fn new(version: ProtocolVersion) -> Self {
        Self::with(version, lasting(version))
    }

    fn with(version: ProtocolVersion, packet: Connect<'_>) -> Self {
        let mut hall = Hall::new(version, Config::default());
        let (reader, _connack) = hall.enter(packet);
        hall.subscribe(reader, "t", QoS::AtLeastOnce);
        let mut room = Self { hall, reader };
        room.drain();
        room.publish("0");
        assert_eq!(
            room.state(),
            (1, false, 0, Some(OutputWaits::ForPoll)),
            "the long way"
        );
        assert_eq!(room.drain(), ["PUBLISH t=0 q1 id1"]);
        assert_eq!(room.acknowledge(1), NOTHING);
        room
    }

    fn publish(&mut self, payload: &'static str) {
        self.hall.publish("t", payload, QoS::AtLeastOnce);
    }

    fn state(&self) -> State {
        let it = self.hall.broker.explain(self.reader).unwrap();
        (it.waiting_len, it.is_at_hand, it.in_flight_len, it.output)
    }

    /// Hands out whoever is to be, and answers what the reader hears.
    fn drain(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(id) = self.hall.broker.poll_ready() {
            let all = self.hall.hear(id);
            if id == self.reader {
                heard.extend(all);
            }
        }
        heard
    }

    fn acknowledge(&mut self, id: u16) -> State {
        self.hall.say(self.reader, puback(id));
        self.state()
    }

    /// The reader is back on another connection.
    fn come_back(&mut self) -> Vec<String> {
        let packet = lasting(self.hall.peer.version);
        self.reader = self.hall.open();
        self.hall.say(self.reader, packet);
        self.drain()
    }

    fn messages(&self) -> usize {
        self.hall.broker.stats().messages
    }
}

#[test]
fn it_is_at_hand_until_it_is_acknowledged() {
    for version in BOTH {
        let mut room = Room::new(version);
        let quota = |room: &Room| room.hall.broker.explain(room.reader).unwrap().send_quota;
        let before = quota(&room);
        // Identifiers rest before they are used again.
        for number in (2..=16).chain(1..=16) {
            room.publish("m");
            assert_eq!(room.state(), AT_HAND);
            assert_eq!(room.drain(), [format!("PUBLISH t=m q1 id{number}")]);
            assert_eq!((room.state(), quota(&room)), (SENT, before - 1));
            assert_eq!(room.messages(), 1, "it may have to go again");
            assert_eq!(room.acknowledge(number), NOTHING);
            assert_eq!((room.messages(), quota(&room)), (0, before));
            assert_eq!(
                room.hall.broker.poll_ready(),
                None,
                "nothing is left to say"
            );
        }
    }
}

/// Someone's way to go, by name.
type Going = (&'static str, fn(&mut Room));

const WAYS: [Going; 5] = [
    ("lost", |room| {
        let now = room.hall.peer.now;
        room.hall.broker.handle_close(now, room.reader);
    }),
    ("a goodbye", |room| {
        let reason = DisconnectReason::NormalDisconnection;
        room.hall.say(room.reader, disconnect(reason));
    }),
    ("taken over", |_| {}),
    ("sent away", |room| {
        let now = room.hall.peer.now;
        let reason = DisconnectReason::AdministrativeAction;
        room.hall.broker.disconnect(now, room.reader, reason);
    }),
    ("a fault", |room| {
        let now = room.hall.peer.now;
        let _taken = room.hall.broker.handle_input(now, room.reader, &[0x62, 0]);
    }),
];

// [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] With its identifier, and DUP where it was sent before.
#[test]
fn it_stays_when_its_connection_goes() {
    for version in BOTH {
        for (way, go) in WAYS {
            for (is_sent, again) in [
                (false, "PUBLISH t=m q1 id2"),
                (true, "PUBLISH t=m q1 id2 dup"),
            ] {
                let case = format!("{version:?} {way} {is_sent}");
                let mut room = Room::new(version);
                room.publish("m");
                if is_sent {
                    room.drain();
                }
                go(&mut room);
                assert_eq!(room.messages(), 1, "{case}");
                room.publish("n");
                let heard = room.come_back();
                let expected = ["CONNACK 00 present", again, "PUBLISH t=n q1 id3"];
                assert_eq!(heard, expected, "{case}");
                room.acknowledge(2);
                assert_eq!(room.acknowledge(3), NOTHING, "{case}");
                assert_eq!(room.messages(), 0, "{case}");
            }
        }
    }
}

#[test]
fn it_goes_with_its_session() {
    for is_sent in [false, true] {
        let mut room = Room::with(V5_0, connect(V5_0, "reader"));
        room.publish("m");
        if is_sent {
            room.drain();
        }
        room.hall
            .broker
            .handle_close(room.hall.peer.now, room.reader);
        assert_eq!(room.messages(), 0, "{is_sent}");
        assert_eq!(room.hall.broker.stats().sessions, 0, "{is_sent}");
    }
}

// [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-5]
#[test]
fn whatever_comes_behind_it_goes_behind_it() {
    for version in BOTH {
        // Before it is sent.
        let mut room = Room::new(version);
        room.publish("1");
        room.hall.say(room.reader, Packet::PingReq);
        room.hall.publish("t", "2", QoS::AtMostOnce);
        room.publish("3");
        assert_eq!(room.state(), (3, false, 0, Some(OutputWaits::ForPoll)));
        let heard = [
            "PINGRESP",
            "PUBLISH t=1 q1 id2",
            "PUBLISH t=2 q0",
            "PUBLISH t=3 q1 id3",
        ];
        assert_eq!(room.drain(), heard);
        room.acknowledge(2);
        assert_eq!(room.acknowledge(3), NOTHING);

        // Afterwards.
        room.publish("4");
        assert_eq!(room.drain(), ["PUBLISH t=4 q1 id4"]);
        room.publish("5");
        room.hall.publish("t", "6", QoS::AtMostOnce);
        assert_eq!(room.state(), (2, false, 1, Some(OutputWaits::ForPoll)));
        assert_eq!(room.drain(), ["PUBLISH t=5 q1 id5", "PUBLISH t=6 q0"]);
        assert_eq!(room.acknowledge(4).2, 1);
        assert_eq!(room.acknowledge(5), NOTHING);

        // And the way is open again.
        room.publish("7");
        assert_eq!(room.state(), AT_HAND);
    }
}

/// What somebody has to say to a message that he was sent.
type Answer = (&'static str, fn() -> Packet<'static>, Option<State>);

#[test]
fn other_answers_than_its_puback_mean_what_they_mean_of_any() {
    let rows: [Answer; 5] = [
        ("PUBACK of no message", || puback(9), Some(SENT)),
        ("of one before", || puback(1), Some(SENT)),
        (
            "with a reason",
            || Packet::PubAck(Ack::new(packet_id(2), PublishReason::QuotaExceeded)),
            Some(NOTHING),
        ),
        ("PUBREC", || pubrec(2), None),
        (
            "PINGREQ",
            || Packet::PingReq,
            Some((0, false, 1, Some(OutputWaits::ForPoll))),
        ),
    ];
    for (case, answer, after) in rows {
        let mut room = Room::new(V5_0);
        room.publish("m");
        room.drain();
        room.hall.say(room.reader, answer());
        let Some(after) = after else {
            assert_eq!(room.drain(), ["DISCONNECT 82", "close"], "{case}");
            continue;
        };
        assert_eq!(room.state(), after, "{case}");
        let heard = room.drain();
        assert!(
            !heard.iter().any(|it| it.starts_with("PUBLISH")),
            "{case}: {heard:?}"
        );
        assert_eq!(room.acknowledge(2), NOTHING, "{case}");
        assert_eq!(room.acknowledge(2), NOTHING, "{case}: a second one");
        assert_eq!(room.messages(), 0, "{case}");
    }
}

// [5:MQTT-4.9.0-2] [5:MQTT-3.3.4-9]
#[test]
fn it_counts_for_receive_maximum() {
    let mut packet = lasting(V5_0);
    packet.properties.receive_maximum = core::num::NonZeroU16::new(1);
    let mut room = Room::with(V5_0, packet);
    for payload in ["1", "2"] {
        room.publish(payload);
    }
    assert_eq!(room.drain(), ["PUBLISH t=1 q1 id2"]);
    assert_eq!(
        room.state(),
        (1, false, 1, Some(OutputWaits::ForAcknowledgement))
    );
    room.acknowledge(2);
    assert_eq!(room.drain(), ["PUBLISH t=2 q1 id3"]);
    room.acknowledge(3);
    // Alone, and behind it.
    room.publish("3");
    assert_eq!(room.drain(), ["PUBLISH t=3 q1 id4"]);
    room.publish("4");
    assert_eq!(room.drain(), Vec::<String>::new());
    assert_eq!(
        room.state(),
        (1, false, 1, Some(OutputWaits::ForAcknowledgement))
    );
    room.acknowledge(4);
    assert_eq!(room.drain(), ["PUBLISH t=4 q1 id5"]);
}

/// Each subscription is granted a QoS of its own.
#[test]
fn each_gets_it_as_it_is_granted() {
    let mut room = Room::new(V5_0);
    let (other, _connack) = room.hall.enter(connect(V5_0, "other"));
    room.hall.subscribe(other, "t", QoS::AtMostOnce);
    room.drain();
    room.publish("m");
    assert_eq!(room.hall.broker.poll_ready(), Some(room.reader));
    assert_eq!(room.hall.hear(room.reader), ["PUBLISH t=m q1 id2"]);
    assert_eq!(room.hall.broker.poll_ready(), Some(other));
    assert_eq!(room.hall.hear(other), ["PUBLISH t=m q0"]);
    // At QoS 2 neither goes this way.
    room.acknowledge(2);
    room.hall.publish("t", "n", QoS::ExactlyOnce);
    assert_eq!(room.state(), (1, false, 0, Some(OutputWaits::ForPoll)));
}

/// A poll that nobody was asked for takes it all the same.
#[test]
fn it_is_sent_once_whoever_polls() {
    let mut room = Room::new(V5_0);
    let now = room.hall.peer.now;
    room.publish("m");
    let mut bytes = Vec::new();
    let broker = &mut room.hall.broker;
    let polled = broker.poll_transmit(now, room.reader, 100, &mut bytes);
    assert_eq!(polled, Transmit::More);
    assert_eq!(show_all(&bytes, V5_0), ["PUBLISH t=m q1 id2"]);
    bytes.clear();
    let polled = broker.poll_ready_into(now, |_| Some((&mut bytes, 100)));
    assert_eq!(
        polled,
        Some((room.reader, Transmit::Idle)),
        "it had been told"
    );
    assert!(bytes.is_empty(), "{bytes:?}");
}

/// It is not alone on its way out, and the next one comes before it is acknowledged.
#[test]
fn the_next_one_waits_for_it_whatever_went_beside_it() {
    let mut room = Room::new(V5_0);
    room.publish("1");
    let packet = publish("nobody", "x", QoS::AtLeastOnce, 7);
    room.hall.say(room.reader, packet);
    assert_eq!(room.drain(), ["PUBLISH t=1 q1 id2", "PUBACK 7 10"]);
    assert_eq!(room.state(), SENT);
    room.publish("2");
    assert_eq!(room.state(), (1, false, 1, Some(OutputWaits::ForPoll)));
    assert_eq!(room.drain(), ["PUBLISH t=2 q1 id3"]);
    room.acknowledge(2);
    assert_eq!(room.acknowledge(3), NOTHING);
    assert_eq!(room.messages(), 0);
}
