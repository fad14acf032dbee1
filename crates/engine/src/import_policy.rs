//! May this peer ask for that? ImportPolicy per peer, and what nobody may filter.

use crate::prefix_list::{PrefixList, destination};
use crate::unknown_actions::unknown_actions;
use flowspec::{Action, Effect, Nlri, Policing, Prefix, Redirect};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// The rules that are accepted from a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportPolicy {
    /// Destinations that it may filter; empty for any.
    pub destinations: PrefixList,
    /// Shortest IPv4 destination prefix.
    pub shortest_v4: u8,
    /// Shortest IPv6 destination prefix.
    pub shortest_v6: u8,
    /// Whether a rule may come without a destination, or with one of length 0. An IPv6 prefix with an offset counts as none.
    pub without_destination: bool,
    /// The actions it may ask for.
    pub actions: ActionSet,
    /// Whether its rules may carry actions that are not known here, which are then ignored.
    pub unknown_actions: bool,
    /// What becomes of its rules that are limited to a set of interfaces.
    pub interface_sets: InterfaceSets,
    /// The addresses that it may redirect or copy to; `None` for any.
    pub redirect_to: Option<PrefixList>,
    /// Whether its rules are validated against unicast routes (RFC 9117).
    pub validate: bool,
    /// What the AS_PATH of its rules must begin with.
    pub first_as: FirstAs,
    /// Most rules; `None` for no limit.
    pub max_rules: Option<u64>,
    /// What happens beyond that limit.
    pub on_excess: OnExcess,
    /// Longest lifetime of a rule after its announcement, in seconds.
    pub max_lifetime: Option<u64>,
}

impl Default for ImportPolicy {
    /// Everything, for destinations of at least 8 (IPv4) or 16 (IPv6) bits, without validation and limits.
    fn default() -> Self {
        ImportPolicy {
            destinations: PrefixList::default(),
            shortest_v4: 8,
            shortest_v6: 16,
            without_destination: false,
            actions: ActionSet::ALL,
            unknown_actions: true,
            interface_sets: InterfaceSets::Refuse,
            redirect_to: None,
            validate: false,
            first_as: FirstAs::Any,
            max_rules: None,
            on_excess: OnExcess::Ignore,
            max_lifetime: None,
        }
    }
}

/// What becomes of a rule that is limited to a set of interfaces (draft-ietf-idr-flowspec-interfaceset). No data plane here has such sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterfaceSets {
    /// It is refused: elsewhere it would act on packets that nobody asked to touch.
    #[default]
    Refuse,
    /// The set is ignored: the rule is enforced on every filtered interface, with a note.
    Ignore,
}

/// What the AS_PATH of a peer's routes must begin with (RFC 4271 §6.3, RFC 9117 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstAs {
    /// Anything: a peer in our own AS.
    #[default]
    Any,
    /// Some AS: a route server, which does not add its own.
    Some,
    /// The peer's AS.
    Is(u32),
}

/// What happens with rules beyond a peer's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExcess {
    /// They are taken like the others.
    Warn,
    /// They are shown and not installed, until others have gone. Far beyond the limit (twice as many, and 1000) they are not even held.
    #[default]
    Ignore,
    /// The session is to be closed.
    Close,
}

/// Kinds of actions, for policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// Let the packet through and end the search: a rule without any other action.
    Accept,
    /// Discard.
    Discard,
    /// Limit the rate.
    Rate,
    /// Set the DSCP.
    Mark,
    /// Redirect or copy.
    Redirect,
    /// Sample.
    Sample,
    /// Go on with the next rule.
    Continue,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [ActionKind; 7] = [
        ActionKind::Accept,
        ActionKind::Discard,
        ActionKind::Rate,
        ActionKind::Mark,
        ActionKind::Redirect,
        ActionKind::Sample,
        ActionKind::Continue,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            ActionKind::Accept => "accept",
            ActionKind::Discard => "discard",
            ActionKind::Rate => "rate",
            ActionKind::Mark => "mark",
            ActionKind::Redirect => "redirect",
            ActionKind::Sample => "sample",
            ActionKind::Continue => "continue",
        }
    }
}

/// A set of kinds of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionSet(u8);

impl ActionSet {
    /// All of them.
    pub const ALL: ActionSet = ActionSet(0x7f);

    /// Whether it has the kind.
    pub const fn has(self, kind: ActionKind) -> bool {
        self.0 >> kind as u8 & 1 != 0
    }

    /// The kinds of actions of an effect.
    pub fn of(effect: &Effect) -> Self {
        let needed = [
            (matches!(effect.policing, Policing::Discard), ActionKind::Discard),
            (matches!(effect.policing, Policing::Limit { .. }), ActionKind::Rate),
            (effect.mark.is_some(), ActionKind::Mark),
            (effect.redirect.is_some(), ActionKind::Redirect),
            (effect.sample, ActionKind::Sample),
            (effect.continues, ActionKind::Continue),
        ];
        let set: ActionSet = needed.into_iter().filter(|(needed, _)| *needed).map(|(_, kind)| kind).collect();
        if set.0 == 0 { [ActionKind::Accept].into_iter().collect() } else { set }
    }
}

impl FromIterator<ActionKind> for ActionSet {
    fn from_iter<I: IntoIterator<Item = ActionKind>>(kinds: I) -> Self {
        ActionSet(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// Why import policy does not accept a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRejection {
    /// The peer is external and has no policy (RFC 8212).
    NoPolicy,
    /// All its packets are protected; in words, by what.
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
    /// The peer may filter some destinations only, and the rule has none, or one that is everything.
    NoDestination,
    /// The peer may not filter this destination.
    Destination,
    /// The peer may not ask for this action.
    Action(ActionKind),
    /// The peer may not redirect or copy to this address.
    RedirectTarget(IpAddr),
    /// It carries an action that is not known here; the community's octets.
    UnknownAction(flowspec::Community),
    /// It is beyond the peer's limit.
    Excess {
        /// The limit.
        limit: u64,
    },
    /// It has lived as long as it may.
    Lifetime {
        /// In seconds.
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
                write!(f, "{action} is no action that is known here, and the peer may not send such (unknown-actions)")
            }
            PolicyRejection::Excess { limit } => write!(f, "beyond the {limit} rules that the peer may send"),
            PolicyRejection::Lifetime { seconds } => write!(f, "it was announced more than {seconds} seconds ago"),
        }
    }
}

impl ImportPolicy {
    /// Whether it allows a rule with these actions, as far as those are not known here.
    ///
    /// # Errors
    /// The first that it does not allow.
    pub fn check_actions(&self, actions: &[Action]) -> Result<(), PolicyRejection> {
        match unknown_actions(actions).next().filter(|_| !self.unknown_actions) {
            Some(action) => Err(PolicyRejection::UnknownAction(action.encode())),
            None => Ok(()),
        }
    }

    /// Whether it allows a rule with this match part and effect.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, nlri: &Nlri, effect: &Effect) -> Result<(), PolicyRejection> {
        let (length, shortest) = match nlri.destination() {
            Some(Prefix::V4(net)) => (net.prefix_len(), self.shortest_v4),
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 => (pattern.length(), self.shortest_v6),
            Some(Prefix::V6(_)) | None => (0, 0),
        };
        if length == 0 {
            if !self.without_destination {
                return Err(PolicyRejection::WithoutDestination);
            }
        } else if length < shortest {
            return Err(PolicyRejection::TooShort { length, shortest });
        }
        if !self.destinations.is_empty() && !destination(nlri).is_some_and(|net| self.destinations.covers(net)) {
            return Err(if length == 0 { PolicyRejection::NoDestination } else { PolicyRejection::Destination });
        }
        let needed = ActionSet::of(effect);
        match ActionKind::ALL.into_iter().find(|&kind| needed.has(kind) && !self.actions.has(kind)) {
            Some(kind) => Err(PolicyRejection::Action(kind)),
            None => self.check_redirect(effect),
        }
    }

    fn check_redirect(&self, effect: &Effect) -> Result<(), PolicyRejection> {
        match (&self.redirect_to, effect.redirect) {
            (Some(allowed), Some(Redirect::Address { address, .. })) if !allowed.covers(IpNet::from(address)) => {
                Err(PolicyRejection::RedirectTarget(address))
            }
            _ => Ok(()),
        }
    }
}
