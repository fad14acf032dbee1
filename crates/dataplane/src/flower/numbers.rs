//! The numbers of chains and policers.

use flowspec::IpVersion;

/// The chain where all packets begin.
pub(super) const FIRST_CHAIN: u32 = 0;
/// The first number of chains with rules: two for each set of rules, of IPv4 and IPv6.
pub(super) const FIRST_RULE_CHAIN: u32 = 0x000f_1000;
/// The first number of policers.
pub(super) const FIRST_POLICER: u32 = 0x0f10_0000;

/// The chain of an IP version, where this is the first of the two.
pub(super) const fn chain_of(first: u32, version: IpVersion) -> u32 {
    match version {
        IpVersion::V4 => first,
        IpVersion::V6 => first + 1,
    }
}

/// The IP version of the rules in a chain; `None` for a chain without rules.
pub(super) const fn version_of_chain(chain: u32) -> Option<IpVersion> {
    match chain.checked_sub(FIRST_RULE_CHAIN) {
        None => None,
        Some(at) if at % 2 == 0 => Some(IpVersion::V4),
        Some(_) => Some(IpVersion::V6),
    }
}
