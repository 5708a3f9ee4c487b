//! When everybody has left: nothing is left of anybody, in the broker, in its store, or on the heap.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, Str};

use super::actions::RETAINED;
use super::embed::Embedder;
use super::world::World;
use crate::Transmit;
use crate::broker::{self, Broker, Peer};
use crate::client::Client;

/// Bytes that tables keep in which nothing is left: they give room back by pieces, and indexes not
/// all of it.
const ROOM_OF_BROKER: usize = 12 * 1024;

/// As much again for its links to other brokers: their queues, and which topics were cleared when.
const ROOM_OF_LINKS: usize = 12 * 1024;

/// The same on the heap, where somebody counts that: pieces of tables, and memory that is used again.
const HEAP_OF_BROKER: u64 = 64 * 1024;
const HEAP_OF_CLIENT: u64 = 32 * 1024;

/// Calls in which all of it has to be done.
const CALLS: usize = 100_000;

impl World<'_> {
    /// All clients go, their sessions end, and retained messages are cleared. Nobody looks at what comes
    /// out meanwhile.
    pub(super) fn leave(&mut self) {
        if self.failure.is_some() {
            return;
        }
        for place in 0..self.lines.len() {
            self.client_loses(place);
            self.broker_loses(place);
        }
        self.sweep();
        self.end_locals();
        self.all_rest();
        for at in 0..self.nodes.len() {
            let sessions = self.nodes[at].broker.sessions();
            let names: Vec<_> = sessions.map(|it| String::from(it.client_id)).collect();
            for name in names {
                self.end_session(at, &name);
            }
        }
        for topic in RETAINED {
            if let Ok(message) = Message::new(topic, "") {
                let broker = &mut self.nodes[0].broker;
                broker.publish(self.now, message.with_retain(true));
            }
            self.all_rest();
        }
        for at in 0..self.nodes.len() {
            self.at = at;
            self.check_empty();
            self.check_heap_of_broker();
        }
        self.check_heap_of_clients();
    }

    /// A session ends with a connection that begins without one.
    fn end_session(&mut self, at: usize, name: &str) {
        let Ok(id) = self.nodes[at].broker.accept(self.now, Peer::default()) else {
            return self.fail("there is room for a connection", String::from(name));
        };
        let mut bytes = Vec::new();
        let version = ProtocolVersion::V3_1_1;
        let connect = Connect::new(version, Str::new(name).unwrap_or_default());
        let _fits = Packet::from(connect).encode_to(version, &mut bytes);
        let mut rest = &bytes[..];
        for _ in 0..CALLS {
            let taken = self.nodes[at].broker.handle_input(self.now, id, rest).bytes;
            rest = rest.get(taken..).unwrap_or_default();
            self.all_rest();
            if rest.is_empty() {
                break;
            }
        }
        self.nodes[at].broker.handle_close(self.now, id);
        self.all_rest();
    }

    /// All that is due is done, answered, stored and carried, and what is sent goes nowhere.
    fn all_rest(&mut self) {
        for _ in 0..CALLS {
            let mut some = false;
            for at in 0..self.nodes.len() {
                self.at = at;
                some |= self.go_on();
            }
            some |= self.is_joined() && self.carry_unseen();
            if !some {
                return;
            }
        }
        self.fail("all comes to an end", format!("{CALLS} calls"));
    }

    /// One broker goes on. Answers whether it had something to do.
    fn go_on(&mut self) -> bool {
        let mut some = false;
        while let Some(event) = self.nodes[self.at].broker.poll_event() {
            some = true;
            if is_question(&event) {
                self.ask(event);
            }
        }
        let node = &mut self.nodes[self.at];
        while let Some(entry) = node.broker.poll_journal() {
            some = true;
            match self.plan.brokers > 1 {
                true => node.store.write(&entry),
                false => self.embedder.write(&entry),
            }
            node.broker.handle_stored(entry.position());
        }
        while let Some(id) = node.broker.poll_ready() {
            node.ready.insert(id);
        }
        while let Some(id) = node.ready.pop_first() {
            some = true;
            let (now, nobody) = (self.now, &mut Vec::new());
            while node.broker.poll_transmit(now, id, usize::MAX, nobody) == Transmit::More {}
        }
        if node
            .broker
            .poll_timeout()
            .is_some_and(|due| due.at <= self.now)
        {
            some = true;
            node.broker.handle_timeout(self.now);
        }
        while let Some(asked) = self.next_question() {
            some = true;
            self.answer(&asked);
        }
        some
    }

    fn check_empty(&mut self) {
        let stats = self.nodes[self.at].broker.stats();
        let left = [
            stats.connections,
            stats.clients,
            stats.sessions,
            stats.subscriptions,
            stats.retained,
            stats.messages,
            stats.messages_bytes,
            stats.timers,
            self.nodes[self.at].broker.undecided_len(),
        ];
        let links = if self.is_joined() { ROOM_OF_LINKS } else { 0 };
        if left.iter().any(|count| *count > 0) || stats.kept_bytes > ROOM_OF_BROKER + links {
            self.fail("nothing is left when all have left", format!("{stats:?}"));
        }
        let mut stored = Vec::new();
        let put = &mut |key, _value| stored.push(key);
        match self.is_joined() {
            true => self.nodes[self.at].store.read(put),
            false => self.embedder.read(put),
        }
        if !stored.is_empty() {
            self.fail(
                "nothing is left in the store when all have left",
                format!("{stored:?}"),
            );
        }
    }

    /// What goes when a broker goes, where somebody counts that.
    fn check_heap_of_broker(&mut self) {
        let node = &mut self.nodes[self.at];
        let new = || Broker::new(node.config.clone());
        let (next, mut first) = (new(), Some(new()));
        let mut last = Some(core::mem::replace(&mut node.broker, next));
        let freed = self.embedder.freed(&mut || drop(last.take()));
        let base = self.embedder.freed(&mut || drop(first.take()));
        self.check_freed("broker", freed, base, HEAP_OF_BROKER);
    }

    fn check_heap_of_clients(&mut self) {
        for place in 0..self.actors.len() {
            let new = || Client::new(self.actors[place].plan.config.clone());
            let (next, mut first) = (new(), Some(new()));
            let client = &mut self.actors[place].client;
            let mut last = Some(core::mem::replace(client, next));
            let freed = self.embedder.freed(&mut || drop(last.take()));
            let base = self.embedder.freed(&mut || drop(first.take()));
            self.check_freed("client", freed, base, HEAP_OF_CLIENT);
        }
    }

    fn check_freed(&mut self, what: &str, freed: Option<u64>, base: Option<u64>, room: u64) {
        let (Some(freed), Some(base)) = (freed, base) else {
            return;
        };
        self.coverage.weighed += 1;
        let above = freed.saturating_sub(base);
        self.coverage.heap_most = self.coverage.heap_most.max(above);
        if above > room {
            let text = format!("a {what} holds {freed} bytes, and {base} when it is new");
            self.fail("live bytes are back at base", text);
        }
    }
}

const fn is_question(event: &broker::Event) -> bool {
    use broker::Event;
    matches!(
        event,
        Event::Authenticate { .. }
            | Event::AuthenticateStep { .. }
            | Event::AuthorizePublish { .. }
            | Event::AuthorizeSubscribe { .. }
    )
}
