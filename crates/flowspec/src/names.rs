//! Names of protocol numbers, header bits and ICMP types, as in rule text.
//!
//! One table for every program that parses or prints such names. Of several names for one value the
//! first is the canonical one. Lookups ignore ASCII case.

/// Protocol numbers (IANA) that have a name.
pub const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmp6", 58),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

/// TCP flags, as bits of header octets 12 and 13. The last two are names of one bit, which takes a
/// mask of two octets (RFC 3540, RFC 9768).
pub const TCP_FLAGS: &[(&str, u16)] = &[
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("push", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("urgent", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
    ("ns", 0x100),
    ("ae", 0x100),
];

/// Bits of the fragment component (RFC 8955 §4.2.2.12).
pub const FRAGMENT_BITS: &[(&str, u16)] = &[
    ("dont-fragment", 1),
    ("is-fragment", 2),
    ("first-fragment", 4),
    ("last-fragment", 8),
    ("df", 1),
    ("isf", 2),
    ("ff", 4),
    ("lf", 8),
];

/// ICMP types of IPv4. Those of IPv6 have other numbers under the same names, which ExaBGP
/// confuses: so IPv6 has none.
pub const ICMP_TYPES: &[(&str, u8)] = &[
    ("echo-reply", 0),
    ("unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicit", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("mask-request", 17),
    ("mask-reply", 18),
    ("traceroute", 30),
    ("photuris", 40),
    ("experimental-mobility", 41),
    ("extended-echo-request", 42),
    ("extended-echo-reply", 43),
    ("experimental-one", 253),
    ("experimental-two", 254),
];

/// The number of a protocol.
///
/// ```
/// assert_eq!(flowspec::names::protocol("UDP"), Some(17));
/// ```
#[must_use]
pub fn protocol(name: &str) -> Option<u8> {
    find(PROTOCOLS, name)
}

/// The canonical name of a protocol number.
///
/// ```
/// assert_eq!(flowspec::names::protocol_name(58), Some("ipv6-icmp"));
/// ```
#[must_use]
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// The bit of a TCP flag in header octets 12 and 13.
#[must_use]
pub fn tcp_flag(name: &str) -> Option<u16> {
    find(TCP_FLAGS, name)
}

/// A bit of the fragment component.
#[must_use]
pub fn fragment_bit(name: &str) -> Option<u16> {
    find(FRAGMENT_BITS, name)
}

/// The canonical names of the bits that are set, in the order of a table of bits. Bits without a
/// name are left out.
///
/// ```
/// use flowspec::names::{TCP_FLAGS, bit_names};
/// assert_eq!(bit_names(TCP_FLAGS, 0x112).collect::<Vec<_>>(), ["syn", "ack", "ns"]);
/// ```
pub fn bit_names<'a>(table: &'a [(&'static str, u16)], bits: u16) -> impl Iterator<Item = &'static str> + 'a {
    let mut rest = bits;
    table.iter().filter_map(move |(name, bit)| {
        // Further names of the same bit are passed over.
        let is_set = rest & bit != 0;
        rest &= !bit;
        is_set.then_some(*name)
    })
}

/// The number of an ICMP type of IPv4.
#[must_use]
pub fn icmp_type(name: &str) -> Option<u8> {
    find(ICMP_TYPES, name)
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_thing() {
        fn unique<T>(table: &[(&str, T)]) {
            for (at, (name, _)) in table.iter().enumerate() {
                assert!(table[at + 1..].iter().all(|(other, _)| other != name), "{name}");
                assert_eq!(*name, name.to_ascii_lowercase());
            }
        }
        unique(PROTOCOLS);
        unique(TCP_FLAGS);
        unique(FRAGMENT_BITS);
        unique(ICMP_TYPES);
        for (_, number) in PROTOCOLS {
            assert_eq!(protocol_name(*number).and_then(protocol), Some(*number));
        }
        assert_eq!(protocol("tcpp"), None);
    }
}
