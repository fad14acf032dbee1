//! Why import policy rejects a rule.

use super::action_set::ActionKind;
use super::statement::StatementName;
use flowspec::Action;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Why import policy rejects a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRejection {
    /// The peer is external and has no policy (RFC 8212).
    NoPolicy,
    /// All its packets are protected; by what, for people.
    Protected(String),
    /// It has no destination.
    WithoutDestination,
    /// Its destination prefix is too short.
    TooShort {
        /// Its length.
        length: u8,
        /// The shortest allowed.
        shortest: u8,
    },
    /// The peer may filter some destinations only, and the rule has none, or one that contains all.
    NoDestination,
    /// The peer may not filter this destination.
    Destination,
    /// The peer may not ask for this action.
    Action(ActionKind),
    /// The peer may not redirect or copy to this address.
    RedirectTarget(IpAddr),
    /// It has an unknown action; the community's octets.
    UnknownAction(flowspec::Community),
    /// Action communities of this peer are not accepted.
    ActionCommunities,
    /// Only statements give rules of this peer an action, and none did.
    NoMappedAction,
    /// The source of a blackhole is not among those that the peer may drop.
    Source,
    /// The source of a blackhole would affect protected addresses.
    GuardedSource {
        /// What it would affect, for people.
        what: Arc<str>,
    },
    /// A statement of the operator rejects it.
    Statement {
        /// The statement.
        name: StatementName,
        /// Why, as the operator wrote it.
        reason: Option<Arc<str>>,
    },
    /// It is beyond the peer's limit.
    Excess {
        /// The limit.
        limit: u64,
    },
    /// Its longest lifetime has ended.
    Lifetime {
        /// The lifetime in seconds.
        seconds: u64,
    },
}

impl PolicyRejection {
    /// A short stable name for JSON and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            PolicyRejection::NoPolicy => "no-policy",
            PolicyRejection::Protected(_) => "protected",
            PolicyRejection::WithoutDestination => "without-destination",
            PolicyRejection::TooShort { .. } => "too-short",
            PolicyRejection::NoDestination | PolicyRejection::Destination => "destination",
            PolicyRejection::Action(_) => "action",
            PolicyRejection::UnknownAction(_) => "unknown-action",
            PolicyRejection::RedirectTarget(_) => "redirect-target",
            PolicyRejection::ActionCommunities => "action-communities",
            PolicyRejection::NoMappedAction => "no-mapped-action",
            PolicyRejection::Source | PolicyRejection::GuardedSource { .. } => "source",
            PolicyRejection::Statement { .. } => "policy",
            PolicyRejection::Excess { .. } => "excess",
            PolicyRejection::Lifetime { .. } => "lifetime",
        }
    }
}

impl fmt::Display for PolicyRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyRejection::NoPolicy => f.write_str("the peer is in another AS and has no policy (RFC 8212)"),
            PolicyRejection::Protected(what) => write!(f, "it aims at what is protected: {what}"),
            PolicyRejection::WithoutDestination => f.write_str("the peer may not send rules without destination"),
            PolicyRejection::TooShort { length, shortest } => {
                write!(f, "destination prefix length {length}; the shortest allowed for this peer is {shortest}")
            }
            PolicyRejection::NoDestination => f.write_str(
                "the peer may filter its own destinations only (allow.destinations), and this rule has none, so that it is for all",
            ),
            PolicyRejection::Destination => f.write_str("the peer may not filter this destination"),
            PolicyRejection::Action(kind) => write!(f, "the peer may not ask for action {}", kind.name()),
            PolicyRejection::RedirectTarget(address) => {
                write!(f, "the peer may not redirect to {address}; allow.redirect-to names where it may")
            }
            PolicyRejection::UnknownAction(community) => {
                let action = Action::decode(*community).unwrap_or(Action::Other(*community));
                write!(f, "{action} is not a known action, and the peer may not send such (unknown-actions)")
            }
            PolicyRejection::ActionCommunities => {
                f.write_str("the peer may not ask for actions by action communities (allow.action-communities)")
            }
            PolicyRejection::NoMappedAction => {
                f.write_str("no statement gives it an action, and the peer may not ask for one itself (allow.action-communities)")
            }
            PolicyRejection::Source => f.write_str("the peer may not have packets from this source dropped (blackhole.sources)"),
            PolicyRejection::GuardedSource { what } => write!(f, "packets from this source are guarded: {what}"),
            PolicyRejection::Statement { name, reason: None } => write!(f, "{name} rejects it"),
            PolicyRejection::Statement { name, reason: Some(reason) } => write!(f, "{name} rejects it: {reason}"),
            PolicyRejection::Excess { limit } => write!(f, "beyond the {limit} rules that the peer may send"),
            PolicyRejection::Lifetime { seconds } => write!(f, "it was announced more than {seconds} seconds ago"),
        }
    }
}
