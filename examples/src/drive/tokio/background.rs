//! The third way of driving: in a task of its own.

use std::time::Duration;

use mqtt_state::Timestamp;
use mqtt_state::client::Event;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Driver;
use super::stream::Stream;
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
            let mut pause = Duration::ZERO;
            // Commands are carried out meanwhile, whatever that takes.
            while let Some(stream) = self.open_after(pause, &mut inbox).await {
                if stream.is_ok_and(|stream| self.begin(stream).is_ok()) {
                    self.serve(&mut inbox, &mut |client, event, now| {
                        if matches!(event, Event::Connected { .. }) {
                            pauses.connected(now);
                        }
                        on_event(client, event);
                    })
                    .await;
                }
                pause = pauses.next(self.clock.now());
            }
            while let Some(event) = self.client.poll_event() {
                on_event(&mut self.client, event);
            }
        });
        Background { commands, task }
    }

    /// Carries out commands until the connection is over, or nobody has any more.
    async fn serve(
        &mut self,
        inbox: &mut mpsc::Receiver<Command>,
        on_event: &mut (impl FnMut(&mut Machine, Event, Timestamp) + Send),
    ) {
        loop {
            tokio::select! {
                event = self.next_event() => match event {
                    Some(event) => on_event(&mut self.client, event, self.clock.now()),
                    None => return,
                },
                command = inbox.recv() => match command {
                    Some(command) => command(&mut self.client, self.clock.now()),
                    None => return self.close().await,
                },
            }
        }
    }

    /// Opens a socket after a pause. `None` when nobody has commands any more.
    async fn open_after(
        &mut self,
        pause: Duration,
        inbox: &mut mpsc::Receiver<Command>,
    ) -> Option<anyhow::Result<Stream>> {
        let settings = self.settings.clone();
        let opening = async {
            sleep(pause).await;
            Stream::open(&settings).await
        };
        tokio::pin!(opening);
        loop {
            tokio::select! {
                stream = &mut opening => return Some(stream),
                command = inbox.recv() => command?(&mut self.client, self.clock.now()),
            }
        }
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
