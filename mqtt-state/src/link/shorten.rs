//! What a packet can do without: its reason string and its user properties.

use mqtt_codec::{EncodeError, Packet, Str, UserProperties};

use super::Link;

impl Link {
    /// Queues a packet without what its peer does not want, or does not take, of reason string and
    /// user properties.
    // [5:MQTT-3.2.2-19] [5:MQTT-3.2.2-20] [5:MQTT-3.4.2-2] [5:MQTT-3.4.2-3] [5:MQTT-3.5.2-2]
    // [5:MQTT-3.5.2-3] [5:MQTT-3.6.2-2] [5:MQTT-3.6.2-3] [5:MQTT-3.7.2-2] [5:MQTT-3.7.2-3]
    // [5:MQTT-3.9.2-1] [5:MQTT-3.9.2-2] [5:MQTT-3.11.2-1] [5:MQTT-3.11.2-2] [5:MQTT-3.14.2-3]
    // [5:MQTT-3.14.2-4] [5:MQTT-3.15.2-2] [5:MQTT-3.15.2-3] Left out where they would make the packet
    // too large.
    #[inline(never)]
    pub(super) fn send_shorter(&mut self, mut packet: Packet<'_>) -> Result<(), EncodeError> {
        // [5:MQTT-3.1.2-29]
        if !self.send.problem_information && !may_always_have(&packet) {
            while shorten(&mut packet) {}
        }
        loop {
            match self.push(&packet) {
                Err(EncodeError::PacketTooLarge { .. }) if shorten(&mut packet) => {}
                sent => return sent,
            }
        }
    }
}

/// Leaves out the user properties, or else the reason string. Answers whether there was one of them.
fn shorten(packet: &mut Packet<'_>) -> bool {
    let Some((reason_string, user_properties)) = details(packet) else {
        return false;
    };
    if user_properties.is_empty() {
        return reason_string.take().is_some();
    }
    *user_properties = UserProperties::default();
    true
}

/// The packets that a client which wants no problem information gets them in all the same.
const fn may_always_have(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_))
}

type Details<'a, 'p> = (&'a mut Option<Str<'p>>, &'a mut UserProperties<'p>);

/// Reason string and user properties, where they are there for people. In other packets they belong to
/// the message or the request.
fn details<'a, 'p>(packet: &'a mut Packet<'p>) -> Option<Details<'a, 'p>> {
    let properties = match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) => &mut ack.properties,
        Packet::PubRel(ack) | Packet::PubComp(ack) => &mut ack.properties,
        Packet::SubAck(suback) => &mut suback.properties,
        Packet::UnsubAck(unsuback) => &mut unsuback.properties,
        Packet::Auth(auth) => &mut auth.properties,
        Packet::ConnAck(connack) => {
            let properties = &mut connack.properties;
            return Some((
                &mut properties.reason_string,
                &mut properties.user_properties,
            ));
        }
        Packet::Disconnect(disconnect) => {
            let properties = &mut disconnect.properties;
            return Some((
                &mut properties.reason_string,
                &mut properties.user_properties,
            ));
        }
        _without => return None,
    };
    Some((
        &mut properties.reason_string,
        &mut properties.user_properties,
    ))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use mqtt_codec::{
        Ack, AckProperties, Auth, AuthReason, Authentication, Disconnect, DisconnectProperties,
        DisconnectReason, PacketId, ProtocolVersion, PublishReason, ReleaseReason, UserProperty,
    };

    use super::*;

    /// All packets that both roles send, with words in each.
    fn packets<'p>(
        reason_string: Option<Str<'p>>,
        pairs: &'p [UserProperty<'p>],
    ) -> [Packet<'p>; 6] {
        let user_properties = UserProperties::new(pairs);
        let properties = AckProperties {
            reason_string,
            user_properties,
        };
        let publish = Ack {
            properties,
            ..Ack::new(PacketId::MIN, PublishReason::QuotaExceeded)
        };
        let release = Ack {
            properties,
            ..Ack::new(PacketId::MIN, ReleaseReason::PacketIdNotFound)
        };
        let authentication = Authentication {
            method: Str::EMPTY,
            data: None,
        };
        [
            Packet::PubAck(publish),
            Packet::PubRec(publish),
            Packet::PubRel(release),
            Packet::PubComp(release),
            Packet::Disconnect(Disconnect {
                properties: DisconnectProperties {
                    reason_string,
                    user_properties,
                    ..DisconnectProperties::default()
                },
                ..Disconnect::new(DisconnectReason::UnspecifiedError)
            }),
            Packet::Auth(Auth {
                properties,
                ..Auth::new(AuthReason::ContinueAuthentication, authentication)
            }),
        ]
    }
    /// The length of what goes out to a peer that takes so many bytes.
    fn sent(packet: &Packet<'_>, packet_size_max: usize) -> usize {
        let mut link = Link::new(ProtocolVersion::V5_0, usize::MAX);
        link.heed(packet_size_max);
        link.send(packet).unwrap();
        let mut bytes = alloc::vec::Vec::new();
        link.outbox.take(usize::MAX, &mut bytes);
        bytes.len()
    }

    /// Lengths of the packet as it is, without its user properties, and without its reason string too.
    fn lengths(place: usize) -> (Packet<'static>, [usize; 3]) {
        const PAIRS: &[UserProperty<'static>] = &[UserProperty {
            name: Str::EMPTY,
            value: Str::EMPTY,
        }];
        let reason_string = Some(Str::new("why").unwrap());
        let [whole, shorter, bare] = [
            packets(reason_string, PAIRS),
            packets(reason_string, &[]),
            packets(None, &[]),
        ]
        .map(|packets| packets[place]);
        let len = |packet: &Packet<'_>| packet.encoded_len(ProtocolVersion::V5_0).unwrap();
        (whole, [len(&whole), len(&shorter), len(&bare)])
    }

    #[test]
    fn user_properties_are_left_out_where_they_do_not_fit() {
        let rows = [
            "PUBACK",     // Both roles: [5:MQTT-3.4.2-3]
            "PUBREC",     // Both roles: [5:MQTT-3.5.2-3]
            "PUBREL",     // Both roles: [5:MQTT-3.6.2-3]
            "PUBCOMP",    // Both roles: [5:MQTT-3.7.2-3]
            "DISCONNECT", // Both roles: [5:MQTT-3.14.2-4]
            "AUTH",       // Both roles: [5:MQTT-3.15.2-3]
        ];
        for (place, row) in rows.into_iter().enumerate() {
            let (packet, [whole, shorter, _]) = lengths(place);
            assert_eq!(packet.packet_type().to_string(), row);
            assert_eq!(sent(&packet, whole), whole, "{row}");
            assert_eq!(sent(&packet, whole - 1), shorter, "{row}");
        }
    }

    #[test]
    fn the_reason_string_is_left_out_where_it_does_not_fit() {
        let rows = [
            "PUBACK",     // Both roles: [5:MQTT-3.4.2-2]
            "PUBREC",     // Both roles: [5:MQTT-3.5.2-2]
            "PUBREL",     // Both roles: [5:MQTT-3.6.2-2]
            "PUBCOMP",    // Both roles: [5:MQTT-3.7.2-2]
            "DISCONNECT", // Both roles: [5:MQTT-3.14.2-3]
            "AUTH",       // Both roles: [5:MQTT-3.15.2-2]
        ];
        for (place, row) in rows.into_iter().enumerate() {
            let (packet, [_, shorter, bare]) = lengths(place);
            assert_eq!(packet.packet_type().to_string(), row);
            assert_eq!(sent(&packet, shorter), shorter, "{row}");
            assert_eq!(sent(&packet, shorter - 1), bare, "{row}");
        }
    }
}
