//! How a fault is answered.

use super::{DecodeError, DecodeErrorKind};
use crate::{ConnectReason, DisconnectReason, PacketType, ProtocolVersion};

/// Where a connection is when a fault is found, seen from the side that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has these phases")]
pub enum Phase {
    /// A server waits for CONNECT.
    AwaitConnect,
    /// A client waits for CONNACK.
    AwaitConnAck,
    /// The handshake is over; whether this side is a client or a server makes no difference.
    Connected,
}

/// The last packet of a connection, before it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other way to answer")]
pub enum Reply {
    /// CONNACK with this reason, in the form of this version.
    ConnAck(ProtocolVersion, ConnectReason),
    /// DISCONNECT with this reason (5.0).
    Disconnect(DisconnectReason),
    /// Nothing: close.
    CloseSilently,
}

impl DecodeError {
    /// How to answer the peer that sent this. `version` is the one that the connection speaks,
    /// `None` while a server does not know it.
    ///
    /// ```
    /// use mqtt_codec::{ConnectReason, Frame, Parsed, Phase, ProtocolVersion, Reply};
    ///
    /// // CONNECT of 3.1, which has level 3.
    /// let input = b"\x10\x0E\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x00";
    /// let Parsed::Complete(frame) = Frame::parse(input, None, 1024)? else { unreachable!() };
    /// let error = frame.decode_connect().unwrap_err();
    /// let reply = Reply::ConnAck(ProtocolVersion::V3_1_1, ConnectReason::UnsupportedProtocolVersion);
    /// assert_eq!(error.reply(None, Phase::AwaitConnect), reply);
    /// # Ok::<(), mqtt_codec::DecodeError>(())
    /// ```
    // [5:MQTT-4.13.1-1] [3:MQTT-4.8.0-1]
    #[must_use]
    pub fn reply(&self, version: Option<ProtocolVersion>, phase: Phase) -> Reply {
        match phase {
            Phase::AwaitConnect => self.reply_to_connect(),
            // Before CONNACK the server is not known to speak this version at all.
            Phase::AwaitConnAck => Reply::CloseSilently,
            Phase::Connected => match version {
                // [5:MQTT-3.14.0-1] 3.1.1 has no DISCONNECT of a server, and a client's is a goodbye.
                Some(ProtocolVersion::V5_0) => Reply::Disconnect(
                    DisconnectReason::try_from(self.reason_code())
                        .unwrap_or(DisconnectReason::ProtocolError),
                ),
                Some(ProtocolVersion::V3_1_1) | None => Reply::CloseSilently,
            },
        }
    }

    fn reply_to_connect(&self) -> Reply {
        if self.packet_type != Some(PacketType::Connect) {
            return Reply::CloseSilently;
        }
        let version = match (self.kind, self.version) {
            // [3:MQTT-3.1.2-2] Levels below 5 understand the old form, [5:MQTT-3.1.2-2] those above the new one.
            // The highest bit is no part of a level: bridges set it, and come without it after this answer.
            (DecodeErrorKind::ProtocolLevel(level), _) if level & 0x7F <= 4 => {
                ProtocolVersion::V3_1_1
            }
            (DecodeErrorKind::ProtocolLevel(_), _) | (_, Some(ProtocolVersion::V5_0)) => {
                ProtocolVersion::V5_0
            }
            // [3:MQTT-3.1.4-1] A bad CONNECT of 3.1.1 gets no CONNACK.
            (_, Some(ProtocolVersion::V3_1_1) | None) => return Reply::CloseSilently,
        };
        // [5:MQTT-3.1.4-1]
        let reason = ConnectReason::try_from(self.reason_code());
        Reply::ConnAck(version, reason.unwrap_or(ConnectReason::ProtocolError))
    }
}
