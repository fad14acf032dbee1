//! What is handed to the data plane, one change at a time, and what comes back.

use super::Engine;
use crate::capability::Capabilities;
use crate::compile;
use crate::key::RuleKey;
use crate::plan::{Applied, CompiledRule, Plan, RuleFailure, Ruleset};
use crate::table::{self, InForce};
use flowspec::{Nlri, Space};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A change for the data plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Transaction {
    /// Put exactly this in force.
    Full(Ruleset),
    /// Apply this difference.
    Plan(Plan),
}

/// How far the data plane has followed.
#[derive(Debug)]
pub(super) struct Progress {
    /// Number of the last change taken.
    taken: u32,
    /// Number of the last change that is applied.
    pub(super) confirmed: u32,
    in_flight: Option<InFlight>,
    needs_full: bool,
    /// The protected packets that the data plane was told last.
    protected: Arc<Vec<Space>>,
    /// Why the last change could not be applied.
    pub(super) broken: Option<String>,
    troubled: BTreeSet<RuleKey>,
}

#[derive(Debug)]
enum InFlight {
    Full,
    Plan {
        /// What was in force before, for each rule of the plan.
        undo: Vec<(RuleKey, Option<InForce>)>,
        protected: Arc<Vec<Space>>,
        /// Rules that were taken out.
        removed: usize,
    },
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            taken: 0,
            confirmed: 0,
            in_flight: None,
            needs_full: true,
            protected: Arc::default(),
            broken: None,
            troubled: BTreeSet::new(),
        }
    }
}

impl Engine {
    /// The next change for the data plane. None while nothing is to be done, and until the last one is [applied](Self::applied) or
    /// [failed](Self::apply_failed).
    pub fn next_transaction(&mut self) -> Option<Transaction> {
        if self.change.in_flight.is_some() {
            return None;
        }
        if self.change.needs_full {
            // All is put in force anew, so that where another path stands in the better one may be tried.
            self.table.touch_where(|_, record| {
                let stood_in = record.trouble.is_some() && record.trouble().is_none();
                if stood_in {
                    record.trouble = None;
                }
                stood_in
            });
        }
        let decided = self.decide();
        let rules = &self.table.rules;
        self.change.troubled.retain(|key| rules.get(key).is_some_and(|record| record.trouble().is_some()));
        if self.change.needs_full {
            return Some(Transaction::Full(self.take_full()));
        }
        if self.paused {
            return None;
        }
        let number = self.change.taken.wrapping_add(1);
        let mut plan = Plan::default();
        let mut undo = Vec::with_capacity(decided.rules.len());
        for (key, in_force) in decided.gone {
            if let (Some(nlri), Some(in_force)) = (key.nlri(), in_force) {
                plan.remove.push(nlri.clone());
                undo.push((key, Some(in_force)));
            }
        }
        let (capabilities, monitor) = (&self.capabilities, self.monitor);
        let (keys, entries): (Vec<_>, Vec<_>) = decided.rules.into_iter().unzip();
        let mut entries = keys.iter().zip(entries).peekable();
        table::visit(&mut self.table.rules, keys.iter(), |key, record| {
            while entries.next_if(|(decided, _)| *decided < key).is_some() {}
            let entries = entries.next_if(|(decided, _)| *decided == key).and_then(|(_, entries)| entries);
            let Some(nlri) = key.nlri() else { return };
            let want = record.want(monitor);
            match (&want, &record.in_force) {
                (None, None) => return,
                (Some(want), Some(have)) if want.same(have) => return,
                _ => {}
            }
            match &want {
                Some(want) => {
                    let Some(entries) = entries.or_else(|| entries_of(nlri, want, capabilities)) else { return };
                    plan.upsert.push(compiled(nlri, want, entries));
                }
                None => plan.remove.push(nlri.clone()),
            }
            let before = std::mem::replace(&mut record.in_force, want);
            record.told = number;
            undo.push((key.clone(), before));
        });
        let protected = std::mem::replace(&mut self.change.protected, self.protected.clone());
        plan.protected = (protected != self.protected).then(|| self.protected.clone());
        if plan.is_empty() {
            return None;
        }
        self.change.taken = number;
        self.change.in_flight = Some(InFlight::Plan { undo, protected, removed: plan.remove.len() });
        Some(Transaction::Plan(plan))
    }

    fn take_full(&mut self) -> Ruleset {
        let number = self.change.taken.wrapping_add(1);
        let (monitor, paused) = (self.monitor, self.paused);
        for record in self.table.rules.values_mut() {
            if let Some(trouble) = &mut record.trouble {
                trouble.retry = true;
            }
            record.in_force = record.want(monitor).filter(|_| !paused);
            record.told = number;
        }
        self.change.taken = number;
        self.change.needs_full = false;
        self.change.protected = self.protected.clone();
        self.change.in_flight = Some(InFlight::Full);
        self.full()
    }

    /// Whether there may be a change to take.
    pub fn has_pending_changes(&self) -> bool {
        let waiting = self.change.needs_full || self.table.is_dirty() || !self.unicast_changes.is_empty();
        waiting && self.change.in_flight.is_none()
    }

    /// The last change is applied, but for some rules.
    pub fn applied(&mut self, applied: &Applied) {
        let Some(in_flight) = self.change.in_flight.take() else { return };
        self.change.confirmed = self.change.taken;
        self.change.broken = None;
        let (cleared, removed): (Vec<RuleKey>, usize) = match in_flight {
            InFlight::Full => (self.change.troubled.iter().cloned().collect(), 0),
            InFlight::Plan { .. } if self.change.troubled.is_empty() => (Vec::new(), 0),
            InFlight::Plan { undo, removed, .. } => (undo.into_iter().map(|(key, _)| key).collect(), removed),
        };
        for key in cleared {
            if self.change.troubled.remove(&key)
                && let Some(record) = self.table.rules.get_mut(&key)
            {
                record.trouble = None;
                self.table.touch(&key);
            }
        }
        if removed > 0 {
            self.retry_over_capacity(removed);
        }
        for (nlri, failure) in &applied.failures {
            let key = RuleKey::new(nlri.clone());
            if let Some(record) = self.table.rules.get_mut(&key) {
                let Some(InForce { route, .. }) = record.in_force.take() else { continue };
                record.fail(route, failure.clone());
                self.table.touch(&key);
                self.change.troubled.insert(key);
            }
        }
    }

    /// The last change could not be applied at all; `words` say why. What was in force before still is. The next change will try
    /// again: it should not be taken at once.
    pub fn apply_failed(&mut self, words: &str) {
        let Some(in_flight) = self.change.in_flight.take() else { return };
        self.change.broken = Some(words.to_owned());
        let undo = match in_flight {
            InFlight::Full => {
                self.change.needs_full = true;
                return;
            }
            InFlight::Plan { undo, protected, .. } => {
                self.change.protected = protected;
                // The protected packets may be all that changed.
                self.change.needs_full |= self.change.protected != self.protected;
                undo
            }
        };
        for (key, before) in undo {
            let (record, dirty) = self.table.entry(&key);
            record.in_force = before;
            record.mark(&key, dirty);
        }
    }

    /// Tries again, with the next change, the rules that the data plane could not take.
    pub fn retry(&mut self) {
        for key in self.change.troubled.clone() {
            self.retry_rule(&key);
        }
    }

    /// Whether there are rules that the data plane could not take.
    pub fn has_failures(&self) -> bool {
        !self.change.troubled.is_empty()
    }

    /// The next change is a full load: for when the data plane lost what it had.
    pub fn reload(&mut self) {
        self.change.needs_full = true;
    }

    /// Room was made: as many rules that found none are tried again, the first in order first.
    fn retry_over_capacity(&mut self, most: usize) {
        let over_capacity = |key: &&RuleKey| {
            self.table
                .rules
                .get(key)
                .and_then(|record| record.trouble().and(record.wanted()).and_then(|route| record.failure(route)))
                .is_some_and(|failure| matches!(failure, RuleFailure::OverCapacity(_)))
        };
        let keys: Vec<_> = self.change.troubled.iter().filter(over_capacity).take(most).cloned().collect();
        keys.iter().for_each(|key| self.retry_rule(key));
    }

    fn retry_rule(&mut self, key: &RuleKey) {
        if let Some(record) = self.table.rules.get_mut(key) {
            record.retry();
        }
        self.table.touch(key);
    }
}

/// The entries of a rule that was found to have some.
pub(super) fn entries_of(nlri: &Nlri, want: &InForce, capabilities: &Capabilities) -> Option<Vec<Space>> {
    let effect = compile::enforced(want.route.effect());
    compile::entries(nlri, Space::of(nlri), &effect, capabilities).ok()
}

pub(super) fn compiled(nlri: &Arc<Nlri>, want: &InForce, entries: Vec<Space>) -> Arc<CompiledRule> {
    Arc::new(CompiledRule { nlri: nlri.clone(), id: nlri.id(), effect: want.effect(), entries })
}
