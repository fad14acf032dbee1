//! The fields of an ACL rule that SONiC accepts, and their values.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The fields of an object by their names, in upper case where SONiC compares them so.
pub(super) type Fields = BTreeMap<String, String>;

/// Fields of a rule that match nothing.
const ACTIONS: [&str; 2] = ["PACKET_ACTION", "POLICER_ACTION"];

/// What is wrong with a rule, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    /// The rule is refused: its status is Inactive.
    Invalid,
    /// The rule is discarded without a status, and with it the rest of the round.
    Swallowed,
    /// The rule is discarded without a status.
    Dropped,
}

/// Whether a rule can be created in a table whose type has these matches and actions.
pub(super) fn validity(fields: &Fields, matches: &[String], actions: &[String]) -> Validity {
    let Some(action) = fields.get("PACKET_ACTION") else { return Validity::Swallowed };
    if !["DROP", "FORWARD", "COPY", "DO_NOT_NAT", "DISABLE_TRIM"].contains(&action.as_str()) {
        return Validity::Swallowed;
    }
    let Some(priority) = fields.get("PRIORITY") else { return Validity::Invalid };
    match priority.parse::<u32>() {
        // The range accepted by libsaivs.
        Ok(1..=16_000) => {}
        Ok(_) => return Validity::Invalid,
        Err(_) => return Validity::Dropped,
    }
    let mut has_match = false;
    for (name, value) in fields.iter().filter(|(name, _)| *name != "PRIORITY") {
        if ACTIONS.contains(&name.as_str()) {
            if !actions.iter().any(|action| action == name) {
                return Validity::Invalid;
            }
            continue;
        }
        let base = name.strip_suffix("_MASK").unwrap_or(name);
        if !matches.iter().any(|known| known == base) || !is_value(name, value) {
            return Validity::Invalid;
        }
        has_match = true;
    }
    if has_match { Validity::Valid } else { Validity::Invalid }
}

fn is_value(name: &str, value: &str) -> bool {
    let number = |most: u32| value.parse::<u32>().is_ok_and(|number| number <= most);
    match name {
        "SRC_IP" | "DST_IP" => is_prefix::<Ipv4Addr>(value, 32),
        "SRC_IPV6" | "DST_IPV6" => is_prefix::<Ipv6Addr>(value, 128),
        "SRC_IPV6_MASK" | "DST_IPV6_MASK" => value.parse::<Ipv6Addr>().is_ok(),
        "SRC_IP_MASK" | "DST_IP_MASK" => value.parse::<Ipv4Addr>().is_ok(),
        "L4_SRC_PORT" | "L4_DST_PORT" => number(65535),
        "L4_SRC_PORT_RANGE" | "L4_DST_PORT_RANGE" => {
            let ends = value.split_once('-').map(|(first, last)| (first.parse::<u16>(), last.parse::<u16>()));
            matches!(ends, Some((Ok(first), Ok(last))) if first <= last)
        }
        "IP_PROTOCOL" | "NEXT_HEADER" | "ICMP_TYPE" | "ICMP_CODE" | "ICMPV6_TYPE" | "ICMPV6_CODE" => number(255),
        "TCP_FLAGS" | "DSCP" => value_and_mask(value).is_some_and(|(value, mask)| value <= 0x3f && mask <= 0x3f),
        "ETHER_TYPE" => parse(value).is_some_and(|number| number <= 0xffff),
        "VLAN_ID" => number(4095) && value != "0",
        "IP_TYPE" => ["ANY", "IP", "NON_IP", "IPV4ANY", "NON_IPV4", "IPV6ANY", "NON_IPV6", "ARP"].contains(&value),
        _ => false,
    }
}

fn is_prefix<A: std::str::FromStr>(text: &str, most: u32) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    address.parse::<A>().is_ok() && length.parse::<u32>().is_ok_and(|length| length <= most)
}

/// A number, in hex with `0x` in front.
pub(super) fn parse(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `value/mask`, or a value under a full mask of six bits.
pub(super) fn value_and_mask(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((parse(value)?, parse(mask)?)),
        None => Some((parse(text)?, 0x3f)),
    }
}
