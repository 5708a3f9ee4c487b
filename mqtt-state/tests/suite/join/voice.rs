//! Brokers that say what they like to one that is ours, word by word, in the form that is stored and sent.

use std::collections::BTreeMap;

use mqtt_codec::{Connect, Message, QoS};
use mqtt_state::broker::{self, BrokerId, ConnectionId, Event};
use serde_json::{Value, json};

use super::mesh::config;
use crate::wire::{Peer, V5_0, connect, want};
use crate::world::{Who, World};

/// One broker of ours, and what others say to it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    voices: BTreeMap<u32, Voice>,
}

#[derive(Debug, Default)]
struct Voice {
    incarnation: u64,
    link: u64,
    /// The link of our broker.
    theirs: Value,
    number: u64,
    sequence: u64,
    /// Notes that have come, and whether that is said.
    received: u64,
    is_deaf: bool,
    heard: Vec<Value>,
}

impl Stage {
    /// A broker that is joined with these.
    pub(crate) fn new(others: &[u32], base: &broker::Config) -> Self {
        let mut stage = Self {
            world: World::with(config(0, base)),
            voices: BTreeMap::new(),
        };
        for other in others {
            stage = stage.with(*other);
            stage.hear(*other);
        }
        stage
    }

    /// Joined with one more, of which nothing has been heard but its greeting.
    pub(crate) fn with(mut self, other: u32) -> Self {
        self.voices.insert(other, Voice::default());
        self.open(other);
        self
    }

    /// A new link, with a greeting. Answers what our broker says to it.
    pub(crate) fn open(&mut self, id: u32) -> Value {
        self.greet(id);
        self.collect();
        let heard = &self.voices[&id].heard;
        let welcome = { heard.iter() }.find(|it| it["body"].get("Welcome").is_some());
        welcome.unwrap().clone()
    }

    /// A new link, on which our broker has said nothing yet.
    pub(crate) fn greet(&mut self, id: u32) {
        let world = &mut self.world;
        world.broker.join(world.now, BrokerId::new(id)).unwrap();
        self.collect();
        let voice = self.voices.get_mut(&id).unwrap();
        voice.link += 1;
        voice.number = 0;
        let hello = { voice.heard.drain(..) }.rfind(|it| it["body"] == "Hello");
        voice.theirs = hello.unwrap()["from"].clone();
        self.say(id, &json!({"Welcome": {"count": 0}}));
    }

    /// It has begun anew, and remembers nothing.
    pub(crate) fn restart(&mut self, id: u32) {
        let voice = self.voices.get_mut(&id).unwrap();
        *voice = Voice {
            incarnation: voice.incarnation + 1,
            link: 1,
            theirs: voice.theirs.clone(),
            ..Voice::default()
        };
        self.say(id, &json!({"Welcome": {"count": 0}}));
    }

    /// From now on what has come from our broker is not said to have.
    pub(crate) fn deafen(&mut self, id: u32) {
        self.voices.get_mut(&id).unwrap().is_deaf = true;
    }

    pub(crate) fn message(&self, id: u32, number: u64, body: &Value) -> Value {
        let voice = &self.voices[&id];
        json!({
            "from": {"incarnation": voice.incarnation, "link": voice.link},
            "to": voice.theirs,
            "number": number,
            "received": if voice.is_deaf { 0 } else { voice.received },
            "body": body,
        })
    }

    pub(crate) fn send(&mut self, id: u32, message: Value) {
        let message = serde_json::from_value(message).unwrap();
        let world = &mut self.world;
        world
            .broker
            .handle_joined(world.now, BrokerId::new(id), message);
    }

    pub(crate) fn say(&mut self, id: u32, body: &Value) {
        let number = self.voices[&id].number;
        let message = self.message(id, number, body);
        self.voices.get_mut(&id).unwrap().number += 1;
        self.send(id, message);
    }

    /// All that has come from our broker has arrived.
    pub(crate) fn acknowledge(&mut self, id: u32) {
        self.collect();
        self.say(id, &json!("Acknowledge"));
    }

    /// Something that is not to be lost.
    pub(crate) fn note(&mut self, id: u32, note: &Value) {
        let voice = self.voices.get_mut(&id).unwrap();
        voice.sequence += 1;
        let sequence = voice.sequence;
        self.say(id, &json!({"Note": {"sequence": sequence, "note": note}}));
    }

    /// Something about the client "x".
    pub(crate) fn claim(&mut self, id: u32, stamp: &Value, what: &Value) {
        let claim = json!({"client_id": "x", "stamp": stamp, "what": what});
        self.note(id, &json!({"Claim": claim}));
    }

    pub(crate) fn piece(&mut self, id: u32, stamp: &Value, piece: &Value) {
        self.claim(id, stamp, &json!({"Piece": piece}));
    }

    fn collect(&mut self) {
        self.world.settle();
        while let Some((to, message)) = self.world.broker.poll_joined(self.world.now) {
            let message = serde_json::to_value(message).unwrap();
            let voice = self.voices.get_mut(&to.get()).unwrap();
            if let Some(sequence) = message["body"]["Note"]["sequence"].as_u64() {
                voice.received = voice.received.max(sequence);
            }
            voice.heard.push(message);
        }
    }

    /// What our broker has said since the last time, but for greetings and acknowledgements.
    pub(crate) fn hear(&mut self, id: u32) -> Vec<Value> {
        self.collect();
        let heard = core::mem::take(&mut self.voices.get_mut(&id).unwrap().heard);
        let bodies = heard.into_iter().map(|mut message| message["body"].take());
        let is_said = |body: &Value| body.is_object() && body.get("Welcome").is_none();
        bodies.filter(is_said).collect()
    }

    /// Of that, what is about claims.
    pub(crate) fn hear_claims(&mut self, id: u32) -> Vec<Value> {
        let heard = self.hear(id);
        let claims = heard.iter().map(|body| &body["Note"]["note"]["Claim"]);
        claims
            .map(|claim| claim["what"].clone())
            .filter(|it| !it.is_null())
            .collect()
    }

    /// Of that, the messages, and which way they go.
    pub(crate) fn hear_messages(&mut self, id: u32) -> Vec<String> {
        let show = |way: &str, forward: &Value| {
            let message: Message = serde_json::from_value(forward["message"].clone()).unwrap();
            let payload = String::from_utf8_lossy(message.payload()).into_owned();
            format!("{way} {}={payload}", message.topic())
        };
        let heard = self.hear(id);
        let shown = heard.iter().filter_map(|body| {
            let note = &body["Note"]["note"];
            let ways = [
                ("passing", &body["Passing"]),
                ("forward", &note["Forward"]),
                ("returned", &note["Returned"]),
                ("retained", &body["Retained"]),
            ];
            let (way, forward) = ways.into_iter().find(|(_, it)| it.is_object())?;
            Some(match forward["message"].is_null() {
                true => format!("{way} {} cleared", forward["topic"].as_str().unwrap()),
                false => show(way, forward),
            })
        });
        shown.collect()
    }

    /// A client that is connected, and that none of the others has a session of.
    pub(crate) fn client(&mut self, name: &'static str) -> Who {
        self.client_that(name, &connect(V5_0, name))
    }

    /// The same, with what it says.
    pub(crate) fn client_that(&mut self, name: &'static str, connect: &Connect<'_>) -> Who {
        let who = self.world.client(name);
        self.world.connect(who, connect);
        self.world.settle();
        self.collect();
        let ids: Vec<_> = self.voices.keys().copied().collect();
        for id in ids {
            for body in self.hear(id) {
                let claim = &body["Note"]["note"]["Claim"];
                if claim["what"].get("Claim").is_some() {
                    let mut answer = claim.clone();
                    answer["what"] = json!("Unclaimed");
                    self.note(id, &json!({"Claim": answer}));
                }
            }
        }
        self.world.settle();
        who
    }

    /// A client that is connected and subscribed.
    pub(crate) fn subscriber(&mut self, name: &'static str, filter: &str) -> Who {
        let who = self.client(name);
        self.world.subscribe(who, &[want(filter, QoS::ExactlyOnce)]);
        self.world.events(who);
        who
    }

    /// A client that connects; what it hears comes with [`ask`](Self::ask).
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> ConnectionId {
        let world = &mut self.world;
        let peer = broker::Peer::default();
        let connection = world.broker.accept(world.now, peer).unwrap();
        self.peer()
            .say(&mut (&mut self.world.broker, connection), *connect);
        connection
    }

    pub(crate) fn peer(&self) -> Peer {
        let mut peer = Peer::new(V5_0);
        peer.now = self.world.now;
        peer
    }

    /// What a client hears, until there is nothing more.
    pub(crate) fn heard_by(&mut self, connection: ConnectionId) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            self.world.settle();
            let peer = self.peer();
            let heard = peer.hear(&mut (&mut self.world.broker, connection));
            self.world.drained(connection);
            let is_over = heard.is_empty() || heard.ends_with(&["close".to_owned()]);
            all.extend(heard);
            if is_over {
                return all;
            }
        }
    }

    /// The client "x" connects to its session, whose claim is answered with this stamp.
    pub(crate) fn claimed(&mut self, at: u32) -> (ConnectionId, Value) {
        let connection = self.connect(&resuming(100));
        let heard = self.hear(at);
        let claim = heard.iter().map(|body| &body["Note"]["note"]["Claim"]);
        let claim = { claim }.find(|it| it["what"]["Claim"].is_object());
        (connection, claim.unwrap()["stamp"].clone())
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.world.broker_events()
    }
}

/// The client "x" wants its session.
pub(crate) fn resuming(secs: u32) -> Connect<'static> {
    let mut connect = Connect {
        clean_start: false,
        ..connect(V5_0, "x")
    };
    connect.properties.session_expiry_secs = Some(secs);
    connect
}

pub(crate) fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let message = Message::new(topic, payload.to_owned()).unwrap();
    message.with_qos(qos)
}

pub(crate) fn stamp(count: u64, broker: u32) -> Value {
    json!({"count": count, "broker": broker})
}

pub(crate) fn plain(text: &str) -> Value {
    json!({"is_shared": false, "text": text})
}

pub(crate) fn shared(text: &str) -> Value {
    json!({"is_shared": true, "text": text})
}

/// A message that goes on from another broker: to ordinary subscriptions, and to these turns.
pub(crate) fn forward(message: &Message, expires_in: Option<u64>, groups: &[Value]) -> Value {
    json!({
        "message": message,
        "publisher": null,
        "expires_in": expires_in,
        "is_plain": true,
        "groups": groups,
        "stamp": null,
    })
}

/// What goes along of a message of a session.
pub(crate) fn delivery(message: &Message, qos: u8) -> Value {
    json!({
        "message": message,
        "expires_in": null,
        "qos": qos,
        "retain": false,
        "is_replay": false,
        "group": null,
        "subscription_ids": [],
    })
}

pub(crate) fn subscription(filter: &Value) -> Value {
    json!({"Subscription": {
        "text": filter["text"],
        "subscription": {
            "is_shared": filter["is_shared"],
            "qos": 2,
            "no_local": false,
            "retain_as_published": false,
            "id": null,
            "deny": [],
        },
    }})
}

pub(crate) fn subscribed() -> Value {
    json!({"Subscribed": {"expiry_secs": 100, "whose": null}})
}
