//! Properties where they may not stand, with values that they may not have, or twice.

use alloc::vec::Vec;

use super::anatomy::{Anatomy, counted, var_int};
use super::{Broken, Statements, UNNUMBERED, in_v5};
use crate::property::{Slot, next_property};
use crate::{Connect, Packet, PropertyForm, PropertyId, Will};

/// Values that are out of range, as they are written, and the statement.
type BadValues = &'static [(&'static [u8], Statements)];

pub(super) fn spoil(packet: &Packet<'_>, broken: &mut Broken) {
    let (Some(slot), Some(block)) = (slot(packet), broken.valid.block.clone()) else {
        return;
    };
    spoil_block(slot, &block, broken, |packet, block| {
        packet.block = Some(block);
    });

    let (head, tail) = (broken.valid.head.clone(), broken.valid.tail.clone());
    let beyond = block.len().saturating_add(tail.len()).saturating_add(1);
    let body = [head, var_int(beyond), block, tail].concat();
    let bytes = broken.valid.with_body(&body);
    broken.add(UNNUMBERED, "properties longer than their packet", bytes);

    if let Packet::Connect(connect) = packet
        && let Some(will) = &connect.will
    {
        spoil_will(connect, will, broken);
    }
}

/// The properties of the will stand between the client identifier and the topic.
fn spoil_will(connect: &Connect<'_>, will: &Will<'_>, broken: &mut Broken) {
    let counted_len = |len: usize| len.saturating_add(2);
    let start = counted_len(connect.client_id.len());
    let behind = [
        counted_len(will.topic.as_bytes().len()),
        counted_len(will.payload.as_bytes().len()),
        connect.user_name.map_or(0, |it| counted_len(it.len())),
        connect
            .password
            .map_or(0, |it| counted_len(it.as_bytes().len())),
    ];
    let behind = behind.into_iter().fold(0, usize::saturating_add);
    let tail = &broken.valid.tail;
    let end = tail.len().saturating_sub(behind);
    let Some(with_length) = tail.get(start..end) else {
        return;
    };
    let length_len = with_length.iter().take_while(|byte| **byte & 0x80 != 0);
    let length_len = length_len.count().saturating_add(1);
    let block = with_length.get(length_len..).unwrap_or_default().to_vec();
    spoil_block(Slot::Will, &block, broken, |packet, block| {
        let field = [var_int(block.len()), block].concat();
        packet.tail.splice(start..end, field);
    });
}

fn spoil_block(slot: Slot, block: &[u8], broken: &mut Broken, put: impl Fn(&mut Anatomy, Vec<u8>)) {
    let mut add = |statements: Statements, what, parts: &[&[u8]]| {
        broken.edit(statements, what, |packet| put(packet, parts.concat()));
    };
    for &id in PropertyId::ALL {
        let mut good = Vec::from([id.value()]);
        good.extend(good_value(id));
        let others = without(block, id);
        if !id.stands_in(slot) {
            add(
                UNNUMBERED,
                "a property of another packet",
                &[&good, &others],
            );
            continue;
        }
        // Data need a method: two of them alone would break two rules.
        if !id.repeats_in(slot) && id != PropertyId::AuthenticationData {
            add(UNNUMBERED, "a property twice", &[&good, &good, &others]);
        }
        for (value, statements) in bad_values(id, slot) {
            let what = "a property with a value it may not have";
            add(*statements, what, &[&[id.value()], value, &others]);
        }
        add(
            UNNUMBERED,
            "a property that is cut short",
            &[&others, &[id.value()]],
        );
    }
    add(
        UNNUMBERED,
        "a property that does not exist",
        &[&[0x7F, 0], block],
    );
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
    match id.form() {
        PropertyForm::Byte | PropertyForm::VarInt => Vec::from([1]),
        PropertyForm::TwoBytes => Vec::from([0, 1]),
        PropertyForm::FourBytes => Vec::from([0, 0, 0, 1]),
        PropertyForm::Text | PropertyForm::Binary => counted(b"t"),
        PropertyForm::Pair => [counted(b"k"), counted(b"v")].concat(),
    }
}

fn bad_values(id: PropertyId, slot: Slot) -> BadValues {
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
        PropertyId::ResponseTopic if slot == Slot::Will => {
            const { &[(&[0, 1, b'#'], in_v5("MQTT-4.7.0-1")), NOT_UTF8, NULL] }
        }
        PropertyId::ResponseTopic => {
            const {
                &[
                    (&[0, 3, b'a', b'/', b'+'], in_v5("MQTT-3.3.2-14")),
                    (&[0, 1, b'#'], in_v5("MQTT-3.3.2-14")),
                    (&[0, 0], in_v5("MQTT-4.7.3-1")),
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
