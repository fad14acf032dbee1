use super::*;
use engine::capability::Capabilities;
use engine::plan::{Applied, RuleFailure};
use engine::{EngineConfig, PeerConfig};
use history::{Incident, IncidentFilter, Reader};
use tempfile::TempDir;

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const SLOWER: &str = "dst 192.0.2.1/32 proto udp sport 123 then rate 1mbps";
const PEER: PeerId = PeerId(1);

/// An engine whose rules are told to a history.
struct House {
    engine: Engine,
    incidents: Incidents,
    peers: PeerTable,
    directory: TempDir,
}

impl House {
    fn new() -> Self {
        let peers = [(LOCAL, PeerConfig::local()), (PEER, PeerConfig::local())].into();
        let (capabilities, protection) = (Capabilities::everything("test"), Default::default());
        let engine = Engine::new(EngineConfig { capabilities, protection, peers, monitor: false });
        let directory = tempfile::tempdir().unwrap();
        let mut house = House { engine, incidents: Incidents::none(), peers: PeerTable::default(), directory };
        house.start();
        house
    }

    /// As at a start of the daemon.
    fn start(&mut self) {
        let file = self.directory.path().join("history");
        let settings = Settings { file, keep: Duration::from_secs(3600), size: 1 << 30, reserve: 0 };
        let recorder = Recorder::start(settings.clone(), Duration::from_secs(60)).unwrap();
        self.incidents = Incidents::with(Some((settings, recorder)), Instant::now());
    }

    fn announce(&mut self, peer: PeerId, rule: &str, by: Option<&str>) -> Arc<Nlri> {
        let rule: Rule = rule.parse().unwrap();
        let (nlri, route) = (Arc::new(rule.nlri), Arc::new(Route::local(rule.actions)));
        if let Some(by) = by {
            self.incidents.asked(&nlri, Some(&route), &by.to_owned());
        }
        self.engine.announce(peer, Arc::clone(&nlri), None, route, Timestamp(1), None);
        if by.is_some() {
            self.engine.snapshot_rule(&nlri);
        }
        nlri
    }

    fn withdraw(&mut self, peer: PeerId, nlri: &Arc<Nlri>, by: Option<&str>) {
        self.engine.withdraw(peer, Arc::clone(nlri), None);
        if let Some(by) = by {
            self.incidents.asked(nlri, None, &by.to_owned());
            self.engine.snapshot_rule(nlri);
        }
    }

    /// What changed is saved and applied.
    fn apply(&mut self, outcome: &Applied) {
        while self.engine.next_transaction().is_some() {
            let incidents = &mut self.incidents;
            self.engine.take_unsaved(|nlri, paths| incidents.note(nlri, paths));
            self.engine.applied(outcome);
            self.incidents.applied(Instant::now());
        }
    }

    /// All steps until there is nothing more to look at.
    fn look(&mut self) {
        let mut now = Instant::now();
        loop {
            now += FULL_PAUSE.max(PASS_PAUSE);
            self.incidents.step(&self.engine, &self.peers, true, now);
            if !self.incidents.unfinished && self.incidents.changed.is_none() && self.incidents.changes.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was told, the latest first.
    fn told(&mut self) -> (Reader, Vec<Incident>) {
        self.look();
        self.incidents.close(Instant::now());
        let reader = Reader::open(&self.directory.path().join("history")).unwrap();
        let incidents = reader.incidents(&IncidentFilter::default()).unwrap();
        (reader, incidents)
    }
}

fn states(reader: &Reader, incident: &Incident) -> Vec<(String, Option<String>)> {
    reader.states(incident.number).unwrap().into_iter().map(|change| (change.state, change.by)).collect()
}

#[test]
fn a_rule_is_reported_with_who_asked_for_it_and_who_ended_it() {
    let mut house = House::new();
    let nlri = house.announce(LOCAL, NTP, Some("root"));
    house.apply(&Applied::default());
    house.look();
    house.withdraw(LOCAL, &nlri, Some("bob"));
    house.apply(&Applied::default());
    let (reader, told) = house.told();
    let [incident] = &told[..] else { panic!("{told:?}") };
    assert_eq!((incident.peer.as_str(), incident.by.as_deref(), incident.text.as_str()), ("local", Some("root"), NTP));
    assert_eq!((incident.end.as_deref(), incident.ended_by.as_deref()), (Some("withdrawn"), Some("bob")));
    assert_eq!((incident.rule, incident.verdict.as_str()), (nlri.id().as_u64(), "discard"));
    assert_eq!(states(&reader, incident), [("installed".to_owned(), None)]);
}

#[test]
fn what_comes_and_goes_before_anybody_looks_is_reported() {
    let mut house = House::new();
    let nlri = house.announce(PEER, NTP, None);
    house.apply(&Applied::default());
    house.withdraw(PEER, &nlri, None);
    house.apply(&Applied::default());
    let (_, told) = house.told();
    let [incident] = &told[..] else { panic!("{told:?}") };
    assert!(incident.ended.is_some() && incident.text == NTP, "{incident:?}");
}

#[test]
fn other_actions_and_another_announcement_here_are_changes_of_the_same_incident() {
    let mut house = House::new();
    house.announce(PEER, NTP, None);
    house.apply(&Applied::default());
    house.look();
    house.announce(PEER, SLOWER, None);
    house.apply(&Applied::default());
    house.look();
    house.announce(LOCAL, NTP, Some("root"));
    house.apply(&Applied::default());
    house.look();
    // The same once more: somebody wanted another lifetime.
    house.announce(LOCAL, NTP, Some("bob"));
    house.apply(&Applied::default());
    let (reader, told) = house.told();
    let [incident] = &told[..] else { panic!("{told:?}") };
    let by = |by: &str| ("changed".to_owned(), Some(by.to_owned()));
    let changes = states(&reader, incident).into_iter().filter(|(state, _)| state == "changed");
    assert_eq!(changes.collect::<Vec<_>>(), [("changed".to_owned(), None), by("root"), by("bob")]);
    assert_eq!((incident.peer.as_str(), incident.text.as_str()), ("local", NTP));
}

#[test]
fn a_rule_that_the_data_plane_refuses_is_reported_with_its_words() {
    let mut house = House::new();
    let nlri = house.announce(PEER, NTP, None);
    let failure = RuleFailure::Failed("no such table".to_owned());
    house.apply(&Applied { failures: vec![(nlri, failure)] });
    let (_, told) = house.told();
    assert_eq!((told[0].state.as_str(), told[0].reason.as_deref()), ("failed", Some("no such table")));
}

#[test]
fn many_rules_are_shown_in_steps_and_a_restart_continues_with_them() {
    let mut house = House::new();
    let count = 5000_u32;
    for number in 0..count {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
        house.announce(PEER, &format!("dst {address}/32 then discard"), None);
    }
    house.apply(&Applied::default());
    let (_, told) = house.told();
    assert_eq!(told.len(), count as usize);
    // The next start finds them again, but for one.
    let gone: Rule = "dst 198.18.0.7/32 then discard".parse().unwrap();
    let gone = Arc::new(gone.nlri);
    house.withdraw(PEER, &gone, None);
    while house.engine.next_transaction().is_some() {
        house.engine.take_unsaved(|_, _| {});
        house.engine.applied(&Applied::default());
    }
    house.start();
    let (_, told) = house.told();
    assert_eq!(told.len(), count as usize, "each is the incident that it was");
    let ended: Vec<_> = told.iter().filter(|incident| incident.ended.is_some()).map(|incident| incident.rule).collect();
    assert_eq!(ended, [gone.id().as_u64()]);
}

#[test]
fn while_changes_are_applied_nobody_looks_but_not_for_ever() {
    let mut house = House::new();
    house.announce(PEER, NTP, None);
    house.apply(&Applied::default());
    let now = Instant::now();
    house.incidents.step(&house.engine, &house.peers, false, now);
    assert_eq!(house.incidents.notes.len(), 1);
    house.incidents.step(&house.engine, &house.peers, false, now + BUSY_PATIENCE * 2);
    assert!(house.incidents.notes.is_empty());
}

#[test]
fn without_a_file_nothing_is_remembered() {
    let mut house = House::new();
    house.incidents = Incidents::none();
    let nlri = house.announce(LOCAL, NTP, Some("root"));
    house.apply(&Applied::default());
    let counter = Counter { packets: 1, ..Counter::default() };
    house.incidents.count(nlri.id(), &counter, None, Timestamp(0));
    house.incidents.expired(nlri.id());
    house.incidents.step(&house.engine, &house.peers, true, Instant::now());
    let Incidents { notes, expired, counted, changes, .. } = &house.incidents;
    assert!(notes.is_empty() && expired.is_empty() && counted.is_empty() && changes.is_empty());
}

/// What is counted is in the sums of the incident and of all rules.
#[test]
fn what_rules_count_is_reported() {
    let mut house = House::new();
    let nlri = house.announce(PEER, NTP, None);
    house.apply(&Applied::default());
    house.look();
    let counter = Counter { packets: 10, bytes: 1000, dropped_packets: Some(10), dropped_bytes: Some(1000) };
    for _ in 0..3 {
        house.incidents.count(nlri.id(), &counter, None, Timestamp(0));
    }
    let (reader, told) = house.told();
    let sums = (told[0].packets, told[0].bytes, told[0].dropped, told[0].dropped_bytes);
    assert_eq!(sums, (30, 3000, Some(30), Some(3000)));
    assert_eq!(reader.rates_of_all(0, i64::MAX).unwrap().iter().map(|rate| rate.packets).sum::<u64>(), 30);
}
