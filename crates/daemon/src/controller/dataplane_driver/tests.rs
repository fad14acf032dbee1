//! The driver with an engine beside it: what the thread says comes from the test, on a clock of its own.

use super::*;
use crate::convert::LOCAL;
use engine::{EngineConfig, PeerConfig, Route, Timestamp};
use std::path::Path;

struct House {
    driver: DataplaneDriver,
    engine: Engine,
    events: EventLog,
    now: Instant,
}

impl House {
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
        House { driver, engine, events: EventLog::new(100), now: Instant::now() }
    }

    fn announce(&mut self, text: &str) {
        let rule: flowspec::Rule = text.parse().unwrap();
        let route = Arc::new(Route::local(rule.actions));
        self.engine.announce(LOCAL, Arc::new(rule.nlri), None, route, Timestamp(1), None);
    }

    /// Sends what is due; whether something was.
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

    /// Until nothing is left to be sent.
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
fn who_waits_is_told_once_all_is_in_force() {
    let mut house = House::new();
    house.settle();
    house.announce("dst 192.0.2.1/32 then discard");
    let mut waiting = house.driver.when_applied();
    assert!(house.send() && waiting.try_recv().is_err());
    // While it is under way, a further change gathers.
    house.announce("dst 192.0.2.2/32 then discard");
    assert!(!house.send());
    house.applied(Ok(Applied::default()));
    assert!(waiting.try_recv().is_err(), "the second one is not in force yet");
    assert!(house.send());
    house.applied(Ok(Applied::default()));
    assert!(!house.send());
    assert!(matches!(waiting.try_recv(), Ok(Ok(()))));
}

#[test]
fn a_failure_is_told_kept_and_tried_again() {
    let mut house = House::new();
    house.settle();
    house.announce("dst 192.0.2.1/32 then discard");
    let mut waiting = house.driver.when_applied();
    assert!(house.send());
    assert!(matches!(house.applied(Err(refused())), Consequence::None));
    assert_eq!(waiting.try_recv().unwrap().unwrap_err().to_string(), "no");
    assert!(house.driver.outcomes().error.is_some() && house.driver.outcomes().failures == 1);
    assert!(!house.send(), "not before the pause is over");
    house.now = house.driver.deadline().expect("a next try");
    assert!(house.send(), "the engine gives it again");
    house.applied(Ok(Applied::default()));
    assert!(house.driver.outcomes().error.is_none());
}

#[test]
fn a_rule_that_is_refused_again_is_no_news() {
    let mut house = House::new();
    house.settle();
    house.announce("dst 192.0.2.1/32 then discard");
    assert!(house.send());
    let nlri = Arc::clone(house.engine.rules().next().unwrap().nlri());
    let failure = |nlri: &Arc<Nlri>| {
        let failures =
            vec![(Arc::clone(nlri), engine::plan::RuleFailure::OverCapacity("the table is full".to_owned()))];
        Ok(Applied { failures })
    };
    for expected in [1, 0] {
        let Consequence::NotInForce(news) = house.applied(failure(&nlri)) else { panic!("it is in force") };
        assert_eq!(news.len(), expected);
        let sent = (0..4).any(|_| {
            house.now += Duration::from_secs(30);
            house.send()
        });
        assert!(sent, "it is tried again");
    }
}

#[test]
fn changes_of_others_are_put_back_unless_a_change_is_under_way() {
    let mut house = House::new();
    house.settle();
    house.announce("dst 192.0.2.1/32 then discard");
    assert!(house.send());
    house.report(Report::ExternalChange("gone".to_owned()));
    assert_eq!(house.driver.outcomes().damages, 0);
    house.applied(Ok(Applied::default()));
    assert!(!house.send());
    house.report(Report::ExternalChange("gone".to_owned()));
    assert_eq!(house.driver.outcomes().damages, 1);
    assert!(house.send(), "all is put in force anew");
}

#[test]
fn nothing_is_sent_once_it_is_told_to_stop() {
    let mut house = House::new();
    house.settle();
    house.driver.stop(false);
    house.announce("dst 192.0.2.1/32 then discard");
    assert!(!house.send() && !house.driver.measure(house.now));
    assert!(matches!(house.report(Report::Stopped(Ok(()))), Consequence::Ended));
}
