//! Rules that could not be put in force, and later rules that must not be in force because of that.
//!
//! The receiver of a failure decides what it means for later changes: a rule that failed may be
//! withdrawn without a removal, and a rule that waits for it is not applied again while it is
//! wanted. So exceptions count only within the change in which they fail.

use crate::{Applied, RuleFailure};
use engine::plan::CompiledRule;
use engine::precedence::Exceptions;
use flowspec::Nlri;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules that this change could not put in force, and why. Failures of earlier changes are
/// known to their receiver: here they would pile up, since rules that are not in force are
/// withdrawn without a removal.
#[derive(Debug, Default)]
pub(crate) struct Unenforced {
    rules: BTreeMap<Arc<Nlri>, RuleFailure>,
    /// Those of this change that exempt packets from later rules.
    exceptions: Exceptions,
    /// One of those was added since [`Unenforced::newly_blocked`] was called.
    has_new_exception: bool,
}

impl Unenforced {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A change begins.
    pub(crate) fn begin_change(&mut self) {
        self.rules.clear();
        self.exceptions = Exceptions::default();
        self.has_new_exception = false;
    }

    /// A wanted rule is not in force.
    pub(crate) fn insert(&mut self, rule: &Arc<CompiledRule>, failure: RuleFailure) {
        self.has_new_exception |= self.exceptions.insert(&rule.nlri, &rule.effect);
        self.rules.insert(rule.nlri.clone(), failure);
    }

    /// The rule with this key is in force, or no longer wanted.
    pub(crate) fn forget(&mut self, nlri: &Arc<Nlri>) {
        if self.rules.remove(nlri).is_some() {
            self.exceptions.forget(nlri);
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<Nlri>> {
        self.rules.keys()
    }

    /// Why this rule must not be in force: it would act on packets that an earlier rule, which is
    /// not in force, exempts.
    pub(crate) fn blocks(&self, rule: &CompiledRule) -> Option<RuleFailure> {
        let by = self.exceptions.blocking_rule(&rule.nlri, &rule.effect)?;
        let words = format!("the earlier rule {}, which exempts some of its packets, is not in force", by.id());
        Some(match self.rules.get(by) {
            Some(RuleFailure::Failed(_)) => RuleFailure::Failed(words),
            Some(RuleFailure::OverCapacity(_)) | None => RuleFailure::OverCapacity(words),
        })
    }

    /// The rules in force that must not be any more, and why: since the last call, rules that
    /// exempt packets from them failed. Call it again after these were
    /// [inserted](Unenforced::insert), until there are none: one of them may be an exempting rule
    /// itself.
    pub(crate) fn newly_blocked<'a>(
        &mut self,
        in_force: impl IntoIterator<Item = &'a Arc<CompiledRule>>,
    ) -> Vec<(Arc<CompiledRule>, RuleFailure)> {
        if !std::mem::take(&mut self.has_new_exception) {
            return Vec::new();
        }
        in_force.into_iter().filter_map(|rule| Some((rule.clone(), self.blocks(rule)?))).collect()
    }

    /// The result for the caller of the change.
    pub(crate) fn applied(&self) -> Applied {
        Applied { failures: self.rules.iter().map(|(nlri, failure)| (nlri.clone(), failure.clone())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::rule;

    #[test]
    fn a_rule_without_its_exception_may_not_be_in_force() {
        for (missing, later, is_blocked) in [
            ("dst 192.0.2.1/32 then accept", "dst 192.0.2.0/24 then discard", true),
            // A limit passes some of them.
            ("dst 192.0.2.1/32 then rate 1mbps", "dst 192.0.2.0/24 then discard", true),
            ("dst 192.0.2.1/32 then accept", "dst 192.0.2.0/24 then rate 1mbps", true),
            ("dst 192.0.2.1/32 then accept", "dst 192.0.2.0/24 then mark 46", true),
            // The packets would be dropped anyway.
            ("dst 192.0.2.1/32 then discard", "dst 192.0.2.0/24 then discard", false),
            // The evaluation would have continued.
            ("dst 192.0.2.1/32 then mark 46 continue", "dst 192.0.2.0/24 then discard", false),
            // Nothing happens to the packets.
            ("dst 192.0.2.1/32 then accept", "dst 192.0.2.0/24 then sample", false),
            ("dst 192.0.2.1/32 then accept", "dst 192.0.2.0/24 then accept", false),
            // Other packets; and an earlier rule.
            ("dst 192.0.2.1/32 proto udp then accept", "dst 192.0.2.0/24 proto tcp then discard", false),
            ("dst 192.0.2.0/24 then accept", "dst 192.0.2.1/32 then discard", false),
            ("dst 192.0.2.1/32 then accept", "ipv6 dst 2001:db8::/32 then discard", false),
        ] {
            let mut unenforced = Unenforced::default();
            unenforced.insert(&rule(missing), RuleFailure::OverCapacity("full".to_owned()));
            let blocked = unenforced.blocks(&rule(later));
            assert_eq!(blocked.is_some(), is_blocked, "{missing}; {later}");
            assert!(!matches!(blocked, Some(RuleFailure::Failed(_))));
            unenforced.forget(&rule(missing).nlri);
            assert_eq!(unenforced.blocks(&rule(later)), None);
            unenforced.insert(&rule(missing), RuleFailure::OverCapacity("full".to_owned()));
            unenforced.begin_change();
            assert_eq!(unenforced.blocks(&rule(later)), None, "of an earlier change");
            assert!(unenforced.applied().failures.is_empty(), "was told");
        }
    }

    #[test]
    fn what_is_blocked_blocks_others() {
        let in_force = [
            rule("dst 192.0.2.0/31 then rate 1mbps"),
            rule("dst 192.0.2.0/24 then discard"),
            rule("dst 198.51.100.0/24 then discard"),
        ];
        let mut unenforced = Unenforced::default();
        assert_eq!(unenforced.newly_blocked(&in_force), []);
        unenforced.insert(&rule("dst 192.0.2.1/32 proto udp then accept"), RuleFailure::Failed("no".to_owned()));
        let mut there = in_force.to_vec();
        loop {
            let blocked = unenforced.newly_blocked(&there);
            if blocked.is_empty() {
                break;
            }
            for (rule, failure) in blocked {
                there.retain(|other| *other != rule);
                unenforced.insert(&rule, failure);
            }
        }
        assert_eq!(there, in_force[2..]);
        assert_eq!(unenforced.applied().failures.len(), 3);
        assert!(unenforced.applied().failures.iter().all(|(_, failure)| matches!(failure, RuleFailure::Failed(_))));
    }
}
