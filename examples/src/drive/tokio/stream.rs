//! The way to a broker: TCP, and TLS and WebSocket on top of it.

use std::fmt;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::settings::Settings;
use crate::transport::target::Target;
use crate::transport::{tls, websocket};

/// Both directions of a connection, whatever it goes through.
pub(super) struct Stream {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Stream {
    /// Opens the connection that the settings describe.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let target: Target = settings.address.parse()?;
        let address = &target.address;
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let over = Self::over_tcp(stream, settings, &target);
        timeout(settings.handshake, over).await.unwrap_or_else(|_| {
            let error = anyhow::anyhow!("no answer in time");
            Err(error.context(format!("{address}: TLS or WebSocket")))
        })
    }

    /// With all that has to be on top of it.
    async fn over_tcp(
        stream: TcpStream,
        settings: &Settings,
        target: &Target,
    ) -> anyhow::Result<Self> {
        let address = &target.address;
        if target.is_tls {
            let connector = TlsConnector::from(tls::client_config(&settings.tls)?);
            let name = tls::server_name(&target.host)?;
            let stream = connector.connect(name, stream);
            let stream = stream
                .await
                .with_context(|| format!("TLS with {address}"))?;
            Self::over(stream, target).await
        } else if target.websocket_path.is_some() {
            Self::over(stream, target).await
        } else {
            let (read, write) = stream.into_split();
            Ok(Self {
                read: Box::new(read),
                write: Box::new(write),
            })
        }
    }

    /// With a WebSocket on top, if there has to be one.
    async fn over<S>(stream: S, target: &Target) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if target.websocket_path.is_none() {
            return Ok(Self::split(stream));
        }
        let frames = websocket::connect(stream, target).await;
        let frames = frames.with_context(|| format!("WebSocket at {}", target.address))?;
        Ok(Self::split(frames))
    }

    fn split(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self {
            read: Box::new(read),
            write: Box::new(write),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
