//! Packets, and their properties, in a log: as they go over the wire.

use alloc::vec::Vec;

use mqtt_codec::{
    Ack, AckProperties, ConnAck, ConnAckOutcome, ConnAckProperties, Connect, Counts, DecodeConfig,
    Decoder, Disconnect, Limits, Packet, PacketId, Parsed, ProtocolVersion, PublishReason,
    Strictness, UserProperties,
};
use serde::{Deserialize, Serialize};

use super::{Form, Hex, Unfit};

/// A packet as it goes over the wire.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Wire(pub(in crate::record) Hex);

/// Whatever a program may have said fits, and nothing that breaks a rule does.
pub(in crate::record) const DECODING: DecodeConfig = DecodeConfig {
    limits: Limits {
        packet_size_max: u32::MAX,
        connect_size_max: u32::MAX,
        counts: Counts {
            properties_max: u16::MAX,
            user_properties_max: u16::MAX,
            filters_max: u16::MAX,
        },
    },
    strictness: Strictness::STRICT,
};

impl Wire {
    fn of(packet: &Packet<'_>, version: ProtocolVersion) -> Result<Self, Unfit> {
        let mut bytes = Vec::new();
        let written = packet.encode_to(version, &mut bytes);
        written.map_err(|_| Unfit("a packet that cannot be encoded"))?;
        Ok(Self(Hex(bytes)))
    }

    fn packet(&self, version: ProtocolVersion) -> Result<Packet<'_>, Unfit> {
        let bytes = &*self.0.0;
        let mut decoder = Decoder::new(DECODING);
        match decoder.parse(bytes, Some(version)) {
            Ok(Parsed::Complete(frame)) if frame.size() == bytes.len() => decoder
                .decode(&frame, version)
                .map_err(|_| Unfit("a packet that breaks a rule")),
            _ => Err(Unfit("no packet")),
        }
    }
}

/// `Connect`.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct ConnectForm {
    pub(in crate::record) version: ProtocolVersion,
    pub(in crate::record) packet: Wire,
}

impl Form for ConnectForm {
    type Arg<'a> = Connect<'a>;
    type Given<'a> = Connect<'a>;

    fn of(arg: &Connect<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            version: arg.version,
            packet: Wire::of(&Packet::Connect(*arg), arg.version)?,
        })
    }

    fn give(&self) -> Result<Connect<'_>, Unfit> {
        match self.packet.packet(self.version)? {
            Packet::Connect(connect) if connect.version == self.version => Ok(connect),
            _ => Err(Unfit("no CONNECT")),
        }
    }
}

/// `Disconnect`.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct DisconnectForm(Wire);

impl Form for DisconnectForm {
    type Arg<'a> = Disconnect<'a>;
    type Given<'a> = Disconnect<'a>;

    fn of(arg: &Disconnect<'_>) -> Result<Self, Unfit> {
        Wire::of(&Packet::Disconnect(*arg), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<Disconnect<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::Disconnect(disconnect) => Ok(disconnect),
            _ => Err(Unfit("no DISCONNECT")),
        }
    }
}

/// `AckProperties`, in a PUBACK.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Properties(Wire);

impl Form for Properties {
    type Arg<'a> = AckProperties<'a>;
    type Given<'a> = AckProperties<'a>;

    fn of(arg: &AckProperties<'_>) -> Result<Self, Unfit> {
        let mut ack = Ack::new(PacketId::MIN, PublishReason::Success);
        ack.properties = *arg;
        Wire::of(&Packet::PubAck(ack), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<AckProperties<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::PubAck(ack) => Ok(ack.properties),
            _ => Err(Unfit("no PUBACK")),
        }
    }
}

/// `UserProperties`, in a PUBACK.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Pairs(Properties);

impl Form for Pairs {
    type Arg<'a> = UserProperties<'a>;
    type Given<'a> = UserProperties<'a>;

    fn of(arg: &UserProperties<'_>) -> Result<Self, Unfit> {
        let properties = AckProperties {
            reason_string: None,
            user_properties: *arg,
        };
        Properties::of(&properties).map(Self)
    }

    fn give(&self) -> Result<UserProperties<'_>, Unfit> {
        Ok(self.0.give()?.user_properties)
    }
}

/// `ConnAckProperties`, in a CONNACK.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Welcome(Wire);

impl Form for Welcome {
    type Arg<'a> = ConnAckProperties<'a>;
    type Given<'a> = ConnAckProperties<'a>;

    fn of(arg: &ConnAckProperties<'_>) -> Result<Self, Unfit> {
        let mut connack = ConnAck::new(ConnAckOutcome::Accepted {
            session_present: false,
        });
        connack.properties = *arg;
        Wire::of(&Packet::ConnAck(connack), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<ConnAckProperties<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::ConnAck(connack) => Ok(connack.properties),
            _ => Err(Unfit("no CONNACK")),
        }
    }
}
