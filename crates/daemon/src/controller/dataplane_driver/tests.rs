//! The driver with an engine: the test sends the reports of the thread, on a clock of its own.

use super::*;
use crate::convert::LOCAL;
use engine::{EngineConfig, PeerConfig, Route, Timestamp};
use std::path::Path;

struct Fixture {
    driver: DataplaneDriver,
    engine: Engine,
    events: EventLog,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let text = "[router]\nas = 65001\nid = \"192.0.2.1\"\n[dataplane]\nbackend = \"none\"\n";
        let config = Config::parse(text, Path::new("test")).unwrap();
        let (reports, _) = mpsc::unbounded_channel();
        let (driver, left) = DataplaneDriver::spawn(&config, &HostEnvironment::default(), reports).unwrap();
        assert!(left.is_empty());
        let engine = Engine::new(EngineConfig {
            capabilities: driver.capabilities(),
            protection: Default::default(),
            peers: [(LOCAL, PeerConfig::local())].into(),
            monitor: false,
        });
        Fixture { driver, engine, events: EventLog::new(100), now: Instant::now() }
    }

    fn announce(&mut self, text: &str) {
        let rule: flowspec::Rule = text.parse().unwrap();
        let route = Arc::new(Route::local(rule.actions));
        self.engine.announce(LOCAL, Arc::new(rule.nlri), None, route, Timestamp(1), None);
    }

    /// Sends what is due; true if something was sent.
    fn send(&mut self) -> bool {
        if !self.driver.is_change_due(&mut self.engine, self.now) {
            return false;
        }
        let change = self.engine.next_transaction();
        self.driver.start(change, None, &self.engine);
        self.driver.is_busy()
    }

    fn report(&mut self, report: Report) -> Consequence {
        self.driver.on_report(report, &mut self.engine, &mut self.events, self.now)
    }

    fn applied(&mut self, outcome: Result<Applied, DataplaneError>) -> Consequence {
        self.report(Report::Applied { outcome, took: Duration::ZERO })
    }

    /// Runs until nothing is left to be sent.
    fn settle(&mut self) {
        while self.send() {
            self.applied(Ok(Applied::default()));
        }
    }
}

fn refused() -> DataplaneError {
    DataplaneError::Refused("no".to_owned())
}

#[test]
fn waiting_requests_are_answered_once_all_is_in_force() {
    let mut fixture = Fixture::new();
    fixture.settle();
    fixture.announce("dst 192.0.2.1/32 then discard");
    let mut waiting = fixture.driver.when_applied();
    assert!(fixture.send() && waiting.try_recv().is_err());
    // While it is in progress, a further change gathers.
    fixture.announce("dst 192.0.2.2/32 then discard");
    assert!(!fixture.send());
    fixture.applied(Ok(Applied::default()));
    assert!(waiting.try_recv().is_err(), "the second one is not in force yet");
    assert!(fixture.send());
    fixture.applied(Ok(Applied::default()));
    assert!(!fixture.send());
    assert!(matches!(waiting.try_recv(), Ok(Ok(()))));
}

#[test]
fn a_failure_is_reported_kept_and_tried_again() {
    let mut fixture = Fixture::new();
    fixture.settle();
    fixture.announce("dst 192.0.2.1/32 then discard");
    let mut waiting = fixture.driver.when_applied();
    assert!(fixture.send());
    assert!(matches!(fixture.applied(Err(refused())), Consequence::None));
    assert_eq!(waiting.try_recv().unwrap().unwrap_err().to_string(), "no");
    assert!(fixture.driver.outcomes().error.is_some() && fixture.driver.outcomes().failures == 1);
    assert!(!fixture.send(), "not before the pause is over");
    fixture.now = fixture.driver.deadline().expect("a next try");
    assert!(fixture.send(), "the engine gives it again");
    fixture.applied(Ok(Applied::default()));
    assert!(fixture.driver.outcomes().error.is_none());
}

#[test]
fn a_rule_that_is_refused_again_is_not_reported_again() {
    let mut fixture = Fixture::new();
    fixture.settle();
    fixture.announce("dst 192.0.2.1/32 then discard");
    assert!(fixture.send());
    let nlri = Arc::clone(fixture.engine.rules().next().unwrap().nlri());
    let failure = |nlri: &Arc<Nlri>| {
        let failures =
            vec![(Arc::clone(nlri), engine::plan::RuleFailure::OverCapacity("the table is full".to_owned()))];
        Ok(Applied { failures })
    };
    for expected in [1, 0] {
        let Consequence::NotInForce(news) = fixture.applied(failure(&nlri)) else { panic!("it is in force") };
        assert_eq!(news.len(), expected);
        let sent = (0..4).any(|_| {
            fixture.now += Duration::from_secs(30);
            fixture.send()
        });
        assert!(sent, "it is tried again");
    }
}

#[test]
fn changes_of_others_are_undone_unless_a_change_is_under_way() {
    let mut fixture = Fixture::new();
    fixture.settle();
    fixture.announce("dst 192.0.2.1/32 then discard");
    assert!(fixture.send());
    fixture.report(Report::ExternalChange("gone".to_owned()));
    assert_eq!(fixture.driver.outcomes().damages, 0);
    fixture.applied(Ok(Applied::default()));
    assert!(!fixture.send());
    fixture.report(Report::ExternalChange("gone".to_owned()));
    assert_eq!(fixture.driver.outcomes().damages, 1);
    assert!(fixture.send(), "all is put in force anew");
}

#[test]
fn nothing_is_sent_once_it_is_told_to_stop() {
    let mut fixture = Fixture::new();
    fixture.settle();
    fixture.driver.stop(false);
    fixture.announce("dst 192.0.2.1/32 then discard");
    assert!(!fixture.send() && !fixture.driver.measure(fixture.now));
    assert!(matches!(fixture.report(Report::Stopped(Ok(()))), Consequence::Ended));
}
