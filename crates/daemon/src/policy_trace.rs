//! `explain --policy`: evaluates the import policy of a peer for a route, statement by statement.
//! It needs no session, so a configuration can be tested before it is used.

use crate::policies;
use api::{PolicyExplanation, PolicyOutcome, PolicyQuestion, PolicyStep, StatementResult};
use config::{Config, Peer};
use engine::Route;
use engine::import_policy::{Evaluation, PolicyChain, RouteCommunity, StatementName, Step};
use engine::route::RouteAttributes;
use flowspec::{Action, Community, Rule};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Why a policy question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyQuestionError {
    /// There is no peer with this name.
    #[error("`{0}` is not the name of a peer; expected one of {1}")]
    Peer(String, String),
    /// The text is neither a rule nor a prefix.
    #[error("{0}")]
    Rule(String),
    /// A community is not valid.
    #[error("{0}")]
    Community(String),
    /// A prefix for a peer without blackholes.
    #[error(
        "{0} is a unicast prefix, and peer {1} has no [peer.blackhole]; a rule has a form such as `dst {0} then discard`"
    )]
    NoBlackholes(IpNet, String),
}

/// The result for the route. `own` are the addresses of this machine. `announced`: attributes of
/// the rule as the peer announces it, used where the question has none.
///
/// # Errors
/// The question names no peer or no route.
pub fn explain_policy(
    config: &Config,
    own: &BTreeSet<IpAddr>,
    question: &PolicyQuestion,
    announced: Option<&Route>,
) -> Result<PolicyExplanation, PolicyQuestionError> {
    let peer = config.peers.iter().find(|peer| peer.name == question.peer).ok_or_else(|| {
        let names: Vec<&str> = config.peers.iter().map(|peer| peer.name.as_str()).collect();
        PolicyQuestionError::Peer(question.peer.clone(), names.join(", "))
    })?;
    let external = peer.asn != peer.local_as.unwrap_or(config.router.asn);
    let policy = policies::import_policy(config, peer, external, own);
    let chain = PolicyChain::new(&policy);
    let base = route(peer, external, question, announced)?;
    let text = question.rule.trim();
    let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let mut rules = Vec::new();
    match prefix {
        Ok(net) => {
            let blackhole = policy.blackhole.as_ref();
            let blackhole = blackhole.ok_or_else(|| PolicyQuestionError::NoBlackholes(net, peer.name.clone()))?;
            let net = net.trunc();
            for (nlri, route) in engine::blackhole_rules(net, &base, blackhole) {
                let mut steps = Vec::new();
                let evaluation = chain.trace_blackhole(&nlri, &route, |step| steps.push(shown(step)));
                rules.push(outcome(&nlri, &route, steps, evaluation));
            }
        }
        Err(_) => {
            let Rule { nlri, actions, next_hop } = rule(text)?;
            let others = base.actions.iter().copied();
            let actions = actions.into_iter().chain(others).collect();
            let route = Route { actions, next_hop: next_hop.or(base.next_hop), ..base };
            let mut steps = Vec::new();
            let evaluation = chain.trace(&nlri, &route, |step| steps.push(shown(step)));
            rules.push(outcome(&nlri, &route, steps, evaluation));
        }
    }
    Ok(PolicyExplanation { peer: peer.name.clone(), rules })
}

/// The rule of the question, if it is a rule and not a prefix.
pub(crate) fn rule(text: &str) -> Result<Rule, PolicyQuestionError> {
    text.parse().map_err(|error: flowspec::TextError| PolicyQuestionError::Rule(error.to_string()))
}

/// A route with the attributes of the question; extended communities are in its actions.
fn route(
    peer: &Peer,
    external: bool,
    question: &PolicyQuestion,
    announced: Option<&Route>,
) -> Result<Route, PolicyQuestionError> {
    let nothing_given = question.communities.is_empty() && question.as_path.is_empty();
    if let Some(announced) = announced.filter(|_| nothing_given) {
        let attributes = announced.attributes.clone();
        return Ok(Route { next_hop: question.next_hop.or(announced.next_hop), attributes, ..Route::default() });
    }
    let mut attributes = RouteAttributes { as_path: question.as_path.clone(), ..RouteAttributes::default() };
    if attributes.as_path.is_empty() && external {
        attributes.as_path.push(peer.asn);
    }
    attributes.origin_as = attributes.as_path.last().copied();
    let mut actions = Vec::new();
    for text in &question.communities {
        let community: config::Community = text
            .parse()
            .map_err(|error: config::InvalidCommunity| PolicyQuestionError::Community(error.to_string()))?;
        match community.0 {
            RouteCommunity::Standard(number) => attributes.communities.push(number),
            RouteCommunity::Large(numbers) => attributes.large_communities.push(numbers),
            RouteCommunity::Extended(octets) => actions.extend(Action::decode(Community::Extended(octets)).ok()),
        }
    }
    Ok(Route { actions, next_hop: question.next_hop, attributes: attributes.boxed(), ..Route::default() })
}

fn shown(step: Step<'_>) -> PolicyStep {
    let (StatementName { policy, number }, does, condition) = match step {
        Step::Unmatched(name, condition) => (name, StatementResult::Unmatched, Some(condition.to_owned())),
        Step::Continued(name) => (name, StatementResult::Next, None),
        Step::Accepted(name) => (name, StatementResult::Accept, None),
        Step::Rejected(name) => (name, StatementResult::Reject, None),
    };
    PolicyStep { policy: policy.to_string(), statement: *number, does, condition }
}

fn outcome(nlri: &flowspec::Nlri, route: &Route, steps: Vec<PolicyStep>, evaluation: Evaluation) -> PolicyOutcome {
    let text = |actions: &[Action]| api::rule_text::show(nlri, actions, route.next_hop);
    let Evaluation { rejection, actions, lifetime } = evaluation;
    PolicyOutcome {
        rule: text(&route.actions),
        steps,
        accepted: rejection.is_none(),
        reason: rejection.as_ref().map(ToString::to_string),
        result: rejection.is_none().then(|| text(actions.as_deref().unwrap_or(&route.actions))),
        lifetime: lifetime.filter(|_| rejection.is_none()),
    }
}
