//! ACL rules as in the database.

use super::entry::{self, Fields, Kind};
use super::place::{KnownPriorities, PlacedEntry};
use flowspec::IpVersion;
use std::collections::BTreeMap;

/// Identifies one of our ACL rules: its table, and its name there.
pub(super) type RowKey = (IpVersion, String);

/// ACL rules by their names.
pub(super) type Rows = BTreeMap<RowKey, Fields>;

/// Priorities of these ACL rules, by contents and owner.
pub(super) fn priorities(rows: &Rows) -> KnownPriorities {
    let known = rows.iter().filter_map(|((version, key), fields)| {
        Some(((*version, entry::stem_of(key, fields)), entry::priority_of(fields)?))
    });
    known.collect()
}

/// The ACL rules for these entries. An existing one keeps its name; a new one gets a name that no
/// existing one has: an ACL rule is never written over.
pub(super) fn target(entries: &[PlacedEntry], there: &Rows) -> Vec<(RowKey, usize)> {
    let mut target: BTreeMap<RowKey, usize> = BTreeMap::new();
    for (index, placed) in entries.iter().enumerate() {
        let fields = placed.entry.with_priority(placed.priority);
        let names = (0..).map(|copy| (placed.entry.version, placed.entry.key(placed.priority, copy)));
        for name in names {
            let is_it = match (there.get(&name), target.get(&name)) {
                // The same entry twice needs only one ACL rule.
                (_, Some(_)) => true,
                (Some(known), None) => *known == fields,
                (None, None) => true,
            };
            if is_it {
                target.entry(name).or_insert(index);
                break;
            }
        }
    }
    target.into_iter().collect()
}

/// The effect of an ACL rule, and its priority.
pub(super) fn kind_and_priority(fields: &Fields) -> (Kind, u32) {
    (entry::kind_of(fields), entry::priority_of(fields).unwrap_or(0))
}
