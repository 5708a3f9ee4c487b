//! Properties where they may not stand, with values that they may not have, or twice.

use alloc::vec::Vec;

use super::anatomy::{counted, var_int};
use super::{Broken, Statements, UNNUMBERED, in_v5};
use crate::property::{Slot, next_property};
use crate::{Packet, PropertyId};

/// Values that are out of range, as they are written, and the statement.
type BadValues = &'static [(&'static [u8], Statements)];

pub(super) fn spoil(packet: &Packet<'_>, broken: &mut Broken) {
    let (Some(slot), Some(block)) = (slot(packet), broken.valid.block.clone()) else {
        return;
    };
    for &id in PropertyId::ALL {
        let mut good = Vec::from([id.value()]);
        good.extend(good_value(id));
        let others = without(&block, id);
        if !id.stands_in(slot) {
            add(
                broken,
                UNNUMBERED,
                "a property of another packet",
                &[&good, &others],
            );
            continue;
        }
        // Data need a method: two of them alone would break two rules.
        if !id.repeats_in(slot) && id != PropertyId::AuthenticationData {
            add(
                broken,
                UNNUMBERED,
                "a property twice",
                &[&good, &good, &others],
            );
        }
        for (value, statements) in bad_values(id) {
            let what = "a property with a value it may not have";
            add(broken, *statements, what, &[&[id.value()], value, &others]);
        }
        add(
            broken,
            UNNUMBERED,
            "a property that is cut short",
            &[&others, &[id.value()]],
        );
    }
    add(
        broken,
        UNNUMBERED,
        "a property that does not exist",
        &[&[0x7F, 0], &block],
    );

    let (head, tail) = (broken.valid.head.clone(), broken.valid.tail.clone());
    let beyond = block.len().saturating_add(tail.len()).saturating_add(1);
    let body = [head, var_int(beyond), block, tail].concat();
    let bytes = broken.valid.with_body(&body);
    broken.add(UNNUMBERED, "properties longer than their packet", bytes);
}

/// The packet with these properties.
fn add(broken: &mut Broken, statements: Statements, what: &'static str, block: &[&[u8]]) {
    broken.edit(statements, what, |packet| {
        packet.block = Some(block.concat())
    });
}

fn slot(packet: &Packet<'_>) -> Option<Slot> {
    Some(match packet {
        Packet::Connect(_) => Slot::Connect,
        Packet::ConnAck(_) => Slot::ConnAck,
        Packet::Publish(_) => Slot::Publish,
        Packet::PubAck(_) => Slot::PubAck,
        Packet::PubRec(_) => Slot::PubRec,
        Packet::PubRel(_) => Slot::PubRel,
        Packet::PubComp(_) => Slot::PubComp,
        Packet::Subscribe(_) => Slot::Subscribe,
        Packet::SubAck(_) => Slot::SubAck,
        Packet::Unsubscribe(_) => Slot::Unsubscribe,
        Packet::UnsubAck(_) => Slot::UnsubAck,
        Packet::Disconnect(_) => Slot::Disconnect,
        Packet::Auth(_) => Slot::Auth,
        Packet::PingReq | Packet::PingResp => return None,
    })
}

/// The block without this property.
fn without(block: &[u8], id: PropertyId) -> Vec<u8> {
    let (mut rest, mut kept) = (block, Vec::new());
    loop {
        let from = rest;
        let Some(found) = next_property(&mut rest) else {
            return kept;
        };
        let len = from.len().saturating_sub(rest.len());
        if found != id {
            kept.extend(from.get(..len).unwrap_or_default());
        }
    }
}

fn good_value(id: PropertyId) -> Vec<u8> {
    match id {
        PropertyId::PayloadFormatIndicator
        | PropertyId::RequestProblemInformation
        | PropertyId::RequestResponseInformation
        | PropertyId::MaximumQoS
        | PropertyId::RetainAvailable
        | PropertyId::WildcardSubscriptionAvailable
        | PropertyId::SubscriptionIdentifierAvailable
        | PropertyId::SharedSubscriptionAvailable
        | PropertyId::SubscriptionIdentifier => Vec::from([1]),
        PropertyId::ServerKeepAlive
        | PropertyId::ReceiveMaximum
        | PropertyId::TopicAliasMaximum
        | PropertyId::TopicAlias => Vec::from([0, 1]),
        PropertyId::MessageExpiryInterval
        | PropertyId::SessionExpiryInterval
        | PropertyId::WillDelayInterval
        | PropertyId::MaximumPacketSize => Vec::from([0, 0, 0, 1]),
        PropertyId::UserProperty => [counted(b"k"), counted(b"v")].concat(),
        PropertyId::ContentType
        | PropertyId::ResponseTopic
        | PropertyId::CorrelationData
        | PropertyId::AssignedClientIdentifier
        | PropertyId::AuthenticationMethod
        | PropertyId::AuthenticationData
        | PropertyId::ResponseInformation
        | PropertyId::ServerReference
        | PropertyId::ReasonString => counted(b"t"),
    }
}

fn bad_values(id: PropertyId) -> BadValues {
    const NOT_UTF8: (&[u8], Statements) = (&[0, 2, 0xC3, 0x28], in_v5("MQTT-1.5.4-1"));
    const SURROGATE: (&[u8], Statements) = (&[0, 3, 0xED, 0xA0, 0x80], in_v5("MQTT-1.5.4-1"));
    const NULL: (&[u8], Statements) = (&[0, 1, 0], in_v5("MQTT-1.5.4-2"));
    match id {
        PropertyId::PayloadFormatIndicator
        | PropertyId::RequestProblemInformation
        | PropertyId::RequestResponseInformation
        | PropertyId::MaximumQoS
        | PropertyId::RetainAvailable
        | PropertyId::WildcardSubscriptionAvailable
        | PropertyId::SubscriptionIdentifierAvailable
        | PropertyId::SharedSubscriptionAvailable => &[(&[2], UNNUMBERED), (&[0xFF], UNNUMBERED)],
        PropertyId::ReceiveMaximum => &[(&[0, 0], UNNUMBERED)],
        PropertyId::TopicAlias => const { &[(&[0, 0], in_v5("MQTT-3.3.2-8"))] },
        PropertyId::MaximumPacketSize => &[(&[0, 0, 0, 0], UNNUMBERED)],
        PropertyId::SubscriptionIdentifier => {
            const {
                &[
                    (&[0], UNNUMBERED),
                    (&[0x81, 0], in_v5("MQTT-1.5.5-1")),
                    (&[0xFF, 0xFF, 0xFF, 0xFF, 1], UNNUMBERED),
                ]
            }
        }
        PropertyId::ResponseTopic => {
            const {
                &[
                    (&[0, 3, b'a', b'/', b'+'], in_v5("MQTT-3.3.2-14")),
                    (&[0, 1, b'#'], in_v5("MQTT-3.3.2-14")),
                    NOT_UTF8,
                    NULL,
                ]
            }
        }
        PropertyId::UserProperty => {
            const {
                &[
                    (&[0, 1, 0, 0, 0], in_v5("MQTT-1.5.4-2")),
                    (&[0, 0, 0, 1, 0xFF], in_v5("MQTT-1.5.4-1")),
                ]
            }
        }
        PropertyId::ContentType
        | PropertyId::AssignedClientIdentifier
        | PropertyId::AuthenticationMethod
        | PropertyId::ResponseInformation
        | PropertyId::ServerReference
        | PropertyId::ReasonString => &[NOT_UTF8, SURROGATE, NULL],
        // Every number of four bytes, and all binary data.
        PropertyId::ServerKeepAlive
        | PropertyId::TopicAliasMaximum
        | PropertyId::MessageExpiryInterval
        | PropertyId::SessionExpiryInterval
        | PropertyId::WillDelayInterval
        | PropertyId::CorrelationData
        | PropertyId::AuthenticationData => &[],
    }
}
