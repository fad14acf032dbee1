//! Components of a rule (RFC 8955 §4.2.2, RFC 8956 §3): their types, and a borrowed view of one on
//! the wire.

use crate::family::IpVersion;
use crate::op::{AND, BitmaskOp, END_OF_LIST, NumericOp, Width};
use crate::prefix::Prefix;
use std::fmt;

/// Component type; the number is the one on the wire and gives the order of components in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ComponentType {
    /// Destination prefix.
    Destination = 1,
    /// Source prefix.
    Source = 2,
    /// IP protocol; for IPv6 the upper-layer protocol behind the extension headers.
    Protocol = 3,
    /// Source or destination port.
    Port = 4,
    /// Destination port.
    DestinationPort = 5,
    /// Source port.
    SourcePort = 6,
    /// ICMP or ICMPv6 type.
    IcmpType = 7,
    /// ICMP or ICMPv6 code.
    IcmpCode = 8,
    /// TCP flags.
    TcpFlags = 9,
    /// Length of the IP packet in octets, IP header included.
    PacketLength = 10,
    /// DSCP, 6 bits.
    Dscp = 11,
    /// Fragment bits.
    Fragment = 12,
    /// IPv6 flow label, 20 bits.
    FlowLabel = 13,
}

/// How a component's value is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A prefix.
    Prefix,
    /// {operator, number} pairs.
    Numeric,
    /// {operator, bit mask} pairs.
    Bitmask,
}

impl ComponentType {
    /// Every type, in wire order.
    pub const ALL: [ComponentType; 13] = [
        ComponentType::Destination,
        ComponentType::Source,
        ComponentType::Protocol,
        ComponentType::Port,
        ComponentType::DestinationPort,
        ComponentType::SourcePort,
        ComponentType::IcmpType,
        ComponentType::IcmpCode,
        ComponentType::TcpFlags,
        ComponentType::PacketLength,
        ComponentType::Dscp,
        ComponentType::Fragment,
        ComponentType::FlowLabel,
    ];

    /// The type with this number in rules of `version`: the flow label (13) is IPv6 only.
    #[must_use]
    pub const fn from_wire(number: u8, version: IpVersion) -> Option<Self> {
        let last = match version {
            IpVersion::V4 => 12,
            IpVersion::V6 => 13,
        };
        if number == 0 || number > last { None } else { Some(Self::ALL[number as usize - 1]) }
    }

    /// How this type's value is written.
    #[must_use]
    pub const fn value_kind(self) -> ValueKind {
        match self {
            ComponentType::Destination | ComponentType::Source => ValueKind::Prefix,
            ComponentType::TcpFlags | ComponentType::Fragment => ValueKind::Bitmask,
            ComponentType::Protocol
            | ComponentType::Port
            | ComponentType::DestinationPort
            | ComponentType::SourcePort
            | ComponentType::IcmpType
            | ComponentType::IcmpCode
            | ComponentType::PacketLength
            | ComponentType::Dscp
            | ComponentType::FlowLabel => ValueKind::Numeric,
        }
    }

    /// Largest width that the RFC allows with a MUST: one octet for DSCP and fragment, two for TCP
    /// flags (RFC 8955 §4.2.2.9, §4.2.2.11, §4.2.2.12). The sizes of the others are SHOULD and so
    /// do not make a rule malformed.
    #[must_use]
    pub const fn max_width(self) -> Width {
        match self {
            ComponentType::Dscp | ComponentType::Fragment => Width::One,
            ComponentType::TcpFlags => Width::Two,
            _ => Width::Eight,
        }
    }

    /// The width in which `value` is sent: the smallest that holds it, and at least four octets for
    /// the flow label (RFC 8956 §3.7).
    #[must_use]
    pub const fn width_for(self, value: u64) -> Width {
        match (self, Width::for_value(value)) {
            (ComponentType::FlowLabel, Width::One | Width::Two) => Width::Four,
            (_, width) => width,
        }
    }

    /// The bits of a value that are compared; the others are reserved, sent as 0 and ignored on
    /// receipt.
    pub(crate) const fn value_mask(self, version: IpVersion) -> u64 {
        match (self, version) {
            (ComponentType::Dscp, _) => 0x3f,
            (ComponentType::Fragment, IpVersion::V4) => 0x0f,
            (ComponentType::Fragment, IpVersion::V6) => 0x0e,
            _ => u64::MAX,
        }
    }

    /// The word used for it in rule text, and in JSON as `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ComponentType::Destination => "dst",
            ComponentType::Source => "src",
            ComponentType::Protocol => "proto",
            ComponentType::Port => "port",
            ComponentType::DestinationPort => "dport",
            ComponentType::SourcePort => "sport",
            ComponentType::IcmpType => "icmp-type",
            ComponentType::IcmpCode => "icmp-code",
            ComponentType::TcpFlags => "tcp-flags",
            ComponentType::PacketLength => "length",
            ComponentType::Dscp => "dscp",
            ComponentType::Fragment => "fragment",
            ComponentType::FlowLabel => "label",
        }
    }
}

impl fmt::Display for ComponentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One component of a validated NLRI, borrowing its octets.
#[derive(Clone, Copy, Debug)]
pub enum Component<'a> {
    /// Destination or source prefix.
    Prefix(ComponentType, Prefix),
    /// A numeric component.
    Numeric(ComponentType, NumericOps<'a>),
    /// TCP flags or fragment.
    Bitmask(ComponentType, BitmaskOps<'a>),
}

impl Component<'_> {
    /// The component's type.
    #[must_use]
    pub const fn component_type(&self) -> ComponentType {
        match self {
            Component::Prefix(t, _) | Component::Numeric(t, _) | Component::Bitmask(t, _) => *t,
        }
    }
}

/// The {operator, value} pairs of a numeric component, in wire order.
#[derive(Clone, Copy, Debug)]
pub struct NumericOps<'a> {
    pub(crate) octets: &'a [u8],
    pub(crate) value_mask: u64,
    pub(crate) first: bool,
}

/// The {operator, value} pairs of a bitmask component, in wire order.
#[derive(Clone, Copy, Debug)]
pub struct BitmaskOps<'a> {
    pub(crate) octets: &'a [u8],
    pub(crate) value_mask: u64,
    pub(crate) first: bool,
}

impl Iterator for NumericOps<'_> {
    type Item = NumericOp;

    fn next(&mut self) -> Option<NumericOp> {
        let (operator, value) = next_pair(&mut self.octets, &mut self.first)?;
        Some(NumericOp::from_wire(operator, value & self.value_mask))
    }
}

impl Iterator for BitmaskOps<'_> {
    type Item = BitmaskOp;

    fn next(&mut self) -> Option<BitmaskOp> {
        let (operator, value) = next_pair(&mut self.octets, &mut self.first)?;
        Some(BitmaskOp::from_wire(operator, value & self.value_mask))
    }
}

/// Takes the first pair of a list that ends with its end-of-list pair. The AND bit of the first is
/// ignored (RFC 8955 §4.2.1.1).
fn next_pair(octets: &mut &[u8], first: &mut bool) -> Option<(u8, u64)> {
    let (&operator, rest) = octets.split_first()?;
    let (value, rest) = rest.split_at_checked(Width::from_operator(operator).octets())?;
    *octets = if operator & END_OF_LIST != 0 { &[] } else { rest };
    let operator = if std::mem::take(first) { operator & !AND } else { operator };
    Some((operator, be_value(value)))
}

/// Big-endian value of at most eight octets.
pub(crate) fn be_value(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |value, &octet| (value << 8) | u64::from(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_types() {
        for version in [IpVersion::V4, IpVersion::V6] {
            for number in 0..=u8::MAX {
                let last = if version == IpVersion::V4 { 12 } else { 13 };
                let kind = ComponentType::from_wire(number, version);
                assert_eq!(kind.map(|kind| kind as u8), (1..=last).contains(&number).then_some(number));
            }
        }
    }

    #[test]
    fn the_flow_label_is_sent_in_four_octets() {
        assert_eq!(ComponentType::FlowLabel.width_for(1), Width::Four);
        assert_eq!(ComponentType::FlowLabel.width_for(1 << 32), Width::Eight);
        assert_eq!(ComponentType::Port.width_for(80), Width::One);
        assert_eq!(ComponentType::Port.width_for(443), Width::Two);
    }
}
