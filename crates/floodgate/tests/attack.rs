//! Peers and clients that mean harm, or behave as if they did: what they cost is bounded, and nobody else notices.

mod common;

use common::raw::{RawPeer, kind, message, update};
use common::{Daemon, peer, wait};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PEER: &str = "127.0.0.2";
const GOOD: &[u8] = &[5, 1, 24, 10, 99, 99];

/// An UPDATE with so many rules that have a component of a type that there is not.
fn malformed(count: usize) -> Vec<u8> {
    update(&[3, 13, 0x81, 1].repeat(count))
}

fn malformed_count(daemon: &Daemon) -> u64 {
    daemon.peer("a")["malformed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_flood_of_malformed_rules_is_a_few_lines_a_second_and_a_count() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut flooder = RawPeer::established(PEER, daemon.port, 90);
    let began = Instant::now();
    let flood = malformed(900);
    for _ in 0..300 {
        flooder.send(&flood);
    }
    flooder.send(&update(GOOD));
    wait("the rule behind the flood", || (daemon.rules().len() == 1).then_some(()));
    assert_eq!(malformed_count(&daemon), 300 * 900);
    // Everything is told, one by one or in a number.
    let told = || -> u64 {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("malformed"));
        lines
            .map(|line| {
                line.split(" more in")
                    .next()
                    .filter(|_| line.contains(" more in"))
                    .map_or(1, |head| head.rsplit(' ').next().unwrap().parse().unwrap())
            })
            .sum()
    };
    wait("the numbers", || (told() == 300 * 900).then_some(()));
    let seconds = began.elapsed().as_secs() + 2;
    let lines = daemon.log().lines().filter(|line| line.contains("malformed")).count() as u64;
    assert!(lines <= 6 * seconds, "{lines} lines in {seconds} s");
    let history = daemon.json(&["history", "--count", "1000"]);
    let events = history.iter().filter(|event| event["event"] == "malformed").count() as u64;
    assert!(events <= 6 * seconds, "{events} events in {seconds} s");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut daemon = Daemon::start(&peer("a", PEER, "hold-time = 3"), "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let (_reader, log) = std::io::pipe().unwrap();
    daemon.run_with(|_| {}, Stdio::from(log));
    let mut flooder = RawPeer::established(PEER, daemon.port, 3);
    // At the level `debug` each rule is a line.
    let mut number = 0_u32;
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for _ in 0..200 {
            number += 1;
            let [_, a, b, c] = number.to_be_bytes();
            flooder.send(&update(&[6, 1, 32, 10, a, b, c]));
            flooder.send(&malformed(10));
        }
        flooder.send(&message(kind::KEEPALIVE, &[]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let view = wait("all rules", || {
        flooder.send(&message(kind::KEEPALIVE, &[]));
        let view = daemon.peer("a");
        (view["rules"] == number).then_some(view)
    });
    assert_eq!((&view["state"], &view["established_count"]), (&"established".into(), &1.into()));
    assert!(daemon.json(&["status"])[0]["log_lines_lost"].as_u64().unwrap() > 0);
    daemon.signal("-TERM");
    assert!(daemon.ended());
}
