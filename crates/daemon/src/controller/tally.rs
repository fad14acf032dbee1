//! Rules by state and stale rules by peer. Few rules are counted on request; many in small steps,
//! so that decisions never wait for a reader; the numbers may then be slightly old, and come with
//! their age and with how many rules are not in them.

use super::traffic::{Kind, kind};
use crate::convert;
use api::{OrUnknown, RuleState};
use engine::{Engine, PeerId};
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most rules that are counted on request.
pub(crate) const MAX_COUNTED_AT_ONCE: usize = 20_000;

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
    by_peer: BTreeMap<(PeerId, RuleState), u64>,
    in_force: BTreeMap<Kind, u64>,
    uncounted: u64,
    ended: Option<Instant>,
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

    /// The rules of a peer by state.
    pub(super) fn states_of(&self, peer: PeerId) -> BTreeMap<OrUnknown<RuleState>, u64> {
        let of_peer = self.by_peer.range((peer, RuleState::Installed)..).take_while(|((other, _), _)| *other == peer);
        of_peer.map(|((_, state), count)| ((*state).into(), *count)).collect()
    }

    /// Rules in force by kind.
    pub(super) const fn in_force(&self) -> &BTreeMap<Kind, u64> {
        &self.in_force
    }

    /// About how many rules are not in it, because they came since or are still to be counted.
    pub(super) const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// When the count ended; `None` where it was made for who asks, or has not ended.
    pub(super) const fn ended(&self) -> Option<Instant> {
        self.ended
    }

    fn add(&mut self, rule: &engine::RuleRef<'_>) {
        if let Some(kind) = kind(rule) {
            *self.in_force.entry(kind).or_default() += 1;
        }
        let state = convert::rule_state(&rule.state());
        *self.states.entry(state.into()).or_default() += 1;
        for peer in rule.peers() {
            *self.by_peer.entry((peer, state)).or_default() += 1;
        }
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
    /// Since there are many rules.
    last: Option<Last>,
    /// Something changed since the start of the count in progress or of the last one.
    changed: bool,
    /// Something changed since the status was last published.
    unshown: bool,
    running: Option<Running>,
    next: Instant,
}

/// A count that has ended.
#[derive(Debug)]
struct Last {
    counted: Counted,
    /// How many rules there were at its end.
    rules: usize,
}

#[derive(Debug, Default)]
struct Running {
    counted: Counted,
    after: Option<Arc<Nlri>>,
    spent: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { last: None, changed: true, unshown: true, running: None, next: Instant::now() }
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
    pub(super) fn mark_unshown(&mut self) {
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
        if engine.rule_count() <= MAX_COUNTED_AT_ONCE {
            // Nobody is told of a count from before there were few.
            (self.last, self.running, self.changed) = (None, None, true);
            return;
        }
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
        let now = Instant::now();
        let counted = Counted { ended: Some(now), ..running.counted };
        self.last = Some(Last { counted, rules: engine.rule_count() });
        self.unshown = true;
        self.next = now + PAUSE.max(running.spent * 10);
    }

    /// Rules by state and stale rules by peer.
    pub(super) fn counted(&self, engine: &Engine) -> Counted {
        let rules = engine.rule_count();
        if rules <= MAX_COUNTED_AT_ONCE {
            return Counted::all(engine);
        }
        let (mut counted, seen) = match (&self.last, &self.running) {
            (Some(last), _) => (last.counted.clone(), last.rules as u64),
            (None, Some(running)) => (running.counted.clone(), running.counted.states.values().sum()),
            (None, None) => (Counted::default(), 0),
        };
        counted.uncounted = (rules as u64).saturating_sub(seen);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::capability::Capabilities;
    use engine::{EngineConfig, PeerConfig, Route, Timestamp};

    const PEER: PeerId = PeerId(1);

    fn nlri(number: usize) -> Arc<Nlri> {
        let text = format!("dst 10.{}.{}.{}/32 then discard", number >> 16, (number >> 8) & 255, number & 255);
        Arc::new(text.parse::<flowspec::Rule>().unwrap().nlri)
    }

    fn announce(engine: &mut Engine, numbers: std::ops::Range<usize>) {
        let route = Arc::new(Route::local(Vec::new()));
        for number in numbers {
            engine.announce(PEER, nlri(number), None, Arc::clone(&route), Timestamp(1), None);
        }
    }

    /// Counts to the end, and looks at each step whether each rule is either counted or said not to
    /// be.
    fn count(tally: &mut Tally, engine: &Engine) {
        for _ in 0..engine.rule_count() {
            let counted = tally.counted(engine);
            if counted.ended().is_some() {
                return;
            }
            let sum = counted.states().values().sum::<u64>() + counted.uncounted();
            assert_eq!(sum, engine.rule_count() as u64);
            // Behind an earlier count there is a pause.
            let next = tally.deadline(engine).expect("a count that has not ended");
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            tally.step(engine);
        }
        panic!("no end of the count");
    }

    #[test]
    fn rules_that_are_not_counted_yet_are_said_to_be_there() {
        let mut engine = Engine::new(EngineConfig {
            capabilities: Capabilities::everything("none"),
            protection: Default::default(),
            peers: [(PEER, PeerConfig::local())].into(),
            monitor: false,
        });
        let mut tally = Tally::default();
        announce(&mut engine, 0..MAX_COUNTED_AT_ONCE);
        let few = tally.counted(&engine);
        assert_eq!((few.states().values().sum(), few.uncounted(), few.ended()), (MAX_COUNTED_AT_ONCE as u64, 0, None));

        announce(&mut engine, MAX_COUNTED_AT_ONCE..MAX_COUNTED_AT_ONCE + 10);
        assert_eq!(tally.counted(&engine).uncounted(), MAX_COUNTED_AT_ONCE as u64 + 10);
        count(&mut tally, &engine);
        let many = tally.counted(&engine);
        assert_eq!((many.states().values().sum::<u64>(), many.uncounted()), (MAX_COUNTED_AT_ONCE as u64 + 10, 0));

        announce(&mut engine, MAX_COUNTED_AT_ONCE + 10..MAX_COUNTED_AT_ONCE + 15);
        assert_eq!(tally.counted(&engine).uncounted(), 5);
        assert_eq!(tally.counted(&engine).ended(), many.ended(), "the age is that of the count");

        // Few, and then many again: the old count says nothing of these.
        for number in 0..MAX_COUNTED_AT_ONCE {
            engine.withdraw(PEER, nlri(number), None);
        }
        while engine.next_transaction().is_some() {
            engine.applied(&engine::plan::Applied::default());
        }
        tally.step(&engine);
        announce(&mut engine, 0..MAX_COUNTED_AT_ONCE);
        let again = tally.counted(&engine);
        assert_eq!(
            (again.states().is_empty(), again.uncounted(), again.ended()),
            (true, MAX_COUNTED_AT_ONCE as u64 + 15, None)
        );
        count(&mut tally, &engine);
    }
}
