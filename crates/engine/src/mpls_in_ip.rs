//! Whole IP packets with MPLS inside (protocol 137, RFC 4023), if a data plane sees nothing of them
//! but their addresses: Linux' flow dissector goes on to the label, and takes the packet for one
//! of MPLS.

use crate::first_fragments::exempts;
use flowspec::space::{Condition, Fields, FragmentSet, ProtocolSet};
use flowspec::{ComponentType, Effect, Space};

/// The protocol number of MPLS in IP.
pub const MPLS_IN_IP: u8 = 137;

/// Whole packets, which may and may not be fragmented.
const WHOLE: FragmentSet = FragmentSet(0x11);

/// Whether whole packets with MPLS inside are among those of the space, and something but their
/// addresses, their protocol and that they are whole is asked for.
pub(crate) fn misses_mpls(space: &Space) -> bool {
    let seen = Fields::of(ComponentType::Destination)
        .and(ComponentType::Source)
        .and(ComponentType::Protocol)
        .and(ComponentType::Fragment);
    let fields = space.fields();
    !space.is_empty()
        && !fields.has_any(Fields::L4)
        && !fields.without(seen).is_empty()
        && space.protocol().is_none_or(|protocols| protocols.contains(MPLS_IN_IP))
        && space.fragment().is_none_or(|kinds| !kinds.intersect(WHOLE).is_empty())
}

/// Whether an entry asks for the protocol in both whole packets and fragments, and for nothing that
/// is not seen of the whole ones: these two are told apart by the data plane.
pub(crate) fn is_mpls_of_any_kind(entry: &Space) -> bool {
    entry.protocol().and_then(ProtocolSet::single) == Some(MPLS_IN_IP)
        && entry.fragment().is_none()
        && !misses_mpls(entry)
}

/// Packets with MPLS inside that may be packets of these entries of one rule without the data plane
/// finding that out. Where the rule exempts its packets from later rules, these have to be
/// exempted, too. None where the rule exempts nothing.
pub fn mpls_packets_to_exempt(entries: &[Space], effect: &Effect) -> Vec<Space> {
    let mut found: Vec<Space> = Vec::new();
    if !exempts(effect) {
        return found;
    }
    for entry in entries.iter().filter(|entry| misses_mpls(entry)) {
        let packets = entry
            .without_fields_but_addresses()
            .narrowed(Condition::Protocol(ProtocolSet::of(&[MPLS_IN_IP])))
            .narrowed(Condition::Fragment(WHOLE));
        if !found.contains(&packets) {
            found.push(packets);
        }
    }
    found
}
