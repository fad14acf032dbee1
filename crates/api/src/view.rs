//! What the API says, in both directions: the daemon writes these, the commands read them.

use crate::{
    AddressFamily, AttachmentMode, Backend, DataplaneState, Mode, OrUnknown, RuleState, SessionState, Verdict,
};
use flowspec::Family;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The daemon's version.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// Our AS number.
    #[serde(rename = "as")]
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: String,
    /// Where BGP connections are taken.
    pub listen: Vec<String>,
    /// Peers configured and established.
    pub peers: u64,
    /// Established sessions.
    pub established: u64,
    /// Rules by state.
    pub rules: BTreeMap<OrUnknown<RuleState>, u64>,
    /// The back end.
    pub backend: OrUnknown<Backend>,
    /// Interfaces that are filtered; `null` means all.
    pub interfaces: Option<Vec<String>>,
    /// Why nothing is filtered, where none of the interfaces is that are to be.
    #[serde(default)]
    pub unfiltered: Option<String>,
    /// Whether rules act on packets.
    pub mode: OrUnknown<Mode>,
    /// All filtering is taken out for now.
    pub paused: bool,
    /// When a pause ends by itself, RFC 3339, if it does.
    #[serde(default)]
    pub paused_until: Option<String>,
    /// Entries in use in the data plane.
    pub entries: u64,
    /// Entries that fit, where there is a limit.
    pub capacity: Option<u64>,
    /// Set while `backend` is not the configured one but its fallback.
    #[serde(default)]
    pub fallback: Option<FallbackView>,
    /// Octets of memory that the data plane takes, where it can be told.
    pub dataplane_memory: Option<u64>,
    /// How each interface is filtered, where the back end attaches to interfaces one by one.
    #[serde(default)]
    pub attachments: Vec<AttachmentView>,
    /// What deserves a look in the data plane, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What happened to packets beside the rules' counters, where the back end tells.
    #[serde(default)]
    pub statistics: BTreeMap<String, u64>,
    /// Whether what is decided is in force.
    pub dataplane: OrUnknown<DataplaneState>,
    /// Why, where it failed.
    pub dataplane_error: Option<String>,
    /// Why what changes is not kept over a restart, if it is not.
    #[serde(default)]
    pub state_error: Option<String>,
    /// Changes applied since the start.
    pub applied: u64,
    /// Changes that the data plane did not take.
    pub failures: u64,
    /// Times that somebody else changed what we applied.
    pub damages: u64,
    /// How long the latest change took, milliseconds.
    pub apply_ms: f64,
    /// What no rule touches, in words.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Seconds since the rules' counters were read, where they were.
    #[serde(default)]
    pub counters_age: Option<f64>,
    /// What deserves a second look in the configuration.
    pub advice: Vec<String>,
    /// Lines of the log that were lost, since nobody read them in time.
    #[serde(default)]
    pub log_lines_lost: u64,
}

impl StatusView {
    /// Rules in this state.
    pub fn rules_in(&self, state: RuleState) -> u64 {
        self.rules.get(&state.into()).copied().unwrap_or(0)
    }
}

/// A back end that takes the place of the configured one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FallbackView {
    /// What the configuration asks for.
    pub configured: OrUnknown<Backend>,
    /// Why it cannot be used.
    pub reason: String,
}

/// How an interface is filtered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Its name; or a pattern of the configuration that means no interface now.
    pub interface: String,
    /// How its packets reach the rules.
    pub mode: OrUnknown<AttachmentMode>,
    /// Why it is not filtered.
    pub reason: Option<String>,
}

/// One of `GET /v1/peers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its AS number.
    #[serde(rename = "as")]
    pub asn: u32,
    /// State of the session.
    pub state: OrUnknown<SessionState>,
    /// Since when it is in that state, RFC 3339.
    pub since: String,
    /// Negotiated hold time, seconds.
    pub hold_time: Option<u16>,
    /// Negotiated families.
    pub families: Vec<OrUnknown<AddressFamily>>,
    /// Rules that it announces, all states.
    pub rules: u64,
    /// Of those, stale.
    pub stale: u64,
    /// UPDATE messages taken in since the start.
    pub updates: u64,
    /// Malformed things by kind, since the start.
    pub malformed: BTreeMap<String, u64>,
    /// Sessions that came up since the start.
    pub established_count: u64,
    /// Sessions that were restarted since the boundaries of the peer's rules were lost, since the start.
    #[serde(default)]
    pub framing_resets: u64,
    /// Why the latest session or attempt ended. What is wrong with the configuration of the two sides stays until there is a session.
    pub last_error: Option<String>,
    /// Without a session: when we connect next or, in state `idle`, take connections again; RFC 3339.
    #[serde(default)]
    pub next_try: Option<String>,
}

/// Who announces a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    /// The peer's name, or `local`.
    pub peer: String,
    /// Its session is lost; the rule is still enforced.
    pub stale: bool,
    /// Of several peers with this rule, the one whose actions count.
    pub best: bool,
    /// Of several, why the actions of this one do not count whatever the others ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One line of `GET /v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Short stable hash of family, RD and NLRI.
    pub id: String,
    /// The family of its NLRI.
    pub family: OrUnknown<Family>,
    /// Canonical NLRI with its length, hex.
    pub nlri: String,
    /// The rule in words.
    pub text: String,
    /// Its state.
    pub state: OrUnknown<RuleState>,
    /// Why, where the state needs a reason.
    pub reason: Option<String>,
    /// What deserves a look although it is enforced as the RFCs say: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// In what it is enforced for fewer packets than it asks for, since the data plane does not see all of them: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Entries that it takes in the data plane.
    pub entries: u64,
    /// Who announces it.
    pub origins: Vec<OriginView>,
    /// When it was first announced by those who announce it now, RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// When it ends, RFC 3339, where it does.
    pub expires: Option<String>,
    /// Packets that matched, where it is installed.
    pub packets: Option<u64>,
    /// Octets of those packets.
    pub bytes: Option<u64>,
    /// Of those packets, dropped.
    pub dropped: Option<u64>,
}

/// One event of `GET /v1/samples`: a packet that a rule sampled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleView {
    /// When it came in, RFC 3339.
    pub time: String,
    /// The rule's id.
    pub rule: Option<String>,
    /// The interface where it came in.
    pub interface: String,
    /// Octets of the frame.
    pub length: u32,
    /// The first of them, hex.
    pub octets: String,
}

/// `POST /v1/announce`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {
    /// The rule's text.
    pub rule: String,
    /// For how long, such as `10m`; without it until it is withdrawn.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// `POST /v1/pause`; the body may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// For how long, such as `30m`; without it until it is resumed.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// `POST /v1/withdraw`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// The rule's text (its actions do not matter), or its id.
    pub rule: String,
}

/// `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The packet, hex: Ethernet or bare IP.
    pub packet: String,
}

/// The answer to `POST /v1/explain`; the first fields are those of the offline command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Number of the packet: 0.
    pub packet: usize,
    /// What the rules in force do with it.
    pub verdict: OrUnknown<Verdict>,
    /// The rule that ended the search, if one did: its place among the rules in force, from 0.
    pub rule: Option<usize>,
    /// Its id.
    pub id: Option<String>,
    /// What is done to the packet.
    pub actions: Vec<String>,
    /// Places of the rules that matched and let the search go on.
    pub continued: Vec<usize>,
    /// The text of the rule that ended the search.
    pub text: Option<String>,
    /// The texts of those that let it go on.
    pub passed: Vec<String>,
    /// Why earlier rules with the same destination did not match, a sentence each.
    pub missed: Vec<String>,
    /// The packet is protected, and by what: it is accepted ahead of all rules.
    pub protected: Option<String>,
    /// All filtering is taken out for now, or only counts: the verdict is what would be done.
    pub inactive: Option<String>,
}

/// The answer to what changes something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub message: String,
    /// The rule, where one was changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<RuleView>,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorMessage,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// In words.
    pub message: String,
}
