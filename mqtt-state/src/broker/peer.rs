//! Who is at the other end of a connection, as far as the embedder knows.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::sessions::SessionKey;
use super::{AcceptError, Broker, ConnectionId};
use crate::counted::Arc;

/// What the embedder knows of the other end of a connection, for its own use: every question about
/// this connection carries it, and the first and last event of it do. The broker itself looks at
/// none of it.
///
/// ```
/// use mqtt_state::broker::Peer;
///
/// let peer = Peer {
///     address: Some("192.0.2.1:49152".parse()?),
///     identity: Some("CN=meter-7".into()),
///     ..Peer::default()
/// };
/// assert_eq!(peer.listener, None);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Peer {
    /// From where it comes. None.
    pub address: Option<SocketAddr>,
    /// Where it came in, as the embedder numbers its listeners. None.
    pub listener: Option<u32>,
    /// Who it is by something that was checked below MQTT, such as the subject of its TLS
    /// certificate. At most [`Config::identity_len_max`](super::Config::identity_len_max) bytes.
    /// None.
    pub identity: Option<Box<str>>,
}

/// Whose a session is: what was known of its client when it connected last. It is stored with the
/// session, moves with it to another broker, and every question about the client carries it, also while
/// the client is away: about its will, and about subscriptions that
/// [`reauthorize`](Broker::reauthorize) asks about again.
///
/// It is kept where [`Ask`](super::Ask) says that something is asked, and where there is something to be
/// known. The broker itself looks at none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Owner {
    /// The user name of its CONNECT. That it is true is for those to check who allow the CONNECT.
    pub user_name: Option<Box<str>>,
    /// [`Peer::identity`] of its connection.
    pub identity: Option<Box<str>>,
}

impl Owner {
    /// What a CONNECT says, and what is known of who sent it; nothing is nobody.
    pub(super) fn known(user_name: Option<&str>, peer: &Peer) -> Option<Arc<Self>> {
        let owner = Self {
            user_name: user_name.map(Box::from),
            identity: peer.identity.clone(),
        };
        (owner != Self::default()).then(|| Arc::new(owner))
    }

    /// Bytes of its texts.
    pub(super) fn text_len(&self) -> usize {
        let len = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        len(&self.user_name).saturating_add(len(&self.identity))
    }

    /// Its own bytes and those of its texts, and what counts who shares it.
    pub(super) fn len_held(&self) -> usize {
        { self.text_len() }
            .saturating_add(size_of::<Self>())
            .saturating_add(size_of::<[usize; 2]>())
    }
}

impl Peer {
    /// Its own bytes and those of its text.
    pub(super) fn len_held(&self) -> usize {
        let identity = self.identity.as_deref().map_or(0, str::len);
        identity.saturating_add(size_of::<Self>())
    }
}

impl Broker {
    /// Whose a session is.
    pub(super) fn owner_of(&self, key: Option<SessionKey>) -> Option<Arc<Owner>> {
        self.sessions.get(key?)?.owner.clone()
    }

    /// More is known now of the other end of a connection: a TLS handshake is over, a proxy has
    /// said for whom it speaks. What was known before is replaced; a connection that is gone is left
    /// alone. Meant for the time before CONNECT, as questions that were asked before carry what was
    /// known then.
    ///
    /// # Errors
    ///
    /// [`AcceptError::IdentityTooLong`]; nothing has changed then.
    pub fn identify(&mut self, id: ConnectionId, peer: Peer) -> Result<(), AcceptError> {
        let peer = self.known(peer)?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.peer = peer;
        }
        Ok(())
    }

    /// What is known of the other end of a connection; `None` when it is gone.
    #[must_use]
    pub fn peer(&self, id: ConnectionId) -> Option<&Peer> {
        self.connections.get(id).map(|connection| &*connection.peer)
    }

    /// Those of whom nothing is known share one.
    pub(super) fn known(&self, peer: Peer) -> Result<Arc<Peer>, AcceptError> {
        let identity_len = peer.identity.as_deref().map_or(0, str::len);
        if identity_len > self.config.identity_len_max {
            return Err(AcceptError::IdentityTooLong);
        }
        if peer == *self.nobody {
            return Ok(Arc::clone(&self.nobody));
        }
        Ok(Arc::new(peer))
    }

    /// Who is at the other end of a connection, or nobody.
    pub(super) fn peer_of(&self, id: Option<ConnectionId>) -> Arc<Peer> {
        let connection = id.and_then(|id| self.connections.get(id));
        Arc::clone(connection.map_or(&self.nobody, |connection| &connection.peer))
    }
}
