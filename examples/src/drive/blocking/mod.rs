//! The client machine on `std::net`, without any runtime.

mod background;
mod stream;

use std::io;
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use mqtt_codec::DisconnectReason;
use mqtt_state::client::Event;
use mqtt_state::{CloseCause, Timestamp, Transmit};

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
    input: Vec<u8>,
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
            input: Vec::new(),
        }
    }

    /// The time, for commands that want it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Opens a socket and begins the handshake.
    pub fn open(&mut self) -> anyhow::Result<()> {
        let stream = Stream::open(&self.settings)?;
        self.input.clear();
        self.fault = None;
        self.client.handle_close(self.clock.now());
        self.settings.connect(&mut self.client, self.clock.now())?;
        self.stream = Some(stream);
        self.flush();
        Ok(())
    }

    /// After the end of a connection: opens sockets until there is one on which a handshake begins, with pauses in
    /// between.
    ///
    /// # Errors
    ///
    /// The reason, where it is one to end.
    pub fn open_again(
        &mut self,
        reconnect: &mut Reconnect,
        cause: &CloseCause,
        error: anyhow::Error,
    ) -> anyhow::Result<()> {
        self.settings.go_on();
        let mut pause = reconnect.pause(self.now(), Some(cause), error)?;
        loop {
            thread::sleep(pause);
            match self.open() {
                Ok(()) => return Ok(()),
                Err(error) => pause = reconnect.pause(self.now(), None, error)?,
            }
        }
    }

    /// One step: sends what is due, and waits for bytes, for a deadline or for `wait`, whichever
    /// comes first. Drain [`poll_event`](mqtt_state::client::Client::poll_event) afterwards. `false` without a connection.
    pub fn step(&mut self, wait: Duration) -> bool {
        self.client.handle_timeout(self.clock.now());
        self.flush();
        self.receive(wait);
        self.flush();
        self.client.write_log();
        self.stream.is_some()
    }

    /// Runs until `on_event` breaks, with a new connection whenever one ends.
    pub fn run_forever(
        &mut self,
        mut on_event: impl FnMut(&mut Machine, Event) -> ControlFlow<()>,
    ) {
        let mut pauses = Pauses::new();
        loop {
            let mut connected = self.open().is_ok();
            while connected {
                connected = self.step(Duration::from_secs(1));
                while let Some(event) = self.client.poll_event() {
                    if matches!(event, Event::Connected { .. }) {
                        pauses.connected(self.clock.now());
                    }
                    if on_event(&mut self.client, event).is_break() {
                        return self.close();
                    }
                }
            }
            thread::sleep(pauses.next(self.clock.now()));
        }
    }

    /// Says goodbye and closes the socket.
    pub fn close(&mut self) {
        if let Some(stream) = &self.stream {
            let _closed_already = stream.limit_writes(LAST_BYTES);
        }
        let _not_connected = self
            .client
            .disconnect(self.clock.now(), DisconnectReason::NormalDisconnection);
        self.flush();
        self.drop_stream();
    }

    /// Writes what the machine has to say.
    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut out = Vec::new();
        loop {
            out.clear();
            let transmit = self.client.poll_transmit(self.clock.now(), CHUNK, &mut out);
            let written = stream.write_all(&out);
            match (transmit, written) {
                (Transmit::More, Ok(())) => {}
                (Transmit::Idle, Ok(())) => return,
                (Transmit::Close, _) => return self.drop_stream(),
                (Transmit::More | Transmit::Idle, Err(error)) => return self.hear_why(error),
            }
        }
    }

    /// Reads what has come and hands it to the machine. What that had no room for comes first: nothing may
    /// come behind it.
    fn receive(&mut self, wait: Duration) {
        if self.hand_in() > 0 {
            return;
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        if self.client.wants_input() {
            let now = self.clock.now();
            let due = self
                .client
                .poll_timeout()
                .map_or(wait, |timeout| timeout.at.saturating_since(now).min(wait));
            let mut chunk = [0; CHUNK];
            match stream.read_within(due, &mut chunk) {
                Ok(0) => return self.drop_stream(),
                Ok(len) => self
                    .input
                    .extend_from_slice(chunk.get(..len).unwrap_or_default()),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return self.lose(error),
            }
        }
        self.hand_in();
    }

    /// Offers the machine what there is. Answers how many bytes it took.
    fn hand_in(&mut self) -> usize {
        let taken = self.client.handle_input(self.clock.now(), &self.input);
        self.input.drain(..taken.bytes);
        taken.bytes
    }

    fn drop_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close(LAST_BYTES);
        }
        self.client.handle_close(self.clock.now());
    }

    /// Nothing can be written any more. The broker may have said why before: that is read first.
    fn hear_why(&mut self, error: io::Error) {
        self.fault = Some(error);
        let end = self.clock.now() + LAST_BYTES;
        while self.stream.is_some() && self.client.wants_input() {
            let left = end.saturating_since(self.clock.now());
            if left.is_zero() {
                break;
            }
            self.receive(left);
        }
        self.drop_stream();
    }

    fn lose(&mut self, error: io::Error) {
        self.fault.get_or_insert(error);
        self.drop_stream();
    }

    /// What ended the last connection, where that was a fault of what is below MQTT.
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }
}
