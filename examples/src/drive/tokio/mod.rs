//! The client machine on tokio.

mod background;
mod stream;

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use mqtt_codec::DisconnectReason;
use mqtt_state::client::{Event, State};
use mqtt_state::{CloseCause, Pieces, Timestamp, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};
use tokio::time::{sleep, timeout};

pub use background::Background;

use super::{CHUNK, LAST_BYTES, Machine, Pauses, Reconnect};
use crate::clock::Clock;
use crate::settings::Settings;
use stream::Stream;

/// A client with a socket and a clock.
#[derive(Debug)]
pub struct Driver {
    /// The machine: commands go to it directly.
    pub client: Machine,
    settings: Settings,
    clock: Clock,
    stream: Option<Stream>,
    /// What ended the last connection, where that was a fault of what is below MQTT.
    fault: Option<io::Error>,
    /// Came in and was not taken yet.
    input: BytesMut,
    /// Goes out and was not written yet.
    output: Pieces,
    /// Something was written that may not have reached the socket.
    unflushed: bool,
    /// The socket is closed when `output` is written.
    closing: bool,
    /// So long may what is left take: the machine is done, or nothing can be written any more, where the broker
    /// may have said why before.
    over_by: Option<Timestamp>,
    /// Nothing can be written any more.
    is_deaf: bool,
    /// Some of `output` has to be written by then: the machine cannot know how a transport gets on.
    stalls_at: Option<Timestamp>,
}

impl Driver {
    /// A driver without a connection.
    pub fn new(client: impl Into<Machine>, settings: Settings) -> Self {
        Self {
            client: client.into(),
            settings,
            clock: Clock::new(),
            stream: None,
            fault: None,
            input: BytesMut::new(),
            output: Pieces::new(),
            unflushed: false,
            closing: false,
            over_by: None,
            is_deaf: false,
            stalls_at: None,
        }
    }

    /// The time, for commands that want it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Opens a socket and begins the handshake.
    pub async fn open(&mut self) -> anyhow::Result<()> {
        let stream = Stream::open(&self.settings).await?;
        self.begin(stream)
    }

    /// After the end of a connection: opens sockets until there is one on which a handshake begins, with pauses in
    /// between.
    ///
    /// # Errors
    ///
    /// The reason, where it is one to end.
    pub async fn open_again(
        &mut self,
        reconnect: &mut Reconnect,
        cause: &CloseCause,
        error: anyhow::Error,
    ) -> anyhow::Result<()> {
        self.settings.go_on();
        let mut pause = reconnect.pause(self.now(), Some(cause), error)?;
        loop {
            sleep(pause).await;
            match self.open().await {
                Ok(()) => return Ok(()),
                Err(error) => pause = reconnect.pause(self.now(), None, error)?,
            }
        }
    }

    /// Begins the handshake on a socket that has just been opened.
    fn begin(&mut self, stream: Stream) -> anyhow::Result<()> {
        self.drop_stream();
        self.fault = None;
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
            self.client.write_log();
            // What became of a message may be told without a byte of it.
            if !self.output.has_remaining()
                && let Some(event) = self.client.poll_event()
            {
                return Some(event);
            }
            if self.closing && !self.output.has_remaining() && !self.unflushed {
                self.finish().await;
                continue;
            }
            let now = self.clock.now();
            if self.client.state() == State::Ending {
                self.over_by.get_or_insert(now + LAST_BYTES);
            }
            if self
                .over_by
                .is_some_and(|end| end <= now || !self.client.wants_input())
            {
                self.drop_stream();
                continue;
            }
            let Stream { read, write } = self.stream.as_mut()?;
            let timeout = self.client.poll_timeout().map(|timeout| timeout.at);
            let patience = Duration::from_secs(self.settings.keep_alive_secs.into());
            if self.output.has_remaining() && !patience.is_zero() {
                self.stalls_at.get_or_insert(now + patience);
            }
            let ends = self.over_by.into_iter().chain(self.stalls_at);
            let due = timeout.into_iter().chain(ends).min();
            let due = due.map(|due| due.saturating_since(now));
            self.input.reserve(CHUNK);
            tokio::select! {
                sent = send(write, &mut self.output, &mut self.unflushed),
                    if self.output.has_remaining() || self.unflushed =>
                {
                    self.stalls_at = None;
                    if let Err(error) = sent {
                        self.fault = Some(error);
                        self.is_deaf = true;
                        self.over_by = Some(self.clock.now() + LAST_BYTES);
                        self.output.clear();
                        self.unflushed = false;
                    }
                }
                read = read.read_buf(&mut self.input), if self.client.wants_input() => match read {
                    Ok(1..) => {}
                    Ok(0) => self.drop_stream(),
                    Err(error) => self.lose(error),
                },
                () = sleep(due.unwrap_or(Duration::from_secs(3600))) => {
                    let now = self.clock.now();
                    self.client.handle_timeout(now);
                    if self.stalls_at.take_if(|at| *at <= now).is_some() {
                        // Perhaps nobody has asked for so long.
                        let some = send(write, &mut self.output, &mut self.unflushed);
                        if tokio::time::timeout(Duration::ZERO, some).await.is_err() {
                            self.lose(io::ErrorKind::TimedOut.into());
                        }
                    }
                }
            }
        }
    }

    /// Runs until `on_event` breaks, with a new connection whenever one ends.
    pub async fn run_forever(
        &mut self,
        mut on_event: impl FnMut(&mut Machine, Event) -> ControlFlow<()>,
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
        let _lost_already = timeout(LAST_BYTES, self.write_rest()).await;
        self.finish().await;
    }

    /// Writes what the machine has to say until it has nothing more.
    async fn write_rest(&mut self) -> io::Result<()> {
        self.fill_output();
        while self.output.has_remaining()
            && let Some(stream) = &mut self.stream
        {
            stream.write.write_all_buf(&mut self.output).await?;
            self.fill_output();
        }
        Ok(())
    }

    /// What ended the last connection, where that was a fault of what is below MQTT.
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// Says that nothing more comes, as TLS and WebSocket want it, and closes the socket when the other side
    /// has said so too. Until then what it sends is read: a socket that is closed with something unread takes
    /// back what was written and not read over there, such as the last acknowledgements.
    async fn finish(&mut self) {
        if let Some(Stream { read, write }) = &mut self.stream {
            let goodbye = async {
                write.shutdown().await?;
                copy(read, &mut sink()).await
            };
            let _lost_already = timeout(LAST_BYTES, goodbye).await;
        }
        self.drop_stream();
    }

    fn lose(&mut self, error: io::Error) {
        self.fault.get_or_insert(error);
        self.drop_stream();
    }

    /// Asks the machine for bytes when those before are written.
    fn fill_output(&mut self) {
        if !self.output.has_remaining() && !self.closing && !self.is_deaf {
            let (now, output) = (self.clock.now(), &mut self.output);
            let transmit = self.client.poll_transmit_vectored(now, CHUNK, output);
            self.closing = transmit == Transmit::Close;
        }
    }

    fn drop_stream(&mut self) {
        self.stream = None;
        self.over_by = None;
        self.is_deaf = false;
        self.stalls_at = None;
        self.closing = false;
        self.unflushed = false;
        self.input.clear();
        self.output.clear();
        self.client.handle_close(self.clock.now());
    }
}

/// Writes some of the output or, when all is written, what may not have reached the socket. Nothing
/// is lost when it is dropped.
async fn send(
    write: &mut (impl AsyncWrite + Unpin),
    output: &mut Pieces,
    unflushed: &mut bool,
) -> io::Result<()> {
    if output.has_remaining() {
        write.write_buf(output).await?;
        *unflushed = true;
    } else {
        write.flush().await?;
        *unflushed = false;
    }
    Ok(())
}
