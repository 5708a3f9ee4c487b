//! What a store has to know of the session, before others learn of it.

use super::{Client, Phase};
use crate::link::AckEffect;
use crate::session::{JournalEntry, Record};

/// Names that are noted as given out at the same time.
const TOKENS: u64 = 256;

impl Client {
    /// The next change of the session for a store that follows it, where
    /// [`Config::journal`](super::Config::journal) says that there is one. Call until it answers
    /// `None`, after any call that takes `&mut self`.
    ///
    /// The store begins with a [`snapshot`](Self::snapshot) and goes on with these. What was stored
    /// is put together again by [`SessionSnapshot::apply`](crate::session::SessionSnapshot::apply).
    ///
    /// ```
    /// use core::time::Duration;
    /// use mqtt_codec::{Message, QoS};
    /// use mqtt_state::Timestamp;
    /// use mqtt_state::client::{Client, Config};
    ///
    /// let now = Timestamp::ZERO;
    /// let config = Config { journal: true, ..Config::default() };
    /// let mut client = Client::new(config.clone());
    /// let mut stored = client.snapshot(now);
    /// let token = client.publish(now, Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce))?;
    ///
    /// while let Some(entry) = client.poll_journal() {
    ///     let position = entry.position();
    ///     stored.apply(entry); // Or written to a file that is put together when it is read.
    ///     client.handle_stored(position);
    /// }
    ///
    /// // The program ends here, without a warning. The next one goes on an hour later.
    /// let client = Client::restore(now, Duration::from_secs(3_600), config, stored)?;
    /// let open: Vec<_> = client.open_publishes().map(|(token, _)| token).collect();
    /// assert_eq!(open, [token]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_journal(&mut self) -> Option<JournalEntry> {
        self.events.journal.poll()
    }

    /// Everything up to this position of the journal is safe: what had to wait for it is sent by the
    /// next [`poll_transmit`](Self::poll_transmit). Positions need not be told one by one; those that
    /// were not handed out yet count for nothing.
    ///
    /// A QoS 1 or 2 message waits until it and its packet identifier are stored, PUBREL and PUBCOMP
    /// until it is stored that they are due, and PUBREC until it is stored that the message has come.
    /// Whoever stores what it makes of a message together with the entry that
    /// [`poll_journal`](Self::poll_journal) answers next has every QoS 2 message exactly once,
    /// whenever the program ends.
    pub fn handle_stored(&mut self, position: u64) {
        if self.events.journal.is_on() {
            let stored = self.events.journal.note_stored(position);
            self.session.outbound.note_stored(stored);
            self.with_link(|link| link.note_stored(stored));
        }
    }

    pub(super) fn has_journal(&self) -> bool {
        self.events.journal.is_on()
    }

    /// Whether a message of so many bytes may be noted.
    #[cold]
    pub(super) fn journal_has_room(&self, bytes: usize) -> bool {
        let journal = &self.events.journal;
        journal.len() < self.config.events_max
            && journal.bytes().saturating_add(bytes) <= self.config.messages_bytes_max
    }

    pub(super) fn record(&mut self, record: impl FnOnce() -> Record) {
        self.events.journal.set_now(self.clock.latest());
        self.events.journal.add(record);
    }

    /// Gives messages their packet identifiers, so that these can be stored.
    pub(super) fn assign_ids(&mut self) {
        let (Phase::Connected { .. }, Some(link)) = (&self.phase, &self.link) else {
            return;
        };
        let quota = link.send_quota();
        while self.events.journal.len() < self.config.events_max
            && let Some((place, token, id)) = self.session.outbound.assign(quota)
        {
            self.record(|| Record::Assigned { token, id });
            let position = self.events.journal.last();
            self.session.outbound.hold(place, position);
        }
    }

    /// Whether more messages could get their identifiers now, and be sent.
    pub(super) fn may_assign_ids(&self) -> bool {
        let (Phase::Connected { .. }, Some(link)) = (&self.phase, &self.link) else {
            return false;
        };
        self.session.outbound.may_assign(link.send_quota())
            && self.events.journal.len() < self.config.events_max
            && !self.events.is_full(&self.config)
    }

    /// Where the answers to what comes now will begin.
    pub(super) fn mark(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.mark())
    }

    /// Answers since `mark` wait until all is stored that happened.
    pub(super) fn hold_answers(&mut self, mark: u64) {
        let position = self.events.journal.last();
        if self.events.journal.is_behind() {
            self.with_link(|link| link.hold(mark, position));
        }
    }

    /// What an acknowledgement did.
    pub(super) fn record_effect(&mut self, effect: AckEffect) {
        match effect {
            AckEffect::Nothing => {}
            AckEffect::Released { tag: token } => self.record(|| Record::Released { token }),
            AckEffect::Completed { tag: token, .. } | AckEffect::Freed { tag: token } => {
                self.record(|| Record::Ended { token });
            }
        }
    }

    /// Whether the server may have this session, or may get it from what is on its way.
    pub(super) fn may_be_known(&self) -> bool {
        let is_offered = match &self.phase {
            Phase::Connecting { offer, .. } => offer.session_expiry_secs > 0,
            Phase::Disconnected | Phase::Connected { .. } | Phase::Ending { .. } => false,
        };
        self.session_known || is_offered
    }

    /// Notes that names have been given out, many at a time.
    #[cold]
    pub(super) fn record_token(&mut self) {
        if self.next_token > self.recorded_token {
            let next_token = self.next_token.saturating_add(TOKENS);
            self.recorded_token = next_token;
            self.record(|| Record::Named { next_token });
        }
    }

    pub(super) fn record_known(&mut self) {
        let is_known = self.may_be_known();
        if self.recorded_known != is_known {
            self.recorded_known = is_known;
            self.record(|| Record::Known { is_known });
        }
    }
}
