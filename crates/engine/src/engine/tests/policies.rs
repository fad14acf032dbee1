//! Import policy: statements in order, what they change, and the effect of a new configuration on
//! existing routes.

use super::*;
use crate::import_policy::{
    ActionCommunities, ComponentSet, Condition, PolicyChain, PolicyRejection, RateLimit, RouteCommunity, Statement,
    StatementName, Step, Then,
};
use crate::route::RouteAttributes;
use flowspec::Action;

/// Statements of the policy `customers`, each made of conditions and a change of an empty one.
pub(super) fn customers(statements: Vec<(Vec<Condition>, Statement)>) -> Vec<Statement> {
    let number = |(number, (conditions, statement)): (u32, (Vec<Condition>, Statement))| Statement {
        name: StatementName { policy: "customers".into(), number },
        conditions,
        ..statement
    };
    (1..).zip(statements).map(number).collect()
}

pub(super) fn then(then: Then) -> Statement {
    Statement {
        name: StatementName { policy: "".into(), number: 0 },
        conditions: Vec::new(),
        set_actions: None,
        discard_becomes: None,
        rate_at_most: None,
        lifetime: None,
        then,
    }
}

fn set(actions: &str) -> Statement {
    Statement { set_actions: Some(rule(&format!("dst 192.0.2.1/32 then {actions}")).actions), ..then(Then::Next) }
}

fn reject() -> Statement {
    then(Then::Reject(None))
}

fn with(statements: Vec<(Vec<Condition>, Statement)>) -> ImportPolicy {
    ImportPolicy { statements: customers(statements), ..open() }
}

/// The result of the policy for a rule with these attributes: the rejection, or the actions and the
/// lifetime.
fn made_with(policy: &ImportPolicy, text: &str, attributes: RouteAttributes) -> String {
    let Rule { nlri, actions, next_hop } = rule(text);
    let route = Route { actions, next_hop, attributes: attributes.boxed(), ..Route::default() };
    let evaluation = PolicyChain::new(policy).evaluate(&nlri, &route);
    if let Some(rejection) = evaluation.rejection {
        return rejection.to_string();
    }
    let actions = evaluation.actions.unwrap_or(route.actions);
    let shown = Rule { nlri, actions, next_hop }.to_string();
    let actions = shown.rsplit_once(" then ").unwrap().1.to_owned();
    evaluation.lifetime.map_or(actions.clone(), |seconds| format!("{actions}, {seconds} s"))
}

fn made(policy: &ImportPolicy, text: &str) -> String {
    made_with(policy, text, RouteAttributes::default())
}

fn list(nets: &[&str]) -> crate::prefix_list::PrefixList {
    nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect()
}

#[test]
fn each_condition_matches_what_it_says_and_nothing_else() {
    let components = |kinds: &[ComponentType]| -> ComponentSet { kinds.iter().copied().collect() };
    let kinds = |kinds: &[ActionKind]| -> ActionSet { kinds.iter().copied().collect() };
    let cases: Vec<(Condition, &[&str], &[&str])> = vec![
        (
            Condition::Families(vec![V4]),
            &["dst 192.0.2.1/32 then discard", "src 192.0.2.1/32 then discard"],
            &["dst 2001:db8::1/128 then discard"],
        ),
        (
            Condition::DestinationWithin(list(&["192.0.2.0/24", "2001:db8::/32"])),
            &["dst 192.0.2.1/32 then discard", "dst 192.0.2.0/24 then discard", "dst 2001:db8::1/128 then discard"],
            &["dst 192.0.0.0/22 then discard", "src 192.0.2.1/32 then discard", "dst 198.51.100.1/32 then discard"],
        ),
        (
            Condition::SourceWithin(list(&["192.0.2.0/24"])),
            &["src 192.0.2.1/32 then discard", "dst 198.51.100.1/32 src 192.0.2.0/25 then discard"],
            &["dst 192.0.2.1/32 then discard", "src 192.0.0.0/22 then discard"],
        ),
        (
            Condition::DestinationLength((24..=31).into()),
            &["dst 192.0.2.0/24 then discard", "dst 192.0.2.0/31 then discard"],
            &["dst 192.0.2.0/32 then discard", "dst 192.0.0.0/23 then discard", "proto udp then discard"],
        ),
        (
            Condition::SourceLength((0..=0).into()),
            &["dst 192.0.2.0/24 then discard", "proto udp then discard"],
            &["dst 192.0.2.0/24 src 192.0.2.0/24 then discard"],
        ),
        (
            Condition::Components(components(&[ComponentType::Protocol, ComponentType::SourcePort])),
            &["dst 192.0.2.1/32 proto udp sport 53 then discard"],
            &["dst 192.0.2.1/32 proto udp then discard", "dst 192.0.2.1/32 proto udp dport 53 then discard"],
        ),
        (
            Condition::WithoutComponents(components(&[ComponentType::Protocol, ComponentType::SourcePort])),
            &["dst 192.0.2.1/32 then discard"],
            &["dst 192.0.2.1/32 proto udp then discard"],
        ),
        (
            Condition::Actions(kinds(&[ActionKind::Discard, ActionKind::Accept])),
            &["dst 192.0.2.1/32 then discard", "dst 192.0.2.1/32 then accept"],
            &["dst 192.0.2.1/32 then rate 1mbps", "dst 192.0.2.1/32 then mark 46"],
        ),
        (
            Condition::RateAbove(RateLimit::Bytes(125_000.0)),
            &["dst 192.0.2.1/32 then rate 2mbps"],
            &[
                "dst 192.0.2.1/32 then rate 1mbps",
                "dst 192.0.2.1/32 then discard",
                "dst 192.0.2.1/32 then accept",
                "dst 192.0.2.1/32 then rate 900000pps",
            ],
        ),
        (
            Condition::RateBelow(RateLimit::Packets(1000.0)),
            &["dst 192.0.2.1/32 then rate 999pps"],
            &["dst 192.0.2.1/32 then rate 1000pps", "dst 192.0.2.1/32 then discard", "dst 192.0.2.1/32 then rate 1bps"],
        ),
    ];
    for (condition, yes, no) in cases {
        let policy = with(vec![(vec![condition.clone()], reject())]);
        for text in yes {
            assert_eq!(made(&policy, text), "statement 1 of `customers` rejects it", "{condition:?} {text}");
        }
        for text in no {
            assert!(!made(&policy, text).contains("rejects"), "{condition:?} {text}");
        }
    }
}

#[test]
fn communities_and_the_as_path_are_matched() {
    const RULE: &str = "dst 192.0.2.1/32 then discard";
    let attributes = RouteAttributes {
        communities: vec![0xfe2e_029a],
        large_communities: vec![[65070, 666, 0]],
        as_path: vec![65001, 65002, 65003],
        origin_as: Some(65003),
    };
    let target = RouteCommunity::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a]);
    for (condition, matches) in [
        (Condition::Communities(vec![RouteCommunity::Standard(1), RouteCommunity::Standard(0xfe2e_029a)]), true),
        (Condition::Communities(vec![RouteCommunity::Standard(1)]), false),
        (Condition::Communities(vec![RouteCommunity::Large([65070, 666, 0])]), true),
        (Condition::Communities(vec![RouteCommunity::Large([65070, 666, 1])]), false),
        (Condition::Communities(vec![target]), true),
        (Condition::Communities(vec![RouteCommunity::Extended([0, 3, 0xfe, 0x2e, 0, 0, 2, 0x9a])]), false),
        (Condition::AsPathOrigin(vec![65003]), true),
        (Condition::AsPathOrigin(vec![65001, 65002]), false),
        (Condition::AsPathContains(vec![65002]), true),
        (Condition::AsPathContains(vec![65004]), false),
    ] {
        let policy = with(vec![(vec![condition.clone()], reject())]);
        let mut tagged = rule(RULE);
        tagged.actions.push(Action::Other(flowspec::Community::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a])));
        let route = Route { actions: tagged.actions, attributes: attributes.clone().boxed(), ..Route::default() };
        let rejected = PolicyChain::new(&policy).evaluate(&tagged.nlri, &route).rejection.is_some();
        assert_eq!(rejected, matches, "{condition:?}");
        assert_eq!(made(&policy, RULE), "discard", "without attributes: {condition:?}");
    }
}

#[test]
fn the_first_statement_that_decides_ends_the_search_and_changes_add_up() {
    let udp = || vec![Condition::Components([ComponentType::SourcePort].into_iter().collect())];
    let hosts = || vec![Condition::DestinationLength((32..=32).into())];
    let policy = with(vec![
        (vec![], Statement { lifetime: Some(3600), ..then(Then::Next) }),
        (udp(), Statement { discard_becomes: Some(RateLimit::Bytes(1.25e6)), ..then(Then::Next) }),
        (hosts(), then(Then::Accept)),
        (vec![], then(Then::Reject(Some("hosts only".into())))),
    ]);
    for (text, expected) in [
        ("dst 192.0.2.1/32 then discard", "discard, 3600 s"),
        ("dst 192.0.2.1/32 sport 53 then discard", "rate 10mbps, 3600 s"),
        ("dst 192.0.2.1/32 sport 53 then rate 20mbps", "rate 20mbps, 3600 s"),
        ("dst 192.0.2.0/24 sport 53 then discard", "statement 4 of `customers` rejects it: hosts only"),
    ] {
        assert_eq!(made(&policy, text), expected, "{text}");
    }
    // Later statements see the rule as earlier ones left it.
    let rates = vec![Condition::Actions([ActionKind::Rate].into_iter().collect())];
    let policy = with(vec![(vec![], set("rate 5mbps")), (rates, reject())]);
    assert_eq!(made(&policy, "dst 192.0.2.1/32 then discard"), "statement 2 of `customers` rejects it");
}

#[test]
fn actions_are_set_and_capped_exactly() {
    let cap = |limit| with(vec![(vec![], Statement { rate_at_most: Some(limit), ..then(Then::Next) })]);
    let (bytes, packets) = (cap(RateLimit::Bytes(1.25e6)), cap(RateLimit::Packets(1000.0)));
    for (policy, actions, expected) in [
        (&bytes, "rate 20mbps", "rate 10mbps"),
        (&bytes, "rate 5mbps", "rate 5mbps"),
        (&bytes, "rate 5mbps mark 46", "rate 5mbps mark 46"),
        (&bytes, "rate 20mbps mark 46", "rate 10mbps mark 46"),
        (&bytes, "discard", "discard"),
        (&bytes, "accept", "accept"),
        // A limit in the other unit stays, and the highest one is added.
        (&bytes, "rate 5pps", "rate 10mbps rate 5pps"),
        (&packets, "rate 5000pps", "rate 1000pps"),
        (&with(vec![(vec![], set("mark 46"))]), "discard", "mark 46"),
        (&with(vec![(vec![], set("accept"))]), "discard", "accept"),
        (&with(vec![(vec![], set("continue"))]), "discard", "continue"),
    ] {
        assert_eq!(made(policy, &format!("dst 192.0.2.1/32 then {actions}")), expected, "{actions}");
    }
    // A route target describes the route, and stays.
    let Rule { nlri, .. } = rule("dst 192.0.2.1/32 then discard");
    let target = Action::Other(flowspec::Community::Extended([0, 2, 0xfe, 0x2e, 0, 0, 0, 1]));
    let route = Route { actions: vec![target], ..Route::default() };
    let chain = PolicyChain::new(&with(vec![(vec![], set("discard"))]));
    let actions = chain.evaluate(&nlri, &route).actions.unwrap();
    assert!(actions.contains(&target) && actions.len() == 2, "{actions:?}");
}

#[test]
fn what_a_peer_may_ask_for_comes_first_and_an_action_that_a_statement_sets_is_the_operators() {
    let tagged = || vec![Condition::Communities(vec![RouteCommunity::Standard(7)])];
    let attributes = || RouteAttributes { communities: vec![7], ..RouteAttributes::default() };
    let policy = ImportPolicy {
        destinations: list(&["192.0.2.0/24"]),
        actions: [ActionKind::Rate].into_iter().collect(),
        ..with(vec![(tagged(), set("discard")), (vec![], then(Then::Accept))])
    };
    let discard = "dst 192.0.2.1/32 then discard";
    assert_eq!(made(&policy, discard), "the peer may not ask for action discard");
    assert_eq!(made_with(&policy, discard, attributes()), "discard");
    assert_eq!(made(&policy, "dst 192.0.2.1/32 then rate 1mbps"), "rate 1mbps");
    // No statement accepts what is not allowed.
    let elsewhere = made_with(&policy, "dst 198.51.100.1/32 then discard", attributes());
    assert_eq!(elsewhere, "the peer may not filter this destination");
}

#[test]
fn only_mapped_communities_act_where_the_operator_says_so() {
    let tagged = || vec![Condition::Communities(vec![RouteCommunity::Standard(7)])];
    let attributes = || RouteAttributes { communities: vec![7], ..RouteAttributes::default() };
    let policy = |action_communities| ImportPolicy { action_communities, ..with(vec![(tagged(), set("rate 1mbps"))]) };
    let (plain, discard) = ("dst 192.0.2.1/32 then accept", "dst 192.0.2.1/32 then discard");
    let ignore = policy(ActionCommunities::Ignore);
    assert_eq!(made_with(&ignore, plain, attributes()), "rate 1mbps");
    assert_eq!(made_with(&ignore, discard, attributes()), "rate 1mbps");
    assert!(made(&ignore, discard).contains("no statement gives it an action"), "{}", made(&ignore, discard));
    assert!(made(&ignore, plain).contains("no statement gives it an action"));
    let refuse = policy(ActionCommunities::Refuse);
    assert_eq!(made_with(&refuse, plain, attributes()), "rate 1mbps");
    assert!(made_with(&refuse, discard, attributes()).contains("may not ask for actions"));
    assert!(made(&refuse, plain).contains("no statement gives it an action"));
    assert_eq!(made(&policy(ActionCommunities::Take), discard), "discard");
}

#[test]
fn every_step_is_reported() {
    let policy = with(vec![
        (vec![Condition::Families(vec![RouteFamily::Flow(Family::Ipv6)])], reject()),
        (vec![], Statement { lifetime: Some(60), ..then(Then::Next) }),
        (vec![], reject()),
    ]);
    let chain = PolicyChain::new(&policy);
    let mut steps = Vec::new();
    let Rule { nlri, actions, .. } = rule("dst 192.0.2.1/32 then discard");
    let route = Route { actions, ..Route::default() };
    let evaluation = chain.trace(&nlri, &route, |step| {
        steps.push(match step {
            Step::Unmatched(name, key) => format!("{name}: not {key}"),
            Step::Continued(name) => format!("{name}: next"),
            Step::Accepted(name) => format!("{name}: accept"),
            Step::Rejected(name) => format!("{name}: reject"),
        });
    });
    assert_eq!(
        steps,
        [
            "statement 1 of `customers`: not families",
            "statement 2 of `customers`: next",
            "statement 3 of `customers`: reject"
        ]
    );
    assert!(matches!(evaluation.rejection, Some(PolicyRejection::Statement { name, .. }) if name.number == 3));
}

#[test]
fn another_policy_is_applied_to_the_routes_that_are_there() {
    let first = |engine: &Engine| engine.rules().next().map(|rule| (rule.state().name(), rule.rule().to_string()));
    let (discard, limit) = ("dst 192.0.2.1/32 then discard", "dst 192.0.2.1/32 then rate 10mbps");
    let mut engine = engine();
    announce(&mut engine, PEER, discard);
    let apply = |engine: &mut Engine, policy: ImportPolicy| {
        engine.reconfigure(config(Some(policy)));
        let _ = engine.next_transaction();
        engine.applied(&Applied::default());
    };
    apply(&mut engine, open());
    assert_eq!(first(&engine), Some(("installed", discard.to_owned())));
    let limited =
        || with(vec![(vec![], Statement { discard_becomes: Some(RateLimit::Bytes(1.25e6)), ..then(Then::Next) })]);
    apply(&mut engine, limited());
    assert_eq!(first(&engine), Some(("installed", limit.to_owned())));
    assert_eq!(engine.rules().next().unwrap().notes().len(), 1);
    // The saved route is the one received, so that policy is applied to it once.
    let (peer, kept) = engine.snapshot().next().unwrap();
    assert_eq!(Rule::new(Nlri::clone(&kept.nlri), kept.route.actions.clone()).to_string(), discard);
    let mut restarted = started(config(Some(limited())));
    let retention = Retention { family: V4, until: Some(NOW.plus(60)), long_lived_until: None, renews: true };
    restarted.restore(peer, [kept.to_string().parse().unwrap()], &[retention]);
    let _ = restarted.next_transaction();
    restarted.applied(&Applied::default());
    assert_eq!(first(&restarted), Some(("stale", limit.to_owned())));
    apply(&mut engine, with(vec![(vec![], reject())]));
    assert_eq!(first(&engine).unwrap().0, "guarded");
    assert_eq!(engine.rules().next().unwrap().state().reason_code(), Some("policy"));
    apply(&mut engine, open());
    assert_eq!(first(&engine), Some(("installed", discard.to_owned())));
}

#[test]
fn a_lifetime_of_a_statement_ends_a_rule_and_another_one_revives_it() {
    let limited = |seconds| with(vec![(vec![], Statement { lifetime: Some(seconds), ..then(Then::Next) })]);
    let state = |engine: &mut Engine| {
        let _ = engine.next_transaction();
        engine.applied(&Applied::default());
        engine.rules().next().unwrap().state().name()
    };
    let mut engine = started(config(Some(limited(60))));
    announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard");
    assert_eq!(state(&mut engine), "installed");
    engine.expire(NOW.plus(59));
    assert_eq!(state(&mut engine), "installed");
    assert_eq!(engine.expire(NOW.plus(60)).len(), 1);
    assert_eq!(state(&mut engine), "guarded");
    let why = engine.rules().next().unwrap().state().reason().unwrap();
    assert_eq!(why, "it was announced more than 60 seconds ago");
    engine.reconfigure(config(Some(limited(100))));
    assert_eq!(state(&mut engine), "installed");
    engine.reconfigure(config(Some(limited(30))));
    assert_eq!(state(&mut engine), "guarded");
    engine.reconfigure(config(Some(limited(100))));
    engine.expire(NOW.plus(100));
    assert_eq!(state(&mut engine), "guarded");
    engine.reconfigure(config(Some(open())));
    assert_eq!(state(&mut engine), "installed");
    engine.expire(NOW.plus(100_000));
    assert_eq!(state(&mut engine), "installed");
}

#[test]
fn a_rejected_path_of_one_peer_leaves_the_rule_to_the_other() {
    let mut config = config(Some(open()));
    let policy = with(vec![(vec![], reject())]);
    config.peers.get_mut(&PEER).unwrap().policy = Some(policy);
    let mut engine = started(config);
    announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard");
    announce(&mut engine, OTHER, "dst 192.0.2.1/32 then rate 1mbps");
    let _ = engine.next_transaction();
    engine.applied(&Applied::default());
    let rule = engine.rules().next().unwrap();
    assert_eq!(
        (rule.state().name(), rule.rule().to_string()),
        ("installed", "dst 192.0.2.1/32 then rate 1mbps".to_owned())
    );
    let objections: Vec<_> = rule.paths().filter_map(|path| path.objection).collect();
    assert_eq!(objections, ["statement 1 of `customers` rejects it"]);
}
