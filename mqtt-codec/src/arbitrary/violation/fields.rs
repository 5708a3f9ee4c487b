//! Fields with values that they may not have.

use alloc::vec::Vec;

use super::anatomy::{Anatomy, counted};
use super::{Broken, Statements, UNNUMBERED, both, in_v5, numbered};
use crate::{ConnAckOutcome, Connect, Delivery, Packet, Publish, PublishTopic};

const NOT_UTF8: (&[u8], Statements) = (&[0xC3, 0x28], numbered("MQTT-1.5.4-1", "MQTT-1.5.3-1"));
const SURROGATE: (&[u8], Statements) = (
    &[0xED, 0xA0, 0x80],
    numbered("MQTT-1.5.4-1", "MQTT-1.5.3-1"),
);
const NULL: (&[u8], Statements) = (b"a\0", numbered("MQTT-1.5.4-2", "MQTT-1.5.3-2"));

/// Texts that are no text.
const BAD_TEXTS: [(&[u8], Statements); 3] = [NOT_UTF8, SURROGATE, NULL];

/// Texts that are no filter.
const BAD_FILTERS: [(&[u8], Statements); 7] = [
    NOT_UTF8,
    NULL,
    (b"", both("MQTT-4.7.3-1")),
    (b"a#", numbered("MQTT-4.7.1-1", "MQTT-4.7.1-2")),
    (b"a/#/b", numbered("MQTT-4.7.1-1", "MQTT-4.7.1-2")),
    (b"a+", numbered("MQTT-4.7.1-2", "MQTT-4.7.1-3")),
    (b"a/+b/c", numbered("MQTT-4.7.1-2", "MQTT-4.7.1-3")),
];

/// Texts that are no shared filter; ordinary ones in 3.1.1.
const BAD_SHARED_FILTERS: [(&[u8], Statements); 3] = [
    (b"$share//a", in_v5("MQTT-4.8.2-1")),
    (b"$share/+/a", in_v5("MQTT-4.8.2-2")),
    (b"$share/g", in_v5("MQTT-4.8.2-2")),
];

const ID_ZERO: Statements = numbered("MQTT-2.2.1-3", "MQTT-2.3.1-1");

pub(super) fn spoil(packet: &Packet<'_>, broken: &mut Broken) {
    let v5 = broken.valid.is_v5();
    match packet {
        Packet::Connect(connect) => spoil_connect(connect, broken),
        Packet::ConnAck(connack) => {
            broken.edit(in_v5("MQTT-3.2.2-1"), "a reserved flag", |packet| {
                set(&mut packet.head, 0, |flags| flags | 2);
            });
            if matches!(connack.outcome, ConnAckOutcome::Refused(_)) {
                let statements = numbered("MQTT-3.2.2-6", "MQTT-3.2.2-4");
                broken.edit(statements, "session present in a refusal", |packet| {
                    set(&mut packet.head, 0, |_| 1);
                });
            } else {
                broken.edit(in_v5("MQTT-3.2.2-8"), "an unknown code", |packet| {
                    set(&mut packet.head, 1, |_| 0x7E);
                });
            }
        }
        Packet::Publish(publish) => spoil_publish(publish, broken),
        Packet::PubAck(_) => spoil_ack(in_v5("MQTT-3.4.2-1"), broken),
        Packet::PubRec(_) => spoil_ack(in_v5("MQTT-3.5.2-1"), broken),
        Packet::PubRel(_) => spoil_ack(in_v5("MQTT-3.6.2-1"), broken),
        Packet::PubComp(_) => spoil_ack(in_v5("MQTT-3.7.2-1"), broken),
        Packet::Subscribe(_) => spoil_subscribe(broken),
        Packet::Unsubscribe(_) => {
            id_zero(ID_ZERO, broken);
            no_list(both("MQTT-3.10.3-2"), "no filter", broken);
            for (filter, statements) in bad_filters(v5) {
                broken.edit(statements, "a text that is no filter", |packet| {
                    packet.tail = counted(filter);
                });
            }
        }
        Packet::SubAck(_) => {
            id_zero(UNNUMBERED, broken);
            no_list(UNNUMBERED, "no code", broken);
            let unknown = if v5 { 0x7E } else { 0x87 };
            broken.edit(both("MQTT-3.9.3-2"), "an unknown code", |packet| {
                packet.tail.push(unknown);
            });
        }
        Packet::UnsubAck(_) => {
            id_zero(UNNUMBERED, broken);
            if v5 {
                no_list(UNNUMBERED, "no code", broken);
                broken.edit(in_v5("MQTT-3.11.3-2"), "an unknown code", |packet| {
                    packet.tail.push(0x7E);
                });
            }
        }
        Packet::Disconnect(_) if v5 => unknown_reason(0, in_v5("MQTT-3.14.2-1"), broken),
        Packet::Auth(auth) => {
            unknown_reason(0, in_v5("MQTT-3.15.2-1"), broken);
            if auth.authentication.is_none() {
                broken.edit(
                    UNNUMBERED,
                    "authentication data without a method",
                    |packet| {
                        let data = [&[0x16][..], &counted(b"d")].concat();
                        packet.block.get_or_insert_default().extend(data);
                    },
                );
            }
        }
        Packet::Disconnect(_) | Packet::PingReq | Packet::PingResp => {}
    }
}

fn spoil_publish(publish: &Publish<'_>, broken: &mut Broken) {
    broken.edit(both("MQTT-3.3.1-4"), "QoS 3", |packet| {
        packet.first |= 0b0110
    });
    if publish.delivery == Delivery::AtMostOnce {
        broken.edit(both("MQTT-3.3.1-2"), "DUP at QoS 0", |packet| {
            packet.first |= 0b1000
        });
    } else {
        broken.edit(ID_ZERO, "packet identifier 0", |packet| {
            for place in packet.head.iter_mut().rev().take(2) {
                *place = 0;
            }
        });
    }
    let Some(name) = publish.topic.name() else {
        return;
    };
    // What is behind the topic: the packet identifier.
    let behind_at = name.as_bytes().len().saturating_add(2);
    let behind = broken
        .valid
        .head
        .get(behind_at..)
        .unwrap_or_default()
        .to_vec();
    let mut with_topic = |topic: &[u8], statements, what| {
        let head = [counted(topic), behind.clone()].concat();
        broken.edit(statements, what, |packet| packet.head = head);
    };
    for (text, statements) in BAD_TEXTS {
        with_topic(text, statements, "a topic that is no text");
    }
    for topic in [&b"a/+"[..], b"#", b"a/b#c"] {
        with_topic(topic, both("MQTT-3.3.2-2"), "a wildcard in a topic");
    }
    if matches!(publish.topic, PublishTopic::Name(_)) {
        with_topic(b"", both("MQTT-4.7.3-1"), "neither a topic nor an alias");
    }
}

fn spoil_connect(connect: &Connect<'_>, broken: &mut Broken) {
    const FLAGS: usize = 7;
    broken.edit(both("MQTT-3.1.2-1"), "another protocol", |packet| {
        set(&mut packet.head, 5, |_| b'X');
    });
    broken.edit(
        both("MQTT-3.1.2-2"),
        "a level that does not exist",
        |packet| {
            set(&mut packet.head, 6, |_| 6);
        },
    );
    broken.edit(both("MQTT-3.1.2-3"), "the reserved flag", |packet| {
        set(&mut packet.head, FLAGS, |flags| flags | 1);
    });
    let statements = numbered("MQTT-3.1.2-12", "MQTT-3.1.2-14");
    if connect.will.is_some() {
        broken.edit(statements, "a will at QoS 3", |packet| {
            set(&mut packet.head, FLAGS, |flags| flags | 0b0001_1000);
        });
    } else {
        let (retain, qos) = (0b0010_0000, 0b0000_1000);
        let of_retain = numbered("MQTT-3.1.2-13", "MQTT-3.1.2-11");
        for (statements, flag) in [(of_retain, retain), (both("MQTT-3.1.2-11"), qos)] {
            broken.edit(statements, "flags of a will without a will", |packet| {
                set(&mut packet.head, FLAGS, |flags| flags | flag);
            });
        }
    }

    let client_id = connect.client_id.as_bytes().len().saturating_add(2);
    for (text, statements) in BAD_TEXTS {
        broken.edit(
            statements,
            "a client identifier that is no text",
            |packet| {
                let behind = packet.tail.get(client_id..).unwrap_or_default();
                packet.tail = [&*counted(text), behind].concat();
            },
        );
    }
    // From the end: password, user name, payload and topic of the will.
    let password = connect
        .password
        .map_or(0, |it| it.as_bytes().len().saturating_add(2));
    let user_name = connect
        .user_name
        .map_or(0, |it| it.as_bytes().len().saturating_add(2));
    if let Some(name) = connect.user_name {
        for (text, statements) in BAD_TEXTS {
            let from_end = password.saturating_add(user_name);
            broken.edit(statements, "a user name that is no text", |packet| {
                replace(packet, from_end, name.as_bytes().len(), text);
            });
        }
        if !broken.valid.is_v5() && connect.password.is_some() {
            let statements = (None, Some("MQTT-3.1.2-22"));
            broken.edit(statements, "a password without a user name", |packet| {
                set(&mut packet.head, FLAGS, |flags| flags & !0b1000_0000);
                let end = packet.tail.len().saturating_sub(password);
                let start = end.saturating_sub(user_name);
                packet.tail.drain(start..end);
            });
        }
    }
    if let Some(will) = &connect.will {
        let (topic, payload) = (will.topic.as_bytes().len(), will.payload.as_bytes().len());
        let behind = [password, user_name, payload, 2, topic, 2];
        let from_end = behind.into_iter().fold(0, usize::saturating_add);
        for topic_text in [&b"a/+"[..], b"#"] {
            let statements = numbered("MQTT-4.7.0-1", "MQTT-4.7.1-1");
            broken.edit(statements, "a wildcard in the topic of a will", |packet| {
                replace(packet, from_end, topic, topic_text);
            });
        }
        for (text, statements) in BAD_TEXTS {
            broken.edit(statements, "a topic of a will that is no text", |packet| {
                replace(packet, from_end, topic, text);
            });
        }
    }
}

fn spoil_subscribe(broken: &mut Broken) {
    let v5 = broken.valid.is_v5();
    id_zero(ID_ZERO, broken);
    no_list(
        numbered("MQTT-3.8.3-2", "MQTT-3.8.3-3"),
        "no filter",
        broken,
    );
    let bad_options: &[(u8, Statements)] = if v5 {
        &[
            (0b0000_0011, UNNUMBERED),
            (0b0011_0000, UNNUMBERED),
            (0b0100_0000, in_v5("MQTT-3.8.3-5")),
            (0b1000_0000, in_v5("MQTT-3.8.3-5")),
        ]
    } else {
        const RESERVED: Statements = (None, Some("MQTT-3.8.3-4"));
        &[
            (0b0000_0011, RESERVED),
            (0b0000_0100, RESERVED),
            (0b0001_0000, RESERVED),
            (0b1000_0000, RESERVED),
        ]
    };
    for (options, statements) in bad_options {
        broken.edit(*statements, "options that do not exist", |packet| {
            packet.tail.extend([&*counted(b"t"), &[*options]].concat());
        });
    }
    if v5 {
        broken.edit(
            in_v5("MQTT-3.8.3-4"),
            "No Local on a shared subscription",
            |packet| {
                packet
                    .tail
                    .extend([&*counted(b"$share/g/t"), &[0b0100]].concat());
            },
        );
    }
    for (filter, statements) in bad_filters(v5) {
        broken.edit(statements, "a text that is no filter", |packet| {
            packet.tail.extend([&*counted(filter), &[0]].concat());
        });
    }
}

fn bad_filters(v5: bool) -> impl Iterator<Item = (&'static [u8], Statements)> {
    let shared: &[_] = if v5 { &BAD_SHARED_FILTERS } else { &[] };
    BAD_FILTERS.into_iter().chain(shared.iter().copied())
}

fn spoil_ack(statements: Statements, broken: &mut Broken) {
    id_zero(UNNUMBERED, broken);
    if broken.valid.is_v5() {
        unknown_reason(2, statements, broken);
    }
}

fn id_zero(statements: Statements, broken: &mut Broken) {
    broken.edit(statements, "packet identifier 0", |packet| {
        for place in packet.head.iter_mut().take(2) {
            *place = 0;
        }
    });
}

fn no_list(statements: Statements, what: &'static str, broken: &mut Broken) {
    broken.edit(statements, what, |packet| packet.tail.clear());
}

fn unknown_reason(at: usize, statements: Statements, broken: &mut Broken) {
    broken.edit(statements, "an unknown reason code", |packet| {
        set(&mut packet.head, at, |_| 0x7E);
    });
}

fn set(bytes: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

/// Replaces the field that starts so many bytes from the end, and has so many behind its length.
fn replace(packet: &mut Anatomy, from_end: usize, len: usize, with: &[u8]) {
    let start = packet.tail.len().saturating_sub(from_end);
    let end = start
        .saturating_add(len)
        .saturating_add(2)
        .min(packet.tail.len());
    let field: Vec<u8> = counted(with);
    packet.tail.splice(start..end, field);
}
