//! Valid packets, built from choices.

use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};

use arbitrary::{Error, Result, Unstructured};
use mqtt_topic::{TopicFilter, TopicName};

use crate::{
    Ack, AckProperties, Auth, Authentication, Binary, ConnAck, ConnAckOutcome, ConnAckProperties,
    Connect, ConnectProperties, ConnectReason, Delivery, Disconnect, DisconnectProperties,
    MaximumQoS, Packet, PacketId, PacketType, PayloadFormat, ProtocolVersion, Publish,
    PublishProperties, PublishTopic, QoS, ReasonCode, RetainHandling, Str, SubAck, SubAckReasons,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscribeReason,
    SubscriptionId, SubscriptionIds, SubscriptionOptions, TopicAlias, UnsubAck, UnsubAckReasons,
    Unsubscribe, UnsubscribeFilters, UserProperties, UserProperty, Will, WillProperties,
};

/// The longest text there is: chance would never find one.
static LONGEST: [u8; 65_535] = [b'x'; 65_535];
/// Enough to take the remaining length over each of its borders.
static LARGE: [u8; 2_097_152] = [0; 2_097_152];

/// Builds a valid packet of this version out of a fuzzer's bytes, and shows it to `see`.
///
/// It is only lent, since its lists are. Every type comes, and every field; the longest texts, and
/// payloads around the borders of the remaining length, come now and then.
///
/// ```
/// use arbitrary::Unstructured;
/// use mqtt_codec::{arbitrary::with_packet, decode, Parsed, ProtocolVersion};
///
/// let version = ProtocolVersion::V5_0;
/// let mut u = Unstructured::new(b"any bytes that a fuzzer comes up with");
/// with_packet(&mut u, version, |packet| {
///     let mut bytes = Vec::new();
///     let len = packet.encode_to(version, &mut bytes)?;
///     assert_eq!(decode(&bytes, version, u32::MAX)?, Parsed::Complete((*packet, len)));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`arbitrary::Error`] when the bytes do not make a packet.
#[expect(
    clippy::redundant_closure,
    reason = "a variant's name is a function for one lifetime only"
)]
pub fn with_packet<R>(
    u: &mut Unstructured<'_>,
    version: ProtocolVersion,
    see: impl FnOnce(&Packet<'_>) -> R,
) -> Result<R> {
    let packet_type = PacketType::try_from(u.arbitrary::<u8>()? >> 4);
    let s = &mut Source { u, version };
    match packet_type.unwrap_or(PacketType::Publish) {
        PacketType::Connect => connect(s, see),
        PacketType::ConnAck => connack(s, see),
        PacketType::Publish => publish(s, see),
        PacketType::PubAck => ack(s, |ack| Packet::PubAck(ack), see),
        PacketType::PubRec => ack(s, |ack| Packet::PubRec(ack), see),
        PacketType::PubRel => ack(s, |ack| Packet::PubRel(ack), see),
        PacketType::PubComp => ack(s, |ack| Packet::PubComp(ack), see),
        PacketType::Subscribe => subscribe(s, see),
        PacketType::SubAck => suback(s, see),
        PacketType::Unsubscribe => unsubscribe(s, see),
        PacketType::UnsubAck => unsuback(s, see),
        PacketType::PingReq => Ok(see(&Packet::PingReq)),
        PacketType::PingResp => Ok(see(&Packet::PingResp)),
        // There is no AUTH in 3.1.1.
        PacketType::Auth if version == ProtocolVersion::V5_0 => auth(s, see),
        PacketType::Auth | PacketType::Disconnect => disconnect(s, see),
    }
}

/// Where fields come from. What 3.1.1 has no field for is absent there.
struct Source<'u, 'a> {
    u: &'u mut Unstructured<'a>,
    version: ProtocolVersion,
}

type Field<'u, 'a, T> = fn(&mut Source<'u, 'a>) -> Result<T>;

impl<'u, 'a> Source<'u, 'a> {
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

    fn maybe<T>(&mut self, field: Field<'u, 'a, T>) -> Result<Option<T>> {
        if self.flag()? {
            field(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn maybe_v5<T>(&mut self, field: Field<'u, 'a, T>) -> Result<Option<T>> {
        if self.is_v5() {
            self.maybe(field)
        } else {
            Ok(None)
        }
    }

    fn list<T>(&mut self, len_min: usize, field: Field<'u, 'a, T>) -> Result<Vec<T>> {
        let len = self.u.int_in_range(len_min..=len_min.saturating_add(3))?;
        (0..len).map(|_| field(self)).collect()
    }

    fn list_v5<T>(&mut self, field: Field<'u, 'a, T>) -> Result<Vec<T>> {
        if self.is_v5() {
            self.list(0, field)
        } else {
            Ok(Vec::new())
        }
    }

    fn text(&mut self) -> Result<&'a str> {
        if self.seldom()? {
            return Ok(core::str::from_utf8(&LONGEST).unwrap_or_default());
        }
        let text: &str = self.u.arbitrary()?;
        Ok(text.split('\0').next().unwrap_or_default())
    }

    fn str(&mut self) -> Result<Str<'a>> {
        Ok(Str::new(self.text()?).unwrap_or_default())
    }

    fn binary(&mut self) -> Result<Binary<'a>> {
        if self.seldom()? {
            return Ok(Binary::new(&LONGEST).unwrap_or_default());
        }
        Ok(Binary::new(self.u.arbitrary()?).unwrap_or_default())
    }

    fn payload(&mut self) -> Result<&'a [u8]> {
        if self.seldom()? {
            let border = *self.u.choose(&[128, 16_384, 2_097_152])?;
            let below: usize = self.u.int_in_range(0..=40)?;
            return Ok(LARGE.get(below..border).unwrap_or_default());
        }
        self.u.arbitrary()
    }

    fn topic(&mut self) -> Result<TopicName<'a>> {
        let text = self.text()?;
        let name = text.split(['+', '#']).next().unwrap_or_default();
        Ok(TopicName::new(name).unwrap_or_else(|_| TopicName::assume_valid(b"t")))
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
        Ok(valid.unwrap_or_else(|| TopicFilter::assume_valid(b"t")))
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
        Ok(SubscriptionId::new(id).unwrap_or(SubscriptionId::MIN))
    }

    fn alias(&mut self) -> Result<TopicAlias> {
        Ok(TopicAlias::new(self.u16()?).unwrap_or(TopicAlias::MIN))
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
    fn reason<C: TryFrom<ReasonCode>>(&mut self) -> Result<C> {
        let start = self.u.choose_index(ReasonCode::ALL.len())?;
        let codes = ReasonCode::ALL.iter().cycle().skip(start);
        let mut codes = codes.take(ReasonCode::ALL.len());
        codes
            .find_map(|&code| C::try_from(code).ok())
            .ok_or(Error::IncorrectFormat)
    }

    /// The same; success in 3.1.1, which knows nothing else.
    fn reason_v5<C: TryFrom<ReasonCode>>(&mut self) -> Result<C> {
        if self.is_v5() {
            return self.reason();
        }
        C::try_from(ReasonCode::Success).map_err(|_| Error::IncorrectFormat)
    }
}

fn connect<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
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
    Ok(see(&connect.into()))
}

fn connack<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
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
    Ok(see(&connack.into()))
}

fn publish<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
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
    Ok(see(&publish.into()))
}

fn ack<C: TryFrom<ReasonCode>, R>(
    s: &mut Source<'_, '_>,
    packet: for<'p> fn(Ack<'p, C>) -> Packet<'p>,
    see: impl FnOnce(&Packet<'_>) -> R,
) -> Result<R> {
    let users = s.list_v5(Source::user_property)?;
    let ack = Ack {
        id: s.packet_id()?,
        reason: s.reason_v5()?,
        properties: properties(s, &users)?,
    };
    Ok(see(&packet(ack)))
}

fn properties<'a: 'b, 'b>(
    s: &mut Source<'_, 'a>,
    users: &'b [UserProperty<'b>],
) -> Result<AckProperties<'b>> {
    Ok(AckProperties {
        reason_string: s.maybe_v5(Source::str)?,
        user_properties: UserProperties::new(users),
    })
}

fn subscribe<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
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
        filters: SubscribeFilters::new(&filters).map_err(|_| Error::IncorrectFormat)?,
        properties: SubscribeProperties {
            subscription_id: s.maybe_v5(Source::subscription_id)?,
            user_properties: UserProperties::new(&users),
        },
    };
    Ok(see(&subscribe.into()))
}

fn suback<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
    let users = s.list_v5(Source::user_property)?;
    let reasons = s.list(1, |s| {
        let code: SubscribeReason = s.reason()?;
        let failed = ReasonCode::from(code).is_error();
        Ok(if failed && !s.is_v5() {
            SubscribeReason::UnspecifiedError
        } else {
            code
        })
    })?;
    let suback = SubAck {
        id: s.packet_id()?,
        reasons: SubAckReasons::new(&reasons).map_err(|_| Error::IncorrectFormat)?,
        properties: properties(s, &users)?,
    };
    Ok(see(&suback.into()))
}

fn unsubscribe<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
    let users = s.list_v5(Source::user_property)?;
    let filters = s.list(1, Source::filter)?;
    let unsubscribe = Unsubscribe {
        id: s.packet_id()?,
        filters: UnsubscribeFilters::new(&filters).map_err(|_| Error::IncorrectFormat)?,
        user_properties: UserProperties::new(&users),
    };
    Ok(see(&unsubscribe.into()))
}

fn unsuback<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
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
    Ok(see(&unsuback.into()))
}

fn disconnect<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
    let users = s.list_v5(Source::user_property)?;
    let disconnect = Disconnect {
        reason: s.reason_v5()?,
        properties: DisconnectProperties {
            session_expiry_secs: s.maybe_v5(Source::u32)?,
            reason_string: s.maybe_v5(Source::str)?,
            server_reference: s.maybe_v5(Source::str)?,
            user_properties: UserProperties::new(&users),
        },
    };
    Ok(see(&disconnect.into()))
}

fn auth<R>(s: &mut Source<'_, '_>, see: impl FnOnce(&Packet<'_>) -> R) -> Result<R> {
    let users = s.list_v5(Source::user_property)?;
    let auth = Auth {
        reason: s.reason()?,
        authentication: s.maybe(Source::authentication)?,
        properties: properties(s, &users)?,
    };
    Ok(see(&auth.into()))
}
