//! What a broker reports, and what it asks. Nothing waits for reports: an embedder may ignore them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;

use mqtt_codec::{Message, PacketId, ProtocolVersion, QoS, SubscribeReason, SubscriptionOptions};

use super::{
    BrokerId, Config, ConnectDecision, ConnectionId, LocalSubscription, Owner, Peer,
    PublishDecision, SubscribeDecision,
};
use crate::counted::Arc;
use crate::server::ConnectRequest;
use crate::{AuthenticationData, CloseCause};

/// Something that happened in a [`Broker`](super::Broker).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// May this client connect? [`decide_connect`](super::Broker::decide_connect) answers; until then
    /// nothing else of it is taken. Only where [`Ask::connect`](super::Ask::connect) says so.
    Authenticate {
        /// Names the question.
        decision: ConnectDecision,
        /// The connection.
        connection: ConnectionId,
        /// Who is at its other end.
        peer: Arc<Peer>,
        /// What its CONNECT says.
        request: Box<ConnectRequest>,
    },
    /// The client has taken a step of its enhanced authentication, before it is accepted or again on
    /// its live connection. [`decide_connect`](super::Broker::decide_connect) answers.
    AuthenticateStep {
        /// Names the question.
        decision: ConnectDecision,
        /// The connection.
        connection: ConnectionId,
        /// Who is at its other end.
        peer: Arc<Peer>,
        /// What it said.
        data: Option<AuthenticationData>,
    },
    /// May this message be published? [`decide_publish`](super::Broker::decide_publish) answers.
    /// Only where [`Ask::publish`](super::Ask::publish) says so.
    AuthorizePublish {
        /// Names the question.
        decision: PublishDecision,
        /// The connection; `None` when it is gone.
        connection: Option<ConnectionId>,
        /// Who is at its other end, or was, when the will was left. Nobody, if the program was another
        /// one then.
        peer: Arc<Peer>,
        /// Whose the publisher's session is, whoever has restored it.
        owner: Option<Arc<Owner>>,
        /// The publisher's client identifier.
        client_id: Box<str>,
        /// The message, with its QoS and RETAIN flag.
        message: Message,
        /// It is the will of a client that is gone.
        is_will: bool,
    },
    /// May this client subscribe to this filter?
    /// [`decide_subscribe`](super::Broker::decide_subscribe) answers. Only where
    /// [`Ask::subscribe`](super::Ask::subscribe) or
    /// [`reauthorize`](super::Broker::reauthorize) says so.
    AuthorizeSubscribe {
        /// Names the question.
        decision: SubscribeDecision,
        /// The connection; `None` when the client is away.
        connection: Option<ConnectionId>,
        /// Who is at its other end; nobody when the client is away.
        peer: Arc<Peer>,
        /// Whose the session is, also when the client is away.
        owner: Option<Arc<Owner>>,
        /// The client's identifier.
        client_id: Box<str>,
        /// As in the packet.
        filter: String,
        /// What it asks for.
        options: SubscriptionOptions,
    },
    /// A CONNECT was accepted.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// Who is at its other end.
        peer: Arc<Peer>,
        /// The client's identifier, or the one it was assigned.
        client_id: Box<str>,
        /// The version it speaks.
        version: ProtocolVersion,
        /// Whether it found its session.
        session_present: bool,
    },
    /// A connection is over; its last bytes may still have to go out.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Who is at its other end.
        peer: Arc<Peer>,
        /// The client's identifier, if its CONNECT had been accepted.
        client_id: Option<Box<str>>,
        /// Why.
        cause: CloseCause,
        /// The topic name or filter that was at fault, where one was.
        text: Option<String>,
    },
    /// A filter of a SUBSCRIBE was granted or refused.
    Subscribed {
        /// The client's identifier.
        client_id: Box<str>,
        /// As in the packet.
        filter: String,
        /// The answer.
        reason: SubscribeReason,
    },
    /// A filter was unsubscribed from.
    Unsubscribed {
        /// The client's identifier.
        client_id: Box<str>,
        /// As in the packet.
        filter: String,
        /// Whether there was such a subscription.
        existed: bool,
    },
    /// A message came in, if [`Config::message_events`](super::Config::message_events) asks for
    /// these.
    Published {
        /// The publisher's client identifier, empty when its session has ended since; `None` for a message
        /// of the embedder.
        client_id: Option<Box<str>>,
        /// Its topic.
        topic: String,
        /// Its QoS.
        qos: QoS,
        /// Its RETAIN flag.
        retain: bool,
        /// The size of its payload, in bytes.
        payload_len: usize,
        /// Sessions it goes to.
        receivers: usize,
    },
    /// A message that a subscription of the embedder's own matches. It is dropped as other reports
    /// are where nobody fetches it.
    Local {
        /// From [`subscribe_local`](super::Broker::subscribe_local).
        subscription: LocalSubscription,
        /// The message, as it was published.
        message: Message,
    },
    /// As much waits for a client as may: from here on messages for it are dropped, with a
    /// [`Dropped`](Self::Dropped) each, or it is disconnected ([`WhenFull`](super::WhenFull)). Told
    /// once, and again only after half of it was gone.
    QueueFull {
        /// The client's identifier.
        client_id: Box<str>,
        /// The connection that is too slow; `None` when the client is away.
        connection: Option<ConnectionId>,
        /// Messages that wait.
        waiting_len: usize,
        /// Bytes of all its messages, in flight or waiting.
        messages_bytes: usize,
    },
    /// A message will not reach a client.
    Dropped {
        /// The receiver's client identifier.
        client_id: Box<str>,
        /// The topic of the message.
        topic: String,
        /// Why.
        cause: DropCause,
    },
    /// A message is larger than [`Config`] allows, or there is no room for it; or a will is for a topic
    /// below `$SYS`.
    Refused {
        /// The publisher's client identifier; empty for a message of the embedder, and when its session has
        /// ended since.
        client_id: Box<str>,
        /// The topic of the message.
        topic: String,
    },
    /// A retained message was not kept: the store of retained messages is full.
    NotRetained {
        /// Its topic.
        topic: String,
    },
    /// A will was published.
    WillPublished {
        /// The client whose will it was.
        client_id: Box<str>,
        /// The topic of the will.
        topic: String,
    },
    /// The link to another broker has come up: both sides have heard of each other.
    Joined {
        /// The other broker.
        broker: BrokerId,
    },
    /// The link to another broker is gone, by [`part`](super::Broker::part). One that begins anew by itself, as something was
    /// missing or the other side has begun anew, is [`Joined`](Self::Joined) once more without it:
    /// [`JoinedBroker::is_up`](super::JoinedBroker::is_up) is what is so meanwhile.
    Parted {
        /// The other broker.
        broker: BrokerId,
    },
    /// The session of a client has gone to another broker, where the client is; or there is a later one
    /// there, after the two were apart or as this one was too late for that.
    SessionMoved {
        /// Whose.
        client_id: Box<str>,
        /// The other broker.
        broker: BrokerId,
    },
    /// A message is not sent on to another broker: as many wait for it as
    /// [`JoinConfig`](super::JoinConfig) allows.
    NotForwarded {
        /// The other broker.
        broker: BrokerId,
        /// The topic of the message.
        topic: String,
    },
    /// A message of another broker's is dropped: there is no room for it here.
    NotTaken {
        /// The other broker.
        broker: BrokerId,
        /// The topic of the message.
        topic: String,
    },
    /// A filter that another broker's subscribers have is not noted: there are as many as
    /// [`JoinConfig::interests_max`](super::JoinConfig::interests_max) or
    /// [`Config::total_bytes_max`] allows, or it has more levels than [`Config::levels_max`]. They do not get this
    /// broker's messages by it.
    InterestRefused {
        /// The other broker.
        broker: BrokerId,
        /// The filter.
        filter: String,
    },
    /// Something of a session that has come from another broker is left out: it is above a limit of this one.
    /// Of messages that is [`Dropped`](Self::Dropped).
    NotMoved {
        /// Whose session it is.
        client_id: Box<str>,
        /// What is left out.
        what: MovedPart,
    },
    /// Another broker, or what poses as one, has opened a link that is none after those that were heard of, or
    /// knows nothing of those that were up:
    /// it has begun anew without a higher [`JoinConfig::incarnation`](super::JoinConfig::incarnation), or has
    /// [forgotten](super::Broker::forget_joined) this one, and
    /// is not listened to. It is joined when it begins anew with a higher one. Told at most once for each
    /// link of this side; a carrier that brings what is long over can be the cause as well.
    IncarnationTooLow {
        /// The other broker.
        broker: BrokerId,
    },
    /// A session ended, with everything in it.
    SessionEnded {
        /// Whose.
        client_id: Box<str>,
    },
}

/// Why a message will not reach a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// As many messages, or bytes, wait for the client as [`Config`] allows.
    QueueFull,
    /// Everything that is kept adds up to [`Config::total_bytes_max`].
    BrokerFull,
    /// Its expiry passed before it could be sent.
    Expired,
    /// It is larger than the client takes.
    TooLarge,
}

/// A part of a session that has come from another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MovedPart {
    /// A subscription with this filter: the session has as many as may be, or it has too many levels.
    Subscription(String),
    /// The identifier of a QoS 2 message that is sent and whose PUBCOMP is missing, or that is received and not
    /// released: it counts as not in use.
    PacketId(PacketId),
}

impl Event {
    /// Bytes of what it holds outside of itself; what is known of a peer is counted with its
    /// connection.
    fn len_held(&self) -> usize {
        match self {
            Self::Authenticate { request, .. } => boxed(request),
            Self::AuthenticateStep { data, .. } => {
                data.as_ref().map_or(0, AuthenticationData::len_held)
            }
            Self::AuthorizePublish {
                client_id, message, ..
            } => client_id.len().saturating_add(message.len_held()),
            Self::Connected { client_id, .. }
            | Self::QueueFull { client_id, .. }
            | Self::SessionMoved { client_id, .. }
            | Self::SessionEnded { client_id } => client_id.len(),
            Self::Closed {
                client_id, text, ..
            } => {
                let client_id = client_id.as_deref().map_or(0, str::len);
                client_id.saturating_add(text.as_deref().map_or(0, str::len))
            }
            Self::AuthorizeSubscribe {
                client_id,
                filter: text,
                ..
            }
            | Self::Subscribed {
                client_id,
                filter: text,
                ..
            }
            | Self::Unsubscribed {
                client_id,
                filter: text,
                ..
            }
            | Self::Dropped {
                client_id,
                topic: text,
                ..
            }
            | Self::Refused {
                client_id,
                topic: text,
            }
            | Self::WillPublished {
                client_id,
                topic: text,
            } => client_id.len().saturating_add(text.len()),
            Self::Published {
                client_id, topic, ..
            } => {
                let client_id = client_id.as_deref().map_or(0, str::len);
                client_id.saturating_add(topic.len())
            }
            Self::Local { message, .. } => message.len_held(),
            Self::NotRetained { topic }
            | Self::NotForwarded { topic, .. }
            | Self::NotTaken { topic, .. } => topic.len(),
            Self::InterestRefused { filter, .. } => filter.len(),
            Self::NotMoved { client_id, what } => client_id.len().saturating_add(match what {
                MovedPart::Subscription(filter) => filter.len(),
                MovedPart::PacketId(_) => 0,
            }),
            Self::Joined { .. } | Self::Parted { .. } | Self::IncarnationTooLow { .. } => 0,
        }
    }
}

/// A request of its own, and what it holds.
pub(super) fn boxed(request: &ConnectRequest) -> usize {
    let size = size_of::<ConnectRequest>();
    request.len_held().saturating_add(size)
}

/// Events up to limits.
#[derive(Debug)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
    dropped: u64,
    messages_dropped: u64,
    messages_refused: u64,
}

impl EventQueue {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            len_max: config.events_max,
            bytes_max: config.events_bytes_max,
            dropped: 0,
            messages_dropped: 0,
            messages_refused: 0,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        match event {
            Event::Dropped { .. } => {
                self.messages_dropped = self.messages_dropped.saturating_add(1);
            }
            Event::Refused { .. } => {
                self.messages_refused = self.messages_refused.saturating_add(1);
            }
            _ => {}
        }
        let bytes = self.bytes.saturating_add(event.len_held());
        if self.events.len() < self.len_max && bytes <= self.bytes_max {
            self.events.push_back(event);
            self.bytes = bytes;
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// A question is never dropped: how many are open is limited, and how much they hold.
    pub(super) fn ask(&mut self, event: Event) {
        self.bytes = self.bytes.saturating_add(event.len_held());
        self.events.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(event.len_held());
        Some(event)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) const fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    pub(super) const fn messages_refused(&self) -> u64 {
        self.messages_refused
    }
}
