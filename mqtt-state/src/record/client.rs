//! The calls of a client.

use core::time::Duration;

use alloc::vec::Vec;
use bytes::BytesMut;
use mqtt_codec::{
    AckProperties, Binary, Connect, Disconnect, DisconnectReason, Message, PublishReason,
    SubscribeFilter, SubscriptionId, UserProperties,
};
use mqtt_topic::{TopicFilter, TopicName};

use super::form::{ConnectForm, Data, DisconnectForm, Filters, Name, Pairs, Properties, Wanted};
use super::tape::Tape;
use super::{Offer, Recorder};
use crate::client::{
    AckError, AuthenticateError, Client, Config, ConnectError, DisconnectError, Event,
    PublishError, PublishErrorKind, PublishToken, RequestError, RequestToken, RestoreError,
};
use crate::session::{JournalEntry, Receipt, SessionSnapshot};
use crate::{Consumed, Pieces, Timestamp, Transmit};

recorded! {
    Client, ClientCall;

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
}

one_connection!(Client, "a client has one connection");
