//! The third way of driving: in a thread of its own.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mqtt_state::Timestamp;
use mqtt_state::client::Event;

use super::Driver;
use crate::drive::{Machine, Pauses};

/// So long may a command wait.
const STEP: Duration = Duration::from_millis(20);

/// Something to do with the client of a [`Background`] driver.
type Command = Box<dyn FnOnce(&mut Machine, Timestamp) + Send>;

impl Driver {
    /// Runs in a thread of its own until [`Background::stop`].
    pub fn spawn(
        mut self,
        mut on_event: impl FnMut(&mut Machine, Event) + Send + 'static,
    ) -> Background {
        let (commands, inbox) = mpsc::channel::<Command>();
        let thread = thread::spawn(move || {
            let mut pauses = Pauses::new();
            let clock = self.clock;
            let mut on = |client: &mut Machine, pauses: &mut Pauses| {
                while let Some(event) = client.poll_event() {
                    if matches!(event, Event::Connected { .. }) {
                        pauses.connected(clock.now());
                    }
                    on_event(client, event);
                }
            };
            let mut next_attempt = clock.now();
            loop {
                let is_due = self.stream.is_none() && clock.now() >= next_attempt;
                if is_due {
                    let _fails_like_a_step = self.open();
                }
                if is_due || self.stream.is_some() {
                    let is_open = self.step(STEP);
                    on(&mut self.client, &mut pauses);
                    if !is_open {
                        next_attempt = clock.now() + pauses.next(clock.now());
                    }
                }
                // Without a connection there is nothing else to wait for.
                let mut wait = if self.stream.is_some() {
                    Duration::ZERO
                } else {
                    STEP
                };
                loop {
                    match inbox.recv_timeout(wait) {
                        Ok(command) => command(&mut self.client, self.clock.now()),
                        Err(mpsc::RecvTimeoutError::Timeout) => break,
                        Err(mpsc::RecvTimeoutError::Disconnected) => {
                            self.close();
                            return on(&mut self.client, &mut pauses);
                        }
                    }
                    wait = Duration::ZERO;
                }
            }
        });
        Background { commands, thread }
    }
}

/// A driver in a thread of its own.
#[derive(Debug)]
pub struct Background {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Does something with the client, there. `false` when the thread is gone.
    pub fn call(&self, command: impl FnOnce(&mut Machine, Timestamp) + Send + 'static) -> bool {
        self.commands.send(Box::new(command)).is_ok()
    }

    /// Says goodbye and waits for the thread.
    pub fn stop(self) {
        drop(self.commands);
        let _panicked = self.thread.join();
    }
}
