//! What is remembered of a rule.

use crate::{AddressRange, Time};

/// A rule from its announcement to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident {
    /// Its number; they count up from 1.
    pub number: i64,
    /// The rule's short name.
    pub rule: u64,
    /// The family's name.
    pub family: String,
    /// The NLRI with its length.
    pub nlri: Vec<u8>,
    /// The rule in words, as announced last; the beginning of a long one.
    pub text: String,
    /// What it asks for, exactly, as announced last.
    pub actions: String,
    /// What becomes of its packets.
    pub verdict: String,
    /// The peer, or `local`.
    pub peer: String,
    /// Who asked for it.
    pub by: Option<String>,
    /// AS numbers of the path.
    pub as_path: String,
    /// Communities.
    pub communities: String,
    /// When it was announced.
    pub began: Time,
    /// When it ended; `None`: it has not.
    pub ended: Option<Time>,
    /// Why it ended.
    pub end: Option<String>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// Its state, now or at the end.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Packets that it matched.
    pub packets: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Of those packets, dropped; `None` where the data plane did not tell of some.
    pub dropped: Option<u64>,
    /// Octets of the dropped packets.
    pub dropped_bytes: Option<u64>,
    /// The most packets a second,
    pub peak_packets: f64,
    /// and when that was.
    pub peak_packets_time: Option<Time>,
    /// The most bits a second,
    pub peak_bits: f64,
    /// and when that was.
    pub peak_bits_time: Option<Time>,
    /// When it matched a packet for the last time.
    pub last_hit: Option<Time>,
}

/// A state that a rule had, or another change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// From when on.
    pub time: Time,
    /// The state's name; `changed` for other actions or another peer, with them as the reason.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
}

/// What was matched in some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateBucket {
    /// When they begin, seconds since 1970.
    pub start: i64,
    /// How many.
    pub seconds: i64,
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Of those packets, dropped; 0 also where the data plane does not tell.
    pub dropped: u64,
}

/// Which incidents; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Those that had not ended before.
    pub since: Option<Time>,
    /// Those that began before.
    pub until: Option<Time>,
    /// The beginning of the rule's short name, or part of its text.
    pub rule: Option<String>,
    /// Those with a destination among these.
    pub destination: Option<AddressRange>,
    /// The name of the peer.
    pub peer: Option<String>,
    /// A state that they had at some time.
    pub state: Option<String>,
    /// Those with a lower number.
    pub before: Option<i64>,
    /// So many at most, the latest.
    pub most: Option<u32>,
}
