//! Counters: a row for each rule number and CPU, mapped into memory, so that reading those of
//! 100,000 rules is iterating over an array.

use super::layout::{CounterLine, IdLine};
use super::memory::Table;
use std::collections::HashMap;

impl CounterLine {
    pub(super) fn add(&mut self, line: &CounterLine) {
        self.packets += line.packets;
        self.bytes += line.bytes;
        self.dropped += line.dropped;
    }
}

/// The counter of a rule number, summed over all sets.
pub(super) fn of_number(counters: &Table<CounterLine>, number: u32, stride: u32, sets: u32) -> CounterLine {
    let mut sum = CounterLine::ZERO;
    for set in 0..sets {
        sum.add(&counters.read((set * stride + number) as usize));
    }
    sum
}

/// The counters of the rules in two pinned tables, by rule id.
pub(super) fn of_tables(ids: &Table<IdLine>, counters: &Table<CounterLine>) -> HashMap<u64, CounterLine> {
    let numbers = ids.len() as u32;
    let sets = (counters.len() / ids.len().max(1)) as u32;
    let line = |number| {
        let id = ids.read(number as usize);
        let mut sum = CounterLine { packets: id.packets, bytes: id.bytes, dropped: id.dropped, unused: 0 };
        sum.add(&of_number(counters, number, numbers, sets));
        (id.id, sum)
    };
    (0..numbers).map(line).filter(|&(id, sum)| id != 0 && sum != CounterLine::ZERO).collect()
}
