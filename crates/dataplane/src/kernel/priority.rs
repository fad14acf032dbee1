//! Priorities for entries of a table in which the matching entry with the lowest number decides,
//! and entries with the same number have no order.
//!
//! Only entries that overlap and belong to different groups need an order, and there are gaps
//! between numbers, so that most changes assign numbers to new entries and leave all others
//! unchanged. A table with hundreds of entries for one victim mostly needs a handful of numbers.

use std::ops::RangeInclusive;

mod entry;
mod overlap;

pub(crate) use entry::OrderedEntry;
use overlap::OverlapIndex;

/// Distance between numbers, if there is room for it.
const GAP: u32 = 64;

/// A chain of overlapping entries is longer than the range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {numbers} entries overlap each other and need an order")]
pub(crate) struct TooFewNumbers {
    /// The range of numbers.
    pub(crate) numbers: u32,
}

/// Assigns a number to each of the entries, which are in enforcement order: the earlier of two that
/// overlap has the lower one, unless both are of one group. Entries keep their number if possible.
/// As many entries as there are numbers always succeed.
///
/// # Errors
/// The range of numbers is too small.
pub(crate) fn assign(entries: &[OrderedEntry<'_>], numbers: RangeInclusive<u32>) -> Result<Vec<u32>, TooFewNumbers> {
    let index = OverlapIndex::new(entries);
    let limits = Limits { first: *numbers.start(), last: *numbers.end() };
    if entries.iter().any(|entry| entry.number.is_some())
        && let Some(assigned) = keep(entries, &index, limits)
    {
        return Ok(assigned);
    }
    spread(entries, &index, limits)
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    first: u32,
    last: u32,
}

/// The upper bound for an entry.
#[derive(Clone, Copy, Debug)]
struct Ceiling {
    number: u32,
    /// The bound comes from an existing entry, to which a distance is kept.
    is_taken: bool,
}

/// Keeps existing numbers, and assigns numbers between them to the other entries. `None` if that is
/// not possible.
fn keep(entries: &[OrderedEntry<'_>], index: &OverlapIndex<'_>, limits: Limits) -> Option<Vec<u32>> {
    let Limits { first, last } = limits;
    let old = |at: usize| entries[at].number.filter(|number| (first..=last).contains(number));
    let mut ceilings = vec![Ceiling { number: last, is_taken: false }; entries.len()];
    for at in (0..entries.len()).rev() {
        let mut ceiling = ceilings[at];
        index.later(at, |other, overlaps| {
            let of_other = ceilings[other];
            let (bound, is_taken) = old(other).map_or((of_other.number, of_other.is_taken), |number| (number, true));
            let number = bound.saturating_sub(1).max(first);
            if number < ceiling.number && overlaps() {
                ceiling = Ceiling { number, is_taken };
            }
        });
        ceilings[at] = ceiling;
    }
    let mut floors = vec![first; entries.len()];
    let mut assigned = vec![first; entries.len()];
    for at in 0..entries.len() {
        let floor = floors[at];
        if floor > last {
            return None;
        }
        let number = match old(at) {
            Some(number) if number >= floor => number,
            _ => between(floor, ceilings[at], limits),
        };
        assigned[at] = number;
        index.later(at, |other, overlaps| {
            if floors[other] <= number && overlaps() {
                floors[other] = number + 1;
            }
        });
    }
    Some(assigned)
}

/// A number from `floor` on, up to the ceiling if that is not lower, with room on both sides.
fn between(floor: u32, ceiling: Ceiling, limits: Limits) -> u32 {
    let highest = ceiling.number;
    if floor >= highest {
        // The later entries have to move.
        return floor;
    }
    let middle = floor + (highest - floor) / 2;
    match (floor > limits.first, ceiling.is_taken) {
        (true, true) | (false, false) => middle,
        (true, false) => middle.min(floor + GAP),
        (false, true) => middle.max(highest.saturating_sub(GAP)),
    }
}

/// New numbers for all entries: as far apart as possible, around the middle.
fn spread(entries: &[OrderedEntry<'_>], index: &OverlapIndex<'_>, limits: Limits) -> Result<Vec<u32>, TooFewNumbers> {
    let mut depths = vec![0u32; entries.len()];
    for at in 0..entries.len() {
        let depth = depths[at];
        index.later(at, |other, overlaps| {
            if depths[other] <= depth && overlaps() {
                depths[other] = depth + 1;
            }
        });
    }
    let numbers = limits.last - limits.first + 1;
    let levels = depths.iter().max().map_or(1, |depth| depth + 1);
    if levels > numbers {
        return Err(TooFewNumbers { numbers });
    }
    let gap = (numbers / levels).clamp(1, GAP);
    let start = limits.first + (numbers - 1 - (levels - 1) * gap) / 2;
    Ok(depths.into_iter().map(|depth| start + depth * gap).collect())
}

#[cfg(test)]
mod tests;
