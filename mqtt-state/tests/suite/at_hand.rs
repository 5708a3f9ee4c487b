//! The short way of a QoS 0 message to a client who has nothing else: it is never another way for
//! whoever looks at it from outside.

use core::num::NonZeroU32;

use mqtt_codec::{
    Message, Packet, ProtocolVersion, PublishProperties, QoS, RetainHandling, SubscribeFilter,
};
use mqtt_state::broker::{Config, ConnectionId, DropCause, Event};
use mqtt_state::{OutputWaits, Transmit};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::hall::Hall;
use crate::wire::{
    V3_1_1, V5_0, connect, disconnect, puback, publish, show_all, want, with_subscribe,
};

impl Hall {
    /// Everybody gets what he has, as a driver does it. Answers who was handed out, with what he heard.
    fn drain(&mut self) -> Vec<(ConnectionId, Vec<String>)> {
        core::iter::from_fn(|| {
            let id = self.broker.poll_ready()?;
            Some((id, self.hear(id)))
        })
        .collect()
    }

    /// The same in one call for each, where there is room for so many bytes at a time.
    fn drain_into(&mut self, max_bytes: usize) -> Vec<(ConnectionId, Vec<String>)> {
        let (now, version) = (self.peer.now, self.peer.version);
        core::iter::from_fn(|| {
            let mut bytes = Vec::new();
            let broker = &mut self.broker;
            let (id, mut transmit) =
                broker.poll_ready_into(now, |_| Some((&mut bytes, max_bytes)))?;
            while transmit == Transmit::More {
                transmit = broker.poll_transmit(now, id, max_bytes, &mut bytes);
            }
            let mut heard = show_all(&bytes, version);
            if transmit == Transmit::Close {
                heard.push("close".into());
            }
            Some((id, heard))
        })
        .collect()
    }

    /// Somebody who is subscribed to `t`, and has been drained.
    fn reader(&mut self, client_id: &str) -> ConnectionId {
        let id = self.open();
        self.say(id, connect(self.peer.version, client_id));
        self.drain();
        let filters = [want("t", QoS::AtLeastOnce)];
        with_subscribe(1, &filters, |packet| self.say(id, packet));
        self.drain();
        id
    }

    fn output(&self, id: ConnectionId) -> (usize, bool, Option<OutputWaits>) {
        let it = self.broker.explain(id).unwrap();
        (it.waiting_len, it.is_at_hand, it.output)
    }
}

/// How a driver takes what there is.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// Readers are never handed out, so that nothing is ever at hand.
    Unasked,
    Apart,
    /// In one call, for so many bytes.
    Into(usize),
}

const AT_HAND: (usize, bool, Option<OutputWaits>) = (1, true, Some(OutputWaits::ForPoll));

fn hall(version: ProtocolVersion) -> (Hall, ConnectionId) {
    let mut hall = Hall::new(version, Config::default());
    let id = hall.reader("reader");
    (hall, id)
}

#[test]
fn who_has_nothing_else_has_it_at_hand() {
    for version in [V3_1_1, V5_0] {
        let (mut hall, id) = hall(version);
        for payload in ["a", "b"] {
            hall.publish("t", payload, QoS::AtMostOnce);
            assert_eq!(hall.output(id), AT_HAND);
            assert_eq!(
                hall.drain(),
                [(id, vec![format!("PUBLISH t={payload} q0")])]
            );
            assert_eq!(hall.broker.stats().messages, 0, "it is gone");
        }
    }
}

#[test]
fn whatever_comes_behind_it_goes_behind_it() {
    let (mut hall, id) = hall(V5_0);
    hall.publish("t", "1", QoS::AtMostOnce);
    hall.say(id, Packet::PingReq);
    hall.publish("t", "2", QoS::AtMostOnce);
    hall.publish("t", "3", QoS::AtLeastOnce);
    assert_eq!(hall.output(id), (3, true, Some(OutputWaits::ForPoll)));
    let heard = [
        "PUBLISH t=1 q0",
        "PINGRESP",
        "PUBLISH t=2 q0",
        "PUBLISH t=3 q1 id1",
    ];
    assert_eq!(hall.drain(), [(id, heard.map(String::from).to_vec())]);
    // What is in flight does not hold up others, and is not overtaken by those of its own kind.
    hall.publish("t", "4", QoS::AtMostOnce);
    assert!(!hall.output(id).1, "not at hand");
    hall.say(id, puback(1));
    assert_eq!(hall.drain(), [(id, vec!["PUBLISH t=4 q0".into()])]);
    hall.publish("t", "5", QoS::AtMostOnce);
    assert_eq!(hall.output(id), AT_HAND);
}

#[test]
fn one_that_was_handed_out_gets_what_comes_before_it_is_drained() {
    let (mut hall, id) = hall(V5_0);
    hall.publish("t", "1", QoS::AtMostOnce);
    assert_eq!(hall.broker.poll_ready(), Some(id));
    hall.publish("t", "2", QoS::AtMostOnce);
    assert_eq!(hall.broker.poll_ready(), None, "until it is drained");
    assert_eq!(hall.hear(id), ["PUBLISH t=1 q0", "PUBLISH t=2 q0"]);
    assert_eq!(hall.broker.poll_ready(), None);
    // Nobody asks for it, and it is there.
    hall.publish("t", "3", QoS::AtMostOnce);
    assert_eq!(hall.hear(id), ["PUBLISH t=3 q0"]);
    assert_eq!(hall.broker.poll_ready(), Some(id), "it had been told");
    assert_eq!(hall.hear(id), Vec::<String>::new());
}

#[test]
fn one_call_hands_out_and_polls() {
    let (mut hall, id) = hall(V5_0);
    let now = hall.peer.now;
    let asked = hall
        .broker
        .poll_ready_into(now, |_| unreachable!("nobody has anything"));
    assert_eq!(asked, None);
    let mut bytes = Vec::new();
    // At hand, and not.
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        for has_room in [false, true] {
            hall.publish("t", "1", qos);
            let polled = hall.broker.poll_ready_into(now, |ready| {
                assert_eq!(ready, id);
                has_room.then_some((&mut bytes, 1))
            });
            if has_room {
                assert_eq!(polled, Some((id, Transmit::Idle)));
            } else {
                assert_eq!(polled, Some((id, Transmit::More)), "it is to be polled");
                assert_eq!(hall.broker.poll_ready(), None, "it was handed out");
                let polled = hall.broker.poll_transmit(now, id, 1, &mut bytes);
                assert_eq!(polled, Transmit::Idle);
            }
            let heard = show_all(&core::mem::take(&mut bytes), V5_0);
            assert_eq!(heard.len(), 1, "{heard:?}");
            assert!(heard[0].starts_with("PUBLISH t=1"), "{heard:?}");
            if let Some((_, packet_id)) = heard[0].split_once(" q1 id") {
                hall.say(id, puback(packet_id.parse().unwrap()));
            }
            assert_eq!(hall.broker.poll_ready(), None, "it is drained");
        }
    }
    // Behind what is at hand there is more.
    hall.publish("t", "1", QoS::AtMostOnce);
    hall.say(id, Packet::PingReq);
    let broker = &mut hall.broker;
    let polled = broker.poll_ready_into(now, |_| Some((&mut bytes, 100)));
    assert_eq!(polled, Some((id, Transmit::More)));
    let polled = hall.broker.poll_transmit(now, id, 100, &mut bytes);
    assert_eq!(polled, Transmit::Idle);
    assert_eq!(show_all(&bytes, V5_0), ["PUBLISH t=1 q0", "PINGRESP"]);
    hall.say(
        id,
        disconnect(mqtt_codec::DisconnectReason::NormalDisconnection),
    );
    let broker = &mut hall.broker;
    let polled = broker.poll_ready_into(now, |_| Some((&mut bytes, 100)));
    assert_eq!(polled, Some((id, Transmit::Close)));
}

fn expiring(message: Message, secs: u32) -> Message {
    let properties = PublishProperties {
        message_expiry_secs: Some(secs),
        ..PublishProperties::default()
    };
    message.with_properties(&properties).unwrap()
}

/// Someone's way to go, by name.
type Going = (&'static str, fn(&mut Hall, ConnectionId));

// [3:MQTT-3.1.2-5] It waits for nobody who is away.
#[test]
fn it_goes_with_its_connection() {
    let ways: [Going; 5] = [
        ("lost", |hall, id| {
            hall.broker.handle_close(hall.peer.now, id)
        }),
        ("a goodbye", |hall, id| {
            hall.say(
                id,
                disconnect(mqtt_codec::DisconnectReason::NormalDisconnection),
            );
        }),
        ("taken over", |hall, _| {
            let newer = hall.open();
            hall.say(newer, connect(V5_0, "reader"));
        }),
        ("sent away", |hall, id| {
            let reason = mqtt_codec::DisconnectReason::AdministrativeAction;
            hall.broker.disconnect(hall.peer.now, id, reason);
        }),
        ("a fault", |hall, id| {
            let now = hall.peer.now;
            let _taken = hall.broker.handle_input(now, id, &[0x62, 0]);
        }),
    ];
    for (way, go) in ways {
        let (mut hall, id) = hall(V5_0);
        hall.publish("t", "1", QoS::AtMostOnce);
        assert_eq!(hall.output(id), AT_HAND);
        go(&mut hall, id);
        assert_eq!(hall.broker.stats().messages, 0, "{way}: nothing is kept");
        let heard: Vec<_> = { hall.drain().into_iter() }
            .flat_map(|(_, heard)| heard)
            .collect();
        assert!(
            !heard.iter().any(|line| line.starts_with("PUBLISH")),
            "{way}"
        );
    }
}

/// What a broker, or what it has for somebody, may be like so that the way is not open.
#[test]
fn what_is_not_as_it_came_or_has_a_limit_takes_the_long_way() {
    let message = |len: usize| Message::new("t", "x".repeat(len)).unwrap();
    let limited = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config
    };
    let heard = |len: usize| vec![format!("PUBLISH t={} q0", "x".repeat(len))];
    let rows: [(&str, Config, Message, Vec<String>); 6] = [
        ("it goes", Config::default(), message(1), heard(1)),
        (
            "no QoS 0 message may wait",
            limited(|config| config.waiting_qos0_len_max = 0),
            message(1),
            vec![],
        ),
        (
            "no message may wait",
            limited(|config| config.server.waiting_len_max = 0),
            message(1),
            vec![],
        ),
        (
            "it is larger than all that may wait",
            limited(|config| config.server.messages_bytes_max = 9),
            message(10),
            vec![],
        ),
        ("it is large", Config::default(), message(4096), heard(4096)),
        (
            "it expires",
            Config::default(),
            expiring(message(1), 9),
            heard(1),
        ),
    ];
    for (case, config, message, heard) in rows {
        let mut hall = Hall::new(V5_0, config);
        let id = hall.reader("reader");
        hall.broker.publish(hall.peer.now, message);
        let is_at_hand = case == "it goes";
        assert_eq!(hall.output(id) == AT_HAND, is_at_hand, "{case}");
        let drained: Vec<_> = { hall.drain().into_iter() }
            .flat_map(|(_, it)| it)
            .collect();
        assert_eq!(drained, heard, "{case}");
        assert_eq!(hall.broker.stats().messages, 0, "{case}");
    }
}

/// What is dropped where one message may wait, by its place.
#[test]
fn what_is_at_hand_counts_as_one_that_waits() {
    let (zero, one) = (QoS::AtMostOnce, QoS::AtLeastOnce);
    for (limit, qos, heard, dropped) in [
        ("waiting", [zero, zero], ["PUBLISH t=1 q0"], 1),
        ("waiting", [zero, one], ["PUBLISH t=2 q1 id1"], 1),
        ("waiting at QoS 0", [zero, zero], ["PUBLISH t=1 q0"], 1),
    ] {
        let mut config = Config::default();
        match limit {
            "waiting" => config.server.waiting_len_max = 1,
            _ => config.waiting_qos0_len_max = 1,
        }
        let mut hall = Hall::new(V5_0, config);
        let id = hall.reader("reader");
        hall.events();
        hall.publish("t", "1", qos[0]);
        assert_eq!(hall.output(id), AT_HAND, "{limit} {qos:?}");
        hall.publish("t", "2", qos[1]);
        let is_dropped = |event: &&Event| {
            matches!(
                event,
                Event::Dropped {
                    cause: DropCause::QueueFull,
                    ..
                }
            )
        };
        let events = hall.events();
        let found = events.iter().filter(is_dropped).count();
        assert_eq!(found, dropped, "{limit} {qos:?}: {events:?}");
        let is_full = |event: &Event| matches!(event, Event::QueueFull { waiting_len: 1, .. });
        assert!(events.iter().any(is_full), "{limit} {qos:?}: {events:?}");
        assert_eq!(hall.drain(), [(id, heard.map(String::from).to_vec())]);
    }
}

/// Retained messages wait until there is room beside it.
#[test]
fn what_is_at_hand_has_the_room_of_a_retained_message() {
    let mut config = Config::default();
    config.server.waiting_len_max = 1;
    let mut hall = Hall::new(V5_0, config);
    let id = hall.reader("reader");
    let retained = Message::new("kept", "2").unwrap().with_retain(true);
    hall.broker.publish(hall.peer.now, retained);
    hall.events();
    hall.publish("t", "1", QoS::AtMostOnce);
    assert_eq!(hall.output(id), AT_HAND);
    with_subscribe(1, &[want("kept", QoS::AtMostOnce)], |packet| {
        hall.say(id, packet)
    });
    let events = hall.events();
    assert!(
        !events.iter().any(|it| matches!(it, Event::Dropped { .. })),
        "{events:?}"
    );
    let heard = ["PUBLISH t=1 q0", "SUBACK 1 00", "PUBLISH kept=2 q0 retain"];
    assert_eq!(hall.drain(), [(id, heard.map(String::from).to_vec())]);
}

// [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25]
#[test]
fn who_takes_small_packets_only_is_sent_no_larger_one() {
    let mut hall = Hall::new(V5_0, Config::default());
    let id = hall.open();
    let mut packet = connect(V5_0, "reader");
    packet.properties.packet_size_max = NonZeroU32::new(20);
    hall.say(id, packet);
    hall.drain();
    with_subscribe(1, &[want("t", QoS::AtMostOnce)], |packet| {
        hall.say(id, packet)
    });
    hall.drain();
    hall.events();
    hall.publish("t", "does not fit into so few", QoS::AtMostOnce);
    hall.publish("t", "fits", QoS::AtMostOnce);
    assert_eq!(hall.drain(), [(id, vec!["PUBLISH t=fits q0".into()])]);
    let dropped = |event: &Event| {
        matches!(
            event,
            Event::Dropped {
                cause: DropCause::TooLarge,
                ..
            }
        )
    };
    assert_eq!(
        hall.events().iter().filter(|event| dropped(event)).count(),
        1
    );
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        qos: u8,
        retain: bool,
        expires: bool,
        len: usize,
    },
    /// A reader says something that is answered.
    Ping(usize),
    /// A reader publishes something for nobody, which is acknowledged.
    Say(usize, &'static str),
    /// A reader's connection is lost, and it comes back.
    Lose(usize),
    /// Readers that do not acknowledge at once do so.
    Acknowledge,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..2_u8, any::<bool>(), prop::bool::weighted(0.1), prop_oneof![4 => 0..40_usize, 1 => 4080..4110_usize])
            .prop_map(|(qos, retain, expires, len)| Step::Publish { qos, retain, expires, len }),
        1 => (0..READERS).prop_map(Step::Ping),
        2 => (0..READERS, prop_oneof![Just(""), Just("x")])
            .prop_map(|(number, payload)| Step::Say(number, payload)),
        1 => (0..READERS).prop_map(Step::Lose),
        2 => Just(Step::Acknowledge),
        4 => Just(Step::Drain),
    ]
}

const READERS: usize = 4;

/// A broker with readers of several kinds.
struct Run {
    hall: Hall,
    door: Door,
    readers: Vec<ConnectionId>,
    /// What each of them heard: messages, and everything else.
    heard: Vec<[Vec<String>; 2]>,
    /// What each of them has not acknowledged.
    open: Vec<Vec<u16>>,
}

impl Run {
    fn new(version: ProtocolVersion, door: Door) -> Self {
        let hall = Hall::new(version, Config::default());
        let heard = vec![[vec![], vec![]]; READERS];
        let readers = Vec::new();
        let mut run = Self {
            hall,
            door,
            readers,
            heard,
            open: vec![vec![]; READERS],
        };
        for number in 0..READERS {
            let id = run.enter(number);
            run.readers.push(id);
            run.drain();
        }
        // From here on there is a place in each session, without which nothing at QoS 1 is at hand.
        let message = Message::new("t", "").unwrap().with_qos(QoS::AtLeastOnce);
        run.hall.broker.publish(run.hall.peer.now, message);
        run.drain();
        run.act(Step::Acknowledge);
        run
    }

    fn enter(&mut self, number: usize) -> ConnectionId {
        let id = self.hall.open();
        let client_id = format!("reader-{number}");
        let version = self.hall.peer.version;
        // The sessions of half of them stay.
        let mut packet = connect(version, &client_id);
        packet.clean_start = number < 2;
        if version == V5_0 && number >= 2 {
            packet.properties.session_expiry_secs = Some(1000);
        }
        self.hall.say(id, packet);
        // The second gets QoS 0 only, the third what was retained as it was, the fourth by another filter.
        let mut filter: SubscribeFilter<'_> = want("t", QoS::AtLeastOnce);
        filter.options.retain_handling = RetainHandling::DoNotSend;
        match number {
            1 => filter.options.qos = QoS::AtMostOnce,
            2 if version == V5_0 => filter.options.retain_as_published = true,
            3 => filter = want("t/#", QoS::AtLeastOnce),
            _ => {}
        }
        if version == V3_1_1 {
            filter.options.retain_handling = RetainHandling::default();
        }
        with_subscribe(1, &[filter], |packet| self.hall.say(id, packet));
        id
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Publish {
                qos,
                retain,
                expires,
                len,
            } => {
                let message = Message::new("t", "x".repeat(len)).unwrap();
                let message = message
                    .with_qos(QoS::try_from(qos).unwrap())
                    .with_retain(retain);
                let message = if expires {
                    expiring(message, 100)
                } else {
                    message
                };
                self.hall.broker.publish(self.hall.peer.now, message);
            }
            Step::Ping(number) => self.hall.say(self.readers[number], Packet::PingReq),
            Step::Say(number, payload) => {
                let packet = publish("nobody", payload, QoS::AtLeastOnce, 7);
                self.hall.say(self.readers[number], packet);
            }
            Step::Lose(number) => {
                self.hall
                    .broker
                    .handle_close(self.hall.peer.now, self.readers[number]);
                self.open[number].clear();
                self.readers[number] = self.enter(number);
            }
            Step::Acknowledge => {
                for number in 0..READERS {
                    for packet_id in core::mem::take(&mut self.open[number]) {
                        self.hall.say(self.readers[number], puback(packet_id));
                    }
                }
            }
            Step::Drain => self.drain(),
        }
    }

    fn drain(&mut self) {
        let drained = match self.door {
            Door::Apart => self.hall.drain(),
            Door::Into(max_bytes) => self.hall.drain_into(max_bytes),
            Door::Unasked => { self.readers.iter() }
                .map(|id| (*id, self.hall.hear(*id)))
                .collect(),
        };
        for (id, heard) in drained {
            self.note(id, heard);
        }
    }

    fn note(&mut self, id: ConnectionId, heard: Vec<String>) {
        let number = self
            .readers
            .iter()
            .position(|reader| *reader == id)
            .unwrap();
        for line in heard {
            if let Some(("PUBLISH", _)) = line.split_once(' ')
                && let Some((_, packet_id)) = line.split_once(" q1 id")
            {
                let packet_id = packet_id.split(' ').next().unwrap().parse().unwrap();
                // Every other one does so at once.
                if number % 2 == 0 {
                    self.hall.say(id, puback(packet_id));
                } else {
                    self.open[number].push(packet_id);
                }
            }
            let is_message = line.starts_with("PUBLISH");
            self.heard[number][usize::from(!is_message)].push(line);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_ways_bring_the_same(
        is_v5 in any::<bool>(), max_bytes in 1..200_usize, steps in vec(step(), 0..60),
    ) {
        let version = if is_v5 { V5_0 } else { V3_1_1 };
        let doors = [Door::Unasked, Door::Apart, Door::Into(max_bytes)];
        let mut runs = doors.map(|door| Run::new(version, door));
        for run in &mut runs {
            for step in steps.iter().cloned() {
                run.act(step);
            }
            run.drain();
            // One more for those who have acknowledged something.
            run.drain();
        }
        let [unasked, others @ ..] = &runs;
        for run in others {
            prop_assert_eq!(&run.heard, &unasked.heard, "{:?}", run.door);
            let messages = run.hall.broker.stats().messages;
            prop_assert_eq!(messages, unasked.hall.broker.stats().messages);
        }
    }
}
