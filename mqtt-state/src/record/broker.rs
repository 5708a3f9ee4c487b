//! The calls of a broker, and of one that is put together from a store.

use core::time::Duration;

use alloc::vec::Vec;
use bytes::BytesMut;
use mqtt_codec::{DisconnectReason, Message, Str};
use mqtt_topic::{IndexError, TopicFilter};

use super::form::{Filter, Said, Text, Unfit};
use super::outcome::Appended as _;
use super::tape::Tape;
use super::{Drive, Input, Machine, Offer, Recorder};
use crate::broker::{
    AcceptError, Broker, BrokerId, Config, ConnectAnswer, ConnectDecision, ConnectionId, Drain,
    Event, Idle, JoinError, JoinMessage, JournalEntry, LocalSubscription, Peer, PublishAnswer,
    PublishDecision, Restore, RestoreError, Stale, StoreKey, StoreValue, SubscribeAnswer,
    SubscribeDecision,
};
use crate::{Consumed, Pieces, Timeout, Timestamp, Transmit};

recorded! {
    Broker, BrokerCall, handle_input_into by take_again;

    accept(now: [] Timestamp as Timestamp, peer: [] Peer as Peer) => Result<ConnectionId, AcceptError>;
    identify(id: [] ConnectionId as ConnectionId, peer: [] Peer as Peer) => Result<(), AcceptError>;
    handle_timeout(now: [] Timestamp as Timestamp) => ();
    handle_close(now: [] Timestamp as Timestamp, id: [] ConnectionId as ConnectionId) => ();
    handle_stored(position: [] u64 as u64) => ();
    handle_store_failed(now: [] Timestamp as Timestamp) => ();
    handle_joined(
        now: [] Timestamp as Timestamp, from: [] BrokerId as BrokerId, message: [] JoinMessage as JoinMessage,
    ) => ();

    publish(now: [] Timestamp as Timestamp, message: [] Message as Message) => usize;
    disconnect(
        now: [] Timestamp as Timestamp, id: [] ConnectionId as ConnectionId,
        reason: [] DisconnectReason as DisconnectReason,
    ) => ();
    disconnect_client(
        now: [] Timestamp as Timestamp, client_id: [&] Text as str, reason: [] DisconnectReason as DisconnectReason,
        reason_string: [] Said as Option<Str<'_>>,
    ) => bool;
    drain(now: [] Timestamp as Timestamp, how: [] Drain as Drain) => ();
    shutdown(now: [] Timestamp as Timestamp) => ();
    subscribe_local(filter: [] Filter as TopicFilter<'_>) => Result<LocalSubscription, IndexError>;
    unsubscribe_local(subscription: [] LocalSubscription as LocalSubscription) => bool;
    join(now: [] Timestamp as Timestamp, broker: [] BrokerId as BrokerId) => Result<(), JoinError>;
    part(now: [] Timestamp as Timestamp, broker: [] BrokerId as BrokerId) => ();
    forget_joined(now: [] Timestamp as Timestamp, broker: [] BrokerId as BrokerId) => ();
    decide_connect(
        now: [] Timestamp as Timestamp, decision: [] ConnectDecision as ConnectDecision,
        answer: [] ConnectAnswer as ConnectAnswer,
    ) => Result<(), Stale>;
    decide_publish(
        now: [] Timestamp as Timestamp, decision: [] PublishDecision as PublishDecision,
        answer: [] PublishAnswer as PublishAnswer,
    ) => Result<(), Stale>;
    decide_subscribe(
        now: [] Timestamp as Timestamp, decision: [] SubscribeDecision as SubscribeDecision,
        answer: [] SubscribeAnswer as SubscribeAnswer,
    ) => Result<(), Stale>;
    reauthorize(now: [] Timestamp as Timestamp, client_id: [&] Text as str) => usize;
    revoke(client_id: [&] Text as str, filter: [] Filter as TopicFilter<'_>) => bool;

    poll_event() => Option<Event>;
    poll_ready() => Option<ConnectionId>;
    poll_journal() => Option<JournalEntry>;
    poll_joined(now: [] Timestamp as Timestamp) => Option<(BrokerId, JoinMessage)>;
    poll_joined_to(now: [] Timestamp as Timestamp, broker: [] BrokerId as BrokerId) => Option<JoinMessage>;
    poll_transmit(
        now: [] Timestamp as Timestamp, id: [] ConnectionId as ConnectionId, max_bytes: [] usize as usize,
    ) into buf: Vec<u8> => Transmit;
    poll_transmit_vectored(
        now: [] Timestamp as Timestamp, id: [] ConnectionId as ConnectionId, max_bytes: [] usize as usize,
    ) into pieces: Pieces => Transmit;
}

/// How a broker begins.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restored {
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) at: Timestamp,
    pub(super) elapsed: Duration,
}

/// What is done to a broker that is put together.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(non_camel_case_types, reason = "the names of the methods")]
pub(super) enum RestoreCall {
    put { key: StoreKey, value: StoreValue },
    finish {},
}

impl Recorder<Broker> {
    /// Records [`Broker::new`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            tape: Tape::new(&super::replay::Begin::Broker(config.clone())),
            machine: Broker::new(config),
        }
    }

    /// Records [`Restore::new`].
    #[must_use]
    pub fn restore(config: Config, now: Timestamp, idle: Idle) -> Recorder<Restore> {
        let restored = Restored {
            config: config.clone(),
            now,
            at: idle.at,
            elapsed: idle.elapsed,
        };
        Recorder {
            tape: Tape::new(&super::replay::Begin::Restored(restored)),
            machine: Restore::new(config, now, idle),
        }
    }

    /// Records [`Broker::handle_input`].
    pub fn handle_input(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> Consumed {
        self.offer_borrowed(now, Some(id), input)
            .unwrap_or_default()
    }

    /// Records [`Broker::handle_input_into`], what is handed out, and which of it was not taken.
    pub fn handle_input_into(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &[u8],
        mut output: impl FnMut(ConnectionId, &[u8]) -> bool,
    ) -> Consumed {
        let call = ("handle_input_into", now);
        let Self { machine, tape } = self;
        let (start, is_written) = (tape.len(), !tape.has_ended());
        tape.input(call.0, now, Some(id), input);
        let (mut handed_out, mut refused) = (Vec::new(), Vec::new());
        let consumed = machine.handle_input_into(now, id, input, |to, packet| {
            let is_taken = output(to, packet);
            if is_written {
                if !is_taken {
                    refused.push(handed_out.len());
                }
                handed_out.push((to, packet.to_vec()));
            }
            is_taken
        });
        if !refused.is_empty() {
            tape.input_again(start, call, Some(id), input, refused);
        }
        tape.keep(Some(id), input.get(consumed.bytes..).unwrap_or_default());
        tape.answer(machine, &consumed, |sink| {
            for (to, packet) in &handed_out {
                sink.say(format_args!("; to {to}"));
                packet.digest(0, sink);
            }
        });
        consumed
    }

    /// Records [`Broker::poll_ready_into`], as the two calls that it stands for.
    pub fn poll_ready_into<'o>(
        &mut self,
        now: Timestamp,
        room: impl FnOnce(ConnectionId) -> Option<(&'o mut Vec<u8>, usize)>,
    ) -> Option<(ConnectionId, Transmit)> {
        let Self { machine, tape } = self;
        tape.call(|| Ok(BrokerCall::poll_ready {}));
        // As it is between the two.
        let due = machine.poll_timeout();
        let (mut before, mut output) = (0, None);
        let polled = machine.poll_ready_into(now, |id| {
            tape.answer(&due, &Some(id), |_sink| {});
            let (buf, max_bytes) = room(id)?;
            tape.call(|| Ok(BrokerCall::poll_transmit { now, id, max_bytes }));
            before = buf.len();
            Some((&mut **output.insert(buf), max_bytes))
        });
        match (&polled, output) {
            (None, _) => tape.answer(machine, &None::<ConnectionId>, |_sink| {}),
            (Some((_, transmit)), Some(buf)) => {
                tape.answer(machine, transmit, |sink| buf.digest(before, sink));
            }
            (Some(_), None) => {}
        }
        polled
    }

    /// Records [`Broker::handle_input_shared`]. How large the buffer is, which decides what shares memory and
    /// nothing else, is not written down.
    pub fn handle_input_shared(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &mut BytesMut,
    ) -> Consumed {
        self.offer_shared(now, Some(id), input).unwrap_or_default()
    }
}

/// Offers what a log has, and takes what was taken.
fn take_again(on: &mut Recorder<Broker>, input: &Input) -> Result<(), Unfit> {
    let id = input.connection.ok_or(Unfit("no connection"))?;
    let bytes = on.tape.offered(input)?;
    let mut asked = 0_usize;
    let _consumed = on.handle_input_into(input.now, id, &bytes, |_to, _packet| {
        let is_taken = !input.refused.contains(&asked);
        asked = asked.saturating_add(1);
        is_taken
    });
    Ok(())
}

impl Recorder<Restore> {
    /// Records [`Restore::put`].
    ///
    /// # Errors
    ///
    /// [`RestoreError`], as there.
    pub fn put(&mut self, key: StoreKey, value: StoreValue) -> Result<(), RestoreError> {
        self.tape.call(|| {
            Ok(RestoreCall::put {
                key: key.clone(),
                value: value.clone(),
            })
        });
        let result = self.machine.put(key, value);
        self.tape.answer(&self.machine, &result, |_sink| {});
        result
    }

    /// Records [`Restore::finish`].
    #[must_use]
    pub fn finish(mut self) -> Recorder<Broker> {
        self.tape.call(|| Ok(RestoreCall::finish {}));
        let machine = self.machine.finish();
        self.tape.answer(&machine, &machine, |_sink| {});
        Recorder {
            machine,
            tape: self.tape,
        }
    }
}

/// A machine at another moment.
impl Machine for Option<Timeout> {
    fn due(&self) -> Option<Timeout> {
        *self
    }
}

impl Machine for Broker {
    fn due(&self) -> Option<Timeout> {
        self.poll_timeout()
    }
}

impl Machine for Restore {
    fn due(&self) -> Option<Timeout> {
        None
    }
}

impl Drive for Broker {
    fn take(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &[u8],
    ) -> Result<Consumed, Unfit> {
        Ok(self.handle_input(now, of.ok_or(Unfit("no connection"))?, input))
    }

    fn take_shared(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &mut BytesMut,
    ) -> Result<Consumed, Unfit> {
        Ok(self.handle_input_shared(now, of.ok_or(Unfit("no connection"))?, input))
    }
}
