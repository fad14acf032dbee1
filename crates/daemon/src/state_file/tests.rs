//! Records and files, complete, truncated and damaged; and the thread that writes.

use super::contents::FIRST_LINE;
use super::load::parse;
use super::*;
use crate::clock::{ClockMark, WallTrust};
use engine::{Route, RouteFamily, SnapshotPath, Timestamp};
use flowspec::testing::Seed;
use flowspec::{Family, IpVersion, Nlri, PathId, Rule};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn peer() -> Origin {
    Origin::Peer("192.0.2.9".parse().unwrap())
}

/// A rule with one path.
fn put(rule: &str, origin: Origin) -> Record {
    let rule: Rule = rule.parse().unwrap();
    let nlri = Arc::new(rule.nlri);
    let path = SnapshotPath {
        nlri: Arc::clone(&nlri),
        blackhole: false,
        path_id: None,
        received: Timestamp(1_732_360_000),
        deadline: (origin == Origin::Local).then_some(Timestamp(1_732_362_000)),
        route: Arc::new(Route { next_hop: rule.next_hop, ..Route::local(rule.actions) }),
    };
    Record::Rule { nlri, paths: vec![(origin, path)] }
}

fn gone(rule: &str) -> Record {
    let rule: Rule = rule.parse().unwrap();
    Record::Rule { nlri: Arc::new(rule.nlri), paths: Vec::new() }
}

/// The rules of a peer whose session was lost at 10 s: until then, and for IPv6 a hundred seconds
/// longer.
fn retained(peer: &str, until: u64) -> Record {
    let until = Some(Timestamp(until));
    let long_lived_until = until.map(|until| until.plus(100));
    let since = Timestamp(10);
    let families = vec![
        RetainedFamily { family: Family::Ipv4.into(), since, until, long_lived_until: None },
        RetainedFamily { family: Family::Vpnv6.into(), since, until: None, long_lived_until },
        RetainedFamily { family: RouteFamily::Unicast(IpVersion::V6), since, until, long_lived_until },
    ];
    Record::Retained { peer: peer.parse().unwrap(), families }
}

fn encode(records: &[Record]) -> Vec<u8> {
    let mut octets = Vec::new();
    records.iter().for_each(|record| record.encode(&mut octets));
    octets
}

fn file(records: &[Record]) -> Vec<u8> {
    [FIRST_LINE, &encode(records)].concat()
}

/// Rule, actions and origin, as text.
fn rules(restored: &Restored) -> Vec<String> {
    let path = |origin: Origin, path: &SnapshotPath| {
        let rule =
            Rule { nlri: Nlri::clone(&path.nlri), actions: path.route.actions.clone(), next_hop: path.route.next_hop };
        format!("{origin:?} {rule}")
    };
    let mut rules: Vec<_> =
        restored.saved_rules.iter().flat_map(|of_one| of_one.paths.iter().map(|p| path(of_one.origin, p))).collect();
    rules.sort();
    rules
}

const RULES: [&str; 4] = [
    "dst 192.0.2.1/32 proto udp sport 123 then discard",
    "dst 2001:db8::1/128 then rate 1mbps mark 46",
    "rd 65000:1 dst 192.0.2.3/32 then redirect 65000:100",
    "dst 192.0.2.4/32 then redirect next-hop 192.0.2.77",
];

fn example() -> Vec<Record> {
    let mut records: Vec<_> = RULES.iter().map(|rule| put(rule, peer())).collect();
    records.push(put("dst 192.0.2.5/32 then accept", Origin::Local));
    records.push(Record::Pause(Some(Pause { until: Some(Timestamp(7)) })));
    records.push(Record::Clock(ClockMark {
        time: 1,
        boot_id: 2 << 100,
        since_boot: 3,
        wall: 4,
        trust: WallTrust::Reckoned,
    }));
    records.push(retained("192.0.2.9", 30));
    records.push(retained("2001:db8::9", 40));
    records
}

#[test]
fn octets_and_records_are_each_others_image() {
    for record in example().into_iter().chain([Record::Pause(None), Record::ForgetPeers, gone(RULES[0])]) {
        let octets = encode(std::slice::from_ref(&record));
        let record::Found::Record(payload, []) = record::decode_at(&octets) else { panic!("{record:?}") };
        assert_eq!(Record::decode(payload), Some(record));
    }
    // A path with all fields.
    let Record::Rule { nlri, mut paths } = put(RULES[0], Origin::Peer("2001:db8::9".parse().unwrap())) else {
        unreachable!()
    };
    let facts = engine::route::PathFacts {
        origin: engine::route::Origin::Incomplete,
        as_path: engine::route::AsPathFacts { length: 3, leftmost: Some(65070), internal: false },
        local_pref: Some(200),
        med: Some(0),
        originator: Some("192.0.2.8".parse().unwrap()),
        cluster_list_length: 2,
        no_llgr: true,
        llgr_stale: true,
        route_loop: None,
    };
    let attributes = engine::route::RouteAttributes {
        communities: vec![0xffff_029a, 1],
        large_communities: vec![[65070, 666, 0]],
        as_path: vec![65070, 65071],
        origin_as: Some(65071),
    };
    let route = Route {
        facts,
        next_hop: Some("2001:db8::1".parse().unwrap()),
        actions: Vec::new(),
        attributes: Some(Box::new(attributes)),
    };
    paths[0].1 =
        SnapshotPath { path_id: Some(PathId(9)), blackhole: true, route: Arc::new(route), ..paths[0].1.clone() };
    paths.push((Origin::Local, paths[0].1.clone()));
    let record = Record::Rule { nlri, paths };
    let octets = encode(std::slice::from_ref(&record));
    assert_eq!(Record::decode(&octets[record::HEADER..]), Some(record));
}

#[test]
fn the_last_record_of_a_rule_counts() {
    let mut records = example();
    records.extend([
        gone(RULES[1]),
        put("dst 192.0.2.1/32 proto udp sport 123 then rate 8kbps", peer()),
        Record::Pause(None),
        gone(RULES[2]),
        put(RULES[2], peer()),
    ]);
    let loaded = parse(&file(&records));
    assert_eq!((loaded.wrong, loaded.append_at), (vec![], Some(file(&records).len() as u64)));
    assert_eq!(loaded.restored.pause, None);
    assert_eq!(loaded.restored.clock.map(|mark| mark.wall), Some(4));
    let expected = parse(&file(&[
        put("dst 192.0.2.1/32 proto udp sport 123 then rate 8kbps", peer()),
        put(RULES[2], peer()),
        put(RULES[3], peer()),
        put("dst 192.0.2.5/32 then accept", Origin::Local),
    ]));
    assert_eq!(rules(&loaded.restored), rules(&expected.restored));
    records.push(Record::ForgetPeers);
    assert_eq!(rules(&parse(&file(&records)).restored), ["Local dst 192.0.2.5/32 then accept"]);
}

#[test]
fn a_file_that_is_cut_off_loses_the_last_record_only() {
    let records = example();
    let octets = file(&records);
    let ends: Vec<usize> = (0..=records.len()).map(|count| file(&records[..count]).len()).collect();
    for length in FIRST_LINE.len()..=octets.len() {
        let loaded = parse(&octets[..length]);
        let whole = ends.iter().rposition(|end| *end <= length).unwrap();
        assert_eq!(loaded.restored, parse(&file(&records[..whole])).restored, "{length}");
        assert!(!loaded.damaged);
        assert_eq!(loaded.append_at, Some(ends[whole] as u64), "{length}");
        assert_eq!(loaded.wrong.len(), usize::from(length != ends[whole]), "{:?}", loaded.wrong);
        // What a file system leaves that allocated blocks and did not write them. If they should
        // contain zeros, the file is valid.
        let loaded = parse(&[&octets[..length], &[0; 5000]].concat());
        let lucky = octets[length..ends[records.len().min(whole + 1)]].iter().all(|octet| *octet == 0);
        let expected = parse(&file(&records[..records.len().min(whole + usize::from(lucky))]));
        assert_eq!(loaded.restored, expected.restored, "{length} and zeros");
        assert_eq!(loaded.wrong.len(), 1);
    }
    for length in 0..FIRST_LINE.len() {
        let loaded = parse(&octets[..length]);
        assert!(loaded.damaged && loaded.restored == Restored::default(), "{length}");
    }
}

#[test]
fn damage_never_puts_another_rule_in_force_and_costs_what_is_damaged() {
    let mut records: Vec<_> = (0..40)
        .map(|n| put(&format!("dst 192.0.2.{n}/32 proto udp sport {} then rate {}kbps", n % 7, 8 + n), peer()))
        .collect();
    records.insert(20, put("dst 198.51.100.1/32 then discard", Origin::Local));
    let octets = file(&records);
    let before = rules(&parse(&octets).restored);
    let mut seed = Seed::new(1);
    let mut below = |end: usize| seed.below(end as u64) as usize;
    for _ in 0..3000 {
        let mut damaged = octets.clone();
        let places = 1 + below(4);
        for _ in 0..places {
            let at = FIRST_LINE.len() + below(damaged.len() - FIRST_LINE.len());
            match below(4) {
                0 => damaged[at] ^= 1 << below(8),
                1 => damaged[at] = below(256) as u8,
                2 => drop(damaged.remove(at)),
                _ => damaged.insert(at, below(256) as u8),
            }
        }
        let loaded = parse(&damaged);
        let left = rules(&loaded.restored);
        assert!(left.iter().all(|rule| before.contains(rule)), "{left:?}");
        // Each position is in one record, or between two.
        assert!(left.len() + 2 * places >= before.len(), "{} of {} are left", left.len(), before.len());
        assert_eq!(left.len() < before.len(), !loaded.wrong.is_empty() && left.len() < before.len(), "unsaid");
        if loaded.append_at.is_none() {
            assert!(loaded.damaged && !loaded.wrong.is_empty());
        }
    }
}

#[test]
fn the_form_of_earlier_versions_is_read_and_a_cut_line_is_not_guessed() {
    let text = "floodgate-state 1\npeer 192.0.2.9\n\
        path=- since=5 until=- next-hop=- origin=0 as-path=0/-/1 local-pref=- med=- originator=- clusters=0 llgr=00 \
        wire ipv4 0120c0000201 8006000000000000\nlocal\n\
        path=- since=5 until=9 next-hop=- origin=0 as-path=0/-/1 local-pref=- med=- originator=- clusters=0 llgr=00 \
        wire ipv4 0120c0000202 8006000000000000\nend 2\n";
    let loaded = parse(text.as_bytes());
    let both = ["Local dst 192.0.2.2/32 then discard", "Peer(192.0.2.9) dst 192.0.2.1/32 then discard"];
    assert_eq!((rules(&loaded.restored), &loaded.wrong), (both.map(str::to_owned).to_vec(), &vec![]));
    assert!(loaded.append_at.is_none() && !loaded.damaged);
    for end in FIRST_LINE.len()..text.len() {
        let loaded = parse(&text.as_bytes()[..end]);
        assert!(rules(&loaded.restored).iter().all(|rule| both.contains(&rule.as_str())), "{end}");
        assert!(loaded.damaged, "{end}");
    }
}

#[test]
fn what_is_no_state_file_is_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    for (content, why) in [(&b"[router]\nas = 1\n"[..], "begins with `[router]`"), (b"", "never written to its end")] {
        std::fs::write(&path, content).unwrap();
        let loaded = load(&path);
        assert!(loaded.wrong[0].contains(why), "{:?}", loaded.wrong);
        let kept = loaded.wrong[1].split(" is kept as ").nth(1).unwrap();
        let mut journal = Journal::open(&path, &loaded).unwrap();
        rewrite(&mut journal, &[put(RULES[0], Origin::Local)]);
        assert!(journal.close(PATIENCE));
        assert_eq!(std::fs::read(kept).unwrap(), content);
        assert_eq!(load(&path).restored.rules(), 1);
    }
    assert_eq!(names(&path), ["state", "state.damaged", "state.damaged-2"]);
}

/// The names in the directory.
fn names(path: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn wait(what: &str, check: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn rewrite(journal: &mut Journal, records: &[Record]) {
    wait("the time to write anew", || journal.is_rewrite_due(u64::MAX));
    journal.begin_rewrite();
    records.iter().for_each(|record| journal.rewrite_part(encode(std::slice::from_ref(record))));
    journal.finish_rewrite();
}

#[test]
fn what_the_ticket_says_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut journal = Journal::open(&path, &load(&path)).unwrap();
    for (count, record) in (1..).zip(example()) {
        let octets = encode(&[record]);
        if count % 2 == 0 {
            assert!(journal.append(octets).wait(PATIENCE));
        } else {
            assert!(journal.append_durably(octets).blocking_recv().unwrap().is_ok());
        }
        // The process may be killed now: nothing is closed.
        assert_eq!(load(&path).restored, parse(&file(&example()[..count])).restored);
    }
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    // The rest of an incomplete record is overwritten.
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &encode(&[gone(RULES[0])])[..9]].concat()).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let loaded = load(&path);
    assert_eq!(loaded.wrong.len(), 1);
    let mut journal = Journal::open(&path, &loaded).unwrap();
    assert!(journal.append(encode(&[gone(RULES[0])])).wait(PATIENCE));
    assert!(journal.close(PATIENCE));
    let loaded = load(&path);
    assert_eq!((loaded.restored.rules(), loaded.wrong), (RULES.len(), vec![]));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn many_who_wait_for_the_disk_wait_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut journal = Journal::open(&path, &load(&path)).unwrap();
    let rules: Vec<_> =
        (0..3000).map(|n| put(&format!("dst 10.0.{}.{}/32 then discard", n / 256, n % 256), peer())).collect();
    let saved: Vec<_> = rules
        .iter()
        .map(|rule| {
            journal.append(encode(&[gone(RULES[0])]));
            journal.append_durably(encode(std::slice::from_ref(rule)))
        })
        .collect();
    for saved in saved {
        assert!(saved.blocking_recv().unwrap().is_ok());
    }
    assert_eq!(load(&path).restored.rules(), rules.len());
    // Those who still wait at the end are answered, too.
    let last = journal.append_durably(encode(&[put(RULES[1], peer())]));
    assert!(journal.close(PATIENCE));
    assert!(last.blocking_recv().unwrap().is_ok());
}

#[test]
fn changes_during_a_rewrite_are_in_both() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("state");
    let mut journal = Journal::open(&path, &load(&path)).unwrap();
    for _ in 0..100 {
        journal.append(encode(&[put(RULES[0], peer()), gone(RULES[0])]));
    }
    assert!(journal.append(encode(&[put(RULES[0], peer()), put(RULES[1], peer())])).wait(PATIENCE));
    let (length, inode) = (std::fs::metadata(&path).unwrap().len(), std::fs::metadata(&path).unwrap().ino());
    journal.request_rewrite();
    journal.begin_rewrite();
    journal.rewrite_part(encode(&[put(RULES[0], peer())]));
    // A saved rule is withdrawn; one that was not saved yet is announced.
    assert!(journal.append(encode(&[gone(RULES[0]), put(RULES[2], peer())])).wait(PATIENCE));
    let expected = rules(&parse(&file(&[put(RULES[1], peer()), put(RULES[2], peer())])).restored);
    assert_eq!(rules(&load(&path).restored), expected, "before it is finished");
    journal.rewrite_part(encode(&[put(RULES[1], peer())]));
    journal.finish_rewrite();
    let ticket = journal.append(encode(&[put(RULES[3], peer())]));
    wait("the new file", || std::fs::metadata(&path).unwrap().ino() != inode);
    assert!(ticket.wait(PATIENCE) && std::fs::metadata(&path).unwrap().len() < length);
    let expected = [RULES[1], RULES[2], RULES[3]].map(|rule| put(rule, peer()));
    assert_eq!(rules(&load(&path).restored), rules(&parse(&file(&expected)).restored));
    assert!(journal.close(PATIENCE));
    assert_eq!(names(&path), ["state"]);
}

#[test]
fn a_write_error_is_reported_and_ends_when_the_whole_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/state");
    let mut journal = Journal::open(&path, &load(&path)).unwrap();
    assert!(journal.write_error().unwrap().to_string().contains("No such file or directory"));
    let octets = encode(&[put(RULES[0], Origin::Local)]);
    let began = Instant::now();
    assert!(!journal.append(octets.clone()).wait(PATIENCE));
    assert!(began.elapsed() < PATIENCE, "it waits although that is in vain");
    assert!(journal.append_durably(octets).blocking_recv().unwrap().unwrap_err().to_string().contains("cannot write"));
    // An attempt that fails, and one that does not.
    rewrite(&mut journal, &[put(RULES[0], Origin::Local)]);
    wait("another try", || journal.is_rewrite_due(u64::MAX));
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    rewrite(&mut journal, &[put(RULES[0], Origin::Local)]);
    wait("the end of it", || journal.write_error().is_none());
    assert_eq!(load(&path).restored.rules(), 1);
    // Left by a run that was killed during a rewrite.
    assert!(journal.close(PATIENCE));
    std::fs::write(path.with_extension("new"), "half").unwrap();
    drop(Journal::open(&path, &load(&path)).unwrap());
    assert_eq!(names(&path), ["state"]);
}

#[test]
fn the_latest_event_of_each_peer_counts() {
    let confirmed = Record::Retained { peer: "192.0.2.9".parse().unwrap(), families: Vec::new() };
    let records = [retained("192.0.2.9", 30), retained("2001:db8::9", 40), retained("2001:db8::9", 50), confirmed];
    let loaded = parse(&file(&records));
    assert_eq!(loaded.wrong, Vec::<String>::new());
    let Record::Retained { peer, families } = retained("2001:db8::9", 50) else { panic!("another record") };
    assert_eq!(loaded.restored.retained, [(peer, families)].into());
}
