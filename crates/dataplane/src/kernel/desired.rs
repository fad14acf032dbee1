//! The desired state as values, and its undo for a change that fails.

use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Nlri;
use flowspec::space::Space;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The complete desired state. Plain data: any value is valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DesiredState {
    /// Packets that are accepted ahead of every rule.
    pub(crate) protected: Arc<Vec<Space>>,
    /// In enforcement order.
    pub(crate) rules: BTreeMap<Arc<Nlri>, Arc<CompiledRule>>,
}

impl DesiredState {
    /// Applies a difference.
    pub(crate) fn change(&mut self, plan: &Plan) {
        if let Some(protected) = &plan.protected {
            self.protected = protected.clone();
        }
        for nlri in &plan.remove {
            self.rules.remove(nlri);
        }
        self.rules.extend(plan.upsert.iter().map(|rule| (rule.nlri.clone(), rule.clone())));
    }

    /// In the form for a full load.
    pub(crate) fn ruleset(&self) -> Ruleset {
        Ruleset { protected: self.protected.clone(), rules: self.rules.values().cloned().collect() }
    }
}

impl From<&Ruleset> for DesiredState {
    fn from(rules: &Ruleset) -> Self {
        let protected = rules.protected.clone();
        DesiredState { protected, rules: rules.rules.iter().map(|rule| (rule.nlri.clone(), rule.clone())).collect() }
    }
}

/// What a change replaced, to undo it after a failure.
#[derive(Debug)]
pub(crate) struct Undo {
    protected: Arc<Vec<Space>>,
    /// In the order of the changes; one rule may be changed twice.
    before: Vec<(Arc<Nlri>, Option<Arc<CompiledRule>>)>,
}

impl Undo {
    /// Starts a new change.
    pub(crate) fn new(protected: Arc<Vec<Space>>) -> Self {
        Undo { protected, before: Vec::new() }
    }

    /// Called before the rule in force with this key is changed; `rule` is the old one.
    pub(crate) fn note(&mut self, nlri: &Arc<Nlri>, rule: Option<Arc<CompiledRule>>) {
        self.before.push((nlri.clone(), rule));
    }

    /// Number of recorded changes.
    pub(crate) fn len(&self) -> usize {
        self.before.len()
    }

    /// What was in force before the change; `after` is the state after it.
    pub(crate) fn restore<'a>(self, after: impl IntoIterator<Item = &'a Arc<CompiledRule>>) -> DesiredState {
        let mut rules: BTreeMap<_, _> = after.into_iter().map(|rule| (rule.nlri.clone(), rule.clone())).collect();
        for (nlri, rule) in self.before.into_iter().rev() {
            match rule {
                Some(rule) => rules.insert(nlri, rule),
                None => rules.remove(&nlri),
            };
        }
        DesiredState { protected: self.protected, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::rule;

    #[test]
    fn undone_changes_leave_what_was_there() {
        let [a, b, c] = ["dst 192.0.2.1/32", "dst 192.0.2.2/32", "dst 192.0.2.3/32"].map(rule);
        let other_a = rule("dst 192.0.2.1/32 then discard");
        let rules = Ruleset { protected: Arc::default(), rules: vec![a.clone(), b.clone()] };
        let before = DesiredState::from(&rules);
        let plan = Plan { upsert: vec![other_a, c], remove: vec![a.nlri.clone(), b.nlri.clone()], protected: None };
        let (mut after, mut undo) = (before.clone(), Undo::new(before.protected.clone()));
        for nlri in plan.remove.iter().chain(plan.upsert.iter().map(|rule| &rule.nlri)) {
            undo.note(nlri, after.rules.get(nlri).cloned());
            // As if each step were undone by itself: the second change of `a` finds nothing there.
            after.rules.remove(nlri);
        }
        after.change(&plan);
        assert_eq!(after.rules.len(), 2);
        assert_eq!(undo.restore(after.rules.values()), before);
    }
}
