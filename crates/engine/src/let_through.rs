//! Packets of a rule that a data plane lets through, beside neighbour discovery as IPv6 nodes take
//! it, which none filters.

use flowspec::{IpVersion, Space};

const ICMPV6: u8 = 58;
/// Types of neighbour discovery (RFC 4861).
const NEIGHBOR_DISCOVERY: std::ops::RangeInclusive<u32> = 133..=137;

/// What is let through although no node would take it for neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetThrough {
    /// Messages of neighbour discovery whatever their hop limit.
    AnyHopLimit,
    /// All ICMPv6 with hop limit 255.
    AllIcmpv6,
}

impl LetThrough {
    /// A noun phrase.
    pub(crate) const fn packets(self) -> &'static str {
        match self {
            LetThrough::AnyHopLimit => "ICMPv6 messages of types 133 to 137, whatever their hop limit,",
            LetThrough::AllIcmpv6 => "ICMPv6 messages with hop limit 255",
        }
    }

    /// Whether some of it may be packets of the space.
    pub(crate) fn meets(self, space: &Space) -> bool {
        let is_icmp = space.protocol().is_none_or(|protocols| protocols.contains(ICMPV6));
        let has_type = |types: &flowspec::space::IntervalSet| match self {
            LetThrough::AnyHopLimit => NEIGHBOR_DISCOVERY.into_iter().any(|kind| types.contains(kind)),
            LetThrough::AllIcmpv6 => !types.is_empty(),
        };
        space.version() == IpVersion::V6 && !space.is_empty() && is_icmp && space.icmp_type().is_none_or(has_type)
    }
}
