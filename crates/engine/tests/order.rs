//! The order of changes never matters: after any history, what the data plane was told is what a
//! fresh engine would tell it for the same routes, and it is safe.

use engine::capability::{Ability, Capabilities};
use engine::import_policy::ImportPolicy;
use engine::plan::{Applied, CompiledRule, RuleFailure};
use engine::protection::Protection;
use engine::route::{AsPathFacts, PathFacts};
use engine::{Engine, EngineConfig, PeerConfig, PeerId, Retention, Route, RouteFamily, Timestamp, Transaction};
use flowspec::testing::{Seed, Shape, random_rules};
use flowspec::{Action, ComponentType, Family, IpVersion, Nlri, PathId, Rule};
use std::collections::BTreeMap;
use std::sync::Arc;

const PEERS: [PeerId; 4] = [PeerId(0), PeerId(1), PeerId(2), PeerId(3)];
const NOW: Timestamp = Timestamp(0);

/// Without packet lengths, so that some rules are refused.
fn capabilities() -> Capabilities {
    Capabilities::everything("test").with_field(ComponentType::PacketLength, Ability::Unsupported)
}

fn config() -> EngineConfig {
    let validating = ImportPolicy {
        validate: true,
        without_destination: true,
        shortest_v4: 0,
        shortest_v6: 0,
        ..ImportPolicy::default()
    };
    let strict = ImportPolicy { shortest_v4: 20, shortest_v6: 20, ..ImportPolicy::default() };
    let peer = |last: u8, external, policy| PeerConfig { address: Some([192, 0, 2, last].into()), external, policy };
    let peers =
        [PeerConfig::local(), peer(1, false, None), peer(2, true, Some(validating)), peer(3, true, Some(strict))];
    let mut protection = Protection::default();
    protection.destination("10.0.0.0/25".parse().unwrap());
    protection.session([192, 0, 2, 1].into(), None, 179);
    EngineConfig {
        capabilities: capabilities(),
        protection,
        peers: PEERS.into_iter().zip(peers).collect(),
        monitor: false,
    }
}

/// A data plane that remembers, and now and then says no.
#[derive(Default)]
struct Table {
    rules: BTreeMap<Arc<Nlri>, Arc<CompiledRule>>,
}

impl Table {
    fn apply(&mut self, change: &Transaction) {
        match change {
            Transaction::Full(full) => {
                self.rules = full.rules.iter().map(|rule| (rule.nlri.clone(), rule.clone())).collect();
            }
            Transaction::Plan(plan) => {
                for nlri in &plan.remove {
                    assert!(self.rules.remove(nlri).is_some(), "removed what is not there: {nlri:?}");
                }
                self.rules.extend(plan.upsert.iter().map(|rule| (rule.nlri.clone(), rule.clone())));
            }
        }
    }
}

#[derive(Default)]
struct History {
    routes: BTreeMap<(Arc<Nlri>, PeerId, Option<PathId>), Arc<Route>>,
    unicast: BTreeMap<(ipnet::IpNet, PeerId), Arc<Route>>,
}

fn drain(engine: &mut Engine, table: &mut Table) {
    while let Some(change) = engine.next_transaction() {
        table.apply(&change);
        engine.applied(&Applied::default());
    }
}

fn rules_of(table: &Table) -> Vec<CompiledRule> {
    table.rules.values().map(|rule| CompiledRule::clone(rule)).collect()
}

fn random_route(seed: &mut Seed, rule: &Rule) -> Arc<Route> {
    let leftmost = seed.pick(&[None, Some(65001), Some(65002)]).flatten();
    let as_path = AsPathFacts { length: u32::from(leftmost.is_some()), leftmost, internal: leftmost.is_none() };
    let facts = PathFacts {
        as_path,
        local_pref: seed.pick(&[None, Some(100), Some(200)]).flatten(),
        med: seed.pick(&[None, Some(5)]).flatten(),
        ..PathFacts::default()
    };
    let discard = Action::RateBytes { asn: 0, rate: flowspec::Rate::new(0.0).unwrap() };
    let actions = if seed.percent(30) { vec![discard] } else { rule.actions.clone() };
    Arc::new(Route { actions, next_hop: rule.next_hop, facts, attributes: None })
}

fn nets() -> Vec<ipnet::IpNet> {
    [
        "10.0.0.0/8",
        "10.0.0.0/24",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "2001:db8::/32",
        "2001:db8::/64",
        "0.0.0.0/0",
        "::/0",
    ]
    .map(|net| net.parse().unwrap())
    .into()
}

fn step(seed: &mut Seed, engine: &mut Engine, history: &mut History, rules: &[Rule]) {
    let peer = seed.pick(&PEERS).unwrap();
    let rule = &rules[seed.below(rules.len() as u64) as usize];
    let nlri = Arc::new(rule.nlri.clone());
    let path_id = seed.percent(20).then_some(PathId(7));
    let net = seed.pick(&nets()).unwrap();
    match seed.below(100) {
        0..60 => {
            let route = random_route(seed, rule);
            engine.announce(peer, nlri.clone(), path_id, route.clone(), NOW, None);
            history.routes.insert((nlri, peer, path_id), route);
        }
        60..85 => {
            let known = history.routes.remove(&(nlri.clone(), peer, path_id)).is_some();
            assert_eq!(engine.withdraw(peer, nlri, path_id), known);
        }
        85..93 => {
            let route = random_route(seed, rule);
            engine.announce_unicast(peer, net, None, route.clone(), NOW);
            history.unicast.insert((net, peer), route);
        }
        93..97 => {
            engine.withdraw_unicast(peer, net, None);
            history.unicast.remove(&(net, peer));
        }
        97 => {
            engine.peer_down(peer, &[], NOW);
            history.routes.retain(|(_, other, _), _| *other != peer);
            history.unicast.retain(|(_, other), _| *other != peer);
        }
        98 => {
            // Down, and back with all that it had: nothing changes in the end.
            let families = [Family::Ipv4, Family::Ipv6].map(RouteFamily::from);
            let unicast = [IpVersion::V4, IpVersion::V6].map(RouteFamily::Unicast);
            let retain = families.into_iter().chain(unicast).map(|family| Retention {
                family,
                until: Some(NOW.plus(100)),
                long_lived_until: None,
                renews: true,
            });
            let retain: Vec<_> = retain.collect();
            engine.peer_down(peer, &retain, NOW);
            for ((nlri, _, path_id), route) in history.routes.iter().filter(|((_, other, _), _)| *other == peer) {
                engine.announce(peer, nlri.clone(), *path_id, route.clone(), NOW, None);
            }
            for ((net, _), route) in history.unicast.iter().filter(|((_, other), _)| *other == peer) {
                engine.announce_unicast(peer, *net, None, route.clone(), NOW);
            }
            retain.iter().for_each(|retention| engine.end_of_rib(peer, retention.family));
        }
        _ => {
            engine.pause();
            engine.resume();
        }
    }
}

fn fresh(history: &History, seed: &mut Seed) -> Table {
    let mut engine = Engine::new(config());
    let mut routes: Vec<_> = history.routes.iter().collect();
    for at in (1..routes.len()).rev() {
        routes.swap(at, seed.below(at as u64 + 1) as usize);
    }
    for ((nlri, peer, path_id), route) in routes {
        engine.announce(*peer, nlri.clone(), *path_id, route.clone(), NOW, None);
    }
    for ((net, peer), route) in &history.unicast {
        engine.announce_unicast(*peer, *net, None, route.clone(), NOW);
    }
    let mut table = Table::default();
    drain(&mut engine, &mut table);
    table
}

#[test]
fn any_history_ends_in_the_same_rules() {
    let (mut installed, mut states) = (0, BTreeMap::new());
    for number in 0..120 {
        let mut seed = Seed::new(number);
        let version = if number % 2 == 0 { IpVersion::V4 } else { IpVersion::V6 };
        let shape = if number % 3 == 0 { Shape::everything() } else { Shape::plain() };
        let rules = random_rules(&mut seed, version, &shape, 40);
        let (mut engine, mut table, mut history) = (Engine::new(config()), Table::default(), History::default());
        for _ in 0..seed.within(20, 200) {
            step(&mut seed, &mut engine, &mut history, &rules);
            if seed.percent(30) {
                drain(&mut engine, &mut table);
            }
        }
        drain(&mut engine, &mut table);
        assert_eq!(rules_of(&table), rules_of(&fresh(&history, &mut seed)), "seed {number}");
        let full: Vec<_> = engine.full().rules.iter().map(|rule| CompiledRule::clone(rule)).collect();
        assert_eq!(rules_of(&table), full, "seed {number}");
        assert!(!engine.has_pending_changes());
        installed += full.len();
        engine.rules().for_each(|rule| *states.entry(rule.state().name()).or_insert(0) += 1);
    }
    assert!(installed > 500, "{installed}");
    for state in ["installed", "refused", "guarded", "infeasible"] {
        assert!(states.get(state).is_some_and(|&count| count > 20), "{states:?}");
    }
}

#[test]
fn refusing_data_planes_end_in_the_same_rules() {
    let mut failed = 0;
    for number in 0..80 {
        let mut seed = Seed::new(1000 + number);
        let rules = random_rules(&mut seed, IpVersion::V4, &Shape::plain(), 30);
        let (mut engine, mut table, mut history) = (Engine::new(config()), Table::default(), History::default());
        for _ in 0..60 {
            step(&mut seed, &mut engine, &mut history, &rules);
            let Some(change) = (seed.percent(50)).then(|| engine.next_transaction()).flatten() else { continue };
            if seed.percent(30) {
                engine.apply_failed("kernel says no");
                failed += 1;
                continue;
            }
            table.apply(&change);
            let mut applied = Applied::default();
            if let Transaction::Plan(plan) = &change {
                for rule in plan.upsert.iter().filter(|_| seed.percent(30)) {
                    table.rules.remove(&rule.nlri);
                    applied.failures.push((rule.nlri.clone(), RuleFailure::Failed("no".to_owned())));
                    failed += 1;
                }
            }
            engine.applied(&applied);
        }
        for _ in 0..4 {
            engine.retry();
            drain(&mut engine, &mut table);
        }
        assert!(!engine.has_failures());
        // Where another path stands in for one that failed, that one is tried again with the next
        // full load.
        engine.reload();
        drain(&mut engine, &mut table);
        assert_eq!(rules_of(&table), rules_of(&fresh(&history, &mut seed)), "seed {number}");
    }
    assert!(failed > 300, "{failed}");
}
