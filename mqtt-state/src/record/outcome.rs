//! What came of a call, in words and as a digest.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Debug, Write};

use mqtt_codec::Message;

use crate::broker::{
    AcceptError as BrokerAcceptError, Broker, BrokerId, ConnectionId, Event as BrokerEvent,
    JoinError, JoinMessage, JournalEntry as BrokerEntry, LocalSubscription, RestoreError, Stale,
};
use crate::client::{
    AckError, AuthenticateError, ConnectError, DisconnectError, Event as ClientEvent, PublishError,
    PublishErrorKind, PublishToken, RequestError, RequestToken,
};
use crate::server::{
    AcceptError, CommandError, ConnectRequest, DeliverError, DeliveryToken, Event as ServerEvent,
};
use crate::session::JournalEntry;
use crate::{AuthenticationData, Consumed, Pieces, Transmit};

/// Words of one answer that are written; all of them are in the digest.
const WORDS_BYTES_MAX: usize = 400;

/// Takes an answer.
#[derive(Debug)]
pub(super) struct Sink {
    digest: u64,
    words: String,
    is_cut: bool,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            digest: 0xcbf2_9ce4_8422_2325,
            words: String::new(),
            is_cut: false,
        }
    }
}

impl Sink {
    /// FNV-1a, of the length as well: where one thing ends, the next begins.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.hash(&(bytes.len() as u64).to_be_bytes());
        self.hash(bytes);
    }

    fn hash(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest ^= u64::from(*byte);
            self.digest = self.digest.wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn say(&mut self, words: fmt::Arguments<'_>) {
        // It takes everything.
        let _always_there = self.write_fmt(words);
    }

    fn message(&mut self, message: &Message) {
        self.bytes(message.payload());
        if let Some(data) = message.properties().correlation_data {
            self.bytes(data.as_bytes());
        }
    }

    fn data(&mut self, data: Option<&AuthenticationData>) {
        self.bytes(data.map(AuthenticationData::as_bytes).unwrap_or_default());
    }

    /// What its `Debug` leaves out.
    fn request(&mut self, request: &ConnectRequest) {
        self.bytes(request.password.as_deref().unwrap_or_default());
        self.data(request.authentication_data.as_ref());
        if let Some(will) = &request.will {
            self.message(&will.message);
        }
        let ConnectRequest {
            receive_maximum,
            packet_size_max,
            topic_alias_maximum,
            request_problem_information,
            request_response_information,
            user_properties,
            ..
        } = request;
        let rest = alloc::format!(
            "{receive_maximum} {packet_size_max:?} {topic_alias_maximum} {request_problem_information} \
             {request_response_information} {user_properties:?}"
        );
        self.bytes(rest.as_bytes());
    }

    /// What can be stored, as it would be.
    fn stored(&mut self, value: &impl serde::Serialize) {
        self.bytes(&serde_json::to_vec(value).unwrap_or_default());
    }

    pub(super) fn line(self) -> String {
        let Self {
            digest,
            words,
            is_cut,
        } = self;
        let more = if is_cut { " ..." } else { "" };
        alloc::format!("< {digest:016x} {words}{more}")
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hash(text.as_bytes());
        for char in text.chars() {
            if self.words.len() >= WORDS_BYTES_MAX {
                self.is_cut = true;
                break;
            }
            // An answer is one line.
            self.words.push(if char.is_control() { ' ' } else { char });
        }
        Ok(())
    }
}

/// What a method answers.
pub(super) trait Outcome {
    fn tell(&self, sink: &mut Sink);
}

/// Where a method appends what it hands out.
pub(super) trait Appended {
    /// What was appended.
    fn digest(&self, before: usize, sink: &mut Sink);
}

impl Appended for Vec<u8> {
    fn digest(&self, before: usize, sink: &mut Sink) {
        let new = self.get(before..).unwrap_or_default();
        sink.say(format_args!(", {} bytes", new.len()));
        sink.bytes(new);
    }
}

impl Appended for Pieces {
    fn digest(&self, before: usize, sink: &mut Sink) {
        let mut all = Vec::new();
        for chunk in self.chunks() {
            all.extend_from_slice(chunk);
        }
        all.digest(before, sink);
    }
}

/// Types of which `Debug` shows everything.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        $(
            impl Outcome for $type {
                fn tell(&self, sink: &mut Sink) {
                    sink.say(format_args!("{self:?}"));
                }
            }
        )*
    };
}

plain! {
    (), bool, usize, Consumed, Transmit, ConnectionId, LocalSubscription, PublishToken, RequestToken, DeliveryToken,
    BrokerAcceptError, Stale, JoinError, RestoreError, AckError, AuthenticateError, ConnectError,
    DisconnectError, PublishErrorKind, RequestError, CommandError, Vec<RequestToken>, (PublishToken, Transmit),
    mqtt_topic::IndexError,
}

impl<T: Outcome, E: Outcome> Outcome for Result<T, E> {
    fn tell(&self, sink: &mut Sink) {
        let (name, inner): (_, &dyn Outcome) = match self {
            Ok(value) => ("Ok", value),
            Err(error) => ("Err", error),
        };
        sink.say(format_args!("{name}("));
        inner.tell(sink);
        sink.say(format_args!(")"));
    }
}

impl<T: Outcome> Outcome for Option<T> {
    fn tell(&self, sink: &mut Sink) {
        match self {
            Some(value) => {
                sink.say(format_args!("Some("));
                value.tell(sink);
                sink.say(format_args!(")"));
            }
            None => sink.say(format_args!("None")),
        }
    }
}

impl Outcome for PublishError {
    fn tell(&self, sink: &mut Sink) {
        let Self { kind, message } = self;
        sink.say(format_args!("{kind:?}"));
        sink.message(message);
    }
}

impl Outcome for DeliverError {
    fn tell(&self, sink: &mut Sink) {
        let Self { kind, message } = self;
        sink.say(format_args!("{kind:?}"));
        sink.message(message);
    }
}

impl Outcome for AcceptError {
    fn tell(&self, sink: &mut Sink) {
        // What it brings back is what went in.
        let Self {
            kind,
            acceptance: _,
        } = self;
        sink.say(format_args!("{kind:?}"));
    }
}

impl Outcome for ClientEvent {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
        match self {
            Self::Message { message, .. } => sink.message(message),
            Self::PublishLost { message, .. } => {
                if let Some(message) = message {
                    sink.message(message);
                }
            }
            Self::Authenticate { data } | Self::Reauthenticated { data } => {
                sink.data(data.as_ref())
            }
            Self::Connected { .. }
            | Self::Published { .. }
            | Self::QuotaAvailable
            | Self::Subscribed { .. }
            | Self::Unsubscribed { .. }
            | Self::RequestLost { .. }
            | Self::Closed { .. } => {}
        }
    }
}

impl Outcome for ServerEvent {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
        match self {
            Self::Connect(request) => sink.request(request),
            Self::Authenticate { data, .. } => sink.data(data.as_ref()),
            Self::Publish { message, .. } | Self::DeliveryDropped { message, .. } => {
                sink.message(message)
            }
            Self::Closed { will, .. } => {
                if let Some(will) = will {
                    sink.message(&will.message);
                }
            }
            Self::Subscribe { .. } | Self::Unsubscribe { .. } | Self::Delivered { .. } => {}
        }
    }
}

impl Outcome for BrokerEvent {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
        match self {
            Self::Authenticate { request, .. } => sink.request(request),
            Self::AuthenticateStep { data, .. } => sink.data(data.as_ref()),
            Self::AuthorizePublish { message, .. } | Self::Local { message, .. } => {
                sink.message(message)
            }
            Self::AuthorizeSubscribe { .. }
            | Self::Connected { .. }
            | Self::Closed { .. }
            | Self::Subscribed { .. }
            | Self::Unsubscribed { .. }
            | Self::Published { .. }
            | Self::QueueFull { .. }
            | Self::Dropped { .. }
            | Self::Refused { .. }
            | Self::NotRetained { .. }
            | Self::WillPublished { .. }
            | Self::Joined { .. }
            | Self::Parted { .. }
            | Self::SessionMoved { .. }
            | Self::NotForwarded { .. }
            | Self::NotTaken { .. }
            | Self::InterestRefused { .. }
            | Self::NotMoved { .. }
            | Self::IncarnationTooLow { .. }
            | Self::SessionEnded { .. } => {}
        }
    }
}

impl Outcome for JournalEntry {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("entry {}", self.position()));
        sink.stored(self);
    }
}

impl Outcome for BrokerEntry {
    fn tell(&self, sink: &mut Sink) {
        let (position, at) = (self.position(), self.at().as_nanos());
        sink.say(format_args!(
            "entry {position} at {at}, {} changes",
            self.changes().len()
        ));
        for change in self.changes() {
            sink.bytes(&change.key().to_bytes());
            sink.stored(&change.value());
        }
    }
}

impl Outcome for JoinMessage {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
        sink.stored(self);
    }
}

impl Outcome for (BrokerId, JoinMessage) {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
        sink.stored(self);
    }
}

impl Outcome for Broker {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{:?}", self.stats()));
    }
}

impl<T: Outcome> Outcome for Box<T> {
    fn tell(&self, sink: &mut Sink) {
        (**self).tell(sink);
    }
}

impl<T: Debug> Outcome for &[T] {
    fn tell(&self, sink: &mut Sink) {
        sink.say(format_args!("{self:?}"));
    }
}
