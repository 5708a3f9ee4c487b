//! When everybody has left: nothing is left of anybody, in the broker, in its store, or on the heap.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, Str};

use super::actions::RETAINED;
use super::world::World;
use crate::Transmit;
use crate::broker::{self, Broker, ConnectionId, Peer};
use crate::client::Client;

/// Bytes that tables keep in which nothing is left: they give room back by pieces, and indexes not
/// all of it.
const ROOM_OF_BROKER: usize = 8 * 1024;

/// The same on the heap, where somebody counts that: pieces of tables, and memory that is used again.
const HEAP_OF_BROKER: u64 = 160 * 1024;
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
        self.broker_rests();
        let sessions = self.broker.sessions();
        let names: Vec<_> = sessions.map(|it| String::from(it.client_id)).collect();
        for name in names {
            self.end_session(&name);
        }
        for topic in RETAINED {
            if let Ok(message) = Message::new(topic, "") {
                self.broker.publish(self.now, message.with_retain(true));
            }
        }
        self.broker_rests();
        self.check_empty();
        self.check_heap();
    }

    /// A session ends with a connection that begins without one.
    fn end_session(&mut self, name: &str) {
        let Ok(id) = self.broker.accept(self.now, Peer::default()) else {
            return self.fail("there is room for a connection", String::from(name));
        };
        let mut bytes = Vec::new();
        let version = ProtocolVersion::V3_1_1;
        let connect = Connect::new(version, Str::new(name).unwrap_or_default());
        let _fits = Packet::from(connect).encode_to(version, &mut bytes);
        let mut rest = &bytes[..];
        for _ in 0..CALLS {
            let taken = self.broker.handle_input(self.now, id, rest).bytes;
            rest = rest.get(taken..).unwrap_or_default();
            self.broker_rests();
            if rest.is_empty() {
                break;
            }
        }
        self.broker.handle_close(self.now, id);
        self.broker_rests();
    }

    /// All that is due is done, answered and stored, and what is sent goes nowhere.
    fn broker_rests(&mut self) {
        let mut named: Vec<ConnectionId> = self.ready.iter().copied().collect();
        self.ready.clear();
        for _ in 0..CALLS {
            let mut some = false;
            while let Some(event) = self.broker.poll_event() {
                some = true;
                if is_question(&event) {
                    self.questions.push_back(event);
                }
            }
            while let Some(event) = self.questions.pop_front() {
                some = true;
                self.answer(event);
            }
            while let Some(entry) = self.broker.poll_journal() {
                some = true;
                self.embedder.write(&entry);
                self.broker.handle_stored(entry.position());
            }
            while let Some(id) = self.broker.poll_ready() {
                named.push(id);
            }
            for id in core::mem::take(&mut named) {
                some = true;
                let mut nobody = Vec::new();
                let transmit = self
                    .broker
                    .poll_transmit(self.now, id, usize::MAX, &mut nobody);
                if transmit == Transmit::More {
                    named.push(id);
                }
            }
            if self
                .broker
                .poll_timeout()
                .is_some_and(|due| due.at <= self.now)
            {
                some = true;
                self.broker.handle_timeout(self.now);
            }
            if !some {
                return;
            }
        }
        self.fail("all comes to an end", format!("{CALLS} calls"));
    }

    fn check_empty(&mut self) {
        let stats = self.broker.stats();
        let left = [
            stats.connections,
            stats.clients,
            stats.sessions,
            stats.subscriptions,
            stats.retained,
            stats.messages,
            stats.messages_bytes,
            stats.timers,
            self.broker.undecided_len(),
        ];
        if left.iter().any(|count| *count > 0) || stats.kept_bytes > ROOM_OF_BROKER {
            self.fail("nothing is left when all have left", format!("{stats:?}"));
        }
        let mut stored = Vec::new();
        self.embedder.read(&mut |key, _value| stored.push(key));
        if !stored.is_empty() {
            self.fail(
                "nothing is left in the store when all have left",
                format!("{stored:?}"),
            );
        }
    }

    /// What goes when the machines go, where somebody counts that.
    fn check_heap(&mut self) {
        let mut last = Some(core::mem::replace(
            &mut self.broker,
            Broker::new(self.config.clone()),
        ));
        let freed = self.embedder.freed(&mut || drop(last.take()));
        let mut first = Some(Broker::new(self.config.clone()));
        let base = self.embedder.freed(&mut || drop(first.take()));
        self.check_freed("broker", freed, base, HEAP_OF_BROKER);
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
