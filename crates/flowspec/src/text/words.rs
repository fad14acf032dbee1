//! The words of rule text. Of several names for the same thing the first is the canonical one.

use crate::component::ComponentType;
use crate::family::IpVersion;
use crate::names;

/// A component's names: ours, then those of ExaBGP and GoBGP. Some imply the IP version of the
/// rule.
pub(super) const COMPONENTS: &[(&str, ComponentType, Option<IpVersion>)] = &[
    ("dst", ComponentType::Destination, None),
    ("destination", ComponentType::Destination, None),
    ("destination-ipv4", ComponentType::Destination, Some(IpVersion::V4)),
    ("destination-ipv6", ComponentType::Destination, Some(IpVersion::V6)),
    ("src", ComponentType::Source, None),
    ("source", ComponentType::Source, None),
    ("source-ipv4", ComponentType::Source, Some(IpVersion::V4)),
    ("source-ipv6", ComponentType::Source, Some(IpVersion::V6)),
    ("proto", ComponentType::Protocol, None),
    ("protocol", ComponentType::Protocol, None),
    ("next-header", ComponentType::Protocol, Some(IpVersion::V6)),
    ("port", ComponentType::Port, None),
    ("dport", ComponentType::DestinationPort, None),
    ("destination-port", ComponentType::DestinationPort, None),
    ("sport", ComponentType::SourcePort, None),
    ("source-port", ComponentType::SourcePort, None),
    ("icmp-type", ComponentType::IcmpType, None),
    ("icmp-code", ComponentType::IcmpCode, None),
    ("tcp-flags", ComponentType::TcpFlags, None),
    ("length", ComponentType::PacketLength, None),
    ("packet-length", ComponentType::PacketLength, None),
    ("dscp", ComponentType::Dscp, None),
    ("traffic-class", ComponentType::Dscp, Some(IpVersion::V6)),
    ("fragment", ComponentType::Fragment, None),
    ("label", ComponentType::FlowLabel, Some(IpVersion::V6)),
    ("flow-label", ComponentType::FlowLabel, Some(IpVersion::V6)),
];

/// Words of the match part that are not components.
pub(super) const MATCH_WORDS: &[&str] = &["then", "rd", "ipv4", "ipv6", "vpnv4", "vpnv6", "match"];

/// Words that begin an action.
pub(super) const ACTIONS: &[&str] = &[
    "discard",
    "drop",
    "accept",
    "rate",
    "rate-limit",
    "rate-limit-bytes",
    "rate-limit-packets",
    "unlimited",
    "mark",
    "redirect",
    "copy",
    "redirect-to-nexthop",
    "redirect-to-nexthop-ietf",
    "copy-to-nexthop",
    "sample",
    "continue",
    "action",
    "interface-set",
    "community",
    "extended-community",
    "target",
];

/// Whether `word` begins an action.
pub(super) fn is_action(word: &str) -> bool {
    ACTIONS.iter().any(|action| action.eq_ignore_ascii_case(word))
}

/// The component that `word` names, and the IP version if the name implies one.
pub(super) fn component(word: &str) -> Option<(ComponentType, Option<IpVersion>)> {
    let found = COMPONENTS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(word));
    found.map(|(_, kind, version)| (*kind, *version))
}

/// The number that `word` names in a numeric component.
pub(super) fn number(kind: ComponentType, word: &str) -> Option<u64> {
    match kind {
        ComponentType::Protocol => names::protocol(word).map(u64::from),
        ComponentType::IcmpType => names::icmp_type(word).map(u64::from),
        ComponentType::Dscp => dscp(word),
        _ => None,
    }
}

/// `ef`, `be`, `cs0`..`cs7` and `af11`..`af43` (RFC 2474, 2597, 3246).
fn dscp(word: &str) -> Option<u64> {
    let word = word.to_ascii_lowercase();
    match word.as_bytes() {
        b"ef" => Some(46),
        b"be" => Some(0),
        [b'c', b's', class @ b'0'..=b'7'] => Some(u64::from(class - b'0') * 8),
        [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => {
            Some(u64::from(class - b'0') * 8 + u64::from(drop - b'0') * 2)
        }
        _ => None,
    }
}

/// The named bits of a bitmask component.
pub(super) const fn bits(kind: ComponentType) -> &'static [(&'static str, u16)] {
    match kind {
        ComponentType::TcpFlags => names::TCP_FLAGS,
        ComponentType::Fragment => names::FRAGMENT_BITS,
        _ => &[],
    }
}

/// The bit that `word` names; for TCP also GoBGP's letters (`SA` = syn and ack).
pub(super) fn bit(kind: ComponentType, word: &str) -> Option<u64> {
    let named = bits(kind).iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    match (named, kind) {
        (Some((_, bit)), _) => Some(u64::from(*bit)),
        (None, ComponentType::TcpFlags) => tcp_letters(word),
        (None, _) => None,
    }
}

/// Capital letters, each at most once.
fn tcp_letters(word: &str) -> Option<u64> {
    let mut value = 0;
    for letter in word.chars() {
        let bit = 1u64 << "FSRPAUEC".find(letter)?;
        if value & bit != 0 {
            return None;
        }
        value |= bit;
    }
    (value != 0).then_some(value)
}

/// All names that a value of this component can have.
pub(super) fn value_names(kind: ComponentType) -> Box<dyn Iterator<Item = &'static str>> {
    match kind {
        ComponentType::Protocol => Box::new(names::PROTOCOLS.iter().map(|(name, _)| *name)),
        ComponentType::IcmpType => Box::new(names::ICMP_TYPES.iter().map(|(name, _)| *name)),
        _ => Box::new(bits(kind).iter().map(|(name, _)| *name)),
    }
}

/// The largest value of a packet's field. Larger ones can be sent but never match; text accepts
/// them in hex only.
pub(super) const fn field_max(kind: ComponentType) -> u64 {
    match kind {
        ComponentType::Dscp => 0x3f,
        ComponentType::FlowLabel => 0xf_ffff,
        ComponentType::Port
        | ComponentType::DestinationPort
        | ComponentType::SourcePort
        | ComponentType::PacketLength
        | ComponentType::TcpFlags => 0xffff,
        ComponentType::Fragment => 0x0f,
        _ => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the repository; the published crate has no manual.
    const MANUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/rules.md");

    #[test]
    fn a_word_means_one_thing() {
        let words = COMPONENTS.iter().map(|(name, ..)| *name).chain(MATCH_WORDS.iter().copied());
        let words: Vec<&str> = words.chain(ACTIONS.iter().copied()).collect();
        for (at, word) in words.iter().enumerate() {
            assert!(!words[at + 1..].contains(word), "`{word}` stands twice among components, match words and actions");
            assert_eq!(*word, word.to_ascii_lowercase(), "what is read is compared in lower case");
        }
    }

    #[test]
    fn each_name_of_a_component_is_read_as_it() {
        for (name, kind, version) in COMPONENTS {
            let (family, prefix) = match version {
                Some(IpVersion::V6) => ("ipv6", "2001:db8::/32"),
                Some(IpVersion::V4) | None => ("ipv4", "192.0.2.0/24"),
            };
            let value = match kind {
                ComponentType::Destination | ComponentType::Source => prefix,
                ComponentType::TcpFlags => "syn",
                ComponentType::Fragment => "is-fragment",
                _ => "6",
            };
            let rule: crate::Rule = format!("{name} {value}").parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            let canonical: crate::Rule = format!("{family} {kind} {value}").parse().unwrap();
            assert_eq!(rule, canonical, "{name}");
        }
    }

    #[test]
    fn the_manual_has_every_name() {
        let Ok(manual) = std::fs::read_to_string(MANUAL) else { return };
        let (_, section) = manual.split_once("\n## Names\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let known: Vec<&str> =
            section.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty()).collect();
        let ours = COMPONENTS.iter().map(|(name, ..)| *name).chain(ACTIONS.iter().copied());
        let kinds =
            [ComponentType::Protocol, ComponentType::IcmpType, ComponentType::TcpFlags, ComponentType::Fragment];
        for name in ours.chain(kinds.into_iter().flat_map(value_names)) {
            assert!(known.contains(&name), "`{name}` is missing under Names in docs/manual/rules.md");
        }
    }
}
