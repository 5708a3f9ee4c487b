//! Acknowledgements as they arrive, of messages and of requests.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use mqtt_codec::{PacketId, QoS};

use super::flows::{Flow, Links, Size, State};
use super::{Outbound, RequestKind};

/// An acknowledgement that does not fit the state of its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nobody holds the identifier.
    Unknown,
    /// The identifier belongs to another kind of flow.
    OtherFlow,
}

/// What a PUBREC did, to the message with this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The receiver has it: PUBREL is due.
    Now(u64),
    /// A repeated PUBREC: PUBREL is due once more.
    Before,
    /// The receiver refused it: the flow is over.
    Refused(Ended),
}

/// A flow that an acknowledgement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) tag: u64,
    /// Its PUBLISH went out on this connection, so the quota gets one back.
    pub(crate) counted: bool,
    /// It had been given up before: its owner has heard that.
    pub(crate) was_told: bool,
}

impl<M> Outbound<M> {
    /// PUBACK has come.
    #[inline]
    pub(crate) fn handle_puback(
        &mut self,
        id: PacketId,
        release: impl FnOnce(&mut Option<M>),
    ) -> Result<Ended, Mismatch> {
        debug_assert!(!self.is_lent(), "it may be this one");
        let place = self.ids.get(id).ok_or(Mismatch::Unknown)?;
        let flow = self.flows.get_mut(place).ok_or(Mismatch::Unknown)?;
        if flow.state != State::Published || flow.qos != QoS::AtLeastOnce {
            return Err(Mismatch::OtherFlow);
        }
        let (ended, size) = (flow.ended(self.connection), flow.size);
        release(&mut flow.message);
        self.messages_bytes = self.messages_bytes.saturating_sub(size.get());
        self.pass(place);
        self.flows.remove_from(&mut self.publishes, place);
        self.ids.rest(id);
        Ok(ended)
    }

    /// PUBREC has come; `refused` when its reason is 0x80 or above.
    #[inline]
    pub(crate) fn handle_pubrec(
        &mut self,
        id: PacketId,
        refused: bool,
        release: impl FnOnce(&mut Option<M>),
    ) -> Result<Received, Mismatch> {
        let place = self.ids.get(id).ok_or(Mismatch::Unknown)?;
        let flow = self.flows.get_mut(place).ok_or(Mismatch::Unknown)?;
        let tag = flow.tag;
        match flow.state {
            State::Published if flow.qos == QoS::ExactlyOnce => {}
            // A release is not undone by a late refusal: the receiver had taken the message, or PUBREL is
            // on its way.
            State::Released | State::Withdrawn => return Ok(Received::Before),
            State::Published | State::Request(_) | State::Waiting | State::Free => {
                return Err(Mismatch::OtherFlow);
            }
        }
        if refused {
            let ended = flow.ended(self.connection);
            self.finish(place, |_, message| release(message));
            return Ok(Received::Refused(ended));
        }
        // [5:MQTT-4.3.3-5] PUBREL counts as unacknowledged until PUBCOMP.
        // [5:MQTT-4.3.3-6] [3:MQTT-4.3.3-1] The message is gone from here, so PUBLISH cannot follow PUBREL.
        self.let_go(place, State::Released, |_, message| release(message));
        Ok(Received::Now(tag))
    }

    /// PUBCOMP has come: the identifier is free.
    // [3:MQTT-2.3.1-3]
    #[inline]
    pub(crate) fn handle_pubcomp(&mut self, id: PacketId) -> Result<Ended, Mismatch> {
        let place = self.ids.get(id).ok_or(Mismatch::Unknown)?;
        let flow = self.flows.get(place).ok_or(Mismatch::Unknown)?;
        if !matches!(flow.state, State::Released | State::Withdrawn) {
            return Err(Mismatch::OtherFlow);
        }
        let ended = flow.ended(self.connection);
        self.flows.remove_from(&mut self.releases, place);
        self.ids.rest(id);
        Ok(ended)
    }

    /// Takes an identifier for a SUBSCRIBE or UNSUBSCRIBE; `None` when none is free.
    pub(crate) fn start_request(
        &mut self,
        kind: RequestKind,
        tag: u64,
        filters_len: usize,
    ) -> Option<PacketId> {
        let id = self.ids.next_id()?;
        let place = self.flows.insert(Flow {
            message: None,
            tag,
            position: 0,
            size: Size::new(filters_len),
            sequence: 0,
            sent_on: 0,
            id: Some(id),
            qos: QoS::AtMostOnce,
            state: State::Request(kind),
            links: Links::default(),
        })?;
        self.ids.insert(place)
    }

    /// SUBACK or UNSUBACK has come: the request's tag and how many filters it had.
    pub(crate) fn finish_request(
        &mut self,
        kind: RequestKind,
        id: PacketId,
    ) -> Result<(u64, usize), Mismatch> {
        let place = self.ids.get(id).ok_or(Mismatch::Unknown)?;
        let flow = self.flows.get(place).ok_or(Mismatch::Unknown)?;
        if flow.state != State::Request(kind) {
            return Err(Mismatch::OtherFlow);
        }
        let (tag, filters_len) = (flow.tag, flow.size.get());
        self.finish(place, |_, _| {});
        Ok((tag, filters_len))
    }

    /// Requests end with their connection; answers their tags, oldest first.
    pub(crate) fn take_requests(&mut self) -> Vec<u64> {
        // A heap, as there are few of them: sorting has code for many.
        let open: BinaryHeap<_> = self
            .ids
            .values()
            .filter_map(|place| {
                let flow = self.flows.get(place)?;
                matches!(flow.state, State::Request(_)).then_some((flow.tag, place))
            })
            .collect();
        open.into_sorted_vec()
            .into_iter()
            .map(|(tag, place)| {
                self.finish(place, |_, _| {});
                tag
            })
            .collect()
    }
}

impl<M> Flow<M> {
    /// What an acknowledgement ends, on the connection with this number.
    #[inline(always)]
    fn ended(&self, connection: u32) -> Ended {
        Ended {
            tag: self.tag,
            counted: self.sent_on == connection,
            was_told: self.state == State::Withdrawn,
        }
    }
}
