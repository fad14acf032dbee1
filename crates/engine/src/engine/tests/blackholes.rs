//! Blackholes: unicast routes with a mark are rules that discard.

use super::policies::{customers, then};
use super::*;
use crate::adj_rib_in::blackholes::UnicastChange;
use crate::import_policy::{
    Blackhole, Condition, Dropped, GuardedSource, RateLimit, RouteCommunity, Statement, Then, Trigger,
};
use crate::route::RouteAttributes;
use flowspec::{Action, PathId};

const UNICAST: RouteFamily = RouteFamily::Unicast(IpVersion::V4);
const BLACKHOLE: u32 = 0xffff_029a;
const SOURCE: u32 = 0xfe2e_029b;

fn list(nets: &[&str]) -> crate::prefix_list::PrefixList {
    nets.iter().map(|net| net.parse::<IpNet>().unwrap()).collect()
}

fn blackhole() -> Blackhole {
    let community = |number| Trigger::Community(RouteCommunity::Standard(number));
    Blackhole {
        triggers: vec![
            (community(BLACKHOLE), Dropped::DESTINATION),
            (community(SOURCE), Dropped::SOURCE),
            (Trigger::NextHop("192.0.2.1/32".parse().unwrap()), Dropped::DESTINATION),
            (Trigger::NextHop("100::/64".parse().unwrap()), Dropped::DESTINATION),
            (Trigger::Community(RouteCommunity::Large([65070, 666, 0])), Dropped::BOTH),
            (Trigger::Community(RouteCommunity::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a])), Dropped::DESTINATION),
        ],
        shortest_v4: 32,
        shortest_v6: 128,
        sources: list(&["203.0.113.0/24", "198.51.100.0/24"]),
        guarded_sources: vec![GuardedSource {
            net: "203.0.113.53/32".parse().unwrap(),
            what: "203.0.113.53 is an address of this machine".to_owned(),
        }],
    }
}

fn policy() -> ImportPolicy {
    ImportPolicy {
        destinations: list(&["198.51.100.0/24", "2001:db8::/32"]),
        blackhole: Some(blackhole()),
        ..ImportPolicy::default()
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn tagged(communities: &[u32]) -> Arc<Route> {
    let attributes = RouteAttributes { communities: communities.to_vec(), ..RouteAttributes::default() };
    let next_hop = Some([10, 0, 0, 1].into());
    Arc::new(Route { next_hop, attributes: attributes.boxed(), ..Route::default() })
}

fn send(engine: &mut Engine, prefix: &str, route: Arc<Route>) -> UnicastChange {
    engine.announce_unicast(PEER, net(prefix), None, route, NOW)
}

fn settle(engine: &mut Engine) -> Vec<String> {
    let _ = engine.next_transaction();
    engine.applied(&Applied::default());
    engine.rules().map(|rule| format!("{} {}", rule.state().name(), rule.rule())).collect()
}

fn with_blackholes() -> Engine {
    started(config(Some(policy())))
}

const HOST: &str = "198.51.100.1/32";
const INSTALLED: &str = "installed dst 198.51.100.1/32 then discard";

#[test]
fn each_mark_makes_the_rules_that_it_says() {
    let other = |attributes: RouteAttributes, actions: Vec<Action>, next_hop: &str| {
        let next_hop = Some(next_hop.parse().unwrap());
        Arc::new(Route { actions, next_hop, attributes: attributes.boxed(), ..Route::default() })
    };
    let large = RouteAttributes { large_communities: vec![[65070, 666, 0]], ..RouteAttributes::default() };
    let target = Action::Other(flowspec::Community::Extended([0, 2, 0xfe, 0x2e, 0, 0, 2, 0x9a]));
    let (destination, source) = (INSTALLED, "installed src 198.51.100.1/32 then discard");
    for (route, expected) in [
        (tagged(&[1, BLACKHOLE]), vec![destination]),
        (tagged(&[SOURCE]), vec![source]),
        (tagged(&[SOURCE, BLACKHOLE]), vec![destination, source]),
        (other(large, vec![], "10.0.0.1"), vec![destination, source]),
        (other(RouteAttributes::default(), vec![], "192.0.2.1"), vec![destination]),
        (other(RouteAttributes::default(), vec![], "192.0.2.2"), vec![]),
        (tagged(&[BLACKHOLE - 1]), vec![]),
    ] {
        let mut engine = with_blackholes();
        let change = send(&mut engine, HOST, route.clone());
        assert_eq!((change.announced.len(), change.withdrawn.len()), (expected.len(), 0));
        assert_eq!(settle(&mut engine), expected, "{route:?}");
        // A withdrawal ends what the announcement began.
        assert_eq!(engine.withdraw_unicast(PEER, net(HOST), None).withdrawn.len(), expected.len());
        assert_eq!(settle(&mut engine), [] as [&str; 0]);
    }
    let mut engine = with_blackholes();
    send(&mut engine, HOST, other(RouteAttributes::default(), vec![target], "10.0.0.1"));
    send(&mut engine, "2001:db8::1/128", other(RouteAttributes::default(), vec![], "100::1"));
    let rules = settle(&mut engine);
    assert!(rules[0].starts_with(INSTALLED) && rules[1] == "installed dst 2001:db8::1/128 then discard", "{rules:?}");
}

#[test]
fn the_note_names_the_mark_and_actions_of_traffic_filters_mean_nothing_on_a_unicast_route() {
    let mut engine = with_blackholes();
    let limit = rule("dst 192.0.2.1/32 then rate 1mbps").actions;
    send(&mut engine, HOST, Arc::new(Route { actions: limit, ..Route::clone(&tagged(&[BLACKHOLE])) }));
    assert_eq!(settle(&mut engine), [INSTALLED]);
    let rule = engine.rules().next().unwrap();
    assert_eq!(rule.notes(), ["it is a blackhole: a unicast route with community 65535:666"]);
    assert!(rule.paths().all(|path| path.blackhole));
}

#[test]
fn without_permission_nothing_becomes_a_filter() {
    for (prefix, communities, reason) in [
        ("192.0.2.1/32", BLACKHOLE, "the peer may not filter this destination"),
        ("0.0.0.0/0", BLACKHOLE, "the peer may filter its own destinations only"),
        ("198.51.100.0/31", BLACKHOLE, "prefix length 31; the shortest allowed for this peer is 32"),
        ("198.51.100.0/24", SOURCE, "prefix length 24; the shortest allowed for this peer is 32"),
        ("192.0.2.1/32", SOURCE, "may not have packets from this source dropped"),
        ("203.0.113.53/32", SOURCE, "guarded: 203.0.113.53 is an address of this machine"),
    ] {
        let mut engine = with_blackholes();
        send(&mut engine, prefix, tagged(&[communities]));
        let _ = engine.next_transaction();
        let rule = engine.rules().next().unwrap();
        assert_eq!(rule.state().name(), "guarded", "{prefix}");
        let why = rule.state().reason().unwrap();
        assert!(why.contains(reason), "{prefix}: {why}");
    }
    // A peer without blackholes, and without any policy.
    let plain = ImportPolicy { blackhole: None, ..policy() };
    for policy in [Some(plain), None] {
        let mut engine = started(config(policy));
        assert_eq!(send(&mut engine, HOST, tagged(&[BLACKHOLE])), UnicastChange::default());
        assert_eq!(settle(&mut engine), [] as [&str; 0]);
    }
    // The length is configurable, and a covering source is rejected, too.
    let short = Blackhole { shortest_v4: 24, ..blackhole() };
    let mut engine = started(config(Some(ImportPolicy { blackhole: Some(short), ..policy() })));
    send(&mut engine, "198.51.100.0/24", tagged(&[BLACKHOLE]));
    send(&mut engine, "203.0.113.0/24", tagged(&[SOURCE]));
    let rules = settle(&mut engine);
    assert_eq!(rules[0], "installed dst 198.51.100.0/24 then discard");
    assert!(rules[1].starts_with("guarded src 203.0.113.0/24"), "{rules:?}");
}

#[test]
fn a_route_that_replaces_it_without_the_mark_ends_it() {
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    assert_eq!(settle(&mut engine), [INSTALLED]);
    assert_eq!(send(&mut engine, HOST, tagged(&[])).withdrawn.len(), 1);
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
    // From one meaning to another.
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    let change = send(&mut engine, HOST, tagged(&[SOURCE]));
    assert_eq!((change.announced.len(), change.withdrawn.len()), (1, 1));
    assert_eq!(settle(&mut engine), ["installed src 198.51.100.1/32 then discard"]);
    assert_eq!(engine.counts(PEER).rules, 1);
}

#[test]
fn any_tagged_path_counts_and_not_only_the_best() {
    let mut engine = with_blackholes();
    let better = Arc::new(Route {
        facts: PathFacts { local_pref: Some(1000), ..PathFacts::default() },
        ..Route::clone(&tagged(&[]))
    });
    // Paths of one peer, and another peer.
    engine.announce_unicast(PEER, net(HOST), Some(PathId(1)), tagged(&[BLACKHOLE]), NOW);
    engine.announce_unicast(PEER, net(HOST), Some(PathId(2)), better.clone(), NOW);
    engine.announce_unicast(OTHER, net(HOST), None, better, NOW);
    assert_eq!(settle(&mut engine), [INSTALLED]);
    engine.announce_unicast(OTHER, net(HOST), None, tagged(&[BLACKHOLE]), NOW);
    engine.withdraw_unicast(PEER, net(HOST), Some(PathId(2)));
    engine.withdraw_unicast(PEER, net(HOST), Some(PathId(1)));
    assert_eq!(settle(&mut engine), [INSTALLED], "the other peer's is left");
    engine.announce_unicast(OTHER, net(HOST), None, tagged(&[]), NOW);
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
}

#[test]
fn a_traffic_filter_of_the_same_prefix_is_another_route() {
    let mut engine = with_blackholes();
    announce(&mut engine, PEER, "dst 198.51.100.1/32 then discard");
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    assert_eq!(engine.counts(PEER).rules, 2);
    engine.withdraw_unicast(PEER, net(HOST), None);
    assert_eq!(settle(&mut engine), [INSTALLED], "the traffic filter is left");
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    engine.withdraw(PEER, nlri("dst 198.51.100.1/32"), None);
    assert_eq!(settle(&mut engine), [INSTALLED], "the blackhole is left");
    // Each family ends for itself.
    announce(&mut engine, PEER, "dst 198.51.100.1/32 then discard");
    let retain = |family| Retention { family, until: Some(NOW.plus(60)), long_lived_until: None, renews: false };
    engine.peer_down(PEER, &[retain(UNICAST)], NOW);
    assert_eq!(settle(&mut engine), ["stale dst 198.51.100.1/32 then discard"]);
    assert_eq!(engine.counts(PEER).rules, 1);
}

#[test]
fn retention_is_that_of_the_unicast_family() {
    let retain = |family| Retention { family, until: Some(NOW.plus(60)), long_lived_until: None, renews: false };
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    engine.peer_down(PEER, &[retain(V4)], NOW);
    assert_eq!(settle(&mut engine), [] as [&str; 0], "the family of traffic filters does not keep it");
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.2/32", tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.3/32", tagged(&[BLACKHOLE]));
    settle(&mut engine);
    engine.peer_down(PEER, &[retain(UNICAST)], NOW);
    assert!(settle(&mut engine).iter().all(|rule| rule.starts_with("stale")));
    // The peer is back: one comes again, one without its mark, one not.
    engine.start_end_of_rib_timer(PEER, UNICAST, NOW.plus(50));
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.2/32", tagged(&[]));
    assert_eq!(settle(&mut engine), [INSTALLED, "stale dst 198.51.100.3/32 then discard"]);
    engine.end_of_rib(PEER, V4);
    assert_eq!(settle(&mut engine).len(), 2, "the End-of-RIB of another family");
    engine.end_of_rib(PEER, UNICAST);
    assert_eq!(settle(&mut engine), [INSTALLED]);
    // Nobody comes back: the deadline decides.
    engine.peer_down(PEER, &[retain(UNICAST)], NOW.plus(100));
    engine.expire(NOW.plus(59));
    assert_eq!(settle(&mut engine).len(), 1);
    engine.expire(NOW.plus(60));
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
}

#[test]
fn a_route_refresh_of_unicast_ends_what_does_not_come_again() {
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.2/32", tagged(&[BLACKHOLE]));
    engine.begin_refresh(PEER, UNICAST, NOW.plus(60));
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    assert!(engine.end_refresh(PEER, UNICAST));
    assert_eq!(settle(&mut engine), [INSTALLED]);
}

#[test]
fn it_outlives_a_restart_and_is_confirmed_or_ended_then() {
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    settle(&mut engine);
    let kept: Vec<_> = engine.snapshot().map(|(peer, path)| (peer, path.to_string())).collect();
    let restart = |policy: ImportPolicy| {
        let mut engine = started(config(Some(policy)));
        let retain = |family| Retention { family, until: Some(NOW.plus(60)), long_lived_until: None, renews: true };
        for (peer, line) in &kept {
            engine.restore(*peer, [line.parse().unwrap()], &[retain(V4), retain(UNICAST)]);
        }
        engine
    };
    let mut engine = restart(policy());
    assert_eq!(settle(&mut engine), ["stale dst 198.51.100.1/32 then discard"]);
    // Without its mark it ends before the End-of-RIB.
    send(&mut engine, HOST, tagged(&[]));
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
    // If blackholes were removed from the configuration meanwhile, there is none.
    let mut engine = restart(ImportPolicy { blackhole: None, ..policy() });
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
}

#[test]
fn a_reload_ends_blackholes_whose_mark_is_none_any_longer() {
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.2/32", tagged(&[SOURCE]));
    settle(&mut engine);
    let mut fewer = blackhole();
    fewer.triggers.retain(|(_, dropped)| dropped.source);
    engine.reconfigure(config(Some(ImportPolicy { blackhole: Some(fewer), ..policy() })));
    assert_eq!(settle(&mut engine), ["installed src 198.51.100.2/32 then discard"]);
    engine.reconfigure(config(Some(ImportPolicy { blackhole: None, ..policy() })));
    assert_eq!(settle(&mut engine), [] as [&str; 0]);
    assert_eq!(engine.counts(PEER).rules, 0);
}

#[test]
fn policies_apply_to_blackholes_by_their_family() {
    let unicast = vec![Condition::Families(vec![UNICAST])];
    let limit = Statement { discard_becomes: Some(RateLimit::Bytes(1.25e6)), ..then(Then::Next) };
    let statements = customers(vec![(unicast, limit)]);
    let mut engine = started(config(Some(ImportPolicy { statements, ..policy() })));
    announce(&mut engine, PEER, "dst 198.51.100.2/32 then discard");
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    assert_eq!(
        settle(&mut engine),
        ["installed dst 198.51.100.1/32 then rate 10mbps", "installed dst 198.51.100.2/32 then discard"]
    );
}

#[test]
fn a_loop_is_shown_and_never_in_force() {
    let facts = PathFacts { route_loop: Some(RouteLoop::OwnAs(65000)), ..PathFacts::default() };
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    settle(&mut engine);
    send(&mut engine, HOST, Arc::new(Route { facts, ..Route::clone(&tagged(&[BLACKHOLE])) }));
    assert_eq!(settle(&mut engine), ["infeasible dst 198.51.100.1/32 then discard"]);
    assert_eq!(engine.rules().next().unwrap().state().reason_code(), Some("loop"));
}

#[test]
fn an_exception_made_by_hand_or_by_a_peer_exempts_from_it() {
    let mut engine = with_blackholes();
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    announce(&mut engine, LOCAL, "dst 198.51.100.1/32 proto tcp dport 443 then accept");
    assert_eq!(
        settle(&mut engine),
        ["installed dst 198.51.100.1/32 proto tcp dport 443 then accept", INSTALLED],
        "in this order: what the exception accepts, the blackhole does not meet"
    );
    // The same match part announced locally is the better path of the same rule: it decides.
    announce(&mut engine, LOCAL, "dst 198.51.100.1/32 then accept");
    assert_eq!(settle(&mut engine)[1], "installed dst 198.51.100.1/32 then accept");
}

#[test]
fn limits_count_blackholes_and_validation_does_not_ask_for_a_route() {
    let policy = ImportPolicy { max_rules: Some(1), validate: true, ..policy() };
    let mut engine = started(config(Some(policy)));
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    send(&mut engine, "198.51.100.2/32", tagged(&[BLACKHOLE]));
    let rules = settle(&mut engine);
    assert_eq!(rules, [INSTALLED, "guarded dst 198.51.100.2/32 then discard"]);
    engine.withdraw_unicast(PEER, net(HOST), None);
    assert_eq!(settle(&mut engine), ["installed dst 198.51.100.2/32 then discard"]);
}

#[test]
fn untagged_routes_are_kept_only_where_something_is_validated_by_them() {
    let mut engine = with_blackholes();
    send(&mut engine, "198.51.100.0/24", tagged(&[]));
    send(&mut engine, HOST, tagged(&[BLACKHOLE]));
    assert_eq!((engine.counts(PEER).unicast, engine.counts(PEER).rules), (0, 1));
    engine.reconfigure(config(Some(ImportPolicy { validate: true, ..policy() })));
    send(&mut engine, "198.51.100.0/24", tagged(&[]));
    assert_eq!(engine.counts(PEER).unicast, 1);
    engine.reconfigure(config(Some(policy())));
    assert_eq!(engine.counts(PEER).unicast, 0);
}

#[test]
fn a_flapping_peer_with_ever_new_prefixes_leaves_nothing_behind() {
    let mut engine = with_blackholes();
    for round in 0..200_u32 {
        for host in 0..100_u32 {
            let address = Ipv4Addr::from(0xc633_6400 + round * 100 + host);
            engine.announce_unicast(PEER, IpNet::new(address.into(), 32).unwrap(), None, tagged(&[BLACKHOLE]), NOW);
        }
        engine.peer_down(PEER, &[], NOW);
        settle(&mut engine);
    }
    assert!(engine.adj_rib_in.blackhole_prefixes() <= 4200, "{}", engine.adj_rib_in.blackhole_prefixes());
    assert_eq!(engine.rule_count(), 0);
}
