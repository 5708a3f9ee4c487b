//! The third way of driving: in a thread of its own.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mqtt_state::Timestamp;
use mqtt_state::client::Event;

use super::Driver;
use crate::drive::{Machine, Pauses};

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
            loop {
                if self.stream.is_none() && self.open().is_err() {
                    thread::sleep(pauses.next(self.clock.now()));
                }
                self.step(Duration::from_millis(20));
                on(&mut self.client, &mut pauses);
                loop {
                    match inbox.try_recv() {
                        Ok(command) => command(&mut self.client, self.clock.now()),
                        Err(mpsc::TryRecvError::Empty) => break,
                        Err(mpsc::TryRecvError::Disconnected) => {
                            self.close();
                            return on(&mut self.client, &mut pauses);
                        }
                    }
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
