//! The engine through its public interface.

use super::*;
use crate::capability::Ability;
use crate::import_policy::{ActionKind, ActionSet, ImportPolicy};
use crate::plan::{Applied, Plan, RuleFailure};
use crate::route::{AsPathFacts, PathFacts, RouteLoop};
use crate::state::RuleState;
use flowspec::{ComponentType, Effect, Family, IpVersion, Policing, Rule};

mod blackholes;
mod lifetimes;
mod paths;
mod policies;

const LOCAL: PeerId = PeerId(0);
const PEER: PeerId = PeerId(1);
const OTHER: PeerId = PeerId(2);
const NOW: Timestamp = Timestamp(1_000);
const V4: RouteFamily = RouteFamily::Flow(Family::Ipv4);

fn config(policy: Option<ImportPolicy>) -> EngineConfig {
    let peer =
        |last: u8| PeerConfig { address: Some([192, 0, 2, last].into()), external: true, policy: policy.clone() };
    EngineConfig {
        capabilities: Capabilities::everything("none"),
        protection: Protection::default(),
        peers: [(LOCAL, PeerConfig::local()), (PEER, peer(1)), (OTHER, peer(2))].into_iter().collect(),
        monitor: false,
    }
}

fn open() -> ImportPolicy {
    ImportPolicy { without_destination: true, shortest_v4: 0, shortest_v6: 0, ..ImportPolicy::default() }
}

/// With the first full load behind it.
fn started(config: EngineConfig) -> Engine {
    let mut engine = Engine::new(config);
    assert!(matches!(engine.next_transaction(), Some(Transaction::Full(full)) if full.rules.is_empty()));
    engine.applied(&Applied::default());
    engine
}

fn engine() -> Engine {
    started(config(Some(open())))
}

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn nlri(text: &str) -> Arc<Nlri> {
    Arc::new(rule(&format!("{text} then accept")).nlri)
}

fn announce_with(engine: &mut Engine, peer: PeerId, text: &str, facts: PathFacts) -> AnnounceOutcome {
    let rule = rule(text);
    let route = Arc::new(Route { actions: rule.actions, next_hop: rule.next_hop, facts, attributes: None });
    engine.announce(peer, rule.nlri, None, route, NOW, None)
}

fn announce(engine: &mut Engine, peer: PeerId, text: &str) -> AnnounceOutcome {
    let as_path = AsPathFacts { length: 1, leftmost: Some(65000 + peer.0), internal: false };
    announce_with(engine, peer, text, PathFacts { as_path, ..PathFacts::default() })
}

fn plan(engine: &mut Engine) -> Plan {
    match engine.next_transaction() {
        Some(Transaction::Plan(plan)) => plan,
        other => panic!("no plan: {other:?}"),
    }
}

fn apply(engine: &mut Engine) {
    while engine.next_transaction().is_some() {
        engine.applied(&Applied::default());
    }
}

/// The states of all rules in order, with the codes of their reasons.
fn states(engine: &Engine) -> Vec<String> {
    let name = |state: RuleState| match state.reason_code() {
        Some(code) => format!("{} {code}", state.name()),
        None => state.name().to_owned(),
    };
    engine.rules().map(|rule| name(rule.state())).collect()
}

#[test]
fn a_rule_is_pending_until_it_is_applied() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.9/32 proto udp sport 123 then discard");
    assert_eq!(states(&engine), ["pending"]);
    assert_eq!(plan(&mut engine).upsert.len(), 1);
    assert_eq!(states(&engine), ["pending"]);
    assert_eq!(engine.next_transaction(), None, "one at a time");
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["installed"]);
    assert_eq!(
        announce(&mut engine, PEER, "dst 192.0.2.9/32 proto udp sport 123 then discard"),
        AnnounceOutcome::Unchanged
    );
    assert!(!engine.has_pending_changes());
}

#[test]
fn a_burst_is_one_plan_and_what_cancels_out_is_none() {
    let mut engine = engine();
    for host in 0..50 {
        announce(&mut engine, PEER, &format!("dst 192.0.2.{host}/32 then discard"));
    }
    engine.withdraw(PEER, nlri("dst 192.0.2.7/32"), None);
    assert_eq!(plan(&mut engine).upsert.len(), 49);
    engine.applied(&Applied::default());
    announce(&mut engine, PEER, "dst 192.0.2.200/32 then discard");
    engine.withdraw(PEER, nlri("dst 192.0.2.200/32"), None);
    assert_eq!(engine.next_transaction(), None);
    engine.withdraw(PEER, nlri("dst 192.0.2.8/32"), None);
    assert_eq!(plan(&mut engine), Plan { remove: vec![nlri("dst 192.0.2.8/32")], ..Plan::default() });
}

#[test]
fn equal_rules_of_two_peers_are_one() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then rate 1mbps");
    announce(&mut engine, OTHER, "dst 192.0.2.9/32 then discard");
    apply(&mut engine);
    let discards =
        |engine: &Engine| engine.rules().next().unwrap().enforced().map(|effect| effect.policing == Policing::Discard);
    assert_eq!(engine.rules().count(), 1);
    assert_eq!(discards(&engine), Some(false), "the lower address is preferred");
    engine.withdraw(PEER, nlri("dst 192.0.2.9/32"), None);
    assert_eq!(plan(&mut engine).upsert.len(), 1, "the other peer's actions take over");
    engine.applied(&Applied::default());
    assert_eq!(discards(&engine), Some(true));
    announce(&mut engine, LOCAL, "dst 192.0.2.9/32 then accept");
    apply(&mut engine);
    assert_eq!(discards(&engine), Some(false), "ours comes first");
    assert_eq!(engine.rules().next().unwrap().peers().collect::<Vec<_>>(), [OTHER, LOCAL]);
}

#[test]
fn policy_says_what_a_peer_may_ask_for() {
    let policy = ImportPolicy {
        destinations: ["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()].into_iter().collect(),
        actions: [ActionKind::Discard, ActionKind::Rate].into_iter().collect(),
        shortest_v4: 25,
        shortest_v6: 48,
        ..ImportPolicy::default()
    };
    let mut engine = started(config(Some(policy)));
    let table = [
        ("dst 192.0.2.0/26 then discard", "installed"),
        ("dst 192.0.2.0/25 then rate 1mbps", "installed"),
        ("dst 192.0.2.0/24 then discard", "guarded too-short"),
        ("dst 198.51.100.1/32 then discard", "guarded destination"),
        ("dst 192.0.2.1/32 then accept", "guarded action"),
        ("dst 192.0.2.1/32 proto udp then rate 1mbps mark 8", "guarded action"),
        ("proto udp then discard", "guarded without-destination"),
        ("dst 0.0.0.0/0 proto tcp then discard", "guarded without-destination"),
        ("dst 2001:db8:1::/48 then discard", "installed"),
        ("dst 2001:db8::/47 then discard", "guarded too-short"),
        ("dst ::1:0:0:0/64-80 then discard", "guarded without-destination"),
    ];
    for (text, expected) in table {
        announce(&mut engine, PEER, text);
        apply(&mut engine);
        let nlri = Arc::new(rule(text).nlri);
        let state = engine.rule(&nlri).unwrap().state();
        let found = [Some(state.name()), state.reason_code()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert_eq!(found, expected, "{text}");
        engine.withdraw(PEER, nlri, None);
    }
}

#[test]
fn an_external_peer_without_policy_gives_nothing() {
    let mut engine = started(config(None));
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["guarded no-policy"]);
    announce(&mut engine, LOCAL, "dst 192.0.2.9/32 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"], "our own route to the same rule counts");
}

#[test]
fn what_is_protected_is_accepted_first_and_not_aimed_at() {
    let mut config = config(Some(open()));
    config.protection.destination("192.0.2.0/28".parse().unwrap());
    config.protection.session("192.0.2.1".parse().unwrap(), None, 179);
    let mut engine = Engine::new(config.clone());
    let Some(Transaction::Full(full)) = engine.next_transaction() else { panic!("no full load") };
    assert_eq!(full.protected.len(), 2);
    engine.applied(&Applied::default());
    for text in
        ["dst 192.0.2.3/32 then discard", "src 192.0.2.1/32 proto tcp sport 179 then discard", "proto tcp then discard"]
    {
        announce(&mut engine, PEER, text);
    }
    apply(&mut engine);
    assert_eq!(states(&engine), ["guarded protected", "guarded protected", "installed"]);
    config.protection = Protection::default();
    engine.reconfigure(config.clone());
    let plan = plan(&mut engine);
    assert_eq!((plan.upsert.len(), plan.protected.map(|spaces| spaces.len())), (2, Some(0)));
    engine.applied(&Applied::default());
    // If the data plane cannot accept the protected packets ahead of the rules, it says so.
    config.protection.session("192.0.2.1".parse().unwrap(), None, 179);
    let no_ports = [ComponentType::Port, ComponentType::SourcePort, ComponentType::DestinationPort];
    config.capabilities =
        no_ports.into_iter().fold(config.capabilities, |c, field| c.with_field(field, Ability::Unsupported));
    engine.reconfigure(config);
    assert_eq!(engine.unprotected().len(), 1);
}

#[test]
fn a_shadowed_rule_comes_back() {
    let mut engine = engine();
    // `=6,=17` stands before `=17`: fewer octets do not help, lower ones do.
    let (first, second) = ("dst 192.0.2.9/32 proto tcp,udp", "dst 192.0.2.9/32 proto udp sport 123");
    announce(&mut engine, PEER, &format!("{second} then discard"));
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    announce(&mut engine, OTHER, &format!("{first} then discard"));
    let change = plan(&mut engine);
    assert_eq!((change.upsert.len(), change.remove.len()), (1, 1));
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["installed", "shadowed"]);
    // A rule with the T bit shadows nothing.
    announce(&mut engine, OTHER, &format!("{first} then continue"));
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "installed"]);
    announce(&mut engine, OTHER, &format!("{first} then accept"));
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "shadowed"]);
    engine.withdraw(OTHER, nlri(first), None);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    assert_eq!(engine.full().rules.len(), 1);
}

#[test]
fn large_groups_are_not_compared() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.9/32 proto tcp,udp then discard");
    for port in 1..32 {
        announce(&mut engine, PEER, &format!("dst 192.0.2.9/32 proto udp sport {port} then discard"));
    }
    apply(&mut engine);
    assert_eq!(engine.full().rules.len(), 1);
    announce(&mut engine, PEER, "dst 192.0.2.9/32 proto udp sport 32 then discard");
    apply(&mut engine);
    assert_eq!(engine.full().rules.len(), 33);
    engine.withdraw(PEER, nlri("dst 192.0.2.9/32 proto udp sport 5"), None);
    apply(&mut engine);
    assert_eq!(engine.full().rules.len(), 1);
}

#[test]
fn a_rule_after_a_refused_exception_waits_for_it_to_go() {
    let mut config = config(Some(open()));
    config.capabilities = config.capabilities.with_field(ComponentType::PacketLength, Ability::Unsupported);
    let mut engine = started(config);
    let exception = "dst 192.0.2.9/32 length <100";
    announce(&mut engine, PEER, "dst 192.0.2.0/24 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    announce(&mut engine, PEER, &format!("{exception} then accept"));
    apply(&mut engine);
    assert_eq!(states(&engine), ["refused field", "refused exception"]);
    announce(&mut engine, PEER, &format!("{exception} then discard"));
    apply(&mut engine);
    assert_eq!(states(&engine), ["refused field", "installed"], "what it drops, the next may drop as well");
    announce(&mut engine, PEER, &format!("{exception} then accept"));
    apply(&mut engine);
    engine.withdraw(PEER, nlri(exception), None);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
}

#[test]
fn failures_are_seen_and_tried_again() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.9/32 proto udp then accept");
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then discard");
    plan(&mut engine);
    engine.apply_failed("no netlink");
    let state = engine.rules().next().unwrap().state();
    assert_eq!(state, RuleState::Failed("no netlink".to_owned()));
    assert_eq!(plan(&mut engine).upsert.len(), 2, "all of it again");
    let first = nlri("dst 192.0.2.9/32 proto udp");
    let failures = vec![(first.clone(), RuleFailure::OverCapacity("full".to_owned()))];
    engine.applied(&Applied { failures });
    // The exempting rule is not in force: the later rule must not drop what it exempts.
    let change = plan(&mut engine);
    assert_eq!((change.upsert.len(), change.remove), (0, vec![nlri("dst 192.0.2.9/32")]));
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["over-capacity", "refused exception"]);
    // That made room, so that it is tried again, and then all succeed.
    assert_eq!(plan(&mut engine).upsert[0].nlri, first);
    engine.applied(&Applied::default());
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "installed"]);
    assert!(!engine.has_failures());
}

/// A back end removes, in the same change, what waits for an exempting rule without room.
#[test]
fn a_rule_that_waits_for_its_exception_comes_back_when_that_goes() {
    let mut engine = engine();
    let (exception, rule) = ("dst 192.0.2.9/32 proto udp", "dst 192.0.2.9/32");
    announce(&mut engine, PEER, &format!("{exception} then accept"));
    announce(&mut engine, PEER, &format!("{rule} then discard"));
    let full = |text: &str| (nlri(text), RuleFailure::OverCapacity("full".to_owned()));
    plan(&mut engine);
    engine.applied(&Applied { failures: vec![full(exception), full(rule)] });
    assert_eq!(engine.next_transaction(), None, "the data plane has neither");
    assert_eq!(states(&engine), ["over-capacity", "refused exception"]);
    engine.withdraw(PEER, nlri(exception), None);
    let change = plan(&mut engine);
    assert_eq!((change.upsert[0].nlri.clone(), change.remove), (nlri(rule), vec![]));
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["installed"]);
}

#[test]
fn a_failed_full_load_is_done_again() {
    let mut engine = Engine::new(config(Some(open())));
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then discard");
    assert!(matches!(engine.next_transaction(), Some(Transaction::Full(full)) if full.rules.len() == 1));
    engine.apply_failed("no table");
    assert_eq!(states(&engine), ["failed"]);
    assert!(matches!(engine.next_transaction(), Some(Transaction::Full(full)) if full.rules.len() == 1));
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["installed"]);
}

#[test]
fn pause_and_monitor() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then rate 1mbps mark 8 continue");
    apply(&mut engine);
    engine.set_monitor(true);
    let change = plan(&mut engine);
    assert_eq!(change.upsert[0].effect, Effect { continues: true, ..Effect::ACCEPT });
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["installed"]);
    engine.pause();
    assert!(matches!(engine.next_transaction(), Some(Transaction::Full(full)) if full.rules.is_empty()));
    engine.applied(&Applied::default());
    assert_eq!(states(&engine), ["pending paused"]);
    announce(&mut engine, PEER, "dst 192.0.2.10/32 then discard");
    assert_eq!(engine.next_transaction(), None);
    engine.set_monitor(false);
    engine.resume();
    assert!(matches!(engine.next_transaction(), Some(Transaction::Full(full)) if full.rules.len() == 2));
}

#[test]
fn rules_beyond_the_limit_wait_for_room() {
    let policy = ImportPolicy { max_rules: Some(2), ..open() };
    let mut engine = started(config(Some(policy.clone())));
    for host in 1..5 {
        let outcome = announce(&mut engine, PEER, &format!("dst 192.0.2.{host}/32 then discard"));
        assert_eq!(outcome == AnnounceOutcome::Changed, host < 3);
    }
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "installed", "guarded excess", "guarded excess"]);
    engine.withdraw(PEER, nlri("dst 192.0.2.3/32"), None);
    engine.withdraw(PEER, nlri("dst 192.0.2.1/32"), None);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "installed"]);
    for host in 0..2000 {
        announce(&mut engine, PEER, &format!("dst 198.51.{}.{}/32 then discard", host / 256, host % 256));
    }
    apply(&mut engine);
    let counts = engine.counts(PEER);
    assert_eq!((counts.rules, counts.excess, counts.dropped), (1004, 1002, 998));
    assert_eq!(engine.rules().count(), 1004);
    // With the limit gone they all come in.
    engine.reconfigure(config(Some(open())));
    apply(&mut engine);
    assert_eq!(engine.full().rules.len(), 1004);
}

#[test]
fn unicast_changes_are_followed() {
    let mut engine = started(config(Some(ImportPolicy { validate: true, ..open() })));
    let text = "dst 192.0.2.0/25 proto udp then discard";
    let route = |leftmost| {
        let as_path = AsPathFacts { length: 1, leftmost: Some(leftmost), internal: false };
        Arc::new(Route { facts: PathFacts { as_path, ..PathFacts::default() }, ..Route::default() })
    };
    announce(&mut engine, PEER, text);
    let mut step = |expected: &str, change: &dyn Fn(&mut Engine)| {
        change(&mut engine);
        apply(&mut engine);
        assert_eq!(states(&engine), [expected]);
    };
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    step("infeasible no-route", &|_| {});
    step("installed", &|engine| drop(engine.announce_unicast(PEER, net("192.0.2.0/24"), None, route(65001), NOW)));
    step("infeasible originator", &|engine| {
        drop(engine.announce_unicast(OTHER, net("192.0.2.0/25"), None, route(65002), NOW))
    });
    step("installed", &|engine| drop(engine.withdraw_unicast(OTHER, net("192.0.2.0/25"), None)));
    step("infeasible more-specific", &|engine| {
        drop(engine.announce_unicast(OTHER, net("192.0.2.8/29"), None, route(65002), NOW))
    });
    step("installed", &|engine| engine.peer_down(OTHER, &[], NOW));
    step("infeasible leftmost-as", &|engine| {
        drop(engine.announce_unicast(PEER, net("192.0.2.0/24"), None, route(65009), NOW))
    });
    step("infeasible no-route", &|engine| drop(engine.withdraw_unicast(PEER, net("192.0.2.0/24"), None)));
    assert_eq!(engine.counts(PEER).unicast, 0);
}

#[test]
fn vpn_rules_are_refused() {
    let mut engine = engine();
    announce(&mut engine, PEER, "vpnv4 rd 65000:1 dst 192.0.2.1/32 then accept");
    announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "refused vpn"]);
}

#[test]
fn what_is_remembered_comes_back_stale() {
    let mut engine = engine();
    let facts = PathFacts {
        local_pref: Some(7),
        med: Some(8),
        originator: Some([9, 9, 9, 9].into()),
        cluster_list_length: 2,
        llgr_stale: true,
        as_path: AsPathFacts { length: 3, leftmost: Some(65001), internal: false },
        ..PathFacts::default()
    };
    announce_with(&mut engine, PEER, "dst 192.0.2.1/32 then rate 1mbps mark 8", facts);
    announce_with(&mut engine, PEER, "dst 2001:db8::1/128 dport 80 then redirect 2001:db8::9", facts);
    announce(&mut engine, LOCAL, "vpnv4 rd 65000:1 dst 192.0.2.1/32 then accept");
    let lines: Vec<(PeerId, String)> = engine.snapshot().map(|(peer, path)| (peer, path.to_string())).collect();
    let mut again = Engine::new(config(Some(open())));
    let retain = [Family::Ipv4, Family::Ipv6].map(|family| Retention {
        family: family.into(),
        until: Some(NOW.plus(180)),
        long_lived_until: None,
        renews: true,
    });
    for (peer, line) in &lines {
        again.restore(*peer, [line.parse().unwrap()], &retain);
    }
    let remembered: Vec<_> = engine.snapshot().collect();
    assert_eq!(again.snapshot().collect::<Vec<_>>(), remembered);
    apply(&mut again);
    assert_eq!(states(&again), ["stale", "refused vpn", "stale"]);
    again.expire(NOW.plus(180));
    apply(&mut again);
    assert_eq!(states(&again), ["refused vpn"]);
    for bad in ["", "wire ipv4 00", &lines[0].1[1..], &lines[0].1[..lines[0].1.len() - 1]] {
        assert!(bad.parse::<SnapshotPath>().is_err(), "{bad}");
    }
}

#[test]
fn what_was_feasible_stays_until_the_unicast_routes_have_come_again() {
    let validating = config(Some(ImportPolicy { validate: true, ..open() }));
    let as_path = AsPathFacts { length: 1, leftmost: Some(65001), internal: false };
    let facts = PathFacts { as_path, ..PathFacts::default() };
    let mut engine = started(validating.clone());
    for host in ["192.0.2.1/32", "198.51.100.1/32"] {
        announce_with(&mut engine, PEER, &format!("dst {host} then discard"), facts);
    }
    let lines: Vec<String> = engine.snapshot().map(|(_, path)| path.to_string()).collect();
    let retain = [Retention { family: V4, until: Some(NOW.plus(180)), long_lived_until: None, renews: true }];
    // The first of them was in force, the second was not.
    let in_force = [nlri("dst 192.0.2.1/32").id()].into();
    let again = || {
        let mut again = Engine::new(validating.clone());
        again.restore(PEER, lines.iter().map(|line| line.parse().unwrap()), &retain);
        again.presume_feasible(&in_force);
        apply(&mut again);
        assert_eq!(states(&again), ["stale", "infeasible no-route"]);
        again
    };
    // Sent again before the unicast routes are.
    let mut engine = again();
    announce_with(&mut engine, PEER, "dst 192.0.2.1/32 then discard", facts);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "infeasible no-route"]);
    let unicast = Arc::new(Route { facts, ..Route::default() });
    engine.announce_unicast(PEER, "192.0.2.0/24".parse().unwrap(), None, unicast, NOW);
    engine.validate_presumed();
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed", "infeasible no-route"]);
    // The routes are not received: nothing is presumed any longer.
    let mut engine = again();
    engine.validate_presumed();
    apply(&mut engine);
    assert_eq!(states(&engine), ["infeasible no-route", "infeasible no-route"]);
    // It is announced differently: that is a new announcement.
    let mut engine = again();
    announce_with(&mut engine, PEER, "dst 192.0.2.1/32 then rate 1mbps", facts);
    apply(&mut engine);
    assert_eq!(states(&engine), ["infeasible no-route", "infeasible no-route"]);
}

#[test]
fn peers_that_are_no_longer_configured_lose_their_rules() {
    let mut engine = engine();
    announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard");
    announce(&mut engine, OTHER, "dst 192.0.2.2/32 then discard");
    apply(&mut engine);
    let mut config = config(Some(ImportPolicy { actions: ActionSet::ALL, ..open() }));
    config.peers.remove(&PEER);
    engine.reconfigure(config);
    assert_eq!(plan(&mut engine).remove, [nlri("dst 192.0.2.1/32")]);
    assert_eq!(announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard"), AnnounceOutcome::UnknownPeer);
}

#[test]
fn ipv4_and_ipv6_are_one_list() {
    let mut engine = engine();
    for text in ["dst 2001:db8::1/128 then discard", "dst 192.0.2.1/32 then discard", "proto udp then discard"] {
        announce(&mut engine, PEER, text);
    }
    apply(&mut engine);
    let versions: Vec<_> = engine.full().rules.iter().map(|rule| rule.nlri.family().version()).collect();
    assert_eq!(versions, [IpVersion::V4, IpVersion::V4, IpVersion::V6]);
    assert_eq!(engine.rules_by_state()[0], ("installed", 3));
    assert_eq!(engine.rules_in_force().count(), 3);
    let id = engine.rules().next().unwrap().id();
    assert!(engine.rule_by_id(id).is_some());
}

#[test]
fn a_route_that_came_back_is_kept_and_shown_and_never_in_force() {
    let mut engine = engine();
    let text = "dst 192.0.2.9/32 then discard";
    for route_loop in
        [RouteLoop::OwnAs(65001), RouteLoop::Originator([1, 2, 3, 4].into()), RouteLoop::Cluster([1, 2, 3, 4].into())]
    {
        let looped = PathFacts { route_loop: Some(route_loop), local_pref: Some(900), ..PathFacts::default() };
        announce_with(&mut engine, PEER, text, looped);
        apply(&mut engine);
        assert_eq!(states(&engine), ["infeasible loop"]);
        assert!(engine.rules().next().unwrap().state().reason().unwrap().starts_with("a loop: our own "));
        assert_eq!(engine.snapshot().count(), 0, "it is not remembered over a restart");
        // However high its LOCAL_PREF is, another peer's route is the one that counts.
        announce(&mut engine, OTHER, text);
        apply(&mut engine);
        assert_eq!(states(&engine), ["installed"]);
        engine.withdraw(OTHER, nlri("dst 192.0.2.9/32"), None);
        apply(&mut engine);
        assert_eq!(states(&engine), ["infeasible loop"]);
    }
    announce(&mut engine, PEER, text);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"], "it does not come back to us any more");
}
