//! The Loc-RIB: decisions on the rules that changed, and the effects of each decision on later
//! rules.

use crate::decision_context::DecisionContext;
use crate::enforcement::Enforcement;
use crate::key::RuleKey;
use crate::newly_rejected::NewlyRejected;
use crate::precedence::Exceptions;
use crate::rule_decision::Suppression;
use crate::rule_entry::RuleEntry;
use crate::rule_table::RuleTable;
use crate::shadow;
use flowspec::{Nlri, Prefix, Space};

/// With this many changed exempting rules, all later rules are checked instead of only those with
/// an overlapping destination.
const MANY_EXCEPTIONS: usize = 16;

/// The rules that were decided on.
#[derive(Default)]
pub(crate) struct Decided {
    /// In order; with their entries where those are at hand.
    pub(crate) rules: Vec<(RuleKey, Option<Vec<Space>>)>,
    /// Rules that nobody announces any longer, and what the data plane has of them.
    pub(crate) withdrawn: Vec<(RuleKey, Option<Enforcement>)>,
    /// Some of the rules are exempting rules that are not in force.
    has_exception: bool,
    /// The rules that share destination and source with others.
    in_groups: Vec<RuleKey>,
}

/// The effects of decisions on other rules. Between calls of [`decide`](Self::decide) the exempting
/// rules are those of the table.
#[derive(Debug, Default)]
pub(crate) struct LocRib {
    exceptions: Exceptions,
    newly_rejected: NewlyRejected,
}

impl LocRib {
    /// Decides on every rule that is marked in the table. Afterwards the decisions are those that
    /// would have been made on the same routes in any other order.
    pub(crate) fn decide(&mut self, rules: &mut RuleTable, context: &DecisionContext<'_>) -> Decided {
        let mut decided = self.decide_once(rules, context);
        // A rule whose failures were cleared may have exempted packets from later ones.
        while rules.is_dirty() {
            let again = self.decide_once(rules, context);
            decided.withdrawn.extend(again.withdrawn);
            decided.rules.splice(0..0, again.rules);
            decided.rules.sort_by(|(a, _), (b, _)| a.cmp(b));
            decided.rules.dedup_by(|(a, _), (b, _)| a == b);
        }
        decided
    }

    /// The rules that were rejected since the last call.
    pub(crate) fn take_newly_rejected(&mut self) -> NewlyRejected {
        std::mem::take(&mut self.newly_rejected)
    }

    fn decide_once(&mut self, rules: &mut RuleTable, context: &DecisionContext<'_>) -> Decided {
        let dirty = rules.take_dirty();
        let mut decided = Decided::default();
        decided.rules.reserve_exact(dirty.len());
        rules.visit_with_groups(dirty.iter(), |key, entry, groups| {
            let Some(nlri) = key.nlri() else { return };
            entry.clear_dirty();
            if entry.paths.is_empty() {
                decided.withdrawn.push((key.clone(), entry.installation.take_in_force()));
                return;
            }
            let (decision, entries) = context.decide(nlri, &entry.paths, &entry.installation);
            self.newly_rejected.note(key, entry.selection.decision(), &decision);
            entry.selection.decide(decision);
            entry.update_failures();
            decided.has_exception |= entry.is_missing_exception(key);
            if groups.has_work(key) {
                decided.in_groups.push(key.clone());
            }
            decided.rules.push((key.clone(), entries));
        });
        rules.remove(decided.withdrawn.iter().map(|(key, _)| key));
        let blocked = self.apply_exceptions(rules, &decided);
        let shadowed = shadow_rules(rules, &decided, &blocked);
        for key in &shadowed {
            if let Some(entry) = rules.get_mut(key)
                && entry.selection.suppression().is_some()
                && entry.installation.clear_failures()
            {
                rules.touch(key);
            }
        }
        let mut more: Vec<_> = blocked.into_iter().chain(shadowed).collect();
        if !more.is_empty() {
            more.sort_unstable();
            more.dedup();
            more.retain(|key| decided.rules.binary_search_by(|(decided, _)| decided.cmp(key)).is_err());
            decided.rules.extend(more.into_iter().map(|key| (key, None)));
            decided.rules.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        decided
    }

    /// Blocks rules after exempting rules that are no longer in force, and unblocks those after
    /// exempting rules that are, or that are gone. Returns the rules for which that changed.
    fn apply_exceptions(&mut self, rules: &mut RuleTable, decided: &Decided) -> Vec<RuleKey> {
        let mut changed_rules = Vec::new();
        let mut changed = ChangedExceptions::default();
        for (key, _) in &decided.withdrawn {
            if self.exceptions.remove(key) {
                changed.note(key);
            }
        }
        if self.exceptions.is_empty() && changed.is_empty() && !decided.has_exception {
            return changed_rules;
        }
        let mut decided = decided.rules.iter().map(|(key, _)| key).peekable();
        let first = [decided.peek().copied(), changed.first.as_ref()].into_iter().flatten().min().cloned();
        let Some(first) = first else { return changed_rules };
        for (key, entry) in rules.range_mut(first..) {
            let is_decided = decided.next_if(|next| *next == key).is_some();
            if !is_decided && changed.is_empty() && decided.peek().is_none() {
                break;
            }
            let Some(nlri) = key.nlri() else { continue };
            if nlri.family().is_vpn() || !(is_decided || changed.may_concern(nlri)) {
                continue;
            }
            let selected = entry.selection.selected_route();
            let by = selected.and_then(|route| self.exceptions.blocking(nlri, &route.effect()));
            let was_blocked = entry.selection.is_blocked();
            let suppression = match by {
                Some(by) => Some(Suppression::BlockedByException(by)),
                None => entry.selection.suppression().filter(|_| !was_blocked),
            };
            if by.is_some() {
                entry.installation.clear_failures();
            }
            if entry.selection.suppress(suppression) {
                if by.is_some() && !was_blocked {
                    self.newly_rejected.add(key);
                }
                changed_rules.push(key.clone());
            }
            self.update_exception(&mut changed, key, nlri, entry);
        }
        changed_rules
    }

    fn update_exception(&mut self, changed: &mut ChangedExceptions, key: &RuleKey, nlri: &Nlri, entry: &RuleEntry) {
        let is_exception = entry.is_missing_exception(key);
        if is_exception == self.exceptions.contains(key) {
            return;
        }
        if is_exception {
            self.exceptions.insert_key(key.clone(), nlri);
        } else {
            self.exceptions.remove(key);
        }
        changed.note(key);
    }
}

/// Determines anew which rules are shadowed among those that may have changed. Returns those for
/// which that changed.
fn shadow_rules(rules: &mut RuleTable, decided: &Decided, blocked: &[RuleKey]) -> Vec<RuleKey> {
    let groups = rules.groups();
    if groups.all_single() {
        return Vec::new();
    }
    let withdrawn = decided.withdrawn.iter().map(|(key, _)| key).filter(|key| groups.has_work(key));
    let mut keys: Vec<RuleKey> = decided.in_groups.iter().chain(withdrawn).chain(blocked).cloned().collect();
    keys.sort_unstable();
    shadow::mark(rules, keys.into_iter())
}

/// The exempting rules that came into force or went out of force.
#[derive(Default)]
struct ChangedExceptions {
    first: Option<RuleKey>,
    destinations: Vec<Option<Prefix>>,
}

impl ChangedExceptions {
    fn note(&mut self, key: &RuleKey) {
        if self.first.as_ref().is_none_or(|first| key < first) {
            self.first = Some(key.clone());
        }
        self.destinations.push(key.nlri().and_then(|nlri| nlri.destination()));
    }

    fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    fn may_concern(&self, nlri: &Nlri) -> bool {
        let overlap = |a: Option<Prefix>, b: Option<Prefix>| match (a, b) {
            (Some(a), Some(b)) => a.overlaps(&b),
            _ => true,
        };
        let own = nlri.destination();
        !self.is_empty()
            && (self.destinations.len() > MANY_EXCEPTIONS || self.destinations.iter().any(|&other| overlap(own, other)))
    }
}
