//! What is told is remembered, over restarts and crashes, and no more of it than there is room for.

use history::{
    AddressRange, Change, Counted, Description, HistoryError, Incident, IncidentFilter, PeakRate, Reader, RuleAt,
    Store, Time,
};
use std::path::Path;

const MINUTE: Time = 60_000;

const HOUR: Time = 60 * MINUTE;

fn what(rule: u64) -> Box<Description> {
    Box::new(Description {
        family: "ipv4".to_owned(),
        nlri: vec![7; 20],
        text: format!("dst 192.0.2.{}/32 proto udp sport 53,123,389,1900,11211 then discard", rule % 256),
        actions: "8006000000000000".to_owned(),
        verdict: "discard".to_owned(),
        peer: "detector".to_owned(),
        by: None,
        as_path: "65070 65071".to_owned(),
        communities: "65070:666".to_owned(),
        destination: Some(AddressRange::of_prefix([192, 0, 2, (rule % 256) as u8].into(), 32)),
    })
}

fn began(rule: u64, time: Time, state: &str) -> Change {
    Change::Began { rule, time, what: what(rule), state: state.to_owned(), reason: None, state_time: time }
}

fn state(rule: u64, time: Time, state: &str, reason: Option<&str>) -> Change {
    Change::State { rule, time, state: state.to_owned(), reason: reason.map(str::to_owned) }
}

fn counted(rule: u64, time: Time, packets: u64, dropped: Option<u64>) -> Change {
    let peak = PeakRate { packets: packets as f64, packets_time: time, bits: packets as f64 * 800.0, bits_time: time };
    let counted = Counted {
        packets,
        bytes: packets * 100,
        dropped,
        dropped_bytes: dropped.map(|n| n * 100),
        peak,
        last_hit: time,
    };
    Change::Counted { rule, time, seconds: 10, counted }
}

fn ended(rule: u64, time: Time) -> Change {
    Change::Ended { rule, time, why: "withdrawn".to_owned(), by: Some("root".to_owned()) }
}

fn incidents(directory: &Path) -> Vec<Incident> {
    Reader::open(&directory.join("history")).unwrap().incidents(&IncidentFilter::default()).unwrap()
}

fn in_state_at(reader: &Reader, time: Time, states: &[&str]) -> Vec<RuleAt> {
    let mut rules = Vec::new();
    let more = |rule| {
        rules.push(rule);
        true
    };
    assert!(reader.in_state_at(time, states, more).unwrap());
    rules
}

#[test]
fn an_incident_is_a_rule_from_its_announcement_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history");
    let mut store = Store::open(&file).unwrap();
    store.apply(&[began(1, 1000, "pending"), state(1, 1200, "installed", None)]).unwrap();
    store
        .apply(&[counted(1, 11_000, 50, Some(50)), counted(1, 12_000, 30, Some(20)), counted(1, 25_000, 5, Some(5))])
        .unwrap();
    store
        .apply(&[state(1, 26_000, "failed", Some("no room")), began(2, 26_000, "installed"), ended(1, 27_000)])
        .unwrap();
    // Announced again, it is another one.
    store.apply(&[began(1, 30_000, "installed")]).unwrap();
    let reader = Reader::open(&file).unwrap();
    let all = incidents(directory.path());
    assert_eq!(all.iter().map(|incident| incident.rule).collect::<Vec<_>>(), [1, 2, 1]);
    let first = &all[2];
    assert_eq!((first.began, first.ended, first.end.as_deref()), (1000, Some(27_000), Some("withdrawn")));
    assert_eq!(
        (first.ended_by.as_deref(), first.state.as_str(), first.reason.as_deref()),
        (Some("root"), "failed", Some("no room"))
    );
    assert_eq!((first.packets, first.bytes, first.dropped, first.dropped_bytes), (85, 8500, Some(75), Some(7500)));
    assert_eq!((first.peak_packets, first.peak_packets_time, first.last_hit), (50.0, Some(11_000), Some(25_000)));
    assert_eq!((first.peer.as_str(), first.communities.as_str(), first.nlri.len()), ("detector", "65070:666", 20));
    let states: Vec<_> =
        reader.states(first.number).unwrap().into_iter().map(|change| (change.time, change.state)).collect();
    let wanted = [(1000, "pending"), (1200, "installed"), (26_000, "failed")];
    assert_eq!(states, wanted.map(|(time, state)| (time, state.to_owned())));
    for file in std::fs::read_dir(directory.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    let rates: Vec<_> =
        reader.rates(first.number).unwrap().iter().map(|rate| (rate.start, rate.packets, rate.dropped)).collect();
    assert_eq!(rates, [(10, 80, 70), (20, 5, 5)]);
}

#[test]
fn what_is_not_told_of_some_packets_is_not_told_of_the_sum() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("history")).unwrap();
    store.apply(&[began(1, 0, "installed"), counted(1, 1000, 5, Some(5)), counted(1, 2000, 5, None)]).unwrap();
    store.apply(&[counted(1, 3000, 5, Some(5))]).unwrap();
    let incident = incidents(directory.path()).remove(0);
    assert_eq!((incident.packets, incident.dropped, incident.dropped_bytes), (15, None, None));
}

#[test]
fn other_actions_are_a_change_of_the_same_incident() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("history")).unwrap();
    store.apply(&[began(1, 0, "installed")]).unwrap();
    let mut other = what(1);
    other.text = "dst 192.0.2.1/32 then rate 1mbps".to_owned();
    (other.verdict, other.actions) = ("rate".to_owned(), "800600004bf4240".to_owned());
    other.by = Some("root".to_owned());
    store.apply(&[Change::Changed { rule: 1, time: 5000, what: other.clone() }]).unwrap();
    let [incident] = &incidents(directory.path())[..] else { panic!("one incident") };
    assert_eq!((incident.text.as_str(), incident.verdict.as_str()), (other.text.as_str(), "rate"));
    let reader = Reader::open(&directory.path().join("history")).unwrap();
    let states = reader.states(incident.number).unwrap();
    assert_eq!((states[1].reason.as_deref(), states[1].by.as_deref()), (Some("detector: rate 1mbps"), Some("root")));
    // What it asked for at a time is what it was announced with before.
    for (time, actions) in [(0, "8006000000000000"), (4999, "8006000000000000"), (5000, "800600004bf4240")] {
        let [rule] = &in_state_at(&reader, time, &["installed"])[..] else { panic!("one rule at {time}") };
        assert_eq!(rule.actions, actions, "{time}");
    }
}

#[test]
fn sums_continue_after_a_crash_and_what_is_gone_then_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("history")).unwrap();
    store.apply(&[began(1, 1000, "installed"), began(2, 1000, "installed")]).unwrap();
    store.apply(&[counted(1, 10_000, 50, Some(50)), counted(2, 12_000, 1, Some(1))]).unwrap();
    // As the files are when the program is killed: nothing was closed.
    let after = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "history-shm" {
            std::fs::copy(file.path(), after.path().join(file.file_name())).unwrap();
        }
    }
    drop(store);
    let mut store = Store::open(&after.path().join("history")).unwrap();
    assert_eq!(store.open_count(), 2);
    store.apply(&[began(1, 1000, "installed"), began(3, 90_000, "installed")]).unwrap();
    store.apply(&[Change::AllTold { time: 91_000 }, counted(1, 100_000, 7, Some(7))]).unwrap();
    let all = incidents(after.path());
    let of = |rule: u64| all.iter().find(|incident| incident.rule == rule).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!((of(1).packets, of(1).ended, of(1).peak_packets), (57, None, 50.0));
    assert_eq!((of(2).packets, of(2).ended), (1, Some(12_000)), "when the program was seen last");
    assert_eq!(of(3).ended, None);
    // Told once more, nothing more ends.
    store.apply(&[Change::AllTold { time: 200_000 }]).unwrap();
    assert_eq!(store.open_count(), 2);
}

/// A rule without a destination may have concerned any address of its version.
#[test]
fn a_rule_for_all_destinations_is_found_by_each() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history");
    let mut store = Store::open(&file).unwrap();
    let everywhere = Box::new(Description { destination: None, ..*what(1) });
    let change = Change::Began {
        rule: 1,
        time: 0,
        what: everywhere,
        state: "installed".to_owned(),
        reason: None,
        state_time: 0,
    };
    store.apply(&[change]).unwrap();
    let reader = Reader::open(&file).unwrap();
    for (address, found) in [("192.0.2.1", 1), ("2001:db8::1", 0)] {
        let destination = Some(AddressRange::of_prefix(address.parse().unwrap(), 128));
        let filter = IncidentFilter { destination, ..IncidentFilter::default() };
        assert_eq!(reader.incidents(&filter).unwrap().len(), found, "{address}");
    }
}

#[test]
fn a_search_that_takes_too_long_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history");
    let mut store = Store::open(&file).unwrap();
    store.apply(&(0..5000).map(|rule| began(rule, 0, "installed")).collect::<Vec<_>>()).unwrap();
    let reader = Reader::open(&file).unwrap();
    let interrupt = reader.interrupt();
    let stopper = std::thread::spawn(move || {
        for _ in 0..10_000 {
            interrupt.interrupt();
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    });
    let filter = IncidentFilter { rule: Some("no such text".to_owned()), ..IncidentFilter::default() };
    let mut stopped = false;
    while !stopped && !stopper.is_finished() {
        stopped = matches!(reader.incidents(&filter), Err(HistoryError::TooLong));
    }
    assert!(stopped);
    stopper.join().unwrap();
    assert!(reader.incidents(&filter).unwrap().is_empty(), "it can be asked again");
}

#[test]
fn filters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history");
    let mut store = Store::open(&file).unwrap();
    store.apply(&[began(0xabc, 1000, "installed"), ended(0xabc, 2000), began(0xdef, 5000, "refused")]).unwrap();
    let reader = Reader::open(&file).unwrap();
    let found = |filter: IncidentFilter| {
        reader.incidents(&filter).unwrap().iter().map(|incident| incident.rule).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let none = IncidentFilter::default;
    assert_eq!(found(IncidentFilter { since: Some(1500), ..none() }), [0xdef, 0xabc]);
    assert_eq!(found(IncidentFilter { since: Some(2500), ..none() }), [0xdef]);
    assert_eq!(found(IncidentFilter { until: Some(3000), ..none() }), [0xabc]);
    assert_eq!(found(IncidentFilter { rule: text("000000000a"), ..none() }), [0xabc]);
    assert_eq!(found(IncidentFilter { rule: text("192.0.2.239"), ..none() }), [0xdef]);
    assert_eq!(found(IncidentFilter { rule: text("%"), ..none() }), [0u64; 0]);
    assert_eq!(found(IncidentFilter { rule: text("' OR 1=1 --"), ..none() }), [0u64; 0]);
    assert_eq!(found(IncidentFilter { peer: text("detector"), most: Some(1), ..none() }), [0xdef]);
    assert_eq!(found(IncidentFilter { peer: text("detector"), before: Some(2), ..none() }), [0xabc]);
    assert_eq!(found(IncidentFilter { peer: text("nobody"), ..none() }), [0u64; 0]);
    let of = |net: [u8; 4], length| Some(AddressRange::of_prefix(net.into(), length));
    assert_eq!(found(IncidentFilter { destination: of([192, 0, 2, 239], 32), ..none() }), [0xdef]);
    assert_eq!(found(IncidentFilter { destination: of([192, 0, 2, 0], 24), ..none() }), [0xdef, 0xabc]);
    assert_eq!(found(IncidentFilter { destination: of([192, 0, 3, 0], 24), ..none() }), [0u64; 0]);
    assert_eq!(found(IncidentFilter { destination: Some(AddressRange::all(false)), ..none() }), [0u64; 0]);
    assert_eq!(found(IncidentFilter { state: text("refused"), ..none() }), [0xdef]);
    let at = |time| in_state_at(&reader, time, &["installed", "stale"]).len();
    assert_eq!([at(500), at(1500), at(2500), at(6000)], [0, 1, 0, 0]);
}

#[test]
fn rates_grow_coarser_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history");
    let mut store = Store::open(&file).unwrap();
    store.apply(&[began(1, 0, "installed")]).unwrap();
    let mut now = 0;
    for _ in 0..4 * 360 {
        now += 10_000;
        store.apply(&[counted(1, now, 10, Some(10))]).unwrap();
    }
    for later in [0, 2 * HOUR, 26 * HOUR, 31 * 24 * HOUR] {
        store.coarsen(now + later).unwrap();
        store.coarsen(now + later).unwrap();
        let reader = Reader::open(&file).unwrap();
        let rates = reader.rates(1).unwrap();
        assert_eq!(rates, reader.rates_of_all(0, i64::MAX).unwrap(), "there is one rule");
        let first = reader.rates_of_all(i64::MIN, 3600).unwrap();
        assert!(first.iter().all(|rate| rate.start < 3600) && !first.is_empty());
        assert_eq!(rates.iter().map(|rate| rate.packets).sum::<u64>(), 14_400, "{later}");
        assert!(rates.is_sorted_by_key(|rate| rate.start + rate.seconds), "no two tell of the same time");
        let finest = rates.iter().map(|rate| rate.seconds).min().unwrap();
        assert_eq!(
            finest,
            match later {
                0 => 10,
                n if n == 2 * HOUR => 60,
                n if n == 26 * HOUR => 600,
                _ => 3600,
            }
        );
    }
}

/// 10,000 incidents an hour for a day fit into 1 GB: a fortieth of that, on a clock of its own,
/// fits into a fortieth. Each matches packets for five minutes.
#[test]
fn a_day_of_many_incidents_fits() {
    const AN_HOUR: u64 = 250;
    const ROOM: u64 = 1_000_000_000 / (10_000 / AN_HOUR);
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("history")).unwrap();
    let mut most = 0;
    for minute in 0..24 * 60u64 {
        let now = minute as Time * MINUTE;
        let mut changes = Vec::new();
        let of = |minute: u64| (AN_HOUR * minute / 60..AN_HOUR * (minute + 1) / 60).map(|n| n + 1);
        for rule in of(minute) {
            changes.extend([began(rule, now, "pending"), state(rule, now + 20, "installed", None)]);
        }
        // Each matches packets for five minutes, and is withdrawn after ten.
        for second in (0..60).step_by(10) {
            for rule in (minute.saturating_sub(4)..=minute).flat_map(of) {
                changes.push(counted(rule, now + second * 1000, 1000, Some(1000)));
            }
        }
        if let Some(before) = minute.checked_sub(10) {
            changes.extend(of(before).map(|rule| ended(rule, now)));
        }
        store.apply(&changes).unwrap();
        if minute % 5 == 0 {
            store.coarsen(now).unwrap();
            most = most.max(store.octets().unwrap());
        }
    }
    println!("{} incidents: {:.1} MB, {} octets each", 24 * AN_HOUR, most as f64 / 1e6, most / (24 * AN_HOUR));
    assert!(most < ROOM, "{most}");
    // With less room, the oldest go.
    store.forget_over(1_500_000).unwrap();
    assert!(store.octets().unwrap() <= 1_500_000);
    let left = incidents(directory.path());
    assert!(left.len() > 100 && left.iter().all(|incident| incident.began > 12 * HOUR), "{}", left.len());
    store.forget_before(24 * HOUR).unwrap();
    assert!(incidents(directory.path()).iter().all(|incident| incident.ended.is_none()));
}
