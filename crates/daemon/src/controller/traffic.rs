//! What rules match: of each rule how busy it is now, its peak and its last hit; and sums by peer,
//! action and address family.
//!
//! Each reading of the counters is gone through once, rule by rule, in steps: decisions do not wait
//! for it. A rule that matched packets takes some 150 octets here, another one some 22.

mod sums;

use super::incidents::Incidents;
use super::measurements::{Measurements, Reading};
use crate::activity::Activity;
use crate::busiest::{Busiest, BusyRule};
use crate::clock;
use crate::convert;
use crate::events::timestamp;
use api::{PeakView, RateView, TrafficView};
use dataplane::Counter;
use engine::{Engine, PeerId, RuleRef, Timestamp};
use flowspec::{Effect, Nlri, Policing, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
pub(super) use sums::{ActivityView, Kind};
use sums::{Counted, Totals};

/// How long one step takes.
const STEP: Duration = Duration::from_millis(2);

/// From the end of a step to the beginning of the next.
const PAUSE: Duration = Duration::from_millis(8);

/// So long after a rule was withdrawn, no reading tells of it any more.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// A back end that tells late what it counted is asked often, and most readings tell nothing new:
/// such a one is left out for so many times its delay, and then means that there is no traffic.
const DELAYS: u32 = 2;

/// What the readings so far tell. What a rule counted counts once in the sums, for the peer and the
/// action that it has when the reading is gone through; what was counted before the daemon started,
/// not at all.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The clock of activities begins here,
    start: Instant,
    /// and then the engine's time was this.
    start_time: Timestamp,
    /// Without an activity: the rule has not matched a packet yet.
    rules: HashMap<RuleId, Option<Box<Activity>>>,
    /// Rules whose counters an earlier run began.
    adopted: BTreeSet<RuleId>,
    /// Rules that were withdrawn a moment ago: a reading of that time may still tell of them.
    withdrawn: HashMap<RuleId, Instant>,
    totals: Totals,
    pass: Option<Pass>,
    next_step: Instant,
    /// When the last reading was read that was gone through.
    last: Option<Instant>,
    /// All packets of that reading.
    packets: u64,
}

/// Going through a reading.
#[derive(Debug)]
struct Pass {
    reading: Reading,
    after: Option<Arc<Nlri>>,
    counted: Counted,
    rules: usize,
}

impl Traffic {
    /// Nothing was read yet. These rules are in force from an earlier run.
    pub(super) fn new(adopted: BTreeSet<RuleId>, now: Instant) -> Self {
        Traffic {
            start: now,
            start_time: clock::last_full_second(),
            rules: HashMap::new(),
            adopted,
            withdrawn: HashMap::new(),
            totals: Totals::default(),
            pass: None,
            next_step: now,
            last: None,
            packets: 0,
        }
    }

    /// Takes in the latest reading, if it is new: at once where there are few rules, else in
    /// [steps](Self::step). True if all of it was.
    pub(super) fn take(
        &mut self,
        known: &Measurements,
        engine: &Engine,
        incidents: &mut Incidents,
        now: Instant,
    ) -> bool {
        let Some(reading) = known.reading() else { return false };
        if self.pass.is_some() || self.last.is_some_and(|last| reading.at <= last) {
            return false;
        }
        let packets = reading.packets();
        let told = |last: Instant| reading.at.saturating_duration_since(last) < known.delay() * DELAYS;
        if packets == self.packets && self.last.is_some_and(told) {
            return false;
        }
        self.packets = packets;
        self.pass = Some(Pass { reading, after: None, counted: Counted::default(), rules: 0 });
        self.next_step = now;
        self.step(known, engine, incidents, now)
    }

    /// When to go on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pass.as_ref().map(|_| self.next_step)
    }

    /// Goes on, if it is time; true at the end of a reading. What rules have counted is what the
    /// history is told.
    pub(super) fn step(
        &mut self,
        known: &Measurements,
        engine: &Engine,
        incidents: &mut Incidents,
        now: Instant,
    ) -> bool {
        let Some(mut pass) = self.pass.take_if(|_| self.next_step <= now) else { return false };
        // Filters were taken out meanwhile: with what is carried on from then, this reading would
        // count twice.
        if !known.is_current(&pass.reading) {
            return false;
        }
        let began = Instant::now();
        let at = pass.reading.at.saturating_duration_since(self.start);
        for (index, rule) in engine.rules_after(pass.after.take().as_ref()).enumerate() {
            let counter = known.counter_in(&pass.reading, &rule);
            pass.rules += 1;
            let counted = self.take_rule(rule.id(), counter, at);
            if counted.packets > 0 {
                let activity = self.rules.get(&rule.id()).and_then(Option::as_deref);
                incidents.count(rule.id(), &counted, activity, self.start_time);
            }
            if counted.packets > 0
                && let Some(kind) = kind(&rule)
            {
                pass.counted.add(kind, &counted, rule.enforced().is_some_and(|effect| is_limit(&effect)));
            }
            if index % 64 == 63 && began.elapsed() >= STEP {
                pass.after = Some(Arc::clone(rule.nlri()));
                self.next_step = Instant::now() + PAUSE;
                self.pass = Some(pass);
                return false;
            }
        }
        self.totals.take(&pass.counted, at);
        self.withdrawn.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN);
        self.last = Some(pass.reading.at);
        self.forget_others(pass.rules, engine);
        true
    }

    /// What this rule has counted since the last reading.
    fn take_rule(&mut self, id: RuleId, counter: Option<Counter>, at: Duration) -> Counter {
        let Some(counter) = counter else {
            match self.rules.get_mut(&id) {
                Some(Some(activity)) => activity.lost(),
                Some(None) => drop(self.rules.remove(&id)),
                None => {}
            }
            return Counter::default();
        };
        match self.rules.get_mut(&id) {
            Some(Some(activity)) => return activity.take(counter, at),
            _ if counter.packets == 0 => {
                self.rules.insert(id, None);
                return Counter::default();
            }
            Some(known) => {
                // It had counted nothing at the last reading.
                let zero = |count: Option<u64>| count.map(|_| 0);
                let (dropped_packets, dropped_bytes) = (zero(counter.dropped_packets), zero(counter.dropped_bytes));
                let nothing = Counter { packets: 0, bytes: 0, dropped_packets, dropped_bytes };
                let last = self.last.map_or(at, |last| last.saturating_duration_since(self.start));
                let mut activity = Activity::new(nothing, last);
                let counted = activity.take(counter, at);
                *known = Some(Box::new(activity));
                return counted;
            }
            None => {}
        }
        let adopted = self.adopted.remove(&id) || self.withdrawn.contains_key(&id);
        let activity = if adopted { Activity::new(counter, at) } else { Activity::begun(counter, at) };
        self.rules.insert(id, Some(Box::new(activity)));
        if adopted { Counter::default() } else { counter }
    }

    /// Rules that are gone are forgotten, once there are many of them.
    fn forget_others(&mut self, rules: usize, engine: &Engine) {
        if self.rules.len() > rules + rules / 8 + 64 {
            let there: HashSet<RuleId> = engine.rules().map(|rule| rule.id()).collect();
            self.rules.retain(|id, _| there.contains(id));
            self.rules.shrink_to_fit();
        }
    }

    /// A rule is withdrawn: one with the same name that comes later begins anew.
    pub(super) fn forget(&mut self, id: RuleId, now: Instant) {
        self.adopted.remove(&id);
        if self.rules.remove(&id).is_some() {
            self.withdrawn.insert(id, now);
        }
    }

    /// How busy a rule is.
    pub(super) fn rule(&self, id: RuleId) -> ActivityView {
        self.activity(id).map_or_else(ActivityView::default, |activity| self.view(activity))
    }

    /// What is known of a rule that has matched packets.
    pub(super) fn activity(&self, id: RuleId) -> Option<&Activity> {
        self.rules.get(&id)?.as_deref()
    }

    /// The sums: of all rules; then of those of each peer, action and family, and of each
    /// combination of the three. These peers are told of although they have none. So many rules are
    /// in force.
    pub(super) fn views(&self, peers: &[(PeerId, String)], in_force: &BTreeMap<Kind, u64>) -> Vec<TrafficView> {
        self.totals.views(peers, in_force, |activity| self.view(activity))
    }

    /// The sum of all rules.
    pub(super) fn all(&self, in_force: &BTreeMap<Kind, u64>) -> TrafficView {
        self.totals.all(in_force, |activity| self.view(activity))
    }

    /// The rules that matched most packets, so many at most.
    pub(super) fn busiest(&self, most: usize) -> Busiest {
        let counter = |activity: &Activity| *activity.counter();
        let rules = self
            .rules
            .iter()
            .map(|(id, activity)| BusyRule { id: *id, counter: activity.as_deref().map(counter).unwrap_or_default() });
        Busiest::of(rules, most)
    }

    fn view(&self, activity: &Activity) -> ActivityView {
        let date = |second: u32| timestamp(clock::date(self.start_time.plus(second.into())));
        let rate = activity.rate().map(|rate| RateView {
            packets_per_second: rounded(rate.packets),
            bits_per_second: rounded(rate.bits),
            dropped_per_second: rate.dropped.map(rounded),
        });
        let peak = activity.peak().map(|peak| PeakView {
            packets_per_second: rounded(peak.packets),
            packets_time: date(peak.packets_at),
            bits_per_second: rounded(peak.bits),
            bits_time: date(peak.bits_at),
        });
        ActivityView { rate, peak, last_hit: activity.last_hit().map(date) }
    }
}

/// Whose packets a rule's are; `None` while it is not in force.
pub(super) fn kind(rule: &RuleRef<'_>) -> Option<Kind> {
    let action = convert::verdict(&rule.enforced()?);
    let peer = rule.best_peer();
    Some(Kind { peer, action, family: rule.nlri().family() })
}

/// Whether there is a policer that lets packets pass.
pub(super) const fn is_limit(effect: &Effect) -> bool {
    matches!(effect.policing, Policing::Limit { .. })
}

/// Digits beyond the third behind the point say nothing.
fn rounded(rate: f32) -> f64 {
    (f64::from(rate) * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
