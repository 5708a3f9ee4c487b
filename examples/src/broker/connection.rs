//! One connection: bytes between its transport and the machine.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use mqtt_state::broker::{self, ConnectionId};
use mqtt_state::{Pieces, Transmit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{Peer, Server};

/// Bytes asked of the machine in one go.
const CHUNK: usize = 64 * 1024;

/// Bytes asked of a transport in one go, at most. What they hold goes to all who want it before more is
/// read: so many messages have to find room in the queues of those who would get them at once.
const INPUT_CHUNK_MAX: usize = 8 * 1024;

/// Bytes of the smallest PUBLISH that means something: a header, a topic of one byte, and one of payload.
const PUBLISH_MIN: usize = 6;

/// So long may the last bytes of a connection take.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// A connection that the machine knows, until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    server: Server,
    id: ConnectionId,
    peer: Arc<Peer>,
}

/// Bytes asked of a transport in one go where so many messages may wait for one client: not more than
/// these can be.
pub(super) fn input_chunk(waiting_len_max: usize) -> usize {
    waiting_len_max
        .saturating_mul(PUBLISH_MIN)
        .clamp(PUBLISH_MIN, INPUT_CHUNK_MAX)
}

impl Server {
    /// Tells the machine of a connection, if there is room for it. From here on its time for CONNECT
    /// runs, whatever the transport has to say first.
    pub(super) fn admit(&self, who: broker::Peer) -> Option<Admitted> {
        let peer = Arc::new(Peer {
            who: who.clone(),
            ready: Notify::new(),
            input: Notify::new(),
            hung_up: AtomicBool::new(false),
            closed: Notify::new(),
            is_over: AtomicBool::new(false),
        });
        let accepted = self.locked(|state| {
            let now = self.shared.clock.now();
            let id = state.broker.accept(now, who);
            match &id {
                Ok(id) => drop(state.peers.insert(*id, Arc::clone(&peer))),
                Err(error) => state.report.refusal(now, &peer.who, error),
            }
            id
        });
        let id = accepted.ok()?;
        let server = self.clone();
        Some(Admitted { server, id, peer })
    }
}

impl Admitted {
    /// What the transport does before the first byte of MQTT. `None` when that fails or takes longer
    /// than CONNECT may.
    pub(super) async fn prepare<S, E: Into<anyhow::Error>>(
        &self,
        handshake: impl Future<Output = Result<S, E>>,
    ) -> Option<S> {
        let error: anyhow::Error = tokio::select! {
            done = handshake => match done {
                Ok(stream) => return Some(stream),
                Err(error) => error.into(),
            },
            () = self.peer.closed.notified() => return None,
        };
        let now = self.server.shared.clock.now();
        self.server
            .locked(|state| state.report.no_connection(now, &self.peer.who, &error));
        None
    }

    /// The transport says who is there. Somebody who says too much of himself is not served.
    pub(super) fn identify(&self, identity: String) -> Result<(), broker::AcceptError> {
        let mut who = self.peer.who.clone();
        who.identity = Some(identity.into());
        self.server
            .locked(|state| state.broker.identify(self.id, who))
    }

    /// Carries bytes until the connection is over.
    pub(super) async fn carry(
        self,
        mut read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin,
    ) {
        let (server, id, peer) = (self.server.clone(), self.id, Arc::clone(&self.peer));
        let (finish, finished) = oneshot::channel();
        let mut reader = tokio::spawn(async move {
            tokio::select! {
                () = Self::read(server, id, peer, &mut read) => {}
                Ok(()) = finished => {}
            }
            // All is said, or heard. What the client sends is read until it closes, and is nobody's: a socket
            // that is closed with something unread takes back what was written and not read over there, such
            // as the reason why.
            let _lost_already = copy(&mut read, &mut sink()).await;
        });
        match self.write(write).await {
            Ok(()) => {
                let _over_already = finish.send(());
            }
            // The client hung up, and may have acknowledged much before: that is still to be read.
            Err(_lost) => {
                self.peer.hung_up.store(true, Ordering::Relaxed);
                self.peer.input.notify_one();
            }
        }
        // Not of more than so many at once: the machine does not count them any more.
        if let Ok(_place) = self.server.shared.endings.try_acquire() {
            let _still_open = timeout(LAST_BYTES, &mut reader).await;
        }
        reader.abort();
    }

    /// Carries bytes from the transport to the machine.
    async fn read(
        server: Server,
        id: ConnectionId,
        peer: Arc<Peer>,
        mut transport: impl AsyncRead + Unpin,
    ) {
        let (clock, chunk_max) = (server.shared.clock, server.shared.input_chunk);
        let mut input = BytesMut::new();
        // So much more completes the packet at the front.
        let mut missing = 0;
        'transport: loop {
            input.reserve(chunk_max);
            // The buffer may have more room than that.
            let mut chunk = (&mut input).limit(chunk_max.max(missing));
            match transport.read_buf(&mut chunk).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
            loop {
                let wants_more;
                (missing, wants_more) = server.locked(|state| {
                    let broker = &mut state.broker;
                    let consumed = broker.handle_input_shared(clock.now(), id, &mut input);
                    (consumed.need, broker.wants_input(id))
                });
                if !wants_more {
                    if peer.hung_up.load(Ordering::Relaxed) {
                        break 'transport;
                    }
                    // The client does not read its answers: no more questions until it does.
                    peer.input.notified().await;
                    continue;
                }
                // Those who were woken write first.
                yield_now().await;
                if missing > 0 || input.is_empty() {
                    break;
                }
                // Whole packets are left that were too much for one call, and nothing may come behind them.
            }
        }
        server.locked(|state| state.broker.handle_close(clock.now(), id));
        peer.closed.notify_one();
        peer.ready.notify_one();
    }

    /// Carries bytes from the machine to the transport.
    async fn write(&self, mut transport: impl AsyncWrite + Unpin) -> io::Result<()> {
        let Self { server, id, peer } = self;
        let mut out = Pieces::new();
        loop {
            out.clear();
            let now = server.shared.clock.now();
            let transmit = server.locked(|state| {
                let broker = &mut state.broker;
                broker.poll_transmit_vectored(now, *id, CHUNK, &mut out)
            });
            peer.input.notify_one();
            {
                let mut written = pin!(async {
                    transport.write_all_buf(&mut out).await?;
                    transport.flush().await
                });
                tokio::select! {
                    written = &mut written => written?,
                    // Over, and the client does not read: it gets a last moment.
                    () = peer.closed.notified() => timeout(LAST_BYTES, written).await??,
                }
            }
            match transmit {
                // There is work behind it, such as a look at all retained topics: others come in between.
                Transmit::More => yield_now().await,
                Transmit::Idle => peer.ready.notified().await,
                Transmit::Close => return timeout(LAST_BYTES, transport.shutdown()).await?,
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let now = self.server.shared.clock.now();
        self.server
            .locked(|state| state.broker.handle_close(now, self.id));
        // Not before its end is told: that is by its address.
        self.server.locked(|state| state.peers.remove(&self.id));
    }
}
