//! Our two tables: `ip floodgate` and `ip6 floodgate`.
//!
//! One table of family `inet` would take both kinds of packets, but then each rule that looks at an IP header has to ask for its version
//! first. For a packet without match, that was a third of what the filter cost.

use flowspec::IpVersion;

/// The family, in nft's language.
pub(super) const fn family_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    }
}
