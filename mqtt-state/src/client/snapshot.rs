//! Taking a session out of a client, and putting it into another one.

use core::time::Duration;

use mqtt_codec::{Message, QoS, TopicFilter};

use super::{Client, Config, Subscription};
use crate::Timestamp;
use crate::session::{QueueLimits, RestoreError, Restoring, SessionSnapshot};

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
        // Sent twice it would be at most once no more, and the journal does not say what was sent.
        let is_kept =
            |message: &Message| message.qos() != QoS::AtMostOnce || !self.events.journal.is_on();
        let next_token = match self.has_journal() {
            true => self.recorded_token,
            false => self.next_token,
        };
        let at = self.clock.latest().max(now);
        let granted = self.subscriptions.granted().iter();
        SessionSnapshot {
            is_known: self.may_be_known(),
            subscriptions: granted.map(Subscription::stored).collect(),
            ..SessionSnapshot::of(&self.session, at, next_token, is_kept)
        }
    }

    /// A client with a session that was stored, `elapsed` ago, or whose journal was: expiry goes on
    /// through that time, which with a journal counts from when its last entry was handed out. The tokens of its messages are those that `publish` gave out before. The
    /// journal of this client begins anew, with a snapshot of it as its base.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: nothing in a snapshot is believed.
    pub fn restore(
        now: Timestamp,
        elapsed: Duration,
        config: Config,
        mut snapshot: SessionSnapshot,
    ) -> Result<Self, RestoreError> {
        let mut client = Self::new(config);
        let restoring = Restoring {
            now: client.clock.advance(now),
            elapsed,
            limits: QueueLimits {
                len_max: client.config.waiting_len_max,
                bytes_max: client.config.messages_bytes_max,
            },
            check: &|message| match message.has_properties()
                && !message.properties().subscription_ids.is_empty()
            {
                true => Err(RestoreError::SubscriptionIds),
                false => Ok(()),
            },
        };
        snapshot.restore_into(&mut client.session, &restoring)?;
        if snapshot.subscriptions.len() > client.config.subscriptions_max {
            return Err(RestoreError::Subscriptions);
        }
        for stored in &snapshot.subscriptions {
            let filter =
                TopicFilter::new(&stored.filter).map_err(|_| RestoreError::Subscriptions)?;
            let is_new = client
                .subscriptions
                .restore(filter, stored.options, stored.id);
            if !is_new {
                return Err(RestoreError::Subscriptions);
            }
        }
        if client.subscriptions.bytes() > client.config.subscriptions_bytes_max {
            return Err(RestoreError::Subscriptions);
        }
        client.next_token = snapshot.next_token;
        client.recorded_token = snapshot.next_token;
        client.session_known = snapshot.is_known;
        client.recorded_known = snapshot.is_known;
        client.session_survives = true;
        Ok(client)
    }
}
