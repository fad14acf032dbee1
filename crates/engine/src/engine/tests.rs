//! The engine as the program uses it.

use super::*;
use crate::plan::Applied;
use crate::state::RuleState;
use flowspec::Rule;

const PEER: PeerId = PeerId(1);
const NOW: Timestamp = Timestamp(1_000);

fn rule(text: &str) -> Rule {
    text.parse().unwrap()
}

fn engine() -> Engine {
    let peers = [(PEER, PeerConfig { address: Some("192.0.2.1".parse().unwrap()), external: false, policy: None })];
    Engine::new(EngineConfig {
        capabilities: Capabilities::everything("none"),
        protection: Protection::default(),
        peers: peers.into_iter().collect(),
        monitor: false,
    })
}

fn announce(engine: &mut Engine, text: &str) {
    let rule = rule(text);
    let route = Arc::new(Route { actions: rule.actions, next_hop: rule.next_hop, ..Route::default() });
    engine.announce(PEER, rule.nlri, None, route, NOW, None);
}

#[test]
fn a_rule_is_pending_until_it_is_applied() {
    let mut engine = engine();
    assert!(matches!(engine.take_change(), Some(Change::Full(_))));
    engine.applied(&Applied::default());
    announce(&mut engine, "dst 192.0.2.9/32 proto udp sport 123 then discard");
    let Some(Change::Plan(plan)) = engine.take_change() else { panic!("no plan") };
    assert_eq!(plan.upsert.len(), 1);
    assert_eq!(engine.rules().next().map(|rule| rule.state()), Some(RuleState::Pending { paused: false }));
    assert_eq!(engine.take_change(), None, "one at a time");
    engine.applied(&Applied::default());
    assert_eq!(engine.rules().next().map(|rule| rule.state()), Some(RuleState::Installed { entries: 1 }));
}
