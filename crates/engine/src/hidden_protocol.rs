//! IPv6 packets in which a data plane does not find the upper-layer protocol: its walk along the
//! extension headers ends at one of them, which it takes for the protocol.

use crate::first_fragments::exempts;
use flowspec::space::Fields;
use flowspec::{ComponentType, Effect, IpVersion, Space};

/// Whether something is asked for that stands in or behind the extension headers of IPv6.
pub(crate) fn asks_behind_fixed_header(space: &Space) -> bool {
    let behind = Fields::L4.and(ComponentType::Protocol).and(ComponentType::Fragment);
    space.version() == IpVersion::V6 && !space.is_empty() && space.fields().has_any(behind)
}

/// What may be packets of these entries of one rule without the data plane finding that out: spaces
/// of which it means the packets whose protocol, to the data plane, is one of the
/// [`EXTENSION_HEADERS`](flowspec::EXTENSION_HEADERS). Where the rule exempts its packets from
/// later rules, these have to be exempted, too. None where the rule exempts nothing.
pub fn hidden_packets_to_exempt(entries: &[Space], effect: &Effect) -> Vec<Space> {
    let mut found: Vec<Space> = Vec::new();
    if !exempts(effect) {
        return found;
    }
    for entry in entries.iter().filter(|entry| asks_behind_fixed_header(entry)) {
        let hidden = entry.without_fields_behind_fixed_header();
        if !found.contains(&hidden) {
            found.push(hidden);
        }
    }
    found
}
