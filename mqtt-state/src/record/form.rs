//! How arguments stand in a log.
//!
//! What has a form of its own to be stored stands as it does there; packets and their properties stand as
//! they go over the wire in 5.0.

mod hex;
mod wire;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use mqtt_codec::{
    Binary, ConnectReason, DisconnectReason, Message, PublishReason, Str, SubscribeFilter,
    SubscribeReason, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName,
    UnsubscribeReason,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::hex::Digits;
pub(super) use self::hex::Hex;
pub(super) use self::wire::{ConnectForm, DECODING, DisconnectForm, Pairs, Properties, Welcome};
use crate::broker::{
    BrokerId, ConnectAnswer, ConnectDecision, ConnectionId, Drain, JoinMessage, LocalSubscription,
    Peer, PublishAnswer, PublishDecision, StoreKey, StoreValue, SubscribeAnswer, SubscribeDecision,
};
use crate::server::{Acceptance, Config, RequestToken, Session};
use crate::session::{Receipt, SessionSnapshot};
use crate::{AuthenticationData, Timestamp};

/// Something cannot be written, or is not what it says: a call in a log that nobody can have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str);

/// An argument, as it stands in a log.
pub(super) trait Form: Sized {
    /// What a caller has.
    type Arg<'a>: ?Sized;
    /// What a replay has in its place.
    type Given<'a>
    where
        Self: 'a;

    fn of(arg: &Self::Arg<'_>) -> Result<Self, Unfit>;

    fn give(&self) -> Result<Self::Given<'_>, Unfit>;
}

/// Types that stand for themselves.
macro_rules! themselves {
    ($($type:ty),* $(,)?) => {
        $(
            impl Form for $type {
                type Arg<'a> = Self;
                type Given<'a> = Self;

                fn of(arg: &Self) -> Result<Self, Unfit> {
                    Ok(arg.clone())
                }

                fn give(&self) -> Result<Self, Unfit> {
                    Ok(self.clone())
                }
            }
        )*
    };
}

themselves! {
    u64, usize, Timestamp, ConnectionId, Peer, ConnectDecision, ConnectAnswer, PublishDecision, PublishAnswer,
    SubscribeDecision, SubscribeAnswer, DisconnectReason, ConnectReason, PublishReason, Drain, LocalSubscription,
    BrokerId, JoinMessage, StoreKey, StoreValue, Receipt, RequestToken, Message, Option<SubscriptionId>,
}

impl Serialize for AuthenticationData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for AuthenticationData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Hex::deserialize(deserializer)?.0;
        Binary::new(&bytes)
            .map(Self::from)
            .map_err(D::Error::custom)
    }
}

impl Serialize for StoreKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(&self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for StoreKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Hex::deserialize(deserializer)?.0;
        Self::from_bytes(&bytes).ok_or_else(|| D::Error::custom("this is no key of a store"))
    }
}

/// `Option<Binary>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Data(pub(super) Option<Hex>);

impl Form for Data {
    type Arg<'a> = Option<Binary<'a>>;
    type Given<'a> = Option<Binary<'a>>;

    fn of(arg: &Option<Binary<'_>>) -> Result<Self, Unfit> {
        Ok(Self(arg.map(|data| Hex(data.as_bytes().to_vec()))))
    }

    fn give(&self) -> Result<Option<Binary<'_>>, Unfit> {
        let data = self.0.as_ref().map(|data| Binary::new(&data.0));
        data.transpose().map_err(|_| Unfit("too much data"))
    }
}

/// `str`.
#[derive(Serialize, Deserialize)]
pub(super) struct Text(String);

impl Form for Text {
    type Arg<'a> = str;
    type Given<'a> = &'a str;

    fn of(arg: &str) -> Result<Self, Unfit> {
        Ok(Self(arg.into()))
    }

    fn give(&self) -> Result<&str, Unfit> {
        Ok(&self.0)
    }
}

/// `Option<Str>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Said(Option<String>);

impl Form for Said {
    type Arg<'a> = Option<Str<'a>>;
    type Given<'a> = Option<Str<'a>>;

    fn of(arg: &Option<Str<'_>>) -> Result<Self, Unfit> {
        Ok(Self(arg.map(|text| text.as_str().into())))
    }

    fn give(&self) -> Result<Option<Str<'_>>, Unfit> {
        let text = self.0.as_deref().map(Str::new);
        text.transpose().map_err(|_| Unfit("no string of MQTT"))
    }
}

/// `TopicName`.
#[derive(Serialize, Deserialize)]
pub(super) struct Name(String);

impl Form for Name {
    type Arg<'a> = TopicName<'a>;
    type Given<'a> = TopicName<'a>;

    fn of(arg: &TopicName<'_>) -> Result<Self, Unfit> {
        Ok(Self(arg.as_str().into()))
    }

    fn give(&self) -> Result<TopicName<'_>, Unfit> {
        TopicName::new(&self.0).map_err(|_| Unfit("no topic name"))
    }
}

/// `TopicFilter`.
#[derive(Serialize, Deserialize)]
pub(super) struct Filter(String);

impl Form for Filter {
    type Arg<'a> = TopicFilter<'a>;
    type Given<'a> = TopicFilter<'a>;

    fn of(arg: &TopicFilter<'_>) -> Result<Self, Unfit> {
        Ok(Self(arg.as_str().into()))
    }

    fn give(&self) -> Result<TopicFilter<'_>, Unfit> {
        TopicFilter::new(&self.0).map_err(|_| Unfit("no topic filter"))
    }
}

/// `[TopicFilter]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Filters(Vec<Filter>);

impl Form for Filters {
    type Arg<'a> = [TopicFilter<'a>];
    type Given<'a> = Vec<TopicFilter<'a>>;

    fn of(arg: &[TopicFilter<'_>]) -> Result<Self, Unfit> {
        arg.iter()
            .map(Filter::of)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn give(&self) -> Result<Vec<TopicFilter<'_>>, Unfit> {
        self.0.iter().map(Filter::give).collect()
    }
}

/// `[SubscribeFilter]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted(Vec<(Filter, SubscriptionOptions)>);

impl Form for Wanted {
    type Arg<'a> = [SubscribeFilter<'a>];
    type Given<'a> = Vec<SubscribeFilter<'a>>;

    fn of(arg: &[SubscribeFilter<'_>]) -> Result<Self, Unfit> {
        let all = arg
            .iter()
            .map(|it| Ok((Filter::of(&it.filter)?, it.options)));
        all.collect::<Result<_, _>>().map(Self)
    }

    fn give(&self) -> Result<Vec<SubscribeFilter<'_>>, Unfit> {
        let all = self.0.iter().map(|(filter, options)| {
            Ok(SubscribeFilter {
                filter: filter.give()?,
                options: *options,
            })
        });
        all.collect()
    }
}

/// `[SubscribeReason]` or `[UnsubscribeReason]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Reasons<R>(Vec<R>);

macro_rules! reasons {
    ($($reason:ty),*) => {
        $(
            impl Form for Reasons<$reason> {
                type Arg<'a> = [$reason];
                type Given<'a> = &'a [$reason];

                fn of(arg: &[$reason]) -> Result<Self, Unfit> {
                    Ok(Self(arg.to_vec()))
                }

                fn give(&self) -> Result<&[$reason], Unfit> {
                    Ok(&self.0)
                }
            }
        )*
    };
}

reasons!(SubscribeReason, UnsubscribeReason);

/// `Acceptance`. A session stands there as its snapshot.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    pub(super) session: Option<SessionSnapshot>,
    assigned_client_id: Option<String>,
    pub(super) authentication_data: Option<AuthenticationData>,
    keep_alive_secs: Option<u16>,
    session_expiry_secs: Option<u32>,
    response_information: Option<String>,
    reason_string: Option<String>,
    user_properties: Vec<(String, String)>,
}

impl Form for Accepted {
    type Arg<'a> = Acceptance;
    type Given<'a> = Acceptance;

    fn of(arg: &Acceptance) -> Result<Self, Unfit> {
        let Acceptance {
            session,
            assigned_client_id,
            authentication_data,
            keep_alive_secs,
            session_expiry_secs,
            response_information,
            reason_string,
            user_properties,
        } = arg;
        // Deadlines stay what they are: no time passes between this and the restoring.
        let session = session.as_ref().map(|it| it.snapshot(Timestamp::ZERO));
        Ok(Self {
            session,
            assigned_client_id: assigned_client_id.clone(),
            authentication_data: authentication_data.clone(),
            keep_alive_secs: *keep_alive_secs,
            session_expiry_secs: *session_expiry_secs,
            response_information: response_information.clone(),
            reason_string: reason_string.clone(),
            user_properties: user_properties.clone(),
        })
    }

    fn give(&self) -> Result<Acceptance, Unfit> {
        // What the log has is all there is.
        let config = Config {
            waiting_len_max: usize::MAX,
            messages_bytes_max: usize::MAX,
            ..Config::default()
        };
        let restore = |it: &SessionSnapshot| {
            Session::restore(Timestamp::ZERO, Duration::ZERO, &config, it.clone())
        };
        let session = self.session.as_ref().map(restore);
        Ok(Acceptance {
            session: session.transpose().map_err(|_| Unfit("no session"))?,
            assigned_client_id: self.assigned_client_id.clone(),
            authentication_data: self.authentication_data.clone(),
            keep_alive_secs: self.keep_alive_secs,
            session_expiry_secs: self.session_expiry_secs,
            response_information: self.response_information.clone(),
            reason_string: self.reason_string.clone(),
            user_properties: self.user_properties.clone(),
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
