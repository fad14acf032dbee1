//! How the back end is doing beside its rules: interfaces, warnings, and what the program counted of all packets.

use super::kernel::Xdp;
use super::layout::StatisticsLine;
use super::memory::Table;
use crate::{Attachment, Condition, Interface, means};

/// Names of what the program counts, in the order of `enum statistic` of `bpf/layout.h`.
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

/// What the program counted, on all CPUs together.
pub(super) fn sum(stats: &Table<StatisticsLine>) -> [u64; 16] {
    (0..stats.len()).map(|cpu| stats.read(cpu)).fold([0; 16], |mut sum, StatisticsLine { count }| {
        sum.iter_mut().zip(count).for_each(|(sum, count)| *sum += count);
        sum
    })
}

impl Xdp {
    /// What [`crate::Dataplane::condition`] says.
    pub(super) fn look_around(&self) -> Condition {
        let found = self.interfaces().unwrap_or_default();
        let patterns = &self.options.interfaces;
        let is_absent = |pattern: &&String| {
            !pattern.starts_with('!') && !found.iter().any(|(_, name)| means([pattern.as_str()], name))
        };
        let absent = patterns.iter().filter(is_absent);
        let absent = absent.map(|pattern| Interface {
            name: pattern.clone(),
            attachment: Attachment::None("no interface has this name".to_owned()),
        });
        let mut absent: Vec<Interface> = absent.collect();
        if found.is_empty() && absent.is_empty() {
            let why = "exclusions leave no interface".to_owned();
            let nothing = |name: &String| Interface { name: name.clone(), attachment: Attachment::None(why.clone()) };
            absent.extend(patterns.iter().map(nothing));
        }
        let Some(active) = &self.active else {
            let why = self.trouble.clone().unwrap_or_else(|| "nothing was applied yet".to_owned());
            let unattached = |(_, name)| Interface { name, attachment: Attachment::None(why.clone()) };
            let interfaces = found.into_iter().map(unattached).chain(absent).collect();
            return Condition { interfaces, ..Condition::default() };
        };
        let counted = sum(&active.classifier.tables().stats);
        Condition {
            interfaces: active.links.interfaces(&found).into_iter().chain(absent).collect(),
            warnings: active.links.fallbacks().chain(active.redirects.warnings()).collect(),
            statistics: STATISTICS.into_iter().zip(counted).collect(),
            not_enforced: None,
        }
    }
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
