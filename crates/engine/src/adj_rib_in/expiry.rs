//! Timers of single routes: when each expires.

use crate::key::RuleKey;
use crate::path_key::PathKey;
use crate::route::{PeerId, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When the route of a peer expires.
pub(super) type Expiry = (Timestamp, RuleKey, PeerId, PathKey);

/// A heap of timers. A route with a new deadline leaves its old timer in the heap: the caller
/// compares each timer with the route.
#[derive(Debug, Default)]
pub(super) struct ExpiryTimers {
    heap: BinaryHeap<Reverse<Expiry>>,
    /// With this many timers, obsolete ones are removed.
    trim_at: usize,
}

/// With fewer timers the heap is never rebuilt.
const FEW: usize = 4096;

impl ExpiryTimers {
    pub(super) fn schedule(&mut self, deadline: Option<Timestamp>, key: &RuleKey, peer: PeerId, path: PathKey) {
        self.heap.extend(deadline.map(|deadline| Reverse((deadline, key.clone(), peer, path))));
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// Takes the next timer that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Expiry> {
        self.next_deadline().filter(|deadline| *deadline <= now)?;
        self.heap.pop().map(|Reverse(expiry)| expiry)
    }

    /// Whether there are so many obsolete timers that [rebuilding](Self::rebuild) the heap pays
    /// off.
    pub(super) fn is_trim_due(&self) -> bool {
        self.heap.len() >= self.trim_at.max(FEW)
    }

    /// Replaces all timers: one for each route is enough.
    pub(super) fn rebuild(&mut self, timers: impl Iterator<Item = Expiry>) {
        self.heap = timers.map(Reverse).collect();
        self.trim_at = self.heap.len() * 2;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
