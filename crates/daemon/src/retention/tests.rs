//! Outages on a virtual clock: losses, restarts, refreshes, collisions and notifications, and what
//! must still be dropped after each.
//!
//! Two real state machines with a simulated network between them, and the engine behind one of
//! them. The peer announces rules by number.

mod long_lived;
#[path = "../../../bgp/tests/pair/mod.rs"]
mod pair;
mod steps;

use super::*;
use crate::peer_table::PeerTable;
use bgp::{
    CeaseSubcode, Destination, Event, FamilyNumbers, GracefulRestart, LongLived, Output, PeerConfig, RefreshKind,
};
use config::Config;
use engine::EngineConfig;
use engine::capability::Capabilities;
use engine::plan::Applied;
use engine::route::{AsPathFacts, PathFacts, Route};
use pair::{A, B, Pair, V4, Wire, cease, config, discard, rule};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The peer's restart time in seconds.
const RESTART_TIME: u16 = 120;
/// `[state] stale-time`.
const STALE_TIME: u64 = 180;
const ID: PeerId = PeerId(1);
/// Another peer, whose session stays.
const OTHER: PeerId = PeerId(2);

use steps::Step::*;
use steps::{Offer, PLAIN, Step, WITH_N};

struct Scenario {
    pair: Pair,
    engine: Engine,
    table: PeerTable,
}

impl Scenario {
    fn new(offer: Offer, settings: &str) -> Self {
        let text = format!(
            "[router]\nas = 65001\nid = \"192.0.2.1\"\n[[peer]]\nname = \"b\"\naddress = \"192.0.2.2\"\nas = 65002\n{settings}\n"
        );
        let file = Config::parse(&text, Path::new("scenario")).unwrap();
        let mut table = PeerTable::default();
        table.configure(&file, &[ID]);
        let peer = engine::PeerConfig {
            address: Some(file.peers[0].address),
            external: true,
            policy: Some(crate::policies::import_policy(
                &file,
                &file.peers[0],
                true,
                &std::collections::BTreeSet::new(),
            )),
        };
        let other = engine::PeerConfig { address: Some([192, 0, 2, 77].into()), ..peer.clone() };
        let engine = Engine::new(EngineConfig {
            capabilities: Capabilities::everything("none"),
            protection: Default::default(),
            peers: [(ID, peer), (OTHER, other)].into(),
            monitor: false,
        });
        let graceful = |notification, preserved, restart_time| {
            let families = vec![(FamilyNumbers::from(V4), preserved)];
            Some(GracefulRestart { restarted: false, notification, restart_time, families })
        };
        let long_lived = |stale_time| Some(LongLived { families: [V4].into_iter().collect(), stale_time });
        // Our session as `peers.rs` configures it.
        let ours = PeerConfig {
            graceful_restart: graceful(true, false, 120),
            long_lived: file.peers[0].long_lived.as_ref().map(|_| LongLived {
                families: file.peers[0].long_lived_families().into_iter().map(convert::afi_safi).collect(),
                stale_time: 1,
            }),
            ..config(65001, 1)
        };
        let theirs_long_lived = match offer {
            Offer::LongLived { stale_time, .. } => long_lived(stale_time),
            Offer::Nothing | Offer::Aware | Offer::Graceful { .. } => None,
        };
        let theirs = match offer {
            Offer::LongLived { restart_time, .. } => graceful(false, false, restart_time),
            Offer::Nothing => None,
            Offer::Aware => {
                graceful(false, false, RESTART_TIME).map(|restart| GracefulRestart { families: vec![], ..restart })
            }
            Offer::Graceful { n, f } => graceful(n, f, RESTART_TIME),
        };
        let theirs = PeerConfig { graceful_restart: theirs, long_lived: theirs_long_lived, ..config(65002, 2) };
        let mut scenario = Scenario { pair: Pair::new(ours, theirs), engine, table };
        scenario.pair.start_both();
        scenario.up();
        scenario
    }

    fn now(&self) -> Timestamp {
        Timestamp(1000 + (self.pair.now - self.pair.start).as_secs())
    }

    /// Advances the clock; the engine handles everything of that second.
    fn second(&mut self) {
        self.pair.run(Duration::from_secs(1));
        self.on_peer_event();
        let now = self.now();
        self.engine.expire(now);
    }

    fn on_peer_event(&mut self) {
        for output in self.pair.take(A) {
            let now = self.now();
            let entry = self.table.get_mut(ID).unwrap();
            let mut routes = PeerRoutes { engine: &mut self.engine, entry, stale_time: STALE_TIME, now };
            match output {
                Output::Established(negotiated) => routes.established(*negotiated, false),
                Output::Down(down) => {
                    routes.lost(&down.graceful, is_ours(&down.reason));
                    routes.entry.down(String::new());
                }
                Output::EndOfRib(family) => routes.end_of_rib(family),
                Output::RouteRefresh { family, kind: RefreshKind::Begin } => drop(routes.begin_refresh(family)),
                Output::RouteRefresh { family, kind: RefreshKind::End } => drop(routes.end_refresh(family)),
                Output::Update(update) => {
                    assert!(update.withdrawn.is_empty());
                    for group in update.announced {
                        let route = convert::route(&group).unwrap();
                        for key in group.routes {
                            let Destination::Flow(nlri) = key.destination else { panic!("unicast") };
                            self.engine.announce(ID, nlri, None, route.clone(), now, None);
                        }
                    }
                }
                _ => {}
            }
        }
        while self.engine.next_transaction().is_some() {
            self.engine.applied(&Applied::default());
        }
    }

    fn up(&mut self) {
        for _ in 0..300 {
            if self.pair.both_up() {
                return self.second();
            }
            self.second();
        }
        panic!("no session");
    }

    fn down(&mut self) {
        for _ in 0..300 {
            if self.table.get(ID).unwrap().negotiated().is_none() {
                return;
            }
            self.second();
        }
        panic!("the session lives");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Feed(rules) => {
                for number in rules.clone() {
                    self.pair.sessions[B].announce(rule(number), None, discard()).expect("a session");
                }
            }
            EndOfRib => self.pair.sessions[B].end_of_rib(V4).unwrap(),
            Begin => self.pair.sessions[B].route_refresh(V4, RefreshKind::Begin).unwrap(),
            End => self.pair.sessions[B].route_refresh(V4, RefreshKind::End).unwrap(),
            Cut => {
                self.pair.unreachable = true;
                self.pair.break_connections();
            }
            Back => {
                self.pair.unreachable = false;
                self.pair.wire = [Wire::Carries; 2];
                return self.up();
            }
            Choke => {
                self.pair.wire = [Wire::Swallows; 2];
                self.pair.unreachable = true;
                return self.down();
            }
            Theirs(subcode) => {
                self.pair.unreachable = true;
                self.pair.handle(B, Event::Reset(cease(*subcode, "")));
            }
            Ours(subcode) => {
                self.pair.unreachable = true;
                self.pair.handle(A, Event::Reset(cease(*subcode, "")));
            }
            Raw(body) => {
                let length = (19 + body.len() as u16).to_be_bytes();
                self.pair.unreachable = true;
                self.pair.inject(A, &[&[0xff; 16], &length[..], &[2], body].concat());
            }
            Reborn => {
                self.pair.restart(B);
                return self.up();
            }
            Knock => {
                self.pair.restart(B);
                (0..10).for_each(|_| self.second());
            }
            Wait(seconds) => (0..*seconds).for_each(|_| self.second()),
            Other(rules) => {
                let as_path = AsPathFacts { length: 9, leftmost: Some(65002), ..AsPathFacts::default() };
                let facts = PathFacts { as_path, ..PathFacts::default() };
                let route = Arc::new(Route { facts, ..Route::default() });
                for number in rules.clone() {
                    let Destination::Flow(nlri) = rule(number).destination else { panic!("unicast") };
                    self.engine.announce(OTHER, nlri, None, route.clone(), self.now(), None);
                }
            }
            Dropped(..) | OtherDecides(_) => {}
        }
        self.pair.flush();
        self.second();
    }

    /// The number of rules in the data plane, and of those shown as stale.
    fn dropped(&self) -> (usize, usize) {
        let stale = self.engine.rules().filter(|rule| rule.state().name() == "stale").count();
        (self.engine.full().rules.len(), stale)
    }
}

/// The number of rules for which the path of the other peer is selected.
fn decided_by_other(scenario: &Scenario) -> usize {
    let other = |rule: engine::RuleRef<'_>| rule.paths().any(|path| path.best && path.peer == OTHER);
    scenario.engine.rules().filter(|rule| other(*rule)).count()
}

/// An NLRI whose length goes beyond its attribute.
const OVERRUN: &[u8] = &[0, 0, 0, 11, 0x80, 14, 8, 0, 1, 133, 0, 0, 9, 1, 0];

const HOLD: &str = "hold-on-loss = \"10m\"";
const BY_THE_LETTER: &str = "stale-until = \"f-bit\"";

fn scenarios() -> Vec<(&'static str, Offer, &'static str, Vec<Step>)> {
    let full = || vec![Feed(0..200), EndOfRib, Dropped(200, 0)];
    let then = |steps: &[Step]| [full(), steps.to_vec()].concat();
    let mut scenarios = vec![
        ("nothing keeps the rules", Offer::Nothing, "", then(&[Cut, Dropped(0, 0)])),
        (
            "lost and back with all",
            PLAIN,
            "",
            then(&[Cut, Dropped(200, 200), Back, Feed(0..200), EndOfRib, Dropped(200, 0)]),
        ),
        (
            "F bit clear: End-of-RIB decides",
            PLAIN,
            "",
            then(&[Cut, Back, Dropped(200, 200), Feed(0..50), Dropped(200, 150), EndOfRib, Dropped(50, 0)]),
        ),
        ("F bit clear, by the letter", PLAIN, BY_THE_LETTER, then(&[Cut, Dropped(200, 200), Back, Dropped(0, 0)])),
        (
            "F bit set, by the letter",
            Offer::Graceful { n: false, f: true },
            BY_THE_LETTER,
            then(&[Cut, Back, Dropped(200, 200), Feed(0..9), EndOfRib, Dropped(9, 0)]),
        ),
        ("not back in time", PLAIN, "", then(&[Cut, Wait(100), Dropped(200, 200), Wait(30), Dropped(0, 0)])),
        (
            "back in the last moment, and no End-of-RIB",
            PLAIN,
            "",
            then(&[Cut, Wait(100), Back, Feed(0..50), Wait(150), Dropped(200, 150), Wait(40), Dropped(50, 0)]),
        ),
        (
            "lost again before End-of-RIB",
            PLAIN,
            "",
            then(&[
                Cut,
                Back,
                Feed(0..50),
                Dropped(200, 150),
                Cut,
                Dropped(200, 200),
                Back,
                Feed(0..60),
                Dropped(200, 140),
            ]),
        ),
        (
            "lost again: what was stale keeps its deadline, what was sent again has one of its own",
            PLAIN,
            "",
            // Back after some seconds: the old ones may stay for 180 s from then, the new ones 120
            // s from the second loss.
            then(&[
                Cut,
                Back,
                Wait(150),
                Feed(0..50),
                Cut,
                Wait(10),
                Dropped(200, 200),
                Wait(40),
                Dropped(50, 50),
                Wait(80),
                Dropped(0, 0),
            ]),
        ),
        (
            "a session that flaps does not move the deadline of what is never sent again",
            PLAIN,
            "",
            then(&[
                Cut,
                Back,
                Wait(50),
                Cut,
                Back,
                Wait(50),
                Cut,
                Back,
                Wait(20),
                Dropped(200, 200),
                Wait(100),
                Dropped(0, 0),
            ]),
        ),
        (
            "hold-on-loss counts from the latest loss",
            Offer::Nothing,
            HOLD,
            then(&[Cut, Wait(500), Back, Feed(0..50), Cut, Wait(500), Dropped(200, 200), Wait(150), Dropped(0, 0)]),
        ),
        (
            "hold-on-loss, back, and End-of-RIB",
            Offer::Nothing,
            HOLD,
            then(&[Cut, Back, Dropped(200, 200), Feed(0..50), EndOfRib, Dropped(50, 0)]),
        ),
        ("a refresh", PLAIN, "", then(&[Begin, Dropped(200, 0), Feed(0..50), Dropped(200, 0), End, Dropped(50, 0)])),
        (
            "lost in a refresh",
            PLAIN,
            "",
            then(&[Begin, Feed(0..50), Cut, Dropped(200, 200), Back, Feed(0..200), EndOfRib, Dropped(200, 0)]),
        ),
        (
            "a refresh that never ends",
            PLAIN,
            "",
            then(&[Begin, Feed(0..50), Wait(150), Dropped(200, 0), Wait(40), Dropped(50, 0)]),
        ),
        (
            "a begin within a refresh",
            PLAIN,
            "",
            then(&[
                Begin,
                Feed(0..50),
                Wait(100),
                Begin,
                Feed(50..60),
                Wait(100),
                Dropped(200, 0),
                End,
                Dropped(60, 0),
            ]),
        ),
        ("an end without a begin", PLAIN, "", then(&[End, Dropped(200, 0)])),
        (
            "a refresh before End-of-RIB",
            PLAIN,
            "",
            vec![
                Feed(0..5),
                Begin,
                Feed(0..1),
                End,
                Dropped(5, 0),
                EndOfRib,
                Dropped(5, 0),
                Begin,
                Feed(0..2),
                End,
                Dropped(2, 0),
            ],
        ),
        (
            "a refresh before End-of-RIB of the second session",
            PLAIN,
            "",
            then(&[Cut, Back, Begin, Feed(0..5), End, Dropped(200, 195), Feed(5..200), EndOfRib, Dropped(200, 0)]),
        ),
        (
            "a refresh of a peer without graceful restart is a dump of all",
            Offer::Nothing,
            HOLD,
            then(&[Cut, Back, Begin, Feed(0..7), Dropped(200, 193), End, Dropped(7, 0)]),
        ),
        ("a choked link, without N bits", PLAIN, "", then(&[Choke, Dropped(200, 200), Back, Dropped(200, 200)])),
        ("a second connection of a peer that lists no families", Offer::Aware, "", then(&[Knock, Dropped(200, 0)])),
        ("a second connection of a peer that has nothing", Offer::Nothing, "", then(&[Knock, Dropped(200, 0)])),
        ("a peer that lists no families is lost", Offer::Aware, "", then(&[Cut, Dropped(0, 0)])),
        ("a peer that lists no families is lost, held", Offer::Aware, HOLD, then(&[Cut, Back, Dropped(200, 200)])),
        ("a choked link of a peer that has nothing", Offer::Nothing, "", then(&[Choke, Dropped(0, 0)])),
        ("a restarted program", PLAIN, "", then(&[Reborn, Dropped(200, 200), Feed(0..200), EndOfRib, Dropped(200, 0)])),
        (
            "a restarted program, and again before End-of-RIB",
            PLAIN,
            "",
            then(&[Reborn, Feed(0..50), Reborn, Dropped(200, 200), Feed(0..50), Dropped(200, 150)]),
        ),
        (
            "boundaries lost",
            PLAIN,
            "",
            then(&[Raw(OVERRUN), Dropped(200, 200), Back, Feed(0..200), EndOfRib, Dropped(200, 0)]),
        ),
        ("boundaries lost, held", Offer::Nothing, HOLD, then(&[Raw(OVERRUN), Dropped(200, 200)])),
        ("boundaries lost of a peer that has nothing", Offer::Nothing, "", then(&[Raw(OVERRUN), Dropped(0, 0)])),
        (
            "boundaries lost before End-of-RIB",
            PLAIN,
            "",
            then(&[Cut, Back, Feed(0..50), Raw(OVERRUN), Dropped(200, 200)]),
        ),
    ];
    scenarios.extend(long_lived::scenarios());
    for (name, offer, subcode, kept) in [
        ("6/4 with both N bits", WITH_N, CeaseSubcode::AdministrativeReset, 200),
        ("6/6 with both N bits", WITH_N, CeaseSubcode::ConfigurationChange, 200),
        ("6/8 with both N bits", WITH_N, CeaseSubcode::OutOfResources, 200),
        ("6/2 as a Hard Reset", WITH_N, CeaseSubcode::AdministrativeShutdown, 0),
        ("6/4 without", PLAIN, CeaseSubcode::AdministrativeReset, 0),
        ("6/4 of a peer that has nothing", Offer::Nothing, CeaseSubcode::AdministrativeReset, 0),
    ] {
        scenarios.push((name, offer, "", then(&[Theirs(subcode), Dropped(kept, kept)])));
        scenarios.push((name, offer, HOLD, then(&[Theirs(subcode), Dropped(200, 200)])));
    }
    for offer in [WITH_N, PLAIN, Offer::Nothing] {
        let ours = then(&[
            Ours(CeaseSubcode::ConfigurationChange),
            Dropped(200, 200),
            Back,
            Feed(0..3),
            EndOfRib,
            Dropped(3, 0),
        ]);
        scenarios.push(("a changed setting of ours", offer, "", ours));
        scenarios.push(("we end it for good", offer, "", then(&[Ours(CeaseSubcode::MaximumPrefixes), Dropped(0, 0)])));
    }
    scenarios.push((
        "6/4, and lost again before End-of-RIB",
        WITH_N,
        "",
        then(&[
            Theirs(CeaseSubcode::AdministrativeReset),
            Back,
            Feed(0..50),
            Theirs(CeaseSubcode::AdministrativeReset),
            Dropped(200, 200),
        ]),
    ));
    scenarios
}

#[test]
fn what_is_still_dropped_after_each_scenario() {
    for (name, offer, settings, steps) in scenarios() {
        let mut scenario = Scenario::new(offer, settings);
        for (at, step) in steps.iter().enumerate() {
            if let Dropped(rules, stale) = step {
                assert_eq!(
                    scenario.dropped(),
                    (*rules, *stale),
                    "{name} ({offer:?}, {settings}), behind step {at} of {steps:?}"
                );
            } else if let OtherDecides(rules) = step {
                assert_eq!(decided_by_other(&scenario), *rules, "{name} ({settings}), behind step {at} of {steps:?}");
            } else {
                scenario.step(step);
            }
        }
    }
}
