//! The program's statistics of all packets, besides the counters of rules.

use super::layout::StatisticsLine;
use super::memory::Table;

/// Names of the statistics, in the order of `enum statistic` of `bpf/layout.h`.
pub(super) const STATISTICS: [&str; 12] = [
    "not_ip",
    "truncated",
    "tags",
    "extensions",
    "protected",
    "retried",
    "gave_up",
    "continued_too_often",
    "not_redirected",
    "redirected",
    "samples_lost",
    "samples",
];

/// The statistics, summed over all CPUs.
pub(super) fn sum(stats: &Table<StatisticsLine>) -> [u64; 16] {
    (0..stats.len()).map(|cpu| stats.read(cpu)).fold([0; 16], |mut sum, StatisticsLine { count }| {
        sum.iter_mut().zip(count).for_each(|(sum, count)| *sum += count);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_program() {
        let header = include_str!("../../../../bpf/layout.h");
        let (_, list) = header.split_once("enum statistic {").unwrap();
        let (list, _) = list.split_once("STATISTICS =").unwrap();
        let names: Vec<String> =
            list.split(',').filter_map(|name| name.trim().strip_prefix("STAT_").map(str::to_lowercase)).collect();
        let ours = STATISTICS.map(str::to_owned);
        assert_eq!(names, ours);
    }
}
