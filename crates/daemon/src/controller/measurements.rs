//! What the data plane was last seen to hold and to have counted, and when it is looked at again.

use crate::apply::{Counters, Order};
use dataplane::{Condition, Counter, Usage};
use flowspec::Nlri;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old condition, usage and counters may be that are shown; counters only where they are read quickly.
const FRESH: Duration = Duration::from_millis(900);

/// Between two readings of the counters pass so many times what the last one took: of 300,000 it takes seconds.
const READING_PAUSE: u32 = 4;

/// A reading that takes longer is not waited for.
pub(super) const READING_PATIENCE: Duration = Duration::from_millis(500);

/// The latest readings. What a rule has counted never gets less as long as the rule is there: what was counted before filters were taken out
/// for a while, or given to another back end, is carried on, and readings from before that are not taken for new ones.
#[derive(Debug)]
pub(super) struct Measurements {
    counters: Counters,
    /// Counted before filters were taken out.
    carried: HashMap<Arc<Nlri>, Counter>,
    usage: Usage,
    condition: Condition,
    measured: Option<Instant>,
    /// Since when new counters are on their way.
    measuring: Option<Instant>,
    /// When condition and usage were looked at.
    looked: Option<Instant>,
    /// Both are on their way.
    looking: bool,
    /// How long the last reading took.
    reading: Duration,
    /// Counts up when what was counted is put aside.
    epoch: u64,
}

impl Default for Measurements {
    fn default() -> Self {
        Measurements {
            counters: Counters::Rules(HashMap::new()),
            carried: HashMap::new(),
            usage: Usage::default(),
            condition: Condition::default(),
            measured: None,
            measuring: None,
            looked: None,
            looking: false,
            reading: Duration::ZERO,
            epoch: 0,
        }
    }
}

impl Measurements {
    /// What to ask for if what is known is old.
    pub(super) fn order(&mut self, now: Instant) -> Option<Order> {
        let is_old = |at: Option<Instant>, age: Duration| at.is_none_or(|at| now.saturating_duration_since(at) >= age);
        let pause = FRESH.max(self.reading * READING_PAUSE);
        let counters = self.measuring.is_none() && is_old(self.measured, pause);
        if !counters && (self.looking || !is_old(self.looked, FRESH)) {
            return None;
        }
        self.looking = true;
        if counters {
            self.measuring = Some(now);
        }
        Some(Order::Measure { counters, last: false, epoch: self.epoch })
    }

    /// Whether something new is on its way and soon there.
    pub(super) fn is_news_near(&self) -> bool {
        self.looking || self.are_counters_near()
    }

    /// Whether counters are on their way and worth waiting for.
    pub(super) fn are_counters_near(&self) -> bool {
        self.measuring.is_some() && self.reading < READING_PATIENCE
    }

    /// Since when counters have not been read.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.measured.map(|at| now.saturating_duration_since(at))
    }

    /// What counts is about to be taken out: the order for the last reading, from which rules that come back go on counting.
    pub(super) fn last_order(&mut self) -> Order {
        self.epoch += 1;
        Order::Measure { counters: true, last: true, epoch: self.epoch }
    }

    /// Another data plane is used from now on: nothing is known of it yet.
    pub(super) fn exchanged(&mut self) {
        self.condition = Condition::default();
        (self.measured, self.looked) = (None, None);
    }

    /// Takes in how the data plane is doing. `epoch` is that of the order; `None` without one.
    pub(super) fn looked(&mut self, usage: Usage, condition: Condition, epoch: Option<u64>, now: Instant) {
        self.looking &= epoch.is_none();
        // It may be of a data plane that is not used any more.
        if epoch.is_none_or(|epoch| epoch == self.epoch) {
            self.usage = usage;
            self.condition = condition;
            self.looked = Some(now);
        }
    }

    /// Takes in counters.
    pub(super) fn measured(&mut self, counters: Counters, epoch: u64, now: Instant) {
        self.measured = Some(now);
        self.reading = self.measuring.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if epoch == self.epoch {
            self.counters = counters;
        }
    }

    /// Takes in the last counters before filters were taken out, of the rules that are there.
    pub(super) fn measured_last(&mut self, counters: Counters, is_there: impl Fn(&Arc<Nlri>) -> bool) {
        self.carried.retain(|nlri, _| is_there(nlri));
        self.measured = None;
        // From here on they stand still, whatever was measured meanwhile.
        if let Counters::Rules(counters) = counters {
            for (nlri, counter) in counters {
                let carried = self.carried.entry(nlri).or_default();
                let before = std::mem::replace(carried, counter);
                carried.add(&before);
            }
        }
        self.counters = Counters::Rules(HashMap::new());
    }

    /// What was counted of a rule that is gone counts no more.
    pub(super) fn forget(&mut self, nlri: &Nlri) {
        self.carried.remove(nlri);
    }

    /// The counts of a rule, if it has some.
    pub(super) fn counter(&self, rule: &engine::RuleRef<'_>) -> Option<Counter> {
        let counter = match &self.counters {
            Counters::Rules(counters) => counters.get(rule.nlri()).copied(),
            Counters::Names(counts) => rule.enforced().map(|effect| counts.of(rule.id(), &effect.policing)),
        };
        self.with_carried(rule.nlri(), counter)
    }

    fn with_carried(&self, nlri: &Nlri, counter: Option<Counter>) -> Option<Counter> {
        let Some(before) = self.carried.get(nlri) else { return counter };
        let mut counter = counter.unwrap_or_default();
        counter.add(before);
        Some(counter)
    }

    /// Entries and memory.
    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// How it is doing beside the rules.
    pub(super) const fn condition(&self) -> &Condition {
        &self.condition
    }

    /// It is doing otherwise than at the last look.
    pub(super) fn set_condition(&mut self, condition: Condition) {
        self.condition = condition;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nlri(number: u8) -> Arc<Nlri> {
        Arc::new(format!("dst 192.0.2.{number}/32 then discard").parse::<flowspec::Rule>().unwrap().nlri)
    }

    /// A reading in which each of these rules has so many packets.
    fn reading(packets: &[(u8, u64)]) -> Counters {
        let counter = |packets| Counter { packets, ..Counter::default() };
        Counters::Rules(packets.iter().map(|(rule, packets)| (nlri(*rule), counter(*packets))).collect())
    }

    fn packets(measurements: &Measurements, rule: u8) -> Option<u64> {
        let Counters::Rules(counters) = &measurements.counters else { unreachable!("the readings above") };
        let counter = counters.get(&nlri(rule)).copied();
        measurements.with_carried(&nlri(rule), counter).map(|counter| counter.packets)
    }

    fn epoch(order: &Order) -> u64 {
        let Order::Measure { epoch, .. } = order else { panic!("no order to measure") };
        *epoch
    }

    #[test]
    fn nothing_is_read_twice_at_once_or_while_it_is_fresh() {
        let (mut known, start) = (Measurements::default(), Instant::now());
        let order = known.order(start).expect("nothing is known");
        assert!(known.is_news_near());
        assert!(known.order(start + FRESH).is_none(), "both are on their way");
        known.looked(Usage::default(), Condition::default(), Some(epoch(&order)), start);
        known.measured(reading(&[]), epoch(&order), start);
        assert!(!known.is_news_near() && known.order(start + FRESH / 2).is_none());
        assert!(matches!(known.order(start + FRESH), Some(Order::Measure { counters: true, last: false, .. })));
    }

    #[test]
    fn slow_counters_are_read_seldom_and_not_waited_for() {
        let (mut known, start) = (Measurements::default(), Instant::now());
        let took = Duration::from_secs(3);
        let order = known.order(start).unwrap();
        known.looked(Usage::default(), Condition::default(), Some(epoch(&order)), start);
        known.measured(reading(&[]), epoch(&order), start + took);
        let next = start + took + FRESH;
        assert!(matches!(known.order(next), Some(Order::Measure { counters: false, .. })), "only a look");
        known.looked(Usage::default(), Condition::default(), Some(0), next);
        let next = start + took + took * READING_PAUSE;
        assert!(matches!(known.order(next), Some(Order::Measure { counters: true, .. })));
        known.looked(Usage::default(), Condition::default(), Some(0), next);
        assert!(!known.is_news_near(), "counters that take so long are not worth waiting for");
    }

    #[test]
    fn counts_go_on_from_where_they_were_when_filters_were_taken_out() {
        let (mut known, now) = (Measurements::default(), Instant::now());
        known.measured(reading(&[(1, 5), (2, 7)]), 0, now);
        let last = known.last_order();
        assert!(matches!(last, Order::Measure { counters: true, last: true, .. }));
        known.measured_last(reading(&[(1, 6), (2, 8)]), |_| true);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (Some(6), Some(8)));
        // A reading that was under way before that counts nothing twice.
        known.measured(reading(&[(1, 6)]), 0, now);
        assert_eq!(packets(&known, 1), Some(6));
        known.measured(reading(&[(1, 4)]), epoch(&last), now);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (Some(10), Some(8)));
        known.forget(&nlri(1));
        assert_eq!(packets(&known, 1), Some(4));
        // Of rules that are gone, nothing is carried.
        known.last_order();
        known.measured_last(reading(&[]), |_| false);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (None, None));
    }

    #[test]
    fn a_look_at_a_data_plane_that_is_not_used_any_more_is_not_taken() {
        let (mut known, now) = (Measurements::default(), Instant::now());
        let order = known.order(now).unwrap();
        known.last_order();
        known.exchanged();
        let old = Usage { entries: 5, ..Usage::default() };
        known.looked(old, Condition::default(), Some(epoch(&order)), now);
        assert_eq!(known.usage().entries, 0);
        assert!(!known.looking, "it is not waited for any more");
    }
}
