//! Lines for people, on standard output and standard error.
//!
//! They are written at once, by whoever has them. A program that others wait for must not wait for the reader of its
//! log: it has them written by threads, [in the background](in_background). What finds no room is counted then, and
//! the number stands in its place when the rest is written.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of lines that wait for one reader.
const WAITING_MAX: usize = 4 * 1024 * 1024;

/// So long does a program that ends wait for the readers of its last lines.
const LAST_MOMENT: Duration = Duration::from_secs(1);

static OUTPUT: OnceLock<Outlet> = OnceLock::new();
static LOG: OnceLock<Outlet> = OnceLock::new();

/// A line on standard output. A reader that has gone away, as `head` does, is no reason to panic.
pub fn out(text: Arguments<'_>) {
    match OUTPUT.get() {
        Some(outlet) => outlet.put(text),
        None => {
            let _gone = writeln!(io::stdout(), "{text}");
        }
    }
}

/// A line on standard error.
pub fn log(text: Arguments<'_>) {
    match LOG.get() {
        Some(outlet) => outlet.put(text),
        None => {
            let _gone = writeln!(io::stderr(), "{text}");
        }
    }
}

/// From here on nobody who has a line waits until it is written. What is left when this is dropped gets a last moment.
#[must_use]
pub fn in_background() -> Background {
    let output = OUTPUT.get_or_init(Outlet::default);
    let log = LOG.get_or_init(Outlet::default);
    thread::spawn(|| output.write_all(io::stdout()));
    thread::spawn(|| log.write_all(io::stderr()));
    Background
}

/// Lines are written in the background.
#[derive(Debug)]
pub struct Background;

impl Drop for Background {
    fn drop(&mut self) {
        for outlet in [&OUTPUT, &LOG].into_iter().filter_map(OnceLock::get) {
            outlet.wait(LAST_MOMENT);
        }
    }
}

/// Lines on their way to one reader.
#[derive(Debug, Default)]
struct Outlet {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Box<str>>,
    bytes: usize,
    /// Lines that come behind those that wait, and are not there. All that follow are among them until it is told.
    missing: u64,
    /// The same, when it could not be told.
    untold: u64,
    is_writing: bool,
}

impl Outlet {
    fn put(&self, text: Arguments<'_>) {
        let line = format!("{text}\n").into_boxed_str();
        let mut waiting = self.locked();
        let bytes = waiting.bytes.saturating_add(len_held(&line));
        if waiting.missing > 0 || bytes > WAITING_MAX {
            waiting.missing = waiting.missing.saturating_add(1);
        } else {
            waiting.bytes = bytes;
            waiting.lines.push_back(line);
        }
        self.changed.notify_all();
    }

    /// Writes whatever comes. Never comes back.
    fn write_all(&self, mut to: impl Write) {
        loop {
            let (line, told) = self.next();
            let result = to.write_all(line.as_bytes()).and_then(|()| to.flush());
            let mut waiting = self.locked();
            waiting.is_writing = false;
            if result.is_err() {
                waiting.missing = waiting.missing.saturating_add(told.unwrap_or(1));
                waiting.untold = waiting.missing;
            }
            self.changed.notify_all();
        }
    }

    /// The next line; or, where those are missing that would come next, how many, as a line. That is told once for
    /// each line that comes, where it cannot be told.
    fn next(&self) -> (Box<str>, Option<u64>) {
        let waiting = self.locked();
        let waiting = self.changed.wait_while(waiting, |waiting| {
            waiting.lines.is_empty() && waiting.missing == waiting.untold
        });
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        if let Some(line) = waiting.lines.pop_front() {
            waiting.bytes = waiting.bytes.saturating_sub(len_held(&line));
            return (line, None);
        }
        waiting.untold = 0;
        let missing = std::mem::take(&mut waiting.missing);
        let line = format!("{missing} lines are missing here: they could not be written\n");
        (line.into_boxed_str(), Some(missing))
    }

    /// Waits until all is written, or as much as can be, but no longer than this.
    fn wait(&self, most: Duration) {
        let _late = self
            .changed
            .wait_timeout_while(self.locked(), most, |waiting| {
                waiting.is_writing || !waiting.lines.is_empty() || waiting.missing != waiting.untold
            });
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a line that waits.
fn len_held(line: &str) -> usize {
    line.len().saturating_add(size_of::<Box<str>>())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes when it is told to: well or not.
    struct Told {
        orders: Receiver<bool>,
        written: Sender<String>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a test the thread ends here.
            match self.orders.recv() {
                Ok(true) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let _over = self.written.send(text);
                    Ok(bytes.len())
                }
                Ok(false) => Err(io::ErrorKind::StorageFull.into()),
                Err(_over) => loop {
                    thread::park();
                },
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outlet() -> (&'static Outlet, Sender<bool>, Receiver<String>) {
        let outlet: &Outlet = Box::leak(Box::default());
        let (order, orders) = channel();
        let (written, lines) = channel();
        thread::spawn(|| outlet.write_all(Told { orders, written }));
        (outlet, order, lines)
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_when_it_can() {
        let (outlet, order, lines) = outlet();
        for number in 0..3 {
            outlet.put(format_args!("{number}"));
        }
        for works in [true, false, false] {
            order.send(works).unwrap();
        }
        assert_eq!(lines.recv().unwrap(), "0\n");
        outlet.wait(Duration::MAX);
        // How many are missing is tried again with each line, which is one of them.
        for (number, works) in [(3, false), (4, true)] {
            outlet.put(format_args!("{number}"));
            order.send(works).unwrap();
            outlet.wait(Duration::MAX);
        }
        let told = lines.recv().unwrap();
        assert!(told.starts_with("4 lines are missing"), "{told}");
        outlet.put(format_args!("5"));
        order.send(true).unwrap();
        assert_eq!(lines.recv().unwrap(), "5\n");
    }

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let (outlet, order, lines) = outlet();
        let line = "x".repeat(WAITING_MAX / 10);
        for _ in 0..100 {
            outlet.put(format_args!("{line}"));
        }
        assert!(outlet.locked().bytes <= WAITING_MAX);
        let mut whole = 0;
        let told = loop {
            order.send(true).unwrap();
            let written = lines.recv().unwrap();
            if written.len() < line.len() {
                break written;
            }
            whole += 1;
        };
        assert!((9..=10).contains(&whole), "{whole}");
        let missing = 100 - whole;
        assert!(told.starts_with(&format!("{missing} lines")), "{told}");
        outlet.wait(Duration::MAX);
        let waiting = outlet.locked();
        assert_eq!((waiting.bytes, waiting.missing), (0, 0));
    }
}
