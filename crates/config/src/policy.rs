//! `[[policy]]`: statements that are evaluated in order for the routes of peers, and
//! `[peer.blackhole]`.

use crate::values::{self, ActionKind, FamilyName, TextVisitor};
use api::HumanDuration;
use engine::import_policy::{LengthRange, RateLimit, RouteCommunity, Trigger};
use flowspec::{Action, ComponentType};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// `[[policy]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// A name for people; unique.
    pub name: String,
    /// The peers that it applies to: names, with `*` and `?`. `None`: all.
    pub peers: Option<Vec<String>>,
    /// The statements, in order.
    #[serde(default, rename = "statement")]
    pub statements: Vec<Statement>,
}

/// `[[policy.statement]]`: conditions, all of which must hold, and what happens to the rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Statement {
    /// Names of peers, with `*` and `?`.
    pub peers: Option<Vec<String>>,
    /// Address families of the route.
    pub families: Option<Vec<FamilyName>>,
    /// Prefixes that contain the destination.
    #[serde(deserialize_with = "some_prefixes")]
    pub destination_within: Option<Vec<IpNet>>,
    /// Prefixes that contain the source.
    #[serde(deserialize_with = "some_prefixes")]
    pub source_within: Option<Vec<IpNet>>,
    /// Lengths of the destination prefix.
    pub destination_length: Option<Lengths>,
    /// Lengths of the source prefix.
    pub source_length: Option<Lengths>,
    /// Components that the rule has: all of them.
    pub components: Option<Vec<ComponentName>>,
    /// Components that the rule does not have: none of them.
    pub without_components: Option<Vec<ComponentName>>,
    /// Kinds of actions, one of which it has.
    pub actions: Option<Vec<ActionKind>>,
    /// Communities, one of which it has.
    pub communities: Option<Vec<Community>>,
    /// AS numbers, one of which is the origin.
    pub as_path_origin: Option<Vec<AsNumber>>,
    /// AS numbers, one of which is in its AS_PATH.
    pub as_path_contains: Option<Vec<AsNumber>>,
    /// Its rate limit is above this.
    pub rate_above: Option<RateText>,
    /// Its rate limit is below this.
    pub rate_below: Option<RateText>,
    /// Actions that replace those of the peer.
    pub set_action: Option<ActionsText>,
    /// The rate limit that replaces discard.
    pub discard_becomes: Option<RateText>,
    /// The highest rate limit.
    pub rate_at_most: Option<RateText>,
    /// Longest lifetime after the announcement.
    pub lifetime: Option<HumanDuration>,
    /// What happens to the rule.
    pub then: Option<ThenWord>,
    /// The operator's reason for a rejection.
    pub reason: Option<String>,
}

impl Statement {
    /// Whether it matches every route of the peers of its policy.
    pub(crate) fn is_for_all(&self) -> bool {
        let changes = Statement {
            set_action: self.set_action.clone(),
            discard_becomes: self.discard_becomes,
            rate_at_most: self.rate_at_most,
            lifetime: self.lifetime,
            then: self.then,
            reason: self.reason.clone(),
            ..Statement::default()
        };
        *self == changes
    }

    /// Whether it changes something of a rule.
    pub(crate) const fn is_changing(&self) -> bool {
        self.set_action.is_some()
            || self.discard_becomes.is_some()
            || self.rate_at_most.is_some()
            || self.lifetime.is_some()
    }
}

/// What happens to a rule that a statement matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThenWord {
    /// The next statement decides.
    Next,
    /// It is accepted.
    Accept,
    /// It is rejected.
    Reject,
    /// It is accepted for counting only: packets continue to the next rule.
    Observe,
}

/// `[peer.blackhole]`: unicast routes that are blackholes (RFC 7999, RFC 5635).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Blackhole {
    /// Marks of routes that drop packets to their prefix. `None`: the community BLACKHOLE, if there
    /// is no other mark.
    pub destination: Option<Vec<TriggerText>>,
    /// Marks of routes that drop packets from their prefix.
    pub source: Vec<TriggerText>,
    /// Marks of routes that drop both.
    pub both: Vec<TriggerText>,
    /// Sources for which the peer may drop packets.
    #[serde(deserialize_with = "values::prefixes")]
    pub sources: Vec<IpNet>,
    /// Shortest IPv4 prefix.
    pub shortest_prefix_v4: u8,
    /// Shortest IPv6 prefix.
    pub shortest_prefix_v6: u8,
}

impl Default for Blackhole {
    fn default() -> Self {
        Blackhole {
            destination: None,
            source: Vec::new(),
            both: Vec::new(),
            sources: Vec::new(),
            shortest_prefix_v4: 32,
            shortest_prefix_v6: 128,
        }
    }
}

impl Blackhole {
    /// The marks of routes that drop packets to their prefix.
    pub fn destination_triggers(&self) -> Vec<Trigger> {
        match &self.destination {
            Some(triggers) => triggers.iter().map(|trigger| trigger.0).collect(),
            None if self.source.is_empty() && self.both.is_empty() => {
                vec![Trigger::Community(RouteCommunity::BLACKHOLE)]
            }
            None => Vec::new(),
        }
    }
}

/// A community of any kind: `65535:666`, `65000:1:2`, `target:65000:100`, `0x` and 16 digits, or a
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Community(pub RouteCommunity);

/// Names of well-known communities.
const COMMUNITIES: [(&str, u32); 8] = [
    ("graceful-shutdown", 0xffff_0000),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

/// Text that is not a community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommunity {
    /// A number is too large for its field.
    #[error(
        "`{0}` is not a community: {1} is more than {2}; a large community has three numbers up to 4294967295, as in 65070:666:0"
    )]
    Number(String, u64, u64),
    /// Another format.
    #[error(
        "`{0}` is not a community; expected a form such as 65535:666, 65070:666:0, target:65070:666, 0x0002fe2e0000029a or blackhole"
    )]
    Form(String),
}

impl FromStr for Community {
    type Err = InvalidCommunity;

    fn from_str(text: &str) -> Result<Self, InvalidCommunity> {
        let form = || InvalidCommunity::Form(text.to_owned());
        if let Some((_, number)) = COMMUNITIES.iter().find(|(name, _)| *name == text) {
            return Ok(Community(RouteCommunity::Standard(*number)));
        }
        if let Some(digits) = text.strip_prefix("0x") {
            let octets = flowspec::hex::decode(digits).and_then(|octets| octets.try_into().ok()).ok_or_else(form)?;
            return Ok(Community(RouteCommunity::Extended(octets)));
        }
        let (kind, numbers) = match text.split_once(':') {
            Some(("target", rest)) => (Some(0x02), rest),
            Some(("origin", rest)) => (Some(0x03), rest),
            _ => (None, text),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
        let numbers: Option<Vec<u64>> =
            numbers.split(':').map(|part| digits(part).then(|| part.parse().ok()).flatten()).collect();
        let numbers = numbers.ok_or_else(form)?;
        let fit = |at: usize, most: u64| match numbers[at] {
            number if number <= most => Ok(number as u32),
            number => Err(InvalidCommunity::Number(text.to_owned(), number, most)),
        };
        let (word, long) = (u64::from(u16::MAX), u64::from(u32::MAX));
        match (kind, numbers.len()) {
            (None, 2) => Ok(Community(RouteCommunity::Standard(fit(0, word)? << 16 | fit(1, word)?))),
            (None, 3) => Ok(Community(RouteCommunity::Large([fit(0, long)?, fit(1, long)?, fit(2, long)?]))),
            (Some(sub), 2) if numbers[0] <= word => {
                let ([a, b], [c, d, e, f]) = ((fit(0, word)? as u16).to_be_bytes(), fit(1, long)?.to_be_bytes());
                Ok(Community(RouteCommunity::Extended([0x00, sub, a, b, c, d, e, f])))
            }
            (Some(sub), 2) => {
                let ([a, b, c, d], [e, f]) = (fit(0, long)?.to_be_bytes(), (fit(1, word)? as u16).to_be_bytes());
                Ok(Community(RouteCommunity::Extended([0x02, sub, a, b, c, d, e, f])))
            }
            _ => Err(form()),
        }
    }
}

/// A mark of a unicast route: a community, or `next-hop` and a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerText(pub Trigger);

/// Text that is not a mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrigger {
    /// Not a community.
    #[error("{0}, or next-hop 192.0.2.1")]
    Community(InvalidCommunity),
    /// Not an address or prefix.
    #[error(
        "`{0}` after `next-hop` is not an address or prefix; expected a form such as next-hop 192.0.2.1 or next-hop 100::/64"
    )]
    NextHop(String),
    /// A prefix with host bits.
    #[error("{0} has host bits set; did you mean `next-hop {1}`?")]
    HostBits(IpNet, IpNet),
}

impl FromStr for TriggerText {
    type Err = InvalidTrigger;

    fn from_str(text: &str) -> Result<Self, InvalidTrigger> {
        let Some(net) = text.strip_prefix("next-hop ") else {
            let community = text.parse::<Community>().map_err(InvalidTrigger::Community)?;
            return Ok(TriggerText(Trigger::Community(community.0)));
        };
        let net = net.trim();
        let parsed = net.parse().or_else(|_| net.parse::<std::net::IpAddr>().map(IpNet::from));
        let parsed: IpNet = parsed.map_err(|_| InvalidTrigger::NextHop(net.to_owned()))?;
        match parsed.trunc() {
            trunc if trunc == parsed => Ok(TriggerText(Trigger::NextHop(parsed))),
            trunc => Err(InvalidTrigger::HostBits(parsed, trunc)),
        }
    }
}

/// A component by its name in the rule language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentName(pub ComponentType);

/// Text that is not a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownComponent(String);

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ComponentType::ALL.map(ComponentType::name);
        match crate::error::nearest(&self.0, &names) {
            Some(name) => write!(f, "`{}` is not a component; did you mean `{name}`? Expected", self.0)?,
            None => write!(f, "`{}` is not a component; expected", self.0)?,
        }
        write!(f, " one of {}", names.join(", "))
    }
}

impl FromStr for ComponentName {
    type Err = UnknownComponent;

    fn from_str(text: &str) -> Result<Self, UnknownComponent> {
        let kind = ComponentType::ALL.into_iter().find(|kind| kind.name() == text);
        kind.map(ComponentName).ok_or_else(|| UnknownComponent(text.to_owned()))
    }
}

/// A rate above zero, in the syntax of the rule language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateText(pub RateLimit);

/// Text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate; expected a form such as 10mbps, 1gbps (bits a second) or 1000pps (packets)")]
pub struct InvalidRate(String);

impl FromStr for RateText {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let limit = match actions(&format!("rate {text}")).as_deref() {
            Some([Action::RateBytes { rate, .. }]) => Some((RateLimit::Bytes(rate.as_f32()), rate.as_f32())),
            Some([Action::RatePackets { rate, .. }]) => Some((RateLimit::Packets(rate.as_f32()), rate.as_f32())),
            _ => None,
        };
        let limit = limit.filter(|(_, rate)| *rate > 0.0 && rate.is_finite());
        limit.map(|(limit, _)| RateText(limit)).ok_or_else(|| InvalidRate(text.to_owned()))
    }
}

/// Actions in the syntax of the rule language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionsText(pub Arc<[Action]>);

/// Text that is not an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an action; expected a form such as discard, rate 10mbps, rate 1000pps, mark 46, redirect 65000:100, sample or accept"
)]
pub struct InvalidActions(String);

impl FromStr for ActionsText {
    type Err = InvalidActions;

    fn from_str(text: &str) -> Result<Self, InvalidActions> {
        actions(text).map(|actions| ActionsText(actions.into())).ok_or_else(|| InvalidActions(text.to_owned()))
    }
}

fn actions(text: &str) -> Option<Vec<Action>> {
    let rule: flowspec::Rule = format!("dst 192.0.2.1/32 then {text}").parse().ok()?;
    Some(rule.actions)
}

/// An AS number in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsNumber(pub u32);

impl<'de> Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::as_number(deserializer).map(AsNumber)
    }
}

/// Lengths of a prefix: `24`, `"24-32"`, `"24-"`, `"-24"`; 0 means no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths(pub LengthRange);

impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a length such as 32, or lengths such as \"24-32\"";
        struct LengthsVisitor;
        impl Visitor<'_> for LengthsVisitor {
            type Value = Lengths;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Lengths, E> {
                match u8::try_from(value) {
                    Ok(length @ 0..=128) => Ok(Lengths((length..=length).into())),
                    _ => Err(E::custom(format!("{value} is not a prefix length; expected 0 to 128"))),
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lengths, E> {
                let length = |part: &str, absent: u8| match part {
                    "" => Some(absent),
                    part => part.parse().ok().filter(|length| *length <= 128),
                };
                let range = text
                    .split_once('-')
                    .filter(|_| text != "-")
                    .and_then(|(min, max)| Some((length(min.trim(), 0)?, length(max.trim(), 128)?)));
                match range {
                    Some((min, max)) if min <= max => Ok(Lengths((min..=max).into())),
                    _ => Err(E::custom(format!("`{text}` are not prefix lengths; expected {EXPECTED}"))),
                }
            }
        }
        deserializer.deserialize_any(LengthsVisitor)
    }
}

macro_rules! deserialize_from_text {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )+};
}

deserialize_from_text!(Community, TriggerText, ComponentName, RateText, ActionsText);

fn some_prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    values::prefixes(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_of_every_kind_read() {
        for (text, community) in [
            ("65535:666", RouteCommunity::BLACKHOLE),
            ("blackhole", RouteCommunity::BLACKHOLE),
            ("65070:666:0", RouteCommunity::Large([65070, 666, 0])),
            ("target:65070:666", RouteCommunity::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a])),
            ("target:4200000000:7", RouteCommunity::Extended([2, 2, 0xfa, 0x56, 0xea, 0, 0, 7])),
            ("origin:65070:1", RouteCommunity::Extended([0, 3, 0xfe, 0x2e, 0, 0, 0, 1])),
            ("0x0002fe2e0000029a", RouteCommunity::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a])),
        ] {
            assert_eq!(text.parse(), Ok(Community(community)), "{text}");
        }
        assert_eq!("70000:1".parse::<Community>(), Err(InvalidCommunity::Number("70000:1".to_owned(), 70000, 65535)));
        for bad in ["", "1", "1:", ":1", "1:2:3:4", "-1:2", "+1:2", "a:b", "0x00", "65535:666 ", "blackholes"] {
            assert!(matches!(bad.parse::<Community>(), Err(InvalidCommunity::Form(_))), "{bad}");
        }
    }

    #[test]
    fn rates_and_actions_are_those_of_the_rule_language_and_nothing_else() {
        assert_eq!("10mbps".parse(), Ok(RateText(RateLimit::Bytes(1_250_000.0))));
        assert_eq!("1000pps".parse(), Ok(RateText(RateLimit::Packets(1000.0))));
        for bad in ["", "0", "0pps", "-1", "1mbps mark 46", "discard", "1mbps then discard", "inf", "1mbps # x"] {
            assert!(bad.parse::<RateText>().is_err(), "{bad}");
        }
        assert!("discard".parse::<ActionsText>().is_ok_and(|actions| actions.0.len() == 1));
        assert!("accept".parse::<ActionsText>().is_ok_and(|actions| actions.0.is_empty()));
        assert!("rate 1mbps mark 46".parse::<ActionsText>().is_ok_and(|actions| actions.0.len() == 2));
        for bad in ["", "drop it", "dst 192.0.2.1", "then discard"] {
            assert!(bad.parse::<ActionsText>().is_err(), "{bad}");
        }
    }
}
