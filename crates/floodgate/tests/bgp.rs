//! Details of BGP on live sessions: what the daemon does, and what it shows.

mod common;

use common::controller::{Controller, config};
use common::raw::{RawPeer, kind, message, update};
use common::{Daemon, peer, wait};
use lab::speaker::SessionChange;
use std::io::Read;
use std::net::TcpStream;

const PEER: &str = "127.0.0.2";
/// `dst 10.99.99.0/24`.
const RULE: &[u8] = &[5, 1, 24, 10, 99, 99];

/// [`update`] with another AS_PATH (four-octet numbers) and a next hop of this many octets.
fn update_with(path: &[u32], next_hop: u8) -> Vec<u8> {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 2 + 4 * path.len() as u8, 2, path.len() as u8];
    path.iter().for_each(|asn| attributes.extend_from_slice(&asn.to_be_bytes()));
    attributes.extend_from_slice(&[0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0]);
    attributes.extend_from_slice(&[0x80, 14, 5 + next_hop + RULE.len() as u8, 0, 1, 133, next_hop]);
    attributes.extend(std::iter::repeat_n(7, usize::from(next_hop)));
    attributes.push(0);
    attributes.extend_from_slice(RULE);
    message(kind::UPDATE, &[&[0, 0, 0, attributes.len() as u8], &attributes[..]].concat())
}

#[test]
fn the_next_hop_of_a_rule_may_have_any_length() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut raw = RawPeer::established(PEER, daemon.port, 90);
    for length in [8, 12, 20, 24, 48, 0, 4, 16, 1, 99] {
        raw.send(&update_with(&[65070], length));
        daemon.wait_rules(&[("dst 10.99.99.0/24 then discard", "installed")]);
    }
    assert_eq!(daemon.peer("a")["malformed"], serde_json::json!({}));
}

#[test]
fn a_looped_route_is_shown_with_its_reason_and_is_not_malformed() {
    let daemon = Daemon::start(&peer("a", PEER, "local-as = 65199"), "");
    let mut raw = RawPeer::established(PEER, daemon.port, 90);
    // The AS that this peer sees and the router's own both count.
    for own in [65199, 65140] {
        raw.send(&update_with(&[65070, own, 65001], 0));
        wait("the loop", || {
            let rules = daemon.json(&["rules"]);
            let rule = rules.first()?;
            let reason = rule["reason"].as_str()?;
            (rule["state"] == "infeasible" && reason == format!("a loop: our own AS {own} is in its AS_PATH"))
                .then_some(())
        });
    }
    raw.send(&update_with(&[65070, 65001], 0));
    daemon.wait_rules(&[("dst 10.99.99.0/24 then discard", "installed")]);
    assert_eq!(daemon.peer("a")["malformed"], serde_json::json!({}));
}

#[test]
fn a_malformed_update_is_logged_with_its_rules_and_octets() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut raw = RawPeer::established(PEER, daemon.port, 90);
    let malformed = update(&[RULE, &[3, 13, 0x81, 1]].concat());
    raw.send(&malformed);
    let hex: String = malformed.iter().map(|octet| format!("{octet:02x}")).collect();
    wait("the line", || {
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains("malformed") && line.contains(&hex))?;
        (line.contains("dst 10.99.99.0/24") && line.contains("ipv4-flow 030d8101")).then_some(())
    });
    daemon.wait_rules(&[("dst 10.99.99.0/24 then discard", "installed")]);
}

#[test]
fn an_unknown_address_is_sent_connection_rejected() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    // From 127.0.0.1, which is no peer's address.
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, message(kind::NOTIFICATION, &[6, 5]));
}

#[test]
fn equal_identifiers_in_ibgp_stay_the_last_error_until_there_is_a_session() {
    let ibgp = "[[peer]]\nname = \"a\"\naddress = \"127.0.0.2\"\nas = 65140\npassive = true\n";
    let daemon = Daemon::start(ibgp, "");
    let own = |router_id: &str| bgp::PeerConfig { local_as: 65140, router_id: router_id.parse().unwrap(), ..config() };
    let same = Controller::start(PEER, daemon.port, own("192.0.2.10"), None);
    let expected = "both have the id 192.0.2.10; in iBGP they must differ";
    wait("the reason", || (daemon.peer("a")["last_error"] == expected).then_some(()));
    // What ends a connection without telling anything does not take its place.
    drop(same);
    for _ in 0..3 {
        drop(TcpStream::connect(("127.0.0.1", daemon.port)).unwrap());
        let mut garbage = common::raw::connect(PEER, daemon.port);
        std::io::Write::write_all(&mut garbage, &[0; 30]).unwrap();
        let mut rest = Vec::new();
        let _ = garbage.read_to_end(&mut rest);
        assert_eq!(daemon.peer("a")["last_error"], expected);
    }
    let other = Controller::start(PEER, daemon.port, own("192.0.2.11"), None);
    other.wait_up();
    wait("the session", || (daemon.peer("a")["state"] == "established").then_some(()));
}

#[test]
fn a_peer_that_is_away_shows_when_it_is_tried_next() {
    let port = common::free_port();
    let away = format!("[[peer]]\nname = \"a\"\naddress = \"127.0.0.2\"\nas = 65070\nport = {port}\n");
    let daemon = Daemon::start(&away, "");
    wait("the next try", || {
        let peer = daemon.peer("a");
        (peer["next_try"].as_str()? > peer["since"].as_str()?).then_some(())
    });
    let table = String::from_utf8(daemon.cli(&["peers"]).stdout).unwrap();
    assert!(table.contains("NEXT TRY") && table.contains("in "), "{table}");
}

#[test]
fn garbage_without_pause_from_the_peers_address_does_not_keep_it_out() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let port = daemon.port;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = std::sync::Arc::clone(&stop);
    let tried = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let tries = std::sync::Arc::clone(&tried);
    let flood = std::thread::spawn(move || {
        let mut count = 0u32;
        let mut silent = std::collections::VecDeque::new();
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let mut stream = common::raw::connect(PEER, port);
            count += 1;
            tries.store(count, std::sync::atomic::Ordering::Relaxed);
            if count.is_multiple_of(2) {
                let _ = std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n");
            }
            silent.push_back(stream);
            silent.truncate(64);
        }
        count
    });
    // It comes up, again and again, while that goes on.
    for _ in 0..3 {
        let controller = Controller::start(PEER, port, config(), None);
        controller.wait_up();
        controller.announce(&["dst 192.0.2.1/32 then discard"]);
        daemon.wait_rules(&[("dst 192.0.2.1/32 then discard", "installed")]);
        let ups = daemon.peer("a")["established_count"].clone();
        let tried = || tried.load(std::sync::atomic::Ordering::Relaxed);
        let before = tried();
        wait("more garbage", || (tried() > before + 20).then_some(()));
        assert_eq!(daemon.peer("a")["established_count"], ups, "the session was not ended by garbage");
        controller.vanish();
        daemon.wait_rules(&[]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(flood.join().unwrap() > 20);
}

#[test]
fn a_peer_whose_secret_cannot_be_read_does_not_keep_the_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let secret = format!("md5-file = {key:?}\n");
    let configuration = peer("a", PEER, &secret) + &peer("b", "127.0.0.3", "");
    let daemon = Daemon::start(&configuration, "");
    let controller = Controller::connected("127.0.0.3", daemon.port);
    let rule = "dst 10.0.0.1/32 then discard";
    controller.announce(&[rule]);
    daemon.wait_rules(&[(rule, "installed")]);
    let error = || daemon.json(&["peers"])[0]["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error().contains("md5-file: cannot read"), "{}", error());
    // What is offered without a secret is not taken.
    let stranger = Controller::start(PEER, daemon.port, config(), None);
    assert!(daemon.log().contains("no session until its md5-file has a secret"), "{}", daemon.log());
    assert!(!daemon.cli(&["reload"]).status.success(), "a reload takes nothing that is wrong");
    std::fs::write(&key, "hush\n").unwrap();
    assert!(daemon.cli(&["reload"]).status.success());
    let known = Controller::start(PEER, daemon.port, config(), Some("hush"));
    known.wait_up();
    assert!(!stranger.seen().contains(&SessionChange::Up), "{:?}", stranger.seen());
}

#[test]
fn a_peer_that_flaps_is_refused_and_sent_the_reason() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    // Each time for longer, so that the moment is not missed.
    wait("a refusal", || {
        let mut raw = RawPeer::connected(PEER, daemon.port);
        let (kind, body) = raw.read();
        if kind == kind::NOTIFICATION {
            assert_eq!(body, [6, 5]);
            return Some(());
        }
        raw.establish_after_open(90);
        let up = || daemon.peer("a")["state"] == "established";
        wait("the session", || up().then_some(()));
        drop(raw);
        wait("its loss", || (!up()).then_some(()));
        None
    });
    let history = daemon.json(&["history"]);
    let told =
        |event: &serde_json::Value| event["message"].as_str().is_some_and(|text| text.contains("are refused until"));
    assert!(history.iter().any(told), "{history:?}");
    assert!(daemon.log().contains("connections are refused until 2"));
}

#[test]
fn a_peer_whose_rules_wait_is_let_in_however_often_it_flaps() {
    let daemon = Daemon::start(&peer("a", PEER, "hold-on-loss = \"5m\""), "");
    for _ in 0..8 {
        let mut raw = RawPeer::established(PEER, daemon.port, 90);
        raw.send(&update(RULE));
        daemon.wait_rules(&[("dst 10.99.99.0/24 then discard", "installed")]);
        drop(raw);
        daemon.wait_rules(&[("dst 10.99.99.0/24 then discard", "stale")]);
    }
    assert!(!daemon.log().contains("refused until"));
}
