//! What the history was told last of each rule. There may be a hundred thousand: some 24 octets
//! each.

use engine::{PeerId, Route};
use flowspec::RuleId;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A rule as it is, or was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    peer: u32,
    /// Of what it asks for.
    route: u32,
    reason: u32,
    state: api::RuleState,
    pass: u8,
}

impl Seen {
    /// Of the path that counts.
    pub(super) fn new(peer: PeerId, route: &Route, state: api::RuleState, reason: Option<&str>) -> Self {
        let route = hash(&(&route.actions, route.next_hop));
        Seen { peer: peer.0, route, reason: hash(&reason), state, pass: 0 }
    }

    pub(super) const fn peer(&self) -> PeerId {
        PeerId(self.peer)
    }

    pub(super) fn is_same(&self, other: &Seen) -> bool {
        self.is_same_path(other) && self.is_same_state(other)
    }

    pub(super) const fn is_same_path(&self, other: &Seen) -> bool {
        self.peer == other.peer && self.route == other.route
    }

    pub(super) fn is_same_state(&self, other: &Seen) -> bool {
        self.state == other.state && self.reason == other.reason
    }
}

fn hash(value: &impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() as u32
}

/// All of them, and which the pass through the rules has come to.
#[derive(Debug, Default)]
pub(super) struct Told {
    rules: HashMap<RuleId, Seen>,
    pass: u8,
}

impl Told {
    pub(super) fn get(&self, id: RuleId) -> Option<Seen> {
        self.rules.get(&id).copied()
    }

    pub(super) fn set(&mut self, id: RuleId, seen: Seen) {
        self.rules.insert(id, Seen { pass: self.pass, ..seen });
    }

    pub(super) fn forget(&mut self, id: RuleId) {
        self.rules.remove(&id);
    }

    pub(super) fn begin_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// The rules that were told of and that this pass has not come to.
    pub(super) fn not_seen(&self) -> Vec<(RuleId, Seen)> {
        self.rules.iter().filter(|(_, seen)| seen.pass != self.pass).map(|(id, seen)| (*id, *seen)).collect()
    }

    pub(super) fn end_pass(&mut self) {
        if self.rules.len() * 4 < self.rules.capacity() {
            self.rules.shrink_to_fit();
        }
    }
}
