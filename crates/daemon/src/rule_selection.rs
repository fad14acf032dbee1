//! Which rules a list has, and in which order.

use crate::activity::Activity;
use crate::rule_filter::RuleFilter;
use api::RuleState;
use dataplane::Counter;
use flowspec::Nlri;
use std::cmp::Reverse;
use std::sync::Arc;

/// What decides about the order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ListOrder {
    /// As rules are enforced.
    #[default]
    Enforcement,
    /// Packets a second.
    Packets,
    /// Bits a second.
    Bits,
    /// Dropped packets a second.
    Dropped,
    /// The most packets a second so far.
    Peak,
    /// When a packet matched last.
    LastHit,
    /// Packets in total.
    Total,
}

/// Which rules, in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleSelection {
    /// All words match.
    pub(crate) filter: RuleFilter,
    /// In one of these states; in any, if there are none.
    pub(crate) states: Vec<RuleState>,
    /// The order.
    pub(crate) order: ListOrder,
}

/// A rule of a list.
#[derive(Clone, Debug)]
pub(crate) struct SelectedRule {
    /// Its key.
    pub(crate) nlri: Arc<Nlri>,
    /// Higher comes first.
    pub(crate) rank: Rank,
}

/// What the list is sorted by, and the packets in total.
pub(crate) type Rank = (u64, u64);

impl ListOrder {
    /// The rank of a rule with this activity and this counter.
    pub(crate) fn rank(self, activity: Option<&Activity>, counter: Option<Counter>) -> Rank {
        let total = counter.map_or(0, |counter| counter.packets);
        // A thousandth of a packet a second makes a difference; negative and infinite rates do not
        // occur.
        let number = |value: f32| (f64::from(value) * 1000.0) as u64;
        let rate = activity.and_then(Activity::rate).unwrap_or_default();
        let key = match self {
            ListOrder::Enforcement => return (0, 0),
            ListOrder::Packets => number(rate.packets),
            ListOrder::Bits => number(rate.bits),
            ListOrder::Dropped => number(rate.dropped.unwrap_or_default()),
            ListOrder::Peak => activity.and_then(Activity::peak).map_or(0, |peak| number(peak.packets)),
            ListOrder::LastHit => activity.and_then(Activity::last_hit).map_or(0, u64::from),
            ListOrder::Total => total,
        };
        (key, total)
    }
}

/// The rules in the order of their rank; those of equal rank as they are enforced.
pub(crate) fn sorted(mut rules: Vec<SelectedRule>) -> Vec<Arc<Nlri>> {
    rules.sort_by_key(|rule| Reverse(rule.rank));
    rules.into_iter().map(|rule| rule.nlri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn most_comes_first_and_equals_keep_the_order_of_enforcement() {
        let counter = |packets| Counter { packets, bytes: packets, ..Counter::default() };
        let active = |packets: u64| {
            let mut activity = Activity::new(Counter::default(), Duration::ZERO);
            activity.take(counter(packets), Duration::from_secs(1));
            activity
        };
        let rules = [active(5), active(50), active(5), active(0)];
        let order = |order: ListOrder| {
            let selected = rules.iter().enumerate().map(|(number, activity)| SelectedRule {
                nlri: Arc::new(format!("dst 192.0.2.{number}/32").parse().unwrap()),
                rank: order.rank(Some(activity), Some(counter(100 - number as u64))),
            });
            let texts = sorted(selected.collect()).iter().map(|nlri| nlri.to_string()).collect::<Vec<_>>();
            texts.iter().map(|text| text.trim_start_matches("dst 192.0.2.")[..1].to_owned()).collect::<String>()
        };
        assert_eq!(order(ListOrder::Enforcement), "0123");
        for by in [ListOrder::Packets, ListOrder::Bits, ListOrder::Peak] {
            assert_eq!(order(by), "1023", "{by:?}");
        }
        assert_eq!(order(ListOrder::Total), "0123");
        assert_eq!(order(ListOrder::LastHit), "0123");
    }
}
