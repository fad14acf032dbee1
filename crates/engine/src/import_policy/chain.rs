//! The chain of statements for a peer's routes: first what `allow` says, then the statements of the
//! operator's policies, then what `allow` says of actions, unless a statement set them. `allow`
//! becomes clauses like any other; only their messages differ.

use super::action_set::{ActionKind, ActionSet};
use super::blackhole::GuardedSource;
use super::permissions::{ActionCommunities, ImportPolicy};
use super::rejection::PolicyRejection;
use super::statement::{ComponentSet, Condition, LengthRange, RateLimit, Statement, StatementName, Then};
use crate::path_key::PathKind;
use crate::prefix_list::{PrefixList, destination, source};
use crate::route::{Route, RouteFamily};
use crate::unknown_actions::{is_action, unknown_actions};
use flowspec::{Action, Effect, IpVersion, Nlri, Policing, Prefix, Rate, Redirect};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// The result of a peer's policy for one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Why it is rejected, if it is.
    pub rejection: Option<PolicyRejection>,
    /// Its actions, if they differ from the announced ones.
    pub actions: Option<Vec<Action>>,
    /// Its longest lifetime after the announcement, in seconds.
    pub lifetime: Option<u64>,
}

/// The result of one statement for a route, in the order of the statements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// It does not match; the key of the first condition that does not hold.
    Unmatched(&'a StatementName, &'static str),
    /// It matches, and the next statement decides.
    Continued(&'a StatementName),
    /// It matches and accepts.
    Accepted(&'a StatementName),
    /// It matches and rejects.
    Rejected(&'a StatementName),
}

/// The statements for the routes of one peer.
#[derive(Clone, Debug)]
pub struct PolicyChain {
    flow: Clauses,
    blackhole: Clauses,
    action_communities: ActionCommunities,
    max_lifetime: Option<u64>,
}

#[derive(Clone, Debug)]
struct Clauses {
    all: Vec<Clause>,
    /// The clauses that are evaluated for accepted rules, too.
    last: usize,
}

#[derive(Clone, Debug)]
struct Clause {
    tests: Vec<Test>,
    change: Option<Box<Change>>,
    outcome: Outcome,
    /// That of the operator's statement, if it is one.
    name: Option<StatementName>,
}

#[derive(Clone, Debug)]
struct Change {
    set_actions: Option<Vec<Action>>,
    discard_becomes: Option<RateLimit>,
    rate_at_most: Option<RateLimit>,
    lifetime: Option<u64>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Next,
    Accept,
    Reject(Reason),
}

#[derive(Clone, Debug)]
enum Test {
    Holds(Condition),
    HoldsNot(Condition),
    Version(IpVersion),
    /// No statement set the actions.
    ActionsAsAnnounced,
    /// It announces one of these kinds of actions.
    Announces(ActionSet),
    RedirectOutside(PrefixList),
    HasUnknownAction,
    HasActionCommunity,
    /// A blackhole of a source.
    IsSource,
    /// A blackhole of a destination.
    IsDestination,
    SourceHits(Arc<[GuardedSource]>),
}

/// The data for the message of a rejection.
#[derive(Clone, Debug)]
enum Reason {
    WithoutDestination,
    TooShort(u8),
    Destination,
    Action(ActionSet),
    RedirectTarget,
    UnknownAction,
    ActionCommunities,
    NoMappedAction,
    Source,
    GuardedSource(Arc<[GuardedSource]>),
    Statement(Option<Arc<str>>),
}

/// The route being evaluated, as the previous clauses left it.
struct Subject<'a> {
    nlri: &'a Nlri,
    route: &'a Route,
    family: RouteFamily,
    destination: Option<IpNet>,
    destination_length: u8,
    components: Option<ComponentSet>,
    /// The actions as announced.
    announced: Effect,
    effect: Effect,
    /// The actions, if they differ from the announced ones.
    actions: Option<Vec<Action>>,
    actions_set: bool,
    lifetime: Option<u64>,
}

impl PolicyChain {
    /// The chain for a peer with this policy.
    pub fn new(policy: &ImportPolicy) -> Self {
        let statements = || policy.statements.iter().map(Clause::of_statement);
        let mut flow = flow_permissions(policy);
        flow.extend(statements());
        let flow_last = flow.len();
        flow.extend(action_permissions(policy));
        let mut blackhole = blackhole_permissions(policy);
        blackhole.extend(statements());
        let blackhole_last = blackhole.len();
        PolicyChain {
            flow: Clauses { all: flow, last: flow_last },
            blackhole: Clauses { all: blackhole, last: blackhole_last },
            action_communities: policy.action_communities,
            max_lifetime: policy.max_lifetime,
        }
    }

    /// The result for a traffic filter.
    pub fn evaluate(&self, nlri: &Nlri, route: &Route) -> Evaluation {
        self.run(nlri, PathKind::Flow, route, |_| {})
    }

    /// The same, step by step.
    pub fn trace<'a>(&'a self, nlri: &Nlri, route: &Route, each: impl FnMut(Step<'a>)) -> Evaluation {
        self.run(nlri, PathKind::Flow, route, each)
    }

    /// The result for a blackhole's rule, step by step.
    pub fn trace_blackhole<'a>(&'a self, nlri: &Nlri, route: &Route, each: impl FnMut(Step<'a>)) -> Evaluation {
        self.run(nlri, PathKind::Blackhole, route, each)
    }

    pub(crate) fn run<'a>(
        &'a self,
        nlri: &Nlri,
        kind: PathKind,
        route: &Route,
        mut each: impl FnMut(Step<'a>),
    ) -> Evaluation {
        let mut subject = Subject::new(nlri, kind, route);
        subject.lifetime = self.max_lifetime;
        let clauses = match kind {
            PathKind::Flow => &self.flow,
            PathKind::Blackhole => &self.blackhole,
        };
        if self.action_communities == ActionCommunities::Ignore && kind == PathKind::Flow {
            subject.ignore_actions();
        }
        let mut at = 0;
        while let Some(clause) = clauses.all.get(at) {
            at += 1;
            if let Some(test) = clause.tests.iter().find(|test| !test.holds(&mut subject)) {
                if let Some(name) = &clause.name {
                    each(Step::Unmatched(name, test.key()));
                }
                continue;
            }
            if let Some(change) = &clause.change {
                subject.apply(change);
            }
            let step = match &clause.outcome {
                Outcome::Next => Step::Continued,
                Outcome::Accept => {
                    at = clauses.last;
                    Step::Accepted
                }
                Outcome::Reject(reason) => {
                    if let Some(name) = &clause.name {
                        each(Step::Rejected(name));
                    }
                    let rejection = Some(reason.rejection(&subject, clause.name.as_ref()));
                    return Evaluation { rejection, actions: subject.actions, lifetime: subject.lifetime };
                }
            };
            if let Some(name) = &clause.name {
                each(step(name));
            }
        }
        Evaluation { rejection: None, actions: subject.actions, lifetime: subject.lifetime }
    }
}

impl Clause {
    fn rejecting(tests: Vec<Test>, reason: Reason) -> Self {
        Clause { tests, change: None, outcome: Outcome::Reject(reason), name: None }
    }

    fn of_statement(statement: &Statement) -> Self {
        let Statement { name, conditions, set_actions, discard_becomes, rate_at_most, lifetime, then } = statement;
        let changes =
            set_actions.is_some() || discard_becomes.is_some() || rate_at_most.is_some() || lifetime.is_some();
        let change = || Change {
            set_actions: set_actions.clone(),
            discard_becomes: *discard_becomes,
            rate_at_most: *rate_at_most,
            lifetime: *lifetime,
        };
        Clause {
            tests: conditions.iter().cloned().map(Test::Holds).collect(),
            change: changes.then(|| Box::new(change())),
            outcome: match then {
                Then::Next => Outcome::Next,
                Then::Accept => Outcome::Accept,
                Then::Reject(reason) => Outcome::Reject(Reason::Statement(reason.clone())),
            },
            name: Some(name.clone()),
        }
    }
}

/// What `allow` says of the match part of a traffic filter.
fn flow_permissions(policy: &ImportPolicy) -> Vec<Clause> {
    let mut clauses = Vec::new();
    if !policy.without_destination {
        let none = Test::Holds(Condition::DestinationLength(LengthRange { min: 0, max: 0 }));
        clauses.push(Clause::rejecting(vec![none], Reason::WithoutDestination));
    }
    for (version, shortest) in [(IpVersion::V4, policy.shortest_v4), (IpVersion::V6, policy.shortest_v6)] {
        if shortest > 1 {
            let shorter = Test::Holds(Condition::DestinationLength(LengthRange { min: 1, max: shortest - 1 }));
            clauses.push(Clause::rejecting(vec![Test::Version(version), shorter], Reason::TooShort(shortest)));
        }
    }
    if !policy.destinations.is_empty() {
        let outside = Test::HoldsNot(Condition::DestinationWithin(policy.destinations.clone()));
        clauses.push(Clause::rejecting(vec![outside], Reason::Destination));
    }
    if policy.action_communities == ActionCommunities::Refuse {
        clauses.push(Clause::rejecting(vec![Test::HasActionCommunity], Reason::ActionCommunities));
    }
    clauses
}

/// What `allow` says of the actions of a traffic filter, if no statement set them.
fn action_permissions(policy: &ImportPolicy) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let mut reject = |test: Option<Test>, reason| {
        let tests = [Test::ActionsAsAnnounced].into_iter().chain(test).collect();
        clauses.push(Clause::rejecting(tests, reason));
    };
    if policy.action_communities != ActionCommunities::Take {
        reject(None, Reason::NoMappedAction);
    }
    if policy.actions != ActionSet::ALL {
        let refused: ActionSet = ActionKind::ALL.into_iter().filter(|kind| !policy.actions.has(*kind)).collect();
        reject(Some(Test::Announces(refused)), Reason::Action(refused));
    }
    if let Some(allowed) = &policy.redirect_to {
        reject(Some(Test::RedirectOutside(allowed.clone())), Reason::RedirectTarget);
    }
    if !policy.unknown_actions {
        reject(Some(Test::HasUnknownAction), Reason::UnknownAction);
    }
    clauses
}

/// What `blackhole` and `allow` say of the prefix of a blackhole. Its action is permitted by the
/// configuration of `blackhole`.
fn blackhole_permissions(policy: &ImportPolicy) -> Vec<Clause> {
    let Some(blackhole) = &policy.blackhole else { return Vec::new() };
    let mut clauses = Vec::new();
    let to_outside = Test::HoldsNot(Condition::DestinationWithin(policy.destinations.clone()));
    clauses.push(Clause::rejecting(vec![Test::IsDestination, to_outside], Reason::Destination));
    let from_outside = Test::HoldsNot(Condition::SourceWithin(blackhole.sources.clone()));
    clauses.push(Clause::rejecting(vec![Test::IsSource, from_outside], Reason::Source));
    for (version, shortest) in [(IpVersion::V4, blackhole.shortest_v4), (IpVersion::V6, blackhole.shortest_v6)] {
        if shortest > 0 {
            let shorter = LengthRange { min: 0, max: shortest - 1 };
            for (kind, length) in [
                (Test::IsDestination, Condition::DestinationLength(shorter)),
                (Test::IsSource, Condition::SourceLength(shorter)),
            ] {
                let tests = vec![Test::Version(version), kind, Test::Holds(length)];
                clauses.push(Clause::rejecting(tests, Reason::TooShort(shortest)));
            }
        }
    }
    let guarded: Arc<[GuardedSource]> = blackhole.guarded_sources.clone().into();
    clauses.push(Clause::rejecting(
        vec![Test::IsSource, Test::SourceHits(guarded.clone())],
        Reason::GuardedSource(guarded),
    ));
    clauses
}

impl Test {
    fn holds(&self, subject: &mut Subject<'_>) -> bool {
        match self {
            Test::Holds(condition) => subject.has(condition),
            Test::HoldsNot(condition) => !subject.has(condition),
            Test::Version(version) => subject.nlri.family().version() == *version,
            Test::ActionsAsAnnounced => !subject.actions_set,
            Test::Announces(kinds) => ActionSet::of(&subject.announced).has_any(*kinds),
            Test::RedirectOutside(allowed) => subject.redirect_outside(allowed).is_some(),
            Test::HasUnknownAction => unknown_actions(subject.actions()).next().is_some(),
            Test::HasActionCommunity => subject.route.actions.iter().any(is_action),
            Test::IsSource => subject.nlri.destination().is_none(),
            Test::IsDestination => subject.nlri.destination().is_some(),
            Test::SourceHits(guarded) => hit(subject, guarded).is_some(),
        }
    }

    /// The key of the configuration for it.
    const fn key(&self) -> &'static str {
        match self {
            Test::Holds(condition) | Test::HoldsNot(condition) => condition.key(),
            _ => "allow",
        }
    }
}

/// The protected addresses that a rule for the subject's source would affect.
fn hit<'a>(subject: &Subject<'_>, guarded: &'a [GuardedSource]) -> Option<&'a GuardedSource> {
    let net = source(subject.nlri)?;
    guarded.iter().find(|guarded| net.contains(&guarded.net) || guarded.net.contains(&net))
}

impl Reason {
    fn rejection(&self, subject: &Subject<'_>, name: Option<&StatementName>) -> PolicyRejection {
        match self {
            Reason::WithoutDestination => PolicyRejection::WithoutDestination,
            Reason::TooShort(shortest) => {
                let length = match source(subject.nlri) {
                    Some(net) if subject.destination.is_none() => net.prefix_len(),
                    _ => subject.destination_length,
                };
                PolicyRejection::TooShort { length, shortest: *shortest }
            }
            Reason::Destination if subject.destination_length == 0 => PolicyRejection::NoDestination,
            Reason::Destination => PolicyRejection::Destination,
            Reason::Action(refused) => {
                let announced = ActionSet::of(&subject.announced);
                let kind = ActionKind::ALL.into_iter().find(|kind| announced.has(*kind) && refused.has(*kind));
                PolicyRejection::Action(kind.unwrap_or(ActionKind::Accept))
            }
            Reason::RedirectTarget => match subject.effect.redirect {
                Some(Redirect::Address { address, .. }) => PolicyRejection::RedirectTarget(address),
                _ => PolicyRejection::Action(ActionKind::Redirect),
            },
            Reason::UnknownAction => match unknown_actions(subject.actions()).next() {
                Some(action) => PolicyRejection::UnknownAction(action.encode()),
                None => PolicyRejection::ActionCommunities,
            },
            Reason::ActionCommunities => PolicyRejection::ActionCommunities,
            Reason::NoMappedAction => PolicyRejection::NoMappedAction,
            Reason::Source => PolicyRejection::Source,
            Reason::GuardedSource(guarded) => {
                let what = hit(subject, guarded).map_or("", |guarded| &guarded.what);
                PolicyRejection::GuardedSource { what: what.into() }
            }
            Reason::Statement(reason) => match name {
                Some(name) => PolicyRejection::Statement { name: name.clone(), reason: reason.clone() },
                None => PolicyRejection::NoPolicy,
            },
        }
    }
}

impl<'a> Subject<'a> {
    fn new(nlri: &'a Nlri, kind: PathKind, route: &'a Route) -> Self {
        let effect = route.effect();
        let destination_length = match nlri.destination() {
            Some(Prefix::V4(net)) => net.prefix_len(),
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 => pattern.length(),
            Some(Prefix::V6(_)) | None => 0,
        };
        Subject {
            nlri,
            route,
            family: kind.family(nlri),
            destination: destination(nlri),
            destination_length,
            components: None,
            announced: effect,
            effect,
            actions: None,
            actions_set: false,
            lifetime: None,
        }
    }

    fn actions(&self) -> &[Action] {
        self.actions.as_deref().unwrap_or(&self.route.actions)
    }

    fn components(&mut self) -> ComponentSet {
        *self.components.get_or_insert_with(|| ComponentSet::of(self.nlri))
    }

    fn has(&mut self, condition: &Condition) -> bool {
        let attributes = self.route.attributes.as_deref();
        match condition {
            Condition::Families(families) => families.contains(&self.family),
            Condition::DestinationWithin(list) => self.destination.is_some_and(|net| list.covers(net)),
            Condition::SourceWithin(list) => source(self.nlri).is_some_and(|net| list.covers(net)),
            Condition::DestinationLength(range) => range.contains(self.destination_length),
            Condition::SourceLength(range) => range.contains(source(self.nlri).map_or(0, |net| net.prefix_len())),
            Condition::Components(all) => self.components().has_all(*all),
            Condition::WithoutComponents(none) => !self.components().has_any(*none),
            Condition::Actions(kinds) => ActionSet::of(&self.effect).has_any(*kinds),
            Condition::Communities(communities) => communities.iter().any(|community| community.is_on(self.route)),
            Condition::AsPathOrigin(numbers) => {
                attributes.and_then(|all| all.origin_as).is_some_and(|asn| numbers.contains(&asn))
            }
            Condition::AsPathContains(numbers) => {
                attributes.is_some_and(|all| all.as_path.iter().any(|asn| numbers.contains(asn)))
            }
            Condition::RateAbove(limit) => self.limit_in(*limit).is_some_and(|(own, limit)| own > limit),
            Condition::RateBelow(limit) => self.limit_in(*limit).is_some_and(|(own, limit)| own < limit),
        }
    }

    /// The rule's limit in the unit of another, and that one.
    fn limit_in(&self, limit: RateLimit) -> Option<(f32, f32)> {
        let Policing::Limit { bytes, packets } = self.effect.policing else { return None };
        match limit {
            RateLimit::Bytes(limit) => bytes.map(|own| (own, limit)),
            RateLimit::Packets(limit) => packets.map(|own| (own, limit)),
        }
    }

    fn redirect_outside(&self, allowed: &PrefixList) -> Option<IpAddr> {
        match self.effect.redirect {
            Some(Redirect::Address { address, .. }) if !allowed.covers(IpNet::from(address)) => Some(address),
            _ => None,
        }
    }

    /// Removes the actions of the peer.
    fn ignore_actions(&mut self) {
        if self.route.actions.iter().any(is_action) {
            self.replace_actions(self.route.actions.iter().filter(|action| !is_action(action)).copied().collect());
        }
        self.announced = self.effect;
    }

    fn replace_actions(&mut self, actions: Vec<Action>) {
        self.effect = Effect::of(&actions, self.route.next_hop);
        self.actions = (actions != self.route.actions).then_some(actions);
    }

    fn apply(&mut self, change: &Change) {
        if let Some(set) = &change.set_actions {
            // Communities that describe the route are kept: a route target, for example.
            let kept = self.route.actions.iter().filter(|action| !is_action(action));
            self.replace_actions(set.iter().chain(kept).copied().collect());
            self.actions_set = true;
        }
        if let (Some(limit), Policing::Discard) = (change.discard_becomes, self.effect.policing) {
            self.replace_policing([limit]);
        }
        if let (Some(most), Policing::Limit { bytes, packets }) = (change.rate_at_most, self.effect.policing) {
            let (bytes, packets) = match most {
                RateLimit::Bytes(most) => (Some(bytes.map_or(most, |own| own.min(most))), packets),
                RateLimit::Packets(most) => (bytes, Some(packets.map_or(most, |own| own.min(most)))),
            };
            if self.effect.policing != (Policing::Limit { bytes, packets }) {
                self.replace_policing(bytes.map(RateLimit::Bytes).into_iter().chain(packets.map(RateLimit::Packets)));
            }
        }
        if let Some(lifetime) = change.lifetime {
            self.lifetime = Some(self.lifetime.map_or(lifetime, |own| own.min(lifetime)));
        }
    }

    fn replace_policing(&mut self, limits: impl IntoIterator<Item = RateLimit>) {
        let limits = limits.into_iter().filter_map(|limit| match limit {
            RateLimit::Bytes(rate) => Rate::new(rate).map(|rate| Action::RateBytes { asn: 0, rate }),
            RateLimit::Packets(rate) => Rate::new(rate).map(|rate| Action::RatePackets { asn: 0, rate }),
        });
        let is_policing = |action: &Action| matches!(action, Action::RateBytes { .. } | Action::RatePackets { .. });
        let others = self.actions().iter().filter(|action| !is_policing(action)).copied();
        self.replace_actions(limits.chain(others.collect::<Vec<_>>()).collect());
    }
}
