//! The history on disk: the objects of `GET /v1/incidents`, `/v1/rates` and `/v1/rules/at`.

use crate::names::{RuleState, Verdict};
use crate::or_unknown::OrUnknown;
use crate::view::PeakView;
use flowspec::Family;
use serde::{Deserialize, Serialize};

/// A rule from its announcement to its end. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its number; they count up.
    pub number: u64,
    /// The rule's id.
    pub id: String,
    /// The family of its NLRI.
    pub family: OrUnknown<Family>,
    /// Canonical NLRI with its length, hex.
    pub nlri: String,
    /// The rule as text, as it was announced last; the beginning of a long one.
    pub text: String,
    /// What it does.
    pub action: OrUnknown<Verdict>,
    /// The peer whose actions count, or `local`.
    pub peer: String,
    /// Who asked for it on this machine or over the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// AS numbers of the path, the neighbour first, with blanks between them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub as_path: String,
    /// Standard and large communities, with blanks between them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub communities: String,
    /// When it was announced.
    pub began: String,
    /// When it ended; `None`: it has not.
    pub ended: Option<String>,
    /// Why: `withdrawn`, `expired`, `session lost`, or other words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Its state, now or at the end.
    pub state: OrUnknown<RuleState>,
    /// Why it has this state.
    pub reason: Option<String>,
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Of those packets, dropped; `None` where the data plane did not tell of some.
    pub dropped: Option<u64>,
    /// Octets of the dropped packets.
    pub dropped_bytes: Option<u64>,
    /// The highest rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakView>,
    /// When it matched a packet for the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<String>,
}

/// An incident with all that is known of it: `GET /v1/incidents/NUMBER`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentReport {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentView,
    /// Its states and changes, oldest first.
    pub states: Vec<StateChangeView>,
    /// What it matched, oldest first; the longer ago, the longer the buckets.
    pub rates: Vec<RateBucketView>,
}

/// A state of a rule, or another change of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateChangeView {
    /// Since when.
    pub time: String,
    /// The name of the state; `changed` for other actions or another peer.
    pub state: String,
    /// Why; of `changed`, the peer and the actions.
    pub reason: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What was matched in some seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateBucketView {
    /// When they begin.
    pub start: String,
    /// How many.
    pub seconds: u64,
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Of those packets, dropped; 0 also where the data plane does not tell.
    pub dropped: u64,
}

/// A rule that was in force at some time: a line of `GET /v1/rules/at`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleAtView {
    /// The number of the incident.
    pub incident: u64,
    /// The rule as a line of a rules file.
    pub wire: String,
}
