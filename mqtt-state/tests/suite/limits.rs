//! Limits of what waits for the embedder: questions, what stands behind them, and reports.

use core::time::Duration;

use mqtt_codec::{Message, QoS};
use mqtt_state::broker::{
    Ask, Config, ConnectAnswer, ConnectionId, Event, PublishAnswer, SubscribeAnswer,
};
use mqtt_state::{InputWaits, Timestamp};

use crate::hall::Hall;
use crate::recorded::Broker;
use crate::wire::{Peer, V3_1_1, V5_0, connect, filter, puback, publish, want, with_subscribe};

const PUBLISH: Ask = Ask {
    connect: false,
    publish: true,
    subscribe: false,
};
const ALL: Ask = Ask {
    connect: true,
    publish: true,
    subscribe: true,
};

impl Hall {
    /// Sends as many of these messages as are taken.
    fn push(&mut self, id: ConnectionId, payload: &str, count: usize) -> usize {
        let mut bytes = Vec::new();
        let packet = publish("t", payload, QoS::AtMostOnce, 0);
        mqtt_codec::Packet::Publish(packet)
            .encode_to(self.peer.version, &mut bytes)
            .unwrap();
        (0..count)
            .take_while(|_| self.broker.handle_input(self.peer.now, id, &bytes).bytes > 0)
            .count()
    }

    fn ready(&mut self) -> Vec<ConnectionId> {
        core::iter::from_fn(|| self.broker.poll_ready()).collect()
    }
}

#[test]
fn what_waits_for_answers_has_a_limit_over_all_connections() {
    let config = Config {
        ask: PUBLISH,
        held_max: 100,
        held_bytes_max: 10_000,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let (first, second) = (hall.joined("first"), hall.joined("second"));
    hall.events();
    let payload = "x".repeat(1_000);
    let taken = hall.push(first, &payload, 100);
    assert!((5..=10).contains(&taken), "{taken}");
    assert_eq!(hall.push(second, &payload, 1), 0, "of nobody");
    assert!(!hall.broker.wants_input(second));
    let why = hall.broker.explain(first).unwrap();
    assert_eq!(why.input, Some(InputWaits::ForDecision));
    assert_eq!(why.held_len, taken);
    for id in hall.ready() {
        assert_eq!(hall.hear(id), [""; 0]);
    }
    // One answer makes room, and both are told.
    let questions = hall.events();
    assert_eq!(questions.len(), taken);
    let now = hall.peer.now;
    for event in questions.into_iter().take(2) {
        if let Event::AuthorizePublish { decision, .. } = event {
            let answer = PublishAnswer::Drop;
            hall.broker.decide_publish(now, decision, answer).unwrap();
        }
    }
    let ready = hall.ready();
    assert!(
        ready.contains(&first) && ready.contains(&second),
        "{ready:?}"
    );
    assert_eq!(hall.push(second, &payload, 1), 1);
    // Without answers, time brings the room.
    hall.peer.now = now + Duration::from_secs(10);
    hall.broker.handle_timeout(hall.peer.now);
    assert_eq!(hall.broker.undecided_len(), 0);
    assert!(hall.broker.wants_input(first) && hall.broker.wants_input(second));
    assert_eq!(hall.broker.explain(first).unwrap().held_len, 0);
}

/// All that it has sent was taken, so nothing of it was refused. A driver that hears that no more is wanted does not read
/// on, and has to be told when it may.
#[test]
fn who_may_send_no_more_is_told_when_it_may() {
    let behind_a_store = Config {
        journal: true,
        journal_len_max: 1,
        ..Config::default()
    };
    let behind_questions = Config {
        ask: Ask {
            subscribe: true,
            ..Ask::default()
        },
        held_bytes_max: 1,
        ..Config::default()
    };
    for (row, config) in [("store", behind_a_store), ("questions", behind_questions)] {
        let mut hall = Hall::new(V5_0, config);
        let (asker, writer) = (hall.joined("asker"), hall.joined("writer"));
        hall.events();
        let now = hall.peer.now;
        if row == "questions" {
            let filters = [want("t", QoS::AtMostOnce)];
            let to = &mut (&mut hall.broker, asker);
            with_subscribe(1, &filters, |packet| hall.peer.say(to, packet));
        }
        let mut retained = publish("t", "x", QoS::AtMostOnce, 0);
        retained.retain = true;
        let mut bytes = Vec::new();
        let packet = mqtt_codec::Packet::Publish(retained);
        packet.encode_to(V5_0, &mut bytes).unwrap();
        let taken = hall.broker.handle_input(now, writer, &bytes).bytes;
        assert_eq!(taken, bytes.len(), "{row}");
        assert!(!hall.broker.wants_input(writer), "{row}");
        for id in hall.ready() {
            assert_eq!(hall.hear(id), [""; 0], "{row}");
        }
        assert_eq!(hall.ready(), [], "{row}");
        while hall.broker.poll_journal().is_some() {}
        for event in hall.events() {
            if let Event::AuthorizeSubscribe { decision, .. } = event {
                let answer = SubscribeAnswer::Allow;
                hall.broker.decide_subscribe(now, decision, answer).unwrap();
            }
        }
        assert!(hall.broker.wants_input(writer), "{row}");
        assert!(hall.ready().contains(&writer), "{row}");
    }
}

/// What each of them hears when there is no room for one more question.
#[test]
fn there_are_only_so_many_questions() {
    for (version, code) in [(V3_1_1, "00"), (V5_0, "97")] {
        let mut hall = Hall::new(
            V5_0,
            Config {
                ask: ALL,
                decisions_max: 2,
                ..Config::default()
            },
        );
        hall.peer = Peer::new(version);
        let now = hall.peer.now;
        let ids = [0, 1].map(|_| hall.open());
        for (id, name) in ids.iter().zip(["a", "b"]) {
            let packet = connect(version, name);
            hall.peer.say(&mut (&mut hall.broker, *id), packet);
        }
        let late = hall.open();
        let heard = { &hall.peer }.ask(&mut (&mut hall.broker, late), connect(version, "late"));
        let busy = if version == V5_0 { "89" } else { "88" };
        assert_eq!(heard, [format!("CONNACK {busy}"), "close".into()]);
        for event in hall.events() {
            if let Event::Authenticate { decision, .. } = event {
                let answer = ConnectAnswer::Allow;
                hall.broker.decide_connect(now, decision, answer).unwrap();
            }
        }
        let id = ids[0];
        hall.hear(id);
        for number in 1..=3 {
            let packet = publish("t", "x", QoS::AtLeastOnce, number);
            hall.peer.say(&mut (&mut hall.broker, id), packet);
        }
        let filters = [want("t", QoS::AtLeastOnce)];
        with_subscribe(4, &filters, |packet| {
            hall.peer.say(&mut (&mut hall.broker, id), packet);
        });
        let mut open = Vec::new();
        for event in hall.events() {
            match event {
                Event::AuthorizePublish { decision, .. } => open.push(decision),
                Event::AuthorizeSubscribe { .. } => panic!("there are two already"),
                _ => {}
            }
        }
        assert_eq!((open.len(), hall.broker.undecided_len()), (2, 2));
        assert_eq!(hall.hear(id), [""; 0], "in their order");
        for decision in open {
            let answer = PublishAnswer::Drop;
            hall.broker.decide_publish(now, decision, answer).unwrap();
        }
        let refused = if version == V5_0 { "97" } else { "80" };
        let expected = [
            "PUBACK 1 00".to_owned(),
            "PUBACK 2 00".into(),
            format!("PUBACK 3 {code}"),
            format!("SUBACK 4 {refused}"),
        ];
        assert_eq!(hall.hear(id), expected, "{version}");
    }
}

/// One question for each subscription, as far as there is room for them.
#[test]
fn reauthorize_says_how_many_questions_it_asks() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            decisions_max: 2,
            ..Config::default()
        },
    );
    let id = hall.joined("c");
    let filters = ["a", "b", "c"].map(|text| want(text, QoS::AtMostOnce));
    with_subscribe(1, &filters, |packet| {
        hall.peer.say(&mut (&mut hall.broker, id), packet);
    });
    let now = hall.peer.now;
    assert_eq!(hall.broker.reauthorize(now, "c"), 2);
    for event in hall.events() {
        if let Event::AuthorizeSubscribe { decision, .. } = event {
            let answer = SubscribeAnswer::Allow;
            hall.broker.decide_subscribe(now, decision, answer).unwrap();
        }
    }
    assert_eq!(hall.broker.stats().subscriptions, 3);
}

#[test]
fn reports_have_limits_in_number_and_in_bytes() {
    let now = Timestamp::from_secs(1);
    // Rows: number, bytes, and how many of ten messages of 1,000 bytes are told.
    for (events_max, events_bytes_max, expected) in [(4, 100_000, 4), (100, 5_500, 5)] {
        let mut broker = Broker::new(Config {
            events_max,
            events_bytes_max,
            ..Config::default()
        });
        broker.subscribe_local(filter("#")).unwrap();
        for round in 1..=2 {
            for _ in 0..10 {
                broker.publish(now, Message::new("t", vec![0; 1_000]).unwrap());
            }
            let told = core::iter::from_fn(|| broker.poll_event()).count();
            assert_eq!(told, expected, "round {round}");
            let dropped = u64::try_from((10 - expected) * round).unwrap();
            assert_eq!(broker.stats().events_dropped, dropped);
        }
    }
}

/// Why no input is taken, and what there is to come.
#[test]
fn explain_tells_of_speed_and_of_replays() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            packets_per_sec_max: Some(3),
            ..Config::default()
        },
    );
    for number in 0..200 {
        let message = Message::new(&format!("t/{number}"), "x").unwrap();
        hall.broker
            .publish(hall.peer.now, message.with_retain(true));
    }
    let id = hall.joined("c");
    let filters = [want("t/+", QoS::AtMostOnce)];
    with_subscribe(1, &filters, |packet| {
        hall.peer.say(&mut (&mut hall.broker, id), packet);
    });
    let why = hall.broker.explain(id).unwrap();
    assert_eq!((why.replays_len, why.input), (1, None));
    assert_eq!(hall.hear(id).len(), 201);
    assert_eq!(hall.broker.explain(id).unwrap().replays_len, 0);
    hall.push(id, "x", 2);
    let why = hall.broker.explain(id).unwrap();
    assert_eq!(why.input, Some(InputWaits::ForTime));
    let words = why.to_string();
    assert!(words.contains("it came too fast"), "{words}");
}

/// A 3.1.1 client cannot be told how much it may leave open; beyond it its connection ends.
#[test]
fn a_3_1_1_client_leaves_no_more_open_than_the_limit() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            server: mqtt_state::server::Config {
                receive_maximum: 1,
                receive_maximum_v3: 2,
                ..mqtt_state::server::Config::default()
            },
            ..Config::default()
        },
    );
    hall.peer = Peer::new(V3_1_1);
    let id = hall.joined("c");
    let say = |hall: &mut Hall, packet: mqtt_codec::Packet<'_>| {
        hall.peer.say(&mut (&mut hall.broker, id), packet);
        hall.hear(id)
    };
    for number in [1, 2] {
        let packet = publish("t", "x", QoS::ExactlyOnce, number);
        let heard = say(&mut hall, packet.into());
        assert_eq!(heard, [format!("PUBREC {number} 00")]);
    }
    let heard = say(&mut hall, crate::wire::pubrel(1));
    assert_eq!(heard, ["PUBCOMP 1 00"]);
    let packet = publish("t", "x", QoS::ExactlyOnce, 3);
    assert_eq!(say(&mut hall, packet.into()), ["PUBREC 3 00"]);
    let packet = publish("t", "x", QoS::ExactlyOnce, 4);
    assert_eq!(say(&mut hall, packet.into()), ["close"]);
}

/// Who is named has something to send.
#[test]
fn nobody_is_named_who_has_nothing_to_send() {
    let mut hall = Hall::new(V5_0, Config::default());
    let id = hall.joined("c");
    hall.ready();
    assert_eq!(hall.hear(id), [""; 0]);
    let mut message = publish("t", "x", QoS::AtMostOnce, 0);
    message.properties.content_type = Some(mqtt_codec::Str::new("text").unwrap());
    let unknown = puback(7);
    let ping = mqtt_codec::Packet::PingReq;
    for (row, packet, named) in [
        ("a message for nobody", message.into(), 0),
        ("an acknowledgement of nothing", unknown, 0),
        ("a question", ping, 1),
    ] {
        hall.peer.say(&mut (&mut hall.broker, id), packet);
        let ready = hall.ready();
        assert_eq!(ready.len(), named, "{row}");
        assert_eq!(hall.hear(id).len(), named, "{row}");
    }
}

fn answer_all(hall: &mut Hall) -> usize {
    let (now, mut answered) = (hall.peer.now, 0);
    for event in hall.events() {
        answered += 1;
        match event {
            Event::AuthorizePublish { decision, .. } => {
                let answer = PublishAnswer::Allow;
                hall.broker.decide_publish(now, decision, answer).unwrap();
            }
            Event::AuthorizeSubscribe { decision, .. } => {
                let answer = SubscribeAnswer::Allow;
                hall.broker.decide_subscribe(now, decision, answer).unwrap();
            }
            _ => answered -= 1,
        }
    }
    answered
}

/// A client that asks for much waits for its own answers, and leaves room for the questions of others.
#[test]
fn one_connection_has_only_its_share_of_the_questions() {
    let ask = Ask {
        connect: false,
        ..ALL
    };
    let mut hall = Hall::new(
        V5_0,
        Config {
            ask,
            decisions_max: 10,
            decisions_per_connection_max: 3,
            ..Config::default()
        },
    );
    let (greedy, other) = (hall.joined("greedy"), hall.joined("other"));
    hall.events();
    // Many filters at once: some questions, then more as answers come, and one SUBACK for all.
    let topics: Vec<String> = (0..8).map(|number| format!("t/{number}")).collect();
    let filters: Vec<_> = topics
        .iter()
        .map(|topic| want(topic, QoS::AtMostOnce))
        .collect();
    with_subscribe(1, &filters, |packet| {
        hall.peer.say(&mut (&mut hall.broker, greedy), packet);
    });
    assert_eq!(hall.broker.undecided_len(), 3);
    assert!(!hall.broker.wants_input(greedy), "it has its share");
    let why = hall.broker.explain(greedy).unwrap();
    assert_eq!(why.input, Some(InputWaits::ForDecision));
    assert_eq!(hall.push(greedy, "x", 1), 0);
    assert!(hall.broker.wants_input(other), "others do not wait");
    assert_eq!(answer_all(&mut hall), 3);
    assert_eq!(hall.broker.undecided_len(), 3, "the next ones");
    assert_eq!(hall.hear(greedy), [""; 0]);
    assert_eq!(answer_all(&mut hall), 3);
    assert_eq!(answer_all(&mut hall), 2);
    let suback = ["SUBACK 1 00 00 00 00 00 00 00 00"];
    assert_eq!(hall.hear(greedy), suback);
    assert_eq!(hall.broker.stats().subscriptions, 8);
    // Packets behind one another.
    assert_eq!(hall.push(greedy, "x", 10), 3);
    assert_eq!(hall.push(other, "x", 10), 3);
    assert_eq!(answer_all(&mut hall), 6);
    assert_eq!(hall.push(greedy, "x", 10), 3, "and it goes on");
    // A question without an answer makes room as well, also among the filters of one packet.
    hall.peer.now = hall.peer.now + Duration::from_secs(10);
    hall.broker.handle_timeout(hall.peer.now);
    hall.events();
    with_subscribe(2, &filters, |packet| {
        hall.peer.say(&mut (&mut hall.broker, greedy), packet);
    });
    for left in [3, 3, 2, 0] {
        assert_eq!(hall.broker.undecided_len(), left);
        hall.peer.now = hall.peer.now + Duration::from_secs(10);
        hall.broker.handle_timeout(hall.peer.now);
    }
    let suback = ["SUBACK 2 87 87 87 87 87 87 87 87"];
    assert_eq!(hall.hear(greedy), suback);
}

/// What there is no room to ask about is refused at once, even where nothing of that client waits for an
/// answer: nobody else's answer would bring it about.
#[test]
fn what_cannot_be_asked_about_is_answered_at_once() {
    let ask = Ask {
        connect: false,
        ..ALL
    };
    let mut hall = Hall::new(
        V5_0,
        Config {
            ask,
            decisions_max: 1,
            ..Config::default()
        },
    );
    let (first, second) = (hall.joined("first"), hall.joined("second"));
    assert_eq!(hall.push(first, "x", 1), 1);
    let packet = publish("t", "x", QoS::AtLeastOnce, 1);
    let heard = { &hall.peer }.ask(&mut (&mut hall.broker, second), packet);
    assert_eq!(heard, ["PUBACK 1 97"]);
    let filters = [want("a", QoS::AtMostOnce), want("b", QoS::AtMostOnce)];
    with_subscribe(2, &filters, |packet| {
        hall.peer.say(&mut (&mut hall.broker, second), packet);
    });
    assert_eq!(hall.hear(second), ["SUBACK 2 97 97"]);
    assert_eq!(hall.broker.explain(second).unwrap().held_len, 0);
}

/// Who says something and is gone, again and again, does not take the room of those who stay.
#[test]
fn questions_of_those_who_are_gone_leave_room() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            ask: PUBLISH,
            decisions_max: 10,
            ..Config::default()
        },
    );
    for _ in 0..10 {
        let id = hall.joined("comes and goes");
        hall.push(id, "x", 3);
        hall.broker.handle_close(hall.peer.now, id);
    }
    assert_eq!(hall.broker.undecided_len(), 5);
    let events = hall.events();
    let told = events
        .iter()
        .filter(|event| matches!(event, Event::Refused { topic, .. } if topic == "t"));
    assert_eq!(told.count(), 25);
    let id = hall.joined("stays");
    assert_eq!(hall.push(id, "x", 3), 3);
    assert_eq!(hall.broker.undecided_len(), 8);
}
