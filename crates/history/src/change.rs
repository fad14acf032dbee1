//! What the daemon tells of a rule.

use crate::{AddressRange, Time};

/// What somebody announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The name of the family.
    pub family: String,
    /// The NLRI with its length, as on the wire.
    pub nlri: Vec<u8>,
    /// The rule in words; the beginning of a long one.
    pub text: String,
    /// What it asks for, exactly: what follows the NLRI in the rule's line of a rules file.
    pub actions: String,
    /// What becomes of its packets: `accept`, `discard`, `rate` or `redirect`.
    pub verdict: String,
    /// The peer whose actions count, or `local`.
    pub peer: String,
    /// Who asked for it on this machine or over the API.
    pub by: Option<String>,
    /// AS numbers of the path, the neighbour first.
    pub as_path: String,
    /// Standard and large communities as text.
    pub communities: String,
    /// Its destinations; `None`: any, or a pattern that is no prefix.
    pub destination: Option<AddressRange>,
}

/// What a rule counted since it was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Of those packets, dropped; `None` where the data plane does not tell.
    pub dropped: Option<u64>,
    /// Octets of the dropped packets.
    pub dropped_bytes: Option<u64>,
    /// The highest rates so far.
    pub peak: PeakRate,
    /// When packets were counted for the last time.
    pub last_hit: Time,
}

/// The highest rates, and when they were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakRate {
    /// Packets a second.
    pub packets: f64,
    /// When.
    pub packets_time: Time,
    /// Bits a second.
    pub bits: f64,
    /// When.
    pub bits_time: Time,
}

/// One thing that happened. A rule is told by its short name; at most one incident of a rule is
/// open.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is announced, or was when this run of the daemon began: an open incident of it goes on.
    Began {
        /// The rule.
        rule: u64,
        /// When it was announced.
        time: Time,
        /// What it is.
        what: Box<Description>,
        /// Its state,
        state: String,
        /// why,
        reason: Option<String>,
        /// and since when.
        state_time: Time,
    },
    /// It is announced with other actions, by another peer, or once more by somebody here.
    Changed {
        /// The rule.
        rule: u64,
        /// When.
        time: Time,
        /// What it is now.
        what: Box<Description>,
    },
    /// It has another state.
    State {
        /// The rule.
        rule: u64,
        /// When.
        time: Time,
        /// Its state.
        state: String,
        /// Why.
        reason: Option<String>,
    },
    /// It matched packets.
    Counted {
        /// The rule.
        rule: u64,
        /// Until when.
        time: Time,
        /// Since how many seconds.
        seconds: i64,
        /// What.
        counted: Counted,
    },
    /// It is gone.
    Ended {
        /// The rule.
        rule: u64,
        /// When.
        time: Time,
        /// Why, such as `withdrawn` or `expired`.
        why: String,
        /// Who asked for it.
        by: Option<String>,
    },
    /// All rules that are there have been told: an incident that is open and was not told of since
    /// the file was opened ended before.
    AllTold {
        /// When.
        time: Time,
    },
}
