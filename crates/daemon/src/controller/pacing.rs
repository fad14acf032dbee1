//! Decides when a change may be sent to the data plane: one at a time, gathered for a while, and
//! after a failure not before a pause is over.

use std::time::{Duration, Instant};

/// Wait after a first failure; doubled after each further one.
const RETRY: Duration = Duration::from_millis(250);

/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The state that decides when the next change is sent. At most one change is in progress; none is
/// sent between a failure and the end of the pause after it; none at all once the data plane has
/// been told to stop.
#[derive(Debug)]
pub(super) struct Pacing {
    phase: Phase,
    /// How long changes are gathered.
    debounce: Duration,
    gather_until: Option<Instant>,
    retry_at: Option<Instant>,
    /// When to retry rules that the data plane could not apply.
    failures_due_at: Option<Instant>,
    /// Changes that failed in a row.
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Running,
    Stopping,
}

impl Pacing {
    /// No change is in progress; changes are gathered for this long.
    pub(super) const fn new(debounce: Duration) -> Self {
        let (gather_until, retry_at, failures_due_at) = (None, None, None);
        Pacing { phase: Phase::Idle, debounce, gather_until, retry_at, failures_due_at, attempts: 0 }
    }

    /// How long changes are gathered, from the next one on.
    pub(super) const fn set_debounce(&mut self, debounce: Duration) {
        self.debounce = debounce;
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.gather_until, self.retry_at].into_iter().flatten().min()
    }

    /// Whether a change can be sent now: none is in progress, and the pause after a failure is
    /// over.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        if self.phase != Phase::Idle || self.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        self.retry_at = None;
        true
    }

    /// Whether to retry now the rules that the data plane could not apply.
    pub(super) fn is_retry_of_rules_due(&mut self, has_failures: bool, now: Instant) -> bool {
        if !has_failures {
            self.failures_due_at = None;
            return false;
        }
        let due = *self.failures_due_at.get_or_insert(now + RETRY_MAX) <= now;
        if due {
            self.failures_due_at = Some(now + RETRY_MAX);
        }
        due
    }

    /// Whether the pending changes were gathered for long enough.
    pub(super) fn is_change_due(&mut self, has_changes: bool, now: Instant) -> bool {
        if !has_changes {
            self.gather_until = None;
            return false;
        }
        let due = *self.gather_until.get_or_insert(now + self.debounce) <= now;
        if due {
            self.gather_until = None;
        }
        due
    }

    /// A change is sent.
    pub(super) const fn started(&mut self) {
        self.phase = Phase::Running;
    }

    /// The change is in force.
    pub(super) fn succeeded(&mut self) {
        self.attempts = 0;
        self.retry_at = None;
        self.idle();
    }

    /// The change failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = RETRY.saturating_mul(1 << self.attempts.min(16)).min(RETRY_MAX);
        self.attempts += 1;
        self.retry_at = Some(now + wait);
        self.idle();
    }

    /// Another data plane is in use: it does not have to wait because the former one failed.
    pub(super) const fn exchanged(&mut self) {
        self.retry_at = None;
    }

    /// The change is no longer in progress, whatever its outcome.
    pub(super) fn idle(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Idle;
        }
    }

    /// The last order is sent.
    pub(super) const fn stop(&mut self) {
        self.phase = Phase::Stopping;
    }

    /// Whether a change is in progress.
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether no change is in progress and the data plane has not been told to stop.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// No change is in progress, and no retry is pending.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Idle && self.retry_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_at_a_time() {
        let (mut pacing, now) = (Pacing::new(Duration::ZERO), Instant::now());
        assert!(pacing.is_ready(now) && pacing.is_change_due(true, now));
        pacing.started();
        assert!(!pacing.is_ready(now) && pacing.is_running() && !pacing.is_settled());
        pacing.succeeded();
        assert!(pacing.is_ready(now) && pacing.is_settled());
        pacing.stop();
        pacing.idle();
        assert!(!pacing.is_ready(now + RETRY_MAX), "nothing is sent after the last order");
    }

    #[test]
    fn changes_are_gathered_from_the_first_one_on() {
        let gather = Duration::from_secs(2);
        let (mut pacing, start) = (Pacing::new(gather), Instant::now());
        assert!(!pacing.is_change_due(true, start));
        assert_eq!(pacing.deadline(), Some(start + gather));
        // Further changes do not postpone it.
        assert!(!pacing.is_change_due(true, start + gather / 2));
        assert!(pacing.is_change_due(true, start + gather));
        assert_eq!(pacing.deadline(), None);
        // A change that is reverted needs no gathering, and the next change begins anew.
        assert!(!pacing.is_change_due(true, start + gather));
        assert!(!pacing.is_change_due(false, start + gather));
        assert!(!pacing.is_change_due(true, start + 2 * gather));
    }

    #[test]
    fn the_pauses_grow_to_a_limit_and_end_with_a_success() {
        let (mut pacing, mut now) = (Pacing::new(Duration::ZERO), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            assert!(pacing.is_ready(now));
            pacing.started();
            pacing.failed(now);
            assert!(!pacing.is_ready(now) && !pacing.is_settled());
            let at = pacing.deadline().unwrap();
            pauses.push(at - now);
            now = at;
        }
        assert_eq!(pauses[..3], [RETRY, 2 * RETRY, 4 * RETRY]);
        assert!(pauses.is_sorted() && pauses[39] == RETRY_MAX);
        assert!(pacing.is_ready(now));
        pacing.started();
        pacing.succeeded();
        pacing.failed(now);
        assert_eq!(pacing.deadline(), Some(now + RETRY));
        pacing.exchanged();
        assert!(pacing.is_ready(now), "another data plane does not wait");
    }

    #[test]
    fn rules_that_failed_are_tried_again_from_time_to_time() {
        let (mut pacing, start) = (Pacing::new(Duration::ZERO), Instant::now());
        assert!(!pacing.is_retry_of_rules_due(true, start));
        assert!(!pacing.is_retry_of_rules_due(true, start + RETRY_MAX / 2));
        assert!(pacing.is_retry_of_rules_due(true, start + RETRY_MAX));
        assert!(!pacing.is_retry_of_rules_due(true, start + RETRY_MAX));
        // Without failures the pause starts from its minimum again.
        assert!(!pacing.is_retry_of_rules_due(false, start + RETRY_MAX));
        assert!(!pacing.is_retry_of_rules_due(true, start + 2 * RETRY_MAX));
    }
}
