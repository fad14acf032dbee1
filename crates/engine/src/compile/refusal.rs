//! Why a data plane cannot enforce a rule exactly.

use crate::capability::Capabilities;
use crate::let_through::LetThrough;
use flowspec::{Action, ComponentType, RuleId};
use std::fmt;

/// Why a rule is refused, and by which data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub kind: RefusalKind,
    /// The data plane's name.
    pub dataplane: String,
}

/// What the data plane cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A VPN rule: VRFs are not supported.
    Vpn,
    /// IPv6 is not filtered.
    Ipv6,
    /// A field that it cannot match.
    Field(ComponentType),
    /// An IPv6 prefix with an offset.
    Offset(ComponentType),
    /// A prefix, where it can compare whole addresses only.
    WholeAddress(ComponentType),
    /// TCP flags that it cannot match.
    TcpFlagBits,
    /// A set of kinds of fragment that its entries cannot express.
    FragmentKinds,
    /// Ports, TCP flags or ICMP of first fragments, which it does not see; also of IPv6 packets
    /// behind a fragment header that are whole.
    FirstFragments,
    /// The protocol, or a kind of fragment, of IPv6 packets with extension headers that it does not
    /// look behind.
    HiddenProtocol,
    /// A field of whole packets with MPLS inside, of which it sees only the addresses.
    MplsInIp,
    /// Packets that it lets through whatever the rules.
    LetThrough(LetThrough),
    /// A limit below the lowest that it can count, in bytes a second.
    LowRate(u64),
    /// A value that the rule accepts and no entry can match.
    Value(ComponentType, u32),
    /// The existence of an upper-layer header, for any value of this field.
    AnyValue(ComponentType),
    /// An action that it cannot do.
    Action(UnsupportedAction),
    /// Actions that it can only do one at a time.
    SeveralActions,
    /// The rule is limited to this set of interfaces ([`Action::InterfaceSet`]), and no data plane
    /// here has such sets.
    InterfaceSet(Action),
    /// A limit over several entries, where each entry has a policer of its own.
    SharedPolicer {
        /// Entries that the rule takes.
        entries: u64,
    },
    /// A redirect to the next hop of an announcement that had none.
    UnknownNextHop,
    /// More entries than allowed for one rule.
    TooManyEntries {
        /// Entries that the rule takes.
        needed: u64,
        /// Entries that are allowed.
        limit: u64,
    },
    /// It would act on packets that an earlier rule exempts, and that rule cannot be enforced.
    Exception {
        /// The earlier rule.
        by: RuleId,
    },
}

/// An action, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnsupportedAction {
    /// Discard.
    Discard,
    /// A limit in bytes.
    RateBytes,
    /// A limit in packets.
    RatePackets,
    /// Mark.
    Mark,
    /// Sample.
    Sample,
    /// Redirect to an address.
    RedirectAddress,
    /// Copy to an address.
    CopyAddress,
    /// Redirect to a VRF.
    RedirectVrf,
    /// Continue with the next rule.
    Continue,
    /// Mark, and continue with the next rule.
    MarkContinue,
}

impl Refusal {
    /// With the data plane's name, and the release that can, if there is one.
    pub fn new(kind: RefusalKind, capabilities: &Capabilities) -> Self {
        let since = match kind {
            RefusalKind::Field(field) => {
                capabilities.limitations.fields_since.iter().find(|(of, _)| *of == field).map(|(_, release)| release)
            }
            RefusalKind::Action(UnsupportedAction::Mark | UnsupportedAction::MarkContinue) => {
                capabilities.limitations.marks_since.as_ref()
            }
            _ => None,
        };
        let name = &capabilities.name;
        let dataplane = since.map_or_else(|| name.clone(), |release| format!("{name} before {release}"));
        Refusal { kind, dataplane }
    }
}

impl RefusalKind {
    /// A short stable name for JSON and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            RefusalKind::Vpn => "vpn",
            RefusalKind::Ipv6 => "ipv6",
            RefusalKind::Field(_) => "field",
            RefusalKind::Offset(_) => "offset",
            RefusalKind::WholeAddress(_) => "whole-address",
            RefusalKind::TcpFlagBits => "tcp-flag-bits",
            RefusalKind::FragmentKinds => "fragment-kinds",
            RefusalKind::FirstFragments => "first-fragments",
            RefusalKind::HiddenProtocol => "hidden-protocol",
            RefusalKind::MplsInIp => "mpls-in-ip",
            RefusalKind::LetThrough(_) => "let-through",
            RefusalKind::LowRate(_) => "low-rate",
            RefusalKind::Value(..) => "value",
            RefusalKind::AnyValue(_) => "any-value",
            RefusalKind::Action(_) => "action",
            RefusalKind::SeveralActions => "several-actions",
            RefusalKind::InterfaceSet(_) => "interface-set",
            RefusalKind::SharedPolicer { .. } => "shared-policer",
            RefusalKind::UnknownNextHop => "unknown-next-hop",
            RefusalKind::TooManyEntries { .. } => "too-many-entries",
            RefusalKind::Exception { .. } => "exception",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = &self.dataplane;
        match &self.kind {
            RefusalKind::Vpn => f.write_str("a VPN rule applies to a VRF, and there is none here"),
            RefusalKind::Ipv6 => write!(f, "IPv6 cannot be filtered by {by}"),
            RefusalKind::Field(field) => write!(f, "{} cannot be matched by {by}", field_name(*field)),
            RefusalKind::Offset(field) => write!(f, "{} with an offset cannot be matched by {by}", field_name(*field)),
            RefusalKind::WholeAddress(field) => {
                write!(f, "{} cannot be matched by {by} unless it is a single address", field_name(*field))
            }
            RefusalKind::TcpFlagBits => write!(f, "some of these TCP flags cannot be matched by {by}"),
            RefusalKind::FragmentKinds => write!(f, "these kinds of fragment cannot be matched by {by}"),
            RefusalKind::FirstFragments => {
                write!(f, "{by} does not see the upper-layer header of first fragments, which the rule matches too")
            }
            RefusalKind::HiddenProtocol => {
                write!(
                    f,
                    "{by} does not look behind some IPv6 extension headers, and the rule matches such packets too"
                )
            }
            RefusalKind::MplsInIp => {
                write!(f, "{by} sees only the addresses of packets with MPLS inside, which the rule matches too")
            }
            RefusalKind::LetThrough(which) => {
                write!(f, "{by} lets {} through, which the rule matches too", which.packets())
            }
            RefusalKind::LowRate(lowest) => write!(f, "{by} cannot count a rate below {lowest} bytes/s"),
            RefusalKind::Value(field, value) => write!(f, "{} {value} cannot be matched by {by}", field_name(*field)),
            RefusalKind::AnyValue(field) => write!(f, "{} of any value cannot be matched by {by}", field_name(*field)),
            RefusalKind::Action(kind) => write!(f, "{kind} cannot be done by {by}"),
            RefusalKind::SeveralActions => {
                write!(f, "of limits in bytes, limits in packets and marks, {by} can do one in a rule")
            }
            RefusalKind::InterfaceSet(set) => write!(
                f,
                "it is limited to some interfaces ({set}), and {by} would enforce it on every filtered interface (allow.interface-sets)"
            ),
            RefusalKind::SharedPolicer { entries } => {
                write!(f, "the rule takes {entries} entries, which cannot share one rate limit in {by}")
            }
            RefusalKind::UnknownNextHop => f.write_str("it redirects to its next hop, and was announced without one"),
            RefusalKind::TooManyEntries { needed, limit } => {
                write!(f, "it takes {needed} entries; {by} allows {limit} for one rule")
            }
            RefusalKind::Exception { by } => {
                write!(f, "it would act on packets that the earlier rule {by} exempts, and that rule is not in force")
            }
        }
    }
}

impl fmt::Display for UnsupportedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnsupportedAction::Discard => "discard",
            UnsupportedAction::RateBytes => "a rate limit in bytes",
            UnsupportedAction::RatePackets => "a rate limit in packets",
            UnsupportedAction::Mark => "marking",
            UnsupportedAction::Sample => "sampling",
            UnsupportedAction::RedirectAddress => "redirection to an address",
            UnsupportedAction::CopyAddress => "copying to an address",
            UnsupportedAction::RedirectVrf => "redirection to a VRF",
            UnsupportedAction::Continue => "going on with the next rule",
            UnsupportedAction::MarkContinue => "marking and going on with the next rule",
        })
    }
}

fn field_name(field: ComponentType) -> &'static str {
    match field {
        ComponentType::Destination => "destination prefix",
        ComponentType::Source => "source prefix",
        ComponentType::Protocol => "protocol",
        ComponentType::Port => "port",
        ComponentType::DestinationPort => "destination port",
        ComponentType::SourcePort => "source port",
        ComponentType::IcmpType => "ICMP type",
        ComponentType::IcmpCode => "ICMP code",
        ComponentType::TcpFlags => "TCP flags",
        ComponentType::PacketLength => "packet length",
        ComponentType::Dscp => "DSCP",
        ComponentType::Fragment => "fragment",
        ComponentType::FlowLabel => "flow label",
    }
}
