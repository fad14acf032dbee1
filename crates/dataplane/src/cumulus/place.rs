//! Decides which rules get TCAM entries if there is not room for all.
//!
//! Rules get entries in enforcement order as long as they fit. A rule that does not fit is left
//! out, and smaller ones after it may still use the remaining room. But if the rule left out
//! exempts packets (any effect but a discard), later rules that overlap it and would act on those
//! packets are left out as well: the table must never do to a packet what the whole rule set would
//! not.

use super::asic::DEFAULT_RANGES;
use super::cost::{cost, protected_cost};
use super::line;
use super::settings::Settings;
use crate::kernel::Unenforced;
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::{Effect, IpVersion, Nlri, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The limits of the table.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Entries of IPv4 and of IPv6.
    pub(super) budget: (u64, u64),
    /// Both versions share one budget: a fraction of one is the same fraction of the other.
    pub(super) shared: bool,
    /// Port range checkers, and how many of them rules of other files use.
    pub(super) ranges: Option<(u64, u64)>,
    /// Entries of both versions together, if the switch accepted no more.
    pub(super) ceiling: Option<(u64, String)>,
    /// Rules that the switch refused, with its message.
    pub(super) refused: BTreeMap<Arc<Nlri>, String>,
    /// Protected packets that it does not accept first, with its message: rules must not touch
    /// them.
    pub(super) unprotectable: Vec<(Space, String)>,
}

impl Limits {
    /// The limits of a switch that has refused nothing yet.
    pub(super) fn of(settings: &Settings) -> Self {
        Limits {
            budget: settings.budget(),
            shared: settings.shares_table(),
            ranges: settings.asic.range_checkers().map(|checkers| (checkers, DEFAULT_RANGES)),
            ceiling: None,
            refused: BTreeMap::new(),
            unprotectable: Vec::new(),
        }
    }

    /// Entries that fill the table if IPv4 and IPv6 keep the shares of it that they have now. With
    /// a table of 500 for IPv4 or 250 for IPv6 that is 500 for IPv4 alone, 250 for IPv6 alone, and
    /// 333 for equal numbers of both.
    pub(super) fn capacity(&self, (used4, used6): (u64, u64)) -> u64 {
        let (v4, v6) = self.budget;
        let capacity = match (self.shared, used4, used6) {
            (false, ..) => v4 + v6,
            (true, 0, 0) => v4.max(v6),
            (true, ..) => {
                let [v4, v6, used4, used6] = [v4, v6, used4, used6].map(u128::from);
                let capacity = ((used4 + used6) * v4 * v6).checked_div(used4 * v6 + used6 * v4).unwrap_or(v4 + v6);
                u64::try_from(capacity).unwrap_or(u64::MAX)
            }
        };
        self.ceiling.as_ref().map_or(capacity, |(ceiling, _)| capacity.min(*ceiling))
    }

    fn unprotectable(&self, rule: &CompiledRule) -> Option<String> {
        let words = first_touched(&self.unprotectable, rule)?;
        Some(format!("it would act on protected packets, which the switch does not accept first: {words}"))
    }
}

/// Which rules get entries and which do not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Protected packets that a rule would otherwise act on; the others need no entries.
    pub(super) protected: Vec<Space>,
    /// Neighbour discovery is accepted first, because a rule would otherwise act on it.
    pub(super) neighbor_discovery: bool,
    /// Rules with entries, in enforcement order.
    pub(super) placed: Vec<Arc<CompiledRule>>,
    /// The other rules, and why.
    pub(super) failures: Vec<(Arc<Nlri>, RuleFailure)>,
    /// Entries taken of IPv4 and of IPv6, protected packets included.
    pub(super) entries: (u64, u64),
}

impl Placement {
    /// Entries taken of both versions.
    pub(super) fn all_entries(&self) -> u64 {
        self.entries.0 + self.entries.1
    }
}

/// Places rules, given in enforcement order.
pub(super) fn place<'a>(
    protected: &[Space],
    rules: impl Iterator<Item = &'a Arc<CompiledRule>> + Clone,
    limits: &Limits,
    settings: &Settings,
) -> Placement {
    let mut usage = TcamUsage::new(limits);
    let mut placement = Placement::default();
    // Protected packets without room, and why: rules that match them are left out.
    let mut unprotected: Vec<(Space, String)> = Vec::new();
    let is_refused = |space: &Space| limits.unprotectable.iter().any(|(refused, _)| refused == space);
    for space in touched_by_rules(protected, rules.clone()).into_iter().filter(|space| !is_refused(space)) {
        let (cost, ranges) = (protected_cost(&space, settings), ranges(std::slice::from_ref(&space)));
        match usage.take(space.version(), cost, ranges) {
            Ok(()) => placement.protected.push(space),
            Err(full) => unprotected.push((space, full.to_string())),
        }
    }
    let discovery = line::neighbor_discovery();
    if touches_neighbor_discovery(rules.clone()) && !is_refused(&discovery) {
        let cost = line::NEIGHBOR_DISCOVERY_ENTRIES * settings.interfaces.len() as u64;
        match usage.take(IpVersion::V6, cost, Vec::new()) {
            Ok(()) => placement.neighbor_discovery = true,
            Err(full) => unprotected.push((discovery, full.to_string())),
        }
    }
    let mut unenforced = Unenforced::default();
    for rule in rules {
        let version = rule.nlri.family().version();
        let needed = cost(rule, settings);
        let failure = if let Some(words) = limits.refused.get(&rule.nlri) {
            Some(RuleFailure::Failed(words.clone()))
        } else if let Some(words) = limits.unprotectable(rule) {
            Some(RuleFailure::Failed(words))
        } else if let Some(full) = first_touched(&unprotected, rule) {
            Some(RuleFailure::OverCapacity(format!(
                "it would act on protected packets, and there is no room to accept them first: {full}"
            )))
        } else if let Some(failure) = unenforced.blocks(rule) {
            Some(failure)
        } else {
            let taken = usage.take(version, needed, ranges(&rule.entries));
            taken.err().map(|full| RuleFailure::OverCapacity(full.to_string()))
        };
        match failure {
            None => placement.placed.push(Arc::clone(rule)),
            Some(failure) => unenforced.insert(rule, failure),
        }
    }
    placement.failures = unenforced.applied().failures;
    placement.entries = usage.used;
    placement
}

/// The owner of the first of these packets that a rule would act on.
fn first_touched<'a>(spaces: &'a [(Space, String)], rule: &CompiledRule) -> Option<&'a String> {
    if spaces.is_empty() || rule.effect == Effect::ACCEPT {
        return None;
    }
    let space = Space::of(&rule.nlri);
    spaces.iter().find(|(protected, _)| protected.overlaps(&space)).map(|(_, words)| words)
}

/// Whether one of the rules would act on a message of IPv6 neighbour discovery.
pub(super) fn touches_neighbor_discovery<'a>(mut rules: impl Iterator<Item = &'a Arc<CompiledRule>>) -> bool {
    let space = line::neighbor_discovery();
    rules.any(|rule| {
        let may_touch = rule.nlri.family().version() == IpVersion::V6 && rule.effect != Effect::ACCEPT;
        may_touch && rule.entries.iter().any(|entry| entry.overlaps(&space))
    })
}

/// The protected packets that one of the rules at least would do something to.
fn touched_by_rules<'a>(protected: &[Space], rules: impl Iterator<Item = &'a Arc<CompiledRule>>) -> Vec<Space> {
    if protected.is_empty() {
        return Vec::new();
    }
    let mut hit = vec![false; protected.len()];
    for rule in rules.filter(|rule| rule.effect != Effect::ACCEPT) {
        let space = Space::of(&rule.nlri);
        for (hit, protected) in hit.iter_mut().zip(protected) {
            *hit = *hit || protected.overlaps(&space);
        }
    }
    protected.iter().zip(hit).filter(|(_, hit)| *hit).map(|(space, _)| space.clone()).collect()
}

/// A range of ports that an entry matches: protocols, whether it is the source port, first and last
/// port.
type Range = (Option<Vec<u8>>, bool, u32, u32);

/// The port ranges in these entries; the hardware has a range checker for each.
fn ranges(entries: &[Space]) -> Vec<Range> {
    let mut found = Vec::new();
    for entry in entries {
        for (source, ports) in [(true, entry.source_port()), (false, entry.destination_port())] {
            let Some(ports) = ports.filter(|ports| ports.single().is_none()) else { continue };
            let protocols = entry.protocol().map(|set| (0..=u8::MAX).filter(|&number| set.contains(number)).collect());
            found.extend(ports.iter().map(|(first, last)| (protocols.clone(), source, first, last)));
        }
    }
    found
}

/// Why entries have no room in the switch's table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum CapacityExceeded {
    /// The version's own part is full.
    #[error("it takes {needed} entries, and {left} of {budget} are left")]
    Entries { needed: u64, left: u64, budget: u64 },
    /// The other version has the rest of the table.
    #[error(
        "it takes {needed} entries, and {other} rules with {taken} leave no more of the {budget} for {name}: the switch does not support the most of both together"
    )]
    Shared { needed: u64, name: &'static str, other: &'static str, taken: u64, budget: u64 },
    /// The switch accepted fewer than documented.
    #[error("the switch took {ceiling} entries and no more: {message}")]
    Ceiling { ceiling: u64, message: String },
    /// Port range checkers.
    #[error("it takes {needed} port range checkers, and {left} of the switch's {checkers} are left")]
    Ranges { needed: usize, left: u64, checkers: u64 },
}

/// The used part of the table.
struct TcamUsage<'a> {
    limits: &'a Limits,
    used: (u64, u64),
    ranges: BTreeSet<Range>,
}

impl<'a> TcamUsage<'a> {
    fn new(limits: &'a Limits) -> Self {
        TcamUsage { limits, used: (0, 0), ranges: BTreeSet::new() }
    }

    /// Takes entries, or says why they do not fit.
    fn take(&mut self, version: IpVersion, cost: u64, mut ranges: Vec<Range>) -> Result<(), CapacityExceeded> {
        let (v4, v6) = self.limits.budget;
        let mut used = self.used;
        let (of_version, budget) = match version {
            IpVersion::V4 => (&mut used.0, v4),
            IpVersion::V6 => (&mut used.1, v6),
        };
        *of_version += cost;
        if *of_version > budget {
            return Err(CapacityExceeded::Entries { needed: cost, left: budget + cost - *of_version, budget });
        }
        // As fractions of the whole, in integers.
        let parts = (u128::from(used.0) * u128::from(v6), u128::from(used.1) * u128::from(v4));
        if self.limits.shared && parts.0 + parts.1 > u128::from(v4) * u128::from(v6) {
            let (name, other, taken) = match version {
                IpVersion::V4 => ("IPv4", "IPv6", self.used.1),
                IpVersion::V6 => ("IPv6", "IPv4", self.used.0),
            };
            return Err(CapacityExceeded::Shared { needed: cost, name, other, taken, budget });
        }
        if let Some((ceiling, words)) = &self.limits.ceiling
            && used.0 + used.1 > *ceiling
        {
            return Err(CapacityExceeded::Ceiling { ceiling: *ceiling, message: words.clone() });
        }
        if let Some((checkers, of_others)) = self.limits.ranges {
            ranges.sort_unstable();
            ranges.dedup();
            ranges.retain(|range| !self.ranges.contains(range));
            let left = checkers.saturating_sub(of_others + self.ranges.len() as u64);
            if ranges.len() as u64 > left {
                return Err(CapacityExceeded::Ranges { needed: ranges.len(), left, checkers });
            }
            self.ranges.extend(ranges);
        }
        self.used = used;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cumulus::capabilities;
    use engine::compile::{Verdict, compile};

    fn settings(entries: u64) -> Settings {
        Settings { capacity: (Some(entries), Some(entries)), reserve: Some(0), ..Settings::default() }
    }

    /// Which of the rules get entries in a table of this size.
    fn placed(entries: u64, rules: &[&str]) -> Vec<usize> {
        let settings = settings(entries);
        let mut compiled: Vec<(usize, Arc<CompiledRule>)> = rules
            .iter()
            .map(|rule| match compile(&rule.parse().expect(rule), &capabilities(&settings)) {
                Verdict::Exact(rule) => Arc::new(rule),
                Verdict::Refused(refusal) => panic!("{rule}: {refusal}"),
            })
            .enumerate()
            .collect();
        compiled.sort_by(|a, b| a.1.nlri.cmp(&b.1.nlri));
        let limits = Limits::of(&settings);
        let placement = place(&[], compiled.iter().map(|(_, rule)| rule), &limits, &settings);
        let has_place = |rule: &CompiledRule| placement.placed.iter().any(|placed| placed.nlri == rule.nlri);
        let mut places: Vec<usize> = compiled.iter().filter(|(_, rule)| has_place(rule)).map(|&(n, _)| n).collect();
        places.sort_unstable();
        assert_eq!(places.len() + placement.failures.len(), rules.len());
        places
    }

    #[test]
    fn order_decides_and_small_rules_fill_the_room() {
        let rules = [
            "dst 192.0.2.1/32 proto udp sport 123 then discard",
            "dst 192.0.2.2/32 proto udp sport 1,3,5 then discard",
            "dst 192.0.2.3/32 proto udp sport 53 then discard",
        ];
        assert_eq!(placed(5, &rules), [0, 1, 2]);
        assert_eq!(placed(4, &rules), [0, 1]);
        assert_eq!(placed(2, &rules), [0, 2]);
        assert_eq!(placed(0, &rules), [0; 0]);
    }

    #[test]
    fn nothing_is_dropped_that_a_rule_without_place_exempts() {
        let rules = [
            "dst 192.0.2.1/32 proto udp sport 1,3,5 then accept",
            "dst 192.0.2.1/32 proto udp then discard",
            "dst 192.0.2.1/32 then accept",
            "dst 192.0.2.9/32 then discard",
        ];
        assert_eq!(placed(2, &rules), [2, 3]);
        // A rate is an exception, too: it exempts some packets from them.
        assert_eq!(placed(1, &["dst 192.0.2.1/32 then rate 1mbps", "dst 192.0.2.0/24 then discard"]), [0; 0]);
        // A discard is not: the packets would be dropped anyway.
        let rules = ["dst 192.0.2.1/32 proto udp sport 1,3 then discard", "dst 192.0.2.0/24 then discard"];
        assert_eq!(placed(1, &rules), [1]);
    }

    #[test]
    fn protection_takes_entries_where_it_is_needed() {
        let settings = settings(2);
        let protected: Vec<Space> =
            ["dst 192.0.2.1/32 then accept", "dst 198.51.100.1/32 proto tcp dport 179 then accept"]
                .map(|text| Space::of(&text.parse::<flowspec::Rule>().unwrap().nlri))
                .to_vec();
        let limits = Limits::of(&settings);
        for (text, needed) in [
            ("dst 192.0.2.0/24 proto udp then discard", &protected[..1]),
            ("dst 198.51.100.1/32 proto udp then discard", &[]),
            ("dst 0.0.0.0/0 then accept", &[]),
        ] {
            let Verdict::Exact(rule) = compile(&text.parse().unwrap(), &capabilities(&settings)) else {
                panic!("{text}")
            };
            let placement = place(&protected, [Arc::new(rule)].iter(), &limits, &settings);
            assert_eq!((placement.protected.as_slice(), placement.placed.len()), (needed, 1), "{text}");
            assert_eq!(placement.entries.0, needed.len() as u64 + 1, "{text}");
        }
    }

    /// The result for rules on an ASIC: whether each gets entries, or why not.
    fn on(asic: &str, rules: impl Iterator<Item = String>) -> (Placement, Vec<String>) {
        let settings =
            Settings { asic: asic.parse().unwrap(), release: super::super::Release::new(4, 3), ..Settings::default() };
        let compiled: Vec<Arc<CompiledRule>> = rules
            .map(|rule| match compile(&rule.parse().expect(&rule), &capabilities(&settings)) {
                Verdict::Exact(rule) => Arc::new(rule),
                Verdict::Refused(refusal) => panic!("{rule}: {refusal}"),
            })
            .collect();
        let mut placement = place(&[], compiled.iter(), &Limits::of(&settings), &settings);
        let failures = std::mem::take(&mut placement.failures).into_iter().map(|(_, failure)| match failure {
            RuleFailure::OverCapacity(words) => words,
            RuleFailure::Failed(words) => panic!("{words}"),
        });
        let failures = failures.collect();
        (placement, failures)
    }

    #[test]
    fn what_is_protected_and_has_no_room_costs_only_rules_that_touch_it() {
        let settings = settings(2);
        let space = |text: &str| Space::of(&text.parse::<flowspec::Rule>().unwrap().nlri);
        let protected =
            ["dst 192.0.2.1/32 then accept", "dst 192.0.2.2/32 then accept", "dst 192.0.2.3/32 then accept"];
        let rules = [
            "dst 192.0.2.2/31 proto udp then discard",
            "dst 192.0.2.0/31 then discard",
            "dst 198.51.100.1/32 then discard",
        ];
        let compiled: Vec<Arc<CompiledRule>> = rules
            .iter()
            .map(|rule| match compile(&rule.parse().expect(rule), &capabilities(&settings)) {
                Verdict::Exact(rule) => Arc::new(rule),
                Verdict::Refused(refusal) => panic!("{rule}: {refusal}"),
            })
            .collect();
        let placement = place(&protected.map(space), compiled.iter(), &Limits::of(&settings), &settings);
        assert_eq!((placement.protected.len(), placement.placed.len(), placement.failures.len()), (2, 0, 3));
        let words = format!("{:?}", placement.failures);
        assert_eq!(words.matches("protected packets").count(), 1, "{words}");
        // With room for the last rule, too.
        let limits = Limits { budget: (4, 4), ..Limits::of(&settings) };
        let placement = place(&protected.map(space), compiled.iter(), &limits, &settings);
        assert_eq!((placement.protected.len(), placement.placed.len()), (3, 1));
    }

    #[test]
    fn the_two_versions_are_one_budget_where_the_documents_say_so() {
        let v4 = |n: usize| format!("dst 10.0.{}.{}/32 then discard", n / 256, n % 256);
        let v6 = |n: usize| format!("dst 2001:db8::{n:x}/128 then discard");
        // 456 of IPv4 or 206 of IPv6, or parts of both. Of those 206, neighbour discovery takes
        // five.
        let (placement, failures) = on("spectrum1", (0..228).map(v4).chain((0..206).map(v6)));
        assert_eq!((placement.entries, placement.placed.len()), ((228, 103), 228 + 98));
        assert!(failures[0].contains("does not support the most of both together"), "{failures:?}");
        let rules = ["dst 192.0.2.1/32 then discard", "dst 2001:db8::1/128 proto udp then discard"];
        assert_eq!(placed(1, &rules), [0, 1], "an operator who gives both sizes knows better");
    }

    #[test]
    fn capacity_is_that_of_one_table_where_the_versions_share_it() {
        let limits = Limits { budget: (500, 250), shared: true, ..Limits::of(&settings(0)) };
        for (used, capacity) in [
            ((0, 0), 500),
            ((100, 0), 500),
            ((500, 0), 500),
            ((0, 10), 250),
            ((0, 250), 250),
            ((100, 100), 333),
            ((250, 125), 375),
        ] {
            assert_eq!(limits.capacity(used), capacity, "{used:?}");
        }
        // Two separate tables, and a switch that accepted fewer than documented.
        assert_eq!(Limits { shared: false, ..limits.clone() }.capacity((100, 100)), 750);
        let ceiling = Some((120, "full".to_owned()));
        assert_eq!(Limits { ceiling, ..limits }.capacity((100, 0)), 120);
    }

    #[test]
    fn each_asic_keeps_to_its_documented_figures() {
        for asic in super::super::Asic::all() {
            let v4 =
                (0..13_000usize).map(|n| format!("dst 10.{}.{}.{}/32 then discard", n >> 16, n >> 8 & 255, n & 255));
            let (placement, _) = on(asic.name(), v4);
            let (documented, _) = asic.capacity(false);
            let default_rules = asic.default_rules().map_or(44, |rules| rules.0);
            assert_eq!(placement.entries.0, documented - default_rules, "{}", asic.name());
        }
    }

    #[test]
    fn neighbour_discovery_takes_entries_where_a_rule_would_touch_it() {
        for (rule, needed) in [
            ("dst 2001:db8::1/128 then discard", 5),
            ("dst 2001:db8::1/128 proto icmpv6 icmp-type 135 then rate 1mbps", 5),
            ("dst 2001:db8::1/128 proto udp then discard", 0),
            ("dst 2001:db8::1/128 proto icmpv6 icmp-type 128 then discard", 0),
            ("dst 2001:db8::1/128 then accept", 0),
            ("dst 192.0.2.1/32 then discard", 0),
        ] {
            let (placement, _) = on("spectrum1", [rule.to_owned()].into_iter());
            let own = cost(
                &placement.placed[0],
                &Settings { release: super::super::Release::new(4, 3), ..Settings::default() },
            );
            assert_eq!(
                (placement.entries.0 + placement.entries.1 - own, placement.neighbor_discovery),
                (needed, needed > 0),
                "{rule}"
            );
        }
    }

    #[test]
    fn without_room_for_neighbour_discovery_only_rules_that_touch_it_stay_out() {
        let rules = [
            "dst 192.0.2.1/32 then discard",
            "dst 2001:db8::1/128 then discard",
            "dst 2001:db8::2/128 proto udp then discard",
        ];
        assert_eq!(placed(4, &rules), [0, 2]);
        assert_eq!(placed(7, &rules), [0, 1, 2]);
    }

    #[test]
    fn range_checkers_are_counted() {
        let range = |n: usize| format!("dst 192.0.2.{n}/32 proto udp sport {}-{} then discard", n * 100, n * 100 + 50);
        let (placement, failures) = on("tomahawk", (1..=40).map(range));
        assert_eq!((placement.placed.len(), failures.len()), (22, 18));
        assert_eq!(failures[0], "it takes 1 port range checkers, and 0 of the switch's 24 are left");
        // The same range again needs no further one.
        let same = |n: usize| format!("dst 192.0.2.{n}/32 proto udp sport 1000-2000 then discard");
        let (placement, failures) = on("tomahawk", (1..=40).map(same));
        assert_eq!((placement.placed.len(), failures.len()), (40, 0));
        // Short ones are expanded and need none.
        let short = |n: usize| format!("dst 192.0.2.{n}/32 proto udp sport {}-{} then discard", n * 100, n * 100 + 4);
        let (placement, failures) = on("trident2", (1..=40).map(short));
        assert_eq!((placement.placed.len(), failures.len(), placement.entries.0), (40, 0, 200));
        let (placement, _) = on("spectrum1", (1..=40).map(range));
        assert_eq!(placement.placed.len(), 40, "none are known to be limited there");
    }
}
