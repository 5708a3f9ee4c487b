//! MQTT over WebSocket: the payloads of binary frames are the bytes of a connection, wherever the
//! frames begin and end. Anything but binary frames ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::cut::{CutFrames, PIECE};
use super::target::Target;

/// The header that names what is spoken inside, and what it says here.
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const MQTT: &str = "mqtt";

/// The bytes that go through a WebSocket.
#[derive(Debug)]
pub struct WebSocketBytes<S> {
    frames: WebSocketStream<S>,
    /// Came in a frame and was not read yet.
    rest: Bytes,
    /// Something came that is no frame of MQTT.
    has_failed: bool,
}

/// Takes a client in. One that does not offer to speak MQTT gets status 400. Its frames may be as large as it
/// likes: nobody waits for a whole one.
pub async fn accept<S>(stream: S) -> Result<WebSocketBytes<CutFrames<S>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(piece))
        .max_frame_size(Some(piece));
    let stream = CutFrames::new(stream);
    let frames = tokio_tungstenite::accept_hdr_async_with_config(stream, choose, Some(config));
    let mut frames = frames.await?;
    // The first frame comes when the client has heard of this.
    frames.get_mut().begin();
    Ok(WebSocketBytes {
        frames,
        rest: Bytes::new(),
        has_failed: false,
    })
}

/// Opens a WebSocket to a broker.
pub async fn connect<S>(stream: S, target: &Target) -> anyhow::Result<WebSocketBytes<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(target)?;
    let (frames, response) = tokio_tungstenite::client_async(request, stream).await?;
    check_response(&response)?;
    Ok(WebSocketBytes {
        frames,
        rest: Bytes::new(),
        has_failed: false,
    })
}

/// What a client asks for.
pub fn request(target: &Target) -> anyhow::Result<client::Request> {
    let path = target.websocket_path.as_deref().unwrap_or("/");
    let scheme = if target.is_tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{path}", target.address);
    let mut request = url.into_client_request().context("no URL")?;
    let headers = request.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_static(MQTT));
    Ok(request)
}

/// Whether the broker chose MQTT.
pub fn check_response(response: &client::Response) -> anyhow::Result<()> {
    let chosen = response.headers().get(PROTOCOL);
    anyhow::ensure!(
        chosen.is_some_and(|chosen| chosen == MQTT),
        "the other side does not speak MQTT over its WebSocket"
    );
    Ok(())
}

/// The bytes of a frame; `None` when it is one that carries none.
pub fn bytes_of(message: Message) -> io::Result<Option<Bytes>> {
    match message {
        Message::Binary(bytes) => Ok(Some(bytes)),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(None),
        Message::Text(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a text frame, where only binary ones belong",
        )),
    }
}

/// An error of a WebSocket as one of the transport.
pub fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[expect(
    clippy::result_large_err,
    reason = "the signature is that of the callback"
)]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(PROTOCOL).iter();
    let offers_mqtt = offered
        .filter_map(|offer| offer.to_str().ok())
        .any(|offer| offer.split(',').any(|name| name.trim() == MQTT));
    if !offers_mqtt {
        let mut refusal = ErrorResponse::new(Some("the subprotocol is mqtt\n".to_owned()));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    let headers = response.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_static(MQTT));
    Ok(response)
}

/// Behind an error there are no frames any more, and what comes is handed out as it is: who reads until the
/// other side closes does not take back what it has not read yet.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.rest.has_remaining() {
            if self.has_failed {
                return Pin::new(self.frames.get_mut()).poll_read(context, buf);
            }
            match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(message) => {
                    let bytes = message.map_err(io_error).and_then(bytes_of);
                    self.has_failed = bytes.is_err();
                    self.rest = bytes?.unwrap_or_default();
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(context)).map_err(io_error)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.frames)
            .start_send(message)
            .map_err(io_error)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames)
            .poll_flush(context)
            .map_err(io_error)
    }

    /// Below the WebSocket, too: the other side waits for that when it has heard that this one is at its end.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.frames).poll_close(context)).map_err(io_error)?;
        Pin::new(self.frames.get_mut()).poll_shutdown(context)
    }
}
