//! Rules that decisions have just left out: who announced one is to learn of it without asking.

use crate::key::RuleKey;
use crate::table::Base;
use flowspec::Nlri;
use std::sync::Arc;

/// Most rules that are listed by name between two looks; of more there is the number.
const LISTED: usize = 64;

/// Since the last look.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Rules that were left out, or are left out for another reason; at most some dozens.
    pub rules: Vec<Arc<Nlri>>,
    /// How many more there are.
    pub more: u64,
}

impl Rejected {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Notes a rule whose decision was `before` and is `now`.
    pub(super) fn note(&mut self, key: &RuleKey, before: &Base, now: &Base) {
        let same = match (before, now) {
            (_, Base::Undecided | Base::Wanted { .. }) => true,
            (Base::Refused { route, .. }, Base::Refused { route: again, .. }) => Arc::ptr_eq(route, again),
            (Base::PolicyRejection(before), Base::PolicyRejection(now)) => before == now,
            (Base::Infeasible(before), Base::Infeasible(now)) => before == now,
            _ => false,
        };
        if !same {
            self.add(key);
        }
    }

    /// Notes a rule that is left out for the sake of an earlier one.
    pub(super) fn add(&mut self, key: &RuleKey) {
        match key.nlri() {
            Some(nlri) if self.rules.len() < LISTED => self.rules.push(Arc::clone(nlri)),
            Some(_) => self.more += 1,
            None => {}
        }
    }
}
