//! The objects of the API: the daemon writes them, the commands read them.

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
    /// Start time, RFC 3339.
    pub started: String,
    /// Our AS number.
    #[serde(rename = "as")]
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: String,
    /// Addresses of the BGP listeners.
    pub listen: Vec<String>,
    /// Peers configured and established.
    pub peers: u64,
    /// Established sessions.
    pub established: u64,
    /// Rules by state. Of very many rules, as they were counted `rules_age` seconds ago, or as far
    /// as the first count of them has come.
    pub rules: BTreeMap<OrUnknown<RuleState>, u64>,
    /// About how many rules are not in `rules`, because they are not counted yet.
    #[serde(default)]
    pub rules_uncounted: u64,
    /// Seconds since the rules were counted, where there are so many that they are not counted for
    /// each answer.
    #[serde(default)]
    pub rules_age: Option<f64>,
    /// The back end.
    pub backend: OrUnknown<Backend>,
    /// Interfaces that are filtered; `null` means all.
    pub interfaces: Option<Vec<String>>,
    /// Why nothing is filtered, if none of the configured interfaces is.
    #[serde(default)]
    pub unfiltered: Option<String>,
    /// Whether rules act on packets.
    pub mode: OrUnknown<Mode>,
    /// Filtering is paused.
    pub paused: bool,
    /// When the pause ends by itself, RFC 3339, if it does.
    #[serde(default)]
    pub paused_until: Option<String>,
    /// Entries in use in the data plane.
    pub entries: u64,
    /// Maximum number of entries, if there is a limit.
    pub capacity: Option<u64>,
    /// Present while `backend` is not the configured one but its fallback.
    #[serde(default)]
    pub fallback: Option<FallbackView>,
    /// Octets of memory of the data plane, if known.
    pub dataplane_memory: Option<u64>,
    /// How each interface is filtered, if the back end attaches to interfaces one by one.
    #[serde(default)]
    pub attachments: Vec<AttachmentView>,
    /// Warnings about the data plane, for people.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Packet counts besides the rules' counters, if the back end has them.
    #[serde(default)]
    pub statistics: BTreeMap<String, u64>,
    /// Whether the desired state is in force.
    pub dataplane: OrUnknown<DataplaneState>,
    /// Why it failed, if it did.
    pub dataplane_error: Option<String>,
    /// Why changes are not saved over a restart, if they are not.
    #[serde(default)]
    pub state_error: Option<String>,
    /// Number of changes applied since the start.
    pub applied: u64,
    /// Number of changes that the data plane did not apply.
    pub failures: u64,
    /// How often another program changed what we applied.
    pub damages: u64,
    /// Duration of the latest change, milliseconds.
    pub apply_ms: f64,
    /// Protected traffic, for people.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Seconds since the rules' counters were read, if they were.
    #[serde(default)]
    pub counters_age: Option<f64>,
    /// What all rules matched together since the start.
    #[serde(default)]
    pub traffic: TrafficView,
    /// Advice about the configuration.
    pub advice: Vec<String>,
    /// Log lines that were dropped, since they were not read in time.
    #[serde(default)]
    pub log_lines_lost: u64,
}

impl StatusView {
    /// Rules in this state.
    pub fn rules_in(&self, state: RuleState) -> u64 {
        self.rules.get(&state.into()).copied().unwrap_or(0)
    }
}

/// The fallback that replaces the configured back end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FallbackView {
    /// The configured back end.
    pub configured: OrUnknown<Backend>,
    /// Why it cannot be used.
    pub reason: String,
}

/// How an interface is filtered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Its name; or a pattern of the configuration that matches no interface now.
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
    /// Since when it has been in that state, RFC 3339.
    pub since: String,
    /// Negotiated hold time, seconds.
    pub hold_time: Option<u16>,
    /// Negotiated families.
    pub families: Vec<OrUnknown<AddressFamily>>,
    /// Number of its rules, in all states.
    pub rules: u64,
    /// Number of those that are stale.
    pub stale: u64,
    /// Its rules by state; counted as those of the status.
    #[serde(default)]
    pub rule_states: BTreeMap<OrUnknown<RuleState>, u64>,
    /// UPDATE messages received since the start.
    pub updates: u64,
    /// Malformed messages and attributes by kind, since the start.
    pub malformed: BTreeMap<String, u64>,
    /// Sessions established since the start.
    pub established_count: u64,
    /// Sessions that were reset because the framing of the peer's NLRIs was lost, since the start.
    #[serde(default)]
    pub framing_resets: u64,
    /// Why the latest session or attempt ended. An error in the configuration of the two sides
    /// stays until there is a session.
    pub last_error: Option<String>,
    /// Without a session: when we connect next or, in state `idle`, accept connections again; RFC
    /// 3339.
    #[serde(default)]
    pub next_try: Option<String>,
    /// How many rules of this machine are advertised to it now, if `advertise` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<u64>,
}

/// An origin of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OriginView {
    /// The peer's name, or `local`.
    pub peer: String,
    /// Its session is lost; the rule is still enforced.
    pub stale: bool,
    /// It is long-lived stale (RFC 9494): the actions of any other peer with this rule are used.
    #[serde(default, skip_serializing_if = "is_false")]
    pub long_lived: bool,
    /// Of several peers with this rule, the one whose actions are used.
    pub best: bool,
    /// When this origin's part expires, RFC 3339, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Of several, why the actions of this one are not used whatever the others announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A line of `GET /v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Short stable hash of family, RD and NLRI.
    pub id: String,
    /// The family of its NLRI.
    pub family: OrUnknown<Family>,
    /// Canonical NLRI with its length, hex.
    pub nlri: String,
    /// The rule as text.
    pub text: String,
    /// Its state.
    pub state: OrUnknown<RuleState>,
    /// Why, if the state needs a reason.
    pub reason: Option<String>,
    /// Notes, although it is enforced as the RFCs say: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it is enforced for fewer packets than it matches, since the data plane does not see all
    /// of them: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Entries that it takes in the data plane.
    pub entries: u64,
    /// Its origins.
    pub origins: Vec<OriginView>,
    /// Names of the peers to which it is advertised now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertised_to: Vec<String>,
    /// When it was first announced by its current origins, RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// When it expires, RFC 3339, if it does.
    pub expires: Option<String>,
    /// Packets that matched, if it is installed.
    pub packets: Option<u64>,
    /// Octets of those packets.
    pub bytes: Option<u64>,
    /// Of those packets, dropped.
    pub dropped: Option<u64>,
    /// Octets of the dropped packets, where the data plane tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_bytes: Option<u64>,
    /// Of a rule with a rate: packets that its policer let pass, where the data plane tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<u64>,
    /// Octets of those packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_bytes: Option<u64>,
    /// How busy it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateView>,
    /// How busy it has been at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakView>,
    /// When it was seen to have matched a packet for the last time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<String>,
}

/// `GET /v1/rules/list`: a part of a list of rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleList {
    /// The rules of this part; some may be missing that were withdrawn a moment ago.
    pub rules: Vec<RuleView>,
    /// How many of the list come before them.
    pub offset: usize,
    /// How many rules the list has.
    pub matching: usize,
}

/// What happens in a second, between the last two readings of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateView {
    /// Packets that match.
    pub packets_per_second: f64,
    /// Bits of those packets.
    pub bits_per_second: f64,
    /// Packets of those that are dropped; `None` where the data plane does not tell.
    pub dropped_per_second: Option<f64>,
}

/// The highest rates since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeakView {
    /// Packets that matched, a second.
    pub packets_per_second: f64,
    /// When that was, RFC 3339.
    pub packets_time: String,
    /// Bits of such packets, a second.
    pub bits_per_second: f64,
    /// When that was, RFC 3339.
    pub bits_time: String,
}

/// One of `GET /v1/traffic`: what rules matched together since the daemon started. Of the rules of
/// a peer, an action and a family where these are named; of all, where none is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficView {
    /// The peer whose rules these are, or `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<OrUnknown<Verdict>>,
    /// Their family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<OrUnknown<Family>>,
    /// How many of them are in force now.
    #[serde(default)]
    pub rules: u64,
    /// Packets that matched.
    pub packets: u64,
    /// Octets of those packets.
    pub bytes: u64,
    /// Of those packets, dropped; `None` where the data plane does not tell of some.
    pub dropped: Option<u64>,
    /// Octets of the dropped packets.
    pub dropped_bytes: Option<u64>,
    /// Packets that a policer let pass.
    pub passed: Option<u64>,
    /// Octets of those packets.
    pub passed_bytes: Option<u64>,
    /// How busy they are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateView>,
    /// How busy they have been at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<PeakView>,
    /// When they were seen to have matched a packet for the last time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<String>,
}

/// An event of `GET /v1/samples`: a packet that a rule sampled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleView {
    /// When it was received, RFC 3339.
    pub time: String,
    /// The rule's id.
    pub rule: Option<String>,
    /// The interface that received it.
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
    /// Its lifetime, such as `10m`; without it until it is withdrawn.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// `POST /v1/pause`; the body may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// How long, such as `30m`; without it until a resume.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// `POST /v1/withdraw`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// The rule's text (its actions are ignored), or its id.
    pub rule: String,
}

/// `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The packet: Ethernet or bare IP in hex, or words as for `floodgate explain`.
    pub packet: String,
}

/// The answer to `POST /v1/explain`; the first fields are those of the offline command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Number of the packet: 0.
    pub packet: usize,
    /// The verdict of the rules in force.
    pub verdict: OrUnknown<Verdict>,
    /// The rule that ended the evaluation, if one did: its position among the rules in force, from
    /// 0.
    pub rule: Option<usize>,
    /// Its id.
    pub id: Option<String>,
    /// The effects on the packet.
    pub actions: Vec<String>,
    /// Positions of the rules that matched and continued.
    pub continued: Vec<usize>,
    /// The text of the rule that ended the evaluation.
    pub text: Option<String>,
    /// The texts of those that continued.
    pub passed: Vec<String>,
    /// Why earlier rules with the same destination did not match, a sentence each.
    pub missed: Vec<String>,
    /// The packet is protected, and by what: it is accepted ahead of all rules.
    pub protected: Option<String>,
    /// Filtering is paused, or only counts: the verdict is what would be done.
    pub inactive: Option<String>,
    /// The packet in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub described: Option<String>,
}

/// The answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for people.
    pub message: String,
    /// The rule, if one was changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<RuleView>,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorMessage,
}

/// The error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// Its text.
    pub message: String,
}
