//! Session events on a virtual clock, with an engine and without a network.

use super::*;
use crate::controller::event_log::EventLog;
use bgp::{Announced, Destination, Down, DownReason, FamilySet, Open, PathAttributes, RouteKey, Update};
use engine::EngineConfig;
use engine::capability::Capabilities;
use flowspec::Family;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const V4: AfiSafi = AfiSafi::Flow(Family::Ipv4);
const PEER: PeerId = PeerId(1);

struct Fixture {
    sessions: PeerSessions,
    requests: mpsc::Receiver<SessionRequest>,
    engine: Engine,
    events: EventLog,
    time: Timestamp,
    now: Instant,
}

impl Fixture {
    /// One peer with these settings.
    fn new(settings: &str) -> Self {
        let text = format!(
            "[router]\nas = 65001\nid = \"192.0.2.1\"\n[[peer]]\nname = \"b\"\naddress = \"192.0.2.2\"\nas = 65002\n{settings}\n"
        );
        let config = Config::parse(&text, Path::new("test")).unwrap();
        let (sender, requests) = mpsc::channel(1);
        let sessions = PeerSessions::new(&config, &[PEER], sender);
        let engine = Engine::new(EngineConfig {
            capabilities: Capabilities::everything("none"),
            protection: Default::default(),
            peers: sessions.engine_peers(&config, &BTreeSet::new()).collect(),
            monitor: false,
        });
        let (time, now) = (Timestamp(1000), Instant::now());
        Fixture { sessions, requests, engine, events: EventLog::new(1000), time, now }
    }

    fn tell(&mut self, peer: PeerId, news: PeerEvent) {
        let Fixture { engine, events, time, now, .. } = self;
        let mut context = SessionContext { engine, events, time: *time, now: *now };
        self.sessions.on_event(PeerMessage { peer, news }, &mut context);
    }

    fn output(&mut self, output: Output) {
        self.tell(PEER, PeerEvent::Output(output));
    }

    fn establish(&mut self) {
        self.output(Output::Established(Box::new(negotiated())));
    }

    /// Announces rules with these numbers in one UPDATE.
    fn announce(&mut self, rules: std::ops::Range<u8>) {
        let route = |number: u8| RouteKey { destination: Destination::Flow(nlri(number)), path_id: None };
        let group = Announced {
            family: V4,
            next_hop: None,
            attributes: Arc::new(PathAttributes::default()),
            route_loop: None,
            routes: rules.map(route).collect(),
        };
        self.output(Output::Update(Box::new(Update { announced: vec![group], ..Update::default() })));
    }

    fn on_connection_lost(&mut self) {
        self.tell(PEER, PeerEvent::Lost("the test ends it".to_owned()));
    }

    /// Advances the clock.
    fn pass(&mut self, seconds: u64) {
        (self.time, self.now) = (self.time.plus(seconds), self.now + Duration::from_secs(seconds));
        self.engine.expire(self.time);
    }

    /// The number of rules and of stale rules, once the data plane has applied the decisions.
    fn rules(&mut self) -> (usize, usize) {
        while self.engine.next_transaction().is_some() {
            self.engine.applied(&engine::plan::Applied::default());
        }
        let stale = self.engine.rules().filter(|rule| rule.stale_peers().next().is_some()).count();
        (self.engine.rule_count(), stale)
    }

    fn messages(&self, kind: EventKind) -> Vec<String> {
        let events = self.events.latest(usize::MAX).into_iter().filter(|event| event.event == kind);
        events.map(|event| event.message.clone().unwrap_or_default()).collect()
    }
}

fn nlri(number: u8) -> flowspec::Nlri {
    format!("dst 198.51.100.{number}/32 then discard").parse::<flowspec::Rule>().unwrap().nlri
}

fn negotiated() -> Negotiated {
    let id = std::net::Ipv4Addr::new(192, 0, 2, 2);
    Negotiated {
        peer_as: 65002,
        peer_id: id,
        external: true,
        hold_time: 90,
        families: [V4].into_iter().collect(),
        four_octet_as: true,
        max_message: 4096,
        route_refresh: false,
        enhanced_route_refresh: false,
        add_path_receive: FamilySet::EMPTY,
        add_path_send: FamilySet::EMPTY,
        long_lived_offered: FamilySet::EMPTY,
        open: Open { asn: 65002, hold_time: 90, router_id: id, capabilities: Vec::new() },
    }
}

#[test]
fn the_rules_of_a_lost_session_go_or_are_stale_until_their_time_is_over() {
    let mut fixture = Fixture::new("");
    fixture.establish();
    fixture.announce(0..3);
    assert_eq!(fixture.rules(), (3, 0));
    fixture.on_connection_lost();
    assert_eq!(fixture.rules(), (0, 0), "no rule outlives a session that nobody wants them to outlive");
    assert!(fixture.messages(EventKind::PeerDown)[0].ends_with("its rules go"));

    let mut fixture = Fixture::new("hold-on-loss = \"5m\"");
    fixture.establish();
    fixture.announce(0..3);
    fixture.on_connection_lost();
    assert_eq!(fixture.rules(), (3, 3));
    assert!(fixture.messages(EventKind::PeerDown)[0].ends_with("its rules stay for up to 300 s"));
    fixture.pass(299);
    assert_eq!(fixture.rules(), (3, 3));
    fixture.pass(1);
    assert_eq!(fixture.rules(), (0, 0));
}

#[test]
fn what_is_confirmed_after_a_loss_stays_and_the_rest_goes() {
    let mut fixture = Fixture::new("hold-on-loss = \"5m\"");
    fixture.establish();
    fixture.announce(0..3);
    fixture.on_connection_lost();
    fixture.establish();
    fixture.announce(0..1);
    assert_eq!(fixture.rules(), (3, 2));
    fixture.output(Output::EndOfRib(V4));
    assert_eq!(fixture.rules(), (1, 0));
    assert!(fixture.sessions.table().get(PEER).unwrap().is_synchronized(V4));
}

#[test]
fn while_it_stops_the_end_of_a_session_removes_no_rule() {
    let mut fixture = Fixture::new("");
    fixture.establish();
    fixture.announce(0..3);
    fixture.sessions.stop();
    fixture.on_connection_lost();
    assert_eq!((fixture.rules(), fixture.messages(EventKind::PeerDown).len()), ((3, 0), 0));
}

#[test]
fn a_peer_that_is_not_configured_changes_nothing() {
    let mut fixture = Fixture::new("");
    fixture.tell(PeerId(7), PeerEvent::Output(Output::Established(Box::new(negotiated()))));
    fixture.tell(PeerId(7), PeerEvent::Lost("x".to_owned()));
    fixture.tell(PeerId(7), PeerEvent::ParseError("x".to_owned()));
    assert!(fixture.events.latest(usize::MAX).is_empty());
}

#[test]
fn too_many_rules_end_the_session_once() {
    let mut fixture = Fixture::new("max-rules = 2\non-excess = \"close\"");
    fixture.establish();
    fixture.announce(0..5);
    fixture.announce(5..8);
    assert_eq!(fixture.messages(EventKind::Bulk), ["more than 2 rules: the session is closed"]);
    let SessionRequest::Reset(peer, subcode) = fixture.requests.try_recv().unwrap();
    assert_eq!((peer, subcode), (PEER, CeaseSubcode::MaximumPrefixes));
    assert!(fixture.requests.try_recv().is_err(), "it is asked for once");
    let reason = DownReason::NoConnection("closed".to_owned());
    fixture.output(Output::Down(Box::new(Down { reason, graceful: Vec::new() })));
    fixture.establish();
    fixture.announce(0..5);
    assert!(fixture.requests.try_recv().is_ok(), "and again in the next session");
}

#[tokio::test]
async fn held_counts_what_is_stale() {
    let mut fixture = Fixture::new("hold-on-loss = \"5m\"");
    fixture.establish();
    fixture.announce(0..3);
    for held in [0, 3] {
        let (answer, count) = tokio::sync::oneshot::channel();
        fixture.tell(PeerId(0), PeerEvent::Held(answer));
        assert_eq!(count.await.unwrap(), held);
        fixture.on_connection_lost();
    }
}

#[test]
fn an_attempt_that_fails_is_no_lost_session() {
    let mut fixture = Fixture::new("");
    fixture.on_connection_lost();
    assert_eq!(fixture.messages(EventKind::PeerDown).len(), 0);
    assert_eq!(fixture.messages(EventKind::SessionFailed), ["the test ends it"]);
    fixture.output(Output::Failed(DownReason::NoConnection("refused".to_owned())));
    fixture.output(Output::Failed(DownReason::NoConnection("refused".to_owned())));
    assert_eq!(
        fixture.messages(EventKind::SessionFailed),
        ["the test ends it", "refused"],
        "the same reason is told once"
    );
}
