//! Which brokers get a message, and which one of them a shared subscription's turn.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Message, QoS, TopicName};
use mqtt_topic::{GroupId, Match};

use super::interests::{Local, Remote};
use super::message::{BrokerId, FilterKey, Stamp};
use super::other::Other;
use super::queue::{Item, Outgoing};
use super::{Joined, is_ours};
use crate::broker::event::Event;
use crate::broker::sessions::SessionKey;
use crate::broker::store::MessageRef;
use crate::broker::{Broker, SharedPolicy};

/// A message that another broker has sent on, as routing sees it.
#[derive(Debug)]
pub(in crate::broker) struct Forwarded<'a> {
    pub(in crate::broker) publisher: Option<SessionKey>,
    pub(super) from: BrokerId,
    pub(super) is_plain: bool,
    pub(super) groups: &'a [FilterKey],
    pub(super) passed: &'a [BrokerId],
    pub(super) stamp: Option<Stamp>,
}

/// Who gets the message that is being routed, apart from subscribers of this broker's own.
#[derive(Debug, Default)]
pub(super) struct Choice {
    targets: Vec<Target>,
    part: Part,
}

/// Which subscriptions of this broker have a part in a message.
#[derive(Debug, Default)]
pub(in crate::broker) struct Part {
    pub(in crate::broker) reach: Reach,
    pub(in crate::broker) shared: Shared,
}

/// What it is for all of them.
#[derive(Debug, Default)]
pub(in crate::broker) struct Reach {
    /// Ordinary subscriptions have no part.
    without_plain: bool,
    /// Where it was published.
    pub(super) origin: BrokerId,
    /// Which one it is, of all that this broker has taken.
    pub(in crate::broker) number: u64,
}

impl Reach {
    /// Whether ordinary subscriptions of this broker get the message.
    #[inline]
    pub(in crate::broker) const fn takes_plain(&self) -> bool {
        !self.without_plain
    }
}

/// What it is for shared subscriptions that have members at other brokers too.
#[derive(Debug, Default)]
pub(in crate::broker) struct Shared {
    turns: Vec<(GroupId, Place)>,
    /// No others have a part.
    only_these: bool,
    /// Brokers at which no member may have it.
    pub(super) passed: Box<[BrokerId]>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A member's here, and none has had it.
    Here,
    Elsewhere,
}

impl Shared {
    /// Whether a shared subscription has its turn here.
    #[inline]
    pub(in crate::broker) fn takes_turn(&self, group: GroupId) -> bool {
        let place = { self.turns.iter() }.find(|(id, _)| *id == group);
        place.map_or(!self.only_these, |(_, place)| *place == Place::Here)
    }

    /// The shared subscriptions whose turn is here, and that no member has had.
    #[inline]
    pub(in crate::broker) fn left(&self) -> impl Iterator<Item = GroupId> {
        let here = self.turns.iter().filter(|(_, place)| *place == Place::Here);
        here.map(|(group, _)| *group)
    }

    /// Bytes of it outside of itself.
    fn bytes(&self) -> usize {
        let turns = self.turns.capacity();
        { turns.saturating_mul(size_of::<(GroupId, Place)>()) }
            .saturating_add(size_of_val(&*self.passed))
    }

    /// A member here has the turn.
    #[inline]
    pub(in crate::broker) fn took_turn(&mut self, group: GroupId) {
        if let Some(at) = { self.turns.iter() }.position(|turn| *turn == (group, Place::Here)) {
            self.turns.swap_remove(at);
        }
    }
}

#[derive(Debug)]
struct Target {
    broker: BrokerId,
    is_plain: bool,
    groups: Vec<FilterKey>,
}

impl Choice {
    fn clear(&mut self) {
        self.targets.clear();
        self.part = Part::default();
    }

    /// A broker gets the message, for what `mark` notes.
    fn aim(&mut self, broker: BrokerId, mark: impl FnOnce(&mut Target)) {
        match self.targets.iter_mut().find(|it| it.broker == broker) {
            Some(target) => mark(target),
            None => {
                let mut target = Target {
                    broker,
                    is_plain: false,
                    groups: Vec::new(),
                };
                mark(&mut target);
                self.targets.push(target);
            }
        }
    }
}

/// Whose turn it is in a shared subscription that has members at other brokers.
#[derive(Debug)]
pub(super) struct Turns {
    filter: FilterKey,
    next: u64,
}

impl Turns {
    pub(super) fn new(filter: FilterKey, first: u64) -> Self {
        Self {
            filter,
            next: first,
        }
    }
}

/// Members of a shared subscription at one broker.
#[derive(Clone, Copy, Debug)]
struct Members {
    broker: BrokerId,
    len: u64,
    connected: u64,
    is_up: bool,
}

/// The broker that has the turn: each has as many as it has members that are connected; where none
/// is, members in reach; where none is, members.
fn choose(all: &[Members], turn: u64) -> Option<BrokerId> {
    let weights: [fn(&Members) -> u64; 3] = [
        |it| if it.is_up { it.connected } else { 0 },
        |it| if it.is_up { it.len } else { 0 },
        |it| it.len,
    ];
    for weight in weights {
        let total = { all.iter() }.fold(0_u64, |sum, it| sum.saturating_add(weight(it)));
        let Some(mut place) = turn.checked_rem(total) else {
            continue;
        };
        for members in all {
            match place.checked_sub(weight(members)) {
                Some(rest) => place = rest,
                None => return Some(members.broker),
            }
        }
    }
    None
}

/// Who has members of a shared subscription, in the order of the brokers: this one and others.
fn members(
    own: BrokerId,
    local: Option<&Local>,
    others: &BTreeMap<BrokerId, Other>,
    remote: impl Iterator<Item = (BrokerId, Remote)>,
) -> Vec<Members> {
    let local = local.copied().unwrap_or_default();
    let here = Members {
        broker: own,
        len: local.members.into(),
        connected: local.connected.into(),
        is_up: true,
    };
    let mut all: Vec<_> = remote
        .map(|(broker, remote)| Members {
            broker,
            len: remote.members.into(),
            connected: remote.connected.into(),
            is_up: others.get(&broker).is_some_and(|other| other.is_up()),
        })
        .collect();
    all.push(here);
    all.sort_by_key(|it| it.broker);
    all
}

impl Joined {
    /// Which brokers a message goes to. Answers which subscriptions of this one have a part in it.
    fn choose_brokers(
        &mut self,
        policy: SharedPolicy,
        publisher: Option<SessionKey>,
        name: TopicName<'_>,
        forwarded: Option<&Forwarded<'_>>,
        retains: bool,
    ) -> Part {
        self.choice.clear();
        self.taken = self.taken.saturating_add(1);
        let Part { reach, shared } = &mut self.choice.part;
        reach.number = self.taken;
        reach.origin = forwarded.map_or(self.config.id, |it| it.from);
        if let Some(forwarded) = forwarded {
            // What was forwarded is never forwarded again.
            let groups =
                { forwarded.groups.iter() }.filter_map(|filter| self.local.get(filter)?.group);
            shared.turns = groups.map(|group| (group, Place::Here)).collect();
            shared.turns.sort_unstable_by_key(|(group, _)| *group);
            shared.turns.dedup();
            shared.only_these = true;
            shared.passed = forwarded.passed.into();
            // Whoever came to be interested while a retained message was on its way gets it too.
            reach.without_plain = !forwarded.is_plain && !retains;
        } else if !is_ours(name.as_bytes()) {
            self.choose(name, policy, publisher);
            if retains {
                for (id, _) in self.others.iter().filter(|(_, other)| other.is_up()) {
                    self.choice.aim(*id, |_known| {});
                }
            }
        }
        core::mem::take(&mut self.choice.part)
    }

    /// Chooses for one message of this broker's own.
    fn choose(&mut self, name: TopicName<'_>, policy: SharedPolicy, publisher: Option<SessionKey>) {
        let Self {
            config,
            others,
            interests,
            scratch,
            local,
            turns,
            choice,
            ..
        } = self;
        for found in interests.matches(name, scratch) {
            match found {
                Match::Subscriber { key, .. } => choice.aim(key, |target| target.is_plain = true),
                Match::Group(group) => {
                    let Some(turns) = turns.get_mut(&group.id()) else {
                        continue;
                    };
                    let turn = match (policy, publisher) {
                        (SharedPolicy::ByPublisher, Some(key)) => u64::from(key.slot()),
                        _ => turns.next,
                    };
                    turns.next = turns.next.wrapping_add(1);
                    let remote = group.members().map(|(broker, remote)| (broker, *remote));
                    let local = local.get(&turns.filter);
                    let members = members(config.id, local, others, remote);
                    let Some(broker) = choose(&members, turn) else {
                        continue;
                    };
                    let place = if broker == config.id {
                        Place::Here
                    } else {
                        Place::Elsewhere
                    };
                    let group = local.and_then(|local| local.group);
                    let turn = group.map(|group| (group, place));
                    choice.part.shared.turns.extend(turn);
                    if place == Place::Elsewhere {
                        choice.aim(broker, |target| target.groups.push(turns.filter.clone()));
                    }
                }
                _other => {}
            }
        }
    }

    /// Chooses a broker for a turn that has come back: none of these.
    pub(super) fn choose_again(
        &mut self,
        filter: &FilterKey,
        except: &[BrokerId],
    ) -> Option<BrokerId> {
        let shared = filter.as_shared()?;
        let group = self.interests.group(shared);
        let mut turn = 0;
        if let Some(group) = &group
            && let Some(turns) = self.turns.get_mut(&group.id())
        {
            turn = turns.next;
            turns.next = turn.wrapping_add(1);
        }
        let remote = { group.into_iter() }.flat_map(|group| group.members());
        let remote = remote.map(|(broker, remote)| (broker, *remote));
        let local = self.local.get(filter);
        let mut members = members(self.config.id, local, &self.others, remote);
        members.retain(|it| !except.contains(&it.broker));
        choose(&members, turn)
    }
}

impl Broker {
    /// Which brokers a message goes to. Answers which subscriptions of this one have a part in it.
    #[inline(always)]
    pub(in crate::broker) fn choose_brokers(
        &mut self,
        publisher: Option<SessionKey>,
        name: TopicName<'_>,
        forwarded: Option<&Forwarded<'_>>,
        retains: bool,
    ) -> Part {
        let policy = self.config.shared_policy;
        match &mut self.joined {
            Some(joined) => joined.choose_brokers(policy, publisher, name, forwarded, retains),
            None => Part::default(),
        }
    }

    /// Whether other brokers get the message that is being routed.
    #[inline]
    pub(in crate::broker) fn is_forwarded(&self) -> bool {
        let joined = self.joined.as_ref();
        joined.is_some_and(|joined| !joined.choice.targets.is_empty())
    }

    /// Sends a message to the brokers that were chosen. Answers how many that are.
    pub(in crate::broker) fn forward(
        &mut self,
        publisher: Option<SessionKey>,
        reference: &MessageRef,
        qos: QoS,
        stamp: Option<Stamp>,
    ) -> usize {
        let Some(joined) = &mut self.joined else {
            return 0;
        };
        let mut targets = core::mem::take(&mut joined.choice.targets);
        let entry = publisher.and_then(|key| self.sessions.get(key));
        let client_id = entry.map(|entry| entry.client_id.clone());
        let mut sent = 0_usize;
        for target in targets.drain(..) {
            let is_wanted = target.is_plain || !target.groups.is_empty();
            let outgoing = Outgoing {
                publisher: client_id.clone(),
                is_plain: target.is_plain,
                groups: target.groups,
                stamp,
                ..Outgoing::new(self.store.share(reference))
            };
            let is_sent = self.push_outgoing(target.broker, outgoing, qos);
            sent = sent.saturating_add(usize::from(is_wanted && is_sent));
        }
        if let Some(joined) = &mut self.joined {
            joined.choice.targets = targets;
        }
        sent
    }

    /// Puts a message behind what waits for another broker, if there is room.
    pub(super) fn push_outgoing(&mut self, to: BrokerId, mut outgoing: Outgoing, qos: QoS) -> bool {
        let message = self.store.message(&outgoing.message);
        outgoing.bytes = message.map_or(0, Message::len_held);
        let has_memory = self.has_bytes_for(outgoing.len_held());
        let other = self.joined.as_mut().and_then(|it| {
            let (len_max, bytes_max) = (it.config.forwards_len_max, it.config.forwards_bytes_max);
            Some((it.others.get_mut(&to)?, len_max, bytes_max))
        });
        let Some((other, len_max, bytes_max)) = other else {
            self.store.release(outgoing.message);
            return false;
        };
        let counts = qos > QoS::AtMostOnce;
        if !other.is_up() && !counts {
            // As for a client that is away.
            self.store.release(outgoing.message);
            return false;
        }
        let bytes = other.queue.bytes().saturating_add(outgoing.bytes);
        if has_memory && other.queue.len() < len_max && bytes <= bytes_max {
            // There is no way for what may be lost to come back.
            let counts = counts || outgoing.is_returned;
            other.queue.push(Item::Message(outgoing), counts);
            self.weigh_joined();
            return true;
        }
        if outgoing.stamp.is_some() {
            // What is retained is said again.
            other.retained = super::other::Sync::Start;
        }
        let topic = { message }.map_or_else(String::new, |it| String::from(it.topic().as_str()));
        self.events.push(Event::NotForwarded { broker: to, topic });
        self.store.release(outgoing.message);
        false
    }

    /// A message goes on in later calls, or is through: what it remembers is counted, or not any more.
    pub(in crate::broker) fn weigh_part(&mut self, part: &Part, is_there: bool) {
        let bytes = part.shared.bytes();
        if bytes > 0
            && let Some(joined) = &mut self.joined
        {
            joined.fan_outs_bytes = if is_there {
                joined.fan_outs_bytes.saturating_add(bytes)
            } else {
                joined.fan_outs_bytes.saturating_sub(bytes)
            };
            self.weigh_joined();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(number: u32, len: u64, connected: u64, is_up: bool) -> Members {
        Members {
            broker: BrokerId::new(number),
            len,
            connected,
            is_up,
        }
    }

    #[test]
    fn turns_go_by_weight_and_to_whom_they_can_reach() {
        for (row, all, expected) in [
            (
                "by connected members",
                [members(1, 5, 3, true), members(2, 1, 1, true)],
                [Some(1), Some(1), Some(1), Some(2), Some(1)],
            ),
            (
                "nobody connected",
                [members(1, 1, 0, true), members(2, 1, 0, true)],
                [Some(1), Some(2), Some(1), Some(2), Some(1)],
            ),
            (
                "connected out of reach",
                [members(1, 1, 0, true), members(2, 1, 1, false)],
                [Some(1); 5],
            ),
            (
                "all out of reach",
                [members(1, 0, 0, true), members(2, 1, 1, false)],
                [Some(2); 5],
            ),
            (
                "no members",
                [members(1, 0, 0, true), members(2, 0, 0, true)],
                [None; 5],
            ),
        ] {
            let turns = [0, 1, 2, 3, 4].map(|turn| choose(&all, turn).map(BrokerId::get));
            assert_eq!(turns, expected, "{row}");
        }
    }
}
