//! Peers that follow no rule: clients that send the broker what they like, and a server that sends a
//! client what it likes. Nothing may come of it but the end of their connection.

use alloc::format;
use alloc::vec::Vec;

use mqtt_codec::{PacketType, Parsed, ProtocolVersion, Str, decode};

use super::coverage::{Coverage, Fault, Stage};
use super::hear::count_packets;
use super::line::stage_of;
use super::packets::any_packet;
use super::random::Random;
use super::watch::Broken;
use super::world::World;
use crate::broker::{ConnectionId, Peer};
use crate::client::{Client, Config, State};
use crate::{Timestamp, Transmit};

#[derive(Debug)]
struct Stranger {
    id: ConnectionId,
    version: ProtocolVersion,
    stage: Stage,
    /// What the broker has not taken yet.
    input: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Strangers {
    clients: Vec<Stranger>,
    /// A client, and the version of the server that is none.
    lone: (Client, ProtocolVersion),
    lone_input: Vec<u8>,
}

impl Strangers {
    pub(super) fn new(seed: u64) -> Self {
        let version = match seed % 2 {
            0 => ProtocolVersion::V5_0,
            _ => ProtocolVersion::V3_1_1,
        };
        Self {
            clients: Vec::new(),
            lone: (Client::new(Config::default()), version),
            lone_input: Vec::new(),
        }
    }

    pub(super) fn note_connected(&mut self, id: ConnectionId) {
        let clients = self.clients.iter_mut();
        for stranger in clients.filter(|stranger| stranger.id == id) {
            stranger.stage = Stage::Connected;
        }
    }

    pub(super) fn note_closed(&mut self, id: ConnectionId) {
        let clients = self.clients.iter_mut();
        for stranger in clients.filter(|stranger| stranger.id == id) {
            stranger.stage = Stage::Ending;
        }
    }

    /// The broker is another one.
    pub(super) fn forget_lines(&mut self) {
        self.clients.clear();
    }
}

/// Whole packets, and nothing else.
fn check_output(version: ProtocolVersion, bytes: &[u8]) -> Result<(), Broken> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match decode(rest, version, u32::MAX) {
            Ok(Parsed::Complete((_, size))) => rest = rest.get(size..).unwrap_or_default(),
            other => return Err(("a packet that is none", format!("{other:?}"))),
        }
    }
    Ok(())
}

/// Some packets, or bytes that are none. Answers whether they are packets.
fn anything(random: &mut Random, version: ProtocolVersion, into: &mut Vec<u8>) -> bool {
    if random.chance(10) {
        for _ in 0..1 + random.below(12) {
            into.push(random.next() as u8);
        }
        return false;
    }
    let packet_type = random.pick(&PacketType::ALL);
    into.extend(any_packet(random, packet_type, version, "x"));
    true
}

impl World<'_> {
    /// A client that follows no rule.
    pub(super) fn strange_client(&mut self, random: &mut Random) {
        self.at = 0;
        if self.is_too_low() {
            return;
        }
        let now = self.now;
        if self.strangers.clients.is_empty() || random.chance(30) {
            if self.strangers.clients.len() >= 3 {
                self.close_stranger(0);
            }
            let Ok(id) = self.nodes[self.at].broker.accept(now, Peer::default()) else {
                return;
            };
            let version = match random.chance(50) {
                true => ProtocolVersion::V5_0,
                false => ProtocolVersion::V3_1_1,
            };
            let mut input = Vec::new();
            if random.chance(70) {
                let name = random.pick(&["x1", "x2"]);
                input = any_packet(random, PacketType::Connect, version, name);
            }
            self.strangers.clients.push(Stranger {
                id,
                version,
                stage: Stage::Connecting,
                input,
            });
            self.drain_broker();
        }
        let place = random.below(self.strangers.clients.len());
        for _ in 0..1 + random.below(6) {
            let Some(stranger) = self.strangers.clients.get_mut(place) else {
                return;
            };
            let (id, version) = (stranger.id, stranger.version);
            if stranger.stage == Stage::Connected || random.chance(40) {
                let is_packet = anything(random, version, &mut stranger.input);
                let fault = match is_packet {
                    true => Fault::StrangeClient,
                    false => Fault::StrangeBytes,
                };
                self.coverage.fault(fault);
            }
            let stage = stranger.stage;
            let bytes = self.nodes[self.at]
                .broker
                .handle_input(now, id, &stranger.input)
                .bytes;
            let taken: Vec<u8> = stranger.input.drain(..bytes).collect();
            self.trace.bytes(&taken);
            self.trace.note(|| format!("stranger {place} {taken:02x?}"));
            count_packets(&mut self.coverage, false, stage, &taken);
            self.drain_broker();
            if random.chance(60) {
                let mut output = Vec::new();
                if self.nodes[self.at].ready.contains(&id) {
                    let transmit =
                        self.nodes[self.at]
                            .broker
                            .poll_transmit(now, id, 1 << 20, &mut output);
                    if transmit != Transmit::More {
                        self.nodes[self.at].ready.remove(&id);
                    }
                    let result = check_output(version, &output);
                    self.check(result);
                    if transmit == Transmit::Close {
                        self.strangers.clients.retain(|stranger| stranger.id != id);
                    }
                    self.drain_broker();
                }
            }
        }
    }

    fn close_stranger(&mut self, place: usize) {
        self.at = 0;
        let stranger = self.strangers.clients.remove(place);
        self.nodes[self.at].ready.remove(&stranger.id);
        self.nodes[self.at]
            .broker
            .handle_close(self.now, stranger.id);
        self.drain_broker();
    }

    /// All strangers are gone.
    pub(super) fn close_strangers(&mut self) {
        while !self.strangers.clients.is_empty() {
            self.close_stranger(0);
        }
    }

    /// A server that follows no rule.
    pub(super) fn strange_server(&mut self, random: &mut Random) {
        let now = self.now;
        let strangers = &mut self.strangers;
        let (client, version) = (&mut strangers.lone.0, strangers.lone.1);
        let result = lone_steps(
            client,
            version,
            now,
            random,
            &mut strangers.lone_input,
            &mut self.coverage,
        );
        self.check(result);
    }
}

fn lone_steps(
    client: &mut Client,
    version: ProtocolVersion,
    now: Timestamp,
    random: &mut Random,
    input: &mut Vec<u8>,
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    for _ in 0..1 + random.below(8) {
        if client.state() == State::Disconnected {
            input.clear();
            let name = Str::new("lone").unwrap_or_default();
            let mut connect = mqtt_codec::Connect::new(version, name);
            connect.clean_start = true;
            let _full = client.connect(now, &connect);
        } else if client.state() == State::Connecting && random.chance(60) {
            input.extend(any_packet(random, PacketType::ConnAck, version, "x"));
        }
        if client.state() == State::Connected && random.chance(15) {
            let reason = mqtt_codec::DisconnectReason::NormalDisconnection;
            let _over = client.disconnect(now, reason);
        }
        if random.chance(40) {
            let topic = random.pick(&["x/1", "x/2"]);
            if let Ok(message) = mqtt_codec::Message::new(topic, "x") {
                let qos = random.pick(&super::packets::QOS);
                let _full = client.publish(now, message.with_qos(qos));
            }
        }
        if anything(random, version, input) {
            coverage.fault(Fault::StrangeServer);
        }
        let stage = stage_of(client.state());
        let bytes = client.handle_input(now, input).bytes;
        let taken: Vec<u8> = input.drain(..bytes).collect();
        count_packets(coverage, true, stage, &taken);
        while client.poll_event().is_some() {}
        if random.chance(50) {
            let mut output = Vec::new();
            let transmit = client.poll_transmit(now, 1 << 20, &mut output);
            check_output(version, &output)?;
            if transmit == Transmit::Close {
                client.handle_close(now);
            }
        }
        while client.poll_event().is_some() {}
    }
    Ok(())
}
