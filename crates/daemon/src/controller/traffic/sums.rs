//! Sums of what rules counted, by whose rules they are and what these do.

use crate::activity::Activity;
use api::{Named, PeakView, RateView, TrafficView, Verdict};
use dataplane::Counter;
use engine::PeerId;
use flowspec::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How busy something is, as the API has it.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) struct ActivityView {
    pub(in crate::controller) rate: Option<RateView>,
    pub(in crate::controller) peak: Option<PeakView>,
    pub(in crate::controller) last_hit: Option<String>,
}

/// What a rule's packets count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::controller) struct Kind {
    pub(super) peer: PeerId,
    pub(super) action: Verdict,
    pub(super) family: Family,
}

/// Of which rules a sum is: those that have what is named here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    peer: Option<PeerId>,
    action: Option<Verdict>,
    family: Option<Family>,
}

impl Scope {
    fn has(&self, kind: &Kind) -> bool {
        self.peer.is_none_or(|peer| peer == kind.peer)
            && self.action.is_none_or(|action| action == kind.action)
            && self.family.is_none_or(|family| family == kind.family)
    }
}

/// What was counted. What the data plane does not tell of some of the packets is not told of the
/// sum.
#[derive(Clone, Copy, Debug)]
struct Sums {
    packets: u64,
    bytes: u64,
    dropped: Option<u64>,
    dropped_bytes: Option<u64>,
    passed: Option<u64>,
    passed_bytes: Option<u64>,
}

impl Default for Sums {
    fn default() -> Self {
        let none = Some(0);
        Sums { packets: 0, bytes: 0, dropped: none, dropped_bytes: none, passed: none, passed_bytes: none }
    }
}

impl Sums {
    /// What one rule counted; whether it has a policer.
    fn of(counted: &Counter, is_limit: bool) -> Self {
        let passed =
            |all: u64, dropped: Option<u64>| if is_limit { Some(all.saturating_sub(dropped?)) } else { Some(0) };
        Sums {
            packets: counted.packets,
            bytes: counted.bytes,
            dropped: counted.dropped_packets,
            dropped_bytes: counted.dropped_bytes,
            passed: passed(counted.packets, counted.dropped_packets),
            passed_bytes: passed(counted.bytes, counted.dropped_bytes),
        }
    }

    fn add(&mut self, more: &Sums) {
        let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.dropped = both(self.dropped, more.dropped);
        self.dropped_bytes = both(self.dropped_bytes, more.dropped_bytes);
        self.passed = both(self.passed, more.passed);
        self.passed_bytes = both(self.passed_bytes, more.passed_bytes);
    }

    const fn counter(&self) -> Counter {
        let Sums { packets, bytes, dropped, dropped_bytes, .. } = *self;
        Counter { packets, bytes, dropped_packets: dropped, dropped_bytes }
    }
}

/// What was counted between two readings.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<Kind, Sums>);

impl Counted {
    /// A rule of this kind counted that; whether it has a policer.
    pub(super) fn add(&mut self, kind: Kind, counted: &Counter, is_limit: bool) {
        self.0.entry(kind).or_default().add(&Sums::of(counted, is_limit));
    }
}

/// The sums since the start. They never get less.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<Scope, (Sums, Option<Activity>)>);

impl Totals {
    /// Adds what was counted until this time.
    pub(super) fn take(&mut self, counted: &Counted, at: Duration) {
        self.0.entry(Scope::default()).or_default();
        for (kind, sums) in &counted.0 {
            let (peer, action, family) = (Some(kind.peer), Some(kind.action), Some(kind.family));
            let none = Scope::default();
            for scope in [
                none,
                Scope { peer, ..none },
                Scope { action, ..none },
                Scope { family, ..none },
                Scope { peer, action, family },
            ] {
                self.0.entry(scope).or_default().0.add(sums);
            }
        }
        for (sums, activity) in self.0.values_mut() {
            match activity {
                Some(activity) => drop(activity.take(sums.counter(), at)),
                None => *activity = Some(Activity::begun(sums.counter(), at)),
            }
        }
    }

    pub(super) fn all(
        &self,
        in_force: &BTreeMap<Kind, u64>,
        activity: impl Fn(&Activity) -> ActivityView,
    ) -> TrafficView {
        self.view(Scope::default(), None, in_force, &activity)
    }

    pub(super) fn views(
        &self,
        peers: &[(PeerId, String)],
        in_force: &BTreeMap<Kind, u64>,
        activity: impl Fn(&Activity) -> ActivityView,
    ) -> Vec<TrafficView> {
        let named = |scope: &Scope| scope.family;
        let seen: BTreeSet<Family> = self.0.keys().filter_map(named).chain([Family::Ipv4, Family::Ipv6]).collect();
        let none = Scope::default();
        let mut views = vec![self.view(none, None, in_force, &activity)];
        for (peer, name) in peers {
            views.push(self.view(Scope { peer: Some(*peer), ..none }, Some(name), in_force, &activity));
        }
        for &action in Verdict::ALL {
            views.push(self.view(Scope { action: Some(action), ..none }, None, in_force, &activity));
        }
        for &family in &seen {
            views.push(self.view(Scope { family: Some(family), ..none }, None, in_force, &activity));
        }
        for (peer, name) in peers {
            for &action in Verdict::ALL {
                for &family in &seen {
                    let scope = Scope { peer: Some(*peer), action: Some(action), family: Some(family) };
                    views.push(self.view(scope, Some(name), in_force, &activity));
                }
            }
        }
        views
    }

    fn view(
        &self,
        scope: Scope,
        peer: Option<&String>,
        in_force: &BTreeMap<Kind, u64>,
        view: impl Fn(&Activity) -> ActivityView,
    ) -> TrafficView {
        let rules = in_force.iter().filter(|(kind, _)| scope.has(kind)).map(|(_, rules)| rules).sum();
        let (sums, activity) =
            self.0.get(&scope).map_or((Sums::default(), None), |(sums, activity)| (*sums, activity.as_ref()));
        let ActivityView { rate, peak, last_hit } = activity.map_or_else(ActivityView::default, view);
        TrafficView {
            peer: peer.cloned(),
            action: scope.action.map(Into::into),
            family: scope.family.map(Into::into),
            rules,
            packets: sums.packets,
            bytes: sums.bytes,
            dropped: sums.dropped,
            dropped_bytes: sums.dropped_bytes,
            passed: sums.passed,
            passed_bytes: sums.passed_bytes,
            rate,
            peak,
            last_hit,
        }
    }
}
