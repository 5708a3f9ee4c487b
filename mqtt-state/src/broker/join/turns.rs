//! Turns of shared subscriptions that go on, as no member had them where they were.

use alloc::boxed::Box;
use alloc::vec::Vec;

use mqtt_codec::{Message, QoS};
use mqtt_topic::GroupId;

use super::choice::Part;
use super::interests::Local;
use super::message::{BrokerId, FilterKey};
use super::queue::Outgoing;
use crate::broker::Broker;
use crate::broker::shared::Given;
use crate::broker::store::MessageRef;

impl Broker {
    /// Gives on the turns that no member here has had: none of them may have the message, or the last one was gone
    /// before a message that is given out in slices came to it. Answers how many were taken.
    pub(in crate::broker) fn give_turns(&mut self, part: &Part, reference: &MessageRef) -> usize {
        let Part { reach, shared } = part;
        let mut given = 0_usize;
        for group in shared.left() {
            let Some(joined) = &self.joined else {
                return given;
            };
            let Some(filter) = joined.groups.name(group).cloned() else {
                continue;
            };
            let is_given = if reach.origin == joined.config.id {
                self.give_turn(&filter, reference, Vec::new())
            } else {
                self.give_here_or_back(reach.origin, filter, reference, &shared.passed)
            };
            given = given.saturating_add(usize::from(is_given));
        }
        given
    }

    /// There may be a younger member here.
    fn give_here_or_back(
        &mut self,
        origin: BrokerId,
        filter: FilterKey,
        reference: &MessageRef,
        passed: &[BrokerId],
    ) -> bool {
        let joined = self.joined.as_ref();
        let given = match joined.and_then(|joined| joined.local.get(&filter)) {
            Some(Local {
                group: Some(group), ..
            }) => {
                let group = *group;
                self.give_to_group(reference, group, None)
            }
            _ => Given::Nobody,
        };
        if given == Given::Nobody {
            self.return_turn(origin, filter, reference, None, passed.into());
        }
        given == Given::Taken
    }

    /// A turn of a shared subscription that nobody here can take any more: another broker's member
    /// has it. Answers whether there is one.
    pub(in crate::broker) fn give_away(&mut self, group: GroupId, reference: &MessageRef) -> bool {
        let joined = self.joined.as_ref();
        let filter = joined.and_then(|joined| joined.groups.name(group).cloned());
        filter.is_some_and(|filter| self.give_turn(&filter, reference, Vec::new()))
    }

    /// Gives the turn of a shared subscription to a member, wherever that is but at those brokers. Answers whether
    /// there is one.
    pub(super) fn give_turn(
        &mut self,
        filter: &FilterKey,
        reference: &MessageRef,
        mut passed: Vec<BrokerId>,
    ) -> bool {
        // Twice, as this broker is asked once.
        for _ in 0..2 {
            let Some(joined) = &mut self.joined else {
                return false;
            };
            let own = joined.config.id;
            let Some(broker) = joined.choose_again(filter, &passed) else {
                return false;
            };
            if broker != own {
                let outgoing = self.turn(filter.clone(), reference, passed);
                return self.push_outgoing(broker, outgoing, self.qos_of(reference));
            }
            let group = joined.local.get(filter).and_then(|local| local.group);
            let given = group.map_or(Given::Nobody, |group| {
                self.give_to_group(reference, group, None)
            });
            if given != Given::Nobody {
                return given == Given::Taken;
            }
            passed.push(own);
        }
        false
    }

    /// Sends a turn back to the broker that gave it.
    pub(super) fn return_turn(
        &mut self,
        to: BrokerId,
        filter: FilterKey,
        reference: &MessageRef,
        publisher: Option<Box<str>>,
        passed: Vec<BrokerId>,
    ) {
        let outgoing = Outgoing {
            publisher,
            is_returned: true,
            ..self.turn(filter, reference, passed)
        };
        self.push_outgoing(to, outgoing, self.qos_of(reference));
    }

    fn qos_of(&self, reference: &MessageRef) -> QoS {
        let message = self.store.message(reference);
        message.map_or(QoS::AtMostOnce, Message::qos)
    }

    fn turn(
        &mut self,
        filter: FilterKey,
        reference: &MessageRef,
        passed: Vec<BrokerId>,
    ) -> Outgoing {
        Outgoing {
            groups: [filter].into(),
            passed,
            ..Outgoing::new(self.store.share(reference))
        }
    }
}
