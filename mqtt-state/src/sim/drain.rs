//! What the machines have to say, beside what they send: events, questions and entries of journals.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::coverage::Stage;
use super::embed::Embedder;
use super::line::Line;
use super::sessions::Session;
use super::world::World;
use crate::broker::{self, ConnectionId};
use crate::client::{Event, LostCause};
use crate::{CloseCause, TimeoutReason};

impl World<'_> {
    /// Takes what a client has to say.
    pub(super) fn drain_client(&mut self, client: usize) {
        self.drain_client_behind(client, Vec::new());
    }

    /// The same behind what it was shown.
    pub(super) fn drain_client_behind(&mut self, client: usize, shown: Vec<Event>) {
        self.coverage.shown += shown.len() as u64;
        let mut shown = shown.into_iter();
        while let Some(event) = { shown.next() }.or_else(|| self.actors[client].client.poll_event())
        {
            self.trace.note(|| format!("c{client} {event:?}"));
            let result = self.actors[client].note_outcome(&event);
            self.check(result);
            match &event {
                Event::Message {
                    message, receipt, ..
                } => {
                    let version = self.actors[client].plan.version;
                    self.coverage.delivery(version, message.qos());
                    let actor = &mut self.actors[client];
                    let has_store = actor.has_store();
                    if let Some(number) = super::packets::number_of(message.payload()) {
                        self.group.settle(number);
                    }
                    let number = super::packets::number_of(message.payload());
                    let is_far = number.is_some_and(|number| {
                        let known = self.oracle.get(number);
                        known.is_some_and(|it| {
                            it.at.is_some_and(|at| at != self.sessions[client].home)
                        })
                    });
                    let is_shared = super::group::is_shared(message.topic().as_str());
                    self.coverage.far[usize::from(is_shared)] += u64::from(is_far);
                    if is_shared {
                        let qos = usize::from(u8::from(message.qos()));
                        self.coverage.turns[qos] += 1;
                    }
                    let result = self.oracle.deliver(
                        client,
                        message,
                        *receipt,
                        &mut self.sessions[client],
                        &mut actor.inbox,
                        has_store,
                    );
                    self.check(result);
                }
                Event::Authenticate { data } => self.is_asked(client, data.as_ref()),
                Event::Reauthenticated { data } => {
                    self.is_authenticated_again(client, data.as_ref());
                }
                Event::Connected { .. } => self.check_last_word(client),
                Event::PublishLost { token, cause, .. } => {
                    let actor = &mut self.actors[client];
                    let number = actor.number_of(*token);
                    actor.flights.lose(|sent| number == Some(sent));
                    if *cause == LostCause::Expired {
                        self.coverage.expired_at_client += 1;
                        let result = number.map(|number| self.oracle.give_up(number, self.now));
                        self.check(result.unwrap_or(Ok(())));
                    }
                }
                Event::Closed { cause, .. } => {
                    let inbox = &mut self.actors[client].inbox;
                    let again = inbox.end_connection(&mut self.sessions[client]);
                    self.coverage.left_unacknowledged += again as u64;
                    if let CloseCause::ProtocolError(error) = cause {
                        let text = format!("c{client}: {error:?}");
                        self.fail("the broker breaks no rule", text);
                    }
                }
                _ => {}
            }
        }
        let actor = &mut self.actors[client];
        let (given_up, silent) = actor.flights.take_given_up();
        self.coverage.given_up[0] += given_up;
        // A program that began again may have told it before.
        if let Some(number) = silent.filter(|number| actor.is_open(*number)) {
            self.fail("what is given up is told", format!("{number} of c{client}"));
        }
        let actor = &mut self.actors[client];
        actor.may_lose = false;
        actor.follow();
        let lag = match actor.is_store_slow {
            true => usize::MAX,
            false => self.plan.lag,
        };
        let behind = actor.behind_len();
        self.stored += actor.store(behind.saturating_sub(lag));
    }

    /// Takes what the broker has to say.
    pub(super) fn drain_broker(&mut self) {
        while let Some(event) = self.nodes[self.at].broker.poll_event() {
            self.trace.note(|| format!("broker {event:?}"));
            self.handle_event(event);
        }
        self.weigh();
        for place in 0..self.sessions.len() {
            let result = self.sessions[place].settle();
            self.check(result);
            let (given_up, silent) = self.flights[place].take_given_up();
            self.coverage.given_up[1] += given_up;
            if let Some(number) = silent {
                self.fail("what is given up is told", format!("{number} for c{place}"));
            }
        }
        while let Some(entry) = self.nodes[self.at].broker.poll_journal() {
            self.nodes[self.at].behind.push_back(entry);
        }
        let lag = match self.nodes[self.at].is_store_slow {
            true => usize::MAX,
            false => self.plan.lag,
        };
        let behind = self.nodes[self.at].behind.len();
        self.store(behind.saturating_sub(lag));
        if self.nodes[self.at].behind.is_empty() && self.nodes[self.at].failure.is_none() {
            let at = self.at;
            let here = self.sessions.iter_mut().filter(|it| it.home == at);
            here.for_each(Session::note_stored);
            self.wills.note_stored(at);
        }
        self.note_ready();
        if self.is_joined() {
            self.collect();
        }
    }

    /// So many entries of the broker's journal are written.
    pub(super) fn store(&mut self, len: usize) -> bool {
        let node = &mut self.nodes[self.at];
        if node.failure.is_some() {
            return false;
        }
        let len = len.min(node.behind.len());
        self.stored += len;
        let is_joined = self.plan.brokers > 1;
        for entry in node.behind.drain(..len) {
            match is_joined {
                true => node.store.write(&entry),
                false => self.embedder.write(&entry),
            }
            node.stored_at = entry.at();
            node.broker.handle_stored(entry.position());
        }
        if len > 0 {
            self.note_ready();
            if is_joined {
                // What is stored is acknowledged.
                self.collect();
            }
        }
        len > 0
    }

    /// Which connections the broker names: each once until it is drained, and once more when it has ended and
    /// has had its time.
    fn note_ready(&mut self) {
        let now = self.now;
        let node = &mut self.nodes[self.at];
        let mut twice = None;
        while let Some(id) = node.broker.poll_ready() {
            let end = { node.broker.explain(id) }.and_then(|it| it.timeout);
            let is_over = end.is_some_and(|it| it.reason == TimeoutReason::Close && it.at <= now);
            if !node.ready.insert(id) && !is_over {
                twice = Some(id);
            }
        }
        if let Some(id) = twice {
            self.fail("named once until it is drained", format!("{id:?}"));
        }
    }

    pub(super) fn behind_len(&self) -> usize {
        self.nodes[self.at].behind.len()
    }

    /// The connection with this name at the broker that is looked at.
    pub(super) fn line_at(&mut self, connection: ConnectionId) -> Option<&mut Line> {
        let at = self.at;
        let mut lines = self.lines.iter_mut();
        lines.find(|line| line.node == at && line.id == connection)
    }

    pub(super) fn client_named(&self, client_id: &str) -> Option<usize> {
        self.actors.iter().position(|actor| actor.name == client_id)
    }

    fn handle_event(&mut self, event: broker::Event) {
        use broker::Event;
        match event {
            Event::Authenticate { .. }
            | Event::AuthenticateStep { .. }
            | Event::AuthorizeSubscribe { .. } => self.ask(event),
            Event::AuthorizePublish {
                is_will,
                ref message,
                ..
            } => {
                if is_will {
                    let topic = String::from(message.topic().as_str());
                    self.will_published(&topic);
                }
                self.ask(event);
            }
            Event::Connected {
                connection,
                session_present,
                ..
            } => self.connected(connection, session_present),
            Event::Local {
                subscription,
                message,
            } => self.local_gets(subscription, &message),
            Event::Refused { client_id, topic } if self.plan.extras.is_full => {
                self.turn_away(&client_id, &topic);
            }
            Event::Refused { topic, .. } => self.excuse_locals(|it, _| it == topic),
            Event::Closed {
                connection, cause, ..
            } => {
                if self.at == 0 {
                    self.strangers.note_closed(connection);
                }
                let Some(line) = self.line_at(connection) else {
                    return;
                };
                line.note_failure(&cause);
                line.stage = Stage::Ending;
                let (client, number) = (line.client, line.number);
                self.excuse_locals(|_, line| line == Some(number));
                if self.plan.extras.lets_expire {
                    self.leave_undecided(connection);
                }
                self.sessions[client].close(self.now, number);
                let normally = matches!(
                    cause,
                    CloseCause::DisconnectedByPeer(
                        mqtt_codec::DisconnectReason::NormalDisconnection
                    )
                );
                self.wills.close(self.now, number, normally);
                if let CloseCause::ProtocolError(error) = cause {
                    self.fail("a client breaks no rule", format!("c{client}: {error:?}"));
                }
            }
            // When that is, is known.
            Event::Dropped {
                topic,
                cause: broker::DropCause::Expired,
                ..
            } => {
                self.coverage.expired_at_broker += 1;
                let mut all = (0..).zip(&self.oracle.messages);
                let is_it = all.any(|(number, known)| {
                    known.topic == topic && self.oracle.has_expired(number, self.now)
                });
                if !is_it {
                    self.fail("a message expires when it is time", topic);
                }
            }
            Event::Dropped {
                client_id,
                topic,
                cause,
            } => {
                if cause == broker::DropCause::BrokerFull {
                    self.note_dropped_when_full(&topic);
                }
                let Some(client) = self.client_named(&client_id) else {
                    return;
                };
                let oracle = &self.oracle;
                let last = oracle.messages.len() as u32;
                let is_it = |number| oracle.get(number).is_some_and(|it| it.topic == topic);
                self.flights[client].lose(is_it);
                self.sessions[client].waive(&topic, last, is_it);
                self.group.waive(is_it);
                self.oracle.waive_group(&topic);
            }
            // Where it was asked for, what counts is when.
            Event::WillPublished { topic, .. } if !self.nodes[self.at].config.ask.publish => {
                self.will_published(&topic);
                self.check_will_at_locals(&topic);
            }
            Event::IncarnationTooLow { broker } => self.told_too_low(broker),
            Event::InterestRefused { filter, .. } => {
                self.coverage.not_noted += 1;
                self.refuse_interest(filter);
            }
            Event::NotMoved {
                client_id, what, ..
            } => self.leave_behind(&client_id, &what),
            // The will goes with the one of two sessions that is not the client's.
            Event::SessionMoved { client_id, .. } => {
                if let Some(client) = self.client_named(&client_id) {
                    self.wills.doubt(client, Some(self.at));
                }
            }
            Event::SessionEnded { client_id } => {
                let Some(client) = self.client_named(&client_id) else {
                    return;
                };
                let session = &mut self.sessions[client];
                // It may go on elsewhere.
                if session.roams || session.is_split || session.home != self.at {
                    session.may_be_over = true;
                    self.group.end_session(&mut self.oracle, &self.sessions);
                    let _where_it_is = self.wills.end_session(client);
                    return;
                }
                session.end(self.now);
                self.group.end_session(&mut self.oracle, &self.sessions);
                let result = self.wills.end_session(client);
                self.check(result);
            }
            _ => {}
        }
    }

    fn will_published(&mut self, topic: &str) {
        if topic.starts_with("w/") {
            self.coverage.wills += 1;
            let result = self.wills.publish(self.now, topic);
            self.check(result);
        }
    }

    fn connected(&mut self, connection: ConnectionId, present: bool) {
        if self.at == 0 {
            self.strangers.note_connected(connection);
        }
        if self.nodes[self.at].failure.is_some() {
            self.fail(
                "nobody is let in when the store has failed",
                format!("{connection:?}"),
            );
        }
        let Some(line) = self.line_at(connection) else {
            return;
        };
        line.stage = Stage::Connected;
        line.present = present;
        let (client, number) = (line.client, line.number);
        let (clean_start, expiry_secs) = (line.clean_start, line.expiry_secs);
        let was_whole = line.was_whole;
        let session = &mut self.sessions[client];
        let result = session.connect(self.now, number, clean_start, expiry_secs, present);
        self.check(result);
        if !present {
            self.group.end_session(&mut self.oracle, &self.sessions);
            self.flights[client].forget_all();
        } else if self.actors[client].epoch() != self.sessions[client].epoch {
            self.sessions[client].mix();
            self.group.forget();
        }
        self.settle_at(client, present, was_whole);
        let epoch = self.sessions[client].epoch;
        if let Some(line) = self.line_at(connection) {
            line.epoch = epoch;
        }
        let result = self.wills.connect(self.now, client, present);
        self.check(result);
        let will = { self.lines.iter() }.find(|line| line.number == number);
        if let Some(will) = will.and_then(|line| line.will) {
            let connects = number;
            let topic = format!("w/c{client}/{connects}");
            self.wills.leave(
                client,
                (number, self.at),
                topic,
                will.delay_secs,
                expiry_secs,
            );
            // Like one of before the client went there.
            if self.may_be_claimed(client) {
                self.wills.doubt(client, Some(self.at));
            }
        }
    }
}
