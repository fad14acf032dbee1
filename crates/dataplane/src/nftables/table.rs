//! Our two tables: `ip floodgate` and `ip6 floodgate`.
//!
//! One table of family `inet` would receive both kinds of packets, but then each rule on an IP
//! header has to test the version first. For a packet without a match, that was a third of the
//! filter's cost.

use super::nf_tables::NF_ACCEPT;
use flowspec::IpVersion;

/// The name of our tables, one of family `ip` and one of family `ip6`.
pub(super) const TABLE: &str = "floodgate";
/// Before `raw` (-300) and the defragmentation of connection tracking (-400).
pub(super) const PRIORITY: i32 = -450;
pub(super) const CHAIN_TYPE: &str = "filter";
/// Packets that no rule decides are accepted.
pub(super) const POLICY: u32 = NF_ACCEPT as u32;
/// The chain that the kernel calls.
pub(super) const BASE: &str = "prerouting";

/// The family, in nft's language.
pub(super) const fn family_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    }
}
