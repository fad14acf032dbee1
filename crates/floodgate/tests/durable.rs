//! What a command acknowledged is durable: lifetimes, pauses, and the state after a restart.

mod common;

use common::{Daemon, wait};
use daemon::state_file::{Journal, Origin, Record, load};
use daemon::{ClockMark, WallTrust};
use engine::{Route, SnapshotPath, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const DNS: &str = "dst 192.0.2.2/32 proto udp sport 53 then discard";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Runs a command that has to succeed.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

#[test]
fn announcing_again_restarts_the_lifetime() {
    let daemon = Daemon::start("", "");
    let expires = || daemon.json(&["rules"])[0]["expires"].as_str().map(str::to_owned);
    done(&daemon, &["announce", NTP, "--for", "1h"]);
    let first = expires().unwrap();
    done(&daemon, &["announce", NTP, "--for", "2h"]);
    assert!(expires().unwrap() > first, "longer");
    done(&daemon, &["announce", NTP, "--for", "30m"]);
    assert!(expires().unwrap() < first, "shorter");
    done(&daemon, &["announce", NTP]);
    assert_eq!(expires(), None, "permanent");
    done(&daemon, &["announce", NTP, "--for", "1s"]);
    wait("its end", || daemon.rules().is_empty().then_some(()));
}

#[test]
fn a_lifetime_is_never_shorter_than_asked() {
    let daemon = Daemon::start("", "");
    let lives: Vec<_> = (0..8).map(|n| (format!("dst 192.0.2.{n}/32 then discard"), 1000 + n * 130)).collect();
    let mut began = Vec::new();
    for (rule, millis) in &lives {
        began.push(Instant::now());
        done(&daemon, &["announce", rule, "--for", &format!("{millis}ms")]);
    }
    let mut left: Vec<usize> = (0..lives.len()).collect();
    let end = Instant::now() + common::PATIENCE;
    while !left.is_empty() {
        // The clock is read first: a rule that is gone was gone no earlier than that.
        let now = Instant::now();
        assert!(now < end, "{left:?} are still there");
        let rules = daemon.rules();
        left.retain(|&n| {
            let there = rules.iter().any(|(text, _)| *text == lives[n].0);
            let lived = began[n].elapsed();
            assert!(there || lived >= Duration::from_millis(lives[n].1), "{} ended after {lived:?}", lives[n].0);
            there
        });
    }
}

#[test]
fn times_without_sense_are_refused_at_once() {
    let daemon = Daemon::start("", "");
    for (time, why) in [
        ("9000000000000s", "at most 100 years"),
        ("2924710d", "at most 100 years"),
        ("18446744073709551616s", "at most 100 years"),
        ("0s", "a duration of zero"),
        ("10minutes", "not a duration"),
    ] {
        let output = daemon.cli(&["announce", DNS, "--for", time]);
        assert_eq!(output.status.code(), Some(2), "{time}: {}", said(&output));
        assert!(said(&output).contains(why), "{time}: {}", said(&output));
    }
    // The longest that is taken is shown and does no harm.
    done(&daemon, &["announce", DNS, "--for", "36500d"]);
    assert!(daemon.json(&["rules"])[0]["expires"].as_str().unwrap().starts_with("21"));
    done(&daemon, &["status"]);
}

/// Kills it as a crash would, and starts it again.
fn crash(daemon: &mut Daemon) {
    daemon.signal("-KILL");
    daemon.ended();
    daemon.run();
}

#[test]
fn what_was_answered_outlives_a_kill_at_once() {
    let mut daemon = Daemon::start("", "");
    for round in 0..5 {
        let host = |n: usize| format!("dst 192.0.2.{}/32 then discard", 10 * round + n);
        done(&daemon, &["announce", &host(1)]);
        done(&daemon, &["announce", &host(2), "--for", "1h"]);
        done(&daemon, &["announce", &host(3)]);
        done(&daemon, &["withdraw", &host(3)]);
        crash(&mut daemon);
        daemon.wait_rules(&[(&host(1), "installed"), (&host(2), "installed")]);
        let rules = daemon.json(&["rules"]);
        assert!(rules[0]["expires"].is_null() && rules[1]["expires"].is_string(), "{rules:?}");
        done(&daemon, &["withdraw", rules[0]["id"].as_str().unwrap()]);
        done(&daemon, &["clear"]);
        crash(&mut daemon);
        daemon.wait_rules(&[]);
    }
}

#[test]
fn a_pause_lasts_over_crashes_until_it_is_resumed() {
    let mut daemon = Daemon::start("", "");
    done(&daemon, &["announce", NTP]);
    done(&daemon, &["pause"]);
    assert!(said(&daemon.cli(&["pause"])).contains("already paused"));
    crash(&mut daemon);
    daemon.wait_rules(&[(NTP, "pending")]);
    let status = &daemon.json(&["status"])[0];
    assert!(status["paused"] == true && status["paused_until"].is_null(), "{status}");
    // A stop as usual, too.
    daemon.signal("-TERM");
    assert!(daemon.ended());
    daemon.run();
    daemon.wait_rules(&[(NTP, "pending")]);
    done(&daemon, &["resume"]);
    crash(&mut daemon);
    daemon.wait_rules(&[(NTP, "installed")]);
    assert_eq!(daemon.json(&["status"])[0]["paused"], false);
}

#[test]
fn a_pause_for_a_time_ends_by_itself_also_over_a_crash() {
    let mut daemon = Daemon::start("", "");
    done(&daemon, &["announce", NTP]);
    let words = done(&daemon, &["pause", "--for", "30m"]);
    assert!(words.contains("nothing is filtered until 20"), "{words}");
    let until = |daemon: &Daemon| daemon.json(&["status"])[0]["paused_until"].as_str().map(str::to_owned);
    let first = until(&daemon).unwrap();
    assert!(said(&daemon.cli(&["status"])).contains(&format!("PAUSED until {}", &first[..15])));
    // Another time takes its place.
    done(&daemon, &["pause", "--for", "2h"]);
    assert!(until(&daemon).unwrap() > first);
    done(&daemon, &["pause"]);
    assert_eq!(until(&daemon), None);
    let began = Instant::now();
    done(&daemon, &["pause", "--for", "3s"]);
    crash(&mut daemon);
    daemon.wait_rules(&[(NTP, "installed")]);
    assert!(began.elapsed() >= Duration::from_secs(3), "it ended after {:?}", began.elapsed());
    crash(&mut daemon);
    daemon.wait_rules(&[(NTP, "installed")]);
    for bad in ["0s", "101y", "400000d"] {
        assert_eq!(daemon.cli(&["pause", "--for", bad]).status.code(), Some(2), "{bad}");
    }
}

#[test]
fn a_peers_rule_that_is_shown_as_installed_outlives_a_kill() {
    let peer = common::peer("a", "127.0.0.2", "hold-on-loss = \"1h\"");
    let mut daemon = Daemon::start(&peer, "");
    for round in 0..5 {
        let controller = common::controller::Controller::connected("127.0.0.2", daemon.port);
        let rule = format!("dst 192.0.2.{round}/32 proto udp then discard");
        controller.announce(&[&rule]);
        wait("the rule", || daemon.rules().contains(&(rule.clone(), "installed".to_owned())).then_some(()));
        daemon.signal("-KILL");
        daemon.ended();
        controller.vanish();
        daemon.run();
        wait("the rule again", || {
            let found = daemon.rules().into_iter().find(|(text, _)| *text == rule)?;
            matches!(found.1.as_str(), "stale" | "pending").then_some(())
        });
    }
}

#[test]
fn a_damaged_state_file_is_kept_and_told_and_the_rest_of_it_is_in_force() {
    let mut daemon = Daemon::start("", "");
    let rules: Vec<String> = (0..50).map(|n| format!("dst 192.0.2.{n}/32 then discard")).collect();
    for rule in &rules {
        done(&daemon, &["announce", rule]);
    }
    daemon.signal("-KILL");
    daemon.ended();
    let mut octets = std::fs::read(daemon.path("state")).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x10;
    std::fs::write(daemon.path("state"), &octets).unwrap();
    daemon.run();
    wait("the other rules", || (daemon.rules().len() >= 48).then_some(()));
    assert!(daemon.rules().iter().all(|(text, _)| rules.contains(text)));
    assert_eq!(std::fs::read(daemon.path("state.damaged")).unwrap(), octets);
    let status = done(&daemon, &["status"]);
    assert!(status.contains("damaged") && status.contains("is kept as"), "{status}");
    // It is written anew at once: the next start finds nothing wrong with it.
    done(&daemon, &["announce", NTP]);
    let before = daemon.rules();
    crash(&mut daemon);
    wait("the rules again", || (daemon.rules() == before).then_some(()));
    assert!(!done(&daemon, &["status"]).contains("damaged"));
}

#[test]
fn no_directory_is_made_for_a_mistyped_path() {
    let mut daemon = Daemon::start("", "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let wrong = daemon.path("sate/state");
    let text = std::fs::read_to_string(daemon.path("floodgate.toml")).unwrap();
    let text = text.replace(&format!("{:?}", daemon.path("state")), &format!("{wrong:?}"));
    std::fs::write(daemon.path("floodgate.toml"), text).unwrap();
    let config = daemon.path("floodgate.toml");
    for command in ["check", "run"] {
        let output = daemon.cli(&[command, "-c", config.to_str().unwrap()]);
        assert!(!output.status.success(), "{command}");
        assert!(
            said(&output).contains("there is no directory") && said(&output).contains("toml:"),
            "{}",
            said(&output)
        );
    }
    assert!(!wrong.parent().unwrap().exists());
}

#[test]
fn a_second_start_names_the_first_and_touches_nothing() {
    let daemon = Daemon::start("", "");
    done(&daemon, &["announce", NTP]);
    let state = std::fs::read(daemon.path("state")).unwrap();
    let text = std::fs::read_to_string(daemon.path("floodgate.toml")).unwrap();
    let path = |name: &str| format!("{:?}", daemon.path(name));
    let other_port = format!("127.0.0.1:{}", common::free_port());
    let port = format!("127.0.0.1:{}", daemon.port);
    for (what, changes) in [
        ("answers on", vec![]),
        ("has the state file", vec![(path("api.sock"), path("other.sock")), (port.clone(), other_port.clone())]),
        ("answers on", vec![(path("state"), path("other")), (port.clone(), other_port)]),
        // Nothing is the same but the port.
        ("Address already in use", vec![(path("state"), path("other")), (path("api.sock"), path("other.sock"))]),
    ] {
        let changed = changes.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to));
        let config = daemon.path("second.toml");
        std::fs::write(&config, changed).unwrap();
        let output = daemon.cli(&["run", "-c", config.to_str().unwrap()]);
        assert!(!output.status.success(), "{what}");
        let words = said(&output);
        assert!(words.contains(what), "{what}: {words}");
        let pid = format!("another floodgate (pid {})", daemon.pid());
        assert!(what.contains("use") || words.contains(&pid), "{pid}: {words}");
        assert_eq!(std::fs::read(daemon.path("state")).unwrap(), state);
        daemon.wait_rules(&[(NTP, "installed")]);
    }
}

/// A small disk of its own.
struct Disk(std::path::PathBuf);

impl Disk {
    /// `None`, and a line that says why, where the machine cannot do this.
    fn mount(path: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("skipped: a disk of its own needs root");
            assert!(std::env::var_os("CI").is_none(), "skipped in CI");
            return None;
        }
        Some(Disk(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_reported_and_tried_again() {
    let mut daemon = Daemon::start("", "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let Some(disk) = Disk::mount(daemon.path("disk")) else { return };
    let text = std::fs::read_to_string(daemon.path("floodgate.toml")).unwrap();
    let (before, state) = (format!("{:?}", daemon.path("state")), disk.0.join("state"));
    std::fs::write(daemon.path("floodgate.toml"), text.replace(&before, &format!("{state:?}"))).unwrap();
    daemon.run();
    done(&daemon, &["announce", NTP]);
    // Nothing is left but what is left of the last page of the state file.
    let filled = std::fs::write(disk.0.join("fill"), vec![1; 1 << 20]);
    assert!(filled.is_err(), "the disk is not full");
    let refused = (0..200).find_map(|n| {
        let rule = format!("dst 198.51.100.{n}/32 then discard");
        let output = daemon.cli(&["announce", &rule]);
        (!output.status.success()).then_some((rule, output))
    });
    let (rule, output) = refused.expect("the disk took all");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("would not outlive a restart") && said(&output).contains("No space left"));
    wait("the rule", || daemon.rules().contains(&(rule.clone(), "installed".to_owned())).then_some(()));
    assert!(said(&daemon.cli(&["status"])).contains("NOT SAVED"));
    let health = || {
        use std::io::{Read, Write};
        let mut socket = std::os::unix::net::UnixStream::connect(daemon.path("api.sock")).unwrap();
        socket.write_all(b"GET /healthz HTTP/1.0\r\nhost: floodgate\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(health().contains(" 503 ") && health().contains("No space left"), "{}", health());
    std::fs::remove_file(disk.0.join("fill")).unwrap();
    wait("the end of the trouble", || daemon.json(&["status"])[0]["state_error"].is_null().then_some(()));
    assert!(health().contains(" 200 "), "{}", health());
    let rules = daemon.rules();
    assert!(rules.len() >= 2);
    let names: Vec<_> = std::fs::read_dir(&disk.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "state.new"), "{names:?}");
    crash(&mut daemon);
    wait("the rules again", || (daemon.rules() == rules).then_some(()));
}

/// A rule that was announced by hand.
fn local(rule: &str, deadline: Option<u64>) -> Record {
    let rule: flowspec::Rule = rule.parse().unwrap();
    let nlri = Arc::new(rule.nlri);
    let path = SnapshotPath {
        nlri: Arc::clone(&nlri),
        blackhole: false,
        path_id: None,
        received: Timestamp(0),
        deadline: deadline.map(Timestamp),
        route: Arc::new(Route::local(rule.actions)),
    };
    Record::Rule { nlri, paths: vec![(Origin::Local, path)] }
}

#[test]
fn lifetimes_survive_a_boot_with_a_wrong_clock() {
    // The clock of the boot before was years off, or nobody had vouched for it: only the time since
    // this boot is sure.
    for wall in [0, 4_000_000_000_000] {
        let mut daemon = Daemon::start("", "");
        daemon.signal("-TERM");
        assert!(daemon.ended());
        let state = daemon.path("state");
        std::fs::remove_file(&state).unwrap();
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split('.').next().unwrap().parse::<u64>().unwrap()
        };
        let up = uptime();
        let time = 5_000_000_000_000;
        let mark = ClockMark { time, boot_id: 1, since_boot: 7, wall, trust: WallTrust::None };
        let end = |seconds: u64| Some(time / 1000 + up + seconds);
        let mut octets = Vec::new();
        let records = [
            Record::Clock(mark),
            local(NTP, end(20)),
            local(DNS, Some(time / 1000 + up - 1)),
            local("dst 192.0.2.9/32 then discard", None),
        ];
        records.iter().for_each(|record| record.encode(&mut octets));
        let mut journal = Journal::open(&state, &load(&state)).unwrap();
        assert!(journal.append(octets).wait(common::PATIENCE) && journal.close(common::PATIENCE));
        daemon.run();
        // What was over is; what was not goes on for what is left of it, also over crashes; and is
        // shown by the clock as it is.
        daemon.wait_rules(&[(NTP, "installed"), ("dst 192.0.2.9/32 then discard", "installed")]);
        let expires = daemon.json(&["rules"])[0]["expires"].as_str().unwrap().to_owned();
        let left = humantime::parse_rfc3339(&expires).unwrap().duration_since(std::time::SystemTime::now());
        assert!(left.is_ok_and(|left| left < Duration::from_secs(23)), "{expires}");
        crash(&mut daemon);
        let patience = Instant::now() + Duration::from_secs(60);
        while daemon.rules().len() > 1 {
            assert!(Instant::now() < patience, "it does not end: {:?}", daemon.rules());
            std::thread::sleep(Duration::from_millis(20));
        }
        // By the clock that its end was set by, however late the daemon was started.
        let lived = uptime() - up;
        assert!(lived >= 18, "it ended after {lived} s");
    }
}

#[test]
fn the_state_of_an_earlier_version_is_taken_over_once() {
    let mut daemon = Daemon::start("", "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let text = "floodgate-state 1\nlocal\n\
        path=- since=5 until=- next-hop=- origin=0 as-path=0/-/1 local-pref=- med=- originator=- clusters=0 llgr=00 \
        wire ipv4 0120c0000201038111 8006000000000000\nend 1\n";
    std::fs::write(daemon.path("state"), text).unwrap();
    daemon.run();
    let rule = ("dst 192.0.2.1/32 proto udp then discard", "installed");
    daemon.wait_rules(&[rule]);
    done(&daemon, &["announce", DNS]);
    assert!(std::fs::read(daemon.path("state")).unwrap().starts_with(b"floodgate-state 2\n"));
    crash(&mut daemon);
    daemon.wait_rules(&[rule, (DNS, "installed")]);
    assert!(!daemon.path("state.damaged").exists());
}
