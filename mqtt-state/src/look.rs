//! What can be seen of a machine from outside: figures, and what waits for what.

use core::fmt;

use crate::Timeout;

/// What went through a machine since it was made, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Packets taken.
    pub packets_received: u64,
    /// Bytes taken, in whole packets.
    pub bytes_received: u64,
    /// Packets made: PUBLISH when it was handed out, others when they were queued.
    pub packets_sent: u64,
    /// Bytes handed out.
    pub bytes_sent: u64,
    /// PUBLISH packets handed out, repeated ones included.
    pub publishes_sent: u64,
    /// PUBLISH packets handed out again after a reconnect.
    pub publishes_repeated: u64,
    /// Connections that ended because the peer broke a rule, and packets in which it broke one and was
    /// let go.
    pub violations: u64,
    /// Times that messages began to wait because the peer had as many unacknowledged as it takes.
    pub quota_waits: u64,
}

impl Traffic {
    // Counts of 64 bits last longer than whoever looks at them.
    pub(crate) fn note_received(&mut self, bytes: usize) {
        self.packets_received = self.packets_received.wrapping_add(1);
        self.bytes_received = self.bytes_received.wrapping_add(as_count(bytes));
    }

    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.bytes_sent = self.bytes_sent.wrapping_add(as_count(bytes));
    }

    /// A PUBLISH of so many bytes has been handed out.
    #[inline]
    pub(crate) fn note_publish_sent(&mut self, bytes: usize) {
        self.note_sent(bytes);
        self.note_publish(false);
    }

    /// So many plain acknowledgements, of four bytes each, have been handed out.
    #[inline]
    pub(crate) fn note_acks_sent(&mut self, acks: u64) {
        self.note_packets(acks);
        self.bytes_sent = self.bytes_sent.wrapping_add(acks.wrapping_mul(4));
    }

    pub(crate) fn note_violation(&mut self) {
        self.violations = self.violations.wrapping_add(1);
    }

    pub(crate) fn note_quota_wait(&mut self) {
        self.quota_waits = self.quota_waits.wrapping_add(1);
    }

    pub(crate) fn note_packets(&mut self, packets: u64) {
        self.packets_sent = self.packets_sent.wrapping_add(packets);
    }

    pub(crate) fn note_publish(&mut self, repeated: bool) {
        self.note_packets(1);
        self.publishes_sent = self.publishes_sent.wrapping_add(1);
        self.publishes_repeated = self.publishes_repeated.wrapping_add(u64::from(repeated));
    }
}

fn as_count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What one connection and its session wait for. `Display` says it in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Messages that were never sent.
    pub waiting_len: usize,
    /// Whether one of them is at hand in a broker: it is the first that goes, and stands with the connection.
    pub is_at_hand: bool,
    /// QoS 1 and 2 messages sent and not fully acknowledged.
    pub in_flight_len: usize,
    /// Packets that wait for a decision, or behind one that does, in a broker.
    pub held_len: usize,
    /// Subscriptions that still have to get retained messages from a broker.
    pub replays_len: usize,
    /// QoS 1 and 2 PUBLISH packets that may still go before the peer acknowledges one.
    pub send_quota: u16,
    /// Why messages wait, if they do.
    pub output: Option<OutputWaits>,
    /// Why no input is taken, if none is.
    pub input: Option<InputWaits>,
    /// The next deadline, and why it is one.
    pub timeout: Option<Timeout>,
}

/// Why messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputWaits {
    /// There is no connection.
    ForConnection,
    /// The peer has as many unacknowledged messages as it takes.
    ForAcknowledgement,
    /// `poll_transmit` has not been called.
    ForPoll,
    /// What has to be stored before is not.
    ForStore,
    /// Events have not been fetched.
    ForEvents,
}

/// Why no input is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputWaits {
    /// Events have not been fetched.
    ForEvents,
    /// Entries of the journal have not been fetched.
    ForJournal,
    /// The peer does not read its answers.
    ForAnswers,
    /// CONNECT has not been accepted or rejected, or as much waits for other decisions as may.
    ForDecision,
    /// The peer has sent more than it may in this time.
    ForTime,
    /// As many messages have come and were not acknowledged as may be.
    ForAcknowledgement,
    /// A message has not reached all who get it.
    ForReceivers,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waiting_len,
            in_flight_len,
            send_quota,
            ..
        } = self;
        write!(
            f,
            "{waiting_len} messages wait, {in_flight_len} are in flight, {send_quota} more may go"
        )?;
        match self.output {
            Some(OutputWaits::ForConnection) => f.write_str("; there is no connection")?,
            Some(OutputWaits::ForAcknowledgement) => {
                f.write_str("; the peer has to acknowledge first")?
            }
            Some(OutputWaits::ForPoll) => f.write_str("; output has to be polled")?,
            Some(OutputWaits::ForEvents) => f.write_str("; events have to be fetched first")?,
            Some(OutputWaits::ForStore) => f.write_str("; the journal has to be stored first")?,
            None => {}
        }
        match self.input {
            Some(InputWaits::ForEvents) => {
                f.write_str("; no input is taken until events are fetched")?
            }
            Some(InputWaits::ForJournal) => {
                f.write_str("; no input is taken until the journal is fetched")?
            }
            Some(InputWaits::ForAnswers) => {
                f.write_str("; no input is taken until the peer reads its answers")?
            }
            Some(InputWaits::ForAcknowledgement) => {
                f.write_str("; no input is taken until messages are acknowledged")?
            }
            Some(InputWaits::ForReceivers) => {
                f.write_str("; no input is taken until a message has reached all who get it")?
            }
            Some(InputWaits::ForDecision) => {
                f.write_str("; no input is taken until what was asked is decided")?
            }
            Some(InputWaits::ForTime) => {
                f.write_str("; no input is taken because it came too fast")?
            }
            None => {}
        }
        match self.timeout {
            Some(Timeout { at, reason }) => write!(f, "; next deadline at {at} ({reason:?})"),
            None => f.write_str("; no deadline"),
        }
    }
}
