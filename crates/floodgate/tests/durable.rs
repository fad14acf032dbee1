//! What a command answered lasts: lifetimes, pauses, and what a restart finds.

// Other tests use the rest of it.
#[allow(dead_code)]
mod common;

use common::{Daemon, wait};
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
fn announcing_again_starts_a_life_anew() {
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
fn a_life_is_never_shorter_than_asked() {
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
        ("0s", "lasts no time"),
        ("10minutes", "no duration"),
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
