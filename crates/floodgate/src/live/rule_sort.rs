//! In which order people want to see rules.

use super::rule_with_rate::RuleWithRate;
use clap::ValueEnum;
use std::cmp::Reverse;

/// What decides about the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleSort {
    /// Packets a second
    #[default]
    Packets,
    /// Bits a second
    Bits,
    /// Dropped packets a second
    Dropped,
    /// The most packets a second so far
    Peak,
    /// When a packet matched last
    LastHit,
    /// Packets in total
    Total,
}

impl RuleSort {
    /// The key in `floodgate top`, and how it is called there.
    pub(super) const KEYS: [(char, RuleSort, &'static str); 6] = [
        ('p', RuleSort::Packets, "packets/s"),
        ('b', RuleSort::Bits, "bits/s"),
        ('d', RuleSort::Dropped, "dropped/s"),
        ('k', RuleSort::Peak, "peak"),
        ('l', RuleSort::LastHit, "last hit"),
        ('t', RuleSort::Total, "total"),
    ];

    /// Most first; of equals those with more packets altogether, then by id, so that they do not
    /// change places.
    pub(super) fn order(self, rules: &mut [RuleWithRate]) {
        let number = |value: f64| (value * 1000.0) as u64;
        rules.sort_by_cached_key(|RuleWithRate { rule, rate }| {
            let rate = rate.unwrap_or_default();
            let key = match self {
                RuleSort::Packets => number(rate.packets_per_second),
                RuleSort::Bits => number(rate.bits_per_second),
                RuleSort::Dropped => number(rate.dropped_per_second.unwrap_or_default()),
                RuleSort::Peak => rule.peak.as_ref().map_or(0, |peak| number(peak.packets_per_second)),
                RuleSort::LastHit | RuleSort::Total => 0,
            };
            let hit = rule.last_hit.clone().filter(|_| self == RuleSort::LastHit);
            (Reverse(key), Reverse(hit), Reverse(rule.packets), rule.id.clone())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{PeakView, RateView, RuleView};

    #[test]
    fn each_key_has_its_order() {
        let rule = |id: &str, rate: Option<f64>, peak: f64, hit: Option<&str>, packets: u64| RuleWithRate {
            rule: RuleView {
                id: id.to_owned(),
                packets: Some(packets),
                peak: Some(PeakView { packets_per_second: peak, ..PeakView::default() }),
                last_hit: hit.map(str::to_owned),
                ..RuleView::default()
            },
            rate: rate.map(|rate| RateView {
                packets_per_second: rate,
                bits_per_second: 10.0 - rate,
                ..RateView::default()
            }),
        };
        let mut rules = vec![
            rule("a", Some(1.0), 9.0, Some("2026-11-26T10:00:00.000Z"), 100),
            rule("b", Some(9.0), 9.0, Some("2026-11-26T11:00:00.000Z"), 5),
            rule("c", Some(1.0), 50.0, None, 200),
            rule("d", None, 0.0, None, 7),
        ];
        for (sort, wanted) in [
            (RuleSort::Packets, "bcad"),
            (RuleSort::Bits, "cabd"),
            (RuleSort::Dropped, "cadb"),
            (RuleSort::Peak, "cabd"),
            (RuleSort::LastHit, "bacd"),
            (RuleSort::Total, "cadb"),
        ] {
            sort.order(&mut rules);
            assert_eq!(rules.iter().map(|rated| rated.rule.id.as_str()).collect::<String>(), wanted, "{sort:?}");
        }
    }
}
