//! The packet fields as nf_tables reads them, and tests on them.
//!
//! If the packet does not contain the octets (an upper-layer field of a later fragment, an octet
//! after the end), the rule does not match: this is what FlowSpec requires. If FlowSpec requires
//! more octets than the field itself has (a port exists only if both ports do), those octets are
//! read, too.

use flowspec::IpVersion;
use std::fmt;

/// A field of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Field {
    Destination,
    Source,
    /// For IPv6 the protocol after the headers that nf_tables skips: hop-by-hop, routing, fragment,
    /// destination options.
    Protocol,
    DestinationPort,
    SourcePort,
    IcmpType,
    IcmpCode,
    TcpFlags,
    Length,
    Dscp,
    /// IPv4: flags and fragment offset. IPv6: the same word of the (first) fragment header, which
    /// must be complete.
    Fragment,
    Label,
}

/// The location of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Octets of the network header.
    Network { offset: u32, octets: u32 },
    /// Octets of the upper-layer header; `needs` more of them must exist.
    Upper { offset: u32, octets: u32, needs: Option<(u32, u32)> },
    /// The upper-layer protocol that the kernel found.
    Protocol,
    /// Octets 2 and 3 of the IPv6 fragment header, all eight octets of which must exist.
    FragmentHeader,
}

impl Field {
    pub(super) const fn place(self, version: IpVersion) -> Place {
        match (self, version) {
            (Field::Source, IpVersion::V4) => Place::Network { offset: 12, octets: 4 },
            (Field::Destination, IpVersion::V4) => Place::Network { offset: 16, octets: 4 },
            (Field::Source, IpVersion::V6) => Place::Network { offset: 8, octets: 16 },
            (Field::Destination, IpVersion::V6) => Place::Network { offset: 24, octets: 16 },
            (Field::Protocol, _) => Place::Protocol,
            (Field::DestinationPort, _) => Place::Upper { offset: 2, octets: 2, needs: None },
            (Field::SourcePort, _) => Place::Upper { offset: 0, octets: 2, needs: Some((2, 2)) },
            (Field::IcmpType, _) => Place::Upper { offset: 0, octets: 1, needs: Some((1, 1)) },
            (Field::IcmpCode, _) => Place::Upper { offset: 1, octets: 1, needs: None },
            (Field::TcpFlags, _) => Place::Upper { offset: 12, octets: 2, needs: None },
            (Field::Length, IpVersion::V4) => Place::Network { offset: 2, octets: 2 },
            (Field::Length, IpVersion::V6) => Place::Network { offset: 4, octets: 2 },
            (Field::Dscp, IpVersion::V4) => Place::Network { offset: 1, octets: 1 },
            (Field::Dscp, IpVersion::V6) => Place::Network { offset: 0, octets: 2 },
            (Field::Fragment, IpVersion::V4) => Place::Network { offset: 6, octets: 2 },
            (Field::Fragment, IpVersion::V6) => Place::FragmentHeader,
            (Field::Label, _) => Place::Network { offset: 0, octets: 4 },
        }
    }

    /// Octets of the value in a register.
    pub(super) const fn octets(self, version: IpVersion) -> u32 {
        match self.place(version) {
            Place::Network { octets, .. } | Place::Upper { octets, .. } => octets,
            Place::Protocol => 1,
            Place::FragmentHeader => 2,
        }
    }

    /// The bits of those octets that belong to the field.
    pub(super) const fn mask(self, version: IpVersion) -> u128 {
        match (self, version) {
            (Field::Dscp, IpVersion::V4) => 0xfc,
            (Field::Dscp, IpVersion::V6) => 0x0fc0,
            (Field::Label, _) => 0x000f_ffff,
            (Field::TcpFlags, _) => 0x0fff,
            (Field::Fragment, IpVersion::V4) => 0x7fff,
            (Field::Fragment, IpVersion::V6) => 0xfff9,
            _ => u128::MAX >> (128 - 8 * self.octets(version)),
        }
    }

    /// A field value as it is in the octets read.
    pub(super) const fn raw(self, version: IpVersion, value: u32) -> u128 {
        (match (self, version) {
            (Field::Dscp, IpVersion::V4) => value << 2,
            (Field::Dscp, IpVersion::V6) => value << 6,
            (Field::Length, IpVersion::V6) => value.saturating_sub(40),
            _ => value,
        }) as u128
    }

    /// The data type with which `nft list` shows it in a key (`src/datatype.h` of nftables).
    pub(super) const fn data_type(self, version: IpVersion) -> u32 {
        match (self, version) {
            (Field::Destination | Field::Source, IpVersion::V4) => 7,
            (Field::Destination | Field::Source, IpVersion::V6) => 8,
            (Field::Protocol, _) => 12,
            (Field::DestinationPort | Field::SourcePort | Field::Length | Field::TcpFlags, _) => 13,
            (Field::IcmpType, IpVersion::V4) => 14,
            (Field::IcmpType, IpVersion::V6) => 29,
            (Field::IcmpCode, IpVersion::V4) => 32,
            (Field::IcmpCode, IpVersion::V6) => 33,
            (Field::Dscp, IpVersion::V4) => 36,
            (Field::Dscp, IpVersion::V6) => 13,
            (Field::Label | Field::Fragment, _) => 19,
        }
    }

    /// Its name in nft's language.
    pub(super) const fn name(self, version: IpVersion) -> &'static str {
        match (self, version) {
            (Field::Destination, IpVersion::V4) => "ip daddr",
            (Field::Destination, IpVersion::V6) => "ip6 daddr",
            (Field::Source, IpVersion::V4) => "ip saddr",
            (Field::Source, IpVersion::V6) => "ip6 saddr",
            (Field::Protocol, _) => "meta l4proto",
            (Field::DestinationPort, _) => "th dport",
            (Field::SourcePort, _) => "th sport",
            (Field::IcmpType, IpVersion::V4) => "icmp type",
            (Field::IcmpType, IpVersion::V6) => "icmpv6 type",
            (Field::IcmpCode, IpVersion::V4) => "icmp code",
            (Field::IcmpCode, IpVersion::V6) => "icmpv6 code",
            (Field::TcpFlags, _) => "@th,96,16",
            (Field::Length, IpVersion::V4) => "ip length",
            (Field::Length, IpVersion::V6) => "ip6 length",
            (Field::Dscp, IpVersion::V4) => "ip dscp",
            (Field::Dscp, IpVersion::V6) => "ip6 dscp",
            (Field::Fragment, IpVersion::V4) => "ip frag-off",
            (Field::Fragment, IpVersion::V6) => "frag frag-off",
            (Field::Label, _) => "ip6 flowlabel",
        }
    }
}

/// A test on one packet field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Test {
    /// The octets of `field` under `mask` are within `first..=last`, all as in the packet.
    Within { field: Field, mask: u128, first: u128, last: u128 },
    /// IPv6: there is no fragment header.
    NoFragmentHeader,
    /// IPv6: the upper-layer header of this protocol begins in the packet. In a later fragment `th`
    /// reads at the wrong offset (kernel 6.18), so this test precedes such reads.
    UpperHeader(u8),
}

impl Test {
    /// The whole field is within an interval of its numbers.
    pub(super) const fn range(version: IpVersion, field: Field, first: u32, last: u32) -> Self {
        Test::Within {
            field,
            mask: field.mask(version),
            first: field.raw(version, first),
            last: field.raw(version, last),
        }
    }

    /// Some bits of the field have these values.
    pub(super) const fn masked(field: Field, mask: u128, value: u128) -> Self {
        Test::Within { field, mask, first: value, last: value }
    }

    pub(super) const fn field(&self) -> Field {
        match self {
            Test::Within { field, .. } => *field,
            Test::NoFragmentHeader => Field::Fragment,
            Test::UpperHeader(_) => Field::Protocol,
        }
    }

    /// The test in nft's language.
    pub(super) fn text(&self, version: IpVersion) -> String {
        let (field, mask, first, last) = match *self {
            Test::Within { field, mask, first, last } => (field, mask, first, last),
            Test::NoFragmentHeader => return "exthdr frag missing".to_owned(),
            // nft's language has no word for it.
            Test::UpperHeader(protocol) => return format!("meta l4proto {protocol}"),
        };
        if let (Field::Fragment, IpVersion::V6) = (field, version) {
            return match (mask, first, last) {
                (1, more, _) => format!("frag more-fragments {more}"),
                (_, 0, 0) => "frag frag-off 0".to_owned(),
                _ => "frag frag-off != 0".to_owned(),
            };
        }
        let own_mask = field.mask(version);
        let name = match field {
            Field::TcpFlags | Field::Fragment => format!("{} & {mask:#x}", field.name(version)),
            _ if mask != own_mask => {
                format!("{} & {}", field.name(version), Value { field, version, raw: mask })
            }
            _ => field.name(version).to_owned(),
        };
        let (first, last) = (unshifted(field, version, first), unshifted(field, version, last));
        let max = unshifted(field, version, mask);
        let value = |raw| Value { field, version, raw };
        if first == last {
            format!("{name} == {}", value(first))
        } else if (first, last) == (1, max) {
            format!("{name} != {}", value(0))
        } else {
            format!("{name} {}-{}", value(first), value(last))
        }
    }
}

/// nft's language uses the DSCP's own bits.
pub(super) const fn unshifted(field: Field, version: IpVersion, raw: u128) -> u128 {
    match (field, version) {
        (Field::Dscp, IpVersion::V4) => raw >> 2,
        (Field::Dscp, IpVersion::V6) => raw >> 6,
        _ => raw,
    }
}

/// A value of a field in nft's language.
pub(super) struct Value {
    pub(super) field: Field,
    pub(super) version: IpVersion,
    pub(super) raw: u128,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.field, self.version) {
            (Field::Destination | Field::Source, IpVersion::V4) => {
                std::net::Ipv4Addr::from(self.raw as u32).fmt(f) // an IPv4 address has 32 bits
            }
            (Field::Destination | Field::Source, IpVersion::V6) => std::net::Ipv6Addr::from(self.raw).fmt(f),
            (Field::TcpFlags | Field::Fragment | Field::Label, _) => write!(f, "{:#x}", self.raw),
            _ => self.raw.fmt(f),
        }
    }
}

/// The set key for these values: each fills whole registers, unless there is only one.
pub(super) fn encode_key(version: IpVersion, parts: &[(KeyPart, u128)]) -> Vec<u8> {
    let mut key = Vec::with_capacity(20);
    for (part, raw) in parts {
        key.extend(&raw.to_be_bytes()[16 - part.field.octets(version) as usize..]);
        if parts.len() > 1 {
            key.resize(key.len().next_multiple_of(4), 0);
        }
    }
    key
}

/// Octets of a set's key.
pub(super) fn key_octets(version: IpVersion, parts: &[KeyPart]) -> u32 {
    match parts {
        [part] => part.field.octets(version),
        parts => parts.iter().map(|part| part.register_octets(version)).sum(),
    }
}

/// A part of a set's key: a field under a mask, which is the field's own except for addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyPart {
    pub(super) field: Field,
    pub(super) mask: u128,
}

impl KeyPart {
    /// Octets in the registers that the key is looked up from: whole registers of 4.
    pub(super) const fn register_octets(&self, version: IpVersion) -> u32 {
        self.field.octets(version).next_multiple_of(4)
    }

    pub(super) fn text(&self, version: IpVersion) -> String {
        let name = self.field.name(version);
        match self.field {
            Field::Destination | Field::Source if self.mask != self.field.mask(version) => {
                format!("{name} & {}", Value { field: self.field, version, raw: self.mask })
            }
            _ => name.to_owned(),
        }
    }
}
