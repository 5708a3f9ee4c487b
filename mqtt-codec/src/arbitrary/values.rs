//! The values that packets are made of.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::{
    Binary, MaximumQoS, PacketId, PacketType, PayloadFormat, PropertyId, ProtocolVersion, QoS,
    ReasonCode, RetainHandling, Str, SubscriptionId, SubscriptionOptions, TopicAlias,
};

/// One of these.
macro_rules! one_of {
    ($($name:ident: $all:expr;)*) => {
        $(impl<'a> Arbitrary<'a> for $name {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                u.choose($all).copied()
            }
        })*
    };
}

one_of! {
    ProtocolVersion: &[Self::V3_1_1, Self::V5_0];
    PacketType: &Self::ALL;
    PropertyId: Self::ALL;
    ReasonCode: Self::ALL;
    QoS: &[Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];
    MaximumQoS: &[Self::AtMostOnce, Self::AtLeastOnce];
    PayloadFormat: &[Self::Unspecified, Self::Utf8];
    RetainHandling: &[Self::Send, Self::SendIfNew, Self::DoNotSend];
}

impl<'a> Arbitrary<'a> for PacketId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?).unwrap_or(Self::MIN))
    }
}

impl<'a> Arbitrary<'a> for TopicAlias {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?).unwrap_or(Self::MIN))
    }
}

impl<'a> Arbitrary<'a> for SubscriptionId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Each of its lengths as often as the others.
        let id = u.arbitrary::<u32>()? >> *u.choose(&[4, 11, 18, 25])?;
        Ok(Self::new(id).unwrap_or(Self::MIN))
    }
}

impl<'a> Arbitrary<'a> for Str<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let text: &str = u.arbitrary()?;
        let text = text.split('\0').next().unwrap_or_default();
        Ok(Self::new(text).unwrap_or_default())
    }
}

impl<'a> Arbitrary<'a> for Binary<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?).unwrap_or_default())
    }
}

impl<'a> Arbitrary<'a> for SubscriptionOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            qos: u.arbitrary()?,
            no_local: u.arbitrary()?,
            retain_as_published: u.arbitrary()?,
            retain_handling: u.arbitrary()?,
        })
    }
}
