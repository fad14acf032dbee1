//! What is advertised to a peer, over its sessions, changes and ROUTE-REFRESH requests.

mod pair;

use bgp::*;
use flowspec::{Family, Rule};
use pair::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const V6: AfiSafi = AfiSafi::Flow(Family::Ipv6);

/// The rules that the peer has, by its messages: text of the match part, and number of actions.
#[derive(Default)]
struct Table {
    rules: BTreeMap<String, Vec<[u8; 8]>>,
    /// The rules before a refresh that it has not had again.
    unconfirmed: Option<Vec<String>>,
    ends: Vec<AfiSafi>,
    updates: usize,
}

impl Table {
    fn of(log: &[(Duration, Output)]) -> Self {
        let mut table = Table::default();
        for (_, output) in log {
            match output {
                Output::Established(_) => table = Table::default(),
                Output::Update(update) => table.update(update),
                Output::EndOfRib(family) => table.ends.push(*family),
                Output::RouteRefresh { kind: RefreshKind::Begin, .. } => {
                    table.unconfirmed = Some(table.rules.keys().cloned().collect());
                }
                Output::RouteRefresh { kind: RefreshKind::End, .. } => {
                    for stale in table.unconfirmed.take().expect("an end has a begin") {
                        table.rules.remove(&stale);
                    }
                }
                _ => {}
            }
        }
        table
    }

    fn update(&mut self, update: &Update) {
        assert!(update.errors.is_empty(), "{update:?}");
        self.updates += 1;
        let text = |route: &RouteKey| match &route.destination {
            Destination::Flow(nlri) => nlri.to_string(),
            Destination::Unicast(net) => net.to_string(),
        };
        update.withdrawn.iter().for_each(|route| drop(self.rules.remove(&text(route))));
        for group in &update.announced {
            assert_eq!(group.next_hop, None);
            for route in &group.routes {
                if let Some(unconfirmed) = &mut self.unconfirmed {
                    unconfirmed.retain(|old| *old != text(route));
                }
                self.rules.insert(text(route), group.attributes.extended_communities.clone());
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.rules.keys().map(String::as_str).collect()
    }
}

fn parts(text: &str) -> (RouteKey, Arc<PathAttributes>) {
    let rule: Rule = text.parse().unwrap();
    (RouteKey::from(rule.nlri), Arc::new(PathAttributes::originate(&rule.actions)))
}

struct Speaker {
    out: AdjRibOut,
    pair: Pair,
}

impl Speaker {
    fn new(a: PeerConfig, b: PeerConfig) -> Self {
        Speaker { out: AdjRibOut::default(), pair: Pair::new(a, b) }
    }

    fn announce(&mut self, text: &str) {
        let (route, attributes) = parts(text);
        self.out.announce(route, None, attributes, &mut self.pair.sessions[A]);
        self.pair.flush();
    }

    fn withdraw(&mut self, text: &str) {
        self.out.withdraw(parts(text).0, &mut self.pair.sessions[A]);
        self.pair.flush();
    }

    /// Runs until both are up, then does what the owner of a session does at that event.
    fn establish(&mut self) {
        self.pair.run(Duration::from_secs(90));
        assert!(self.pair.both_up());
        self.out.established(true, &mut self.pair.sessions[A]);
        self.pair.flush();
        self.pair.run(Duration::from_secs(1));
    }

    /// The peer asks so many times; then the clock runs, and answers are given as the queue allows.
    fn refresh(&mut self, family: AfiSafi, times: usize) {
        for _ in 0..times {
            self.out.refresh(family);
        }
        self.out.answer(&mut self.pair.sessions[A]);
        self.pair.flush();
        self.pair.run(Duration::from_secs(1));
    }

    fn table(&self) -> Table {
        Table::of(&self.pair.log[B])
    }
}

const ONE: &str = "dst 192.0.2.1/32 proto udp then discard";
const TWO: &str = "dst 192.0.2.2/32 then discard";
const SIX: &str = "ipv6 dst 2001:db8::1/128 then discard";

fn names(rules: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = rules.iter().map(|text| text.parse::<Rule>().unwrap().nlri.to_string()).collect();
    names.sort();
    names
}

fn up() -> Speaker {
    let mut speaker = Speaker::new(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) });
    speaker.pair.start_both();
    speaker
}

#[test]
fn a_peer_has_all_routes_then_each_change() {
    let mut speaker = up();
    speaker.announce(ONE);
    speaker.announce(SIX);
    speaker.establish();
    let table = speaker.table();
    assert_eq!(table.names(), names(&[ONE, SIX]));
    assert_eq!(table.ends, [V4, V6]);
    speaker.announce(TWO);
    speaker.withdraw(ONE);
    // It is not there: nothing is sent.
    speaker.withdraw("dst 192.0.2.9/32 then discard");
    speaker.pair.run(Duration::from_secs(1));
    let updates = speaker.table().updates;
    assert_eq!(speaker.table().names(), names(&[TWO, SIX]));
    // The same again is not sent; another action is.
    speaker.announce(TWO);
    speaker.pair.run(Duration::from_secs(1));
    assert_eq!(speaker.table().updates, updates);
    speaker.announce("dst 192.0.2.2/32 then rate 1mbps");
    speaker.pair.run(Duration::from_secs(1));
    assert_eq!(speaker.table().updates, updates + 1);
    assert_eq!(speaker.table().rules[&names(&[TWO])[0]][0][1], 6);
    assert_ne!(speaker.table().rules[&names(&[TWO])[0]][0], [0x80, 6, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn the_next_session_has_what_changed_meanwhile() {
    let mut speaker = up();
    speaker.announce(ONE);
    speaker.establish();
    speaker.pair.break_connections();
    speaker.withdraw(ONE);
    speaker.announce(TWO);
    speaker.establish();
    assert_eq!(speaker.table().names(), names(&[TWO]));
    assert_eq!(speaker.table().ends, [V4, V6]);
}

#[test]
fn a_family_that_was_not_negotiated_is_not_sent() {
    let only_v4 = PeerConfig { passive: true, families: [V4].into_iter().collect(), ..config(65002, 2) };
    let mut speaker = Speaker::new(config(65001, 1), only_v4);
    speaker.pair.start_both();
    speaker.announce(ONE);
    speaker.announce(SIX);
    speaker.establish();
    assert_eq!((speaker.table().names(), speaker.table().ends), (vec![names(&[ONE])[0].as_str()], vec![V4]));
    speaker.withdraw(SIX);
    speaker.refresh(V6, 1);
    assert_eq!(speaker.table().names(), names(&[ONE]));
}

#[test]
fn attributes_are_those_of_the_kind_of_session() {
    for (theirs, path, local_pref) in [(65002, 1, None), (65001, 0, Some(100))] {
        let mut speaker = Speaker::new(config(65001, 1), PeerConfig { passive: true, ..config(theirs, 2) });
        speaker.pair.start_both();
        speaker.announce(ONE);
        speaker.establish();
        let announced = speaker.pair.log[B].iter().find_map(|(_, output)| match output {
            Output::Update(update) => update.announced.first(),
            _ => None,
        });
        let attributes = &announced.unwrap().attributes;
        assert_eq!(attributes.as_path.length(), path);
        assert_eq!((attributes.origin, attributes.local_pref), (Origin::Igp, local_pref));
    }
}

#[test]
fn a_refresh_confirms_every_route_whatever_is_under_way() {
    for enhanced in [true, false] {
        let theirs = PeerConfig { passive: true, enhanced_route_refresh: enhanced, ..config(65002, 2) };
        let mut speaker = Speaker::new(config(65001, 1), theirs);
        speaker.pair.start_both();
        speaker.announce(ONE);
        speaker.establish();
        // The first routes still wait when the peer asks.
        speaker.pair.wire[A] = Wire::Blocks;
        speaker.announce(TWO);
        speaker.refresh(V4, 3);
        speaker.withdraw(ONE);
        speaker.announce("dst 192.0.2.3/32 then discard");
        speaker.pair.wire[A] = Wire::Carries;
        speaker.pair.flush();
        speaker.refresh(V4, 0);
        let rules = [TWO, "dst 192.0.2.3/32 then discard"];
        assert_eq!(speaker.table().names(), names(&rules), "{enhanced}");
        let begins = speaker.pair.log[B]
            .iter()
            .filter(|(_, output)| matches!(output, Output::RouteRefresh { kind: RefreshKind::Begin, .. }));
        assert_eq!(begins.count(), usize::from(enhanced), "three requests at once have one answer");
        assert!(speaker.table().unconfirmed.is_none());
    }
}

#[test]
fn requests_without_end_do_not_fill_the_memory() {
    let mut speaker = up();
    let rules: Vec<String> = (0..200).map(|n| format!("dst 192.0.2.{n}/32 then discard")).collect();
    rules.iter().for_each(|rule| speaker.announce(rule));
    speaker.establish();
    speaker.pair.wire[A] = Wire::Blocks;
    let mut most = 0;
    for _ in 0..1000 {
        speaker.out.refresh(V4);
        speaker.out.answer(&mut speaker.pair.sessions[A]);
        most = most.max(speaker.pair.sessions[A].queued());
    }
    assert_eq!(most, rules.len() + 2);
}

#[test]
fn routes_with_the_same_actions_share_messages() {
    let mut speaker = up();
    for n in 0..100 {
        speaker.announce(&format!("dst 192.0.2.{n}/32 then discard"));
        speaker.announce(&format!("dst 198.51.100.{n}/32 then rate 1mbps"));
    }
    speaker.establish();
    let table = speaker.table();
    assert_eq!((table.rules.len(), table.updates), (200, 2));
}
