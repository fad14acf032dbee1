//! Which rules get a place in the switch's table when there is not room for all.
//!
//! Rules are taken in enforcement order as long as they fit. One that does not fit stays out, and smaller ones behind it may still fill
//! the room. But where the one left out would have let packets off (anything but a discard), later rules that overlap it and would act on
//! those packets stay out as well: the table must never do to a packet what the whole rule set would not.

use super::render::{cost, protected_cost};
use super::settings::Settings;
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::{Effect, IpVersion, Nlri, Policing, RuleId, Space};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What may be put in the table.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Entries of IPv4 and of IPv6.
    pub(super) budget: (u64, u64),
    /// Entries of both together, where the switch took no more.
    pub(super) ceiling: Option<(u64, String)>,
    /// Rules that the switch refused, with its words.
    pub(super) refused: BTreeMap<Arc<Nlri>, String>,
}

/// Who is in and who is not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Protected packets that a rule would otherwise do something to; the others need no entries.
    pub(super) protected: Vec<Space>,
    /// Rules with a place, in enforcement order.
    pub(super) placed: Vec<Arc<CompiledRule>>,
    /// The others, and why.
    pub(super) failures: Vec<(Arc<Nlri>, RuleFailure)>,
    /// Entries taken of IPv4 and of IPv6, protected packets included.
    pub(super) entries: (u64, u64),
}

impl Placement {
    /// Entries taken of both.
    pub(super) fn all_entries(&self) -> u64 {
        self.entries.0 + self.entries.1
    }
}

/// Places rules, given in enforcement order. `Err` when not even what is protected has room.
pub(super) fn place<'a>(
    protected: &[Space],
    rules: impl Iterator<Item = &'a Arc<CompiledRule>> + Clone,
    limits: &Limits,
    settings: &Settings,
) -> Result<Placement, String> {
    let mut room = Room { v4: limits.budget.0, v6: limits.budget.1, all: limits.ceiling.as_ref().map(|c| c.0) };
    let mut placement = Placement { protected: in_danger(protected, rules.clone()), ..Placement::default() };
    for space in &placement.protected {
        let cost = protected_cost(space, settings);
        if !room.take(space.version(), cost) {
            return Err(format!(
                "the packets that are protected take more entries than the {} in the table",
                room.of(space.version())
            ));
        }
        count(&mut placement.entries, space.version(), cost);
    }
    let mut missing = Missing::default();
    for rule in rules {
        let version = rule.nlri.family().version();
        let needed = cost(rule, settings);
        let failure = if let Some(words) = limits.refused.get(&rule.nlri) {
            Some(RuleFailure::Failed(words.clone()))
        } else if !room.fits(version, needed) {
            Some(RuleFailure::OverCapacity(room.full(version, needed, limits)))
        } else {
            missing.in_the_way(rule).map(|id| {
                RuleFailure::OverCapacity(format!(
                    "the earlier rule {id}, which lets some of its packets off, is not in the table"
                ))
            })
        };
        match failure {
            None => {
                room.take(version, needed);
                count(&mut placement.entries, version, needed);
                placement.placed.push(Arc::clone(rule));
            }
            Some(failure) => {
                missing.note(rule);
                placement.failures.push((Arc::clone(&rule.nlri), failure));
            }
        }
    }
    Ok(placement)
}

/// The protected packets that one of the rules at least would do something to.
fn in_danger<'a>(protected: &[Space], rules: impl Iterator<Item = &'a Arc<CompiledRule>>) -> Vec<Space> {
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

fn count(entries: &mut (u64, u64), version: IpVersion, cost: u64) {
    match version {
        IpVersion::V4 => entries.0 += cost,
        IpVersion::V6 => entries.1 += cost,
    }
}

struct Room {
    v4: u64,
    v6: u64,
    all: Option<u64>,
}

impl Room {
    fn of(&self, version: IpVersion) -> u64 {
        match version {
            IpVersion::V4 => self.v4,
            IpVersion::V6 => self.v6,
        }
    }

    fn fits(&self, version: IpVersion, cost: u64) -> bool {
        cost <= self.of(version) && self.all.is_none_or(|all| cost <= all)
    }

    fn take(&mut self, version: IpVersion, cost: u64) -> bool {
        let fits = self.fits(version, cost);
        if fits {
            match version {
                IpVersion::V4 => self.v4 -= cost,
                IpVersion::V6 => self.v6 -= cost,
            }
            self.all = self.all.map(|all| all - cost);
        }
        fits
    }

    /// Why a rule does not fit, in words.
    fn full(&self, version: IpVersion, needed: u64, limits: &Limits) -> String {
        match (&limits.ceiling, self.of(version) >= needed) {
            (Some((ceiling, words)), true) => format!("the switch took {ceiling} entries and no more: {words}"),
            _ => {
                let (v4, v6) = limits.budget;
                let budget = if version == IpVersion::V4 { v4 } else { v6 };
                format!("it takes {needed} entries, and {} of {budget} are left", self.of(version))
            }
        }
    }
}

/// Rules without a place that would have let packets off.
#[derive(Default)]
struct Missing(Vec<(RuleId, Space)>);

impl Missing {
    fn note(&mut self, rule: &CompiledRule) {
        if !matches!(rule.effect.policing, Policing::Discard) {
            self.0.push((rule.id, Space::of(&rule.nlri)));
        }
    }

    /// The first of them that has packets on which this rule would act.
    fn in_the_way(&self, rule: &CompiledRule) -> Option<RuleId> {
        if self.0.is_empty() || rule.effect == Effect::ACCEPT {
            return None;
        }
        let space = Space::of(&rule.nlri);
        self.0.iter().find(|(_, missing)| missing.overlaps(&space)).map(|&(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cumulus::capabilities;
    use engine::compile::{Verdict, compile};

    fn settings(entries: u64) -> Settings {
        Settings { capacity: (Some(entries), Some(entries)), reserve: 0, ..Settings::default() }
    }

    /// Which of the rules have a place in a table of so many entries.
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
        let limits = Limits { budget: settings.budget(), ceiling: None, refused: BTreeMap::new() };
        let placement = place(&[], compiled.iter().map(|(_, rule)| rule), &limits, &settings).unwrap();
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
    fn nothing_is_dropped_that_a_rule_without_place_lets_off() {
        let rules = [
            "dst 192.0.2.1/32 proto udp sport 1,3,5 then accept",
            "dst 192.0.2.1/32 proto udp then discard",
            "dst 192.0.2.1/32 then accept",
            "dst 192.0.2.9/32 then discard",
        ];
        assert_eq!(placed(2, &rules), [2, 3]);
        // A rate is an exception, too: it lets some of them off.
        assert_eq!(placed(1, &["dst 192.0.2.1/32 then rate 1mbps", "dst 192.0.2.0/24 then discard"]), [0; 0]);
        // A discard is none: the packets would be dropped anyway.
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
        let limits = Limits { budget: settings.budget(), ceiling: None, refused: BTreeMap::new() };
        for (text, needed) in [
            ("dst 192.0.2.0/24 proto udp then discard", &protected[..1]),
            ("dst 198.51.100.1/32 proto udp then discard", &[]),
            ("dst 0.0.0.0/0 then accept", &[]),
        ] {
            let Verdict::Exact(rule) = compile(&text.parse().unwrap(), &capabilities(&settings)) else {
                panic!("{text}")
            };
            let placement = place(&protected, [Arc::new(rule)].iter(), &limits, &settings).unwrap();
            assert_eq!((placement.protected.as_slice(), placement.placed.len()), (needed, 1), "{text}");
            assert_eq!(placement.entries.0, needed.len() as u64 + 1, "{text}");
        }
    }

    #[test]
    fn the_two_versions_have_a_table_each() {
        let rules = ["dst 192.0.2.1/32 then discard", "dst 2001:db8::1/128 then discard"];
        assert_eq!(placed(1, &rules), [0, 1]);
    }
}
