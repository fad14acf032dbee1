//! Usage, condition and counters as last read from the data plane, and when to read them again.

use crate::apply::{Counters, Order};
use dataplane::{Condition, Counter, Usage};
use flowspec::Nlri;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest age of condition, usage and counters that are shown; of counters only if they are read
/// quickly.
const MAX_AGE: Duration = Duration::from_millis(900);

/// The pause between two readings of the counters is this many times the duration of the last
/// reading: 300,000 counters take seconds.
const READ_INTERVAL_FACTOR: u32 = 4;

/// Counters that nobody asks for are read so often, for rates, peaks and sums,
const BACKGROUND: Duration = Duration::from_secs(1);

/// but where that takes long, it takes this part of the time at most: changes wait for some
/// readings.
const BACKGROUND_SHARE: u32 = 30;

/// And so often at least.
const BACKGROUND_MOST: Duration = Duration::from_secs(60);

/// Requests do not wait for a reading that takes longer than this.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// The latest readings. The counter of a rule never decreases while the rule exists: what was
/// counted before filters were removed for a while, or before a change of the back end, is added;
/// readings from before that are ignored.
#[derive(Debug)]
pub(super) struct Measurements {
    counters: Counters,
    /// When these were read; `None` where there is no reading of what filters now.
    read: Option<Instant>,
    /// Counts from before filters were removed.
    transferred: HashMap<Arc<Nlri>, Counter>,
    usage: Usage,
    condition: Condition,
    measured: Option<Instant>,
    /// Since when a reading of counters is in progress.
    measuring: Option<Instant>,
    /// When condition and usage were read.
    looked: Option<Instant>,
    /// A reading of condition and usage is in progress.
    looking: bool,
    /// Duration of the last reading.
    reading: Duration,
    /// Incremented when counts are saved before a removal.
    epoch: u64,
    /// How late the data plane's counters tell of packets.
    delay: Duration,
}

/// Counters, and when they were read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    counters: Counters,
    pub(super) at: Instant,
    epoch: u64,
}

impl Reading {
    /// All packets together.
    pub(super) fn packets(&self) -> u64 {
        match &self.counters {
            Counters::Rules(counters) => counters.values().map(|counter| counter.packets).sum(),
            Counters::Names(counts) => counts.matched.values().map(|(packets, _)| packets).sum(),
        }
    }
}

impl Default for Measurements {
    fn default() -> Self {
        Measurements {
            counters: Counters::default(),
            read: None,
            delay: Duration::ZERO,
            transferred: HashMap::new(),
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
    /// What to read, if the last reading is too old.
    pub(super) fn order(&mut self, now: Instant) -> Option<Order> {
        let is_old = |at: Option<Instant>, age: Duration| at.is_none_or(|at| now.saturating_duration_since(at) >= age);
        let pause = MAX_AGE.max(self.reading * READ_INTERVAL_FACTOR);
        let counters = self.measuring.is_none() && is_old(self.measured, pause);
        if !counters && (self.looking || !is_old(self.looked, MAX_AGE)) {
            return None;
        }
        self.looking = true;
        if counters {
            self.measuring = Some(now);
        }
        Some(Order::Measure { counters, last: false, epoch: self.epoch })
    }

    /// The same where nobody asks: more seldom where it takes long.
    pub(super) fn background_order(&mut self, now: Instant) -> Option<Order> {
        let pause = (self.reading * BACKGROUND_SHARE).clamp(BACKGROUND, BACKGROUND_MOST);
        if self.measuring.is_some() || self.age(now).is_some_and(|age| age < pause) {
            return None;
        }
        self.order(now)
    }

    /// Whether a result will come soon.
    pub(super) fn is_measuring(&self) -> bool {
        self.looking || self.is_reading_quick_counters()
    }

    /// Whether a reading of counters is in progress and quick enough to wait for.
    pub(super) fn is_reading_quick_counters(&self) -> bool {
        self.measuring.is_some() && self.reading < READ_TIMEOUT
    }

    /// Age of the counters.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.measured.map(|at| now.saturating_duration_since(at))
    }

    /// Filters are about to be removed: the order for the last reading, from which rules that
    /// return continue to count.
    pub(super) fn last_order(&mut self) -> Order {
        self.epoch += 1;
        Order::Measure { counters: true, last: true, epoch: self.epoch }
    }

    /// Another data plane is used from now on: nothing is known of it yet but how late its counters
    /// tell of packets.
    pub(super) fn exchanged(&mut self, delay: Duration) {
        self.condition = Condition::default();
        (self.measured, self.looked) = (None, None);
        self.delay = delay;
    }

    /// How late counters may tell of a packet.
    pub(super) const fn delay(&self) -> Duration {
        self.delay
    }

    /// Records usage and condition. `epoch` is that of the order; `None` without one.
    pub(super) fn looked(&mut self, usage: Usage, condition: Condition, epoch: Option<u64>, now: Instant) {
        self.looking &= epoch.is_none();
        // It may come from a data plane that is no longer in use.
        if epoch.is_none_or(|epoch| epoch == self.epoch) {
            self.usage = usage;
            self.condition = condition;
            self.looked = Some(now);
        }
    }

    /// Takes in counters that were read `at` this time.
    pub(super) fn measured(&mut self, counters: Counters, epoch: u64, at: Instant, now: Instant) {
        self.measured = Some(now);
        self.reading = self.measuring.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if epoch == self.epoch {
            self.counters = counters;
            self.read = Some(at);
        }
    }

    /// Records the last counters before filters were removed, of rules that still exist.
    pub(super) fn measured_last(&mut self, counters: Counters, is_there: impl Fn(&Arc<Nlri>) -> bool) {
        self.transferred.retain(|nlri, _| is_there(nlri));
        self.measured = None;
        // From here on they do not change, whatever was measured meanwhile.
        if let Counters::Rules(counters) = counters {
            for (nlri, counter) in Arc::unwrap_or_clone(counters) {
                let transferred = self.transferred.entry(nlri).or_default();
                let before = std::mem::replace(transferred, counter);
                transferred.add(&before);
            }
        }
        self.counters = Counters::default();
        self.read = None;
    }

    /// The counts of a rule that no longer exists are dropped.
    pub(super) fn forget(&mut self, nlri: &Nlri) {
        self.transferred.remove(nlri);
    }

    /// The counter of a rule, if it has one.
    pub(super) fn counter(&self, rule: &engine::RuleRef<'_>) -> Option<Counter> {
        self.counted(&self.counters, rule)
    }

    /// The latest reading, if there is one of what filters now.
    pub(super) fn reading(&self) -> Option<Reading> {
        let at = self.read?;
        Some(Reading { counters: self.counters.clone(), at, epoch: self.epoch })
    }

    /// Whether what was counted has not been put aside since.
    pub(super) const fn is_current(&self, reading: &Reading) -> bool {
        reading.epoch == self.epoch
    }

    /// The counts of a rule in a [current](Self::is_current) reading.
    pub(super) fn counter_in(&self, reading: &Reading, rule: &engine::RuleRef<'_>) -> Option<Counter> {
        self.counted(&reading.counters, rule)
    }

    fn counted(&self, counters: &Counters, rule: &engine::RuleRef<'_>) -> Option<Counter> {
        let counter = match counters {
            Counters::Rules(counters) => counters.get(rule.nlri()).copied(),
            Counters::Names(counts) => rule.enforced().map(|effect| counts.of(rule.id(), &effect.policing)),
        };
        self.add_transferred(rule.nlri(), counter)
    }

    fn add_transferred(&self, nlri: &Nlri, counter: Option<Counter>) -> Option<Counter> {
        let Some(before) = self.transferred.get(nlri) else { return counter };
        let mut counter = counter.unwrap_or_default();
        counter.add(before);
        Some(counter)
    }

    /// Entries and memory.
    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The data plane's condition, apart from the rules.
    pub(super) const fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The condition has changed since the last reading.
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

    /// A reading in which each of these rules has this many packets.
    fn reading(packets: &[(u8, u64)]) -> Counters {
        let counter = |packets| Counter { packets, ..Counter::default() };
        Counters::Rules(Arc::new(packets.iter().map(|(rule, packets)| (nlri(*rule), counter(*packets))).collect()))
    }

    fn packets(measurements: &Measurements, rule: u8) -> Option<u64> {
        let Counters::Rules(counters) = &measurements.counters else { unreachable!("the readings above") };
        let counter = counters.get(&nlri(rule)).copied();
        measurements.add_transferred(&nlri(rule), counter).map(|counter| counter.packets)
    }

    fn epoch(order: &Order) -> u64 {
        let Order::Measure { epoch, .. } = order else { panic!("no order to measure") };
        *epoch
    }

    #[test]
    fn nothing_is_read_twice_at_once_or_while_it_is_fresh() {
        let (mut known, start) = (Measurements::default(), Instant::now());
        let order = known.order(start).expect("nothing is known");
        assert!(known.is_measuring());
        assert!(known.order(start + MAX_AGE).is_none(), "both are on their way");
        known.looked(Usage::default(), Condition::default(), Some(epoch(&order)), start);
        known.measured(reading(&[]), epoch(&order), start, start);
        assert!(!known.is_measuring() && known.order(start + MAX_AGE / 2).is_none());
        assert!(matches!(known.order(start + MAX_AGE), Some(Order::Measure { counters: true, last: false, .. })));
    }

    #[test]
    fn slow_counters_are_read_seldom_and_not_waited_for() {
        let (mut known, start) = (Measurements::default(), Instant::now());
        let took = Duration::from_secs(3);
        let order = known.order(start).unwrap();
        known.looked(Usage::default(), Condition::default(), Some(epoch(&order)), start);
        known.measured(reading(&[]), epoch(&order), start + took, start + took);
        let next = start + took + MAX_AGE;
        assert!(matches!(known.order(next), Some(Order::Measure { counters: false, .. })), "only a look");
        known.looked(Usage::default(), Condition::default(), Some(0), next);
        let next = start + took + took * READ_INTERVAL_FACTOR;
        assert!(matches!(known.order(next), Some(Order::Measure { counters: true, .. })));
        known.looked(Usage::default(), Condition::default(), Some(0), next);
        assert!(!known.is_measuring(), "counters that take so long are not worth waiting for");
    }

    #[test]
    fn counters_that_nobody_asks_for_take_a_thirtieth_of_the_time() {
        let (mut known, start) = (Measurements::default(), Instant::now());
        let took = Duration::from_millis(100);
        let order = known.background_order(start).expect("nothing is known");
        known.looked(Usage::default(), Condition::default(), Some(epoch(&order)), start);
        known.measured(reading(&[]), epoch(&order), start, start + took);
        assert!(known.background_order(start + took + BACKGROUND).is_none());
        let next = start + took + took * BACKGROUND_SHARE;
        assert!(matches!(known.background_order(next), Some(Order::Measure { counters: true, .. })));
        assert!(known.background_order(next + BACKGROUND_MOST).is_none(), "they are on their way");
    }

    #[test]
    fn counts_continue_from_where_they_were_when_filters_were_removed() {
        let (mut known, now) = (Measurements::default(), Instant::now());
        known.measured(reading(&[(1, 5), (2, 7)]), 0, now, now);
        let last = known.last_order();
        assert!(matches!(last, Order::Measure { counters: true, last: true, .. }));
        known.measured_last(reading(&[(1, 6), (2, 8)]), |_| true);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (Some(6), Some(8)));
        // A reading that began before that does not count anything twice.
        known.measured(reading(&[(1, 6)]), 0, now, now);
        assert_eq!(packets(&known, 1), Some(6));
        known.measured(reading(&[(1, 4)]), epoch(&last), now, now);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (Some(10), Some(8)));
        known.forget(&nlri(1));
        assert_eq!(packets(&known, 1), Some(4));
        // Nothing is kept for rules that no longer exist.
        known.last_order();
        known.measured_last(reading(&[]), |_| false);
        assert_eq!((packets(&known, 1), packets(&known, 2)), (None, None));
    }

    #[test]
    fn a_look_at_a_data_plane_that_is_not_used_any_more_is_not_taken() {
        let (mut known, now) = (Measurements::default(), Instant::now());
        let order = known.order(now).unwrap();
        known.last_order();
        known.exchanged(Duration::ZERO);
        let old = Usage { entries: 5, ..Usage::default() };
        known.looked(old, Condition::default(), Some(epoch(&order)), now);
        assert_eq!(known.usage().entries, 0);
        assert!(!known.looking, "it is not waited for any more");
    }
}
