//! Rules by state and stale rules by peer. Few rules are counted on request; many in small steps,
//! so that decisions never wait for a reader; the numbers may then be slightly old.

use super::traffic::{Kind, kind};
use crate::convert;
use api::{OrUnknown, RuleState};
use engine::{Engine, PeerId};
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most rules that are counted on request.
pub(super) const MAX_COUNTED_AT_ONCE: usize = 20_000;

/// Duration of one step.
const STEP: Duration = Duration::from_millis(2);

/// Shortest pause between two counts. It is longer if counting takes long, so that counting uses a
/// tenth of the time.
const PAUSE: Duration = Duration::from_millis(250);

/// The result of a count.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    states: BTreeMap<OrUnknown<RuleState>, u64>,
    stale: HashMap<PeerId, u64>,
    in_force: BTreeMap<Kind, u64>,
}

impl Counted {
    /// Rules by state.
    pub(super) const fn states(&self) -> &BTreeMap<OrUnknown<RuleState>, u64> {
        &self.states
    }

    /// The stale rules of a peer.
    pub(super) fn stale(&self, peer: PeerId) -> u64 {
        self.stale.get(&peer).copied().unwrap_or(0)
    }

    /// Rules in force by kind.
    pub(super) const fn in_force(&self) -> &BTreeMap<Kind, u64> {
        &self.in_force
    }

    fn add(&mut self, rule: &engine::RuleRef<'_>) {
        if let Some(kind) = kind(rule) {
            *self.in_force.entry(kind).or_default() += 1;
        }
        *self.states.entry(convert::rule_state(&rule.state()).into()).or_default() += 1;
        for peer in rule.stale_peers() {
            *self.stale.entry(peer).or_default() += 1;
        }
    }

    /// Counts all rules at once.
    fn all(engine: &Engine) -> Self {
        let mut counted = Counted::default();
        engine.rules().for_each(|rule| counted.add(&rule));
        counted
    }
}

/// A count in progress, and the last result.
#[derive(Debug)]
pub(super) struct Tally {
    last: Counted,
    /// Something changed since the start of the count in progress or of the last one.
    changed: bool,
    /// Something changed since the status was last published.
    unshown: bool,
    running: Option<Running>,
    next: Instant,
}

#[derive(Debug, Default)]
struct Running {
    counted: Counted,
    after: Option<Arc<Nlri>>,
    spent: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { last: Counted::default(), changed: true, unshown: true, running: None, next: Instant::now() }
    }
}

impl Tally {
    /// Rules may have changed.
    pub(super) fn changed(&mut self) {
        (self.changed, self.unshown) = (true, true);
    }

    /// Whether there is something new to publish.
    pub(super) const fn is_unshown(&self) -> bool {
        self.unshown
    }

    /// There is something new to show beside the count.
    pub(super) fn to_be_shown(&mut self) {
        self.unshown = true;
    }

    /// It is published.
    pub(super) fn shown(&mut self) {
        self.unshown = false;
    }

    /// When to continue.
    pub(super) fn deadline(&self, engine: &Engine) -> Option<Instant> {
        (engine.rule_count() > MAX_COUNTED_AT_ONCE && (self.running.is_some() || self.changed)).then_some(self.next)
    }

    /// Continues, if it is due.
    pub(super) fn step(&mut self, engine: &Engine) {
        let began = Instant::now();
        if self.deadline(engine).is_none_or(|next| next > began) {
            return;
        }
        let mut running = self.running.take().unwrap_or_else(|| {
            self.changed = false;
            Running::default()
        });
        let after = running.after.take();
        for (index, rule) in engine.rules_after(after.as_ref()).enumerate() {
            running.counted.add(&rule);
            if index % 128 == 127 && began.elapsed() >= STEP {
                running.spent += began.elapsed();
                running.after = Some(Arc::clone(rule.nlri()));
                self.running = Some(running);
                return;
            }
        }
        running.spent += began.elapsed();
        self.last = running.counted;
        self.unshown = true;
        self.next = Instant::now() + PAUSE.max(running.spent * 10);
    }

    /// Rules by state and stale rules by peer.
    pub(super) fn counted(&self, engine: &Engine) -> Counted {
        if engine.rule_count() <= MAX_COUNTED_AT_ONCE { Counted::all(engine) } else { self.last.clone() }
    }
}
