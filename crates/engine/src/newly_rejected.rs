//! Rules that the latest decisions rejected, for the log.

use crate::key::RuleKey;
use crate::rule_decision::RuleDecision;
use flowspec::Nlri;
use std::sync::Arc;

/// Most rules that are listed between two calls; further ones are only counted.
const LISTED: usize = 64;

/// The rejections since the last call.
#[derive(Debug, Default)]
pub struct NewlyRejected {
    /// Rules that were rejected, or are rejected for another reason; at most some dozens.
    pub rules: Vec<Arc<Nlri>>,
    /// How many more there are.
    pub more: u64,
}

impl NewlyRejected {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Records a rule whose decision was `before` and is `now`.
    pub(crate) fn note(&mut self, key: &RuleKey, before: &RuleDecision, now: &RuleDecision) {
        let same = match (before, now) {
            (_, RuleDecision::Undecided | RuleDecision::Enforce { .. }) => true,
            (RuleDecision::Refused { route, .. }, RuleDecision::Refused { route: again, .. }) => {
                Arc::ptr_eq(route, again)
            }
            (RuleDecision::RejectedByPolicy(before), RuleDecision::RejectedByPolicy(now)) => before == now,
            (RuleDecision::Infeasible(before), RuleDecision::Infeasible(now)) => before == now,
            _ => false,
        };
        if !same {
            self.add(key);
        }
    }

    /// Records a rule that is blocked by an earlier one.
    pub(crate) fn add(&mut self, key: &RuleKey) {
        match key.nlri() {
            Some(nlri) if self.rules.len() < LISTED => self.rules.push(Arc::clone(nlri)),
            Some(_) => self.more += 1,
            None => {}
        }
    }
}
