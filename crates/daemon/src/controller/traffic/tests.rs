use super::*;
use crate::apply::{Counters, Order};
use crate::convert::LOCAL;
use api::{OrUnknown, Verdict};
use engine::plan::Applied;
use engine::{EngineConfig, PeerConfig, Route};
use std::collections::BTreeMap;

const DISCARD: &str = "dst 192.0.2.1/32 then discard";
const LIMIT: &str = "dst 192.0.2.2/32 then rate 1mbps";
const ACCEPT: &str = "dst 192.0.2.3/32 then accept";

fn nlri(rule: &str) -> Arc<Nlri> {
    Arc::new(rule.parse::<flowspec::Rule>().unwrap().nlri)
}

/// An engine with rules in force, and readings of what they counted, at times of a clock that is
/// turned by hand.
struct House {
    engine: Engine,
    known: Measurements,
    traffic: Traffic,
    now: Instant,
}

impl House {
    fn new(rules: &[&str]) -> Self {
        let now = Instant::now();
        let capabilities = engine::capability::Capabilities::everything("test");
        let peers: BTreeMap<_, _> = [(LOCAL, PeerConfig::local())].into();
        let engine = Engine::new(EngineConfig { capabilities, protection: Default::default(), peers, monitor: false });
        let traffic = Traffic::new(BTreeSet::new(), now);
        let mut house = House { engine, known: Measurements::default(), traffic, now };
        rules.iter().for_each(|rule| house.announce(rule));
        house
    }

    fn announce(&mut self, rule: &str) {
        let rule: flowspec::Rule = rule.parse().unwrap();
        let route = Arc::new(Route::local(rule.actions));
        self.engine.announce(LOCAL, Arc::new(rule.nlri), None, route, Timestamp(1), None);
        self.apply();
    }

    fn withdraw(&mut self, rule: &str) {
        self.engine.withdraw(LOCAL, nlri(rule), None);
        self.apply();
        self.traffic.forget(nlri(rule).id(), self.now);
    }

    fn apply(&mut self) {
        while self.engine.next_transaction().is_some() {
            self.engine.applied(&Applied::default());
        }
    }

    /// So many milliseconds later, rules have matched and dropped so many packets of 100 octets.
    /// False if that was nothing new.
    fn read(&mut self, milliseconds: u64, counters: &[(&str, u64, Option<u64>)]) -> bool {
        self.now += Duration::from_millis(milliseconds);
        let counter = |packets, dropped: Option<u64>| Counter {
            packets,
            bytes: packets * 100,
            dropped_packets: dropped,
            dropped_bytes: dropped.map(|dropped| dropped * 100),
        };
        let counters = counters.iter().map(|(rule, packets, dropped)| (nlri(rule), counter(*packets, *dropped)));
        let epoch = match self.known.order(self.now) {
            Some(Order::Measure { epoch, .. }) => epoch,
            _ => 0,
        };
        self.known.measured(Counters::Rules(Arc::new(counters.collect())), epoch, self.now, self.now);
        self.traffic.take(&self.known, &self.engine, &mut Incidents::none(), self.now)
    }

    fn rate(&self, rule: &str) -> Option<f64> {
        self.traffic.rule(nlri(rule).id()).rate.map(|rate| rate.packets_per_second)
    }

    fn sum(&self, action: Option<Verdict>) -> TrafficView {
        let views = self.traffic.views(&[(LOCAL, "local".to_owned())], &BTreeMap::new());
        let wanted = action.map(OrUnknown::from);
        let found =
            views.into_iter().find(|view| view.peer.is_none() && view.family.is_none() && view.action == wanted);
        found.unwrap()
    }
}

#[test]
fn a_rule_has_a_rate_a_peak_and_a_last_hit() {
    let mut house = House::new(&[DISCARD]);
    house.read(1000, &[(DISCARD, 0, Some(0))]);
    assert_eq!((house.rate(DISCARD), house.sum(None).packets), (None, 0));
    house.read(1000, &[(DISCARD, 500, Some(500))]);
    assert_eq!(house.rate(DISCARD), Some(500.0));
    house.read(2000, &[(DISCARD, 600, Some(600))]);
    let ActivityView { rate, peak, last_hit } = house.traffic.rule(nlri(DISCARD).id());
    let rate = rate.unwrap();
    assert_eq!((rate.packets_per_second, rate.bits_per_second, rate.dropped_per_second), (50.0, 40_000.0, Some(50.0)));
    let peak = peak.unwrap();
    assert_eq!((peak.packets_per_second, peak.bits_per_second), (500.0, 400_000.0));
    assert!(peak.packets_time < last_hit.unwrap(), "two seconds before");
    let all = house.sum(None);
    assert_eq!((all.packets, all.bytes, all.dropped, all.dropped_bytes), (600, 60_000, Some(600), Some(60_000)));
    assert_eq!(all.rate, Some(rate));
}

#[test]
fn sums_are_by_action_and_continue_when_rules_are_gone() {
    let mut house = House::new(&[DISCARD, LIMIT, ACCEPT]);
    house.read(1000, &[(DISCARD, 5, Some(5)), (LIMIT, 0, Some(0)), (ACCEPT, 7, Some(0))]);
    house.read(1000, &[(DISCARD, 6, Some(6)), (LIMIT, 10, Some(4)), (ACCEPT, 7, Some(0))]);
    let sum = |house: &House, action| {
        let sum = house.sum(Some(action));
        (sum.packets, sum.dropped, sum.passed)
    };
    assert_eq!(sum(&house, Verdict::Discard), (6, Some(6), Some(0)));
    assert_eq!(sum(&house, Verdict::Rate), (10, Some(4), Some(6)));
    assert_eq!(sum(&house, Verdict::Accept), (7, Some(0), Some(0)));
    assert_eq!(sum(&house, Verdict::Redirect), (0, Some(0), Some(0)));
    house.withdraw(DISCARD);
    house.read(1000, &[(LIMIT, 10, Some(4)), (ACCEPT, 8, Some(0))]);
    assert_eq!((house.sum(None).packets, sum(&house, Verdict::Discard).0), (24, 6));
    // It comes back, and what is read is still what it counted before, and then what it counts now.
    house.announce(DISCARD);
    house.read(1000, &[(DISCARD, 6, Some(6)), (LIMIT, 10, Some(4)), (ACCEPT, 8, Some(0))]);
    house.read(1000, &[(DISCARD, 2, Some(2)), (LIMIT, 10, Some(4)), (ACCEPT, 8, Some(0))]);
    assert_eq!((house.sum(None).packets, house.rate(DISCARD)), (24, None));
    let views = house.traffic.views(&[(LOCAL, "local".to_owned())], &BTreeMap::new());
    let one = views.iter().find(|view| view.peer.is_some() && view.action == Some(Verdict::Rate.into())).unwrap();
    assert_eq!((one.packets, one.family.clone()), (10, Some(flowspec::Family::Ipv4.into())));
}

#[test]
fn what_the_data_plane_does_not_tell_is_not_told() {
    let mut house = House::new(&[DISCARD, LIMIT]);
    for packets in [5, 9] {
        house.read(1000, &[(DISCARD, packets, Some(packets)), (LIMIT, packets, None)]);
    }
    let limit = house.sum(Some(Verdict::Rate));
    assert_eq!(
        (limit.packets, limit.dropped, limit.passed, limit.rate.unwrap().dropped_per_second),
        (9, None, None, None)
    );
    assert_eq!(house.sum(Some(Verdict::Discard)).dropped, Some(9));
    assert_eq!((house.sum(None).packets, house.sum(None).dropped), (18, None));
}

#[test]
fn what_an_earlier_run_counted_is_no_burst() {
    let mut house = House::new(&[DISCARD, LIMIT]);
    house.traffic = Traffic::new([nlri(DISCARD).id()].into(), house.now);
    house.read(1000, &[]);
    house.read(1000, &[(DISCARD, 1_000_000, Some(1_000_000)), (LIMIT, 3, Some(0))]);
    assert_eq!((house.sum(None).packets, house.rate(DISCARD)), (3, None));
    house.read(1000, &[(DISCARD, 1_000_010, Some(1_000_010)), (LIMIT, 3, Some(0))]);
    assert_eq!((house.sum(None).packets, house.rate(DISCARD)), (13, Some(10.0)));
}

#[test]
fn filters_that_are_removed_and_put_back_count_nothing_twice() {
    let mut house = House::new(&[DISCARD]);
    house.read(1000, &[(DISCARD, 0, Some(0))]);
    house.read(1000, &[(DISCARD, 100, Some(100))]);
    house.known.last_order();
    let counter = Counter { packets: 130, bytes: 13_000, dropped_packets: Some(130), dropped_bytes: Some(13_000) };
    house.known.measured_last(Counters::Rules(Arc::new([(nlri(DISCARD), counter)].into())), |_| true);
    house.read(1000, &[]);
    assert_eq!((house.sum(None).packets, house.rate(DISCARD)), (130, Some(30.0)));
    house.read(1000, &[(DISCARD, 20, Some(20))]);
    assert_eq!((house.sum(None).packets, house.rate(DISCARD)), (150, Some(20.0)));
}

#[test]
fn hardware_that_tells_late_has_neither_gaps_nor_bursts() {
    let mut house = House::new(&[DISCARD]);
    house.known.exchanged(Duration::from_secs(10));
    // 100 packets a second, told every 10 s, asked for each second and a half.
    let (mut told, mut rates) = (0, Vec::new());
    for reading in 0..100u64 {
        told = (reading * 3 / 20) * 1000;
        house.read(1500, &[(DISCARD, told, Some(told))]);
        rates.extend(house.rate(DISCARD));
    }
    let settled = &rates[10..];
    assert!(settled.iter().all(|rate| (80.0..=120.0).contains(rate)), "{settled:?}");
    // The traffic ends.
    for _ in 0..20 {
        house.read(1500, &[(DISCARD, told, Some(told))]);
    }
    assert_eq!(house.rate(DISCARD), Some(0.0));
}

#[test]
fn nothing_is_kept_of_many_rules_that_are_gone() {
    let mut house = House::new(&[DISCARD]);
    for round in 0..5 {
        let rules: Vec<String> = (0..100).map(|n| format!("dst 198.51.{round}.{n}/32 then discard")).collect();
        rules.iter().for_each(|rule| house.announce(rule));
        let counters: Vec<_> = rules.iter().map(|rule| (rule.as_str(), 5 + round, Some(0))).collect();
        house.read(1000, &counters);
        // Not one by one, but with a whole new list.
        for rule in &rules {
            house.engine.withdraw(LOCAL, nlri(rule), None);
        }
        house.apply();
        house.read(1000, &[(DISCARD, round + 1, Some(0))]);
    }
    assert!(house.traffic.rules.len() < 120, "{}", house.traffic.rules.len());
}
