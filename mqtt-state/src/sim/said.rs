//! What an application has said of the messages that it acknowledges itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use mqtt_codec::{AckProperties, ProtocolVersion, PublishReason, ReasonCode, Str};

use super::actor::Actor;
use super::packets::{AckKind, Seen};
use super::watch::Broken;
use crate::client::Receipt;

const REFUSALS: [PublishReason; 7] = [
    PublishReason::UnspecifiedError,
    PublishReason::ImplementationSpecificError,
    PublishReason::NotAuthorized,
    PublishReason::TopicNameInvalid,
    PublishReason::PacketIdInUse,
    PublishReason::QuotaExceeded,
    PublishReason::PayloadFormatInvalid,
];

/// What an application says of one message, as its receipt decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saying {
    pub(super) refusal: Option<PublishReason>,
    pub(super) words: Option<AckProperties<'static>>,
}

impl Saying {
    pub(super) fn new(receipt: Receipt, refuses: bool) -> Self {
        let Receipt(number) = receipt;
        let of = |len: usize| usize::try_from(number).unwrap_or(0) % len;
        let words = AckProperties {
            reason_string: Str::new("as it is").ok(),
            ..AckProperties::default()
        };
        Self {
            refusal: refuses.then(|| REFUSALS[of(REFUSALS.len())]),
            words: (of(2) == 0).then_some(words),
        }
    }
}

/// What has to go out with acknowledgements.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What the next PUBACK or PUBREC of a message has to say: the reason, and whether there are words.
    owed: BTreeMap<u32, (ReasonCode, bool)>,
    /// Messages of which something was ever said in words.
    in_words: BTreeSet<u32>,
}

impl Said {
    /// The application has said this of a message, which has come more than once under other identifiers or not.
    /// In 3.1.1 nothing of it goes out.
    fn say(&mut self, number: u32, saying: &Saying, has_reasons: bool, is_only: bool) {
        let reason = saying.refusal.filter(|_| has_reasons);
        let reason = reason.map_or(ReasonCode::Success, ReasonCode::from);
        let has_words = saying.words.is_some() && has_reasons;
        if is_only {
            self.owed.insert(number, (reason, has_words));
        }
        if has_words {
            self.in_words.insert(number);
        }
    }

    /// It has come once more, and the machine may have answered by itself.
    pub(super) fn forget(&mut self, number: u32) {
        self.owed.remove(&number);
    }

    /// What was not sent is gone with the program.
    pub(super) fn crash(&mut self) {
        self.owed.clear();
    }

    fn check(&mut self, number: u32, reason: ReasonCode, has_words: bool) -> Result<(), Broken> {
        let text = format!("{number}: {reason:?}, with words {has_words}");
        if has_words && !self.in_words.contains(&number) {
            return Err(("nobody says what its application has not", text));
        }
        match self.owed.remove(&number) {
            Some(owed) if owed != (reason, has_words) => {
                let text = format!("{text}, and not {owed:?}");
                Err(("what an application says of a message goes out", text))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Actor {
    /// The application has said this of a message.
    pub(super) fn say(&mut self, number: u32, saying: &Saying) {
        let has_reasons = self.plan.version == ProtocolVersion::V5_0;
        let same = self.got.values().filter(|it| **it == number);
        let is_only = same.count() == 1;
        self.said.say(number, saying, has_reasons, is_only);
    }

    /// The client hands out a packet: an acknowledgement says what its application has.
    pub(super) fn check_words(&mut self, seen: &Seen) -> Result<(), Broken> {
        let Seen::Ack {
            kind: AckKind::PubAck | AckKind::PubRec,
            id,
            reason,
            has_words,
        } = seen
        else {
            return Ok(());
        };
        match self.got.get(id) {
            Some(number) => self.said.check(*number, *reason, *has_words),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_is_what_was_said() {
        let said = |refuses, has_reasons| {
            let mut said = Said::default();
            // An even one has words.
            said.say(7, &Saying::new(Receipt(2), refuses), has_reasons, true);
            said
        };
        let (taken, refused) = (ReasonCode::Success, ReasonCode::NotAuthorized);
        let rows: [(&str, Said, ReasonCode, bool, bool); 6] = [
            ("taken", said(false, true), taken, true, true),
            ("without its words", said(false, true), taken, false, false),
            ("refused", said(true, true), refused, true, true),
            ("refused and taken", said(true, true), taken, true, false),
            ("in 3.1.1", said(true, false), taken, false, true),
            ("not asked for", Said::default(), taken, true, false),
        ];
        for (row, mut said, reason, has_words, is_right) in rows {
            let result = said.check(7, reason, has_words);
            assert_eq!(result.is_ok(), is_right, "{row}: {result:?}");
        }
    }
}
