//! The calls of one connection in the server role.

use alloc::vec::Vec;
use bytes::BytesMut;
use mqtt_codec::{
    AckProperties, Binary, ConnAckProperties, ConnectReason, Disconnect, DisconnectReason, Message,
    PublishReason, SubscribeReason, UnsubscribeReason,
};

use super::form::{Accepted, Data, DisconnectForm, Properties, Reasons, Welcome};
use super::tape::Tape;
use super::{Offer, Recorder};
use crate::server::{
    AcceptError, Acceptance, CommandError, Config, Connection, DeliverError, DeliveryToken, Event,
    RequestToken,
};
use crate::session::{AckError, Receipt};
use crate::{Consumed, Pieces, Timestamp, Transmit};

recorded! {
    Connection, ConnectionCall;

    accept(now: [] Timestamp as Timestamp, acceptance: [] Accepted as Acceptance) => Result<(), AcceptError>;
    reject(now: [] Timestamp as Timestamp, reason: [] ConnectReason as ConnectReason) => Result<(), CommandError>;
    reject_with(
        now: [] Timestamp as Timestamp, reason: [] ConnectReason as ConnectReason,
        properties: [&] Welcome as ConnAckProperties<'_>,
    ) => Result<(), CommandError>;
    ask(now: [] Timestamp as Timestamp, data: [] Data as Option<Binary<'_>>) => Result<(), CommandError>;
    accept_authentication(
        now: [] Timestamp as Timestamp, data: [] Data as Option<Binary<'_>>,
    ) => Result<(), CommandError>;
    reject_authentication(now: [] Timestamp as Timestamp) => Result<(), CommandError>;
    ack(now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt) => Result<(), AckError>;
    ack_with(
        now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt, reason: [] PublishReason as PublishReason,
        properties: [] Properties as AckProperties<'_>,
    ) => Result<(), AckError>;
    reject_publish(
        now: [] Timestamp as Timestamp, receipt: [] Receipt as Receipt, reason: [] PublishReason as PublishReason,
        properties: [] Properties as AckProperties<'_>,
    ) => Result<(), AckError>;
    answer_subscribe(
        now: [] Timestamp as Timestamp, token: [] RequestToken as RequestToken,
        reasons: [&] Reasons<SubscribeReason> as [SubscribeReason],
    ) => Result<(), CommandError>;
    answer_subscribe_with(
        now: [] Timestamp as Timestamp, token: [] RequestToken as RequestToken,
        reasons: [&] Reasons<SubscribeReason> as [SubscribeReason], properties: [] Properties as AckProperties<'_>,
    ) => Result<(), CommandError>;
    answer_unsubscribe(
        now: [] Timestamp as Timestamp, token: [] RequestToken as RequestToken,
        reasons: [&] Reasons<UnsubscribeReason> as [UnsubscribeReason],
    ) => Result<(), CommandError>;
    answer_unsubscribe_with(
        now: [] Timestamp as Timestamp, token: [] RequestToken as RequestToken,
        reasons: [&] Reasons<UnsubscribeReason> as [UnsubscribeReason], properties: [] Properties as AckProperties<'_>,
    ) => Result<(), CommandError>;
    deliver(now: [] Timestamp as Timestamp, message: [] Message as Message) => Result<DeliveryToken, DeliverError>;
    disconnect(now: [] Timestamp as Timestamp, reason: [] DisconnectReason as DisconnectReason) => ();
    disconnect_with(now: [] Timestamp as Timestamp, disconnect: [&] DisconnectForm as Disconnect<'_>) => ();
    handle_timeout(now: [] Timestamp as Timestamp) => ();
    handle_close(now: [] Timestamp as Timestamp) => ();

    poll_event() => Option<Event>;
    poll_transmit(
        now: [] Timestamp as Timestamp, max_bytes: [] usize as usize,
    ) into buf: Vec<u8> => Transmit;
    poll_transmit_vectored(
        now: [] Timestamp as Timestamp, max_bytes: [] usize as usize,
    ) into pieces: Pieces => Transmit;
}

/// How a connection begins.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opened {
    pub(super) now: Timestamp,
    pub(super) config: Config,
}

/// A session that [`accept`](Recorder::<Connection>::accept) brings stands in the log as its
/// [snapshot](crate::server::Session::snapshot): which of its messages the owner had not acknowledged is
/// not in it. [`into_machine`](Recorder::into_machine) gives back the connection, and with it the session.
impl Recorder<Connection> {
    /// Records [`Connection::new`].
    #[must_use]
    pub fn new(now: Timestamp, config: Config) -> Self {
        let opened = Opened {
            now,
            config: config.clone(),
        };
        Self {
            tape: Tape::new(&super::replay::Begin::Connection(opened)),
            machine: Connection::new(now, config),
        }
    }

    /// Records [`Connection::handle_input`].
    pub fn handle_input(&mut self, now: Timestamp, input: &[u8]) -> Consumed {
        self.offer_borrowed(now, None, input).unwrap_or_default()
    }

    /// Records [`Connection::handle_input_shared`]. How large the buffer is, which decides what shares memory
    /// and nothing else, is not written down.
    pub fn handle_input_shared(&mut self, now: Timestamp, input: &mut BytesMut) -> Consumed {
        self.offer_shared(now, None, input).unwrap_or_default()
    }
}

one_connection!(Connection, "this is one connection");
