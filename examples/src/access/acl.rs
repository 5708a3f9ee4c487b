//! Who may publish and subscribe where: a file of rules.
//!
//! ```text
//! # Rules stand below whom they are for.
//! user alice
//! allow both home/#
//!
//! user *
//! deny  both home/cellar/#
//! allow subscribe home/#
//! allow both clients/%c/#
//! allow both users/%u/#
//!
//! anonymous
//! allow subscribe public/#
//! ```
//!
//! `user NAME` is one user, `user *` all who have a user name, `anonymous` all who have none. A rule is
//! `allow` or `deny`, then `publish`, `subscribe` or `both`, then a topic filter up to the end of the
//! line. `%c` is the client identifier, `%u` the user name. The rules for a client are tried from
//! top to bottom, and the first that applies decides. What no rule applies to is denied.
//!
//! `allow subscribe` applies to filters that lie within the rule's, `deny subscribe` to all that have
//! a topic in common with it: who may not read `home/cellar/#` may not subscribe to `home/#`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail, ensure};
use mqtt_codec::{ReasonCode, SubscribeReason, TopicFilter, TopicName};

/// The rules of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    who: Who,
    is_allowed: bool,
    publish: bool,
    subscribe: bool,
    /// A topic filter, with `%c` and `%u` in it.
    pattern: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    User(String),
    Users,
    Anonymous,
}

/// What a pattern is for one client.
enum Meaning {
    Filter(String),
    /// Nothing that a filter could say.
    Nothing,
    /// Not to be said, so better too much than too little.
    Everything,
}

impl Acl {
    /// Reads what a file holds.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut rules = Vec::new();
        let mut who = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            parse_line(line, &mut who, &mut rules).with_context(|| format!("line {number}"))?;
        }
        Ok(Self { rules })
    }

    /// Whether a client may publish to a topic.
    #[must_use]
    pub fn may_publish(&self, user: Option<&str>, client_id: &str, topic: TopicName<'_>) -> bool {
        self.first(user, |rule| {
            rule.publish && rule.applies(user, client_id, |filter| filter.matches(topic))
        })
    }

    /// Whether a client may subscribe to a filter. With a shared subscription it is the filter in it
    /// that counts.
    #[must_use]
    pub fn may_subscribe(
        &self,
        user: Option<&str>,
        client_id: &str,
        filter: TopicFilter<'_>,
    ) -> bool {
        let Ok(wanted) = within_group(filter) else {
            return false;
        };
        self.first(user, |rule| {
            rule.subscribe
                && rule.applies(user, client_id, |filter| {
                    if rule.is_allowed {
                        filter.covers(wanted)
                    } else {
                        filter.overlaps(wanted)
                    }
                })
        })
    }

    /// What the first rule says that is for this user and applies.
    fn first(&self, user: Option<&str>, applies: impl Fn(&Rule) -> bool) -> bool {
        self.rules
            .iter()
            .find(|rule| rule.who.is(user) && applies(rule))
            .is_some_and(|rule| rule.is_allowed)
    }
}

impl Who {
    fn is(&self, user: Option<&str>) -> bool {
        match self {
            Self::User(name) => user == Some(name),
            Self::Users => user.is_some(),
            Self::Anonymous => user.is_none(),
        }
    }
}

impl Rule {
    fn applies(
        &self,
        user: Option<&str>,
        client_id: &str,
        to: impl Fn(TopicFilter<'_>) -> bool,
    ) -> bool {
        match self.meaning(user, client_id) {
            Meaning::Filter(text) => TopicFilter::new(&text).is_ok_and(to),
            Meaning::Nothing => false,
            Meaning::Everything => true,
        }
    }

    /// Puts names into the pattern. A client chooses its name: one with wildcards or levels in it
    /// gets nothing allowed that way, and nothing less denied.
    fn meaning(&self, user: Option<&str>, client_id: &str) -> Meaning {
        let mut text = String::new();
        let mut rest = self.pattern.as_str();
        let mut is_plain = true;
        while let Some(at) = rest.find('%') {
            let (before, mark) = rest.split_at(at);
            text.push_str(before);
            let (name, behind) = if let Some(behind) = mark.strip_prefix("%c") {
                (Some(client_id), behind)
            } else if let Some(behind) = mark.strip_prefix("%u") {
                (user, behind)
            } else {
                text.push('%');
                rest = mark.get(1..).unwrap_or_default();
                continue;
            };
            let name = name.unwrap_or_default();
            is_plain &= !name.is_empty() && !name.contains(['+', '#', '/']);
            text.push_str(name);
            rest = behind;
        }
        text.push_str(rest);
        match (self.is_allowed, TopicFilter::new(&text).is_ok()) {
            (true, true) if is_plain => Meaning::Filter(text),
            (true, _) => Meaning::Nothing,
            (false, true) => Meaning::Filter(text),
            (false, false) => Meaning::Everything,
        }
    }
}

fn parse_line(line: &str, who: &mut Option<Who>, rules: &mut Vec<Rule>) -> anyhow::Result<()> {
    let (word, rest) = split_word(line);
    match word {
        "user" => {
            ensure!(!rest.is_empty(), "user of which name?");
            *who = Some(match rest {
                "*" => Who::Users,
                name => Who::User(name.to_owned()),
            });
        }
        "anonymous" => {
            ensure!(rest.is_empty(), "anonymous has no name");
            *who = Some(Who::Anonymous);
        }
        "allow" | "deny" => {
            let (what, pattern) = split_word(rest);
            let (publish, subscribe) = match what {
                "publish" => (true, false),
                "subscribe" => (false, true),
                "both" => (true, true),
                other => bail!("publish, subscribe or both, not {other:?}"),
            };
            let who = who.clone().context("a rule before any user or anonymous")?;
            let filter = TopicFilter::new(pattern).map_err(|error| anyhow!("{error}"))?;
            let is_shared = filter.shared().map_or(true, |shared| shared.is_some());
            ensure!(!is_shared, "a rule is for the filter within $share");
            rules.push(Rule {
                who,
                is_allowed: word == "allow",
                publish,
                subscribe,
                pattern: pattern.to_owned(),
            });
        }
        other => bail!("user, anonymous, allow or deny, not {other:?}"),
    }
    Ok(())
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once([' ', '\t'])
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// What a filter asks for, without the group of a shared subscription.
fn within_group(filter: TopicFilter<'_>) -> anyhow::Result<TopicFilter<'_>> {
    let shared = filter.shared().map_err(|error| anyhow!("{error}"))?;
    Ok(shared.map_or(filter, |shared| shared.filter()))
}

/// One quick rule: subscriptions within a filter get a reason code. Written `FILTER` or `FILTER=CODE`,
/// the code as a number, such as 135 or 0x87.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenySubscribe {
    filter: String,
    reason: SubscribeReason,
}

impl DenySubscribe {
    /// What a subscription is refused with, if it is.
    #[must_use]
    pub fn refuses(&self, filter: TopicFilter<'_>) -> Option<SubscribeReason> {
        let wanted = within_group(filter).ok()?;
        let own = TopicFilter::new(&self.filter).ok()?;
        own.covers(wanted).then_some(self.reason)
    }
}

impl FromStr for DenySubscribe {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (filter, reason) = match text.rsplit_once('=') {
            Some((filter, code)) => (filter, reason(code)?),
            None => (text, SubscribeReason::NotAuthorized),
        };
        TopicFilter::new(filter).map_err(|error| anyhow!("{error}"))?;
        Ok(Self {
            filter: filter.to_owned(),
            reason,
        })
    }
}

impl fmt::Display for DenySubscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = ReasonCode::from(self.reason).value();
        write!(f, "{}=0x{code:02X}", self.filter)
    }
}

fn reason(code: &str) -> anyhow::Result<SubscribeReason> {
    let value = match code.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => code.parse(),
    };
    value
        .ok()
        .and_then(ReasonCode::from_value)
        .and_then(|code| SubscribeReason::try_from(code).ok())
        .filter(|reason| reason.granted().is_none())
        .with_context(|| format!("{code} is no reason code that refuses a subscription"))
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{SubscribeReason, TopicFilter, TopicName};

    use super::{Acl, DenySubscribe};

    const RULES: &str = "
        # Below whom they are for.
        user alice
        allow both home/#
        deny\tpublish  with space/#
        user *
        deny both home/cellar/#
        allow subscribe home/#
        allow both clients/%c/#
        allow both users/%u/in box/+
        deny subscribe locked/%c/#
        allow subscribe locked/#
        anonymous
        allow subscribe public/#
        allow publish public/%u/#
    ";

    fn may_publish(user: Option<&str>, client_id: &str, topic: &str) -> bool {
        let acl = Acl::parse(RULES).unwrap();
        acl.may_publish(user, client_id, TopicName::new(topic).unwrap())
    }

    fn may_subscribe(user: Option<&str>, client_id: &str, filter: &str) -> bool {
        let acl = Acl::parse(RULES).unwrap();
        acl.may_subscribe(user, client_id, TopicFilter::new(filter).unwrap())
    }

    #[test]
    fn publishing() {
        for (user, client_id, topic, expected) in [
            (Some("alice"), "c", "home/a", true),
            // The first rule that applies decides.
            (Some("alice"), "c", "home/cellar/a", true),
            (Some("bob"), "c", "home/a", false),
            (Some("bob"), "c", "clients/c/a", true),
            (Some("bob"), "c", "clients/d/a", false),
            (Some("bob"), "c", "users/bob/in box/a", true),
            (Some("bob"), "c", "users/alice/in box/a", false),
            (Some("bob"), "c", "users/bob/in box/a/b", false),
            (Some("*"), "c", "home/a", false),
            (None, "c", "clients/c/a", false),
            (None, "c", "public/a", false),
            // Nobody is called nothing.
            (None, "c", "public//a", false),
            (Some(""), "c", "users//in box/a", false),
            // A name is no wildcard, and no level of somebody else's.
            (Some("bob"), "+", "clients/c/a", false),
            (Some("bob"), "c/d", "clients/c/d", false),
            (Some("bob"), "%u", "clients/bob/a", false),
            (Some("bob"), "%u", "clients/%u/a", true),
        ] {
            assert_eq!(
                may_publish(user, client_id, topic),
                expected,
                "{user:?} {client_id} {topic}"
            );
        }
    }

    #[test]
    fn subscribing() {
        for (user, client_id, filter, expected) in [
            (Some("alice"), "c", "home/#", true),
            (Some("alice"), "c", "home/cellar/+", true),
            (Some("alice"), "c", "#", false),
            (Some("bob"), "c", "home/kitchen/#", true),
            // The cellar would be in it.
            (Some("bob"), "c", "home/#", false),
            (Some("bob"), "c", "home/+", false),
            (Some("bob"), "c", "home/+/light", false),
            (Some("bob"), "c", "$share/group/home/kitchen", true),
            (Some("bob"), "c", "$share/group/home/cellar", false),
            (Some("bob"), "c", "clients/+/a", false),
            (Some("bob"), "+", "clients/+/a", false),
            (Some("bob"), "c", "locked/d/#", true),
            (Some("bob"), "c", "locked/c/#", false),
            (Some("bob"), "c", "locked/+/a", false),
            // What cannot be said denies everything.
            (Some("bob"), "#", "locked/d/#", false),
            (Some("bob"), "a#", "locked/d/#", false),
            (None, "c", "public/#", true),
            (None, "c", "#", false),
            (None, "c", "$SYS/#", false),
        ] {
            assert_eq!(
                may_subscribe(user, client_id, filter),
                expected,
                "{user:?} {client_id} {filter}"
            );
        }
    }

    #[test]
    fn an_empty_file_allows_nothing() {
        let acl = Acl::parse("").unwrap();
        assert!(!acl.may_publish(Some("a"), "c", TopicName::new("a").unwrap()));
        assert!(!acl.may_subscribe(None, "c", TopicFilter::new("a").unwrap()));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (second, expected) in [
            ("permit both a", "permit"),
            ("allow read a", "read"),
            ("allow both", "line 2"),
            ("allow both a/#/b", "'#'"),
            ("allow both $share/g/a", "$share"),
            ("user", "which name"),
            ("anonymous bob", "no name"),
        ] {
            let error = Acl::parse(&format!("user a\n{second}")).unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.starts_with("line 2") && text.contains(expected),
                "{second}: {text}"
            );
        }
        let error = Acl::parse("allow both a").unwrap_err();
        assert!(format!("{error:#}").contains("before any user"));
    }

    #[test]
    fn the_quick_rule() {
        for (rule, filter, expected) in [
            ("a/#", "a/b", Some(SubscribeReason::NotAuthorized)),
            ("a/#", "$share/g/a/b", Some(SubscribeReason::NotAuthorized)),
            ("a/#", "b", None),
            ("a/#", "#", None),
            ("a=0x97", "a", Some(SubscribeReason::QuotaExceeded)),
            ("a=b=128", "a=b", Some(SubscribeReason::UnspecifiedError)),
        ] {
            let parsed: DenySubscribe = rule.parse().unwrap();
            let filter = TopicFilter::new(filter).unwrap();
            assert_eq!(parsed.refuses(filter), expected, "{rule}");
        }
        for rule in ["", "a=", "a=0", "a=0x99", "a=999", "a/#/b", "=0x87"] {
            assert!(rule.parse::<DenySubscribe>().is_err(), "{rule:?}");
        }
    }
}
