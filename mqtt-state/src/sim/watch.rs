//! Looks at every packet of a connection, on both sides: what the standard forbids whatever happens.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{PacketId, Parsed, ProtocolVersion, QoS, ReasonCode, decode};

use super::packets::{AckKind, Limits, Seen};

/// What a packet identifier stands for at its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flight {
    Publish {
        number: u32,
        qos: QoS,
        /// The connection that it was last sent on.
        line: u64,
    },
    /// PUBREC has come.
    Release { number: u32 },
    /// PUBREL has gone without that, as the message was given up. It is not sent again.
    Withdrawn { number: u32 },
    /// SUBSCRIBE or UNSUBSCRIBE; dies with its connection.
    Request { line: u64 },
}

/// The identifiers that one side has in use: one space for all, for the life of the session.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights {
    in_use: BTreeMap<PacketId, Flight>,
    /// QoS 2 messages that were given up after they were sent, as PUBREL says: their sender has to say so, too.
    given_up: BTreeSet<u32>,
    /// Likewise QoS 1 messages, as something else says that has their identifiers.
    freed: BTreeSet<u32>,
    /// Messages in flight of which it has said that they are lost, or of some like them.
    lost: BTreeSet<u32>,
    /// The sender has been made from what was stored: it may not know what it has sent.
    pub(super) is_restored: bool,
}

impl Flights {
    pub(super) fn forget_all(&mut self) {
        self.in_use.clear();
        self.given_up.clear();
        self.freed.clear();
        self.lost.clear();
    }

    /// Whether the receiver of a QoS 2 message may have it, and nothing of that has come back.
    pub(super) fn has_unreceived(&self) -> bool {
        let mut flights = self.in_use.values();
        flights.any(|flight| {
            let qos = QoS::ExactlyOnce;
            matches!(flight, Flight::Publish { qos: of, .. } if *of == qos)
        })
    }

    /// What was given up since this was asked: how many there are at QoS 2, and one at whichever of which its
    /// sender has not said so.
    pub(super) fn take_given_up(&mut self) -> (u64, Option<u32>) {
        let given_up = core::mem::take(&mut self.given_up);
        let freed = core::mem::take(&mut self.freed);
        let mut silent = { given_up.iter() }
            .chain(&freed)
            .filter(|number| !self.lost.contains(number));
        (given_up.len() as u64, silent.next().copied())
    }

    /// What an identifier stands for when it is to stand for something else on a connection, for another message
    /// or for none. At QoS 1 it is free when its message is given up, which happens to none that was sent there.
    fn take_over(&mut self, id: PacketId, number: Option<u32>, line: u64) -> Option<Flight> {
        match self.in_use.get(&id).copied()? {
            Flight::Publish {
                number: of,
                qos: QoS::AtLeastOnce,
                line: sent_on,
            } if Some(of) != number && sent_on != line => {
                self.freed.insert(of);
                None
            }
            flight => Some(flight),
        }
    }

    /// The sender has said that it has lost one of these, which it had sent.
    pub(super) fn lose(&mut self, is_it: impl Fn(u32) -> bool) {
        let numbers = self.in_use.values().filter_map(|flight| match flight {
            Flight::Publish { number, .. } | Flight::Withdrawn { number } => Some(*number),
            Flight::Release { .. } | Flight::Request { .. } => None,
        });
        let numbers = numbers.chain(self.freed.iter().copied());
        self.lost.extend(numbers.filter(|number| is_it(*number)));
    }

    /// What dies with a connection.
    pub(super) fn end_line(&mut self, line: u64) {
        self.in_use
            .retain(|_, flight| *flight != Flight::Request { line });
    }
}

/// A rule that was broken, and how.
pub(super) type Broken = (&'static str, String);

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// Handed out, and no whole packet yet.
    partial: Vec<u8>,
    packets: usize,
    /// PUBLISH packets above QoS 0 that are not acknowledged, as its sender knows.
    unacknowledged: BTreeSet<PacketId>,
    /// What the other side takes.
    pub(super) limits: Limits,
    aliases: BTreeMap<u16, String>,
    /// No packet may follow.
    has_ended: bool,
}

impl Way {
    /// Splits what a machine handed out into packets.
    pub(super) fn packets(
        &mut self,
        version: ProtocolVersion,
        bytes: &[u8],
    ) -> Result<Vec<(Seen, usize)>, Broken> {
        self.partial.extend_from_slice(bytes);
        let mut seen = Vec::new();
        let mut at = 0;
        loop {
            let rest = self.partial.get(at..).unwrap_or_default();
            match decode(rest, version, u32::MAX) {
                Ok(Parsed::Complete((packet, size))) => {
                    seen.push((Seen::of(&packet), size));
                    at += size;
                }
                Ok(Parsed::Partial { .. }) => break,
                Err(error) => return Err(("a packet that is none", format!("{error:?}"))),
            }
        }
        self.partial.drain(..at);
        Ok(seen)
    }

    /// The sender hands out a packet.
    pub(super) fn send(
        &mut self,
        line: u64,
        seen: &Seen,
        size: usize,
        flights: &mut Flights,
        own_in_flight_max: u16,
    ) -> Result<(), Broken> {
        self.send_apart(seen, size)?;
        match seen {
            Seen::Publish {
                id: Some(id),
                qos,
                dup,
                number: Some(number),
                ..
            } => {
                self.send_publish(line, *id, *qos, *dup, *number, flights)?;
                let len = self.unacknowledged.len();
                let maximum = self.limits.receive_maximum.min(own_in_flight_max);
                // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
                if len > usize::from(maximum) {
                    return Err(("Receive Maximum", format!("{len} > {maximum}: {seen:?}")));
                }
            }
            Seen::Ack {
                kind: AckKind::PubRel,
                id,
                reason: ReasonCode::Success,
                ..
            } => match flights.in_use.get(id).copied() {
                Some(Flight::Release { .. } | Flight::Withdrawn { .. }) => {}
                Some(Flight::Publish {
                    number,
                    qos: QoS::ExactlyOnce,
                    line: sent_on,
                }) if sent_on != line => {
                    flights.in_use.insert(*id, Flight::Withdrawn { number });
                    flights.given_up.insert(number);
                }
                // It was stored that PUBREC has come, and what came of it was not.
                None if flights.is_restored => {}
                other => {
                    return Err(("PUBREL after PUBREC", format!("{id} is {other:?}")));
                }
            },
            Seen::Subscribe { id, .. } | Seen::Unsubscribe { id, .. } => {
                let flight = flights.take_over(*id, None, line);
                flights.in_use.insert(*id, Flight::Request { line });
                // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-2]
                if let Some(flight) = flight {
                    return Err((
                        "an identifier in use",
                        format!("{id} is {flight:?}: {seen:?}"),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What has to be so of a packet whichever session it belongs to.
    pub(super) fn send_apart(&mut self, seen: &Seen, size: usize) -> Result<(), Broken> {
        if self.has_ended {
            return Err(("nothing after the last packet", format!("{seen:?}")));
        }
        let is_first = self.packets == 0;
        // A server may ask before it answers a CONNECT.
        if is_first && matches!(seen, Seen::Auth { .. }) {
            return Ok(());
        }
        self.packets += 1;
        let begins = matches!(seen, Seen::Connect { .. } | Seen::ConnAck { .. });
        // [5:MQTT-3.1.0-1] [3:MQTT-3.1.0-1] [5:MQTT-3.2.0-1] [3:MQTT-3.2.0-1] [5:MQTT-3.1.0-2] [3:MQTT-3.1.0-2] [5:MQTT-3.2.0-2]
        if is_first != begins {
            return Err((
                "CONNECT and CONNACK come first, and once",
                format!("{seen:?}"),
            ));
        }
        // [5:MQTT-3.1.2-24] [5:MQTT-3.2.2-15]
        if u64::try_from(size).unwrap_or(u64::MAX) > u64::from(self.limits.packet_size_max) {
            let maximum = self.limits.packet_size_max;
            return Err((
                "no packet above the maximum size",
                format!("{size} > {maximum}: {seen:?}"),
            ));
        }
        match seen {
            Seen::Publish {
                topic,
                alias,
                number,
                ..
            } => {
                self.check_alias(topic.as_deref(), *alias)?;
                if number.is_none() {
                    return Err(("a payload that nobody published", format!("{seen:?}")));
                }
            }
            Seen::Disconnect { .. } => self.has_ended = true,
            Seen::ConnAck { refusal, .. } => self.has_ended = refusal.is_some(),
            Seen::Connect { .. }
            | Seen::Ack { .. }
            | Seen::Subscribe { .. }
            | Seen::Unsubscribe { .. }
            | Seen::SubAck { .. }
            | Seen::UnsubAck { .. }
            | Seen::Auth { .. }
            | Seen::Other => {}
        }
        Ok(())
    }

    fn check_alias(&mut self, topic: Option<&str>, alias: Option<u16>) -> Result<(), Broken> {
        let Some(alias) = alias else {
            return Ok(());
        };
        // [5:MQTT-3.1.2-26] [5:MQTT-3.2.2-17]
        if alias > self.limits.topic_alias_maximum {
            return Err(("Topic Alias Maximum", format!("{alias}")));
        }
        match topic {
            Some(topic) => {
                self.aliases.insert(alias, String::from(topic));
            }
            None if self.aliases.contains_key(&alias) => {}
            // [5:MQTT-3.3.2-7]
            None => return Err(("an alias of an earlier connection", format!("{alias}"))),
        }
        Ok(())
    }

    // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4] [5:MQTT-3.3.1-1] [3:MQTT-3.3.1-1] [5:MQTT-4.3.3-2] [3:MQTT-4.3.3-1]
    fn send_publish(
        &mut self,
        line: u64,
        id: PacketId,
        qos: QoS,
        dup: bool,
        number: u32,
        flights: &mut Flights,
    ) -> Result<(), Broken> {
        let flight = flights.take_over(id, Some(number), line);
        let text = || format!("{id} for {number} is {flight:?}, dup {dup}");
        match flight {
            None if dup && !flights.is_restored => {
                return Err(("DUP without a first sending", text()));
            }
            None => {}
            Some(Flight::Publish {
                number: of,
                qos: sent_at,
                line: sent_on,
            }) => {
                let is_again = of == number && sent_at == qos && sent_on != line;
                if !is_again {
                    return Err(("an identifier in use", text()));
                }
                if !dup {
                    return Err(("DUP when it is sent again", text()));
                }
            }
            // It was stored that it was sent, and not what came of it.
            Some(Flight::Release { number: of }) if flights.is_restored && of == number && dup => {}
            Some(Flight::Release { .. } | Flight::Withdrawn { .. } | Flight::Request { .. }) => {
                return Err(("an identifier in use", text()));
            }
        }
        flights
            .in_use
            .insert(id, Flight::Publish { number, qos, line });
        self.unacknowledged.insert(id);
        Ok(())
    }

    /// The sender has taken a packet that came the other way.
    pub(super) fn hear(&mut self, seen: &Seen, flights: &mut Flights) {
        match seen {
            Seen::Ack {
                kind, id, reason, ..
            } => {
                let has_failed = reason.value() >= 0x80;
                let flight = flights.in_use.get(id).copied();
                match (kind, flight) {
                    (
                        AckKind::PubAck,
                        Some(Flight::Publish {
                            qos: QoS::AtLeastOnce,
                            ..
                        }),
                    )
                    | (AckKind::PubComp, Some(Flight::Release { .. } | Flight::Withdrawn { .. })) =>
                    {
                        flights.in_use.remove(id);
                        self.unacknowledged.remove(id);
                    }
                    (
                        AckKind::PubRec,
                        Some(Flight::Publish {
                            number,
                            qos: QoS::ExactlyOnce,
                            ..
                        }),
                    ) => {
                        if has_failed {
                            flights.in_use.remove(id);
                            self.unacknowledged.remove(id);
                        } else {
                            flights.in_use.insert(*id, Flight::Release { number });
                        }
                    }
                    (AckKind::PubComp, None) => {
                        self.unacknowledged.remove(id);
                    }
                    _ => {}
                }
            }
            Seen::SubAck { id, .. } | Seen::UnsubAck { id } => {
                if matches!(flights.in_use.get(id), Some(Flight::Request { .. })) {
                    flights.in_use.remove(id);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_an_older_session_begins_and_ends_like_any_other() {
        let goodbye = Seen::Disconnect {
            reason: ReasonCode::ServerShuttingDown,
        };
        let connack = Seen::ConnAck {
            refusal: None,
            session_present: false,
            limits: Limits::default(),
        };
        let rows: [(&str, &[&Seen], Result<(), &str>); 4] = [
            ("in its order", &[&connack, &goodbye], Ok(())),
            (
                "no greeting",
                &[&goodbye],
                Err("CONNECT and CONNACK come first, and once"),
            ),
            (
                "two of them",
                &[&connack, &connack],
                Err("CONNECT and CONNACK come first, and once"),
            ),
            (
                "behind the last",
                &[&connack, &goodbye, &Seen::Other],
                Err("nothing after the last packet"),
            ),
        ];
        for (row, packets, expected) in rows {
            // Whichever of them the session is known for.
            for known in 0..=packets.len() {
                let (mut way, mut flights) = (Way::default(), Flights::default());
                let mut result = Ok(());
                for (place, seen) in packets.iter().enumerate() {
                    result = result.and_then(|()| match place < known {
                        true => way.send_apart(seen, 4),
                        false => way.send(1, seen, 4, &mut flights, 1),
                    });
                }
                let result = result.map_err(|(rule, _)| rule);
                assert_eq!(result, expected, "{row}, {known}");
            }
        }
    }
}
