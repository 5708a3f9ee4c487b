//! Sessions as plain data: taken out, checked, and put in again.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use mqtt_codec::{Message, QoS};

use super::{
    OwnMessage, QueueLimits, Release, Session, SessionSnapshot, StoredPublish, StoredRelease,
    StoredWaiting,
};
use crate::Timestamp;

/// Why a [`SessionSnapshot`] makes no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// It was written in a form that this version does not know.
    UnknownForm {
        /// The form.
        form: u16,
    },
    /// A packet identifier stands twice.
    PacketIdTwice,
    /// A token stands twice, or is one that was not given out yet.
    Token,
    /// A message in flight has QoS 0.
    QoS0InFlight,
    /// More waits, or is in flight, than the configuration allows.
    TooMuch,
    /// A subscription's filter is none or stands twice, or there are more of them, or of their bytes, than
    /// the configuration allows.
    Subscriptions,
    /// A message has subscription identifiers, which only a server may send.
    SubscriptionIds,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownForm { form } => write!(f, "form {form} of a session is not known"),
            Self::PacketIdTwice => f.write_str("a packet identifier stands twice"),
            Self::Token => f.write_str("a token stands twice or was never given out"),
            Self::QoS0InFlight => f.write_str("a message in flight has QoS 0"),
            Self::TooMuch => f.write_str("more messages than are kept"),
            Self::Subscriptions => {
                f.write_str("an invalid filter, or one twice, or too many of them")
            }
            Self::SubscriptionIds => {
                f.write_str("a message has subscription identifiers, which only a server may send")
            }
        }
    }
}

impl core::error::Error for RestoreError {}

/// How a stored session is put in again.
pub(crate) struct Restoring<'c> {
    pub(crate) now: Timestamp,
    /// How long the store lay idle.
    pub(crate) elapsed: Duration,
    pub(crate) limits: QueueLimits,
    pub(crate) check: &'c dyn Fn(&Message) -> Result<(), RestoreError>,
}

impl SessionSnapshot {
    /// The messages and identifiers of a session, but for waiting messages that are not to be kept.
    pub(crate) fn of(
        session: &Session<OwnMessage>,
        at: Timestamp,
        next_token: u64,
        is_kept: impl Fn(&Message) -> bool,
    ) -> Self {
        let outbound = &session.outbound;
        Self {
            form: Self::FORM,
            at,
            next_token,
            is_known: true,
            publishes: outbound
                .publishes()
                .map(|(id, kept)| StoredPublish {
                    id,
                    token: kept.tag,
                    message: kept.message.message.clone(),
                    expires_at: kept.message.expires_at.at(),
                })
                .collect(),
            releases: outbound
                .releases()
                .map(|Release { id, tag, was_told }| StoredRelease {
                    id,
                    token: tag,
                    was_told,
                })
                .collect(),
            unreleased: session.inbound.unreleased().collect(),
            waiting: outbound
                .waiting()
                .filter(|kept| is_kept(&kept.message.message))
                .map(|kept| StoredWaiting {
                    token: kept.tag,
                    message: kept.message.message.clone(),
                    expires_at: kept.message.expires_at.at(),
                })
                .collect(),
            subscriptions: Vec::new(),
        }
    }

    /// Puts the messages and identifiers into an empty session.
    pub(crate) fn restore_into(
        &mut self,
        session: &mut Session<OwnMessage>,
        restoring: &Restoring<'_>,
    ) -> Result<(), RestoreError> {
        let form = self.form;
        if form != Self::FORM {
            return Err(RestoreError::UnknownForm { form });
        }
        // No session gives out so many; behind them there would be none left.
        if self.next_token == 0 || self.next_token > u64::MAX / 2 {
            return Err(RestoreError::Token);
        }
        let mut tokens = Tokens::new(self.next_token);
        let (at, now) = (self.at, restoring.now);
        let held = |message: Message, expires_at: Option<Timestamp>| {
            (restoring.check)(&message)?;
            let bytes = message.len_held();
            let left = expires_at.map(|expires_at| expires_at.saturating_since(at));
            let expires_at = left.map(|left| now + left.saturating_sub(restoring.elapsed));
            let message = OwnMessage {
                message,
                expires_at: expires_at.into(),
            };
            Ok((message, bytes))
        };
        let limits = restoring.limits;
        let outbound = &mut session.outbound;
        for stored in self.releases.drain(..) {
            tokens.take(stored.token)?;
            let release = Release {
                id: stored.id,
                tag: stored.token,
                was_told: stored.was_told,
            };
            if !outbound.restore_release(release) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        for stored in self.publishes.drain(..) {
            tokens.take(stored.token)?;
            let qos = stored.message.qos();
            if qos == QoS::AtMostOnce {
                return Err(RestoreError::QoS0InFlight);
            }
            let (message, bytes) = held(stored.message, stored.expires_at)?;
            if outbound.messages_bytes().saturating_add(bytes) > limits.bytes_max {
                return Err(RestoreError::TooMuch);
            }
            if !outbound.restore_publish(stored.id, qos, message, stored.token, bytes) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        outbound.restored();
        for id in self.unreleased.drain(..) {
            if !session.inbound.remember(id) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        for stored in self.waiting.drain(..) {
            tokens.take(stored.token)?;
            let qos = stored.message.qos();
            let (message, bytes) = held(stored.message, stored.expires_at)?;
            if !outbound.has_room(bytes, limits) {
                return Err(RestoreError::TooMuch);
            }
            outbound.enqueue(qos, message, stored.token, bytes, 0);
        }
        Ok(())
    }
}

/// Tokens that were given out, each once.
struct Tokens {
    next: u64,
    taken: BTreeSet<u64>,
}

impl Tokens {
    fn new(next: u64) -> Self {
        Self {
            next,
            taken: BTreeSet::new(),
        }
    }

    fn take(&mut self, token: u64) -> Result<(), RestoreError> {
        if token == 0 || token >= self.next || !self.taken.insert(token) {
            return Err(RestoreError::Token);
        }
        Ok(())
    }
}
