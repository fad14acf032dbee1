//! The reconciler: compares the desired state with what the data plane has, returns the difference
//! as one transaction at a time, and records the outcome.

use crate::capability::Capabilities;
use crate::compile;
use crate::enforcement::Enforcement;
use crate::key::RuleKey;
use crate::loc_rib::Decided;
use crate::plan::{Applied, CompiledRule, Plan, RuleFailure, Ruleset};
use crate::rule_entry::RuleEntry;
use crate::rule_table::RuleTable;
use flowspec::{Nlri, Space};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One transaction of the data plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Transaction {
    /// Put exactly this in force.
    Full(Ruleset),
    /// Apply this difference.
    Plan(Plan),
}

/// The desired state of the data plane, apart from the rules.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) capabilities: &'a Capabilities,
    /// The packets that are accepted ahead of every rule.
    pub(crate) protected: &'a Arc<Vec<Space>>,
}

/// The state of the data plane. While a transaction is in flight, this is the state after it is
/// applied.
#[derive(Debug)]
pub(crate) struct Reconciler {
    /// Number of the last transaction.
    last_sent: u32,
    /// Number of the last transaction that was applied.
    last_applied: u32,
    in_flight: Option<InFlight>,
    needs_full: bool,
    /// The protected packets that were sent last.
    protected_sent: Arc<Vec<Space>>,
    /// Why the last transaction could not be applied.
    error: Option<String>,
    /// The rules that the data plane could not install.
    failed: BTreeSet<RuleKey>,
    monitor: bool,
    paused: bool,
    unfiltered: Option<String>,
}

#[derive(Debug)]
enum InFlight {
    Full,
    Plan {
        /// What was in force before, for each rule of the plan.
        undo: Vec<(RuleKey, Option<Enforcement>)>,
        protected: Arc<Vec<Space>>,
        /// How many rules were removed.
        removed: usize,
    },
}

impl Reconciler {
    /// The first transaction is a full load, so that leftovers of an earlier run are removed.
    pub(crate) fn new(monitor: bool) -> Self {
        Reconciler {
            last_sent: 0,
            last_applied: 0,
            in_flight: None,
            needs_full: true,
            protected_sent: Arc::default(),
            error: None,
            failed: BTreeSet::new(),
            monitor,
            paused: false,
            unfiltered: None,
        }
    }

    pub(crate) const fn is_monitoring(&self) -> bool {
        self.monitor
    }

    /// Count only, or enforce; whether that is a change.
    pub(crate) const fn set_monitor(&mut self, monitor: bool) -> bool {
        std::mem::replace(&mut self.monitor, monitor) != monitor
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Filter nothing, or filter.
    pub(crate) const fn set_paused(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.needs_full = true;
        }
    }

    pub(crate) fn set_unfiltered(&mut self, why: Option<String>) {
        self.unfiltered = why;
    }

    /// Why no packet reaches the rules, although the data plane has them.
    pub(crate) fn unfiltered(&self) -> Option<&str> {
        self.unfiltered.as_deref()
    }

    /// Why the last transaction could not be applied.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The next transaction is a full load.
    pub(crate) const fn reload(&mut self) {
        self.needs_full = true;
    }

    pub(crate) const fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(crate) const fn needs_full(&self) -> bool {
        self.needs_full
    }

    pub(crate) fn has_failures(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Before a full load: where another path was selected because the better one failed, the
    /// better one is tried again.
    pub(crate) fn retry_substituted(&self, rules: &mut RuleTable) {
        if self.needs_full {
            rules.touch_where(|_, entry| entry.installation.is_substitute() && entry.installation.clear_failures());
        }
    }

    /// The next transaction after these decisions, if there is anything to do.
    pub(crate) fn next_transaction(
        &mut self,
        rules: &mut RuleTable,
        decided: Decided,
        target: Target<'_>,
    ) -> Option<Transaction> {
        self.failed.retain(|key| rules.get(key).is_some_and(|entry| entry.installation.has_failed()));
        if self.needs_full {
            return Some(Transaction::Full(self.send_full(rules, target)));
        }
        if self.paused { None } else { self.send_plan(rules, decided, target).map(Transaction::Plan) }
    }

    fn send_plan(&mut self, rules: &mut RuleTable, decided: Decided, target: Target<'_>) -> Option<Plan> {
        let number = self.last_sent.wrapping_add(1);
        let mut plan = Plan::default();
        let mut undo = Vec::with_capacity(decided.rules.len());
        for (key, in_force) in decided.withdrawn {
            if let (Some(nlri), Some(in_force)) = (key.nlri(), in_force) {
                plan.remove.push(nlri.clone());
                undo.push((key, Some(in_force)));
            }
        }
        let monitor = self.monitor;
        let (keys, entries): (Vec<_>, Vec<_>) = decided.rules.into_iter().unzip();
        let mut entries = keys.iter().zip(entries).peekable();
        rules.visit(keys.iter(), |key, entry| {
            while entries.next_if(|(decided, _)| *decided < key).is_some() {}
            let entries = entries.next_if(|(decided, _)| *decided == key).and_then(|(_, entries)| entries);
            let Some(nlri) = key.nlri() else { return };
            let desired = entry.desired(monitor);
            match (&desired, entry.installation.in_force()) {
                (None, None) => return,
                (Some(desired), Some(in_force)) if desired.is_equivalent(in_force) => return,
                _ => {}
            }
            match &desired {
                Some(desired) => {
                    let entries = entries.or_else(|| compile_entries(nlri, desired, target.capabilities));
                    let Some(entries) = entries else { return };
                    plan.upsert.push(compiled(nlri, desired, entries));
                }
                None => plan.remove.push(nlri.clone()),
            }
            undo.push((key.clone(), entry.send(desired, number)));
        });
        let protected = std::mem::replace(&mut self.protected_sent, target.protected.clone());
        plan.protected = (protected != *target.protected).then(|| target.protected.clone());
        if plan.is_empty() {
            return None;
        }
        self.last_sent = number;
        self.in_flight = Some(InFlight::Plan { undo, protected, removed: plan.remove.len() });
        Some(plan)
    }

    fn send_full(&mut self, rules: &mut RuleTable, target: Target<'_>) -> Ruleset {
        let number = self.last_sent.wrapping_add(1);
        let (monitor, paused) = (self.monitor, self.paused);
        for entry in rules.values_mut() {
            entry.installation.retry();
            let desired = entry.desired(monitor).filter(|_| !paused);
            entry.send(desired, number);
        }
        self.last_sent = number;
        self.needs_full = false;
        self.protected_sent = target.protected.clone();
        self.in_flight = Some(InFlight::Full);
        self.desired_state(rules, target)
    }

    /// All that is to be in force as of the last decisions.
    pub(crate) fn desired_state(&self, rules: &RuleTable, target: Target<'_>) -> Ruleset {
        if self.paused {
            return Ruleset::default();
        }
        let rules = rules.iter().filter_map(|(key, entry)| {
            let desired = entry.desired(self.monitor)?;
            let nlri = key.nlri()?;
            let entries = compile_entries(nlri, &desired, target.capabilities)?;
            Some(compiled(nlri, &desired, entries))
        });
        Ruleset { protected: target.protected.clone(), rules: rules.collect() }
    }

    /// The transaction in flight is applied, except for some rules.
    pub(crate) fn applied(&mut self, rules: &mut RuleTable, applied: &Applied) {
        let Some(in_flight) = self.in_flight.take() else { return };
        self.last_applied = self.last_sent;
        self.error = None;
        let (installed, removed): (Vec<RuleKey>, usize) = match in_flight {
            InFlight::Full => (self.failed.iter().cloned().collect(), 0),
            InFlight::Plan { .. } if self.failed.is_empty() => (Vec::new(), 0),
            InFlight::Plan { undo, removed, .. } => (undo.into_iter().map(|(key, _)| key).collect(), removed),
        };
        for key in installed {
            if self.failed.remove(&key)
                && let Some(entry) = rules.get_mut(&key)
            {
                entry.installation.clear_failures();
                rules.touch(&key);
            }
        }
        if removed > 0 {
            self.retry_over_capacity(rules, removed);
        }
        for (nlri, failure) in &applied.failures {
            let key = RuleKey::new(nlri.clone());
            if let Some(entry) = rules.get_mut(&key) {
                let Some(Enforcement { route, .. }) = entry.installation.take_in_force() else { continue };
                entry.installation.fail(route, failure.clone());
                rules.touch(&key);
                self.failed.insert(key);
            }
        }
    }

    /// The transaction in flight could not be applied at all: the previous state is still in force.
    pub(crate) fn apply_failed(&mut self, rules: &mut RuleTable, target: Target<'_>, message: &str) {
        let Some(in_flight) = self.in_flight.take() else { return };
        self.error = Some(message.to_owned());
        let undo = match in_flight {
            InFlight::Full => {
                self.needs_full = true;
                return;
            }
            InFlight::Plan { undo, protected, .. } => {
                self.protected_sent = protected;
                // The protected packets may be the only change.
                self.needs_full |= self.protected_sent != *target.protected;
                undo
            }
        };
        for (key, before) in undo {
            let (entry, dirty) = rules.entry(&key);
            entry.installation.restore(before);
            dirty.mark(&key, entry);
        }
    }

    /// The rules that the data plane could not install are tried again with the next transaction.
    pub(crate) fn retry(&self, rules: &mut RuleTable) {
        self.failed.iter().for_each(|key| retry_rule(rules, key));
    }

    /// Entries became free: as many rules that were over capacity are retried, in order.
    fn retry_over_capacity(&self, rules: &mut RuleTable, most: usize) {
        let over_capacity =
            |key: &&RuleKey| matches!(rules.get(key).and_then(failure), Some(RuleFailure::OverCapacity(_)));
        let keys: Vec<_> = self.failed.iter().filter(over_capacity).take(most).collect();
        keys.into_iter().for_each(|key| retry_rule(rules, key));
    }

    /// Whether the data plane has confirmed the rule in its desired form.
    pub(crate) fn is_confirmed(&self, entry: &RuleEntry) -> bool {
        let same = match (&entry.desired(self.monitor), entry.installation.in_force()) {
            (Some(desired), Some(in_force)) => desired.is_equivalent(in_force),
            _ => false,
        };
        // Numbers wrap: a transaction is confirmed if it is not ahead of the last one that was
        // applied.
        same && self.last_applied.wrapping_sub(entry.sent_in_change()) as i32 >= 0
    }
}

/// Why the data plane could not install the rule by its selected route.
pub(crate) fn failure(entry: &RuleEntry) -> Option<&RuleFailure> {
    let selected = entry.selection.selected_route().filter(|_| entry.installation.has_failed())?;
    entry.installation.failure(selected)
}

fn retry_rule(rules: &mut RuleTable, key: &RuleKey) {
    if let Some(entry) = rules.get_mut(key) {
        entry.retry();
    }
    rules.touch(key);
}

/// The entries of a rule that was found to have some.
fn compile_entries(nlri: &Nlri, desired: &Enforcement, capabilities: &Capabilities) -> Option<Vec<Space>> {
    let effect = compile::enforced(desired.route.effect());
    compile::entries(nlri, Space::of(nlri), &effect, capabilities).ok()
}

fn compiled(nlri: &Arc<Nlri>, desired: &Enforcement, entries: Vec<Space>) -> Arc<CompiledRule> {
    Arc::new(CompiledRule { nlri: nlri.clone(), id: nlri.id(), effect: desired.effect(), entries })
}
