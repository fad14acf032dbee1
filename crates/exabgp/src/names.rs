//! ExaBGP's names of values, and their numbers. They are not always the usual ones (its `ipip` is
//! protocol 94), and it uses the ICMP names of IPv4 for IPv6 as well: so they are a table of their
//! own, not that of the rule language. Only the ICMP types are the same.
//!
//! All names of versions 4.2.21 and 5.0.15; no name has two meanings in them. A test compares them
//! with the output of those versions.

use flowspec::ComponentType;

/// The number of a value as ExaBGP prints it: digits, a name, or its text for a number without a
/// name.
pub(crate) fn number(kind: ComponentType, text: &str) -> Option<u64> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return decimal(text);
    }
    let (names, unknown): (&[(&str, u8)], &str) = match kind {
        ComponentType::Protocol => (&PROTOCOLS, "unknown protocol type "),
        ComponentType::IcmpType => (flowspec::names::ICMP_TYPES, "unknown icmp type type "),
        _ => return None,
    };
    if let Some(number) = text.strip_prefix(unknown) {
        return decimal(number);
    }
    names.iter().find(|(name, _)| *name == text).map(|(_, number)| u64::from(*number))
}

/// The names of the bits of TCP flags or fragment, lowest first.
pub(crate) const fn bits(kind: ComponentType) -> &'static [(&'static str, u64)] {
    match kind {
        ComponentType::Fragment => &FRAGMENT,
        _ => &TCP_FLAGS,
    }
}

/// A mask as ExaBGP prints it: names joined with `+`; nothing, or `not-a-fragment`, for a mask
/// without bits.
pub(crate) fn mask(kind: ComponentType, text: &str) -> Option<u64> {
    if text.is_empty() || (kind == ComponentType::Fragment && text == NO_BITS) {
        return Some(0);
    }
    text.split('+').try_fold(0, |mask, word| {
        let (_, bit) = bits(kind).iter().find(|(name, _)| *name == word)?;
        // ExaBGP never prints the same name twice.
        (mask & bit == 0).then_some(mask | bit)
    })
}

/// What ExaBGP 4 prints for a fragment mask without bits.
pub(crate) const NO_BITS: &str = "not-a-fragment";

/// Decimal digits as a machine prints them: no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

const PROTOCOLS: [(&str, u8); 13] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("ipip", 94),
    ("pim", 103),
    ("sctp", 132),
];

const TCP_FLAGS: [(&str, u64); 9] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("push", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
    ("ns", 0x100),
];

const FRAGMENT: [(&str, u64); 4] =
    [("dont-fragment", 1), ("is-fragment", 2), ("first-fragment", 4), ("last-fragment", 8)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipip_is_94_and_numbers_without_a_name_are_words() {
        assert_eq!(number(ComponentType::Protocol, "ipip"), Some(94));
        assert_eq!(number(ComponentType::Protocol, "unknown protocol type 4"), Some(4));
        assert_eq!(number(ComponentType::Protocol, "58"), Some(58));
        assert_eq!(number(ComponentType::IcmpType, "unknown icmp type type 200"), Some(200));
        assert_eq!(number(ComponentType::IcmpType, "unknown protocol type 4"), None);
        assert_eq!(number(ComponentType::Port, "http"), None);
        for odd in ["", "+80", "080", "-1", "8 0", "0x50", "18446744073709551616", "unknown protocol type ", "TCP"] {
            assert_eq!(number(ComponentType::Protocol, odd), None, "{odd}");
        }
    }

    #[test]
    fn masks() {
        assert_eq!(mask(ComponentType::TcpFlags, "fin+syn+ns"), Some(0x103));
        assert_eq!(mask(ComponentType::TcpFlags, ""), Some(0));
        assert_eq!(mask(ComponentType::Fragment, "not-a-fragment"), Some(0));
        for odd in ["syn+", "syn+syn", "not-a-fragment", "unknown tcp flag type 512", "0Dsyn", "2"] {
            assert_eq!(mask(ComponentType::TcpFlags, odd), None, "{odd}");
        }
    }
}
