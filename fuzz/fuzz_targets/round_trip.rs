//! Valid packets of every type and both versions, encoded and decoded again.

#![no_main]

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    Ack, AckProperties, Auth, Authentication, Binary, ConnAck, ConnAckOutcome, ConnAckProperties,
    Connect, ConnectProperties, ConnectReason, DecodeErrorKind, Delivery, Disconnect,
    DisconnectProperties, EncodeError, Frame, MaximumQoS, Message, NotInVersion, Packet, PacketId,
    PacketType, Parsed, PayloadFormat, ProtocolVersion, Publish, PublishProperties, PublishTopic,
    QoS, ReasonCode, RetainHandling, Str, SubAck, SubAckReasons, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscribeProperties, SubscriptionId, SubscriptionIds, SubscriptionOptions,
    TopicAlias, TopicFilter, TopicName, UnsubAck, UnsubAckReasons, Unsubscribe, UnsubscribeFilters,
    UserProperties, UserProperty, Will, WillProperties, decode,
};

/// The longest text there is: chance would never find one.
static LONGEST: [u8; 65_535] = [b'x'; 65_535];
/// Enough to take the remaining length over each of its borders.
static LARGE: [u8; 2_097_200] = [b'y'; 2_097_200];

fuzz_target!(|data: &[u8]| {
    // An error says that the input ends before the packet does.
    let _built = build(data);
});

#[expect(
    clippy::redundant_closure,
    reason = "a variant's name is a function for one lifetime only"
)]
fn build(data: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(data);
    let [level, first] = u.arbitrary::<[u8; 2]>()?;
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    let packet_type = PacketType::try_from(first >> 4).unwrap_or(PacketType::Publish);
    let source = &mut Source { u, version };
    match packet_type {
        PacketType::Connect => connect(source),
        PacketType::ConnAck => connack(source),
        PacketType::Publish => publish(source),
        PacketType::PubAck => ack(source, |ack| Packet::PubAck(ack)),
        PacketType::PubRec => ack(source, |ack| Packet::PubRec(ack)),
        PacketType::PubRel => ack(source, |ack| Packet::PubRel(ack)),
        PacketType::PubComp => ack(source, |ack| Packet::PubComp(ack)),
        PacketType::Subscribe => subscribe(source),
        PacketType::SubAck => suback(source),
        PacketType::Unsubscribe => unsubscribe(source),
        PacketType::UnsubAck => unsuback(source),
        PacketType::PingReq => source.check(&Packet::PingReq),
        PacketType::PingResp => source.check(&Packet::PingResp),
        PacketType::Disconnect => disconnect(source),
        PacketType::Auth => auth(source),
    }
}

/// Where fields come from. What 3.1.1 has no field for is absent there.
struct Source<'a> {
    u: Unstructured<'a>,
    version: ProtocolVersion,
}

type Field<'a, T> = fn(&mut Source<'a>) -> Result<T>;

impl<'a> Source<'a> {
    fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5_0
    }

    fn flag(&mut self) -> Result<bool> {
        self.u.arbitrary()
    }

    fn u16(&mut self) -> Result<u16> {
        self.u.arbitrary()
    }

    fn u32(&mut self) -> Result<u32> {
        self.u.arbitrary()
    }

    /// Never, once the input is used up.
    fn seldom(&mut self) -> Result<bool> {
        Ok(!self.u.ratio(99_u8, 100)?)
    }

    fn maybe<T>(&mut self, field: Field<'a, T>) -> Result<Option<T>> {
        if self.flag()? {
            field(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn maybe_v5<T>(&mut self, field: Field<'a, T>) -> Result<Option<T>> {
        if self.is_v5() {
            self.maybe(field)
        } else {
            Ok(None)
        }
    }

    fn list<T>(&mut self, len_min: usize, field: Field<'a, T>) -> Result<Vec<T>> {
        let len = self.u.int_in_range(len_min..=len_min + 3)?;
        (0..len).map(|_| field(self)).collect()
    }

    fn list_v5<T>(&mut self, field: Field<'a, T>) -> Result<Vec<T>> {
        if self.is_v5() {
            self.list(0, field)
        } else {
            Ok(Vec::new())
        }
    }

    fn text(&mut self) -> Result<&'a str> {
        if self.seldom()? {
            return Ok(std::str::from_utf8(&LONGEST).unwrap());
        }
        let text: &str = self.u.arbitrary()?;
        Ok(text.split('\0').next().unwrap_or_default())
    }

    fn str(&mut self) -> Result<Str<'a>> {
        Ok(Str::new(self.text()?).unwrap())
    }

    fn binary(&mut self) -> Result<Binary<'a>> {
        if self.seldom()? {
            return Ok(Binary::new(&LONGEST).unwrap());
        }
        Ok(Binary::new(self.u.arbitrary()?).unwrap_or_default())
    }

    fn payload(&mut self) -> Result<&'a [u8]> {
        if self.seldom()? {
            let border = *self.u.choose(&[128, 16_384, 2_097_152])?;
            let len: usize = border - self.u.int_in_range(0..=40)?;
            return Ok(&LARGE[..len]);
        }
        self.u.arbitrary()
    }

    fn topic(&mut self) -> Result<TopicName<'a>> {
        let text = self.text()?;
        let name = text.split(['+', '#']).next().unwrap_or_default();
        Ok(TopicName::new(name).unwrap_or(TopicName::new("t").unwrap()))
    }

    fn filter(&mut self) -> Result<TopicFilter<'a>> {
        const MORE: [&str; 6] = ["#", "+/+/#", "$share/g/+/a", "$SYS/#", "/", "$share"];
        let text = if self.flag()? {
            *self.u.choose(&MORE)?
        } else {
            self.text()?
        };
        let valid = TopicFilter::new(text).ok();
        // What 5.0 takes for a shared filter without its parts is no filter there.
        let valid = valid.filter(|filter| !self.is_v5() || filter.shared().is_ok());
        Ok(valid.unwrap_or(TopicFilter::new("t").unwrap()))
    }

    fn non_zero_u16(&mut self) -> Result<NonZeroU16> {
        Ok(NonZeroU16::new(self.u16()?).unwrap_or(NonZeroU16::MIN))
    }

    fn non_zero_u32(&mut self) -> Result<NonZeroU32> {
        Ok(NonZeroU32::new(self.u32()?).unwrap_or(NonZeroU32::MIN))
    }

    fn packet_id(&mut self) -> Result<PacketId> {
        Ok(PacketId::new(self.u16()?).unwrap_or(PacketId::MIN))
    }

    fn subscription_id(&mut self) -> Result<SubscriptionId> {
        let id = self.u32()? >> *self.u.choose(&[4, 11, 18, 25])?;
        Ok(SubscriptionId::new(id).unwrap_or(SubscriptionId::new(1).unwrap()))
    }

    fn alias(&mut self) -> Result<TopicAlias> {
        Ok(TopicAlias::new(self.non_zero_u16()?.get()).unwrap())
    }

    fn qos(&mut self) -> Result<QoS> {
        Ok(*self
            .u
            .choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])?)
    }

    fn payload_format(&mut self) -> Result<PayloadFormat> {
        Ok(*self
            .u
            .choose(&[PayloadFormat::Unspecified, PayloadFormat::Utf8])?)
    }

    fn user_property(&mut self) -> Result<UserProperty<'a>> {
        Ok(UserProperty {
            name: self.str()?,
            value: self.str()?,
        })
    }

    fn authentication(&mut self) -> Result<Authentication<'a>> {
        Ok(Authentication {
            method: self.str()?,
            data: self.maybe(Self::binary)?,
        })
    }

    /// A reason code that the packet may carry.
    fn reason<R: TryFrom<ReasonCode>>(&mut self) -> Result<R> {
        let start = self.u.choose_index(ReasonCode::ALL.len())?;
        let mut codes = ReasonCode::ALL.iter().cycle().skip(start);
        Ok(codes.find_map(|&code| R::try_from(code).ok()).unwrap())
    }

    fn check(&self, packet: &Packet<'_>) -> Result<()> {
        check_packet(packet, self.version);
        if self.is_v5() {
            check_older(packet);
        }
        Ok(())
    }
}

fn connect(s: &mut Source<'_>) -> Result<()> {
    let (users, will_users) = (
        s.list_v5(Source::user_property)?,
        s.list_v5(Source::user_property)?,
    );
    let will = if s.flag()? {
        Some(Will {
            topic: s.topic()?,
            payload: s.binary()?,
            qos: s.qos()?,
            retain: s.flag()?,
            properties: WillProperties {
                delay_secs: s.maybe_v5(Source::u32)?,
                payload_format: s.maybe_v5(Source::payload_format)?,
                message_expiry_secs: s.maybe_v5(Source::u32)?,
                content_type: s.maybe_v5(Source::str)?,
                response_topic: s.maybe_v5(Source::topic)?,
                correlation_data: s.maybe_v5(Source::binary)?,
                user_properties: UserProperties::new(&will_users),
            },
        })
    } else {
        None
    };
    let client_id = s.str()?;
    let user_name = s.maybe(Source::str)?;
    let password = s.maybe(Source::binary)?;
    let connect = Connect {
        version: s.version,
        clean_start: s.flag()? || (!s.is_v5() && client_id.is_empty()),
        keep_alive_secs: s.u16()?,
        client_id,
        will,
        user_name,
        password: password.filter(|_| s.is_v5() || user_name.is_some()),
        properties: ConnectProperties {
            session_expiry_secs: s.maybe_v5(Source::u32)?,
            receive_maximum: s.maybe_v5(Source::non_zero_u16)?,
            packet_size_max: s.maybe_v5(Source::non_zero_u32)?,
            topic_alias_maximum: s.maybe_v5(Source::u16)?,
            request_response_information: s.maybe_v5(Source::flag)?,
            request_problem_information: s.maybe_v5(Source::flag)?,
            authentication: s.maybe_v5(Source::authentication)?,
            user_properties: UserProperties::new(&users),
        },
    };
    s.check(&connect.into())
}

fn connack(s: &mut Source<'_>) -> Result<()> {
    /// Those with a return code of their own.
    const OLDER: [ConnectReason; 5] = [
        ConnectReason::UnsupportedProtocolVersion,
        ConnectReason::ClientIdNotValid,
        ConnectReason::ServerUnavailable,
        ConnectReason::BadUserNameOrPassword,
        ConnectReason::NotAuthorized,
    ];
    let users = s.list_v5(Source::user_property)?;
    let outcome = if s.flag()? {
        ConnAckOutcome::Accepted {
            session_present: s.flag()?,
        }
    } else if s.is_v5() {
        ConnAckOutcome::Refused(s.reason()?)
    } else {
        ConnAckOutcome::Refused(*s.u.choose(&OLDER)?)
    };
    let connack = ConnAck {
        outcome,
        properties: ConnAckProperties {
            session_expiry_secs: s.maybe_v5(Source::u32)?,
            receive_maximum: s.maybe_v5(Source::non_zero_u16)?,
            maximum_qos: s.maybe_v5(|s| {
                Ok(if s.flag()? {
                    MaximumQoS::AtLeastOnce
                } else {
                    MaximumQoS::AtMostOnce
                })
            })?,
            retain_available: s.maybe_v5(Source::flag)?,
            packet_size_max: s.maybe_v5(Source::non_zero_u32)?,
            assigned_client_id: s.maybe_v5(Source::str)?,
            topic_alias_maximum: s.maybe_v5(Source::u16)?,
            reason_string: s.maybe_v5(Source::str)?,
            user_properties: UserProperties::new(&users),
            wildcard_subscription_available: s.maybe_v5(Source::flag)?,
            subscription_id_available: s.maybe_v5(Source::flag)?,
            shared_subscription_available: s.maybe_v5(Source::flag)?,
            server_keep_alive_secs: s.maybe_v5(Source::u16)?,
            response_information: s.maybe_v5(Source::str)?,
            server_reference: s.maybe_v5(Source::str)?,
            authentication: s.maybe_v5(Source::authentication)?,
        },
    };
    s.check(&connack.into())
}

fn publish(s: &mut Source<'_>) -> Result<()> {
    let (users, ids) = (
        s.list_v5(Source::user_property)?,
        s.list_v5(Source::subscription_id)?,
    );
    let name = s.topic()?;
    let topic = match s.maybe_v5(Source::alias)? {
        None => PublishTopic::Name(name),
        Some(alias) if s.flag()? => PublishTopic::Alias(alias),
        Some(alias) => PublishTopic::NameAndAlias(name, alias),
    };
    let delivery = match s.qos()? {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce {
            id: s.packet_id()?,
            dup: s.flag()?,
        },
        QoS::ExactlyOnce => Delivery::ExactlyOnce {
            id: s.packet_id()?,
            dup: s.flag()?,
        },
    };
    let publish = Publish {
        delivery,
        retain: s.flag()?,
        topic,
        properties: PublishProperties {
            payload_format: s.maybe_v5(Source::payload_format)?,
            message_expiry_secs: s.maybe_v5(Source::u32)?,
            response_topic: s.maybe_v5(Source::topic)?,
            correlation_data: s.maybe_v5(Source::binary)?,
            content_type: s.maybe_v5(Source::str)?,
            subscription_ids: SubscriptionIds::new(&ids),
            user_properties: UserProperties::new(&users),
        },
        payload: s.payload()?,
    };
    check_message(&publish, name, s.version);
    s.check(&publish.into())
}

fn ack<R: TryFrom<ReasonCode>>(
    s: &mut Source<'_>,
    packet: for<'p> fn(Ack<'p, R>) -> Packet<'p>,
) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let success = R::try_from(ReasonCode::Success).unwrap_or_else(|_| unreachable!());
    let ack = Ack {
        id: s.packet_id()?,
        reason: if s.is_v5() { s.reason()? } else { success },
        properties: properties(s, &users)?,
    };
    s.check(&packet(ack))
}

fn properties<'a: 'b, 'b>(
    s: &mut Source<'a>,
    users: &'b [UserProperty<'b>],
) -> Result<AckProperties<'b>> {
    Ok(AckProperties {
        reason_string: s.maybe_v5(Source::str)?,
        user_properties: UserProperties::new(users),
    })
}

fn subscribe(s: &mut Source<'_>) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let filters = s.list(1, |s| {
        let filter = s.filter()?;
        let mut options = SubscriptionOptions::new(s.qos()?);
        if s.is_v5() {
            options.no_local = s.flag()? && !filter.as_bytes().starts_with(b"$share/");
            options.retain_as_published = s.flag()?;
            options.retain_handling = *s.u.choose(&[
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ])?;
        }
        Ok(SubscribeFilter { filter, options })
    })?;
    let subscribe = Subscribe {
        id: s.packet_id()?,
        filters: SubscribeFilters::new(&filters).unwrap(),
        properties: SubscribeProperties {
            subscription_id: s.maybe_v5(Source::subscription_id)?,
            user_properties: UserProperties::new(&users),
        },
    };
    s.check(&subscribe.into())
}

fn suback(s: &mut Source<'_>) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let reasons = s.list(1, |s| {
        let code = s.reason()?;
        let failed = ReasonCode::from(code).is_error();
        Ok(if failed && !s.is_v5() {
            ReasonCode::UnspecifiedError.try_into().unwrap()
        } else {
            code
        })
    })?;
    let suback = SubAck {
        id: s.packet_id()?,
        reasons: SubAckReasons::new(&reasons).unwrap(),
        properties: properties(s, &users)?,
    };
    s.check(&suback.into())
}

fn unsubscribe(s: &mut Source<'_>) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let filters = s.list(1, Source::filter)?;
    let unsubscribe = Unsubscribe {
        id: s.packet_id()?,
        filters: UnsubscribeFilters::new(&filters).unwrap(),
        user_properties: UserProperties::new(&users),
    };
    s.check(&unsubscribe.into())
}

fn unsuback(s: &mut Source<'_>) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let reasons = if s.is_v5() {
        s.list(1, Source::reason)?
    } else {
        Vec::new()
    };
    let unsuback = UnsubAck {
        id: s.packet_id()?,
        reasons: UnsubAckReasons::new(&reasons),
        properties: properties(s, &users)?,
    };
    s.check(&unsuback.into())
}

fn disconnect(s: &mut Source<'_>) -> Result<()> {
    let users = s.list_v5(Source::user_property)?;
    let success = ReasonCode::Success.try_into().unwrap();
    let disconnect = Disconnect {
        reason: if s.is_v5() { s.reason()? } else { success },
        properties: DisconnectProperties {
            session_expiry_secs: s.maybe_v5(Source::u32)?,
            reason_string: s.maybe_v5(Source::str)?,
            server_reference: s.maybe_v5(Source::str)?,
            user_properties: UserProperties::new(&users),
        },
    };
    s.check(&disconnect.into())
}

fn auth(s: &mut Source<'_>) -> Result<()> {
    // 3.1.1 has none; `check_older` sees to that.
    s.version = ProtocolVersion::V5_0;
    let users = s.list_v5(Source::user_property)?;
    let auth = Auth {
        reason: s.reason()?,
        authentication: s.maybe(Source::authentication)?,
        properties: properties(s, &users)?,
    };
    s.check(&auth.into())
}

/// What is encoded is decoded to the same, and every cut of it is seen as one.
fn check_packet(packet: &Packet<'_>, version: ProtocolVersion) {
    let len = packet.encoded_len(version).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(packet.encode_to(version, &mut bytes), Ok(len));
    assert_eq!(bytes.len(), len);

    let whole = Ok(Parsed::Complete((*packet, len)));
    let size = u32::try_from(len).unwrap();
    assert_eq!(decode(&bytes, version, size), whole, "exactly the limit");
    let error = decode(&bytes, version, size - 1).unwrap_err();
    assert_eq!(
        error.kind(),
        DecodeErrorKind::PacketTooLarge {
            size,
            maximum: size - 1
        }
    );

    for cut in (0..len).take(64).chain([len / 2, len - 1]) {
        match Frame::parse(&bytes[..cut], Some(version), u32::MAX) {
            Ok(Parsed::Partial { needed }) => assert!(needed >= 1 && cut + needed <= len),
            other => panic!("{cut} of {len} bytes are {other:?}"),
        }
    }

    // Into a slice with room to spare, and into one without.
    let mut slice = vec![0xA5; len + 1];
    assert_eq!(packet.encode(version, &mut slice), Ok(len));
    assert_eq!((&slice[..len], slice[len]), (&*bytes, 0xA5));
    assert_eq!(
        decode(&slice, version, size),
        whole,
        "what comes behind is left alone"
    );
    slice.fill(0xA5);
    let too_small = EncodeError::BufferTooSmall {
        needed: len,
        available: len - 1,
    };
    assert_eq!(
        packet.encode(version, &mut slice[..len - 1]),
        Err(too_small)
    );
    assert!(
        slice.iter().all(|&byte| byte == 0xA5),
        "nothing has been written"
    );
}

/// A packet of 5.0 is refused in 3.1.1, or becomes one that 3.1.1 has.
fn check_older(packet: &Packet<'_>) {
    let version = ProtocolVersion::V3_1_1;
    let mut bytes = Vec::new();
    match packet.encode_to(version, &mut bytes) {
        Ok(len) => {
            let Ok(Parsed::Complete((older, size))) = decode(&bytes, version, u32::MAX) else {
                panic!("encoded, but not decoded: {bytes:02x?}");
            };
            assert_eq!((size, older.packet_type()), (len, packet.packet_type()));
            let mut again = Vec::new();
            assert_eq!(older.encode_to(version, &mut again), Ok(len));
            assert_eq!(again, bytes);
        }
        Err(error) => {
            assert!(bytes.is_empty(), "nothing has been written");
            assert!(matches!(error, EncodeError::NotInVersion(_)), "{error}");
            let refused = matches!(
                packet,
                Packet::Connect(_)
                    | Packet::ConnAck(_)
                    | Packet::Publish(_)
                    | Packet::Subscribe(_)
                    | Packet::Auth(_)
            );
            assert!(refused, "{error}");
        }
    }
    if matches!(packet, Packet::Auth(_)) {
        let error = EncodeError::NotInVersion(NotInVersion::Auth);
        assert_eq!(packet.encoded_len(version), Err(error));
    }
}

/// A message holds all of a PUBLISH but its delivery and its alias.
fn check_message(publish: &Publish<'_>, name: TopicName<'_>, version: ProtocolVersion) {
    let named = Publish {
        topic: PublishTopic::Name(name),
        ..*publish
    };
    let message = Message::from_publish(publish, name);
    assert_eq!(message.publish(publish.delivery), named);

    let mut bytes = Vec::new();
    Packet::from(named).encode_to(version, &mut bytes).unwrap();
    let frame = Bytes::from(bytes);
    let Ok(Parsed::Complete((Packet::Publish(decoded), _))) = decode(&frame, version, u32::MAX)
    else {
        panic!("a PUBLISH");
    };
    let shared = Message::from_frame(&frame, &decoded, name);
    assert_eq!(shared, message);
    if !publish.payload.is_empty() {
        assert!(
            frame.as_ptr_range().contains(&shared.payload().as_ptr()),
            "shared, not copied"
        );
    }
    let rebuilt = Message::from_name(name, publish.payload.to_vec())
        .with_qos(publish.delivery.qos())
        .with_retain(publish.retain)
        .with_properties(&publish.properties);
    assert_eq!(rebuilt, Ok(message));
}
