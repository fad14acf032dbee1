//! First fragments, if a data plane does not see their upper-layer header.

use flowspec::space::{Condition, Fields, FragmentSet};
use flowspec::{Effect, IpVersion, Policing, Space};

/// First fragments, of packets that may and may not be fragmented further.
pub(crate) const FIRST: FragmentSet = FragmentSet(0x22);

/// Whether packets of the space are first fragments with a constraint on an upper-layer field.
pub(crate) fn misses_first_fragments(space: &Space) -> bool {
    let wanted = space.fragment().unwrap_or(FragmentSet::possible(space.version()));
    // In IPv6 also a whole packet with a fragment header counts as a fragment.
    space.fields().has_any(Fields::L4)
        && !space.is_empty()
        && (space.version() == IpVersion::V6 || !wanted.intersect(FIRST).is_empty())
}

/// Whether an effect ends the evaluation without a discard.
pub(crate) fn exempts(effect: &Effect) -> bool {
    !effect.continues && !matches!(effect.policing, Policing::Discard)
}

/// The first fragments that may be packets of these entries of one rule, of which a data plane does
/// not see the upper-layer header. If the rule exempts its packets from later rules, they have to
/// be exempted, too: a later rule would act on those that are its packets. None if the rule exempts
/// nothing. In IPv6 they include whole packets with a fragment header.
pub fn first_fragments_to_exempt(entries: &[Space], effect: &Effect) -> Vec<Space> {
    let mut found: Vec<Space> = Vec::new();
    if !exempts(effect) {
        return found;
    }
    for entry in entries.iter().filter(|entry| misses_first_fragments(entry)) {
        let first = entry.without_upper_layer_fields().narrowed(Condition::Fragment(FIRST));
        if !first.is_empty() && !found.contains(&first) {
            found.push(first);
        }
    }
    found
}

/// Whether an entry is for whole packets and first fragments, without upper-layer fields.
pub fn is_whole_or_first(entry: &Space) -> bool {
    let both = FragmentSet::WITH_L4_HEADER.intersect(FragmentSet::possible(entry.version()));
    !entry.fields().has_any(Fields::L4) && entry.fragment() == Some(both)
}
