//! The client machine on tokio.

mod background;

use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, BytesMut};
use mqtt_codec::DisconnectReason;
use mqtt_state::client::{Client, Event};
use mqtt_state::{Timestamp, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

pub use background::Background;

use super::{CHUNK, Pauses};
use crate::clock::Clock;
use crate::settings::Settings;

/// A client with a socket and a clock.
#[derive(Debug)]
pub struct Driver {
    /// The machine: commands go to it directly.
    pub client: Client,
    settings: Settings,
    clock: Clock,
    stream: Option<TcpStream>,
    /// Came in and was not taken yet.
    input: BytesMut,
    /// Goes out and was not written yet.
    output: Cursor<Vec<u8>>,
    /// The socket is closed when `output` is written.
    closing: bool,
}

impl Driver {
    /// A driver without a connection.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self {
            client,
            settings,
            clock: Clock::new(),
            stream: None,
            input: BytesMut::new(),
            output: Cursor::default(),
            closing: false,
        }
    }

    /// The time, for commands that want it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Opens a socket and begins the handshake.
    pub async fn open(&mut self) -> anyhow::Result<()> {
        let address = &self.settings.address;
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        self.drop_stream();
        self.settings.connect(&mut self.client, self.clock.now())?;
        self.stream = Some(stream);
        Ok(())
    }

    /// One step at a time: the next event, after as many bytes and deadlines as it takes. `None`
    /// without a connection. Nothing is lost when it is dropped and called again.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            let _rest_stays = self
                .client
                .handle_input_shared(self.clock.now(), &mut self.input);
            if let Some(event) = self.client.poll_event() {
                return Some(event);
            }
            self.fill_output();
            if self.closing && !self.output.has_remaining() {
                self.drop_stream();
                continue;
            }
            let (mut read, mut write) = self.stream.as_mut()?.split();
            let due = self
                .client
                .poll_timeout()
                .map(|timeout| timeout.at.saturating_since(self.clock.now()));
            self.input.reserve(CHUNK);
            tokio::select! {
                written = write.write_buf(&mut self.output), if self.output.has_remaining() => {
                    if written.is_err() {
                        self.drop_stream();
                    }
                }
                read = read.read_buf(&mut self.input), if self.client.wants_input() => {
                    if !matches!(read, Ok(1..)) {
                        self.drop_stream();
                    }
                }
                () = sleep(due.unwrap_or(Duration::from_secs(3600))) => {
                    self.client.handle_timeout(self.clock.now());
                }
            }
        }
    }

    /// Runs until `on_event` breaks, with a new connection whenever one ends.
    pub async fn run_forever(
        &mut self,
        mut on_event: impl FnMut(&mut Client, Event) -> ControlFlow<()>,
    ) {
        let mut pauses = Pauses::new();
        loop {
            if self.open().await.is_ok() {
                while let Some(event) = self.next_event().await {
                    if matches!(event, Event::Connected { .. }) {
                        pauses.connected(self.clock.now());
                    }
                    if on_event(&mut self.client, event).is_break() {
                        return self.close().await;
                    }
                }
            }
            sleep(pauses.next(self.clock.now())).await;
        }
    }

    /// Says goodbye and closes the socket.
    pub async fn close(&mut self) {
        let _not_connected = self
            .client
            .disconnect(self.clock.now(), DisconnectReason::NormalDisconnection);
        self.fill_output();
        while self.output.has_remaining() {
            let Some(stream) = &mut self.stream else {
                break;
            };
            if stream.write_all_buf(&mut self.output).await.is_err() {
                break;
            }
            self.fill_output();
        }
        self.drop_stream();
    }

    /// Asks the machine for bytes when those before are written.
    fn fill_output(&mut self) {
        if !self.output.has_remaining() && !self.closing {
            let bytes = self.output.get_mut();
            bytes.clear();
            self.closing =
                self.client.poll_transmit(self.clock.now(), CHUNK, bytes) == Transmit::Close;
            self.output.set_position(0);
        }
    }

    fn drop_stream(&mut self) {
        self.stream = None;
        self.closing = false;
        self.input.clear();
        self.output = Cursor::default();
        self.client.handle_close(self.clock.now());
    }
}
