//! The vocabulary in which every machine is driven.

use crate::Timestamp;

/// What [`handle_input`](crate::client::Client::handle_input) took from the front of the bytes.
///
/// The bytes behind stay with the caller, who offers them again, together with what has arrived
/// since, in the next call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "bytes that were not consumed have to be offered again"]
#[expect(
    clippy::exhaustive_structs,
    reason = "these two figures are the whole answer"
)]
pub struct Consumed {
    /// Bytes taken; always whole packets.
    pub bytes: usize,
    /// At least so many more bytes complete the packet at the front. A hint for the size of the
    /// next read, never a reason to reserve memory: the figure is a peer's claim. 0 when the
    /// machine does not want input now, or no more of it in this call: whole packets may be left, which
    /// are to be offered again whether or not something comes behind them.
    pub need: usize,
}

/// What [`poll_transmit`](crate::client::Client::poll_transmit) has to say beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "`Close` asks the caller to close the connection"]
#[expect(clippy::exhaustive_enums, reason = "drivers match all three")]
pub enum Transmit {
    /// Nothing is left to send now.
    Idle,
    /// There is more to send; call again when the bytes of this call are on their way.
    More,
    /// The last byte of this connection has been handed out: write it, then close the connection. With TCP
    /// that is best done in one direction first, and in both when the other side has closed too or a moment
    /// has passed: a socket that is closed with something unread in it takes back what the other side has not
    /// read yet, such as the reason for a DISCONNECT or the last acknowledgements.
    Close,
}

/// A deadline, and why it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a moment and its reason, nothing else"
)]
pub struct Timeout {
    /// When [`handle_timeout`](crate::client::Client::handle_timeout) is due.
    pub at: Timestamp,
    /// What happens then.
    pub reason: TimeoutReason,
}

/// Why a machine wants to be called at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// CONNECT (at a server) or CONNACK (at a client) has to be there by then.
    Connect,
    /// A client has to send something, or a server has heard nothing for one and a half times the
    /// keep alive.
    KeepAlive,
    /// PINGRESP has to be there by then, after PINGREQ was handed out.
    PingResponse,
    /// A re-authentication has to end by then (at a client), or the next step of an authentication be
    /// there (at a server).
    Authentication,
    /// The last bytes of a connection that is ending have to be gone by then. From that moment on
    /// `poll_transmit` answers [`Transmit::Close`]: what is left, here or with the caller, is given up, as the
    /// peer does not read it.
    Close,
    /// A session of a client that went away ends.
    SessionExpiry,
    /// A will that waits is published.
    WillDelay,
    /// A retained message expires.
    RetainedExpiry,
    /// Something large goes on, in pieces.
    Work,
    /// A question that nobody has answered counts as denied.
    Decision,
    /// Other brokers have had their time to say whether they have the session of a client.
    Claim,
}
