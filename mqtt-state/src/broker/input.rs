//! The doors that bytes come in by, and whole packets off the front of them.

use alloc::string::String;

use bytes::BytesMut;
use mqtt_codec::{Frame, Packet, Parsed};

use super::at_once::{AtOnce, Output};
use super::timers::Timer;
use super::{Broker, ConnectionId};
use crate::intake::{Intake, Origin, Step, take, take_shared};
use crate::{CloseCause, Consumed, ProtocolError, Timestamp};

impl Broker {
    /// Takes whole packets of a connection from the front of `input`. What is not consumed has to
    /// be offered again, with what has come since. Stops at a packet boundary while
    /// [`wants_input`](Self::wants_input) says no, and when this call has done what
    /// [`work_per_call`](super::Config::work_per_call) allows: [`Consumed::need`] is 0 then, and the rest has to be offered
    /// again even if nothing comes behind it, at once or when [`poll_ready`](Self::poll_ready) names
    /// the connection. For a connection that is gone it takes everything and ignores it.
    pub fn handle_input(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> Consumed {
        self.take_input(now, id, input, None)
    }

    /// Like [`handle_input`](Self::handle_input), but what this input brings about for a connection that has nothing
    /// else is handed out at once: acknowledgements, and messages to a few clients. For a driver that has the
    /// output of all connections at hand; what goes so is never kept in the broker, or is in flight at once.
    ///
    /// `output` gets the connection and a whole packet, which goes behind all that
    /// [`poll_transmit`](Self::poll_transmit) has handed out for that connection, and answers whether it took it:
    /// all of it or nothing. What it does not take, and whatever else there is, waits in the broker, and
    /// [`poll_ready`](Self::poll_ready) names the connection as always. Nothing but the moment depends on this door.
    ///
    /// Messages go so to up to four clients whose one subscription has no identifier and whose output has been drained.
    /// They do not wait, so no limit on what waits is asked. Nothing goes so where something has to be known first:
    /// with [`journal`](super::Config::journal), with [`Ask::publish`](super::Ask::publish) and with rates.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use mqtt_state::Timestamp;
    /// use mqtt_state::broker::{Broker, Config, Peer};
    ///
    /// let (now, mut broker) = (Timestamp::ZERO, Broker::new(Config::default()));
    /// let mut outputs = BTreeMap::new();
    /// let connect = |broker: &mut Broker, name: u8| {
    ///     let id = broker.accept(now, Peer::default())?;
    ///     let _all = broker.handle_input(now, id, &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, name]);
    ///     Ok::<_, mqtt_state::broker::AcceptError>(id)
    /// };
    /// let (reader, meter) = (connect(&mut broker, b'r')?, connect(&mut broker, b'm')?);
    /// let _all = broker.handle_input(now, reader, b"\x82\x06\0\x01\0\x01t\0");
    /// while let Some(id) = broker.poll_ready() {
    ///     let _idle = broker.poll_transmit(now, id, 4096, outputs.entry(id).or_default());
    /// }
    /// assert_eq!(outputs[&reader], b"\x20\x02\0\0\x90\x03\0\x01\0", "CONNACK, SUBACK");
    ///
    /// outputs.clear();
    /// let _all = broker.handle_input_into(now, meter, b"\x32\x08\0\x01t\0\x07230", |id, packet| {
    ///     outputs.entry(id).or_default().extend_from_slice(packet);
    ///     true
    /// });
    /// assert_eq!(outputs[&reader], b"\x30\x06\0\x01t230");
    /// assert_eq!(outputs[&meter], b"\x40\x02\0\x07", "PUBACK");
    /// assert_eq!(broker.poll_ready(), None, "nothing is left");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn handle_input_into(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &[u8],
        mut output: impl FnMut(ConnectionId, &[u8]) -> bool,
    ) -> Consumed {
        self.take_input(now, id, input, Some(&mut output))
    }

    /// Like [`handle_input`](Self::handle_input), but takes the bytes out of a buffer whose memory
    /// messages may share instead of being copied. A message shares it only where it is most of
    /// the buffer, so that a small one never pins a large one; for that the buffer has to be a
    /// whole one, not a part split off another.
    pub fn handle_input_shared(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &mut BytesMut,
    ) -> Consumed {
        let now = self.note_input(now, id, input.len());
        let seen = self.connections.get_mut(id).map(|connection| {
            connection.input_seen.note_buffer(input);
            connection.input_seen
        });
        let mut intake = Input::new(self, id, now, None);
        let consumed = take_shared(&mut intake, seen.unwrap_or_default(), input);
        let is_plain = intake.is_plain;
        self.settle_input(id, is_plain);
        consumed
    }

    /// Takes what is whole of `input`, with what may go at once.
    #[inline(never)]
    fn take_input<'b>(
        &'b mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &[u8],
        output: Option<&'b mut Output<'b>>,
    ) -> Consumed {
        let now = self.note_input(now, id, input.len());
        // One PUBACK: all that somebody says who reads, as a rule.
        if let [0x40, _, _, _] = input
            && self.takes_plain_packets()
            && self.take_ack_at_hand(id, input) > 0
        {
            self.settle_input(id, true);
            let bytes = input.len();
            return Consumed { bytes, need: 2 };
        }
        let mut intake = Input::new(self, id, now, output);
        let consumed = take(&mut intake, input);
        let is_plain = intake.is_plain;
        intake.broker.settle_input(id, is_plain);
        consumed
    }

    fn note_input(&mut self, now: Timestamp, id: ConnectionId, len: usize) -> Timestamp {
        let now = self.begin(now);
        if let Some(connection) = self.connections.get_mut(id)
            && connection.input_seen.note_offered(len)
        {
            connection.link.note_input(now);
        }
        now
    }

    /// After input. Where all of it was plain, whoever took it has seen to nearly all of that.
    #[inline]
    fn settle_input(&mut self, id: ConnectionId, is_plain: bool) {
        if !is_plain {
            self.settle(id);
        } else if self.asks_too_much() {
            // It was taken all the same, but no more is wanted: that is told, too, when it is over.
            self.decisions.note_refused(id);
        }
    }
}

/// A broker, as the owner of one connection's input.
struct Input<'b> {
    broker: &'b mut Broker,
    now: Timestamp,
    /// There was nothing but plain packets.
    is_plain: bool,
    at_once: AtOnce<'b>,
}

impl<'b> Input<'b> {
    fn new(
        broker: &'b mut Broker,
        id: ConnectionId,
        now: Timestamp,
        output: Option<&'b mut Output<'b>>,
    ) -> Self {
        Self {
            broker,
            now,
            is_plain: true,
            at_once: AtOnce::new(id, output),
        }
    }
}

impl Input<'_> {
    /// Nothing more is taken now: it is to be offered again, with so many bytes more.
    fn leave<'p>(&mut self, input: &[u8], needed: usize) -> Step<'p> {
        if let Some(connection) = self.broker.connections.get_mut(self.at_once.id) {
            connection.input_seen.note_left(input.len());
        }
        Step::Need(needed)
    }
}

impl Intake for Input<'_> {
    #[inline(always)]
    fn take_plain(&mut self, input: &[u8]) -> usize {
        let broker = &mut *self.broker;
        if !broker.takes_plain_packets() {
            return 0;
        }
        let mut rest = input;
        while let [first, ..] = rest
            && broker.work.left() > 0
        {
            let (now, id, at_once) = (self.now, self.at_once.id, &mut self.at_once);
            // PUBLISH, and what acknowledges one.
            let size = match first >> 4 {
                3 => broker.take_plain_publish(now, id, rest, at_once),
                4 => match broker.take_ack_at_hand(id, rest) {
                    0 => broker.take_plain_acks(now, id, rest, at_once),
                    size => size,
                },
                5..8 => broker.take_plain_acks(now, id, rest, at_once),
                _ => 0,
            };
            if size == 0 {
                break;
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        self.at_once.count(&mut broker.traffic);
        input.len().wrapping_sub(rest.len())
    }

    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        self.is_plain = false;
        let broker = &mut *self.broker;
        let Some(connection) = broker.connections.get(self.at_once.id) else {
            return Step::Ignore;
        };
        // [5:MQTT-3.1.4-6] [3:MQTT-3.1.4-5] Also after a refusal.
        if connection.link.is_ended() {
            return Step::Ignore;
        }
        if broker.work.left() == 0 {
            // The next call has steps again.
            broker.connections.mark_open(self.at_once.id);
            return self.leave(input, 0);
        }
        if !broker.wants_input(self.at_once.id) {
            // It is told when that is over.
            if broker.journal_is_full() {
                broker.note_refused(self.at_once.id);
            }
            if broker.asks_too_much() {
                broker.decisions.note_refused(self.at_once.id);
            }
            return self.leave(input, 0);
        }
        // [5:MQTT-3.14.4-1] [3:MQTT-3.14.4-2] Nothing comes behind a DISCONNECT, also while that waits its turn.
        if connection.held.goodbye().is_some() {
            return Step::Ignore;
        }
        match connection.link.parse(input) {
            Ok(Parsed::Complete(frame)) => Step::Frame(frame),
            Ok(Parsed::Partial { needed }) => self.leave(input, needed),
            Err(error) => {
                let cause = CloseCause::ProtocolError(error);
                broker.end_connection(self.now, self.at_once.id, cause, None);
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
        let broker = &mut *self.broker;
        broker.traffic.note_received(frame.size());
        let Some(connection) = broker.connections.get_mut(self.at_once.id) else {
            return;
        };
        if broker.config.has_rates() {
            let rates = &mut connection.rates;
            rates.note(self.now, frame.size(), &broker.config);
            if let Some(at) = rates.blocked_until(self.now) {
                broker.timers.set(at, Timer::Rate(self.at_once.id));
            }
        }
        let (cause, text) = match connection.link.decode(frame) {
            Ok(packet) => {
                let action = |broker: &mut Broker| {
                    broker.carry_out(self.now, self.at_once.id, &packet, origin)
                };
                // CONNACK says that no older session is there, so the end of that has to be stored,
                // whichever connection brought it about.
                let answered = match packet {
                    Packet::Connect(_) => broker.answering_for_all(self.at_once.id, action),
                    _ => broker.answering(self.at_once.id, action),
                };
                match answered {
                    Ok(()) => return,
                    Err(cause) => (cause, None),
                }
            }
            Err(error) => {
                let text = text_at_fault(&error, frame);
                (CloseCause::ProtocolError(error), text)
            }
        };
        broker.end_connection(self.now, self.at_once.id, cause, text);
    }
}

/// The topic name or filter that a decoder refused, for the log.
fn text_at_fault(error: &ProtocolError, frame: &Frame<'_>) -> Option<String> {
    let ProtocolError::Decode(error) = error else {
        return None;
    };
    error.topic_error()?;
    error.text_in(frame).map(String::from)
}
