//! The calls of a client.

use core::time::Duration;

use alloc::vec::Vec;
use bytes::BytesMut;
use mqtt_codec::{
    AckProperties, Binary, Connect, Disconnect, DisconnectReason, Message, PublishReason,
    SubscribeFilter, SubscriptionId, UserProperties,
};
use mqtt_topic::{TopicFilter, TopicName};

use super::form::{
    ConnectForm, Data, DisconnectForm, Filters, Name, Pairs, Properties, Unfit, Wanted,
};
use super::outcome::Outcome as _;
use super::tape::Tape;
use super::{Input, Offer, Recorder};
use crate::client::{
    AckError, AuthenticateError, Client, Config, ConnectError, DisconnectError, Event, Incoming,
    PublishError, PublishErrorKind, PublishToken, RequestError, RequestToken, RestoreError,
};
use crate::session::{JournalEntry, Receipt, SessionSnapshot};
use crate::{Consumed, Pieces, Timestamp, Transmit};

recorded! {
    Client, ClientCall, handle_input_with by show_again;

    connect(now: [] Timestamp as Timestamp, connect: [&] ConnectForm as Connect<'_>) => Result<(), ConnectError>;
    disconnect(
        now: [] Timestamp as Timestamp, reason: [] DisconnectReason as DisconnectReason,
    ) => Result<(), DisconnectError>;
    disconnect_with(
        now: [] Timestamp as Timestamp, disconnect: [&] DisconnectForm as Disconnect<'_>,
    ) => Result<(), DisconnectError>;
    handle_timeout(now: [] Timestamp as Timestamp) => ();
    handle_close(now: [] Timestamp as Timestamp) => ();
    handle_stored(position: [] u64 as u64) => ();
    assume_session() => ();

    publish(now: [] Timestamp as Timestamp, message: [] Message as Message) => Result<PublishToken, PublishError>;
    publish_into(
        now: [] Timestamp as Timestamp, message: [&] Message as Message, max_bytes: [] usize as usize,
    ) into buf: Vec<u8> => Result<(PublishToken, Transmit), PublishErrorKind>;
    pin_topic(topic: [] Name as TopicName<'_>) => bool;
    unpin_topic(topic: [] Name as TopicName<'_>) => ();
    subscribe(filters: [&] Wanted as [SubscribeFilter<'_>]) => Result<RequestToken, RequestError>;
    subscribe_with(
        filters: [&] Wanted as [SubscribeFilter<'_>], id: [] Option<SubscriptionId> as Option<SubscriptionId>,
        user_properties: [] Pairs as UserProperties<'_>,
    ) => Result<RequestToken, RequestError>;
    unsubscribe(filters: [&] Filters as [TopicFilter<'_>]) => Result<RequestToken, RequestError>;
    unsubscribe_with(
        filters: [&] Filters as [TopicFilter<'_>], user_properties: [] Pairs as UserProperties<'_>,
    ) => Result<RequestToken, RequestError>;
    resubscribe() => Result<Vec<RequestToken>, RequestError>;
    ack(now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt) => Result<(), AckError>;
    ack_with(
        now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt, properties: [] Properties as AckProperties<'_>,
    ) => Result<(), AckError>;
    reject(
        now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt, reason: [] PublishReason as PublishReason,
        properties: [] Properties as AckProperties<'_>,
    ) => Result<(), AckError>;
    authenticate(
        now: [] Timestamp as Timestamp, data: [] Data as Option<Binary<'_>>,
    ) => Result<(), AuthenticateError>;
    reauthenticate(
        now: [] Timestamp as Timestamp, data: [] Data as Option<Binary<'_>>,
    ) => Result<(), AuthenticateError>;

    poll_event() => Option<Event>;
    poll_journal() => Option<JournalEntry>;
    poll_transmit(
        now: [] Timestamp as Timestamp, max_bytes: [] usize as usize,
    ) into buf: Vec<u8> => Transmit;
    poll_transmit_vectored(
        now: [] Timestamp as Timestamp, max_bytes: [] usize as usize,
    ) into pieces: Pieces => Transmit;
}

/// How a client begins that had a session before.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restored {
    pub(super) now: Timestamp,
    pub(super) elapsed: Duration,
    pub(super) config: Config,
    pub(super) snapshot: SessionSnapshot,
}

impl Recorder<Client> {
    /// Records [`Client::new`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            tape: Tape::new(&super::replay::Begin::Client(config.clone())),
            machine: Client::new(config),
        }
    }

    /// Records [`Client::restore`].
    ///
    /// # Errors
    ///
    /// [`RestoreError`], as there.
    pub fn restore(
        now: Timestamp,
        elapsed: Duration,
        config: Config,
        snapshot: SessionSnapshot,
    ) -> Result<Self, RestoreError> {
        let restored = Restored {
            now,
            elapsed,
            config: config.clone(),
            snapshot: snapshot.clone(),
        };
        Ok(Self {
            machine: Client::restore(now, elapsed, config, snapshot)?,
            tape: Tape::new(&super::replay::Begin::RestoredClient(restored)),
        })
    }

    /// Records [`Client::handle_input`].
    pub fn handle_input(&mut self, now: Timestamp, input: &[u8]) -> Consumed {
        self.offer_borrowed(now, None, input).unwrap_or_default()
    }

    /// Records [`Client::handle_input_shared`]. How large the buffer is, which decides what shares memory and
    /// nothing else, is not written down.
    pub fn handle_input_shared(&mut self, now: Timestamp, input: &mut BytesMut) -> Consumed {
        self.offer_shared(now, None, input).unwrap_or_default()
    }

    /// Records [`Client::handle_input_with`], and what is shown.
    pub fn handle_input_with(
        &mut self,
        now: Timestamp,
        input: &[u8],
        mut on_message: impl FnMut(Incoming<'_>),
    ) -> Consumed {
        self.tape.input("handle_input_with", now, None, input);
        let is_written = !self.tape.has_ended();
        let mut shown = Vec::new();
        let consumed = self.machine.handle_input_with(now, input, |message| {
            if is_written {
                shown.push(Event::from(message));
            }
            on_message(message);
        });
        self.tape
            .keep(None, input.get(consumed.bytes..).unwrap_or_default());
        self.tape.answer(&self.machine, &consumed, |sink| {
            for message in &shown {
                sink.say(format_args!("; shown "));
                message.tell(sink);
            }
        });
        consumed
    }
}

/// Offers what a log has, and shows it to nobody else.
fn show_again(on: &mut Recorder<Client>, input: &Input) -> Result<(), Unfit> {
    if input.connection.is_some() {
        return Err(Unfit(OTHERWISE));
    }
    let bytes = on.tape.offered(input)?;
    let _consumed = on.handle_input_with(input.now, &bytes, |_shown| {});
    Ok(())
}

/// What is wrong with a log that names a connection.
const OTHERWISE: &str = "a client has one connection";

one_connection!(Client, OTHERWISE);
