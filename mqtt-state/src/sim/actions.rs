//! Carrying out one step.

use alloc::format;
use core::time::Duration;

use mqtt_codec::{
    Binary, Connect, DisconnectReason, Message, ProtocolVersion, PublishProperties, PublishReason,
    QoS, RetainHandling, Str, SubscribeFilter, TopicFilter, TopicName, Will,
};

use super::authenticate::offer;
use super::coverage::Fault;
use super::oracle::From;
use super::packets::QOS;
use super::plan::{Action, Kind};
use super::random::Random;
use super::said::Saying;
use super::watch::Broken;
use super::world::World;
use crate::Timestamp;
use crate::client::{AckError, State};

/// Topics at which anything may be published.
const TOPICS: [&str; 6] = ["t/0", "t/1", "t/0", "s/a", "s/b", "no/0"];
/// Topics at which everything is retained, with the one QoS that is used there.
pub(super) const RETAINED: [&str; 3] = ["r/0", "r/1", "r/2"];
const FILTERS: [&str; 10] = [
    "t/#",
    "t/+",
    "t/0",
    "t/1",
    "+/0",
    "r/#",
    "r/+",
    "w/#",
    "$share/g/s/#",
    "no/#",
];

impl World<'_> {
    /// Carries out one step.
    pub(super) fn act(&mut self, action: Action) {
        self.coverage.steps += 1;
        self.go_on_after_failures();
        self.begin_again();
        let mut random = Random::new(action.arg);
        let random = &mut random;
        let client = random.below(self.actors.len());
        self.trace
            .note(|| format!("{:?} by c{client}", action.kind));
        match action.kind {
            Kind::Publish => self.publish(client, random),
            Kind::Subscribe => self.subscribe(client, random),
            Kind::Unsubscribe => self.unsubscribe(client, random),
            Kind::Connect => self.connect(client, random, true),
            Kind::Disconnect => self.disconnect(client, random),
            Kind::Move => self.move_some(random),
            Kind::Round => {
                for _ in 0..1 + random.below(3) {
                    self.round();
                    let answers = random.below(3);
                    self.decide(answers);
                }
            }
            Kind::Cut => self.cut(random),
            Kind::HalfOpenClient => self.half_open(random, true),
            Kind::HalfOpenBroker => self.half_open(random, false),
            Kind::Delay => self.delay(random),
            Kind::SlowReader => {
                let actor = &mut self.actors[client];
                actor.reads_slowly = !actor.reads_slowly;
                if actor.reads_slowly {
                    self.coverage.fault(Fault::SlowReader);
                }
            }
            Kind::SlowStore => {
                self.coverage.fault(Fault::SlowStore);
                if random.chance(50) {
                    self.nodes[self.at].is_store_slow = !self.nodes[self.at].is_store_slow;
                } else {
                    let actor = &mut self.actors[client];
                    actor.is_store_slow = !actor.is_store_slow;
                }
            }
            Kind::FailStore => {
                self.at = random.below(self.nodes.len());
                self.fail_store(random);
            }
            Kind::Store => {
                let len = 1 + random.below(5);
                if self.plan.stores {
                    self.at = random.below(self.nodes.len());
                }
                self.store(len);
                self.actors[client].store(len);
                self.decide(len);
            }
            Kind::Acknowledge => {
                let len = 1 + random.below(4);
                self.acknowledge(client, random, len);
            }
            Kind::CrashBroker => {
                self.at = random.below(self.nodes.len());
                self.change_limits_of_broker();
                self.crash_broker();
                // Some links come up at once.
                if self.is_joined() && random.chance(50) {
                    self.heal_all();
                }
            }
            Kind::CutLink => self.cut_link(random),
            Kind::HealLink => self.heal_some(random),
            Kind::Carry => self.carry_some(random),
            Kind::CrashClient | Kind::RestartClient => {
                let client = self.change_limits_of_client(client);
                self.crash_client(client, action.kind == Kind::CrashClient);
            }
            Kind::Pass => self.pass(Duration::from_millis(
                1 + random.next() % random.pick(&[1000, 1000, 15_000]),
            )),
            Kind::ClockJump => {
                self.coverage.fault(Fault::ClockJump);
                self.now = self.now + Duration::from_secs(random.next() % 10_000);
            }
            Kind::ClockBack => {
                self.coverage.fault(Fault::ClockBack);
                let earlier = Timestamp::from_secs(random.next() % 1000);
                self.nodes[self.at].broker.handle_timeout(earlier);
                self.drain_broker();
                self.actors[client].client.handle_timeout(earlier);
                self.drain_client(client);
            }
            Kind::Kick => {
                self.coverage.fault(Fault::Kick);
                let name = format!("c{client}");
                self.at = self.sessions[client].home;
                let reason = DisconnectReason::AdministrativeAction;
                self.nodes[self.at]
                    .broker
                    .disconnect_client(self.now, &name, reason, None);
                self.drain_broker();
            }
            Kind::PublishByBroker if self.is_too_low() => {}
            Kind::PublishByBroker => {
                let topic = random.pick(&["t/0", "t/1"]);
                let qos = random.pick(&QOS);
                if self.is_joined() {
                    self.at = random.below(self.nodes.len());
                }
                let number = self.oracle.add(From::Broker, topic, qos, false);
                let payload = format!("{number} ");
                if let Ok(message) = Message::new(topic, payload) {
                    let message = self.with_expiry(message.with_qos(qos), number, random);
                    if let Some(secs) = message.properties().message_expiry_secs {
                        let ends = self.now.plus_secs(secs);
                        self.oracle.limit_at_broker(number, ends);
                    }
                    self.route(number, None);
                    self.nodes[self.at].broker.publish(self.now, message);
                    self.drain_broker();
                }
            }
            Kind::SubscribeLocal => self.subscribe_local(random),
            Kind::Revoke => self.revoke(client, random),
            Kind::Reauthorize => self.reauthorize(client),
            Kind::Reauthenticate => self.reauthenticate(client),
            Kind::StrangeClient => self.strange_client(random),
            Kind::StrangeServer => self.strange_server(random),
        }
        self.look();
    }

    fn publish(&mut self, client: usize, random: &mut Random) {
        let (topic, qos, retain) = if random.chance(15) {
            let place = random.below(3);
            (RETAINED[place], QOS[place], true)
        } else {
            (random.pick(&TOPICS), random.pick(&QOS), false)
        };
        let number = self.oracle.add(From::Client(client), topic, qos, retain);
        let pad = match self.plan.changes_limits {
            true => random.pick(&[0, 0, 60, 60, 60]),
            false => random.pick(&[0, 0, 0, 10, 60]),
        };
        let payload = format!("{number} {}", "x".repeat(pad));
        let Ok(message) = Message::new(topic, payload) else {
            return;
        };
        let mut message = message.with_qos(qos).with_retain(retain);
        if self.actors[client].plan.version == ProtocolVersion::V5_0 {
            message = self.with_expiry(message, number, random);
        }
        let actor = &mut self.actors[client];
        match actor.client.publish(self.now, message) {
            Ok(token) => {
                self.coverage.published += 1;
                self.trace
                    .note(|| format!("c{client} {token:?} is {number} on {topic} at {qos:?}"));
                let result = actor.note_token(token, number);
                self.check(result);
            }
            Err(error) => self.trace.note(|| format!("c{client} {error}")),
        }
        self.drain_client(client);
    }

    /// Some messages live for a while only.
    fn with_expiry(&mut self, message: Message, number: u32, random: &mut Random) -> Message {
        if !random.chance(20) {
            return message;
        }
        let secs = random.pick(&[1, 2, 10, 1000]);
        self.oracle.limit(number, self.now, secs);
        let properties = PublishProperties {
            message_expiry_secs: Some(secs),
            ..PublishProperties::default()
        };
        message
            .clone()
            .with_properties(&properties)
            .unwrap_or(message)
    }

    fn subscribe(&mut self, client: usize, random: &mut Random) {
        let mut filters = alloc::vec::Vec::new();
        for _ in 0..1 + random.below(2) {
            let text = random.pick(&FILTERS);
            let Ok(mut filter) = SubscribeFilter::new(text, random.pick(&QOS)) else {
                return;
            };
            if self.actors[client].plan.version == ProtocolVersion::V5_0 {
                filter.options.no_local = random.chance(10) && !text.starts_with('$');
                filter.options.retain_handling = random.pick(&[
                    RetainHandling::Send,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ]);
            }
            // The same twice in one packet is one subscription, with the later options.
            if !filters
                .iter()
                .any(|it: &SubscribeFilter<'_>| it.filter == filter.filter)
            {
                filters.push(filter);
            }
        }
        let _not_now = self.actors[client].client.subscribe(&filters);
        self.drain_client(client);
    }

    fn unsubscribe(&mut self, client: usize, random: &mut Random) {
        if let Ok(filter) = TopicFilter::new(random.pick(&FILTERS)) {
            let _not_now = self.actors[client].client.unsubscribe(&[filter]);
        }
        self.drain_client(client);
    }

    pub(super) fn connect(&mut self, client: usize, random: &mut Random, may_clean: bool) {
        let is_too_low = self.is_too_low();
        let line = self.next_line();
        let actor = &mut self.actors[client];
        if is_too_low || actor.client.state() != State::Disconnected {
            return;
        }
        let takes_over = self.sessions[client].line.is_some();
        let plan = actor.plan.clone();
        let clean_start = actor.is_fresh
            || (plan.version == ProtocolVersion::V3_1_1 && plan.expiry_secs == 0)
            || (may_clean && random.chance(plan.clean));
        // In 3.1.1 a clean session is one that ends with its connection.
        let expiry_secs = match plan.version {
            ProtocolVersion::V3_1_1 if clean_start => 0,
            _ => plan.expiry_secs,
        };
        let Ok(name) = Str::new(&actor.name) else {
            return;
        };
        let mut connect = Connect::new(plan.version, name);
        connect.clean_start = clean_start;
        connect.keep_alive_secs = plan.keep_alive_secs;
        if plan.version == ProtocolVersion::V5_0 {
            connect.properties.session_expiry_secs = Some(expiry_secs);
            connect.properties.authentication = plan.has_method.then(offer);
        }
        let topic = format!("w/c{client}/{line}");
        let payload;
        if let (Some(will), Ok(topic)) = (plan.will, TopicName::new(&topic)) {
            let number = self.oracle.add(From::Will, topic.as_str(), will.qos, false);
            payload = format!("{number} ");
            let Ok(payload) = Binary::new(payload.as_bytes()) else {
                return;
            };
            let mut left = Will::new(topic, payload);
            left.qos = will.qos;
            if will.delay_secs > 0 {
                left.properties.delay_secs = Some(will.delay_secs);
            }
            connect.will = Some(left);
        }
        actor.may_lose = clean_start;
        // From here on it knows of no session, whatever the broker knows.
        actor.is_fresh = clean_start;
        actor.ends_with_connection = expiry_secs == 0;
        let result = actor.client.connect(self.now, &connect);
        self.drain_client(client);
        if let Err(error) = result {
            self.trace.note(|| format!("c{client} {error}"));
            return;
        }
        if takes_over {
            self.coverage.fault(Fault::TakeOver);
            self.coverage.take_overs += 1;
        }
        let node = self.choose_node(client, random);
        self.open(client, node, clean_start, expiry_secs);
    }

    fn disconnect(&mut self, client: usize, random: &mut Random) {
        let actor = &mut self.actors[client];
        let reason = match actor.plan.version {
            ProtocolVersion::V5_0 if random.chance(40) => DisconnectReason::DisconnectWithWill,
            _ => DisconnectReason::NormalDisconnection,
        };
        let _not_now = actor.client.disconnect(self.now, reason);
        self.drain_client(client);
    }

    pub(super) fn left_unacknowledged(&mut self, result: Result<usize, Broken>) {
        match result {
            Ok(again) => self.coverage.left_unacknowledged += again as u64,
            Err(broken) => self.check(Err(broken)),
        }
    }

    /// An application acknowledges some messages, or refuses them, in whatever order. Answers whether
    /// there were some.
    pub(super) fn acknowledge(&mut self, client: usize, random: &mut Random, len: usize) -> bool {
        let mut some = false;
        for _ in 0..len {
            let (now, actor) = (self.now, &mut self.actors[client]);
            let refuses = actor.plan.version == ProtocolVersion::V5_0 && random.chance(10);
            let Some(got) = actor.inbox.answer(random, refuses) else {
                break;
            };
            let Some(receipt) = got.receipt else { break };
            some = true;
            let machine = &mut actor.client;
            let saying = Saying::new(receipt, refuses);
            let result = match (saying.refusal, saying.words) {
                (Some(reason), words) => {
                    let words = words.unwrap_or_default();
                    // That is none, and nothing has changed.
                    let none = machine.reject(now, receipt, PublishReason::Success, words);
                    match none {
                        Err(AckError::NotARefusal) => machine.reject(now, receipt, reason, words),
                        Err(_) | Ok(()) => none,
                    }
                }
                (None, Some(words)) => machine.ack_with(now, receipt, words),
                (None, None) => machine.ack(now, receipt),
            };
            if result.is_ok() {
                actor.say(got.number, &saying);
            }
            self.trace
                .note(|| format!("c{client} {receipt:?} refused {refuses}: {got:?} {result:?}"));
            let count = &mut self.coverage.acknowledged[usize::from(refuses)];
            count[usize::from(u8::from(got.qos)) - 1] += 1;
            // At QoS 2 a session may have ended on this side before anybody else knows of it.
            if result.is_err() && got.qos == QoS::AtLeastOnce {
                let text = format!("c{client} {got:?}: {result:?}");
                self.fail(
                    "a message can be acknowledged while its connection is open",
                    text,
                );
            }
            self.drain_client(client);
        }
        some
    }

    fn move_some(&mut self, random: &mut Random) {
        for _ in 0..1 + random.below(8) {
            if self.lines.is_empty() {
                return;
            }
            let place = random.below(self.lines.len());
            let len = random.pick(&[1, 2, 5, 30, 100_000]);
            match random.below(4) {
                0 => self.send_up(place),
                1 => self.arrive_up(place, len),
                2 => self.send_down(place),
                _ => self.arrive_down(place, len),
            };
        }
    }

    /// Everything goes on by one piece. Answers whether something did.
    pub(super) fn round(&mut self) -> bool {
        let mut some = false;
        for place in 0..self.lines.len() {
            some |= self.send_up(place);
            some |= self.arrive_up(place, usize::MAX);
            some |= self.send_down(place);
            some |= self.arrive_down(place, usize::MAX);
        }
        some |= self.carry_round();
        self.fire();
        self.sweep();
        some
    }

    /// Time passes, and everything that is due on the way is done when it is due.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..10_000 {
            let due = self
                .next_due()
                .filter(|at| *at <= end && *at > self.now)
                .min();
            let Some(due) = due else { break };
            self.now = due;
            self.fire();
        }
        self.now = end;
    }
}
