//! Counters of rules, by their short names.

use flowspec::RuleId;
use std::collections::HashMap;

/// The values of a rule's counters. Plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Count) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }

    pub(super) fn without(self, other: Count) -> Count {
        Count { packets: self.packets.saturating_sub(other.packets), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// Initial values of new counters: packets matched, and packets dropped by a policer.
#[derive(Debug, Default)]
pub(super) struct InitialCounts {
    pub(super) matched: HashMap<RuleId, Count>,
    pub(super) dropped: HashMap<RuleId, Count>,
}
