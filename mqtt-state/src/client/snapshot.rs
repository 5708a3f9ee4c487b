//! Taking a session out of a client, and putting it into another one.

use alloc::collections::BTreeSet;
use core::fmt;
use core::time::Duration;

use mqtt_codec::{Message, QoS, TopicFilter};

use super::publish::OwnMessage;
use super::{Client, Config, Subscription};
use crate::Timestamp;
use crate::session::{QueueLimits, SessionSnapshot, StoredPublish, StoredRelease, StoredWaiting};

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
    /// More waits, or is in flight, than [`Config`] allows.
    TooMuch,
    /// A subscription's filter is none or stands twice, or there are more than [`Config`] allows.
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
            Self::TooMuch => f.write_str("more messages than this client keeps"),
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

impl Client {
    /// The session as it is now, as plain data. Messages share their bytes with the client.
    ///
    /// What a server has received and this client has not heard of yet is not in it: a client that is
    /// restored sends it again, with DUP, as after a lost connection.
    ///
    /// With [`Config::journal`] QoS 0 messages are left out, since nothing would tell a store that
    /// one has been sent.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> SessionSnapshot {
        let outbound = &self.session.outbound;
        // Sent twice it would be at most once no more, and the journal does not say what was sent.
        let is_kept =
            |message: &Message| message.qos() != QoS::AtMostOnce || !self.events.journal.is_on();
        let granted = self.subscriptions.granted().iter();
        SessionSnapshot {
            form: SessionSnapshot::FORM,
            at: self.clock.latest().max(now),
            next_token: match self.has_journal() {
                true => self.recorded_token,
                false => self.next_token,
            },
            is_known: self.may_be_known(),
            publishes: outbound
                .publishes()
                .map(|(id, kept)| StoredPublish {
                    id,
                    token: kept.tag,
                    message: kept.message.message.clone(),
                    expires_at: kept.message.expires_at,
                })
                .collect(),
            releases: outbound
                .releases()
                .map(|(id, token)| StoredRelease { id, token })
                .collect(),
            unreleased: self.session.inbound.unreleased().collect(),
            waiting: outbound
                .waiting()
                .filter(|kept| is_kept(&kept.message.message))
                .map(|kept| StoredWaiting {
                    token: kept.tag,
                    message: kept.message.message.clone(),
                    expires_at: kept.message.expires_at,
                })
                .collect(),
            subscriptions: granted.map(Subscription::stored).collect(),
        }
    }

    /// A client with a session that was stored, `elapsed` ago, or whose journal was: expiry goes on
    /// through that time. The tokens of its messages are those that `publish` gave out before. The
    /// journal of this client begins anew, with a snapshot of it as its base.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: nothing in a snapshot is believed.
    pub fn restore(
        now: Timestamp,
        elapsed: Duration,
        config: Config,
        snapshot: SessionSnapshot,
    ) -> Result<Self, RestoreError> {
        let SessionSnapshot {
            form,
            at,
            next_token,
            is_known,
            publishes,
            releases,
            unreleased,
            waiting,
            subscriptions,
        } = snapshot;
        if form != SessionSnapshot::FORM {
            return Err(RestoreError::UnknownForm { form });
        }
        // No session gives out so many; behind them there would be none left.
        if next_token == 0 || next_token > u64::MAX / 2 {
            return Err(RestoreError::Token);
        }
        let mut client = Self::new(config);
        let now = client.clock.advance(now);
        let mut tokens = Tokens::new(next_token);
        let expires_at = |expires_at: Option<Timestamp>| {
            let left = expires_at?.saturating_since(at);
            Some(now + left.saturating_sub(elapsed))
        };
        let limits = QueueLimits {
            len_max: client.config.waiting_len_max,
            bytes_max: client.config.messages_bytes_max,
        };
        for StoredRelease { id, token } in releases {
            tokens.take(token)?;
            if !client.session.outbound.restore_release(id, token) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        for stored in publishes {
            tokens.take(stored.token)?;
            let qos = stored.message.qos();
            if qos == QoS::AtMostOnce {
                return Err(RestoreError::QoS0InFlight);
            }
            let (message, bytes) = held(stored.message, expires_at(stored.expires_at))?;
            let outbound = &mut client.session.outbound;
            if outbound.messages_bytes().saturating_add(bytes) > limits.bytes_max {
                return Err(RestoreError::TooMuch);
            }
            if !outbound.restore_publish(stored.id, qos, message, stored.token, bytes) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        client.session.outbound.restored();
        for id in unreleased {
            if !client.session.inbound.remember(id) {
                return Err(RestoreError::PacketIdTwice);
            }
        }
        for stored in waiting {
            tokens.take(stored.token)?;
            let qos = stored.message.qos();
            let (message, bytes) = held(stored.message, expires_at(stored.expires_at))?;
            let outbound = &mut client.session.outbound;
            if !outbound.has_room(bytes, limits) {
                return Err(RestoreError::TooMuch);
            }
            outbound.enqueue(qos, message, stored.token, bytes, 0);
        }
        if subscriptions.len() > client.config.subscriptions_max {
            return Err(RestoreError::Subscriptions);
        }
        for stored in &subscriptions {
            let filter =
                TopicFilter::new(&stored.filter).map_err(|_| RestoreError::Subscriptions)?;
            let is_new = client
                .subscriptions
                .restore(filter, stored.options, stored.id);
            if !is_new {
                return Err(RestoreError::Subscriptions);
            }
        }
        client.next_token = next_token;
        client.recorded_token = next_token;
        client.session_known = is_known;
        client.recorded_known = is_known;
        client.session_survives = true;
        Ok(client)
    }
}

/// A message as a client holds it, and the bytes it counts for.
fn held(
    message: Message,
    expires_at: Option<Timestamp>,
) -> Result<(OwnMessage, usize), RestoreError> {
    if message.has_properties() && !message.properties().subscription_ids.is_empty() {
        return Err(RestoreError::SubscriptionIds);
    }
    let bytes = message.len_held();
    let message = OwnMessage {
        message,
        expires_at,
    };
    Ok((message, bytes))
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
