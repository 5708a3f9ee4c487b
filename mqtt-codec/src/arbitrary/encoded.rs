//! A packet that owns its bytes.

use alloc::vec::Vec;

use arbitrary::{Arbitrary, Error, Result, Unstructured};

use super::with_packet;
use crate::{Packet, Parsed, ProtocolVersion, decode};

/// A valid packet of one version, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPacket {
    version: ProtocolVersion,
    bytes: Vec<u8>,
}

impl EncodedPacket {
    /// The packet as it is sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError`](crate::EncodeError), as for every packet.
    pub fn new(
        packet: &Packet<'_>,
        version: ProtocolVersion,
    ) -> core::result::Result<Self, crate::EncodeError> {
        let mut bytes = Vec::new();
        packet.encode_to(version, &mut bytes)?;
        Ok(Self { version, bytes })
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// All its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the bytes say. `None` never, as long as encoding and decoding agree.
    #[must_use]
    pub fn packet(&self) -> Option<Packet<'_>> {
        match decode(&self.bytes, self.version, u32::MAX) {
            Ok(Parsed::Complete((packet, _))) => Some(packet),
            Ok(Parsed::Partial { .. }) | Err(_) => None,
        }
    }
}

impl<'a> Arbitrary<'a> for EncodedPacket {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let version = u.arbitrary()?;
        let encoded = with_packet(u, version, |packet| Self::new(packet, version))?;
        encoded.map_err(|_| Error::IncorrectFormat)
    }
}
