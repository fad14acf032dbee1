//! Counters of rules that continue where those of the platform start from zero again.

use crate::Counter;
use flowspec::Nlri;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the entries of each rule have counted: those that exist, as of the last reading, and those
/// that were removed or reset.
#[derive(Debug, Default)]
pub(crate) struct CounterLedger {
    rules: BTreeMap<Arc<Nlri>, Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    /// Of entries that are gone.
    ended: Counter,
    /// Of the entries that exist, at the last reading.
    last: Counter,
}

impl Default for Account {
    fn default() -> Self {
        Account { ended: NOTHING, last: NOTHING }
    }
}

const NOTHING: Counter = Counter { packets: 0, bytes: 0, dropped_packets: Some(0), dropped_bytes: Some(0) };

impl CounterLedger {
    /// The entries of this rule have counted `now`. If that is less than at the last reading,
    /// another program has reset them.
    pub(crate) fn read(&mut self, nlri: &Arc<Nlri>, now: Counter) {
        let account = self.rules.entry(Arc::clone(nlri)).or_default();
        if now.packets < account.last.packets {
            account.ended = sum(&account.ended, &account.last);
        }
        account.last = now;
    }

    /// Whether the entries of this rule have counted less than at the last reading.
    pub(crate) fn is_less_than_last(&self, nlri: &Nlri, now: &Counter) -> bool {
        self.rules.get(nlri).is_some_and(|account| now.packets < account.last.packets)
    }

    /// An entry of this rule that had counted this is removed.
    pub(crate) fn end_entry(&mut self, nlri: &Arc<Nlri>, counted: &Counter) {
        let account = self.rules.entry(Arc::clone(nlri)).or_default();
        account.ended = sum(&account.ended, counted);
    }

    /// The counters of all entries start from zero.
    pub(crate) fn reset(&mut self) {
        for account in self.rules.values_mut() {
            *account = Account { ended: sum(&account.ended, &account.last), last: NOTHING };
        }
    }

    /// Drops rules that are not in force.
    pub(crate) fn retain(&mut self, is_in_force: impl Fn(&Nlri) -> bool) {
        self.rules.retain(|nlri, _| is_in_force(nlri));
    }

    /// What a rule has counted in all.
    pub(crate) fn total(&self, nlri: &Nlri) -> Counter {
        self.rules.get(nlri).map_or(NOTHING, |account| sum(&account.ended, &account.last))
    }
}

/// The sum of two counters. Drops that the platform does not count in one of them are not known in
/// the sum.
pub(crate) fn sum(a: &Counter, b: &Counter) -> Counter {
    let known = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    Counter {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        dropped_packets: known(a.dropped_packets, b.dropped_packets),
        dropped_bytes: known(a.dropped_bytes, b.dropped_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: u8) -> Arc<Nlri> {
        Arc::new(format!("dst 192.0.2.{number}/32").parse().unwrap())
    }

    fn dropped(packets: u64) -> Counter {
        Counter::of_packets(packets, packets * 100, Some(packets))
    }

    #[test]
    fn counting_continues_over_resets_by_us_and_by_others() {
        let (mut ledger, rule) = (CounterLedger::default(), rule(1));
        ledger.read(&rule, dropped(10));
        ledger.read(&rule, dropped(15));
        assert_eq!(ledger.total(&rule), dropped(15));
        ledger.reset();
        assert_eq!(ledger.total(&rule), dropped(15));
        ledger.read(&rule, dropped(20));
        assert!(ledger.is_less_than_last(&rule, &dropped(3)) && !ledger.is_less_than_last(&rule, &dropped(20)));
        ledger.read(&rule, dropped(3));
        assert_eq!(ledger.total(&rule), dropped(38));
    }

    #[test]
    fn removed_entries_count_until_the_rule_is_gone() {
        let (mut ledger, first, second) = (CounterLedger::default(), rule(1), rule(2));
        ledger.end_entry(&first, &dropped(4));
        ledger.end_entry(&first, &dropped(5));
        ledger.end_entry(&second, &dropped(6));
        ledger.retain(|nlri| *nlri == *first);
        assert_eq!([&first, &second].map(|rule| ledger.total(rule).packets), [9, 0]);
    }

    #[test]
    fn drops_that_are_unknown_in_one_entry_are_unknown_in_all() {
        let (mut ledger, rule) = (CounterLedger::default(), rule(1));
        ledger.end_entry(&rule, &Counter::of_packets(7, 700, None));
        ledger.read(&rule, dropped(2));
        assert_eq!(ledger.total(&rule), Counter::of_packets(9, 900, None));
    }
}
