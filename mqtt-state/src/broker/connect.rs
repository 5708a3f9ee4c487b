//! CONNECT, take-over, and what happens to a session when its connection ends.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use mqtt_codec::{ConnAckProperties, Connect, ConnectReason, DisconnectReason, Str};

use super::event::Event;
use super::held::Goodbye;
use super::routing::is_reserved;
use super::sessions::SessionKey;
use super::timers::Timer;
use super::{Broker, ConnectionId, Owner};
use crate::counted::Arc;
use crate::server::{ConnectRequest, Welcome, check_connect};
use crate::session::Lost;
use crate::{AuthenticationData, CloseCause, Timestamp};

/// A session without an end.
const FOR_EVER: u32 = u32::MAX;

impl Broker {
    /// A well-formed CONNECT: accepts or refuses it.
    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
    ) -> Result<(), CloseCause> {
        // There may be room that nobody has cleared yet.
        let is_full = self.sessions.len() >= self.config.sessions_max || self.is_full();
        if is_full {
            self.fire_due(now);
        }
        self.refuse_while_draining(id)?;
        check_connect(connect, &self.config.server).map_err(CloseCause::Refused)?;
        if self.is_full() && !self.comes_back(id, connect) {
            return Err(CloseCause::Refused(ConnectReason::ServerBusy));
        }
        let request = ConnectRequest::new(connect, &self.config.server);
        if self.config.ask.connect {
            return self.ask_connect(now, id, Box::new(request));
        }
        self.admit(now, id, request, None)
    }

    /// Nobody is let in who was not, once goodbyes are said, also if the answer about him comes between two of them.
    pub(super) fn refuse_while_draining(&mut self, id: ConnectionId) -> Result<(), CloseCause> {
        if let Some(drain) = &self.draining {
            let reason = mqtt_codec::ReasonCode::from(drain.reason);
            let reason = ConnectReason::try_from(reason);
            let reason = reason.unwrap_or(ConnectReason::ServerUnavailable);
            let reference = drain.server_reference.as_deref().map(Str::new);
            if let (Some(connection), Some(Ok(reference))) =
                (self.connections.get_mut(id), reference)
            {
                let properties = ConnAckProperties {
                    server_reference: Some(reference),
                    ..ConnAckProperties::default()
                };
                connection.link.say_no(reason, properties);
            }
            return Err(CloseCause::Refused(reason));
        }
        Ok(())
    }

    /// Whether a client comes for the session that it has here and brings no more to keep than it has left:
    /// what waits for it makes room only when it gets it.
    fn comes_back(&self, id: ConnectionId, connect: &Connect<'_>) -> bool {
        let (Some((_, entry)), Some(connection)) = (
            self.sessions.of_client(connect.client_id.as_str()),
            self.connections.get(id),
        ) else {
            return false;
        };
        let user_name = connect.user_name.map(Str::as_str);
        let owner = Owner::known(user_name, &connection.peer);
        let len = |owner: Option<&Arc<Owner>>| owner.map_or(0, |owner| owner.text_len());
        let is_owner_larger = len(owner.as_ref()) > len(entry.owner.as_ref());
        connect.will.is_none() && !(self.config.ask.is_anything() && is_owner_larger)
    }

    /// A CONNECT that nothing stands against.
    // [5:MQTT-3.1.3-5] [3:MQTT-3.1.3-5] Whatever the identifier is.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: ConnectRequest,
        authentication_data: Option<AuthenticationData>,
    ) -> Result<(), CloseCause> {
        self.refuse_while_draining(id)?;
        match self.claim(now, id, connect, authentication_data) {
            Some((connect, data)) => self.admit_claimed(now, id, connect, data, false),
            None => Ok(()),
        }
    }

    /// A CONNECT whose client is nobody else's. Other brokers have heard of it where they were `asked`.
    pub(super) fn admit_claimed(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: ConnectRequest,
        authentication_data: Option<AuthenticationData>,
        asked: bool,
    ) -> Result<(), CloseCause> {
        // [5:MQTT-3.1.3-6] [3:MQTT-3.1.3-6] A client without an identifier gets one.
        let assigned = connect
            .client_id
            .is_empty()
            .then(|| self.assign_client_id());
        let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
        let was_here = self.end_former(now, client_id, connect.clean_start);
        let (key, session_present) = self.session_for(client_id)?;
        self.note_begun(key, session_present);
        if was_here && !session_present && !asked {
            self.say_begun(key);
        }
        // [5:MQTT-3.1.3-9] The client is back before the delay of its will was over.
        self.cancel_timers(key);
        let session_expiry_secs = connect.session_expiry_secs;
        self.begin_session(id, key, connect, session_present);
        let welcome = Welcome {
            session_present,
            session_expiry_secs,
            assigned_client_id: assigned.as_deref().and_then(|text| Str::new(text).ok()),
            authentication_data: authentication_data.as_ref(),
            ..Welcome::default()
        };
        self.welcome(id, key, &welcome)
    }

    /// What there was of a client before its new CONNECT ends, as far as that does not go on with it. Answers
    /// whether there was a session.
    fn end_former(&mut self, now: Timestamp, client_id: &str, clean_start: bool) -> bool {
        let held = self.sessions.of_client(client_id);
        let was_here = held.is_some();
        // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2] The older connection of the same client ends.
        if let Some(older) = held.and_then(|(_, entry)| entry.connection) {
            self.end_connection(
                now,
                older,
                CloseCause::Disconnected(DisconnectReason::SessionTakenOver),
                None,
            );
        }
        if let Some((key, entry)) = self.sessions.of_client(client_id) {
            // However late the embedder tells the time, and whoever else is due.
            let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            // [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6] A clean start ends the session that was there.
            // [5:MQTT-3.1.4-4] [3:MQTT-3.1.4-3]
            if clean_start || is_due(entry.expires_at.at()) {
                self.end_session(now, key);
            } else if is_due(entry.will_at.at()) {
                self.publish_will(now, key);
            }
        }
        was_here
    }

    /// The session of a client, and whether it was there before.
    // [5:MQTT-3.1.2-5] [3:MQTT-3.1.2-4] Resumed if it is there, [5:MQTT-3.1.2-6] created if not.
    fn session_for(&mut self, client_id: &str) -> Result<(SessionKey, bool), CloseCause> {
        if let Some(key) = self.sessions.find(client_id) {
            return Ok((key, true));
        }
        let is_full = self.sessions.len() >= self.config.sessions_max;
        let created = (!is_full).then(|| self.sessions.create(client_id));
        let key = created.flatten();
        let key = key.ok_or(CloseCause::Refused(ConnectReason::ServerBusy))?;
        Ok((key, false))
    }

    /// A connection and a session belong together from now on.
    fn begin_session(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        connect: ConnectRequest,
        session_present: bool,
    ) {
        let (Some(connection), Some(entry)) =
            (self.connections.get_mut(id), self.sessions.get_mut(key))
        else {
            return;
        };
        entry.connection = Some(id);
        entry.expiry_secs = connect.session_expiry_secs;
        // [5:MQTT-3.1.2-7] [3:MQTT-3.1.2-8] [3:MQTT-3.1.2-12] A new CONNECT brings its own will, or none.
        entry.will = connect.will;
        let asks = self.config.ask.publish && entry.will.is_some();
        entry.will_peer = asks.then(|| Arc::clone(&connection.peer));
        entry.owner = match self.config.ask.is_anything() {
            true => Owner::known(connect.user_name.as_deref(), &connection.peer),
            false => None,
        };
        connection.session = Some(key);
        self.counts.clients = self.counts.clients.saturating_add(1);
        self.events.push(Event::Connected {
            connection: id,
            peer: Arc::clone(&connection.peer),
            client_id: entry.client_id.clone(),
            version: connect.version,
            session_present,
        });
        self.work.spend(entry.session.in_flight_len());
    }

    /// CONNACK, and what the session has in flight behind it.
    fn welcome(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        welcome: &Welcome<'_>,
    ) -> Result<(), CloseCause> {
        let (Some(connection), Some(entry)) =
            (self.connections.get_mut(id), self.sessions.get_mut(key))
        else {
            return Ok(());
        };
        let accepted = connection
            .link
            .accept(welcome, &mut entry.session, &self.config.server)
            .map_err(|_| CloseCause::AnswerTooLarge);
        // A client that was not told so has not left one.
        if accepted.is_err() {
            entry.will = None;
            entry.will_peer = None;
        }
        self.sessions.weigh(key);
        self.begin_record(key);
        self.note_connected(key, true);
        accepted
    }

    /// The client says goodbye.
    pub(super) fn client_disconnects(&mut self, now: Timestamp, id: ConnectionId, said: Goodbye) {
        let cause = self.heed_goodbye(id, said);
        self.end_connection(now, id, cause, None);
    }

    /// What a goodbye means for the session, however the connection ends.
    fn heed_goodbye(&mut self, id: ConnectionId, said: Goodbye) -> CloseCause {
        let Goodbye {
            reason,
            session_expiry_secs,
        } = said;
        let session = self.session_key(id);
        if let Some(entry) = session.and_then(|key| self.sessions.get_mut(key)) {
            if let Some(asked) = session_expiry_secs {
                let maximum = self
                    .config
                    .server
                    .session_expiry_max_secs
                    .unwrap_or(u32::MAX);
                entry.expiry_secs = asked.min(maximum);
            }
            // [5:MQTT-3.14.4-3] [5:MQTT-3.1.2-10] [3:MQTT-3.14.4-3] [3:MQTT-3.1.2-10] Only a normal end deletes the will;
            // in 3.1.1 there is no other.
            if reason == DisconnectReason::NormalDisconnection {
                entry.will = None;
                entry.will_peer = None;
            }
        }
        CloseCause::DisconnectedByPeer(reason)
    }

    /// A connection is over. Its session goes its own way; its last bytes still go out.
    pub(super) fn end_connection(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        cause: CloseCause,
        text: Option<String>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.link.is_ended() {
            return;
        }
        self.give_up_unstored(id);
        self.take_back(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        // A goodbye that waits its turn has come all the same, before whatever ends the connection.
        let cause = match connection.held.goodbye() {
            Some(said) => self.heed_goodbye(id, said),
            None => cause,
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if matches!(cause, CloseCause::ProtocolError(_)) {
            self.traffic.note_violation();
        }
        connection.link.end(now, cause, &self.config.server);
        let session = connection.session.take();
        if session.is_some() {
            self.counts.clients = self.counts.clients.saturating_sub(1);
        }
        let peer = Arc::clone(&connection.peer);
        if let Some(at) = connection.rates.last_blocked_until() {
            self.timers.cancel(at, Timer::Rate(id));
        }
        self.drop_held(id, session);
        self.drop_at_hand(id);
        let client_id = session.map(|key| self.sessions.client_id(Some(key)));
        self.events.push(Event::Closed {
            connection: id,
            peer,
            client_id,
            cause,
            text,
        });
        self.connections.mark_ready(id);
        self.arm(id);
        if let Some(key) = session {
            self.leave_session(now, key);
        }
    }

    /// The client of a session is gone.
    fn leave_session(&mut self, now: Timestamp, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        entry.connection = None;
        entry.is_full = false;
        self.work.spend(entry.session.outbound.waiting_qos0_len());
        // QoS 0 messages wait for nobody who is away.
        for Lost { message, .. } in entry.session.outbound.take_waiting_qos0() {
            self.store.release_delivery(message);
        }
        entry.session.outbound.shrink();
        // [5:MQTT-3.1.2-8] The will goes when its delay is over or the session ends, whichever is first.
        let mut is_due = false;
        match entry.will.as_ref().map(|will| will.delay_secs) {
            Some(delay_secs) if delay_secs > 0 && entry.expiry_secs > 0 => {
                let at = now.plus_secs(delay_secs.min(entry.expiry_secs));
                entry.will_at = at.into();
                self.timers.set(at, Timer::Will(key));
            }
            will => is_due = will.is_some(),
        }
        self.note_connected(key, false);
        if is_due {
            self.publish_will(now, key);
        }
        self.let_rest(now, key);
    }

    /// A session whose client is away lives on for as long as it is to.
    pub(super) fn let_rest(&mut self, now: Timestamp, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        // [5:MQTT-3.1.2-23] [5:MQTT-4.1.0-2] [3:MQTT-3.1.2-6]
        match entry.expiry_secs {
            0 => self.end_session_in_turn(now, key),
            FOR_EVER => {}
            secs => {
                let at = now.plus_secs(secs);
                self.timers.set(at, Timer::Session(key));
                entry.expires_at = at.into();
            }
        }
        self.sessions.weigh(key);
        self.record_session(key);
    }

    /// Publishes the will of a session, at most once.
    // [5:MQTT-3.1.2-10] [3:MQTT-3.1.2-10] Afterwards it is gone.
    pub(super) fn publish_will(&mut self, now: Timestamp, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(at) = entry.will_at.take() {
            self.timers.cancel(at, Timer::Will(key));
        }
        let Some(will) = entry.will.take() else {
            return;
        };
        let (client_id, peer) = (entry.client_id.clone(), entry.will_peer.take());
        self.sessions.weigh(key);
        self.record_session(key);
        let topic = String::from(will.message.topic().as_str());
        // The broker speaks there, and no client after its end either.
        if is_reserved(will.message.topic()) {
            self.events.push(Event::Refused { client_id, topic });
            return;
        }
        if self.config.ask.publish {
            self.ask_about_will(now, key, peer, will.message);
            return;
        }
        // [5:MQTT-3.1.2-14] [5:MQTT-3.1.2-15] [3:MQTT-3.1.2-16] [3:MQTT-3.1.2-17] With its own RETAIN flag.
        let is_taken = self.has_room_to_route(&will.message);
        self.depending(|broker| broker.route_message(now, Some(key), will.message, None));
        if is_taken {
            self.events.push(Event::WillPublished { client_id, topic });
        }
    }

    /// Ends a session whose time has come, in the next call if this one has done enough.
    pub(super) fn end_session_in_turn(&mut self, now: Timestamp, key: SessionKey) {
        self.publish_will(now, key);
        if self.work.allows(self.cost_of_ending(key)) {
            self.end_session(now, key);
        } else if let Some(entry) = self.sessions.get_mut(key) {
            entry.expires_at = now.into();
            self.timers.set(now, Timer::Session(key));
        }
    }

    /// Steps that the end of a session takes, in one piece, so that a store knows of all of it or
    /// nothing.
    pub(super) fn cost_of_ending(&self, key: SessionKey) -> usize {
        let Some(entry) = self.sessions.get(key) else {
            return 1;
        };
        let subscriptions = self.subscriptions.subscriptions_len(key);
        let messages =
            { entry.session.waiting_len() }.saturating_add(entry.session.in_flight_len());
        subscriptions.saturating_add(messages).saturating_add(1)
    }

    /// Steps that the end of a connection takes.
    pub(super) fn cost_of_leaving(&self, id: ConnectionId) -> usize {
        let Some(key) = self.session_key(id) else {
            return 1;
        };
        let entry = self.sessions.get(key);
        entry.map_or(1, |entry| match entry.expiry_secs {
            0 => self.cost_of_ending(key).saturating_add(1),
            _ => { entry.session.outbound.waiting_qos0_len() }.saturating_add(1),
        })
    }

    /// Ends a session: nothing of it stays but retained messages. [3:MQTT-3.1.2-7]
    pub(super) fn end_session(&mut self, now: Timestamp, key: SessionKey) {
        // A will that still waits for its delay is published when the session ends.
        self.publish_will(now, key);
        self.work.spend(self.cost_of_ending(key));
        if let Some(client_id) = self.remove_session(key, false) {
            self.events.push(Event::SessionEnded { client_id });
        }
    }

    /// A session is gone from here. What it was to get as a member of shared subscriptions is another one's, unless it
    /// `goes_on` elsewhere. Answers whose it was.
    pub(super) fn remove_session(&mut self, key: SessionKey, goes_on: bool) -> Option<Box<str>> {
        self.cancel_timers(key);
        self.forget_moving(key);
        self.drop_subscriptions(key);
        let mut entry = self.sessions.remove(key)?;
        let outbound = &mut entry.session.outbound;
        let (in_flight, waiting) = (outbound.take_in_flight(), outbound.take_waiting());
        let sent = { in_flight.into_iter() }.map(|lost| (lost, true));
        let unsent = { waiting.into_iter() }.map(|lost| (lost, false));
        let kept_as = entry.kept_as();
        for id in entry.session.inbound.unreleased() {
            self.store.record_released(kept_as, id);
        }
        self.record_session_ended(entry.stored_as);
        for (lost, was_sent) in sent.chain(unsent) {
            let Lost {
                tag,
                message: delivery,
                ..
            } = lost;
            self.store.record_ended(kept_as, tag);
            match delivery {
                Some(delivery) if !goes_on => self.dispatch_again(key, delivery, was_sent),
                delivery => self.store.release_delivery(delivery),
            }
        }
        Some(entry.client_id)
    }

    pub(super) fn cancel_timers(&mut self, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(at) = entry.will_at.take() {
            self.timers.cancel(at, Timer::Will(key));
        }
        if let Some(at) = entry.expires_at.take() {
            self.timers.cancel(at, Timer::Session(key));
        }
    }

    // [5:MQTT-3.2.2-16] An identifier that no other session uses.
    fn assign_client_id(&mut self) -> String {
        loop {
            self.assigned = self.assigned.wrapping_add(1);
            let id = mix(self.config.seed ^ self.assigned);
            // Brokers that are joined have other ones each, and in each run: a session may be at any of them.
            let id = match &self.config.join {
                Some(join) => format!("auto-{}-{:x}-{id:016x}", join.id, join.incarnation),
                None => format!("auto-{id:016x}"),
            };
            if self.sessions.find(&id).is_none() {
                return id;
            }
        }
    }
}

/// The finalizer of SplitMix64: a bijection, so that different counts give different identifiers.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
