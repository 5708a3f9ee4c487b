//! Packets as words: from words to bytes, and from bytes to words.

use core::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{
    Ack, Auth, AuthReason, Authentication, Binary, Connect, Delivery, Disconnect, DisconnectReason,
    Message, Packet, Parsed, PayloadFormat, ProtocolVersion, Publish, PublishProperties,
    PublishReason, PublishTopic, QoS, ReasonCode, ReleaseReason, RetainHandling, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscriptionId, TopicAlias,
    Unsubscribe, UnsubscribeFilters, UserProperties, UserProperty, Will, WillProperties, decode,
};
use mqtt_state::AuthenticationData;
use mqtt_state::broker::Drain;

use crate::wire::{V5_0, filter, id, name, show, text};

fn hex(word: &str) -> u8 {
    u8::from_str_radix(word, 16).unwrap()
}

fn code(words: &[&str]) -> ReasonCode {
    let word = words.first().copied().unwrap_or("00");
    ReasonCode::from_value(hex(word)).unwrap()
}

fn binary(text: &str) -> Binary<'_> {
    Binary::new(text.as_bytes()).unwrap()
}

pub(super) fn drain(word: &str, place: &str) -> Drain {
    Drain {
        reason: DisconnectReason::try_from(code(&[word])).unwrap(),
        server_reference: Some(place.into()),
    }
}

pub(super) fn data(text: &str) -> AuthenticationData {
    binary(text).into()
}

/// The bytes of the packet that these words are.
pub(super) fn bytes(words: &[&str], version: ProtocolVersion) -> Vec<u8> {
    if let ["HEX", all @ ..] = words {
        return all.iter().map(|word| hex(word)).collect();
    }
    let mut out = Vec::new();
    with_packet(words, version, |packet| {
        packet.encode_to(version, &mut out).unwrap();
    });
    out
}

fn with_packet(words: &[&str], version: ProtocolVersion, done: impl FnOnce(Packet<'_>)) {
    let (kind, rest) = words.split_first().unwrap();
    let number = || id(rest[0].parse().unwrap());
    match *kind {
        "CONNECT" => done(connect(rest, version).into()),
        "PUBLISH" => with_publish(rest, |publish| done(publish.into())),
        "PUBACK" | "PUBREC" => {
            let ack = Ack::new(number(), PublishReason::try_from(code(&rest[1..])).unwrap());
            done(match *kind {
                "PUBACK" => Packet::PubAck(ack),
                _ => Packet::PubRec(ack),
            });
        }
        "PUBREL" | "PUBCOMP" => {
            let ack = Ack::new(number(), ReleaseReason::try_from(code(&rest[1..])).unwrap());
            done(match *kind {
                "PUBREL" => Packet::PubRel(ack),
                _ => Packet::PubComp(ack),
            });
        }
        "SUBSCRIBE" => {
            let subscription_id = rest.iter().find_map(|word| {
                let number = word.strip_prefix("id=")?;
                SubscriptionId::new(number.parse().unwrap())
            });
            let filters: Vec<_> = rest[1..]
                .iter()
                .filter(|word| !word.starts_with("id="))
                .map(|word| subscribe_filter(word))
                .collect();
            done(Packet::Subscribe(Subscribe {
                id: number(),
                filters: SubscribeFilters::new(&filters).unwrap(),
                properties: SubscribeProperties {
                    subscription_id,
                    ..SubscribeProperties::default()
                },
            }));
        }
        "UNSUBSCRIBE" => {
            let filters: Vec<_> = rest[1..].iter().map(|word| filter(word)).collect();
            done(Packet::Unsubscribe(Unsubscribe {
                id: number(),
                filters: UnsubscribeFilters::new(&filters).unwrap(),
                user_properties: UserProperties::default(),
            }));
        }
        "PINGREQ" => done(Packet::PingReq),
        "PINGRESP" => done(Packet::PingResp),
        "DISCONNECT" => {
            let is_code = |word: &&&str| !word.contains('=');
            let codes: Vec<_> = rest.iter().filter(is_code).copied().collect();
            let reason = DisconnectReason::try_from(code(&codes)).unwrap();
            let mut disconnect = Disconnect::new(reason);
            disconnect.properties.session_expiry_secs = value(rest, "expiry");
            done(disconnect.into());
        }
        "AUTH" => {
            let reason = AuthReason::try_from(code(rest)).unwrap();
            done(Auth::new(reason, authentication(rest[1])).into());
        }
        other => panic!("no such packet: {other}"),
    }
}

/// `method` or `method=data`.
fn authentication(word: &str) -> Authentication<'_> {
    let (method, data) = match word.split_once('=') {
        Some((method, data)) => (method, Some(binary(data))),
        None => (word, None),
    };
    Authentication {
        method: text(method),
        data,
    }
}

/// The number behind `key=`.
fn value(words: &[&str], key: &str) -> Option<u32> {
    string(words, key).map(|number| match number {
        "ever" => u32::MAX,
        number => number.parse().unwrap(),
    })
}

fn string<'w>(words: &[&'w str], key: &str) -> Option<&'w str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn small(words: &[&str], key: &str) -> Option<u16> {
    value(words, key).map(|number| u16::try_from(number).unwrap())
}

fn connect<'w>(words: &[&'w str], version: ProtocolVersion) -> Connect<'w> {
    let client_id = match words[0] {
        "nobody" => "",
        other => other,
    };
    let mut connect = Connect {
        clean_start: !words.contains(&"kept"),
        keep_alive_secs: small(words, "keep-alive").unwrap_or(0),
        user_name: string(words, "user").map(text),
        password: string(words, "password").map(binary),
        ..Connect::new(version, text(client_id))
    };
    if let Some(will) = string(words, "will") {
        let (topic, payload) = will.split_once(':').unwrap();
        let payload = binary(payload);
        connect.will = Some(Will {
            qos: QoS::try_from(u8::try_from(value(words, "will-qos").unwrap_or(0)).unwrap())
                .unwrap(),
            retain: words.contains(&"will-retain"),
            properties: WillProperties {
                delay_secs: value(words, "will-delay"),
                message_expiry_secs: value(words, "will-expiry"),
                ..WillProperties::default()
            },
            ..Will::new(name(topic), payload)
        });
    }
    if version == V5_0 {
        let flag = |key| value(words, key).map(|number| number != 0);
        let properties = &mut connect.properties;
        properties.session_expiry_secs = value(words, "expiry");
        properties.receive_maximum = small(words, "receive-maximum").and_then(NonZeroU16::new);
        properties.packet_size_max = value(words, "packet-size").and_then(NonZeroU32::new);
        properties.topic_alias_maximum = small(words, "aliases");
        properties.request_problem_information = flag("problem");
        properties.request_response_information = flag("response");
        properties.authentication = string(words, "method").map(authentication);
    }
    connect
}

/// `filter:q1`, and behind it `:nl`, `:rap` and `:rh1`.
fn subscribe_filter(word: &str) -> SubscribeFilter<'_> {
    let mut parts = word.split(':');
    let filter = parts.next().unwrap();
    let qos = parts.next().unwrap().strip_prefix('q').unwrap();
    let qos = QoS::try_from(qos.parse::<u8>().unwrap()).unwrap();
    let mut filter = SubscribeFilter::new(filter, qos).unwrap();
    for option in parts {
        match option {
            "nl" => filter.options.no_local = true,
            "rap" => filter.options.retain_as_published = true,
            "rh1" => filter.options.retain_handling = RetainHandling::SendIfNew,
            "rh2" => filter.options.retain_handling = RetainHandling::DoNotSend,
            other => panic!("no such option: {other}"),
        }
    }
    filter
}

fn with_publish<T>(words: &[&str], done: impl FnOnce(Publish<'_>) -> T) -> T {
    let (topic, payload) = words[0].split_once('=').unwrap();
    let alias = |number: &str| TopicAlias::new(number.parse().unwrap()).unwrap();
    let topic = match topic.split_once('@') {
        None => PublishTopic::Name(name(topic)),
        Some(("", number)) => PublishTopic::Alias(alias(number)),
        Some((topic, number)) => PublishTopic::NameAndAlias(name(topic), alias(number)),
    };
    let dup = words.contains(&"dup");
    let id = words.iter().find_map(|word| {
        let number = word.strip_prefix("id")?;
        Some(id(number.parse().unwrap()))
    });
    let delivery = match words.get(1) {
        None | Some(&"q0") => Delivery::AtMostOnce,
        Some(&"q1") => Delivery::AtLeastOnce {
            id: id.unwrap(),
            dup,
        },
        Some(&"q2") => Delivery::ExactlyOnce {
            id: id.unwrap(),
            dup,
        },
        Some(other) => panic!("no such QoS: {other}"),
    };
    let pair = string(words, "user").map(|pair| pair.split_once(':').unwrap());
    let pairs = pair.map(|(key, value)| UserProperty {
        name: text(key),
        value: text(value),
    });
    let pairs = Vec::from_iter(pairs);
    done(Publish {
        delivery,
        topic,
        retain: words.contains(&"retain"),
        properties: PublishProperties {
            payload_format: words.contains(&"text").then_some(PayloadFormat::Utf8),
            message_expiry_secs: value(words, "expiry"),
            response_topic: string(words, "reply").map(name),
            correlation_data: string(words, "correlation").map(binary),
            content_type: string(words, "type").map(text),
            user_properties: UserProperties::new(&pairs),
            ..PublishProperties::default()
        },
        ..Publish::new(name("t"), payload.as_bytes())
    })
}

/// The message that a PUBLISH with these words carries; any identifier will do.
pub(super) fn message(words: &[&str]) -> Message {
    let words = [words, &["id1"]].concat();
    with_publish(&words, |publish| {
        let PublishTopic::Name(topic) = publish.topic else {
            panic!("no alias here");
        };
        let message = Message::new(topic.as_str(), publish.payload.to_vec()).unwrap();
        let message = message
            .with_qos(publish.delivery.qos())
            .with_retain(publish.retain);
        message.with_properties(&publish.properties).unwrap()
    })
}

/// Whole packets, each in the notation of `wire` with its properties behind.
pub(super) fn show_all(bytes: &[u8], version: ProtocolVersion) -> Vec<String> {
    let (mut rest, mut shown) = (bytes, Vec::new());
    while !rest.is_empty() {
        match decode(rest, version, u32::MAX) {
            Ok(Parsed::Complete((packet, size))) => {
                shown.push(show(&packet) + &properties(&packet));
                rest = &rest[size..];
            }
            other => panic!("no packet: {other:?} in {rest:02X?}"),
        }
    }
    shown
}

fn properties(packet: &Packet<'_>) -> String {
    let mut all = Vec::new();
    let mut note = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            all.push(format!(" {key}={value}"));
        }
    };
    match packet {
        Packet::ConnAck(connack) => {
            let found = &connack.properties;
            let unavailable = |flag: Option<bool>| flag.filter(|flag| !flag).map(|_| "0".into());
            note(
                "expiry",
                found.session_expiry_secs.map(|secs| match secs {
                    u32::MAX => "ever".to_owned(),
                    secs => secs.to_string(),
                }),
            );
            note("id", found.assigned_client_id.map(|_| "assigned".into()));
            note(
                "keep-alive",
                found.server_keep_alive_secs.map(|secs| secs.to_string()),
            );
            note(
                "maximum-qos",
                found
                    .maximum_qos
                    .map(|qos| u8::from(QoS::from(qos)).to_string()),
            );
            note("retain", unavailable(found.retain_available));
            note(
                "wildcards",
                unavailable(found.wildcard_subscription_available),
            );
            note(
                "subscription-ids",
                unavailable(found.subscription_id_available),
            );
            note("shared", unavailable(found.shared_subscription_available));
            // What every CONNACK of the default has is left out.
            let maximum = found.receive_maximum.map(u16::from);
            note(
                "receive-maximum",
                maximum.filter(|it| *it != 20).map(|it| it.to_string()),
            );
            let maximum = found.packet_size_max.map(u32::from);
            note(
                "packet-size",
                maximum.filter(|it| *it != 1 << 20).map(|it| it.to_string()),
            );
            let maximum = found.topic_alias_maximum;
            note(
                "aliases",
                maximum.filter(|it| *it != 10).map(|it| it.to_string()),
            );
            note(
                "method",
                found.authentication.map(|it| show_authentication(&it)),
            );
            note(
                "reference",
                found.server_reference.map(|it| it.as_str().into()),
            );
            note(
                "response",
                found.response_information.map(|it| it.as_str().into()),
            );
        }
        Packet::Publish(publish) => {
            let found = &publish.properties;
            if found.payload_format == Some(PayloadFormat::Utf8) {
                all.push(" text".to_owned());
            }
            let mut note = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    all.push(format!(" {key}={value}"));
                }
            };
            note(
                "expiry",
                found.message_expiry_secs.map(|secs| secs.to_string()),
            );
            note("reply", found.response_topic.map(|it| it.to_string()));
            note(
                "correlation",
                found
                    .correlation_data
                    .map(|it| String::from_utf8(it.as_bytes().to_vec()).unwrap()),
            );
            note("type", found.content_type.map(|it| it.as_str().into()));
            for pair in found.user_properties.iter() {
                let shown = format!("{}:{}", pair.name.as_str(), pair.value.as_str());
                note("user", Some(shown));
            }
            let mut ids: Vec<_> = found
                .subscription_ids
                .iter()
                .map(SubscriptionId::get)
                .collect();
            ids.sort_unstable();
            for id in ids {
                note("sub", Some(id.to_string()));
            }
        }
        Packet::Auth(auth) => {
            let reason = ReasonCode::from(auth.reason).value();
            let shown = auth.authentication.map(|it| show_authentication(&it));
            return format!(" {reason:02X} {}", shown.unwrap_or_default());
        }
        Packet::Disconnect(disconnect) => {
            let reference = disconnect.properties.server_reference;
            note("reference", reference.map(|it| it.as_str().into()));
        }
        _plain => {}
    }
    all.concat()
}

fn show_authentication(found: &Authentication<'_>) -> String {
    let method = found.method.as_str();
    match found.data {
        None => method.to_owned(),
        Some(data) => format!("{method}={}", String::from_utf8_lossy(data.as_bytes())),
    }
}
