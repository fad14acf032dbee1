//! Schedules checks of the kernel's rules: they need a listing of all rules, so they are not done
//! each time.

use super::store;
use crate::DataplaneError;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often they are checked; our file is checked each time.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long they are checked each time after a policy file of another program has changed.
const WATCH_AFTER_FOREIGN_CHANGE: Duration = Duration::from_secs(30);

/// When they were last checked, and reasons to check early: a run failed since, or another
/// program's policy file changed.
#[derive(Debug)]
pub(super) struct KernelCheck {
    checked_at: Instant,
    /// A run has failed since the last check: it is not known whether everything was rolled back.
    rollback_unverified: bool,
    /// The policy files of other programs at the last check.
    others: Option<store::Stamp>,
    /// Until then a change of theirs causes checks.
    watch_until: Instant,
}

impl KernelCheck {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        KernelCheck { checked_at: now, rollback_unverified: false, others: None, watch_until: now }
    }

    /// A run has installed everything.
    pub(super) fn installed(&mut self) {
        self.checked_at = Instant::now();
    }

    /// A run has failed.
    pub(super) const fn run_failed(&mut self) {
        self.rollback_unverified = true;
    }

    /// A check begins.
    pub(super) fn check_started(&mut self) {
        self.checked_at = Instant::now();
    }

    /// The check is complete.
    pub(super) const fn passed(&mut self) {
        self.rollback_unverified = false;
    }

    /// Whether to check now; `directory` has the policy files.
    pub(super) fn is_due(&mut self, directory: &Path) -> Result<bool, DataplaneError> {
        let stamp = store::stamp_foreign_files(directory)?;
        let now = Instant::now();
        if self.others.as_ref().is_some_and(|known| *known != stamp) {
            // The program that changed it installs it now, perhaps with a copy of our file that it
            // read some time ago.
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
    fn a_failed_run_and_a_foreign_change_are_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let mut check = KernelCheck::new();
        assert!(!check.is_due(directory.path()).unwrap());
        check.run_failed();
        assert!(check.is_due(directory.path()).unwrap());
        // Until it is known what is in force.
        check.check_started();
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
