//! Evaluation of the import policy for a route: the question and the answer of `explain --policy`.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The body of `POST /v1/policy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyQuestion {
    /// The name of the announcing peer.
    pub peer: String,
    /// A rule, or a unicast prefix.
    pub rule: String,
    /// Communities of the route, as the configuration writes them.
    #[serde(default)]
    pub communities: Vec<String>,
    /// Its AS_PATH, nearest first. Without one, that of a route originated by the peer.
    #[serde(default)]
    pub as_path: Vec<u32>,
    /// Its next hop.
    #[serde(default)]
    pub next_hop: Option<IpAddr>,
}

/// The answer to `POST /v1/policy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyExplanation {
    /// The name of the peer.
    pub peer: String,
    /// The rules that the route becomes: one, or for a unicast prefix none to two.
    pub rules: Vec<PolicyOutcome>,
}

/// The result for one rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyOutcome {
    /// The rule as it would be announced.
    pub rule: String,
    /// The result of each statement of the operator's policies, in order.
    pub steps: Vec<PolicyStep>,
    /// Whether it is accepted.
    pub accepted: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule as it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Its longest lifetime, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// The result of one statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyStep {
    /// The policy.
    pub policy: String,
    /// The number of the statement, from 1.
    pub statement: u32,
    /// The result.
    pub does: StatementResult,
    /// The key of the first condition that does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// The result of a statement for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementResult {
    /// It does not match.
    Unmatched,
    /// It matches, and the next statement decides.
    Next,
    /// It accepts.
    Accept,
    /// It rejects.
    Reject,
}
