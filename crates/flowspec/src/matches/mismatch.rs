//! Why a packet does not match a rule.

use crate::component::{Component, ComponentType};
use crate::family::IpVersion;
use crate::names;
use crate::op::Comparison;
use std::fmt;
use std::net::IpAddr;

/// Why a packet does not match a rule: the first component that does not match.
#[derive(Clone, Copy, Debug)]
pub enum Mismatch<'a> {
    /// The rule filters the other IP version.
    Version {
        /// The packet's.
        packet: IpVersion,
        /// The rule's.
        rule: IpVersion,
    },
    /// A VPN rule, and the question was about packets outside of VRFs.
    Vpn,
    /// The packet does not have the field that the component compares.
    Absent {
        /// The component.
        component: Component<'a>,
        /// Why not.
        why: Absence,
    },
    /// The packet has another value.
    Value {
        /// The component.
        component: Component<'a>,
        /// What the packet has.
        found: Found,
    },
}

/// Why a packet does not have the field that a component compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// The IPv6 extension headers do not lead to an upper-layer protocol within this packet.
    Protocol,
    /// This protocol has no ports.
    Ports(IpVersion, u8),
    /// This protocol is not the ICMP of its IP version.
    Icmp(IpVersion, u8),
    /// This protocol is not TCP.
    TcpFlags(IpVersion, u8),
    /// The upper-layer header is in another fragment.
    NonFirstFragment,
    /// The packet or its capture ends before.
    Truncated,
    /// IPv4 has no flow label.
    FlowLabel,
    /// The component's type has no number to compare. No valid rule has such a component.
    NotNumeric,
}

/// What a packet has in the field that a component compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// An address.
    Address(IpAddr),
    /// A number.
    Number(u64),
    /// Both ports, neither of which is accepted.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// Octets 12 and 13 of the TCP header, without data offset.
    TcpFlags(u16),
    /// DF 1, IsF 2, FF 4, LF 8.
    Fragment(u8),
}

impl Mismatch<'_> {
    /// The type of the component that does not match.
    #[must_use]
    pub const fn component_type(&self) -> Option<ComponentType> {
        match self {
            Mismatch::Version { .. } | Mismatch::Vpn => None,
            Mismatch::Absent { component, .. } | Mismatch::Value { component, .. } => Some(component.component_type()),
        }
    }
}

/// `dport: packet has 443, rule wants 80`.
impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Version { packet, rule } => {
                write!(f, "packet is {}, rule is for {}", version_name(*packet), version_name(*rule))
            }
            Mismatch::Vpn => f.write_str("a VPN rule applies only in its VRF"),
            Mismatch::Absent { component, why } => write!(f, "{}: {why}", component.component_type()),
            Mismatch::Value { component, found } => {
                let kind = component.component_type();
                write!(f, "{kind}: packet has {found}, rule wants {}", Wanted(*component))
            }
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Absence::Protocol => f.write_str("packet tells no upper-layer protocol"),
            Absence::Ports(_, protocol) => write!(f, "{} has no ports", ProtocolName(protocol)),
            Absence::Icmp(IpVersion::V4, protocol) => write!(f, "{} is not ICMP", ProtocolName(protocol)),
            Absence::Icmp(IpVersion::V6, protocol) => write!(f, "{} is not ICMPv6", ProtocolName(protocol)),
            Absence::TcpFlags(_, protocol) => write!(f, "{} is not TCP", ProtocolName(protocol)),
            Absence::NonFirstFragment => f.write_str("non-first fragment has no upper-layer header"),
            Absence::Truncated => f.write_str("the upper-layer header is truncated"),
            Absence::FlowLabel => f.write_str("IPv4 has no flow label"),
            Absence::NotNumeric => f.write_str("nothing to compare"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Found::Address(address) => address.fmt(f),
            Found::Number(number) => number.fmt(f),
            Found::Ports { source, destination } => write!(f, "{source} and {destination}"),
            Found::TcpFlags(flags) => show_bits(f, names::TCP_FLAGS, flags.into()),
            Found::Fragment(bits) => show_bits(f, names::FRAGMENT_BITS, bits.into()),
        }
    }
}

fn version_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}

struct ProtocolName(u8);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match names::protocol_name(self.0) {
            Some("ipv6-icmp") => f.write_str("ICMPv6"),
            Some(name) => f.write_str(&name.to_ascii_uppercase()),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

/// The names of the bits that are set, and the others as a number.
fn show_bits(f: &mut fmt::Formatter<'_>, table: &[(&str, u16)], bits: u64) -> fmt::Result {
    let mut joint = "";
    let mut rest = bits;
    for (name, bit) in table.iter().map(|(name, bit)| (name, u64::from(*bit))) {
        // Further names of the same bit are passed over.
        if rest & bit != 0 {
            write!(f, "{}{name}", std::mem::replace(&mut joint, "+"))?;
            rest &= !bit;
        }
    }
    match rest {
        0 if bits == 0 => f.write_str("none"),
        0 => Ok(()),
        rest => write!(f, "{joint}{rest:#x}"),
    }
}

/// What a component accepts: `>=80&<=90,443`, or names for bits.
struct Wanted<'a>(Component<'a>);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Component::Prefix(_, prefix) => prefix.fmt(f),
            Component::Numeric(_, ops) => ops.enumerate().try_for_each(|(n, op)| {
                f.write_str(joint(n, op.and, ["&", ","]))?;
                let sign = match op.comparison {
                    Comparison::False => return f.write_str("false"),
                    Comparison::True => return f.write_str("true"),
                    Comparison::Equal => "",
                    Comparison::NotEqual => "!=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                };
                write!(f, "{sign}{}", op.value)
            }),
            Component::Bitmask(kind, ops) => ops.enumerate().try_for_each(|(n, op)| {
                f.write_str(joint(n, op.and, [" and ", " or "]))?;
                f.write_str(if op.not { "not " } else { "" })?;
                f.write_str(match (op.value.count_ones(), op.all) {
                    (1, _) => "",
                    (_, true) => "all of ",
                    (_, false) => "any of ",
                })?;
                show_bits(
                    f,
                    if kind == ComponentType::TcpFlags { names::TCP_FLAGS } else { names::FRAGMENT_BITS },
                    op.value,
                )
            }),
        }
    }
}

fn joint(n: usize, and: bool, [and_text, or_text]: [&'static str; 2]) -> &'static str {
    match (n, and) {
        (0, _) => "",
        (_, true) => and_text,
        (_, false) => or_text,
    }
}
