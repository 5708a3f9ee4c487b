//! Subscriptions of the embedder itself: it gets what a client with the same filter would.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use mqtt_codec::{Message, TopicFilter};

use super::oracle::{From, Lane, Oracle};
use super::packets::number_of;
use super::random::Random;
use super::sessions::is_match;
use super::watch::Broken;
use super::world::World;
use crate::broker::LocalSubscription;

const FILTERS: [&str; 7] = ["t/#", "t/0", "+/0", "r/+", "w/#", "s/#", "#"];

/// Of one broker.
const LEN_MAX: usize = 3;

/// One subscription.
#[derive(Debug)]
pub(super) struct Local {
    id: LocalSubscription,
    filter: &'static str,
    /// All brokers know of it, where there are several.
    is_known: bool,
    /// What it may get, beside wills.
    possible: BTreeSet<u32>,
    /// What it has to get, and the connection that this came on, if that has to be there for it.
    due: BTreeMap<u32, Option<u64>>,
    /// What it has got, and how often.
    got: BTreeMap<u32, usize>,
    last: BTreeMap<Lane, u32>,
}

impl Local {
    fn get(&mut self, message: &Message, oracle: &Oracle, at: usize) -> Result<(), Broken> {
        let topic = message.topic().as_str();
        // What strangers publish has no number.
        let is_strange = topic.starts_with("x/");
        let number = number_of(message.payload());
        let known = number.and_then(|number| Some((number, oracle.get(number)?)));
        let Some((number, known)) = known else {
            return match is_strange && is_match(self.filter, topic) {
                true => Ok(()),
                false => Err(("a message that nobody published", format!("{message:?}"))),
            };
        };
        let text = || format!("{number} on {topic} for {}: {known:?}", self.filter);
        self.due.remove(&number);
        if known.topic != topic || known.qos < message.qos() || known.retain != message.retain() {
            return Err(("an embedder gets what was published", text()));
        }
        let is_possible = known.from == From::Will || self.possible.contains(&number);
        if !is_match(self.filter, topic) || !is_possible && !known.was_held {
            return Err(("only to subscribers", text()));
        }
        let times = self.got.get(&number).copied().unwrap_or(0) + 1;
        let most = known.turns + usize::from(known.from == From::Will);
        if times > most {
            return Err(("an embedder gets a message each time it is taken", text()));
        }
        // As for a client: [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
        let lane = (
            known.from,
            known.at.unwrap_or(at),
            known.topic.clone(),
            (known.qos, message.qos()),
            known.left_behind,
        );
        let may_be_late = known.was_repeated || known.is_elsewhere || known.was_left;
        if times == 1 && !may_be_late {
            let last = self.last.insert(lane, number);
            if last.is_some_and(|last| last > number) {
                let text = format!("after {last:?}: {}", text());
                return Err(("in the order published", text));
            }
        }
        self.got.insert(number, times);
        Ok(())
    }
}

impl World<'_> {
    /// The embedder of some broker subscribes, or no more.
    pub(super) fn subscribe_local(&mut self, random: &mut Random) {
        self.at = random.below(self.nodes.len());
        let locals = &mut self.nodes[self.at].locals;
        if locals.len() < LEN_MAX {
            self.add_local(random);
        } else {
            let local = locals.remove(random.below(locals.len()));
            self.end_local(&local);
            self.drain_broker();
        }
    }

    /// All brokers begin with one.
    pub(super) fn begin_locals(&mut self) {
        if self.plan.extras.has_locals {
            for at in 0..self.nodes.len() {
                self.at = at;
                self.add_local(&mut Random::new(self.plan.seed + at as u64));
            }
        }
    }

    /// A program that goes on subscribes anew.
    pub(super) fn renew_locals(&mut self) {
        let before = core::mem::take(&mut self.nodes[self.at].locals);
        for local in before {
            self.put_local(local.filter);
        }
    }

    fn add_local(&mut self, random: &mut Random) {
        self.put_local(random.pick(&FILTERS));
    }

    fn put_local(&mut self, filter: &'static str) {
        let Ok(parsed) = TopicFilter::new(filter) else {
            return;
        };
        let node = &mut self.nodes[self.at];
        let id = match node.broker.subscribe_local(parsed) {
            Ok(id) => id,
            Err(error) => return self.fail("an embedder can subscribe", format!("{error:?}")),
        };
        if node.locals.iter().any(|local| local.id == id) {
            return self.fail("a local subscription has a name", format!("{id:?}"));
        }
        let possible = self.oracle.open_on(filter);
        node.locals.push(Local {
            id,
            filter,
            is_known: false,
            possible,
            due: BTreeMap::new(),
            got: BTreeMap::new(),
            last: BTreeMap::new(),
        });
        self.drain_broker();
    }

    fn end_local(&mut self, local: &Local) {
        let broker = &mut self.nodes[self.at].broker;
        if !broker.unsubscribe_local(local.id) || broker.unsubscribe_local(local.id) {
            let text = format!("{local:?}");
            self.fail("a local subscription ends once", text);
        }
    }

    /// In the end none is left.
    pub(super) fn end_locals(&mut self) {
        for at in 0..self.nodes.len() {
            self.at = at;
            for local in core::mem::take(&mut self.nodes[at].locals) {
                self.end_local(&local);
            }
        }
    }

    /// A broker takes a message, or decides that it goes on. What comes on a connection it may forget with that.
    pub(super) fn route(&mut self, number: u32, line: Option<u64>) {
        let (at, is_sure) = (self.at, self.is_sure());
        let came = self.oracle.route(number, &self.sessions, at, is_sure);
        let (Some(is_certain), Some(known)) = (came, self.oracle.get(number)) else {
            return;
        };
        for (place, node) in self.nodes.iter_mut().enumerate() {
            for local in &mut node.locals {
                if !is_match(local.filter, &known.topic) {
                    continue;
                }
                local.possible.insert(number);
                let has_to = place == at || local.is_known && known.turns == 1;
                if is_certain && has_to {
                    local.due.insert(number, line);
                }
            }
        }
    }

    /// The embedder gets a message.
    pub(super) fn local_gets(&mut self, id: LocalSubscription, message: &Message) {
        let at = self.at;
        let locals = &mut self.nodes[at].locals;
        let Some(local) = locals.iter_mut().find(|local| local.id == id) else {
            let text = format!("{id:?} gets {message:?}");
            return self.fail("only to subscribers", text);
        };
        self.coverage.told_locals += 1;
        let result = local.get(message, &self.oracle, at);
        self.check(result);
    }

    /// A will was published: all who are subscribed there have got it.
    pub(super) fn check_will_at_locals(&mut self, topic: &str) {
        let Some(number) = self.oracle.number_on(topic) else {
            return;
        };
        let lacks = |it: &&Local| is_match(it.filter, topic) && !it.got.contains_key(&number);
        let late = self.nodes[self.at].locals.iter().find(lacks);
        if let Some(filter) = late.map(|local| local.filter) {
            self.is_late_for_local((number, self.at, filter));
        }
    }

    /// A broker has no room for a message, or may not have taken all that came on a connection.
    pub(super) fn excuse_locals(&mut self, is_it: impl Fn(&str, Option<u64>) -> bool) {
        let oracle = &self.oracle;
        for node in &mut self.nodes {
            for local in &mut node.locals {
                local.due.retain(|number, line| {
                    let known = oracle.get(*number);
                    known.is_some_and(|known| !is_it(&known.topic, *line))
                });
            }
        }
    }

    /// What goes from one broker to another may be lost, and none knows what the others want.
    pub(super) fn locals_lose_links(&mut self) {
        let oracle = &self.oracle;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            for local in &mut node.locals {
                local.is_known = false;
                local.due.retain(|number, _| {
                    let known = oracle.get(*number);
                    known.is_some_and(|it| it.at == Some(at) && !it.is_elsewhere)
                });
            }
        }
    }

    /// Nothing waits, here or on the way from one broker to another: all have got what they had to.
    pub(super) fn settle_locals(&mut self) {
        let mut late = None;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            for local in &mut node.locals {
                local.is_known = !self.refused.contains(local.filter);
                for number in core::mem::take(&mut local.due).into_keys() {
                    // On its way to another broker it may be.
                    let is_far = self.oracle.get(number).is_some_and(|it| it.at != Some(at));
                    if !is_far || !self.oracle.has_expired(number, self.now) {
                        late.get_or_insert((number, at, local.filter));
                    }
                }
            }
        }
        if let Some(late) = late {
            self.is_late_for_local(late);
        }
    }

    /// The publisher of a message hears that it was taken: who is subscribed there has it.
    pub(super) fn check_locals(&mut self, number: u32) {
        let is_late = |local: &&Local| local.due.contains_key(&number);
        let here = { self.nodes[self.at].locals.iter() };
        let mut late = here.filter(is_late).map(|local| local.filter);
        if let Some(filter) = late.next() {
            self.is_late_for_local((number, self.at, filter));
        }
    }

    fn is_late_for_local(&mut self, (number, at, filter): (u32, usize, &str)) {
        let text = format!(
            "{filter} at {at}: {number} is {:?}",
            self.oracle.get(number)
        );
        self.fail("an embedder gets what is taken", text);
    }
}

impl Oracle {
    /// What is not with everybody yet, of all that a filter matches.
    fn open_on(&self, filter: &str) -> BTreeSet<u32> {
        let is_meant = |number: &&u32| {
            let known = self.get(**number);
            known.is_some_and(|known| is_match(filter, &known.topic))
        };
        self.open.iter().filter(is_meant).copied().collect()
    }

    /// The one message of a topic, where there is one.
    fn number_on(&self, topic: &str) -> Option<u32> {
        let mut all = (0..).zip(&self.messages);
        Some(all.find(|(_, known)| known.topic == topic)?.0)
    }
}
