//! Packets as machines hand them out and take them: what they say of sessions and messages.

use alloc::format;
use alloc::vec::Vec;

use mqtt_codec::{ProtocolVersion, QoS};

use super::coverage::{Coverage, Stage};
use super::line::Direction;
use super::packets::{AckKind, Seen};
use super::watch::{Flights, Way};
use super::world::World;

impl World<'_> {
    /// Looks at what a machine hands out.
    pub(super) fn watch(&mut self, place: usize, direction: Direction, bytes: &[u8]) {
        self.trace.bytes(bytes);
        let line = &mut self.lines[place];
        let half = match direction {
            Direction::Up => &mut line.up,
            Direction::Down => &mut line.down,
        };
        let packets = match half.way.packets(line.version, bytes) {
            Ok(packets) => packets,
            Err((rule, text)) => return self.fail(rule, text),
        };
        for (seen, size) in packets {
            let line = &mut self.lines[place];
            let client = line.client;
            let dialogue = &mut line.dialogue;
            let result = match (&seen, direction) {
                (Seen::Connect { has_method, .. }, _) => {
                    dialogue.begin(*has_method);
                    Ok(())
                }
                (Seen::ConnAck { refusal: None, .. }, _) => dialogue.accept(),
                (Seen::Auth { said, method }, _) => {
                    dialogue.send(direction == Direction::Up, *said, method)
                }
                (Seen::Disconnect { .. }, _) | (_, Direction::Down) => Ok(()),
                (_, Direction::Up) => dialogue.check_other(&seen),
            };
            if let Err((rule, text)) = result {
                return self.fail(rule, text);
            }
            let line = &mut self.lines[place];
            self.trace
                .note(|| format!("line {} {direction:?} sends {seen:?}", line.number));
            let result = match direction {
                Direction::Up => {
                    let actor = &mut self.actors[client];
                    let own = match line.version {
                        ProtocolVersion::V5_0 => actor.plan.config.in_flight_max,
                        ProtocolVersion::V3_1_1 => actor
                            .plan
                            .config
                            .in_flight_max_v3
                            .min(actor.plan.config.in_flight_max),
                    };
                    if let Seen::Connect {
                        clean_start: true, ..
                    } = seen
                    {
                        actor.flights.forget_all();
                    }
                    if let Seen::Ack {
                        kind: AckKind::PubRec,
                        id,
                        ..
                    } = &seen
                        && let Some(number) = actor.got.get(id)
                        && !actor.has_store()
                    {
                        actor.inbox.keep_known(*number);
                    }
                    // In a session that is not the one it takes it for, identifiers stand for other messages.
                    let is_other = self.sessions[client].is_split || self.sessions[client].is_mixed;
                    if let Err((rule, text)) = actor.check_words(&seen)
                        && !is_other
                    {
                        return self.fail(rule, text);
                    }
                    if let Seen::Ack {
                        has_words: true, ..
                    } = seen
                    {
                        self.coverage.acknowledged_with_words += 1;
                    }
                    let way = &mut line.up.way;
                    way.send(line.number, &seen, size, &mut actor.flights, own)
                }
                Direction::Down => {
                    line.note_last_words(&seen);
                    let own = self.nodes[self.at].config.server.in_flight_max;
                    // Of a connection that another one has taken the place of it says nothing any more.
                    let current = self.sessions[client].line;
                    let is_over = current.is_some_and(|current| current != line.number);
                    if let Seen::ConnAck {
                        refusal: None,
                        session_present: false,
                        ..
                    } = seen
                        && !is_over
                    {
                        self.flights[client].forget_all();
                    }
                    // What was queued before the end says nothing about the session any more.
                    let mut old = Flights::default();
                    old.is_restored = true;
                    let session = &self.sessions[client];
                    // One that its broker does not know to be over.
                    let is_older = session.is_split && session.line != Some(line.number);
                    let flights = match line.stage {
                        Stage::Ending => &mut old,
                        Stage::Connecting | Stage::Connected => &mut self.flights[client],
                    };
                    let way = &mut line.down.way;
                    match is_older {
                        true => way.send_apart(&seen, size),
                        false => way.send(line.number, &seen, size, flights, own),
                    }
                }
            };
            self.check(result);
            if let Seen::Publish {
                dup,
                number: Some(number),
                expiry_secs,
                ..
            } = seen
            {
                self.coverage.repeated += u64::from(dup);
                let (now, version) = (self.now, self.lines[place].version);
                let line = &self.lines[place];
                let session = &self.sessions[line.client];
                let is_near = !self.is_joined()
                    || !self.plan.stores && self.oracle.is_near(number, line.node, session);
                let result =
                    self.oracle
                        .send(now, (direction, is_near), number, dup, expiry_secs, version);
                self.coverage.counted_down += u64::from(result == Ok(true));
                self.check(result.map(|_| ()));
                let (client, stage) = (self.lines[place].client, self.lines[place].stage);
                if direction == Direction::Down && stage != Stage::Ending {
                    let result = self.oracle.take_turn(number, client, &self.sessions);
                    self.coverage.turns_again += u64::from(result == Ok(true));
                    self.check(result.map(|_| ()));
                }
            }
            if direction == Direction::Down {
                self.broker_has_sent(place, &seen);
            }
        }
    }

    /// What the broker has said is stored, and binds it.
    fn broker_has_sent(&mut self, place: usize, seen: &Seen) {
        self.note_no(place, seen);
        let line = &mut self.lines[place];
        let client = line.client;
        match seen {
            Seen::ConnAck {
                refusal: None,
                session_present,
                ..
            } => {
                let (number, present) = (line.number, line.present);
                self.sessions[client].connack(number, present);
                self.wills.connack(number);
                if present != *session_present {
                    self.fail("session present is the truth", format!("{seen:?}"));
                }
            }
            Seen::Ack {
                kind: AckKind::PubAck | AckKind::PubRec,
                id,
                reason,
                ..
            } => {
                let Some(number) = line.taken.remove(id) else {
                    return;
                };
                if reason.value() >= 0x80 {
                    self.sessions[client].release(*id, line.number);
                    self.oracle.refuse(number);
                    return;
                }
                self.check_locals(number);
                let none_matched = reason.value() == 0x10;
                let result = self.oracle.acknowledge(
                    number,
                    self.now,
                    &mut self.sessions,
                    &self.actors,
                    &mut self.group,
                    none_matched,
                );
                self.check(result);
            }
            // Of a connection that is over it says nothing about the next one.
            Seen::SubAck { .. } | Seen::UnsubAck { .. } if line.stage == Stage::Ending => {}
            Seen::SubAck { id, granted } => {
                let filters = line.subscribes.remove(id).unwrap_or_default();
                for ((filter, ..), granted) in filters.iter().zip(granted) {
                    self.sessions[client].suback(filter, *granted);
                }
            }
            Seen::UnsubAck { id } => {
                for filter in line.unsubscribes.remove(id).unwrap_or_default() {
                    self.sessions[client].unsuback(&filter);
                }
            }
            _ => {}
        }
    }

    /// The packets that a machine has taken; those that it has ignored need not be whole.
    fn split(&mut self, place: usize, bytes: &[u8], stage: Stage) -> Option<Vec<Seen>> {
        let version = self.lines[place].version;
        match Way::default().packets(version, bytes) {
            Ok(packets) => Some(packets.into_iter().map(|(seen, _)| seen).collect()),
            Err(_) if stage == Stage::Ending => None,
            Err((rule, text)) => {
                self.fail(rule, text);
                None
            }
        }
    }

    /// Looks at what the broker has taken.
    pub(super) fn hear_up(&mut self, place: usize, bytes: &[u8], stage: Stage) {
        self.coverage.bytes += bytes.len() as u64;
        let Some(packets) = self.split(place, bytes, stage) else {
            return;
        };
        count_packets(&mut self.coverage, false, stage, bytes);
        for seen in packets {
            let line = &mut self.lines[place];
            let client = line.client;
            if stage == Stage::Ending {
                continue;
            }
            self.trace
                .note(|| format!("line {} broker takes {seen:?}", line.number));
            line.down.way.hear(&seen, &mut self.flights[client]);
            match seen {
                Seen::Connect {
                    limits,
                    clean_start,
                    ..
                } => {
                    line.down.way.limits = limits;
                    let session = &mut self.sessions[client];
                    if session.roams && clean_start {
                        // The older one ends before it is known whether this one begins.
                        session.split();
                    }
                    self.note_coming(place, clean_start);
                }
                Seen::Publish {
                    id,
                    qos,
                    number: Some(number),
                    expiry_secs,
                    ..
                } => {
                    if let Some(secs) = expiry_secs {
                        let ends = self.now.plus_secs(secs);
                        self.oracle.limit_at_broker(number, ends);
                    }
                    if let Some(id) = id {
                        line.taken.insert(id, number);
                        if qos == QoS::ExactlyOnce
                            && self.sessions[client].receive(id, number, line.number)
                        {
                            self.oracle.mistake(number);
                        }
                    }
                    let is_held =
                        self.nodes[self.at].config.ask.subscribe && !line.subscribes.is_empty();
                    self.oracle.come(number, is_held);
                    if self.sessions[client].is_mixed || self.sessions[client].is_split {
                        self.oracle.doubt(number);
                    }
                    if !self.nodes[self.at].config.ask.publish {
                        let line = Some(self.lines[place].number);
                        self.route(number, line);
                    }
                }
                Seen::Ack {
                    kind: AckKind::PubRel,
                    id,
                    ..
                } => self.sessions[client].release(id, line.number),
                Seen::Subscribe { id, filters } => {
                    for (filter, qos, no_local) in &filters {
                        let session = &mut self.sessions[client];
                        self.oracle.subscribe(client, filter, session);
                        self.sessions[client].subscribe(filter, *qos, *no_local);
                    }
                    line.subscribes.insert(id, filters);
                }
                Seen::Unsubscribe { id, filters } => {
                    for filter in &filters {
                        let session = &mut self.sessions[client];
                        self.oracle.unsubscribe(client, filter, session);
                        self.sessions[client].unsubscribe(filter);
                    }
                    line.unsubscribes.insert(id, filters);
                }
                _ => {}
            }
        }
    }

    /// Looks at what a client has taken.
    pub(super) fn hear_at(&mut self, place: usize, bytes: &[u8], stage: Stage) {
        self.coverage.bytes += bytes.len() as u64;
        let Some(packets) = self.split(place, bytes, stage) else {
            return;
        };
        count_packets(&mut self.coverage, true, stage, bytes);
        for seen in packets {
            let line = &mut self.lines[place];
            let actor = &mut self.actors[line.client];
            self.trace
                .note(|| format!("line {} {} takes {seen:?}", line.number, actor.name));
            if stage == Stage::Ending {
                continue;
            }
            line.up.way.hear(&seen, &mut actor.flights);
            if let Seen::Publish {
                id: Some(id),
                number: Some(number),
                ..
            } = seen
            {
                actor.got.insert(id, number);
                actor.said.forget(number);
            }
            if let Seen::ConnAck {
                refusal: None,
                session_present,
                limits,
            } = seen
            {
                line.up.way.limits = limits;
                if session_present {
                    self.coverage.resumes += 1;
                } else {
                    actor.may_lose = true;
                    actor.flights.forget_all();
                }
                actor.is_fresh = false;
                if !session_present {
                    actor.begin_epoch(line.epoch);
                }
            }
        }
    }
}

/// Counts whole packets by their first bytes.
pub(super) fn count_packets(coverage: &mut Coverage, at_client: bool, stage: Stage, bytes: &[u8]) {
    let mut rest = bytes;
    let mut stage = stage;
    while let Some(first) = rest.first() {
        coverage.packet(at_client, stage, *first);
        coverage.packets += 1;
        // CONNACK opens what comes behind it in the same piece.
        if stage == Stage::Connecting {
            stage = Stage::Connected;
        }
        let mut remaining = 0_usize;
        let mut len = 0;
        for (place, byte) in rest.iter().skip(1).take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                len = remaining + place + 2;
                break;
            }
        }
        rest = match len {
            0 => &[],
            len => rest.get(len..).unwrap_or_default(),
        };
    }
}
