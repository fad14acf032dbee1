//! Decides which rules get entries of the switch's tables, and with which priorities.
//!
//! Rules get entries in enforcement order as long as they fit. A rule that does not fit is left
//! out, and smaller ones after it may still use the remaining room. But if the rule left out
//! exempts packets, later rules that would act on those packets are left out as well.

use super::capabilities::capabilities;
use super::entry::{Entry, Owner, Policer, Unwritable};
use super::rendered::Rendered;
use super::settings::Settings;
use crate::kernel::priority::{self, OrderedEntry};
use crate::kernel::{DesiredState, PerVersion, Unenforced, VERSIONS};
use engine::compile::{Refusal, split_into_entries};
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::space::{Condition, IntervalSet, ProtocolSet};
use flowspec::{Effect, IpVersion, Nlri, Space};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The highest priority, which is evaluated first; the lowest is 1. All ASICs with known limits
/// accept these.
pub(super) const HIGHEST_PRIORITY: u32 = 16_000;

/// Distinct port ranges of our rules: some ASICs have 16 for all rules of the switch, and exceeding
/// that is dangerous.
const MOST_RANGES: usize = 12;

/// The limits of the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    /// Maximum entries of each table, and the reason for it.
    pub(super) entries: PerVersion<(u64, String)>,
    /// Rules that the switch refused in this change.
    pub(super) refused: BTreeMap<Arc<Nlri>, RuleFailure>,
    /// Packets that it does not accept first, with its message: rules must not touch them.
    pub(super) unprotectable: Vec<(Space, String)>,
}

/// An entry with a place.
#[derive(Clone, Debug)]
pub(super) struct PlacedEntry {
    pub(super) entry: Entry,
    pub(super) priority: u32,
    /// The rule, or the packets that are accepted first.
    pub(super) owner: PlacedOwner,
}

/// The owner of an entry.
#[derive(Clone, Debug)]
pub(super) enum PlacedOwner {
    Rule(Arc<Nlri>),
    Protected(Arc<Space>),
}

/// Which rules get entries and which do not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// In enforcement order.
    pub(super) entries: Vec<PlacedEntry>,
    /// Rules with entries, in enforcement order.
    pub(super) rules: Vec<Arc<CompiledRule>>,
    /// The other rules, and why.
    pub(super) failures: Vec<(Arc<Nlri>, RuleFailure)>,
    /// Entries of each table.
    pub(super) used: PerVersion<u64>,
}

impl Placement {
    /// The policers that they use.
    pub(super) fn policers(&self) -> BTreeSet<&Policer> {
        self.entries.iter().filter_map(|placed| placed.entry.policer.as_ref()).collect()
    }
}

/// Priorities of entries that are in the tables, by their stems.
pub(super) type KnownPriorities = HashMap<(IpVersion, String), u32>;

/// Places rules. `known` are the priorities of existing entries.
pub(super) fn place(
    wanted: &DesiredState,
    limits: &Limits,
    known: &KnownPriorities,
    rendered: &mut Rendered,
    settings: &Settings,
) -> Placement {
    let mut placement = Placement::default();
    let mut usage = Usage { limits, used: PerVersion::default(), ranges: BTreeSet::new() };
    // The input for entries, in order.
    let mut ordered: Vec<(Entry, Space, PlacedOwner, u32)> = Vec::new();
    // Protected packets that cannot come first, and why: rules that act on them are left out.
    let mut unprotected: Vec<(Space, RuleFailure)> = Vec::new();
    for space in shields(wanted) {
        let owner = Arc::new(space.clone());
        match shield(&space, limits, settings) {
            Err(error) => unprotected.push((space, RuleFailure::Failed(error.to_string()))),
            Ok(parts) => match usage.take(&parts.iter().map(|(entry, _)| entry).collect::<Vec<_>>()) {
                Err(full) => unprotected.push((space, RuleFailure::OverCapacity(full.to_string()))),
                Ok(()) => ordered.extend(
                    parts.into_iter().map(|(entry, part)| (entry, part, PlacedOwner::Protected(Arc::clone(&owner)), 0)),
                ),
            },
        }
    }
    let mut unenforced = Unenforced::default();
    for (group, rule) in (1..).zip(wanted.rules.values()) {
        let entries = rendered.of(rule);
        let failure = if let Some(failure) = limits.refused.get(&rule.nlri) {
            Some(failure.clone())
        } else if let Some(failure) = first_touched(&unprotected, rule) {
            Some(failure)
        } else if let Some(failure) = unenforced.blocks(rule) {
            Some(failure)
        } else {
            match &entries {
                Err(unwritable) => Some(RuleFailure::Failed(unwritable.to_string())),
                Ok(entries) => {
                    let full = usage.take(&entries.iter().collect::<Vec<_>>()).err();
                    full.map(|full| RuleFailure::OverCapacity(full.to_string()))
                }
            }
        };
        match (failure, entries) {
            (None, Ok(entries)) => {
                placement.rules.push(Arc::clone(rule));
                let owner = || PlacedOwner::Rule(Arc::clone(&rule.nlri));
                let parts = entries.iter().zip(&rule.entries);
                ordered.extend(parts.map(|(entry, space)| (entry.clone(), space.clone(), owner(), group)));
            }
            (Some(failure), _) => unenforced.insert(rule, failure),
            // An entry that cannot be written is a failure, so none is missing here.
            (None, Err(_)) => {}
        }
    }
    placement.failures = unenforced.applied().failures;
    placement.used = usage.used;
    placement.entries = prioritized(ordered, known);
    placement
}

/// Assigns priorities to entries: existing ones keep theirs if possible.
fn prioritized(ordered: Vec<(Entry, Space, PlacedOwner, u32)>, known: &KnownPriorities) -> Vec<PlacedEntry> {
    let mut numbers = vec![0; ordered.len()];
    for version in VERSIONS {
        let of_version: Vec<usize> = (0..ordered.len()).filter(|&at| ordered[at].0.version == version).collect();
        let entries: Vec<OrderedEntry<'_>> = of_version
            .iter()
            .map(|&at| {
                let (entry, space, _, group) = &ordered[at];
                let known = known.get(&(version, entry.stem().to_owned()));
                let number = known.and_then(|priority| (HIGHEST_PRIORITY + 1).checked_sub(*priority));
                OrderedEntry { space, group: *group, number }
            })
            .collect();
        // No more entries are placed than there are priorities, so that each gets one.
        let assigned = priority::assign(&entries, 1..=HIGHEST_PRIORITY).unwrap_or_default();
        for (at, number) in of_version.into_iter().zip(assigned) {
            numbers[at] = HIGHEST_PRIORITY + 1 - number;
        }
    }
    let with_priority = |((entry, _, owner, _), priority)| PlacedEntry { entry, priority, owner };
    ordered.into_iter().zip(numbers).map(with_priority).collect()
}

/// Packets that have to be accepted first, since a rule would otherwise act on them.
fn shields(wanted: &DesiredState) -> Vec<Space> {
    let discovery = neighbor_discovery();
    let acting: Vec<(Space, &CompiledRule)> = wanted
        .rules
        .values()
        .filter(|rule| rule.effect != Effect::ACCEPT)
        .map(|rule| (Space::of(&rule.nlri), rule.as_ref()))
        .collect();
    let protected = wanted.protected.iter().chain(std::iter::once(&discovery));
    protected.filter(|space| acting.iter().any(|(acting, _)| acting.overlaps(space))).cloned().collect()
}

/// Messages of IPv6 neighbour discovery with any hop limit, which an ACL rule cannot match.
pub(super) fn neighbor_discovery() -> Space {
    Space::all(IpVersion::V6)
        .narrowed(Condition::Protocol(ProtocolSet::of(&[58])))
        .narrowed(Condition::IcmpType(IntervalSet::range(133, 137)))
        .narrowed(Condition::IcmpCode(IntervalSet::range(0, 0)))
}

/// Why protected packets cannot come first.
#[derive(Debug, thiserror::Error)]
enum ShieldError {
    /// The switch refuses it; its message.
    #[error("it would act on protected packets, which the switch does not accept first: {0}")]
    RefusedBySwitch(String),
    /// No entry can express it.
    #[error("it would act on protected packets, which cannot be accepted first: {0}")]
    Refused(Refusal),
    /// It cannot be written.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

/// The entries that accept these packets.
fn shield(space: &Space, limits: &Limits, settings: &Settings) -> Result<Vec<(Entry, Space)>, ShieldError> {
    if let Some((_, words)) = limits.unprotectable.iter().find(|(refused, _)| refused == space) {
        return Err(ShieldError::RefusedBySwitch(words.clone()));
    }
    let capabilities = capabilities(settings);
    let refused = |kind| ShieldError::Refused(Refusal::new(kind, &capabilities));
    let parts = split_into_entries(space.clone(), &capabilities).map_err(refused)?;
    let entry = |part: Space| Ok((Entry::new(&part, &Effect::ACCEPT, Owner::Protection)?, part));
    parts.into_iter().map(entry).collect()
}

fn first_touched(spaces: &[(Space, RuleFailure)], rule: &CompiledRule) -> Option<RuleFailure> {
    if spaces.is_empty() || rule.effect == Effect::ACCEPT {
        return None;
    }
    let space = Space::of(&rule.nlri);
    let (_, failure) = spaces.iter().find(|(protected, _)| protected.overlaps(&space))?;
    Some(match failure {
        RuleFailure::Failed(words) => RuleFailure::Failed(words.clone()),
        RuleFailure::OverCapacity(words) => RuleFailure::OverCapacity(format!(
            "it would act on protected packets, and there is no room to accept them first: {words}"
        )),
    })
}

/// Why a table has no room for a rule.
#[derive(Debug, thiserror::Error)]
enum TableFull {
    /// Too few entries are left.
    #[error("it takes {needed} entries, and {left} of {most} are left ({why})")]
    Entries {
        /// Needed.
        needed: u64,
        /// Available.
        left: u64,
        /// Maximum.
        most: u64,
        /// The reason for the maximum.
        why: String,
    },
    /// Too few ranges of ports are left.
    #[error("it takes {needed} ranges of ports, and {left} of {MOST_RANGES} are left")]
    Ranges {
        /// Needed.
        needed: usize,
        /// Available.
        left: usize,
    },
}

/// The used part of the tables.
struct Usage<'a> {
    limits: &'a Limits,
    used: PerVersion<u64>,
    ranges: BTreeSet<(String, String)>,
}

impl Usage<'_> {
    /// Takes room for the entries of a rule, or says why there is none.
    fn take(&mut self, entries: &[&Entry]) -> Result<(), TableFull> {
        let mut used = self.used;
        for entry in entries {
            *used.of_mut(entry.version) += 1;
        }
        for version in VERSIONS {
            let (most, why) = self.limits.entries.of(version);
            if used.of(version) > most && used.of(version) > self.used.of(version) {
                let (needed, left) =
                    (used.of(version) - self.used.of(version), most.saturating_sub(*self.used.of(version)));
                return Err(TableFull::Entries { needed, left, most: *most, why: why.clone() });
            }
        }
        let ranges = entries.iter().flat_map(|entry| &entry.fields).filter(|(name, _)| name.ends_with("_RANGE"));
        let new: BTreeSet<(String, String)> = ranges.filter(|range| !self.ranges.contains(*range)).cloned().collect();
        if !new.is_empty() && self.ranges.len() + new.len() > MOST_RANGES {
            let (needed, left) = (new.len(), MOST_RANGES - self.ranges.len());
            return Err(TableFull::Ranges { needed, left });
        }
        self.ranges.extend(new);
        self.used = used;
        Ok(())
    }
}

impl Settings {
    /// Entries of each table until the switch has reported how many it has.
    pub fn budget(&self) -> u64 {
        self.max_entries.unwrap_or(super::settings::CAUTIOUS_ENTRIES).min(u64::from(HIGHEST_PRIORITY))
    }

    /// The reason for this number.
    pub(super) fn why_budget(&self) -> String {
        match self.max_entries {
            Some(_) => "max-entries".to_owned(),
            None => "assumed until the switch has reported how many it has; see max-entries".to_owned(),
        }
    }
}
