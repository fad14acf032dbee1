//! A session with blackholes may carry a full table: routes without a mark take no memory.

mod counting;

use counting::in_use;
use engine::capability::Capabilities;
use engine::import_policy::{Blackhole, Dropped, ImportPolicy, RouteCommunity, Trigger};
use engine::protection::Protection;
use engine::route::RouteAttributes;
use engine::{Engine, EngineConfig, PeerConfig, PeerId, Route, Timestamp};
use ipnet::{IpNet, Ipv4Net};
use std::net::Ipv4Addr;
use std::sync::Arc;

const PEER: PeerId = PeerId(1);
const NOW: Timestamp = Timestamp(0);
const ROUTES: u32 = 300_000;
const TAGGED: u32 = 1_000;

fn engine(validate: bool) -> Engine {
    let blackhole = Blackhole {
        triggers: vec![(Trigger::Community(RouteCommunity::BLACKHOLE), Dropped::DESTINATION)],
        shortest_v4: 32,
        shortest_v6: 128,
        sources: Default::default(),
        guarded_sources: Vec::new(),
    };
    let anywhere: IpNet = "0.0.0.0/0".parse().unwrap();
    let policy = ImportPolicy {
        destinations: [anywhere].into_iter().collect(),
        blackhole: Some(blackhole),
        validate,
        ..ImportPolicy::default()
    };
    let peer = PeerConfig { address: Some([192, 0, 2, 1].into()), external: true, policy: Some(policy) };
    Engine::new(EngineConfig {
        capabilities: Capabilities::everything("none"),
        protection: Protection::default(),
        peers: [(PEER, peer)].into_iter().collect(),
        monitor: false,
    })
}

/// Each with an AS_PATH of its own: nothing is shared between them.
fn route(number: u32, communities: Vec<u32>) -> Arc<Route> {
    let as_path = vec![65001, 100_000 + number];
    let attributes = RouteAttributes { communities, as_path, origin_as: Some(100_000 + number), ..Default::default() };
    Arc::new(Route { next_hop: Some([10, 0, 0, 1].into()), attributes: attributes.boxed(), ..Route::default() })
}

fn net(number: u32, length: u8) -> IpNet {
    Ipv4Net::new(Ipv4Addr::from(0x0100_0000 + (number << 8)), length).unwrap().into()
}

/// Octets that the engine takes with so many untagged routes beside the tagged ones.
fn memory(untagged: u32, validate: bool) -> usize {
    let before = in_use();
    let mut engine = engine(validate);
    for number in 0..untagged.max(TAGGED) {
        if number < TAGGED {
            engine.announce_unicast(PEER, net(number, 32), None, route(number, vec![0xffff_029a]), NOW);
        }
        if number < untagged {
            engine.announce_unicast(PEER, net(number, 24), None, route(number, vec![1, 2, 3]), NOW);
        }
    }
    assert_eq!(engine.counts(PEER).rules, u64::from(TAGGED));
    let expected = if validate { u64::from(untagged + TAGGED) } else { 0 };
    assert_eq!(engine.counts(PEER).unicast, expected);
    in_use() - before
}

#[test]
fn untagged_routes_take_no_memory_unless_rules_are_validated_by_them() {
    let (alone, full) = (memory(0, false), memory(ROUTES, false));
    println!("{TAGGED} blackholes: {alone} octets; beside {ROUTES} other routes: {full}");
    assert!(full.abs_diff(alone) < 64 * 1024, "{alone} octets alone, {full} beside {ROUTES} other routes");
    // The measure does see routes that are kept.
    let kept = memory(10_000, true);
    assert!(kept > alone + 10_000 * 64, "{alone} {kept}");
}
