//! The codec for `tokio_util::codec`: for programs that have their own state machine and want
//! packets in a `Framed`.

use std::io;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{DecodeError, Decoder, Frame, Packet, PacketType, Parsed, ProtocolVersion};
use tokio_util::codec;

/// One direction or both of a connection.
#[derive(Debug, Default)]
pub struct MqttCodec {
    decoder: Decoder,
    version: Option<ProtocolVersion>,
    /// No use in looking before there are so many bytes.
    needed: usize,
}

/// A whole packet, to be read when it is looked at.
#[derive(Clone, Debug)]
pub struct Incoming {
    frame: Bytes,
    version: ProtocolVersion,
}

impl MqttCodec {
    /// For a client, which knows the version it speaks. A server starts with `default` and learns
    /// it from CONNECT.
    #[must_use]
    pub fn for_version(version: ProtocolVersion) -> Self {
        Self {
            version: Some(version),
            ..Self::default()
        }
    }
}

impl Incoming {
    /// Reads the packet, which borrows from this.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the connection cannot go on then.
    pub fn packet(&self) -> Result<Packet<'_>, DecodeError> {
        match mqtt_codec::decode(&self.frame, self.version, u32::MAX)? {
            Parsed::Complete((packet, _)) => Ok(packet),
            Parsed::Partial { .. } => unreachable!("the frame is whole"),
        }
    }

    /// Its bytes, to be kept: a `Message` can share them.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }
}

impl codec::Decoder for MqttCodec {
    type Item = Incoming;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<Incoming>> {
        if input.len() < self.needed {
            return Ok(None);
        }
        let frame: Frame<'_> = match self.decoder.parse(input, self.version).map_err(invalid)? {
            Parsed::Complete(frame) => frame,
            Parsed::Partial { needed } => {
                self.needed = input.len().saturating_add(needed);
                return Ok(None);
            }
        };
        let version = match self.version {
            Some(version) => version,
            // The first packet has to be CONNECT, and says it.
            None => frame.decode_connect().map_err(invalid)?.version,
        };
        debug_assert!(self.version.is_some() || frame.packet_type() == PacketType::Connect);
        self.version = Some(version);
        self.needed = 0;
        let size = frame.size();
        Ok(Some(Incoming {
            frame: input.split_to(size).freeze(),
            version,
        }))
    }
}

impl codec::Encoder<Packet<'_>> for MqttCodec {
    type Error = io::Error;

    fn encode(&mut self, packet: Packet<'_>, out: &mut BytesMut) -> io::Result<()> {
        let version = match &packet {
            Packet::Connect(connect) => connect.version,
            _ => self.version.unwrap_or(ProtocolVersion::V5_0),
        };
        packet.encode_to(version, out).map_err(invalid)?;
        Ok(())
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
