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
