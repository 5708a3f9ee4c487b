//! The connections of a broker, and which of them have output.

use alloc::boxed::Box;
use core::fmt;

use super::at_hand::{AtHand, BYTES_MAX};
use super::held::Held;
use super::peer::Peer;
use super::rate::Rates;
use super::ready::{Ready, ReadyQueue};
use super::sessions::SessionKey;
use super::slab::{Key, Slab};
use crate::counted::Arc;
use crate::intake::InputSeen;
use crate::server::{ConnectRequest, ServerLink};
use crate::time::Deadline;

/// Names one connection; never a later one in the same place, so that a late call about a
/// connection that is gone cannot hurt another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectionId(Key);

impl ConnectionId {
    /// Itself as a number, for what knows connections by one, such as the tokens of an event loop.
    ///
    /// ```
    /// use mqtt_state::Timestamp;
    /// use mqtt_state::broker::{Broker, Config, ConnectionId, Peer};
    ///
    /// let mut broker = Broker::new(Config::default());
    /// let id = broker.accept(Timestamp::ZERO, Peer::default())?;
    /// assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
    /// # Ok::<(), mqtt_state::broker::AcceptError>(())
    /// ```
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// The connection with this number, if there is one: any other number names a connection that is gone.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(Key::from_bits(bits))
    }

    /// One number for all connections that stand in the same place, one after the other.
    #[cfg(feature = "record")]
    pub(crate) fn place(self) -> u32 {
        self.0.slot()
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.slot(), self.0.generation())
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: ServerLink,
    pub(super) peer: Arc<Peer>,
    /// From CONNACK until the connection is over.
    pub(super) session: Option<SessionKey>,
    /// When its timer fires.
    pub(super) timer_at: Deadline,
    pub(super) input_seen: InputSeen,
    pub(super) rates: Rates,
    /// Packets that wait for a decision about one before.
    pub(super) held: Held,
    /// A CONNECT whose client was asked for more.
    pub(super) request: Option<Box<ConnectRequest>>,
    /// Whether it may connect is asked.
    pub(super) question: Option<Key>,
    /// What goes first of all it has.
    pub(super) at_hand: Option<AtHand>,
    pub(super) ready: Ready,
}

impl Connection {
    /// Whether its timer is set early enough.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        match (self.timer_at.at(), self.link.deadline()) {
            (Some(at), Some(deadline)) => at <= deadline.at,
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }

    /// It has been drained, and nothing is to be done for its session either: it rests, if messages go to
    /// it as they are.
    #[inline]
    pub(super) fn note_rest(&mut self) {
        if self.link.both_roles().sends_as_it_is(BYTES_MAX) {
            self.ready.rest(self.at_hand.is_some());
        }
    }
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    entries: Slab<Connection>,
    ready: ReadyQueue,
}

impl Connections {
    pub(super) const PLACE_SIZE: usize = Slab::<Connection>::PLACE_SIZE;

    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            ready: ReadyQueue::new(),
        }
    }

    pub(super) fn insert(&mut self, link: ServerLink, peer: Arc<Peer>) -> Option<ConnectionId> {
        self.entries
            .insert(Connection {
                link,
                peer,
                session: None,
                timer_at: Deadline::NEVER,
                input_seen: InputSeen::default(),
                rates: Rates::default(),
                held: Held::default(),
                request: None,
                question: None,
                at_hand: None,
                ready: Ready::default(),
            })
            .map(ConnectionId)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.entries.remove(id.0)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.entries.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.entries.get_mut(id.0)
    }

    /// A connection, with the queue that it stands in when it has output.
    #[inline]
    pub(super) fn get_with_queue(
        &mut self,
        id: ConnectionId,
    ) -> Option<(&mut Connection, &mut ReadyQueue)> {
        let connection = self.entries.get_mut(id.0)?;
        Some((connection, &mut self.ready))
    }

    /// The connection has output: it is handed out once until it is drained.
    #[inline]
    pub(super) fn mark_ready(&mut self, id: ConnectionId) {
        if let Some((connection, queue)) = self.get_with_queue(id) {
            queue.push(id, &mut connection.ready);
        }
    }

    /// Input of the connection that was not taken may be taken now: it is handed out, and if it has been
    /// and is not drained yet, once more afterwards.
    pub(super) fn mark_open(&mut self, id: ConnectionId) {
        if let Some((connection, queue)) = self.get_with_queue(id) {
            queue.push(id, &mut connection.ready);
            connection.ready.repeat();
        }
    }

    /// The connection has had its time: it is handed out, whether or not it has been.
    pub(super) fn mark_over(&mut self, id: ConnectionId) {
        if let Some((connection, queue)) = self.get_with_queue(id) {
            connection.ready.drain();
            queue.push(id, &mut connection.ready);
        }
    }

    /// The connection has been drained.
    pub(super) fn mark_drained(&mut self, id: ConnectionId) {
        if { self.entries.get_mut(id.0) }.is_some_and(|it| it.ready.drain()) {
            self.mark_ready(id);
        }
    }

    /// The next connection that has output.
    #[inline]
    pub(super) fn hand_out(&mut self) -> Option<(ConnectionId, &mut Connection)> {
        let id = loop {
            let id = self.ready.pop()?;
            // The compiler makes one look of this and the next.
            if self.entries.get_mut(id.0).is_some() {
                break id;
            }
        };
        let connection = self.entries.get_mut(id.0)?;
        connection.ready.hand_out();
        Some((id, connection))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Places that connections are or have been in.
    pub(super) fn places_len(&self) -> usize {
        self.entries.places_len()
    }

    /// The connection in a place, if there is one that is not over.
    pub(super) fn open_at(&self, place: usize) -> Option<ConnectionId> {
        let id = self.entries.key_at(place).map(ConnectionId)?;
        self.get(id)
            .is_some_and(|it| !it.link.is_ended())
            .then_some(id)
    }
}
