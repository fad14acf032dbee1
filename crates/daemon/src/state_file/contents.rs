//! The contents of a state file.

use crate::clock::ClockMark;
use engine::{RouteFamily, SnapshotPath, Timestamp};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The first line.
pub(crate) const FIRST_LINE: &[u8] = b"floodgate-state 2\n";

/// The origin of a saved rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The peer with this address.
    Peer(IpAddr),
    /// A user of this machine.
    Local,
}

/// The saved rules of one origin.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedRules {
    /// The origin.
    pub origin: Origin,
    /// Its paths.
    pub paths: Vec<SnapshotPath>,
}

/// Filtering is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When the pause ends by itself, if it does.
    pub until: Option<Timestamp>,
}

/// For how long the rules of one family are retained, of a peer whose session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedFamily {
    /// The family.
    pub family: RouteFamily,
    /// When the session was lost.
    pub since: Timestamp,
    /// They are stale until then: graceful restart, or `hold-on-loss`.
    pub until: Option<Timestamp>,
    /// They are long-lived stale from then on, or from the loss on, until this time (RFC 9494).
    pub long_lived_until: Option<Timestamp>,
}

/// The contents of a state file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The rules, by origin.
    pub saved_rules: Vec<SavedRules>,
    /// The peers whose sessions were lost, and for how long their rules are retained.
    pub retained: BTreeMap<IpAddr, Vec<RetainedFamily>>,
    /// Filtering was paused.
    pub pause: Option<Pause>,
    /// The time of the last write.
    pub clock: Option<ClockMark>,
}

impl Restored {
    /// The number of rules.
    pub fn rules(&self) -> usize {
        self.saved_rules.iter().map(|of_one| of_one.paths.len()).sum()
    }
}
