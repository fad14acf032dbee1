//! The rules that matched most packets, for metrics of single rules.

use dataplane::Counter;
use flowspec::RuleId;

/// A rule, and what it counted.
#[derive(Clone, Debug)]
pub struct BusyRule {
    /// Its name.
    pub id: RuleId,
    /// What it counted since it was installed.
    pub counter: Counter,
}

/// Some rules, and how many there are beside them.
#[derive(Clone, Debug, Default)]
pub struct Busiest {
    /// Those that matched most.
    pub rules: Vec<BusyRule>,
    /// All others.
    pub left_out: u64,
}

impl Busiest {
    /// Of all rules those that matched most packets, so many at most; in the order of their names.
    pub(crate) fn of(rules: impl Iterator<Item = BusyRule>, most: usize) -> Self {
        let mut rules: Vec<BusyRule> = rules.collect();
        let all = rules.len();
        if all > most {
            let key = |rule: &BusyRule| (std::cmp::Reverse(rule.counter.packets), rule.id);
            if most > 0 {
                rules.select_nth_unstable_by_key(most - 1, key);
            }
            rules.truncate(most);
        }
        rules.sort_unstable_by_key(|rule| rule.id);
        Busiest { left_out: (all - rules.len()) as u64, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_taken_and_the_others_counted() {
        let rule = |n: u64| {
            let id = format!("dst 192.0.2.{n}/32").parse::<flowspec::Nlri>().unwrap().id();
            BusyRule { id, counter: Counter { packets: n * 7 % 10, ..Counter::default() } }
        };
        let packets = |most| {
            let busiest = Busiest::of((0..10).map(rule), most);
            let mut packets: Vec<u64> = busiest.rules.iter().map(|rule| rule.counter.packets).collect();
            assert!(busiest.rules.is_sorted_by_key(|rule| rule.id));
            packets.sort_unstable();
            (packets, busiest.left_out)
        };
        assert_eq!(packets(3), (vec![7, 8, 9], 7));
        assert_eq!(packets(0), (vec![], 10));
        assert_eq!(packets(100), ((0..10).collect(), 0));
    }
}
