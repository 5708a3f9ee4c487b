//! The third way of driving: in a task of its own.

use mqtt_state::Timestamp;
use mqtt_state::client::Event;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Driver;
use crate::drive::{Machine, Pauses};

/// Something to do with the client of a [`Background`] driver.
type Command = Box<dyn FnOnce(&mut Machine, Timestamp) + Send>;

impl Driver {
    /// Runs in a task of its own until [`Background::stop`].
    pub fn spawn(
        mut self,
        mut on_event: impl FnMut(&mut Machine, Event) + Send + 'static,
    ) -> Background {
        let (commands, mut inbox) = mpsc::channel::<Command>(64);
        let task = tokio::spawn(async move {
            let mut pauses = Pauses::new();
            loop {
                if self.stream.is_none() && self.open().await.is_err() {
                    sleep(pauses.next(self.clock.now())).await;
                    continue;
                }
                tokio::select! {
                    event = self.next_event() => if let Some(event) = event {
                        if matches!(event, Event::Connected { .. }) {
                            pauses.connected(self.clock.now());
                        }
                        on_event(&mut self.client, event);
                    },
                    command = inbox.recv() => match command {
                        Some(command) => command(&mut self.client, self.clock.now()),
                        None => break,
                    },
                }
            }
            self.close().await;
            while let Some(event) = self.client.poll_event() {
                on_event(&mut self.client, event);
            }
        });
        Background { commands, task }
    }
}

/// A driver in a task of its own.
#[derive(Debug)]
pub struct Background {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Background {
    /// Does something with the client, there. `false` when the task is gone.
    pub async fn call(
        &self,
        command: impl FnOnce(&mut Machine, Timestamp) + Send + 'static,
    ) -> bool {
        self.commands.send(Box::new(command)).await.is_ok()
    }

    /// Says goodbye and waits for the task.
    pub async fn stop(self) {
        drop(self.commands);
        let _panicked = self.task.await;
    }
}
