//! Where clients come in: TCP, TLS and WebSocket.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use mqtt_state::broker::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::Server;
use super::connection::Admitted;
use crate::transport::{tls, websocket};

/// What clients speak below MQTT.
#[derive(Clone)]
pub enum Transport {
    /// Nothing.
    Tcp,
    /// TLS.
    Tls(Certificates),
    /// WebSocket, without TLS.
    WebSocket,
}

/// What is shown to those who come in through TLS, and asked of them: whoever comes later may get other ones.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<RwLock<Arc<ServerConfig>>>);

impl Certificates {
    /// These, until there are others.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Others, from the next connection on.
    pub(super) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place where clients come in.
pub struct Listener {
    number: u32,
    socket: TcpListener,
    transport: Transport,
}

impl Listener {
    /// Listens at a host and port. The machine knows the place by its number.
    pub async fn bind(number: u32, address: &str, transport: Transport) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self {
            number,
            socket,
            transport,
        })
    }

    /// Where that is, with the port that was chosen if none was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What clients speak below MQTT there.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }
}

/// A file that is open so that there can be another one.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Server {
    /// Serves every client that connects. Never comes back.
    pub async fn serve(&self, listener: Listener) {
        let mut spare = spare();
        let mut is_told = false;
        loop {
            match listener.socket.accept().await {
                Ok((stream, address)) => self.connect(stream, address, &listener),
                Err(error) => {
                    if !is_told {
                        crate::log!("cannot take in whoever comes: {error}");
                        is_told = true;
                    }
                    // Too many open files, for one. With one more the next who waits is let in, and closed: else
                    // he would wait for nothing.
                    drop(spare.take());
                    let has_failed = poll_fn(|context| {
                        let accepted = listener.socket.poll_accept(context);
                        Poll::Ready(matches!(accepted, Poll::Ready(Err(_))))
                    });
                    let has_failed = has_failed.await;
                    spare = self::spare();
                    if has_failed {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    fn connect(&self, stream: TcpStream, address: SocketAddr, listener: &Listener) {
        let _slower_without = stream.set_nodelay(true);
        let peer = Peer {
            address: Some(address),
            listener: Some(listener.number),
            identity: None,
        };
        if let Some(admitted) = self.admit(peer) {
            tokio::spawn(run(admitted, stream, listener.transport.clone()));
        }
    }
}

async fn run(admitted: Admitted, stream: TcpStream, transport: Transport) {
    match transport {
        Transport::Tcp => {
            let (read, write) = stream.into_split();
            admitted.carry(read, write).await;
        }
        Transport::Tls(certificates) => {
            let handshake = async {
                let stream = TlsAcceptor::from(certificates.current())
                    .accept(stream)
                    .await?;
                // The first certificate is the client's own, if it had to show one.
                if let Some([own, ..]) = stream.get_ref().1.peer_certificates() {
                    admitted.identify(tls::subject(own)?)?;
                }
                anyhow::Ok(stream)
            };
            if let Some(stream) = admitted.prepare(handshake).await {
                let (read, write) = tokio::io::split(stream);
                admitted.carry(read, write).await;
            }
        }
        Transport::WebSocket => {
            let handshake = websocket::accept(stream);
            if let Some(stream) = admitted.prepare(handshake).await {
                let (read, write) = tokio::io::split(stream);
                admitted.carry(read, write).await;
            }
        }
    }
}
