//! The rules of one network connection that hold for both roles.
//!
//! A [`Link`] lives as long as its connection and holds what dies with it: the negotiated limits,
//! the quotas, the alias tables, and answers on their way out. It has no queue of messages and no
//! events: what it finds out it returns, and what outlives it is passed in as a
//! [`Session`]. What one role alone does is in `client` and `server`.

mod acks;
mod alias;
mod outbox;
mod receive;
mod shorten;
mod store;
mod transmit;
mod write;
mod written;

use core::num::NonZeroU32;

use bytes::Bytes;
use mqtt_codec::{Disconnect, EncodeError, Packet, PlainAck, ProtocolVersion, QoS};

pub(crate) use acks::{Acks, Waiting};
pub(crate) use alias::{InboundAliases, OutboundAliases, Topic};
pub(crate) use outbox::Outbox;
pub(crate) use receive::{AckEffect, Arrival, ReceiveError};
pub(crate) use store::{Outgoing, OutgoingIds, Settled, Store};
pub(crate) use write::Writer;
pub(crate) use written::Written;

use crate::ProtocolError;
use crate::session::{IdSet, Session};

/// A whole packet whose Remaining Length is the largest there is.
const PACKET_SIZE_LARGEST: u32 = REMAINING_LEN_LARGEST + 5;
const REMAINING_LEN_LARGEST: u32 = 268_435_455;

/// The Maximum Packet Size to announce; none where no packet is larger. Some peers take no figure above the
/// largest Remaining Length.
pub(crate) fn announced_packet_size(packet_size_max: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(packet_size_max.min(REMAINING_LEN_LARGEST))
        .filter(|_| packet_size_max < PACKET_SIZE_LARGEST)
}

/// One network connection, from the first packet after the handshake to the last byte.
#[derive(Debug)]
pub(crate) struct Link {
    version: ProtocolVersion,
    outbox: Outbox,
    phase: Phase,
    receive: ReceiveSide,
    send: SendSide,
}

/// What this side allows the peer.
#[derive(Debug)]
struct ReceiveSide {
    receive_maximum: u16,
    /// Identifiers received on this connection whose PUBACK, PUBCOMP or refusal has not been sent:
    /// what the peer's Receive Maximum counts.
    open: IdSet,
    aliases: InboundAliases,
}

/// What the peer allows this side.
#[derive(Debug)]
struct SendSide {
    /// PUBLISH packets at QoS 1 and 2 that may still go.
    quota: u16,
    quota_max: u16,
    packet_size_max: usize,
    maximum_qos: QoS,
    retain_available: bool,
    /// Whether acknowledgements may have a reason string and user properties.
    problem_information: bool,
    aliases: OutboundAliases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is in the outbox still goes, nothing else does.
    Closing,
    /// `Close` was handed out.
    Closed,
}

/// The limits of one connection, as both sides have stated them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkLimits {
    pub(crate) version: ProtocolVersion,
    /// Announced by this side, or what it takes where nothing can be announced.
    pub(crate) receive_maximum: u16,
    /// Announced by this side.
    pub(crate) topic_alias_maximum: u16,
    /// Announced by the peer, and never above what this side wants in flight.
    pub(crate) send_quota: u16,
    /// Announced by the peer.
    pub(crate) peer_packet_size_max: usize,
    /// Announced by the peer.
    pub(crate) peer_maximum_qos: QoS,
    /// Announced by the peer.
    pub(crate) peer_retain_available: bool,
    /// Asked for by the peer. It binds a server only.
    pub(crate) peer_problem_information: bool,
    /// Announced by the peer.
    pub(crate) peer_topic_alias_maximum: u16,
    /// Aliases this side wants to use.
    pub(crate) outbound_aliases_max: u16,
    /// Whether topics that repeat get an alias by themselves.
    pub(crate) automatic_aliases: bool,
}

impl Link {
    /// A connection whose handshake has not happened yet: only control packets can be sent.
    pub(crate) fn new(version: ProtocolVersion, outbox_bytes_max: usize) -> Self {
        Self {
            version,
            outbox: Outbox::new(outbox_bytes_max),
            phase: Phase::Open,
            receive: ReceiveSide {
                receive_maximum: 0,
                open: IdSet::new(),
                aliases: InboundAliases::new(0),
            },
            send: SendSide {
                quota: 0,
                quota_max: 0,
                packet_size_max: usize::MAX,
                maximum_qos: QoS::ExactlyOnce,
                retain_available: true,
                problem_information: true,
                aliases: OutboundAliases::new(version, 0, 0, true),
            },
        }
    }

    /// The handshake is done: from here on the negotiated limits hold.
    // [5:MQTT-3.3.2-7] Aliases and quotas start anew with every connection.
    pub(crate) fn open(&mut self, limits: LinkLimits) {
        self.version = limits.version;
        self.receive = ReceiveSide {
            receive_maximum: limits.receive_maximum.max(1),
            open: IdSet::new(),
            aliases: InboundAliases::new(limits.topic_alias_maximum),
        };
        self.send = SendSide {
            // [5:MQTT-4.9.0-1] The quota starts above zero and not above the peer's Receive Maximum.
            quota: limits.send_quota.max(1),
            quota_max: limits.send_quota.max(1),
            packet_size_max: limits.peer_packet_size_max,
            maximum_qos: limits.peer_maximum_qos,
            retain_available: limits.peer_retain_available,
            problem_information: limits.peer_problem_information,
            aliases: OutboundAliases::new(
                limits.version,
                limits.peer_topic_alias_maximum,
                limits.outbound_aliases_max,
                limits.automatic_aliases,
            ),
        };
    }

    /// These topics get an alias, and keep it.
    pub(crate) fn pin_topics(&mut self, topics: &[Bytes]) {
        for topic in topics {
            self.send.aliases.pin(topic);
        }
    }

    /// The topic's alias may be given to another one again.
    pub(crate) fn unpin_topic(&mut self, topic: &[u8]) {
        self.send.aliases.unpin(topic);
    }

    /// Sends again what a resumed session has in flight: PUBREL at once, PUBLISH through the quota.
    pub(crate) fn resume<M>(&mut self, session: &mut Session<M>) -> Result<(), EncodeError> {
        for id in session.outbound.resume() {
            let release = PlainAck::PubRel(id);
            self.outbox.push_ack(release, self.send.packet_size_max)?;
        }
        Ok(())
    }

    /// What the peer takes, as far as it matters before the handshake is done.
    pub(crate) fn heed(&mut self, packet_size_max: usize) {
        self.send.packet_size_max = packet_size_max;
    }

    /// Queues a packet other than PUBLISH. Reason string and user properties are left out where the
    /// peer does not want them, or does not take the packet with them.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) -> Result<(), EncodeError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        if self.send.problem_information {
            match self.push(packet) {
                Err(EncodeError::PacketTooLarge { .. }) => {}
                sent => return sent,
            }
        }
        self.send_shorter(*packet)
    }

    fn push(&mut self, packet: &Packet<'_>) -> Result<(), EncodeError> {
        self.outbox
            .push(packet, self.version, self.send.packet_size_max)
    }

    /// Queues DISCONNECT, where the version lets this role send it, and ends the connection.
    // [5:MQTT-3.14.4-1] [3:MQTT-3.14.4-2] Nothing is sent after it, [5:MQTT-3.14.4-2] [3:MQTT-3.14.4-1] and
    // the connection is closed.
    pub(crate) fn disconnect(&mut self, disconnect: &Disconnect<'_>) {
        if self.phase == Phase::Open {
            // One that is too large for the peer, even without what it can do without, is left out; the
            // connection is closed all the same. [5:MQTT-4.13.2-1]
            if self.send(&Packet::Disconnect(*disconnect)).is_err() {
                let _left_out = self.send(&Packet::Disconnect(Disconnect::new(disconnect.reason)));
            }
            self.phase = Phase::Closing;
        }
    }

    /// Ends the connection after what is queued.
    pub(crate) fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
    }

    /// Ends the connection at once; nothing more is sent.
    pub(crate) fn abort(&mut self) {
        self.outbox.clear();
        self.close();
    }

    /// Ends the connection because the peer broke the rules.
    // [5:MQTT-4.13.1-1] [3:MQTT-4.8.0-1] A protocol error closes the connection it came in on, and so does
    // [3:MQTT-4.8.0-2] what only this side cannot hold.
    pub(crate) fn fail(&mut self, error: &ProtocolError) {
        match self.version {
            ProtocolVersion::V5_0 => self.disconnect(&Disconnect::new(error.disconnect_reason())),
            ProtocolVersion::V3_1_1 => self.close(),
        }
    }

    /// Where the next answer will be, for [`hold`](Self::hold).
    pub(crate) fn mark(&self) -> u64 {
        self.outbox.end()
    }

    /// Whether everything before a mark has been handed out.
    pub(crate) fn has_taken(&self, mark: u64) -> bool {
        self.outbox.taken() >= mark
    }

    /// Answers since `mark` go out when the journal is stored up to `position`.
    pub(crate) fn hold(&mut self, mark: u64, position: u64) {
        self.outbox.hold(mark, position);
    }

    /// The next packet is CONNACK.
    pub(crate) fn note_greeting(&mut self) {
        self.outbox.note_greeting();
    }

    /// So much of the journal is stored.
    pub(crate) fn note_stored(&mut self, position: u64) {
        self.outbox.note_stored(position);
    }

    /// Nothing more will be stored: answers that wait for that, and those behind them, are left out.
    pub(crate) fn give_up_held(&mut self) {
        self.outbox.give_up_held();
    }

    /// How far the journal has to be stored before more can be sent, if that is what it waits for.
    pub(crate) fn held_position<M>(&self, session: Option<&Session<M>>) -> Option<u64> {
        let is_open = self.phase == Phase::Open;
        let session = session.filter(|_| is_open);
        let publish =
            session.and_then(|session| session.outbound.held_position(self.send.quota > 0));
        let answer = self.outbox.held_position();
        { answer.into_iter() }.chain(publish).min()
    }

    /// Whether answers pile up because the peer does not read them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.outbox.is_full()
    }

    #[inline]
    pub(crate) fn has_control_output(&self) -> bool {
        !self.outbox.is_idle() || (self.outbox.is_empty() && self.phase == Phase::Closing)
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// QoS 1 and 2 PUBLISH packets that may still go.
    pub(crate) fn send_quota(&self) -> u16 {
        self.send.quota
    }

    /// The largest packet the peer takes, in bytes.
    pub(crate) fn packet_size_max(&self) -> usize {
        self.send.packet_size_max
    }
}
