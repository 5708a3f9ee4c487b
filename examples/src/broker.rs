//! A broker on tokio: the machine behind a lock, two tasks for each connection, one for time.
//!
//! A subscriber that does not read holds up its own writing task and nothing else: what waits for
//! it is bounded by the machine.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use mqtt_state::broker::{Broker, Config, ConnectionId, Event};
use mqtt_state::{CloseCause, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;

/// Bytes asked of the machine, and of a socket, in one go.
const CHUNK: usize = 64 * 1024;

/// So long may the last bytes of a connection take.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// A broker that any number of tasks share.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// The next deadline may have changed.
    timer: Notify,
    /// Whether everything is printed, or faults alone.
    verbose: bool,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    peers: BTreeMap<ConnectionId, Arc<Peer>>,
}

/// How the tasks of one connection are woken.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// There is output.
    ready: Notify,
    /// Input that was refused may be taken now.
    input: Notify,
    /// The machine is done with the connection.
    closed: Notify,
}

impl Server {
    /// A broker without connections.
    pub fn new(config: Config, verbose: bool) -> Self {
        let message_events = verbose;
        let broker = Broker::new(Config {
            message_events,
            ..config
        });
        let state = Mutex::new(State {
            broker,
            peers: BTreeMap::new(),
        });
        Self {
            shared: Arc::new(Shared {
                clock: Clock::new(),
                state,
                timer: Notify::new(),
                verbose,
            }),
        }
    }

    /// Serves every client that connects. Never comes back.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.connect(stream, address),
                // Too many open files, for one: wait until some are closed.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Keeps the machine's deadlines. Never comes back.
    pub async fn keep_time(&self) {
        loop {
            let due = self.locked(|state| state.broker.poll_timeout());
            let wait = due.map_or(Duration::from_secs(3600), |due| {
                due.at.saturating_since(self.shared.clock.now())
            });
            tokio::select! {
                () = sleep(wait) => self.locked(|state| state.broker.handle_timeout(self.shared.clock.now())),
                () = self.shared.timer.notified() => {}
            }
        }
    }

    /// Says goodbye to all clients and waits until they have read it, for two seconds at most.
    pub async fn shut_down(&self) {
        self.locked(|state| state.broker.shutdown(self.shared.clock.now()));
        for _ in 0..40 {
            if self.locked(|state| state.peers.is_empty()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn connect(&self, stream: TcpStream, address: SocketAddr) {
        let _slower_without = stream.set_nodelay(true);
        let peer = Arc::new(Peer {
            address,
            ready: Notify::new(),
            input: Notify::new(),
            closed: Notify::new(),
        });
        let accepted = self.locked(|state| {
            let id = state.broker.accept(self.shared.clock.now());
            if let Ok(id) = id {
                state.peers.insert(id, Arc::clone(&peer));
            }
            id
        });
        match accepted {
            Ok(id) => {
                let (read, write) = stream.into_split();
                let reader = tokio::spawn(self.clone().read(id, read, Arc::clone(&peer)));
                let server = self.clone();
                tokio::spawn(async move {
                    let _lost = server.write(id, write, &peer).await;
                    reader.abort();
                    server.forget(id);
                });
            }
            Err(error) => crate::log!("{address}: {error}"),
        }
    }

    /// Carries bytes from a socket to the machine.
    async fn read(self, id: ConnectionId, mut socket: OwnedReadHalf, peer: Arc<Peer>) {
        let mut input = BytesMut::new();
        loop {
            input.reserve(CHUNK);
            match socket.read_buf(&mut input).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
            loop {
                let wants_more = self.locked(|state| {
                    let _rest_stays =
                        state
                            .broker
                            .handle_input_shared(self.shared.clock.now(), id, &mut input);
                    state.broker.wants_input(id)
                });
                if wants_more {
                    break;
                }
                // The client does not read its answers: no more questions until it does.
                peer.input.notified().await;
            }
        }
        self.locked(|state| state.broker.handle_close(self.shared.clock.now(), id));
        peer.closed.notify_one();
        peer.ready.notify_one();
    }

    /// Carries bytes from the machine to a socket.
    async fn write(
        &self,
        id: ConnectionId,
        mut socket: OwnedWriteHalf,
        peer: &Peer,
    ) -> io::Result<()> {
        let mut out = Vec::new();
        loop {
            out.clear();
            let now = self.shared.clock.now();
            let transmit =
                self.locked(|state| state.broker.poll_transmit(now, id, CHUNK, &mut out));
            peer.input.notify_one();
            let mut written = pin!(socket.write_all(&out));
            tokio::select! {
                written = &mut written => written?,
                // Over, and the client does not read: it gets a last moment.
                () = peer.closed.notified() => timeout(LAST_BYTES, written).await??,
            }
            match transmit {
                Transmit::More => {}
                Transmit::Idle => peer.ready.notified().await,
                Transmit::Close => return socket.shutdown().await,
            }
        }
    }

    fn forget(&self, id: ConnectionId) {
        self.locked(|state| {
            state.broker.handle_close(self.shared.clock.now(), id);
            state.peers.remove(&id);
        });
    }

    /// Does something with the machine, and then what the machine asks for.
    fn locked<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = state.broker.poll_timeout();
        let result = action(&mut state);
        while let Some(event) = state.broker.poll_event() {
            if let Event::Closed { connection, .. } = &event
                && let Some(peer) = state.peers.get(connection)
            {
                peer.closed.notify_one();
                peer.ready.notify_one();
            }
            self.report(&state, &event);
        }
        while let Some(id) = state.broker.poll_ready() {
            if let Some(peer) = state.peers.get(&id) {
                peer.ready.notify_one();
            }
        }
        if state.broker.poll_timeout() != before {
            self.shared.timer.notify_one();
        }
        result
    }

    /// Prints an event: everything with `--verbose`, faults of clients always.
    fn report(&self, state: &State, event: &Event) {
        let fault = matches!(
            event,
            Event::Closed {
                cause: CloseCause::ProtocolError(_),
                ..
            }
        );
        if !self.shared.verbose && !fault {
            return;
        }
        let at = self.shared.clock.now();
        let address = |id: &ConnectionId| {
            state
                .peers
                .get(id)
                .map_or(String::new(), |peer| peer.address.to_string())
        };
        match event {
            Event::Connected {
                connection,
                client_id,
                version,
                session_present,
            } => {
                let session = if *session_present {
                    ", session resumed"
                } else {
                    ""
                };
                crate::log!(
                    "{at} {client_id}: connected from {}, MQTT {version}{session}",
                    address(connection)
                );
            }
            Event::Closed {
                connection,
                client_id,
                cause,
                text,
            } => {
                let who = client_id
                    .as_deref()
                    .map_or_else(|| address(connection), str::to_owned);
                let text = text
                    .as_ref()
                    .map_or(String::new(), |text| format!(" in {text:?}"));
                crate::log!("{at} {who}: closed: {cause}{text}");
            }
            Event::Subscribed {
                client_id,
                filter,
                reason,
            } => crate::log!("{at} {client_id}: subscribe {filter}: {reason}"),
            Event::Unsubscribed {
                client_id,
                filter,
                existed,
            } => {
                let existed = if *existed {
                    ""
                } else {
                    " (was not subscribed)"
                };
                crate::log!("{at} {client_id}: unsubscribe {filter}{existed}");
            }
            Event::Published {
                client_id,
                topic,
                qos,
                retain,
                payload_len,
                receivers,
            } => {
                let who = client_id.as_deref().unwrap_or("broker");
                let retain = if *retain { ", retained" } else { "" };
                crate::log!(
                    "{at} {who}: publish {topic}, QoS {qos}{retain}, {payload_len} bytes, to {receivers}"
                );
            }
            Event::Dropped {
                client_id,
                topic,
                cause,
            } => crate::log!("{at} {client_id}: dropped {topic}: {cause:?}"),
            Event::NotRetained { topic } => crate::log!("{at} not retained, no room: {topic}"),
            Event::WillPublished { client_id, topic } => {
                crate::log!("{at} {client_id}: will published to {topic}")
            }
            Event::SessionEnded { client_id } => crate::log!("{at} {client_id}: session ended"),
            other => crate::log!("{at} {other:?}"),
        }
    }
}
