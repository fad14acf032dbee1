//! When the kernel's rules are looked at: that takes a listing of all, so it is not done each time.

use super::store;
use crate::DataplaneError;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often they are looked at; our file is looked at each time.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long they are looked at each time after somebody else's policy file has changed.
const WATCH_AFTER_FOREIGN_CHANGE: Duration = Duration::from_secs(30);

/// When they were looked at, and why they are to be before their time: a run failed since, or somebody else's policy file changed.
#[derive(Debug)]
pub(super) struct KernelCheck {
    checked_at: Instant,
    /// A run has failed since the kernel's rules were looked at: whether all was rolled back is not known.
    rollback_unverified: bool,
    /// What the policy files of others were last.
    others: Option<store::Stamp>,
    /// A change of theirs is minded until then.
    watch_until: Instant,
}

impl KernelCheck {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        KernelCheck { checked_at: now, rollback_unverified: false, others: None, watch_until: now }
    }

    /// A run has installed all.
    pub(super) fn installed(&mut self) {
        self.checked_at = Instant::now();
    }

    /// A run has failed.
    pub(super) const fn run_failed(&mut self) {
        self.rollback_unverified = true;
    }

    /// They are being looked at.
    pub(super) fn begun(&mut self) {
        self.checked_at = Instant::now();
    }

    /// What they are is known.
    pub(super) const fn passed(&mut self) {
        self.rollback_unverified = false;
    }

    /// Whether they are to be looked at now; `directory` has the policy files.
    pub(super) fn is_due(&mut self, directory: &Path) -> Result<bool, DataplaneError> {
        let stamp = store::stamp_foreign_files(directory)?;
        let now = Instant::now();
        if self.others.as_ref().is_some_and(|known| *known != stamp) {
            // Whoever changed it has it installed now, maybe with a file of ours that it read a while ago.
            self.watch_until = now + WATCH_AFTER_FOREIGN_CHANGE;
        }
        self.others = Some(stamp);
        Ok(self.rollback_unverified || self.watch_until > now || self.checked_at.elapsed() >= INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_and_a_foreign_change_are_looked_after() {
        let directory = tempfile::tempdir().unwrap();
        let mut check = KernelCheck::new();
        assert!(!check.is_due(directory.path()).unwrap());
        check.run_failed();
        assert!(check.is_due(directory.path()).unwrap());
        // Until it is known what was left.
        check.begun();
        assert!(check.is_due(directory.path()).unwrap());
        check.passed();
        assert!(!check.is_due(directory.path()).unwrap());
        std::fs::write(directory.path().join("50other.rules"), "[iptables]\n").unwrap();
        assert!(check.is_due(directory.path()).unwrap());
        assert!(check.is_due(directory.path()).unwrap(), "for a while");
        check.checked_at -= INTERVAL;
        check.watch_until = check.checked_at;
        assert!(check.is_due(directory.path()).unwrap(), "and from time to time anyway");
    }
}
