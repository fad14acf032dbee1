//! The permissions of one peer, as configured.

use super::action_set::ActionSet;
use super::blackhole::Blackhole;
use super::statement::Statement;
use crate::prefix_list::PrefixList;

/// The rules that are accepted from a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportPolicy {
    /// Destinations that it may filter; empty for any.
    pub destinations: PrefixList,
    /// Shortest IPv4 destination prefix.
    pub shortest_v4: u8,
    /// Shortest IPv6 destination prefix.
    pub shortest_v6: u8,
    /// Whether a rule may have no destination, or one of length 0. An IPv6 prefix with an offset
    /// counts as none.
    pub without_destination: bool,
    /// The actions it may ask for.
    pub actions: ActionSet,
    /// Whether its rules may have unknown actions, which are then ignored.
    pub unknown_actions: bool,
    /// How to handle rules that are limited to a set of interfaces.
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
    /// How to handle actions that the operator defines by communities.
    pub action_communities: ActionCommunities,
    /// Which of its unicast routes are blackholes; `None` for none.
    pub blackhole: Option<Blackhole>,
    /// The statements of the operator's policies that are for this peer, in order.
    pub statements: Vec<Statement>,
}

/// How to handle actions that the operator defines by communities (RFC 8955 §12: from third
/// parties, only what the operator mapped).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActionCommunities {
    /// They are executed, as far as they are allowed.
    #[default]
    Take,
    /// They are ignored: only a statement gives a rule an action. Without one it is rejected.
    Ignore,
    /// A rule with such an action is rejected, and one to which no statement gives an action.
    Refuse,
}

impl Default for ImportPolicy {
    /// Everything, for destinations of at least 8 (IPv4) or 16 (IPv6) bits, without validation and
    /// limits.
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
            action_communities: ActionCommunities::Take,
            blackhole: None,
            statements: Vec::new(),
        }
    }
}

/// How to handle a rule that is limited to a set of interfaces
/// (draft-ietf-idr-flowspec-interfaceset). No data plane supports such sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterfaceSets {
    /// It is refused: elsewhere it would act on packets that nobody asked to filter.
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
    /// They are accepted like the others.
    Warn,
    /// They are shown and not installed, until others have been withdrawn. Far beyond the limit
    /// (twice as many, and 1000) they are not even kept.
    #[default]
    Ignore,
    /// The session is to be closed.
    Close,
}
