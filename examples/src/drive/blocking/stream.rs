//! The way to a broker: TCP, and TLS and WebSocket on top of it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message};

use crate::drive::CHUNK;
use crate::settings::Settings;
use crate::transport::target::Target;
use crate::transport::{tls, websocket};

/// A connection, whatever it goes through.
pub(super) struct Stream {
    /// For what is done with the socket itself.
    socket: TcpStream,
    bytes: Box<dyn Bytewise>,
}

/// Bytes in both directions, and an end to those that go out.
trait Bytewise: Read + Write + Send {
    fn finish(&mut self) -> io::Result<()>;
}

impl Stream {
    /// Opens the connection that the settings describe.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let target: Target = settings.address.parse()?;
        let address = &target.address;
        let mut stream =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let socket = stream.try_clone()?;
        socket.set_read_timeout(Some(settings.handshake))?;
        socket.set_write_timeout(Some(settings.handshake))?;
        let bytes = if target.is_tls {
            let config = tls::client_config(&settings.tls)?;
            let mut session = ClientConnection::new(config, tls::server_name(&target.host)?)?;
            session
                .complete_io(&mut stream)
                .map_err(in_time)
                .with_context(|| format!("TLS with {address}"))?;
            over(StreamOwned::new(session, stream), &target)?
        } else {
            over(stream, &target)?
        };
        // Waiting until something can be written is no time in which the broker is heard.
        let keep_alive = Duration::from_secs(settings.keep_alive_secs.into());
        socket.set_write_timeout(Some(keep_alive).filter(|wait| !wait.is_zero()))?;
        Ok(Self { socket, bytes })
    }

    /// Writes all of it, down to the socket.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self
            .bytes
            .write_all(bytes)
            .and_then(|()| self.bytes.flush());
        written.map_err(in_time)
    }

    /// Waits for bytes, so long at most: `WouldBlock` or `TimedOut` when none came.
    pub(super) fn read_within(&mut self, wait: Duration, buf: &mut [u8]) -> io::Result<usize> {
        // A timeout of zero would mean to wait for ever.
        let wait = wait.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait))?;
        self.bytes.read(buf)
    }

    /// From here on a peer that does not read ends the connection.
    pub(super) fn limit_writes(&self, wait: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(wait))
    }

    /// Says that nothing more comes, and closes the socket when the other side has said so too, or after
    /// `wait`. Until then what it sends is read: a socket that is closed with something unread takes back
    /// what was written and not read over there, such as the last acknowledgements.
    pub(super) fn close(mut self, wait: Duration) {
        let end = Instant::now() + wait;
        let _lost_already = self.bytes.finish();
        let _closed_already = self.socket.shutdown(Shutdown::Write);
        let mut rest = [0; CHUNK];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match self.socket.read(&mut rest) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// The errors with which systems say that a time is over, in words.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "no answer in time")
        }
        _ => error,
    }
}

/// With a WebSocket on top, if there has to be one.
fn over<S: Bytewise + 'static>(stream: S, target: &Target) -> anyhow::Result<Box<dyn Bytewise>> {
    if target.websocket_path.is_none() {
        return Ok(Box::new(stream));
    }
    let opened = tungstenite::client(websocket::request(target)?, stream);
    // The error of a handshake that was interrupted holds the stream: as text it does not.
    let opened = opened.map_err(|error| match error {
        HandshakeError::Interrupted(_) => anyhow::Error::from(in_time(ErrorKind::TimedOut.into())),
        HandshakeError::Failure(error) => anyhow::anyhow!("{error}"),
    });
    let (frames, response) = opened.with_context(|| format!("WebSocket at {}", target.address))?;
    websocket::check_response(&response)?;
    let rest = Bytes::new();
    Ok(Box::new(WebSocketBytes { frames, rest }))
}

impl Bytewise for TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bytewise for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()
    }
}

/// The bytes that go through a WebSocket.
struct WebSocketBytes<S> {
    frames: WebSocket<S>,
    /// Came in a frame and was not read yet.
    rest: Bytes,
}

impl<S: Read + Write> Read for WebSocketBytes<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.rest.has_remaining() {
            match self.frames.read() {
                Ok(message) => self.rest = websocket::bytes_of(message)?.unwrap_or_default(),
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(0);
                }
                Err(error) => return Err(websocket::io_error(error)),
            }
        }
        self.rest
            .as_ref()
            .read(buf)
            .inspect(|len| self.rest.advance(*len))
    }
}

impl<S: Read + Write> Write for WebSocketBytes<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.frames.write(message).map_err(websocket::io_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.frames.flush().map_err(websocket::io_error)
    }
}

impl<S: Read + Write + Send> Bytewise for WebSocketBytes<S> {
    fn finish(&mut self) -> io::Result<()> {
        self.frames.close(None).map_err(websocket::io_error)
    }
}
