//! Our decoder beside other people's: where they differ, the standard has to say who is right.

#![no_main]

mod explained;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{DecodeError, Packet, Parsed, ProtocolVersion, decode};
use tokio_util::codec::Decoder as _;

use explained::{REFUSED, TAKEN};

/// Whose decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    MqttProto,
    Rmqtt,
}

/// Both sides of one packet.
pub struct Case<'a> {
    pub version: ProtocolVersion,
    pub bytes: &'a [u8],
    pub ours: Result<Packet<'a>, DecodeError>,
}

fuzz_target!(|data: &[u8]| {
    let Some((level, bytes)) = data.split_first() else {
        return;
    };
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    // Whole packets alone: some of the others take the next packet for the rest of this one.
    let Some(bytes) = whole(bytes) else {
        return;
    };
    let ours = match decode(bytes, version, u32::MAX) {
        Ok(Parsed::Complete((packet, _))) => Ok(packet),
        Ok(Parsed::Partial { .. }) => panic!("a whole packet is never incomplete"),
        Err(error) => Err(error),
    };
    let case = Case {
        version,
        bytes,
        ours,
    };
    for (peer, accepts) in [
        (Peer::MqttProto, mqtt_proto(version, bytes)),
        (Peer::Rmqtt, rmqtt(version, bytes)),
    ] {
        let rule = match (&case.ours, accepts) {
            (Ok(_), true) | (Err(_), false) => continue,
            (Err(error), true) => REFUSED
                .iter()
                .find(|row| row.peers.contains(&peer) && (row.kind)(&error.kind()))
                .map(|row| row.rule),
            (Ok(packet), false) => TAKEN
                .iter()
                .find(|row| row.peers.contains(&peer) && (row.case)(&case, packet))
                .map(|row| row.rule),
        };
        assert!(
            rule.is_some(),
            "{peer:?} accepts: {accepts}; we: {:?}\n{version:?} {bytes:02x?}",
            case.ours
        );
    }
});

/// The packet at the front, if all of it is there and its length has the shortest form.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (mut remaining, mut len) = (0_usize, 1_usize);
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * place);
        len += 1;
        if byte & 0x80 == 0 {
            return (place == 0 || *byte != 0).then(|| bytes.get(..len + remaining))?;
        }
    }
    None
}

fn mqtt_proto(version: ProtocolVersion, bytes: &[u8]) -> bool {
    match version {
        ProtocolVersion::V3_1_1 => matches!(mqtt_proto::v3::Packet::decode(bytes), Ok(Some(_))),
        ProtocolVersion::V5_0 => matches!(mqtt_proto::v5::Packet::decode(bytes), Ok(Some(_))),
    }
}

fn rmqtt(version: ProtocolVersion, bytes: &[u8]) -> bool {
    let mut input = BytesMut::from(bytes);
    match version {
        ProtocolVersion::V3_1_1 => {
            matches!(
                rmqtt_codec::v3::Codec::new(0).decode(&mut input),
                Ok(Some(_))
            )
        }
        ProtocolVersion::V5_0 => {
            matches!(
                rmqtt_codec::v5::Codec::new(0, 0).decode(&mut input),
                Ok(Some(_))
            )
        }
    }
}
