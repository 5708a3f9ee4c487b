//! The smallest whole broker on all cores: a thread for each, with a [`Broker`] of its own. They are joined over
//! channels, so that clients need not know which of them they got: subscriptions, shared ones, retained messages
//! and sessions are those of one broker. `cargo run --release --bin hello_joined -- 127.0.0.1:1883 4`
//!
//! What it leaves out: who may come in, what survives the program (`Config::journal`), and patience with those who
//! have not read its last words when it closes (`Transmit::Close`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use mqtt_state::broker::{
    Broker, BrokerId, Config, ConnectionId, Event, JoinConfig, JoinMessage, Peer,
};
use mqtt_state::{Timestamp, Transmit};

/// No connection has this number.
const WAKE: Token = Token(usize::MAX);
/// What waits for one thread. What has no room there waits in the broker that says it, within its limits.
const MAIL_MAX: usize = 1024;

enum Mail {
    Client(std::net::TcpStream),
    Said(BrokerId, Box<JoinMessage>),
}

/// The way to a thread.
#[derive(Clone)]
struct Mailbox {
    id: BrokerId,
    sender: SyncSender<Mail>,
    waker: Arc<Waker>,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    is_over: bool,
}

struct Thread {
    id: BrokerId,
    broker: Broker,
    origin: Instant,
    poll: Poll,
    /// The way to each other one, and what had no room on it.
    others: Vec<(Mailbox, Option<Mail>)>,
    clients: BTreeMap<ConnectionId, Client>,
    /// Clients for which something can be done.
    busy: BTreeSet<ConnectionId>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:1883".into());
    let cores = std::thread::available_parallelism()?.to_string();
    let threads: u32 = arguments.next().unwrap_or(cores).parse()?;
    let listener = std::net::TcpListener::bind(address)?;
    let (mut boxes, mut ends) = (Vec::new(), Vec::new());
    for id in (0..threads).map(BrokerId::new) {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (sender, inbox) = sync_channel(MAIL_MAX);
        boxes.push(Mailbox { id, sender, waker });
        ends.push((id, poll, inbox));
    }
    for (id, poll, inbox) in ends {
        let others = boxes.iter().filter(|it| it.id != id).cloned();
        let thread = Thread::new(id, poll, others.map(|it| (it, None)).collect())?;
        std::thread::spawn(move || {
            let Err(error) = thread.run(&inbox);
            eprintln!("broker {id}: {error}");
        });
    }
    println!("listening on {}", listener.local_addr()?);
    for (stream, mailbox) in listener.incoming().zip(boxes.iter().cycle()) {
        match stream {
            Ok(stream) => mailbox.sender.send(Mail::Client(stream))?,
            // Too many open files, for one: until some are closed.
            Err(error) => {
                eprintln!("{error}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        mailbox.waker.wake()?;
    }
    Ok(())
}

impl Thread {
    fn new(id: BrokerId, poll: Poll, others: Vec<(Mailbox, Option<Mail>)>) -> anyhow::Result<Self> {
        // Higher with each run: a broker that begins anew is not taken for the one before.
        let incarnation = SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
        let join = JoinConfig {
            id,
            incarnation,
            ..JoinConfig::default()
        };
        let config = Config {
            join: Some(join),
            seed: incarnation,
            ..Config::default()
        };
        let mut broker = Broker::new(config);
        for (other, _) in &others {
            broker.join(Timestamp::ZERO, other.id)?;
        }
        Ok(Self {
            id,
            broker,
            origin: Instant::now(),
            poll,
            others,
            clients: BTreeMap::new(),
            busy: BTreeSet::new(),
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.origin.elapsed()
    }

    /// Everything gets its turn: what has come from other threads, and one step for each client.
    fn run(mut self, inbox: &Receiver<Mail>) -> anyhow::Result<std::convert::Infallible> {
        let mut events = Events::with_capacity(1024);
        loop {
            let mail: Vec<_> = inbox.try_iter().take(MAIL_MAX).collect();
            let is_mail = !mail.is_empty();
            for mail in mail {
                match mail {
                    Mail::Client(stream) => self.accept(stream),
                    Mail::Said(from, said) => self.broker.handle_joined(self.now(), from, *said),
                }
            }
            self.broker.handle_timeout(self.now());
            for id in std::mem::take(&mut self.busy) {
                self.serve(id);
            }
            while let Some(event) = self.broker.poll_event() {
                if let Event::Closed { connection, .. } = event
                    && let Some(client) = self.clients.get_mut(&connection)
                {
                    client.is_over = true;
                    self.busy.insert(connection);
                }
                println!("broker {}: {event:?}", self.id);
            }
            let is_stuck = self.tell();
            self.busy
                .extend(std::iter::from_fn(|| self.broker.poll_ready()));

            let now = self.now();
            let mut due = self
                .broker
                .poll_timeout()
                .map(|it| it.at.saturating_since(now));
            if is_mail || !self.busy.is_empty() {
                due = Some(Duration::ZERO);
            } else if is_stuck {
                // Nobody says when there is room again.
                due = Some(due.unwrap_or(Duration::MAX).min(Duration::from_millis(1)));
            }
            match self.poll.poll(&mut events, due) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let ids = events
                .iter()
                .map(|it| ConnectionId::from_bits(it.token().0 as u64));
            self.busy.extend(ids);
        }
    }

    /// Carries what the other brokers are to hear, as far as there is room. Answers whether there was not.
    fn tell(&mut self) -> bool {
        let now = self.now();
        let mut is_stuck = false;
        for (other, stuck) in &mut self.others {
            let mut is_told = false;
            loop {
                let mut said = || self.broker.poll_joined_to(now, other.id).map(Box::new);
                let mail = stuck.take().or_else(|| Some(Mail::Said(self.id, said()?)));
                match mail.map(|mail| other.sender.try_send(mail)) {
                    None => break,
                    Some(Ok(())) => is_told = true,
                    Some(Err(TrySendError::Full(mail))) => {
                        (*stuck, is_stuck) = (Some(mail), true);
                        break;
                    }
                    // That thread is gone, and has said why.
                    Some(Err(TrySendError::Disconnected(_))) => self.broker.part(now, other.id),
                }
            }
            let _woken = is_told.then(|| other.waker.wake());
        }
        is_stuck
    }

    fn accept(&mut self, stream: std::net::TcpStream) {
        // Who is one too many is closed.
        let Ok(id) = self.broker.accept(self.now(), Peer::default()) else {
            return;
        };
        let is_set = stream.set_nonblocking(true);
        let mut stream = TcpStream::from_std(stream);
        let token = Token(id.to_bits() as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        match is_set.and_then(|()| self.poll.registry().register(&mut stream, token, both)) {
            Ok(()) => {
                let (input, output) = (Vec::new(), Vec::new());
                let client = Client {
                    stream,
                    input,
                    output,
                    is_over: false,
                };
                self.clients.insert(id, client);
                self.busy.insert(id);
            }
            Err(error) => {
                eprintln!("broker {}: {error}", self.id);
                self.broker.handle_close(self.now(), id);
            }
        }
    }

    /// One step for a client: what it has said, what has come since, what it is to hear.
    fn serve(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let taken = self.broker.handle_input(now, id, &client.input).bytes;
        client.input.drain(..taken);
        let mut goes_on = taken > 0;
        // What is there goes before what comes. What is not wanted has time until `poll_ready` names the client.
        if taken == 0 && self.broker.wants_input(id) {
            let mut piece = [0; 16 * 1024];
            match client.stream.read(&mut piece) {
                Ok(len @ 1..) => {
                    client
                        .input
                        .extend_from_slice(piece.get(..len).unwrap_or_default());
                    goes_on = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => self.broker.handle_close(now, id),
            }
        }
        let mut transmit = Transmit::More;
        if client.output.is_empty() || client.is_over {
            transmit = self
                .broker
                .poll_transmit(now, id, 64 * 1024, &mut client.output);
        }
        if !client.output.is_empty() {
            match client.stream.write(&client.output) {
                Ok(len) => {
                    client.output.drain(..len);
                    goes_on = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.broker.handle_close(now, id),
            }
        }
        if transmit == Transmit::Close {
            self.clients.remove(&id);
        } else if goes_on {
            self.busy.insert(id);
        }
    }
}
