//! Strategies for every packet of both versions.
//!
//! Packets borrow. The texts and lists of the generated ones are leaked: a test ends soon, and
//! `Packet<'static>` needs no second model of the packets here. For 3.1.1 there is nothing in them
//! that 3.1.1 cannot say.

use core::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{
    Ack, AckProperties, Auth, AuthReason, Authentication, Binary, ConnAck, ConnAckOutcome,
    ConnAckProperties, Connect, ConnectProperties, ConnectReason, Delivery, Disconnect,
    DisconnectProperties, DisconnectReason, MaximumQoS, Packet, PacketId, PayloadFormat,
    ProtocolVersion, Publish, PublishProperties, PublishReason, PublishTopic, QoS, ReasonCode,
    ReleaseReason, RetainHandling, Str, SubAck, SubAckReasons, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscribeProperties, SubscribeReason, SubscriptionId, SubscriptionIds,
    SubscriptionOptions, TopicAlias, TopicFilter, TopicName, UnsubAck, UnsubAckReasons,
    Unsubscribe, UnsubscribeFilters, UnsubscribeReason, UserProperties, UserProperty, Will,
    WillProperties,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use ProtocolVersion::{V3_1_1, V5_0};

/// Both versions.
pub(crate) fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![V3_1_1, V5_0])
}

/// A version and a packet of it; each type as often as the others.
pub(crate) fn versioned_packet() -> impl Strategy<Value = (ProtocolVersion, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}

/// A packet of any type that the version has.
pub(crate) fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let everywhere = prop_oneof![
        connect(version).prop_map(Packet::Connect),
        connack(version).prop_map(Packet::ConnAck),
        publish(version).prop_map(Packet::Publish),
        ack(version, publish_reason(version)).prop_map(Packet::PubAck),
        ack(version, publish_reason(version)).prop_map(Packet::PubRec),
        ack(version, release_reason(version)).prop_map(Packet::PubRel),
        ack(version, release_reason(version)).prop_map(Packet::PubComp),
        subscribe(version).prop_map(Packet::Subscribe),
        suback(version).prop_map(Packet::SubAck),
        unsubscribe(version).prop_map(Packet::Unsubscribe),
        unsuback(version).prop_map(Packet::UnsubAck),
        select(vec![Packet::PingReq, Packet::PingResp]),
        disconnect(version).prop_map(Packet::Disconnect),
    ];
    match version {
        V3_1_1 => everywhere.boxed(),
        V5_0 => prop_oneof![13 => everywhere, 1 => auth().prop_map(Packet::Auth)].boxed(),
    }
}

/// Leaks a list.
fn keep<T>(items: Vec<T>) -> &'static [T] {
    items.leak()
}

/// What only 5.0 has.
fn in_v5<S>(version: ProtocolVersion, value: S) -> BoxedStrategy<S::Value>
where
    S: Strategy<Value: Default + Clone> + 'static,
{
    match version {
        V3_1_1 => Just(S::Value::default()).boxed(),
        V5_0 => value.boxed(),
    }
}

fn text() -> impl Strategy<Value = &'static str> {
    let character = prop_oneof![
        4 => any::<char>(),
        4 => proptest::char::range('a', 'e'),
        1 => Just('\u{FEFF}'),
        1 => Just('/'),
    ];
    let character = character.prop_map(|character| if character == '\0' { '0' } else { character });
    let short = vec(character, 0..12).prop_map(|text| &*String::from_iter(text).leak());
    let longest = Just(()).prop_map(|()| &*"x".repeat(65_535).leak());
    prop_oneof![60 => short, 1 => longest]
}

fn string() -> impl Strategy<Value = Str<'static>> {
    text().prop_map(|text| Str::new(text).unwrap())
}

fn binary() -> impl Strategy<Value = Binary<'static>> {
    vec(any::<u8>(), 0..12).prop_map(|bytes| Binary::new(keep(bytes)).unwrap())
}

fn topic_name() -> impl Strategy<Value = TopicName<'static>> {
    text().prop_map(|text| match text {
        "" => TopicName::new("t").unwrap(),
        text => TopicName::new(text.replace(['+', '#'], "_").leak()).unwrap(),
    })
}

fn topic_filter(version: ProtocolVersion) -> impl Strategy<Value = TopicFilter<'static>> {
    let level = prop_oneof![
        3 => topic_name().prop_map(|name| name.as_str().replace('/', "-")),
        1 => Just(String::from("+")),
        1 => Just(String::new()),
    ];
    // An ordinary filter in 3.1.1.
    let shared = match version {
        V3_1_1 => select(vec!["", "$share/", "$share/+/"]),
        V5_0 => select(vec!["", "$share/g/", "$share/group/"]),
    };
    (
        prop::bool::weighted(0.2),
        shared,
        vec(level, 0..4),
        any::<bool>(),
    )
        .prop_map(|(is_shared, prefix, mut levels, hash)| {
            // What would need a group behind it in 5.0.
            if hash || levels.is_empty() {
                levels.push(String::from("#"));
            }
            let levels: String = levels.join("/").chars().take(60_000 / 4).collect();
            let filter = match (is_shared, levels.as_str()) {
                (_, "") => String::from("/"),
                (true, levels) => format!("{prefix}{levels}"),
                (false, levels) => levels.to_owned(),
            };
            TopicFilter::new(filter.leak()).unwrap()
        })
}

fn users() -> impl Strategy<Value = UserProperties<'static>> {
    let pair = (string(), string()).prop_map(|(name, value)| UserProperty { name, value });
    vec(pair, 0..4).prop_map(|pairs| UserProperties::new(keep(pairs)))
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    prop_oneof![1..=u16::MAX, Just(1), Just(u16::MAX)].prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn non_zero_u16() -> impl Strategy<Value = NonZeroU16> {
    prop_oneof![1..=u16::MAX, Just(u16::MAX)].prop_map(|value| NonZeroU16::new(value).unwrap())
}

fn non_zero_u32() -> impl Strategy<Value = NonZeroU32> {
    prop_oneof![1..=u32::MAX, Just(u32::MAX)].prop_map(|value| NonZeroU32::new(value).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    let edges = vec![
        1,
        127,
        128,
        16_383,
        16_384,
        2_097_151,
        2_097_152,
        268_435_455,
    ];
    prop_oneof![select(edges), 1..=268_435_455_u32].prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn payload_format() -> impl Strategy<Value = PayloadFormat> {
    select(vec![PayloadFormat::Unspecified, PayloadFormat::Utf8])
}

fn authentication() -> impl Strategy<Value = Authentication<'static>> {
    (string(), option::of(binary())).prop_map(|(method, data)| Authentication { method, data })
}

fn ack_properties(version: ProtocolVersion) -> impl Strategy<Value = AckProperties<'static>> {
    let properties = (option::of(string()), users());
    in_v5(
        version,
        properties.prop_map(|(reason_string, user_properties)| AckProperties {
            reason_string,
            user_properties,
        }),
    )
}

/// Every reason that a packet may carry, found by asking for each number.
fn reasons<R: TryFrom<ReasonCode>>() -> Vec<R> {
    let all = ReasonCode::ALL.iter().copied();
    all.filter_map(|code| R::try_from(code).ok()).collect()
}

fn publish_reason(version: ProtocolVersion) -> impl Strategy<Value = PublishReason> {
    select(match version {
        V3_1_1 => vec![PublishReason::Success],
        V5_0 => reasons(),
    })
}

fn release_reason(version: ProtocolVersion) -> impl Strategy<Value = ReleaseReason> {
    select(match version {
        V3_1_1 => vec![ReleaseReason::Success],
        V5_0 => reasons(),
    })
}

fn connect_properties(
    version: ProtocolVersion,
) -> impl Strategy<Value = ConnectProperties<'static>> {
    let properties = (
        option::of(any::<u32>()),
        option::of(non_zero_u16()),
        option::of(non_zero_u32()),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        option::of(authentication()),
        users(),
    );
    let properties = properties.prop_map(
        |(expiry, receive_maximum, packet_size_max, aliases, response, problem, auth, users)| {
            ConnectProperties {
                session_expiry_secs: expiry,
                receive_maximum,
                packet_size_max,
                topic_alias_maximum: aliases,
                request_response_information: response,
                request_problem_information: problem,
                authentication: auth,
                user_properties: users,
            }
        },
    );
    in_v5(version, properties)
}

fn will_properties(version: ProtocolVersion) -> impl Strategy<Value = WillProperties<'static>> {
    let properties = (
        option::of(any::<u32>()),
        option::of(payload_format()),
        option::of(any::<u32>()),
        option::of(string()),
        option::of(topic_name()),
        option::of(binary()),
        users(),
    );
    let properties = properties.prop_map(
        |(delay, format, expiry, content_type, response_topic, correlation, users)| {
            WillProperties {
                delay_secs: delay,
                payload_format: format,
                message_expiry_secs: expiry,
                content_type,
                response_topic,
                correlation_data: correlation,
                user_properties: users,
            }
        },
    );
    in_v5(version, properties)
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will<'static>> {
    (
        topic_name(),
        binary(),
        qos(),
        any::<bool>(),
        will_properties(version),
    )
        .prop_map(|(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        })
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect<'static>> {
    (
        (any::<bool>(), any::<u16>(), string()),
        option::of(will(version)),
        option::of(string()),
        option::of(binary()),
        connect_properties(version),
    )
        .prop_map(
            move |((clean, keep_alive_secs, client_id), will, user_name, password, properties)| {
                let is_v5 = version == V5_0;
                Connect {
                    version,
                    // [3:MQTT-3.1.3-7] Without a name there is no session to keep.
                    clean_start: clean || (client_id.is_empty() && !is_v5),
                    keep_alive_secs,
                    client_id,
                    will,
                    user_name,
                    // [3:MQTT-3.1.2-22]
                    password: password.filter(|_| is_v5 || user_name.is_some()),
                    properties,
                }
            },
        )
}

fn outcome(version: ProtocolVersion) -> impl Strategy<Value = ConnAckOutcome> {
    let refusals = match version {
        V3_1_1 => vec![
            ConnectReason::UnsupportedProtocolVersion,
            ConnectReason::ClientIdNotValid,
            ConnectReason::ServerUnavailable,
            ConnectReason::BadUserNameOrPassword,
            ConnectReason::NotAuthorized,
        ],
        V5_0 => reasons(),
    };
    prop_oneof![
        any::<bool>().prop_map(|session_present| ConnAckOutcome::Accepted { session_present }),
        select(refusals).prop_map(ConnAckOutcome::Refused),
    ]
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = ConnAck<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(non_zero_u16()),
        option::of(select(vec![
            MaximumQoS::AtMostOnce,
            MaximumQoS::AtLeastOnce,
        ])),
        option::of(any::<bool>()),
        option::of(non_zero_u32()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
        prop::array::uniform3(option::of(any::<bool>())),
    );
    let texts = (
        prop::array::uniform4(option::of(string())),
        users(),
        option::of(authentication()),
    );
    let properties = (numbers, texts).prop_map(|(numbers, (texts, users, authentication))| {
        let (expiry, receive, qos, retain, size, aliases, keep_alive, available) = numbers;
        let [
            assigned_client_id,
            reason_string,
            response_information,
            server_reference,
        ] = texts;
        let [wildcard, subscription_id, shared] = available;
        ConnAckProperties {
            session_expiry_secs: expiry,
            receive_maximum: receive,
            maximum_qos: qos,
            retain_available: retain,
            packet_size_max: size,
            assigned_client_id,
            topic_alias_maximum: aliases,
            reason_string,
            user_properties: users,
            wildcard_subscription_available: wildcard,
            subscription_id_available: subscription_id,
            shared_subscription_available: shared,
            server_keep_alive_secs: keep_alive,
            response_information,
            server_reference,
            authentication,
        }
    });
    (outcome(version), in_v5(version, properties)).prop_map(|(outcome, properties)| ConnAck {
        outcome,
        properties,
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::AtMostOnce),
        (packet_id(), any::<bool>()).prop_map(|(id, dup)| Delivery::AtLeastOnce { id, dup }),
        (packet_id(), any::<bool>()).prop_map(|(id, dup)| Delivery::ExactlyOnce { id, dup }),
    ]
}

fn publish_topic(version: ProtocolVersion) -> BoxedStrategy<PublishTopic<'static>> {
    let alias = || non_zero_u16().prop_map(|alias| TopicAlias::new(alias.get()).unwrap());
    let name = topic_name().prop_map(PublishTopic::Name);
    let both = (topic_name(), alias()).prop_map(|(name, a)| PublishTopic::NameAndAlias(name, a));
    match version {
        V3_1_1 => name.boxed(),
        V5_0 => prop_oneof![name, both, alias().prop_map(PublishTopic::Alias)].boxed(),
    }
}

fn publish_properties(
    version: ProtocolVersion,
) -> impl Strategy<Value = PublishProperties<'static>> {
    let ids = vec(subscription_id(), 0..4).prop_map(|ids| SubscriptionIds::new(keep(ids)));
    let properties = (
        option::of(payload_format()),
        option::of(any::<u32>()),
        option::of(topic_name()),
        option::of(binary()),
        option::of(string()),
        ids,
        users(),
    );
    let properties = properties.prop_map(
        |(format, expiry, response_topic, correlation, content_type, ids, users)| {
            PublishProperties {
                payload_format: format,
                message_expiry_secs: expiry,
                response_topic,
                correlation_data: correlation,
                content_type,
                subscription_ids: ids,
                user_properties: users,
            }
        },
    );
    in_v5(version, properties)
}

pub(crate) fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish<'static>> {
    let payload = prop_oneof![20 => 0..40_usize, 1 => 16_000..17_000_usize]
        .prop_flat_map(|len| (Just(len), any::<u8>()))
        .prop_map(|(len, byte)| keep(vec![byte; len]));
    (
        delivery(),
        any::<bool>(),
        publish_topic(version),
        publish_properties(version),
        payload,
    )
        .prop_map(|(delivery, retain, topic, properties, payload)| Publish {
            delivery,
            retain,
            topic,
            properties,
            payload,
        })
}

fn ack<R: core::fmt::Debug>(
    version: ProtocolVersion,
    reason: impl Strategy<Value = R>,
) -> impl Strategy<Value = Ack<'static, R>> {
    (packet_id(), reason, ack_properties(version)).prop_map(|(id, reason, properties)| Ack {
        id,
        reason,
        properties,
    })
}

fn options(version: ProtocolVersion) -> impl Strategy<Value = SubscriptionOptions> {
    let handling = select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| match version {
            V3_1_1 => SubscriptionOptions::new(qos),
            V5_0 => SubscriptionOptions {
                qos,
                no_local,
                retain_as_published,
                retain_handling,
            },
        },
    )
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Subscribe<'static>> {
    let entry = (topic_filter(version), options(version)).prop_map(|(filter, mut options)| {
        // [5:MQTT-3.8.3-4]
        options.no_local &= !filter.as_bytes().starts_with(b"$share/");
        SubscribeFilter { filter, options }
    });
    let properties = (option::of(subscription_id()), users());
    let properties =
        properties.prop_map(|(subscription_id, user_properties)| SubscribeProperties {
            subscription_id,
            user_properties,
        });
    (packet_id(), vec(entry, 1..4), in_v5(version, properties)).prop_map(
        |(id, filters, properties)| Subscribe {
            id,
            filters: SubscribeFilters::new(keep(filters)).unwrap(),
            properties,
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = SubAck<'static>> {
    let reason = select(match version {
        V3_1_1 => vec![
            SubscribeReason::GrantedQoS0,
            SubscribeReason::GrantedQoS1,
            SubscribeReason::GrantedQoS2,
            SubscribeReason::UnspecifiedError,
        ],
        V5_0 => reasons(),
    });
    (packet_id(), vec(reason, 1..5), ack_properties(version)).prop_map(
        |(id, reasons, properties)| SubAck {
            id,
            reasons: SubAckReasons::new(keep(reasons)).unwrap(),
            properties,
        },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Unsubscribe<'static>> {
    (
        packet_id(),
        vec(topic_filter(version), 1..4),
        in_v5(version, users()),
    )
        .prop_map(|(id, filters, user_properties)| Unsubscribe {
            id,
            filters: UnsubscribeFilters::new(keep(filters)).unwrap(),
            user_properties,
        })
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = UnsubAck<'static>> {
    let reasons = vec(select(reasons::<UnsubscribeReason>()), 1..5)
        .prop_map(|reasons| UnsubAckReasons::new(keep(reasons)));
    (
        packet_id(),
        in_v5(version, reasons),
        ack_properties(version),
    )
        .prop_map(|(id, reasons, properties)| UnsubAck {
            id,
            reasons,
            properties,
        })
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Disconnect<'static>> {
    let reason = select(match version {
        V3_1_1 => vec![DisconnectReason::NormalDisconnection],
        V5_0 => reasons(),
    });
    let properties = (
        option::of(any::<u32>()),
        option::of(string()),
        option::of(string()),
        users(),
    );
    let properties = properties.prop_map(
        |(session_expiry_secs, reason_string, server_reference, user_properties)| {
            DisconnectProperties {
                session_expiry_secs,
                reason_string,
                server_reference,
                user_properties,
            }
        },
    );
    (reason, in_v5(version, properties))
        .prop_map(|(reason, properties)| Disconnect { reason, properties })
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    (
        select(reasons::<AuthReason>()),
        option::of(authentication()),
        ack_properties(V5_0),
    )
        .prop_map(|(reason, authentication, properties)| Auth {
            reason,
            authentication,
            properties,
        })
}
