//! The smallest whole server on `std::net`, one thread for each connection: a mirror, where each client
//! gets what it publishes itself, if it has subscribed to it. Sessions wait for clients that come back.
//! `cargo run --release --bin hello_server -- 127.0.0.1:1883`
//!
//! What it leaves out: who may come in and how much one may subscribe to, what becomes of an older connection of
//! the same client, and a moment for those who have not read its last words when it closes (`Transmit::Close`).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mqtt_codec::{QoS, TopicFilter, UnsubscribeReason};
use mqtt_state::server::{Acceptance, Config, Connection, Event, Session};
use mqtt_state::{Timestamp, Transmit};

/// What a client is subscribed to, and the QoS it has asked for.
type Filters = BTreeMap<String, QoS>;

/// What is kept for clients that are away: their sessions, and what they are subscribed to.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, (Session, Filters)>>>);

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:1883".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (origin, kept) = (Instant::now(), Kept::default());
    for (number, stream) in (1_u64..).zip(listener.incoming()) {
        let Ok(stream) = stream.inspect_err(|error| eprintln!("connection {number}: {error}"))
        else {
            // Too many open files, for one: until some are closed.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let kept = kept.clone();
        std::thread::spawn(move || match serve(stream, origin, &kept, number) {
            Ok(()) => {}
            Err(error) => eprintln!("connection {number}: {error}"),
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream, origin: Instant, kept: &Kept, number: u64) -> anyhow::Result<()> {
    let now = || Timestamp::ZERO + origin.elapsed();
    let mut connection = Connection::new(now(), Config::default());
    let mut mirror = Mirror::default();
    let (mut input, mut output) = (Vec::new(), Vec::new());
    loop {
        loop {
            let taken = connection.handle_input(now(), &input).bytes;
            input.drain(..taken);
            match connection.poll_event() {
                Some(event) => mirror.react(&mut connection, now(), event, kept, number),
                None if taken == 0 => break,
                None => {}
            }
        }
        let transmit = connection.poll_transmit(now(), 64 * 1024, &mut output);
        // No error ends this function: the session of a client that is gone is kept below.
        let is_written = stream.write_all(&output).is_ok();
        output.clear();
        match transmit {
            Transmit::Close => break,
            _ if !is_written => connection.handle_close(now()),
            Transmit::More => continue,
            Transmit::Idle => {}
        }
        let due = connection
            .poll_timeout()
            .map(|timeout| timeout.at.saturating_since(now()));
        stream.set_read_timeout(due.map(|due| due.max(Duration::from_millis(1))))?;
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) => connection.handle_close(now()),
            Ok(len) => input.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(_no_bytes_in_time) => connection.handle_timeout(now()),
        }
    }
    if let Some(session) = connection.into_session()
        && mirror.is_kept
    {
        kept.put(mirror.client_id, (session, mirror.filters));
    }
    Ok(())
}

/// What stands above one connection.
#[derive(Default)]
struct Mirror {
    client_id: String,
    filters: Filters,
    is_kept: bool,
}

impl Mirror {
    fn react(
        &mut self,
        connection: &mut Connection,
        now: Timestamp,
        event: Event,
        kept: &Kept,
        number: u64,
    ) {
        // Answers may come too late, as a client asks and goes in one breath: `Event::Closed` is next then.
        match event {
            Event::Connect(request) => {
                let mut acceptance = Acceptance::default();
                self.client_id = request.client_id;
                if self.client_id.is_empty() {
                    self.client_id = format!("mirror-{number}");
                    acceptance.assigned_client_id = Some(self.client_id.clone());
                }
                if let Some((session, filters)) = kept.take(&self.client_id)
                    && !request.clean_start
                {
                    self.filters = filters;
                    acceptance.session = Some(session);
                }
                let _too_late = connection.accept(now, acceptance);
            }
            Event::Publish { message, .. } => {
                let is_it = |text: &str| {
                    TopicFilter::new(text).is_ok_and(|filter| filter.matches(message.topic()))
                };
                let wanted = self.filters.iter().filter(|(text, _)| is_it(text));
                if let Some(qos) = wanted.map(|(_, qos)| *qos).max() {
                    let qos = qos.min(message.qos());
                    // What does not fit any more is lost.
                    let _too_much =
                        connection.deliver(now, message.with_qos(qos).with_retain(false));
                }
            }
            Event::Subscribe { token, filters, .. } => {
                let granted = filters.iter().map(|(_, options)| options.qos.into());
                let granted: Vec<_> = granted.collect();
                let _too_late = connection.answer_subscribe(now, token, &granted);
                let wanted = filters.into_iter();
                self.filters
                    .extend(wanted.map(|(filter, options)| (filter, options.qos)));
            }
            Event::Unsubscribe { token, filters, .. } => {
                let gone = vec![UnsubscribeReason::Success; filters.len()];
                let _too_late = connection.answer_unsubscribe(now, token, &gone);
                self.filters.retain(|filter, _| !filters.contains(filter));
            }
            Event::Closed {
                cause,
                session_expiry_secs,
                ..
            } => {
                println!("{}: {cause}", self.client_id);
                self.is_kept = session_expiry_secs > 0;
            }
            other => println!("{}: {other:?}", self.client_id),
        }
    }
}

impl Kept {
    fn put(&self, client_id: String, away: (Session, Filters)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(client_id, away);
    }

    fn take(&self, client_id: &str) -> Option<(Session, Filters)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(client_id)
    }
}
