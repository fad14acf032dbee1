//! Allocates table entries: single ones, and adjacent ones.

use std::collections::{BTreeMap, BTreeSet};

/// Free entries of a table, allocated in runs of adjacent ones.
#[derive(Debug)]
pub(super) struct Runs {
    /// Start to length; no two runs touch.
    free: BTreeMap<u32, u32>,
    /// The same by length.
    by_length: BTreeSet<(u32, u32)>,
    total: u32,
    used: u32,
}

impl Runs {
    /// All entries from `first` up to `end` are free.
    pub(super) fn new(first: u32, end: u32) -> Self {
        let mut runs =
            Runs { free: BTreeMap::new(), by_length: BTreeSet::new(), total: end.saturating_sub(first), used: 0 };
        if first < end {
            runs.insert(first, end - first);
        }
        runs
    }

    fn insert(&mut self, start: u32, length: u32) {
        self.free.insert(start, length);
        self.by_length.insert((length, start));
    }

    fn remove(&mut self, start: u32, length: u32) {
        self.free.remove(&start);
        self.by_length.remove(&(length, start));
    }

    /// Allocates this many adjacent entries, from the shortest run that has them; returns the
    /// first.
    pub(super) fn take(&mut self, length: u32) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        let &(found, start) = self.by_length.range((length, 0)..).next()?;
        self.remove(start, found);
        if found > length {
            self.insert(start + length, found - length);
        }
        self.used += length;
        Some(start)
    }

    /// Releases a run.
    pub(super) fn release(&mut self, mut start: u32, mut length: u32) {
        if length == 0 {
            return;
        }
        self.used -= length;
        if let Some((&before, &free)) = self.free.range(..start).next_back()
            && before + free == start
        {
            self.remove(before, free);
            (start, length) = (before, length + free);
        }
        if let Some(&free) = self.free.get(&(start + length)) {
            self.remove(start + length, free);
            length += free;
        }
        self.insert(start, length);
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_given_back_and_joined() {
        let mut runs = Runs::new(0, 10);
        let (a, b, c) = (runs.take(3).unwrap(), runs.take(3).unwrap(), runs.take(4).unwrap());
        assert_eq!((a, b, c, runs.take(1)), (0, 3, 6, None));
        runs.release(a, 3);
        runs.release(c, 4);
        assert_eq!(runs.take(5), None);
        assert_eq!(runs.take(2), Some(0), "from the shortest that fits");
        runs.release(0, 2);
        runs.release(b, 3);
        assert_eq!((runs.used(), runs.take(10)), (0, Some(0)));
    }
}
