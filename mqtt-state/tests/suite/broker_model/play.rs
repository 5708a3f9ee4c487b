//! Plays a script on a real broker, with clients that speak packet by packet, and shows the model
//! whatever comes out.

use core::num::{NonZeroU16, NonZeroU32};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use mqtt_codec::{
    Ack, Binary, Connect, Delivery, Disconnect, DisconnectReason, Packet, Parsed, ProtocolVersion,
    Publish, PublishProperties, PublishReason, PublishTopic, QoS, ReleaseReason, RetainHandling,
    Str, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscriptionId,
    SubscriptionOptions, TopicAlias, TopicFilter, TopicName, Unsubscribe, UnsubscribeFilters,
    UserProperties, UserProperty, Will, WillProperties, decode,
};
use mqtt_state::broker::{
    Ask, Config, ConnectAnswer, ConnectionId, DropCause, Event, Grant, Peer as Visitor,
    PublishAnswer, SessionInfo, SubscribeAnswer,
};
use mqtt_state::{Timestamp, Transmit, server};

use super::oracle::{Answer, Arrival, Message, Model, Seen, Tally, Verdict, Witness};
use super::script::{BIG, CLIENTS, Hello, Letter, Step, Terms, Wish};
use crate::disk::Disk;
use crate::recorded::Broker;
use crate::wire::{V3_1_1, V5_0, id, show};

const NAMES: [&str; CLIENTS] = ["0", "1", "2", "3", "4"];

/// The receiving end of one client.
#[derive(Debug)]
struct Peer {
    connection: Option<ConnectionId>,
    version: ProtocolVersion,
    /// Acknowledgements to send.
    owed: VecDeque<Answer>,
    answers: bool,
    reads: bool,
    /// Names by alias, from the broker and to it.
    aliases_in: BTreeMap<u16, String>,
    aliases_in_max: u16,
    aliases_out: BTreeMap<u16, String>,
    /// QoS 2 messages that were not released.
    open: VecDeque<(u16, Rc<Message>)>,
    next_id: u16,
    /// Its CONNECT had a session expiry, so that DISCONNECT may have one.
    asked_to_be_kept: bool,
    /// Part of a packet.
    rest: Vec<u8>,
}

struct Play {
    terms: Terms,
    broker: Broker,
    model: Model,
    disk: Disk,
    peers: [Peer; CLIENTS],
    ready: BTreeSet<ConnectionId>,
}

/// Plays a script to its end, and then until nothing is owed any more.
pub(super) fn play(terms: Terms, steps: &[Step]) -> Verdict<Tally> {
    let mut play = Play::new(terms);
    for (place, step) in steps.iter().enumerate() {
        play.step(*step)
            .map_err(|error| format!("step {place}, {step:?}: {error}"))?;
    }
    play.finish()
        .map_err(|error| format!("at the end: {error}"))?;
    Ok(play.model.tally)
}

impl Play {
    fn new(terms: Terms) -> Self {
        let peer = || Peer {
            connection: None,
            version: V5_0,
            owed: VecDeque::new(),
            answers: true,
            reads: true,
            aliases_in: BTreeMap::new(),
            aliases_in_max: 0,
            aliases_out: BTreeMap::new(),
            open: VecDeque::new(),
            next_id: 1,
            asked_to_be_kept: false,
            rest: Vec::new(),
        };
        Self {
            terms,
            broker: Broker::new(config(terms)),
            model: Model::new(terms, 1000),
            disk: Disk::default(),
            peers: core::array::from_fn(|_| peer()),
            ready: BTreeSet::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.model.now())
    }

    fn step(&mut self, step: Step) -> Verdict {
        match step {
            Step::Connect(who, hello) => {
                // Whoever is asked about a will answers when others have gone on.
                let will = hello.will.filter(|_| !self.terms.asks);
                self.connect(who, Hello { will, ..hello })?;
            }
            Step::Pass(secs) => return self.pass(secs),
            Step::Restart(secs) => {
                if self.terms.journal {
                    self.restart(secs)?;
                }
            }
            Step::Announce(letter) => {
                let message = self.compose(letter);
                let now = self.now();
                let owned = owned(&message, self.model.now());
                self.act(
                    |broker| {
                        broker.publish(now, owned);
                    },
                    |model, witness| model.announce(&message, witness),
                )?;
            }
            Step::Revoke(who, text) => {
                let mut existed = false;
                self.act(
                    |broker| existed = broker.revoke(NAMES[who], TopicFilter::new(text).unwrap()),
                    |_, _| Ok(()),
                )?;
                if existed != self.model.revoke(who, text) {
                    return Err(format!("it existed: {existed}"));
                }
            }
            Step::Limit(who, qos_max) => {
                if !self.model.is_greeting(who) {
                    self.limit(who, qos_max)?;
                }
            }
            Step::Reads(who, reads) => self.peers[who].reads = reads,
            Step::Answers(who, answers) => self.peers[who].answers = answers,
            Step::Disconnect { who, .. }
            | Step::Cut(who)
            | Step::Kick(who)
            | Step::Subscribe(who, ..)
            | Step::Unsubscribe(who, _)
            | Step::Publish(who, _)
            | Step::Again(who)
            | Step::Release(who)
            | Step::Answer(who, _)
            | Step::Refuse(who)
            | Step::ReadSome(who) => {
                if let Some(connection) = self.peers[who].connection {
                    self.step_connected(who, connection, step)?;
                }
            }
        }
        self.settle()
    }

    /// The embedder asks itself about all subscriptions of a client.
    fn limit(&mut self, who: usize, qos_max: u8) -> Verdict {
        let now = self.now();
        let grant = Grant {
            qos_max: QoS::try_from(qos_max).unwrap(),
            ..Grant::default()
        };
        let mut asked = 0;
        self.act(
            |broker| {
                asked = broker.reauthorize(now, NAMES[who]);
                while let Some(event) = broker.poll_event() {
                    if let Event::AuthorizeSubscribe { decision, .. } = event {
                        let answer = SubscribeAnswer::Grant(grant.clone());
                        broker.decide_subscribe(now, decision, answer).unwrap();
                    }
                }
            },
            |_, _| Ok(()),
        )?;
        let expected = self.model.limit(who, qos_max);
        if asked == expected {
            Ok(())
        } else {
            Err(format!("{asked} questions, and not {expected}"))
        }
    }

    fn step_connected(&mut self, who: usize, connection: ConnectionId, step: Step) -> Verdict {
        let now = self.now();
        match step {
            Step::Disconnect {
                with_will, expiry, ..
            } => self.disconnect(who, with_will, expiry),
            Step::Cut(_) => {
                self.peers[who].hang_up();
                self.ready.remove(&connection);
                self.act(
                    |broker| broker.handle_close(now, connection),
                    |model, witness| model.leave(who, None, witness),
                )
            }
            Step::Kick(_) => {
                self.act(
                    |broker| {
                        broker.disconnect(now, connection, DisconnectReason::AdministrativeAction);
                    },
                    |model, witness| model.leave(who, Some("98"), witness),
                )?;
                self.hear_out(who, connection)
            }
            Step::Subscribe(_, subscription_id, wishes) => {
                let wishes: Vec<_> = wishes.into_iter().flatten().collect();
                self.subscribe(who, subscription_id, wishes)
            }
            Step::Unsubscribe(_, filter) => {
                let packet_id = self.peers[who].take_id();
                let filters = [TopicFilter::new(filter).unwrap()];
                let unsubscribe = Unsubscribe {
                    id: id(packet_id),
                    filters: UnsubscribeFilters::new(&filters).unwrap(),
                    user_properties: UserProperties::default(),
                };
                self.say(who, &Packet::Unsubscribe(unsubscribe), |model, _| {
                    model.unsubscribe(who, packet_id, filter)
                })
            }
            Step::Publish(_, letter) => self.publish(who, letter),
            Step::Again(_) => match self.peers[who].open.front() {
                Some((packet_id, message)) => {
                    let (packet_id, message) = (*packet_id, Rc::clone(message));
                    self.send(who, &message, Some(packet_id), true, None)
                }
                None => Ok(()),
            },
            Step::Release(_) => match self.peers[who].open.pop_front() {
                Some((packet_id, _)) => self.release(who, packet_id),
                None => Ok(()),
            },
            Step::Answer(_, count) => {
                for _ in 0..count {
                    self.acknowledge(who, false)?;
                }
                Ok(())
            }
            Step::Refuse(_) => self.acknowledge(who, true),
            Step::ReadSome(_) => {
                // What is too large goes unseen, and would be expected for ever.
                if self.ready.contains(&connection) && self.model.takes_big(who) {
                    self.read(who, connection)?;
                }
                Ok(())
            }
            _elsewhere => Ok(()),
        }
    }

    // --- What clients do.

    fn connect(&mut self, who: usize, hello: Hello) -> Verdict {
        let (now, before) = (self.now(), self.peers[who].connection);
        let version = if hello.is_v5 { V5_0 } else { V3_1_1 };
        let will = hello.will.map(|will| {
            let letter = Letter {
                topic: will.topic,
                qos: will.qos,
                retain: will.retain,
                is_empty: false,
                is_big: false,
                has_note: hello.is_v5,
                expiry: None,
                alias: None,
                dup: false,
                completes: true,
            };
            let mut will = will;
            if !hello.is_v5 {
                (will.delay, will.expiry) = (0, None);
            }
            (will, self.compose(letter))
        });
        let mut connect = Connect {
            clean_start: hello.clean,
            keep_alive_secs: 0,
            ..Connect::new(version, Str::new(NAMES[who]).unwrap())
        };
        if let Some((will, message)) = &will {
            let mut properties = WillProperties::default();
            if hello.is_v5 {
                properties = WillProperties {
                    delay_secs: (will.delay > 0).then_some(will.delay),
                    message_expiry_secs: will.expiry,
                    content_type: message.note.as_deref().map(|note| Str::new(note).unwrap()),
                    ..WillProperties::default()
                };
            }
            connect.will = Some(Will {
                qos: QoS::try_from(will.qos).unwrap(),
                retain: will.retain,
                properties,
                ..Will::new(
                    TopicName::new(will.topic).unwrap(),
                    Binary::new(message.payload.as_bytes()).unwrap(),
                )
            });
        }
        if hello.is_v5 {
            connect.properties.session_expiry_secs = hello.expiry;
            connect.properties.receive_maximum = hello.receive_maximum.and_then(NonZeroU16::new);
            connect.properties.packet_size_max = hello.packet_max.and_then(NonZeroU32::new);
            connect.properties.topic_alias_maximum =
                (hello.alias_maximum > 0).then_some(hello.alias_maximum);
        }
        let mut bytes = Vec::new();
        Packet::Connect(connect)
            .encode_to(version, &mut bytes)
            .unwrap();
        let expiry = match (hello.is_v5, hello.clean) {
            (true, _) => hello.expiry.unwrap_or(0),
            (false, true) => 0,
            (false, false) => u32::MAX,
        };
        let arrival = Arrival {
            is_v5: hello.is_v5,
            clean: hello.clean,
            expiry,
            receive_maximum: hello
                .receive_maximum
                .filter(|_| hello.is_v5)
                .unwrap_or(u16::MAX),
            takes_big: !(hello.is_v5 && hello.packet_max.is_some()),
            will,
        };
        let accepted = self.broker.accept(now, Visitor::default());
        let connection = accepted.map_err(|error| error.to_string())?;
        let mut is_present = None;
        let mut farewell = VecDeque::new();
        self.act(
            |broker| {
                let _all = broker.handle_input(now, connection, &bytes);
            },
            |model, witness| {
                is_present = model.connect(who, arrival, witness)?;
                farewell = model.farewell(who);
                Ok(())
            },
        )?;
        if let Some(before) = before {
            let (version, mut rest) = (self.peers[who].version, self.peers[who].rest.clone());
            self.hear_last(before, version, &mut rest, farewell.clone())?;
        }
        let peer = &mut self.peers[who];
        peer.hang_up();
        if is_present != Some(true) {
            peer.open.clear();
        }
        if is_present.is_none() {
            return self.hear_last(connection, version, &mut Vec::new(), farewell);
        }
        peer.connection = Some(connection);
        peer.version = version;
        peer.asked_to_be_kept = expiry > 0;
        peer.aliases_in_max = if hello.is_v5 { hello.alias_maximum } else { 0 };
        Ok(())
    }

    fn disconnect(&mut self, who: usize, with_will: bool, expiry: Option<u32>) -> Verdict {
        let is_v5 = self.peers[who].version == V5_0;
        let with_will = with_will && is_v5;
        // [5:MQTT-3.14.2-2] is another test's.
        let expiry = expiry.filter(|_| is_v5 && self.peers[who].asked_to_be_kept);
        let mut goodbye = Disconnect::new(if with_will {
            DisconnectReason::DisconnectWithWill
        } else {
            DisconnectReason::NormalDisconnection
        });
        goodbye.properties.session_expiry_secs = expiry;
        let connection = self.peers[who].connection.ok_or("no connection")?;
        self.say(who, &Packet::Disconnect(goodbye), |model, witness| {
            model.disconnect(who, with_will, expiry, witness)
        })?;
        self.hear_out(who, connection)
    }

    fn subscribe(
        &mut self,
        who: usize,
        subscription_id: Option<u32>,
        mut wishes: Vec<Wish>,
    ) -> Verdict {
        let is_v5 = self.peers[who].version == V5_0;
        let subscription_id = subscription_id.filter(|_| is_v5);
        if !is_v5 {
            for wish in &mut wishes {
                (wish.no_local, wish.as_published, wish.handling) = (false, false, 0);
            }
        }
        let filters: Vec<_> = { wishes.iter() }
            .map(|wish| SubscribeFilter {
                filter: TopicFilter::new(wish.filter).unwrap(),
                options: SubscriptionOptions {
                    qos: QoS::try_from(wish.qos).unwrap(),
                    no_local: wish.no_local,
                    retain_as_published: wish.as_published,
                    retain_handling: match wish.handling {
                        0 => RetainHandling::Send,
                        1 => RetainHandling::SendIfNew,
                        _ => RetainHandling::DoNotSend,
                    },
                },
            })
            .collect();
        let packet_id = self.peers[who].take_id();
        let subscribe = Subscribe {
            id: id(packet_id),
            filters: SubscribeFilters::new(&filters).unwrap(),
            properties: SubscribeProperties {
                subscription_id: subscription_id.and_then(SubscriptionId::new),
                ..SubscribeProperties::default()
            },
        };
        self.say(who, &Packet::Subscribe(subscribe), |model, _| {
            model.subscribe(who, packet_id, subscription_id, &wishes)
        })
    }

    fn publish(&mut self, who: usize, mut letter: Letter) -> Verdict {
        let peer = &mut self.peers[who];
        if peer.version == V3_1_1 {
            (letter.expiry, letter.alias, letter.has_note) = (None, None, false);
        }
        let packet_id = (letter.qos > 0).then(|| peer.take_id());
        let message = self.compose(letter);
        if let Some(packet_id) = packet_id.filter(|_| letter.qos == 2) {
            let open = &mut self.peers[who].open;
            open.push_back((packet_id, Rc::clone(&message)));
        }
        let dup = letter.dup && letter.qos > 0;
        self.send(who, &message, packet_id, dup, letter.alias)?;
        match packet_id {
            Some(packet_id) if letter.qos == 2 && letter.completes => {
                if self.peers[who].connection.is_none() {
                    return Ok(());
                }
                self.peers[who].open.pop_back();
                self.release(who, packet_id)
            }
            _ => Ok(()),
        }
    }

    fn send(
        &mut self,
        who: usize,
        message: &Rc<Message>,
        packet_id: Option<u16>,
        dup: bool,
        alias: Option<u16>,
    ) -> Verdict {
        let peer = &mut self.peers[who];
        let connection = peer.connection.ok_or("no connection")?;
        let name = TopicName::new(&message.topic).unwrap();
        let topic = match alias {
            None => PublishTopic::Name(name),
            Some(number) => {
                let alias = TopicAlias::new(number).unwrap();
                let known = peer.aliases_out.get(&number);
                if known.is_some_and(|known| *known == message.topic) {
                    PublishTopic::Alias(alias)
                } else {
                    peer.aliases_out.insert(number, message.topic.clone());
                    PublishTopic::NameAndAlias(name, alias)
                }
            }
        };
        // What is repeated in another version has other properties.
        let is_v5 = peer.version == V5_0;
        let pairs = [note(message)];
        let publish = Publish {
            delivery: match (message.qos, packet_id) {
                (1, Some(packet_id)) => Delivery::AtLeastOnce {
                    id: id(packet_id),
                    dup,
                },
                (2, Some(packet_id)) => Delivery::ExactlyOnce {
                    id: id(packet_id),
                    dup,
                },
                _ => Delivery::AtMostOnce,
            },
            retain: message.retain,
            topic,
            properties: if is_v5 {
                properties(message, &pairs, self.model.now())
            } else {
                PublishProperties::default()
            },
            payload: message.payload.as_bytes(),
        };
        let mut stays = true;
        self.say(who, &Packet::Publish(publish), |model, witness| {
            stays = model.publish(who, packet_id, message, witness)?;
            Ok(())
        })?;
        if !stays {
            self.hear_out(who, connection)?;
        }
        Ok(())
    }

    fn release(&mut self, who: usize, packet_id: u16) -> Verdict {
        let pubrel = Packet::PubRel(Ack::new(id(packet_id), ReleaseReason::Success));
        self.say(who, &pubrel, |model, _| model.release(who, packet_id))
    }

    /// Sends the acknowledgement that is owed first.
    fn acknowledge(&mut self, who: usize, refuses: bool) -> Verdict {
        let peer = &mut self.peers[who];
        let Some(answer) = peer.owed.pop_front() else {
            return Ok(());
        };
        let refuses = refuses && peer.version == V5_0 && !matches!(answer, Answer::Complete(_));
        let reason = if refuses {
            PublishReason::QuotaExceeded
        } else {
            PublishReason::Success
        };
        let packet = match answer {
            Answer::Acknowledge(value) => Packet::PubAck(Ack::new(id(value), reason)),
            Answer::Receive(value) => Packet::PubRec(Ack::new(id(value), reason)),
            Answer::Complete(value) => Packet::PubComp(Ack::new(id(value), ReleaseReason::Success)),
        };
        self.say(who, &packet, |model, _| {
            model.acknowledged(who, answer, refuses)
        })
    }

    fn compose(&mut self, letter: Letter) -> Rc<Message> {
        let number = self.model.next_number();
        let payload = match (letter.is_empty, letter.is_big) {
            (true, _) => String::new(),
            (false, true) => format!("{number:BIG$}"),
            (false, false) => number.to_string(),
        };
        Rc::new(Message {
            number,
            topic: letter.topic.into(),
            payload,
            qos: letter.qos,
            retain: letter.retain,
            note: letter.has_note.then(|| format!("note {number}")),
            expires_at: letter.expiry.map(|secs| self.model.now() + u64::from(secs)),
            is_big: letter.is_big && !letter.is_empty,
        })
    }

    // --- Broker and model, side by side.

    fn say(
        &mut self,
        who: usize,
        packet: &Packet<'_>,
        told: impl FnOnce(&mut Model, &mut Witness) -> Verdict,
    ) -> Verdict {
        let (now, peer) = (self.now(), &self.peers[who]);
        let connection = peer.connection.ok_or("no connection")?;
        let mut bytes = Vec::new();
        packet.encode_to(peer.version, &mut bytes).unwrap();
        let mut consumed = 0;
        self.act(
            |broker| consumed = broker.handle_input(now, connection, &bytes).bytes,
            told,
        )?;
        if consumed == bytes.len() {
            Ok(())
        } else {
            Err(format!("{consumed} of {} bytes were taken", bytes.len()))
        }
    }

    /// Does something with the broker, and tells the model what that was and what came of it.
    fn act(
        &mut self,
        with_broker: impl FnOnce(&mut Broker),
        with_model: impl FnOnce(&mut Model, &mut Witness) -> Verdict,
    ) -> Verdict {
        self.act_at(self.now(), with_broker, with_model)
    }

    fn act_at(
        &mut self,
        now: Timestamp,
        with_broker: impl FnOnce(&mut Broker),
        with_model: impl FnOnce(&mut Model, &mut Witness) -> Verdict,
    ) -> Verdict {
        let before = self.messages();
        with_broker(&mut self.broker);
        let events = handle_all_due(&mut self.broker, now);
        let mut witness = self.witness(before, events);
        self.model.begin();
        with_model(&mut self.model, &mut witness)?;
        witness.is_clear()
    }

    /// The store follows at once.
    fn store(&mut self) {
        self.disk.flush(&mut self.broker);
        self.ready
            .extend(core::iter::from_fn(|| self.broker.poll_ready()));
    }

    /// The program ends, with all that is not stored.
    fn restart(&mut self, secs: u32) -> Verdict {
        let stored_at = self.disk.at.as_nanos() / 1_000_000_000;
        let now = Timestamp::from_secs(self.model.now() + u64::from(secs));
        let elapsed = now.saturating_since(self.disk.at);
        for peer in &mut self.peers {
            peer.hang_up();
        }
        self.ready.clear();
        let (before, terms) = (self.messages(), self.terms);
        self.broker = self.disk.restore(config(terms), now, elapsed);
        let events = handle_all_due(&mut self.broker, now);
        let mut witness = self.witness(before, events);
        self.model.begin();
        let now = now.as_nanos() / 1_000_000_000;
        self.model.restart(stored_at, now, &mut witness)?;
        witness.is_clear()
    }

    /// Messages of each session: those that wait, and all.
    fn messages(&self) -> [[usize; CLIENTS]; 2] {
        let of_all = |len: fn(&SessionInfo<'_>) -> usize| {
            NAMES.map(|name| self.broker.session(name).map_or(0, |session| len(&session)))
        };
        [
            of_all(|session| session.waiting_len),
            of_all(|session| session.waiting_len + session.in_flight_len),
        ]
    }

    fn witness(&mut self, [waiting, before]: [[usize; CLIENTS]; 2], events: Vec<Event>) -> Witness {
        let [_, after] = self.messages();
        let mut witness = Witness {
            waiting,
            before,
            after,
            ..Witness::default()
        };
        let who = |name: &str| NAMES.iter().position(|it| *it == name).unwrap();
        for event in events {
            match event {
                Event::Authenticate { .. }
                | Event::AuthorizePublish { .. }
                | Event::AuthorizeSubscribe { .. } => self.model.note_asked(1),
                Event::Dropped {
                    client_id,
                    topic,
                    cause: DropCause::QueueFull,
                } => witness.dropped.push((who(&client_id), topic)),
                Event::NotRetained { topic } => witness.not_retained.push(topic),
                Event::WillPublished { client_id, .. } => witness.wills.push(who(&client_id)),
                _report => {}
            }
        }
        self.store();
        witness
    }

    /// Until nothing moves: everybody reads and answers who does.
    fn settle(&mut self) -> Verdict {
        for round in 0.. {
            if round > 10_000 {
                return Err("it goes on for ever".into());
            }
            let mut moves = false;
            for who in 0..CLIENTS {
                let Some(connection) = self.peers[who].connection else {
                    continue;
                };
                if self.peers[who].reads && self.ready.contains(&connection) {
                    self.read(who, connection)?;
                    moves = true;
                }
                if self.peers[who].answers && !self.peers[who].owed.is_empty() {
                    self.acknowledge(who, false)?;
                    moves = true;
                }
            }
            let now = self.now();
            let is_due = |at: Timestamp| at <= now;
            if self.broker.poll_timeout().is_some_and(|it| is_due(it.at)) {
                self.act(|broker| broker.handle_timeout(now), |_, _| Ok(()))?;
                moves = true;
            }
            self.act(|_| {}, |_, _| Ok(()))?;
            if !moves && !self.is_owed_output() {
                break;
            }
        }
        self.compare()
    }

    fn is_owed_output(&self) -> bool {
        self.peers.iter().any(|peer| {
            let connection = peer.connection.filter(|_| peer.reads);
            connection.is_some_and(|connection| self.ready.contains(&connection))
        })
    }

    fn compare(&mut self) -> Verdict {
        for (who, name) in NAMES.into_iter().enumerate() {
            if self.peers[who].connection.is_none() || !self.peers[who].reads {
                continue;
            }
            let session = self.broker.session(name).ok_or("no session")?;
            let (waiting, in_flight) = (session.waiting_len, session.in_flight_len);
            self.model.idle(who, waiting, in_flight)?;
        }
        let stats = self.broker.stats();
        let found = (stats.sessions, stats.subscriptions, stats.retained);
        let expected = (
            self.model.sessions_len(),
            self.model.subscriptions_len(),
            self.model.retained_topics().count(),
        );
        if found == expected {
            Ok(())
        } else {
            Err(format!(
                "sessions, subscriptions and retained: {found:?}, and not {expected:?}"
            ))
        }
    }

    /// One helping of what a connection has to send.
    fn read(&mut self, who: usize, connection: ConnectionId) -> Verdict {
        let (now, chunk) = (self.now(), self.terms.chunk);
        let bytes = &mut self.peers[who].rest;
        let transmit = self.broker.poll_transmit(now, connection, chunk, bytes);
        match transmit {
            Transmit::More => {}
            Transmit::Idle => {
                self.ready.remove(&connection);
            }
            Transmit::Close => return Err(format!("{who} was closed")),
        }
        self.store();
        let version = self.peers[who].version;
        let bytes = core::mem::take(&mut self.peers[who].rest);
        let mut rest = &bytes[..];
        while let Parsed::Complete((packet, size)) =
            decode(rest, version, u32::MAX).map_err(|error| error.to_string())?
        {
            self.hear(who, &packet)?;
            rest = &rest[size..];
        }
        self.peers[who].rest = rest.to_vec();
        Ok(())
    }

    fn hear(&mut self, who: usize, packet: &Packet<'_>) -> Verdict {
        let peer = &mut self.peers[who];
        let Packet::Publish(publish) = packet else {
            if let Packet::PubRel(ack) = packet {
                peer.owed.push_back(Answer::Complete(ack.id.get()));
            }
            return self.model.heard(who, &show(packet));
        };
        let topic = peer.resolve(publish.topic)?;
        let id = publish.delivery.id().map(|id| id.get());
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => peer.owed.push_back(Answer::Acknowledge(id.get())),
            Delivery::ExactlyOnce { id, .. } => peer.owed.push_back(Answer::Receive(id.get())),
        }
        let properties = &publish.properties;
        let ids = properties.subscription_ids.iter();
        let mut subscription_ids: Vec<_> = ids.map(|id| id.get()).collect();
        subscription_ids.sort_unstable();
        let mut users = properties.user_properties.iter();
        let user = users.next().map(|pair| pair.value.as_str().to_owned());
        let content = properties.content_type.map(|text| text.as_str().to_owned());
        let seen = Seen {
            topic,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.delivery.qos().into(),
            retain: publish.retain,
            dup: publish.delivery.dup(),
            id,
            subscription_ids,
            expiry: properties.message_expiry_secs,
            note: user.or(content),
        };
        self.model.sent(who, &seen)
    }

    /// The last words to a connection that the broker ends, and its end.
    fn hear_out(&mut self, who: usize, connection: ConnectionId) -> Verdict {
        let farewell = self.model.farewell(who);
        let version = self.peers[who].version;
        let mut rest = core::mem::take(&mut self.peers[who].rest);
        self.peers[who].hang_up();
        self.hear_last(connection, version, &mut rest, farewell)
    }

    fn hear_last(
        &mut self,
        connection: ConnectionId,
        version: ProtocolVersion,
        bytes: &mut Vec<u8>,
        mut farewell: VecDeque<Vec<String>>,
    ) -> Verdict {
        if !self.ready.remove(&connection) {
            return Err("the end of a connection is no output".into());
        }
        let now = self.now();
        while self
            .broker
            .poll_transmit(now, connection, self.terms.chunk, bytes)
            != Transmit::Close
        {
            self.disk.flush(&mut self.broker);
        }
        let mut rest = &bytes[..];
        while let Parsed::Complete((packet, size)) =
            decode(rest, version, u32::MAX).map_err(|error| error.to_string())?
        {
            let heard = show(&packet);
            match farewell.pop_front() {
                Some(expected) if expected.contains(&heard) => {}
                other => return Err(format!("the last words are {heard} and not {other:?}")),
            }
            rest = &rest[size..];
        }
        if farewell.is_empty() && rest.is_empty() {
            Ok(())
        } else {
            Err(format!("never said: {farewell:?}"))
        }
    }

    fn pass(&mut self, secs: u32) -> Verdict {
        let end = self.model.now() + u64::from(secs);
        for round in 0.. {
            let in_broker = self.broker.poll_timeout().map(|timeout| timeout.at);
            let in_broker = in_broker.map(|at| at.as_nanos().div_ceil(1_000_000_000));
            let due = in_broker.into_iter().chain(self.model.due());
            let due = due.min().unwrap_or(end).clamp(self.model.now(), end);
            let now = Timestamp::from_secs(due);
            self.act_at(now, |_| {}, |model, witness| model.pass(due, witness))?;
            self.settle()?;
            if due == end {
                break;
            }
            if round > 10_000 {
                return Err("time does not pass".into());
            }
        }
        Ok(())
    }

    /// Everybody is there, reads and answers: nothing is owed any more.
    fn finish(&mut self) -> Verdict {
        let hello = Hello {
            is_v5: true,
            clean: false,
            expiry: Some(u32::MAX),
            receive_maximum: None,
            alias_maximum: 0,
            packet_max: None,
            will: None,
        };
        for who in 0..CLIENTS {
            (self.peers[who].reads, self.peers[who].answers) = (true, true);
            if self.model.has_session(who) && self.peers[who].connection.is_none() {
                self.connect(who, hello)?;
            }
        }
        self.settle()?;
        // Who is new gets all that is retained, and the others do not care.
        if let Some(who) = (0..CLIENTS).find(|who| self.model.is_connected(*who)) {
            let wish = |filter| Wish {
                filter,
                qos: 2,
                no_local: false,
                as_published: false,
                handling: 0,
            };
            for filter in ["#", "$z/#", "$will/+"] {
                self.subscribe(who, None, vec![wish(filter)])?;
                self.settle()?;
            }
        }
        // Nothing is kept for anybody.
        let (messages, retained) = (self.broker.stats().messages, self.broker.stats().retained);
        let [waiting, _] = self.messages();
        let waits = waiting.iter().any(|waiting| *waiting > 0);
        if messages != retained || waits {
            return Err(format!("{messages} messages are kept, {retained} retained"));
        }
        Ok(())
    }
}

impl Peer {
    /// The connection is gone, with all that was on its way.
    fn hang_up(&mut self) {
        self.connection = None;
        self.owed.clear();
        self.rest.clear();
        self.aliases_in.clear();
        self.aliases_out.clear();
    }

    fn take_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if self.open.iter().all(|(open, _)| *open != self.next_id) {
                return self.next_id;
            }
        }
    }

    /// [5:MQTT-3.1.2-26] [5:MQTT-3.1.2-27]
    fn resolve(&mut self, topic: PublishTopic<'_>) -> Verdict<String> {
        if let Some(alias) = topic.alias()
            && alias.get() > self.aliases_in_max
        {
            return Err(format!("{alias} is above {}", self.aliases_in_max));
        }
        match topic {
            PublishTopic::Name(name) => Ok(name.to_string()),
            PublishTopic::NameAndAlias(name, alias) => {
                self.aliases_in.insert(alias.get(), name.to_string());
                Ok(name.to_string())
            }
            PublishTopic::Alias(alias) => {
                let known = self.aliases_in.get(&alias.get()).cloned();
                known.ok_or_else(|| format!("{alias} is not known"))
            }
        }
    }
}

/// What is due, and what one call left to the next. Whatever is asked is allowed. Answers what was told.
fn handle_all_due(broker: &mut Broker, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..10_000 {
        broker.handle_timeout(now);
        let mut was_asked = false;
        while let Some(event) = broker.poll_event() {
            was_asked |= allow(broker, now, &event);
            events.push(event);
        }
        let is_due = broker.poll_timeout().is_some_and(|it| it.at <= now);
        if !was_asked && !is_due {
            break;
        }
    }
    events
}

/// Says yes, if something is asked. Answers whether it was.
fn allow(broker: &mut Broker, now: Timestamp, event: &Event) -> bool {
    let given = match event {
        Event::Authenticate { decision, .. } => {
            broker.decide_connect(now, *decision, ConnectAnswer::Allow)
        }
        Event::AuthorizePublish { decision, .. } => {
            broker.decide_publish(now, *decision, PublishAnswer::Allow)
        }
        Event::AuthorizeSubscribe { decision, .. } => {
            broker.decide_subscribe(now, *decision, SubscribeAnswer::Allow)
        }
        _report => return false,
    };
    given.unwrap();
    true
}

fn config(terms: Terms) -> Config {
    Config {
        server: server::Config {
            waiting_len_max: terms.waiting_max,
            in_flight_max: terms.in_flight_max,
            receive_maximum: terms.receive_maximum,
            session_expiry_max_secs: terms.session_expiry_max,
            ..server::Config::default()
        },
        subscriptions_per_session_max: terms.subscriptions_max,
        retained_len_max: terms.retained_max,
        sessions_max: terms.sessions_max,
        journal: terms.journal,
        work_per_call: terms.work_per_call,
        ask: Ask {
            connect: terms.asks,
            publish: terms.asks,
            subscribe: terms.asks,
        },
        seed: terms.seed,
        ..Config::default()
    }
}

fn note(message: &Message) -> UserProperty<'_> {
    let value = message.note.as_deref().unwrap_or_default();
    UserProperty {
        name: Str::new("note").unwrap(),
        value: Str::new(value).unwrap(),
    }
}

fn properties<'a>(
    message: &Message,
    pairs: &'a [UserProperty<'a>],
    now: u64,
) -> PublishProperties<'a> {
    let left = |at: u64| u32::try_from(at.saturating_sub(now)).unwrap();
    PublishProperties {
        message_expiry_secs: message.expires_at.map(left),
        user_properties: match message.note {
            Some(_) => UserProperties::new(pairs),
            None => UserProperties::default(),
        },
        ..PublishProperties::default()
    }
}

/// For the embedder.
fn owned(message: &Message, now: u64) -> mqtt_codec::Message {
    let pairs = [note(message)];
    mqtt_codec::Message::new(&message.topic, message.payload.clone())
        .unwrap()
        .with_qos(QoS::try_from(message.qos).unwrap())
        .with_retain(message.retain)
        .with_properties(&properties(message, &pairs, now))
        .unwrap()
}
