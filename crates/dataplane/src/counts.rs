//! Counters of rules; and of all rules by their short names, read in parallel with changes.

use crate::DataplaneError;
use flowspec::{Policing, RuleId};
use std::collections::HashMap;

/// Packets and bytes that a rule's entries matched since it was first installed; kept over a
/// recompile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those packets (IP length where the data plane can tell, else frame length).
    pub bytes: u64,
    /// Of those packets, the ones that a discard or a policer dropped; `None` if the data plane
    /// does not count them.
    pub dropped_packets: Option<u64>,
    /// Octets of the dropped packets, counted as `bytes` are; `None` where the data plane does not
    /// tell.
    pub dropped_bytes: Option<u64>,
}

impl Counter {
    /// Adds what was counted before.
    pub fn add(&mut self, before: &Counter) {
        let sum = |now: Option<u64>, before: Option<u64>| match (now, before) {
            (None, None) => None,
            (now, before) => Some(now.unwrap_or(0) + before.unwrap_or(0)),
        };
        self.packets += before.packets;
        self.bytes += before.bytes;
        self.dropped_packets = sum(self.dropped_packets, before.dropped_packets);
        self.dropped_bytes = sum(self.dropped_bytes, before.dropped_bytes);
    }

    /// Where the data plane counts dropped packets and not their octets: these are known if all
    /// packets were dropped, or none.
    pub(crate) fn of_packets(packets: u64, bytes: u64, dropped_packets: Option<u64>) -> Self {
        let dropped_bytes = match dropped_packets {
            Some(0) => Some(0),
            Some(dropped) if dropped == packets => Some(bytes),
            Some(_) | None => None,
        };
        Counter { packets, bytes, dropped_packets, dropped_bytes }
    }
}

/// Reads counters on a thread of its own, so that changes do not wait.
pub type Reading = Box<dyn FnOnce() -> Result<Counts, DataplaneError> + Send>;

/// Counters of rules, by short name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets and octets that matched.
    pub matched: HashMap<RuleId, (u64, u64)>,
    /// Packets that a policer dropped, and their octets if the data plane counts these.
    pub dropped: HashMap<RuleId, (u64, Option<u64>)>,
    /// A change was applied meanwhile: some counters may be missing or outdated.
    pub disturbed: bool,
}

impl Counts {
    /// The counter of a rule that is in force with this policing.
    pub fn of(&self, rule: RuleId, policing: &Policing) -> Counter {
        let (packets, bytes) = self.matched.get(&rule).copied().unwrap_or_default();
        let (dropped, dropped_bytes) = match policing {
            Policing::Discard => (packets, Some(bytes)),
            Policing::Limit { .. } => self.dropped.get(&rule).copied().unwrap_or_default(),
            Policing::None => (0, Some(0)),
        };
        let counter = Counter::of_packets(packets, bytes, Some(dropped));
        Counter { dropped_bytes: dropped_bytes.or(counter.dropped_bytes), ..counter }
    }

    /// Counters never decrease because a reading was disturbed.
    pub fn not_before(&mut self, before: &Counts) {
        if !self.disturbed {
            return;
        }
        for (rule, (packets, bytes)) in &before.matched {
            let now = self.matched.entry(*rule).or_default();
            *now = (now.0.max(*packets), now.1.max(*bytes));
        }
        for (rule, (packets, bytes)) in &before.dropped {
            let now = self.dropped.entry(*rule).or_default();
            *now = (now.0.max(*packets), now.1.max(*bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_reading_takes_nothing_back() {
        let rule = |number: u32| format!("dst 192.0.2.{number}/32").parse::<flowspec::Nlri>().unwrap().id();
        let before = Counts { matched: [(rule(1), (5, 500)), (rule(2), (7, 700))].into(), ..Counts::default() };
        let now = Counts { matched: [(rule(1), (6, 600)), (rule(3), (1, 100))].into(), ..Counts::default() };
        let mut quiet = now.clone();
        quiet.not_before(&before);
        assert_eq!(quiet, now);
        let mut disturbed = Counts { disturbed: true, ..now };
        disturbed.not_before(&before);
        let packets = |number| disturbed.of(rule(number), &Policing::Discard).packets;
        assert_eq!([1, 2, 3, 4].map(packets), [6, 7, 1, 0]);
    }

    #[test]
    fn octets_of_dropped_packets_are_reported_only_where_they_are_known() {
        let octets = |dropped| Counter::of_packets(5, 500, dropped).dropped_bytes;
        assert_eq!([Some(5), Some(0), Some(3), None].map(octets), [Some(500), Some(0), None, None]);
        let limit = Policing::Limit { bytes: None, packets: Some(1.0) };
        let rule = "dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id();
        let counts = Counts {
            matched: [(rule, (5, 500))].into(),
            dropped: [(rule, (3, Some(450)))].into(),
            ..Counts::default()
        };
        let octets = |policing| counts.of(rule, &policing).dropped_bytes;
        assert_eq!([limit, Policing::Discard, Policing::None].map(octets), [Some(450), Some(500), Some(0)]);
    }
}
