//! One statement of a policy: what it matches, what it changes, and what happens to the rule.

use super::action_set::ActionSet;
use crate::prefix_list::PrefixList;
use crate::route::{Route, RouteFamily};
use flowspec::{Action, Community, ComponentType, Nlri};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One statement. Without a condition it matches every route.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its place.
    pub name: StatementName,
    /// All of these hold for a route that it matches.
    pub conditions: Vec<Condition>,
    /// The actions that replace those of the peer.
    pub set_actions: Option<Vec<Action>>,
    /// The limit that replaces discard.
    pub discard_becomes: Option<RateLimit>,
    /// The highest limit of a rule that limits.
    pub rate_at_most: Option<RateLimit>,
    /// Longest lifetime after the announcement, in seconds.
    pub lifetime: Option<u64>,
    /// What happens to the rule.
    pub then: Then,
}

/// The policy that a statement belongs to, and its number there, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatementName {
    /// The name of the policy.
    pub policy: Arc<str>,
    /// Number of the statement, from 1.
    pub number: u32,
}

impl fmt::Display for StatementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {} of `{}`", self.number, self.policy)
    }
}

/// What happens to a rule that a statement matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next statement decides.
    Next,
    /// It is accepted, as far as the peer may ask for its actions; no further statement is
    /// evaluated.
    Accept,
    /// It is rejected; with a reason, if the operator gives one.
    Reject(Option<Arc<str>>),
}

/// A condition on a route, with the rule as the previous statements left it.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// It is of one of these families; a blackhole is of a unicast family.
    Families(Vec<RouteFamily>),
    /// Its destination is within one of these prefixes.
    DestinationWithin(PrefixList),
    /// Its source is within one of these prefixes.
    SourceWithin(PrefixList),
    /// The length of its destination prefix; 0 where there is none, or an IPv6 prefix with an
    /// offset.
    DestinationLength(LengthRange),
    /// The length of its source prefix; 0 where there is none, or an IPv6 prefix with an offset.
    SourceLength(LengthRange),
    /// It has all of these components.
    Components(ComponentSet),
    /// It has none of these components.
    WithoutComponents(ComponentSet),
    /// It asks for one of these actions.
    Actions(ActionSet),
    /// It carries one of these communities.
    Communities(Vec<RouteCommunity>),
    /// One of these AS numbers is the last of its AS_PATH: the AS that announced it first.
    AsPathOrigin(Vec<u32>),
    /// One of these AS numbers is in its AS_PATH.
    AsPathContains(Vec<u32>),
    /// Its limit is above this.
    RateAbove(RateLimit),
    /// Its limit is below this.
    RateBelow(RateLimit),
}

impl Condition {
    /// Its key in the configuration.
    pub const fn key(&self) -> &'static str {
        match self {
            Condition::Families(_) => "families",
            Condition::DestinationWithin(_) => "destination-within",
            Condition::SourceWithin(_) => "source-within",
            Condition::DestinationLength(_) => "destination-length",
            Condition::SourceLength(_) => "source-length",
            Condition::Components(_) => "components",
            Condition::WithoutComponents(_) => "without-components",
            Condition::Actions(_) => "actions",
            Condition::Communities(_) => "communities",
            Condition::AsPathOrigin(_) => "as-path-origin",
            Condition::AsPathContains(_) => "as-path-contains",
            Condition::RateAbove(_) => "rate-above",
            Condition::RateBelow(_) => "rate-below",
        }
    }
}

/// Lengths of a prefix, both bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthRange {
    /// The shortest.
    pub min: u8,
    /// The longest.
    pub max: u8,
}

impl LengthRange {
    pub(super) const fn contains(self, length: u8) -> bool {
        self.min <= length && length <= self.max
    }
}

impl From<RangeInclusive<u8>> for LengthRange {
    fn from(range: RangeInclusive<u8>) -> Self {
        LengthRange { min: *range.start(), max: *range.end() }
    }
}

/// A limit in one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateLimit {
    /// Bytes a second.
    Bytes(f32),
    /// Packets a second.
    Packets(f32),
}

/// A set of types of components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComponentSet(u16);

impl ComponentSet {
    /// The types of a rule's components.
    pub(super) fn of(nlri: &Nlri) -> Self {
        nlri.components().map(|component| component.component_type()).collect()
    }

    pub(super) const fn has_all(self, others: ComponentSet) -> bool {
        self.0 & others.0 == others.0
    }

    pub(super) const fn has_any(self, others: ComponentSet) -> bool {
        self.0 & others.0 != 0
    }
}

impl FromIterator<ComponentType> for ComponentSet {
    fn from_iter<I: IntoIterator<Item = ComponentType>>(types: I) -> Self {
        ComponentSet(types.into_iter().fold(0, |bits, kind| bits | 1 << kind as u16))
    }
}

/// A community of any of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteCommunity {
    /// RFC 1997, as one number.
    Standard(u32),
    /// RFC 8092.
    Large([u32; 3]),
    /// RFC 4360, its octets. Reserved bits of FlowSpec actions are compared as zero.
    Extended([u8; 8]),
}

impl RouteCommunity {
    /// BLACKHOLE (RFC 7999 §5).
    pub const BLACKHOLE: RouteCommunity = RouteCommunity::Standard(0xffff_029a);

    /// Whether a route carries it.
    pub fn is_on(self, route: &Route) -> bool {
        let attributes = route.attributes.as_deref();
        match self {
            RouteCommunity::Standard(number) => attributes.is_some_and(|all| all.communities.contains(&number)),
            RouteCommunity::Large(numbers) => attributes.is_some_and(|all| all.large_communities.contains(&numbers)),
            RouteCommunity::Extended(octets) => {
                route.actions.iter().any(|action| action.encode() == Community::Extended(octets))
            }
        }
    }
}

/// `65535:666`, `65000:1:2`, and an extended community as `0x` and its 16 digits.
impl fmt::Display for RouteCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RouteCommunity::Standard(number) => write!(f, "{}:{}", number >> 16, number & 0xffff),
            RouteCommunity::Large([a, b, c]) => write!(f, "{a}:{b}:{c}"),
            RouteCommunity::Extended([0x00, 0x02, a, b, local @ ..]) => {
                write!(f, "target:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes(local))
            }
            RouteCommunity::Extended([0x00, 0x03, a, b, local @ ..]) => {
                write!(f, "origin:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes(local))
            }
            RouteCommunity::Extended(octets) => write!(f, "0x{}", flowspec::hex::Hex(&octets)),
        }
    }
}
