//! The published status, which can be read without waiting for the controller.

use super::tally::{Counted, Tally};
use crate::command::Overview;
use crate::http::PublishedOverview;
use engine::Engine;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Interval at which the status is published.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// With this many rules, decisions may take long.
const MANY_RULES: usize = 2_000;

/// Whether there are so many rules that decisions may take long.
pub(super) fn has_many_rules(engine: &Engine) -> bool {
    engine.rule_count() > MANY_RULES
}

/// The published status, and the counts that take long. It is renewed at most once in
/// [`PUBLISH_INTERVAL`], or when there are many rules for the first time, and only if something
/// changed.
pub(super) struct StatusBoard {
    shown: watch::Sender<PublishedOverview>,
    next_publish: Instant,
    tally: Tally,
}

impl StatusBoard {
    /// Nothing is published yet.
    pub(super) fn new(shown: watch::Sender<PublishedOverview>, now: Instant) -> Self {
        StatusBoard { shown, next_publish: now, tally: Tally::default() }
    }

    /// Rules may have changed.
    pub(super) fn changed(&mut self) {
        self.tally.changed();
    }

    /// Rules are as they were, and have counted more.
    pub(super) fn counters_changed(&mut self, changed: bool) {
        if changed {
            self.tally.mark_unshown();
        }
    }

    /// Whether to publish now. That there are many rules is published at once: requests then do not
    /// wait for an answer.
    pub(super) fn is_due(&self, now: Instant, engine: &Engine) -> bool {
        let became_many = || has_many_rules(engine) && self.shown.borrow().as_ref().is_none_or(|shown| !shown.many);
        self.tally.is_unshown() && (self.next_publish <= now || became_many())
    }

    /// Publishes this.
    pub(super) fn show(&mut self, overview: Overview, now: Instant) {
        self.next_publish = now + PUBLISH_INTERVAL;
        self.tally.shown();
        self.shown.send_replace(Some(Arc::new(overview)));
    }

    /// When to continue counting.
    pub(super) fn deadline(&self, engine: &Engine) -> Option<Instant> {
        self.tally.deadline(engine)
    }

    /// Continues counting, if it is due.
    pub(super) fn count(&mut self, engine: &Engine) {
        self.tally.step(engine);
    }

    /// Rules by state and stale rules by peer.
    pub(super) fn counted(&self, engine: &Engine) -> Counted {
        self.tally.counted(engine)
    }
}
