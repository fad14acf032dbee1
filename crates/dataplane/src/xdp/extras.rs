//! Allocates what rules need besides their records: an entry of the table of extras, and its lists
//! of intervals.

use super::commit::write_intervals;
use super::full::Full;
use super::layout::{Extra, ExtraList};
use super::pool::Runs;
use super::program::{Sizes, Tables};
use super::record;

/// The free entries and lists.
#[derive(Debug)]
pub(super) struct Extras {
    entries: Runs,
    intervals: Runs,
}

/// The entry and lists of one rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtraPlace {
    entry: u32,
    /// Index of the first list, and their number.
    intervals: (u32, u32),
}

impl Extras {
    pub(super) fn new(sizes: &Sizes) -> Self {
        Extras { entries: Runs::new(0, sizes.extras), intervals: Runs::new(0, sizes.intervals) }
    }

    /// Allocates an entry and lists.
    ///
    /// # Errors
    /// There is no room; nothing was allocated.
    pub(super) fn take(&mut self, extra: &record::Extra) -> Result<ExtraPlace, Full> {
        let count: usize = extra.lists.iter().map(|(_, list)| list.len()).sum();
        let entry = self.entries.take(1).ok_or(Full::Extras)?;
        match self.intervals.take(count as u32) {
            Some(start) => Ok(ExtraPlace { entry, intervals: (start, count as u32) }),
            None => {
                self.entries.release(entry, 1);
                Err(Full::Intervals)
            }
        }
    }

    /// Releases what no packet uses any more.
    pub(super) fn release(&mut self, place: ExtraPlace) {
        self.entries.release(place.entry, 1);
        self.intervals.release(place.intervals.0, place.intervals.1);
    }

    /// Usage of both: name, used, size.
    pub(super) fn table_usage(&self) -> [(&'static str, u32, u32); 2] {
        [
            ("extras", self.entries.used(), self.entries.total()),
            ("intervals", self.intervals.used(), self.intervals.total()),
        ]
    }
}

impl ExtraPlace {
    /// The index of the entry, for the rule's line.
    pub(super) const fn entry(self) -> u32 {
        self.entry
    }

    /// Writes it into the tables.
    pub(super) fn write(self, extra: &record::Extra, tables: &Tables) {
        let mut line = Extra {
            destination_value: extra.destination_value,
            destination_mask: extra.destination_mask,
            source_value: extra.source_value,
            source_mask: extra.source_mask,
            count: extra.lists.len() as u32,
            ..Extra::ZERO
        };
        let mut start = self.intervals.0;
        for (to, (field, list)) in line.list.iter_mut().zip(&extra.lists) {
            write_intervals(&tables.intervals, start, list);
            *to = ExtraList { start, count: list.len() as u16, field: *field as u16 };
            start += list.len() as u32;
        }
        tables.extras.write(self.entry as usize, line);
    }
}
