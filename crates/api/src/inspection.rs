//! `POST /v1/inspect`: what a text means, and what each back end would make of it.

use crate::{Backend, OrUnknown};
use flowspec::Family;
use serde::{Deserialize, Serialize};

/// `POST /v1/inspect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectRequest {
    /// Rules, one a line; or octets as hex, or a dump of them, as for `floodgate decode`.
    pub text: String,
    /// The family of NLRIs in hex; IPv4, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
}

/// The answer to `POST /v1/inspect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The rules in the text.
    pub rules: Vec<InspectedRule>,
    /// What is wrong with the text, a sentence each.
    pub errors: Vec<String>,
    /// What was understood differently than written, and other remarks.
    pub notes: Vec<String>,
}

/// A rule of the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InspectedRule {
    /// Its id.
    pub id: String,
    /// The family of its NLRI.
    pub family: OrUnknown<Family>,
    /// The rule as text.
    pub text: String,
    /// Canonical NLRI with its length, hex.
    pub nlri: String,
    /// What it matches, a component each.
    pub components: Vec<String>,
    /// What it does.
    pub actions: Vec<InspectedAction>,
    /// In a message: whether it is announced, or withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<bool>,
    /// What each back end would make of it.
    pub backends: Vec<BackendCost>,
    /// What it takes and is seldom meant.
    pub hazards: Vec<HazardView>,
}

/// An action, and the extended community that says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InspectedAction {
    /// As text.
    pub text: String,
    /// Hex.
    pub community: String,
}

/// What a back end would make of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendCost {
    /// The back end.
    pub backend: OrUnknown<Backend>,
    /// Whether it can enforce it exactly.
    pub enforceable: bool,
    /// Entries that it takes.
    pub entries: u64,
    /// Why it is refused.
    pub reason: Option<String>,
    /// Notes, although it is enforced as the RFCs say: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it is enforced for fewer packets than it matches: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// Packets that a rule takes and that seldom are meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HazardView {
    /// Which packets, for people.
    pub what: String,
    /// Nobody may be able to withdraw the rule.
    pub locks_out: bool,
    /// Such a packet, hex, if there is one that stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<String>,
}
