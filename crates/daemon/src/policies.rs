//! Converts the configuration's policies to those of the engine: permissions, policy statements,
//! and blackholes.

use crate::convert::{self, afi_safi};
use config::{ActionKind, Config, Peer, Validation};
use engine::import_policy::{
    ActionCommunities, ActionSet, Blackhole, ComponentSet, Condition, Dropped, FirstAs, GuardedSource, ImportPolicy,
    InterfaceSets, OnExcess, RouteCommunity, Statement, StatementName, Then,
};
use flowspec::Action;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The import policy of a peer.
///
/// `external`: it is in another AS. `own`: the addresses of this machine.
pub(crate) fn import_policy(config: &Config, peer: &Peer, external: bool, own: &BTreeSet<IpAddr>) -> ImportPolicy {
    let allow = &peer.allow;
    ImportPolicy {
        destinations: allow.destinations.iter().copied().collect(),
        shortest_v4: allow.shortest_prefix_v4,
        shortest_v6: allow.shortest_prefix_v6,
        without_destination: allow.without_destination,
        actions: permissions(&allow.actions),
        redirect_to: (external || !allow.redirect_to.is_empty()).then(|| allow.redirect_to.iter().copied().collect()),
        first_as: match (external, peer.route_server) {
            (false, _) => FirstAs::Any,
            (true, true) => FirstAs::Some,
            (true, false) => FirstAs::Is(peer.asn),
        },
        unknown_actions: allow.unknown_actions == config::UnknownActions::Accept,
        interface_sets: match allow.interface_sets {
            config::InterfaceSets::Refuse => InterfaceSets::Refuse,
            config::InterfaceSets::Ignore => InterfaceSets::Ignore,
        },
        validate: allow.validation == Validation::Rfc9117,
        max_rules: Some(u64::from(peer.max_rules)),
        on_excess: match peer.on_excess {
            config::OnExcess::Warn => OnExcess::Warn,
            config::OnExcess::Ignore => OnExcess::Ignore,
            config::OnExcess::Close => OnExcess::Close,
        },
        max_lifetime: allow.max_lifetime.map(|age| age.0.as_secs().max(1)),
        action_communities: match allow.action_communities {
            config::ActionCommunities::Take => ActionCommunities::Take,
            config::ActionCommunities::Ignore => ActionCommunities::Ignore,
            config::ActionCommunities::Refuse => ActionCommunities::Refuse,
        },
        blackhole: peer.blackhole.as_ref().map(|it| blackhole(config, it, own)),
        statements: statements(config, peer),
    }
}

/// The actions that a list allows; an empty one allows all.
pub(crate) fn permissions(actions: &[ActionKind]) -> ActionSet {
    match actions.is_empty() {
        true => ActionSet::ALL,
        false => actions.iter().map(|kind| permission(*kind)).collect(),
    }
}

const fn permission(kind: ActionKind) -> engine::import_policy::ActionKind {
    match kind {
        ActionKind::Accept => engine::import_policy::ActionKind::Accept,
        ActionKind::Discard => engine::import_policy::ActionKind::Discard,
        ActionKind::Rate => engine::import_policy::ActionKind::Rate,
        ActionKind::Mark => engine::import_policy::ActionKind::Mark,
        ActionKind::Redirect => engine::import_policy::ActionKind::Redirect,
        ActionKind::Sample => engine::import_policy::ActionKind::Sample,
        ActionKind::Continue => engine::import_policy::ActionKind::Continue,
    }
}

/// The statements of all policies for a peer, in order. Each keeps its number.
fn statements(config: &Config, peer: &Peer) -> Vec<Statement> {
    let mut statements = Vec::new();
    for policy in config.policies.iter().filter(|policy| is_for(policy.peers.as_deref(), peer)) {
        let name: Arc<str> = policy.name.as_str().into();
        for (number, statement) in (1..).zip(&policy.statements) {
            if is_for(statement.peers.as_deref(), peer) {
                statements.push(engine_statement(StatementName { policy: Arc::clone(&name), number }, statement));
            }
        }
    }
    statements
}

fn is_for(peers: Option<&[String]>, peer: &Peer) -> bool {
    peers.is_none_or(|patterns| patterns.iter().any(|pattern| dataplane::glob(pattern, &peer.name)))
}

fn engine_statement(name: StatementName, statement: &config::Statement) -> Statement {
    let mut conditions = Vec::new();
    if let Some(families) = &statement.families {
        conditions.push(Condition::Families(families.iter().map(|name| convert::family(afi_safi(*name))).collect()));
    }
    conditions.extend(statement.destination_length.map(|lengths| Condition::DestinationLength(lengths.0)));
    conditions.extend(statement.rate_above.map(|rate| Condition::RateAbove(rate.0)));
    conditions.extend(statement.rate_below.map(|rate| Condition::RateBelow(rate.0)));
    conditions.extend(
        statement.actions.iter().map(|kinds| Condition::Actions(kinds.iter().map(|it| permission(*it)).collect())),
    );
    let numbers = |list: &[config::AsNumber]| list.iter().map(|asn| asn.0).collect();
    conditions.extend(statement.as_path_origin.iter().map(|list| Condition::AsPathOrigin(numbers(list))));
    conditions.extend(statement.as_path_contains.iter().map(|list| Condition::AsPathContains(numbers(list))));
    let communities = |list: &[config::Community]| -> Vec<RouteCommunity> { list.iter().map(|it| it.0).collect() };
    conditions.extend(statement.communities.iter().map(|list| Condition::Communities(communities(list))));
    let prefixes = |list: &[IpNet]| list.iter().copied().collect();
    conditions.extend(statement.destination_within.iter().map(|list| Condition::DestinationWithin(prefixes(list))));
    conditions.extend(statement.source_length.map(|lengths| Condition::SourceLength(lengths.0)));
    conditions.extend(statement.source_within.iter().map(|list| Condition::SourceWithin(prefixes(list))));
    let components = |list: &[config::ComponentName]| -> ComponentSet { list.iter().map(|it| it.0).collect() };
    conditions.extend(statement.components.iter().map(|list| Condition::Components(components(list))));
    conditions.extend(statement.without_components.iter().map(|list| Condition::WithoutComponents(components(list))));
    let observe = Action::TrafficAction { sample: false, continues: true };
    let is_observed = statement.then == Some(config::ThenWord::Observe);
    Statement {
        name,
        conditions,
        set_actions: match &statement.set_action {
            Some(actions) => Some(actions.0.to_vec()),
            None => is_observed.then(|| vec![observe]),
        },
        discard_becomes: statement.discard_becomes.map(|rate| rate.0),
        rate_at_most: statement.rate_at_most.map(|rate| rate.0),
        lifetime: statement.lifetime.map(|age| age.0.as_secs()),
        then: match statement.then {
            None | Some(config::ThenWord::Next) => Then::Next,
            Some(config::ThenWord::Accept | config::ThenWord::Observe) => Then::Accept,
            Some(config::ThenWord::Reject) => Then::Reject(statement.reason.as_deref().map(Arc::from)),
        },
    }
}

/// Which unicast routes of a peer are blackholes. `own` are the addresses of this machine.
fn blackhole(config: &Config, blackhole: &config::Blackhole, own: &BTreeSet<IpAddr>) -> Blackhole {
    let destination = blackhole.destination_triggers().into_iter().map(|trigger| (trigger, Dropped::DESTINATION));
    let source = blackhole.source.iter().map(|trigger| (trigger.0, Dropped::SOURCE));
    let both = blackhole.both.iter().map(|trigger| (trigger.0, Dropped::BOTH));
    let guarded = |net: IpNet, what: String| GuardedSource { net, what };
    let own = own.iter().map(|own| guarded((*own).into(), format!("{own} is an address of this machine")));
    let peers = config
        .peers
        .iter()
        .map(|peer| guarded(peer.address.into(), format!("{} is the address of peer {}", peer.address, peer.name)));
    let protect = &config.protect;
    let protected = protect.prefixes.iter().chain(&protect.sources);
    let protected = protected.map(|net| guarded(*net, format!("{net} is in [protect]")));
    Blackhole {
        triggers: destination.chain(source).chain(both).collect(),
        shortest_v4: blackhole.shortest_prefix_v4,
        shortest_v6: blackhole.shortest_prefix_v6,
        sources: blackhole.sources.iter().copied().collect(),
        guarded_sources: own.chain(peers).chain(protected).collect(),
    }
}

#[cfg(test)]
mod tests;
