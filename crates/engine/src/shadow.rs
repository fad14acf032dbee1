//! Shadowed rules: an earlier rule takes all their packets. They are not installed, and become
//! active when the earlier rule is removed.
//!
//! An earlier rule that covers a later one has the same destination and source: of nested prefixes
//! the longer comes first, so that the covering one would be the later. Therefore only rules with
//! the same destination and source are compared, and only if there are few of them
//! ([`shadow_groups`](crate::shadow_groups)); in larger groups nothing counts as shadowed, which
//! costs entries and no correctness.

use crate::key::RuleKey;
use crate::rule_decision::Suppression;
use crate::rule_entry::RuleEntry;
use crate::rule_table::RuleTable;
use crate::shadow_groups::{GroupWork, have_equal_addresses, same_group};
use flowspec::Space;

/// Determines anew which rules are shadowed in the groups of `keys`. Returns those for which that
/// changed.
pub(crate) fn mark(rules: &mut RuleTable, keys: impl Iterator<Item = RuleKey>) -> Vec<RuleKey> {
    let mut changed = Vec::new();
    let mut done: Option<RuleKey> = None;
    for key in keys {
        if done.as_ref().is_some_and(|done| same_group(done, &key)) {
            continue;
        }
        match rules.groups_mut().take_work(&key) {
            GroupWork::Nothing => {}
            GroupWork::Compare => compare(rules, &key, &mut changed),
            GroupWork::Forget => {
                for member in members(rules, &key) {
                    set(rules, &member, None, &mut changed);
                }
            }
        }
        done = Some(key);
    }
    changed
}

fn compare(rules: &mut RuleTable, key: &RuleKey, changed: &mut Vec<RuleKey>) {
    let members = members(rules, key);
    let spaces: Vec<Option<Space>> = members
        .iter()
        .map(|member| rules.get(member).filter(|entry| in_play(entry)).and(member.nlri()).map(|nlri| Space::of(nlri)))
        .collect();
    for (at, member) in members.iter().enumerate() {
        let by = spaces[at].as_ref().filter(|space| !space.is_empty()).and_then(|space| {
            let mut earlier = members.iter().zip(&spaces).take(at);
            earlier.find(|(earlier, cover)| {
                cover.as_ref().is_some_and(|cover| cover.covers(space)) && rules.get(earlier).is_some_and(takes_all)
            })
        });
        let by = by.and_then(|(earlier, _)| earlier.nlri()).map(|nlri| Suppression::Shadowed(nlri.id()));
        set(rules, member, by, changed);
    }
}

/// To be enforced, and not blocked by an exception.
const fn in_play(entry: &RuleEntry) -> bool {
    entry.selection.selected_route().is_some() && !entry.selection.is_blocked()
}

/// Whether it is in force, or will be, and ends the evaluation for its packets.
fn takes_all(entry: &RuleEntry) -> bool {
    !entry.installation.has_failed() && entry.selection.selected_route().is_some_and(|route| !route.effect().continues)
}

fn set(rules: &mut RuleTable, key: &RuleKey, suppression: Option<Suppression>, changed: &mut Vec<RuleKey>) {
    if let Some(entry) = rules.get_mut(key)
        && !entry.selection.is_blocked()
        && entry.selection.suppress(suppression)
    {
        changed.push(key.clone());
    }
}

/// The rules with the destination and source of `key`, in order; they are adjacent. VPN rules among
/// them are skipped.
fn members(rules: &RuleTable, key: &RuleKey) -> Vec<RuleKey> {
    let before = rules.range(..key).rev().map(|(other, _)| other).take_while(|other| have_equal_addresses(other, key));
    let mut members: Vec<RuleKey> = before.cloned().collect();
    members.reverse();
    members.extend(
        rules.range(key..).map(|(other, _)| other).take_while(|other| have_equal_addresses(other, key)).cloned(),
    );
    members.retain(|member| same_group(member, key));
    members
}
