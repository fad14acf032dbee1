//! How things are, shown without being asked to those who do not wait for an answer.

use super::tally::{Counted, Tally};
use crate::command::Overview;
use crate::http::Shown;
use engine::Engine;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often what is shown is renewed.
const SHOW: Duration = Duration::from_millis(100);

/// From so many rules on, decisions may take a while.
const MANY: usize = 2_000;

/// Whether there are so many rules that decisions may take a while.
pub(super) fn has_many_rules(engine: &Engine) -> bool {
    engine.rule_count() > MANY
}

/// What is shown, and the numbers that it takes long to count. It is renewed at most once in [`SHOW`], or when there
/// are many rules for the first time, and only if something changed.
pub(super) struct StatusBoard {
    shown: watch::Sender<Shown>,
    next_show: Instant,
    tally: Tally,
}

impl StatusBoard {
    /// Nothing is shown yet.
    pub(super) fn new(shown: watch::Sender<Shown>, now: Instant) -> Self {
        StatusBoard { shown, next_show: now, tally: Tally::default() }
    }

    /// Rules may have changed.
    pub(super) fn changed(&mut self) {
        self.tally.changed();
    }

    /// Whether it is time to show something new. That there are many rules is shown at once: those who ask then do not wait for an answer.
    pub(super) fn is_due(&self, now: Instant, engine: &Engine) -> bool {
        let became_many = || has_many_rules(engine) && self.shown.borrow().as_ref().is_none_or(|shown| !shown.many);
        self.tally.is_unshown() && (self.next_show <= now || became_many())
    }

    /// Shows this.
    pub(super) fn show(&mut self, overview: Overview, now: Instant) {
        self.next_show = now + SHOW;
        self.tally.shown();
        self.shown.send_replace(Some(Arc::new(overview)));
    }

    /// When to go on counting.
    pub(super) fn deadline(&self, engine: &Engine) -> Option<Instant> {
        self.tally.deadline(engine)
    }

    /// Goes on counting, if it is time.
    pub(super) fn count(&mut self, engine: &Engine) {
        self.tally.step(engine);
    }

    /// Rules by state and stale rules by peer.
    pub(super) fn counted(&self, engine: &Engine) -> Counted {
        self.tally.counted(engine)
    }
}
