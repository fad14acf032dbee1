//! What a state file says.

use crate::clock::ClockMark;
use engine::{SnapshotPath, Timestamp};
use std::net::IpAddr;

/// The first line.
pub(crate) const FIRST_LINE: &[u8] = b"floodgate-state 2\n";

/// Who announced a remembered rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The peer with this address.
    Peer(IpAddr),
    /// Somebody on this machine.
    Local,
}

/// The rules of one origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Who announced them.
    pub origin: Origin,
    /// What they are.
    pub paths: Vec<SnapshotPath>,
}

/// All filtering is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself, if it does.
    pub until: Option<Timestamp>,
}

/// What a state file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// The rules, by who announced them.
    pub remembered: Vec<Remembered>,
    /// Filtering was paused.
    pub pause: Option<Pause>,
    /// What time it was when it was written last.
    pub clock: Option<ClockMark>,
}

impl Restored {
    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.remembered.iter().map(|of_one| of_one.paths.len()).sum()
    }
}
