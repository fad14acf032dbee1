//! Local rules that are advertised to peers, by sessions on loopback.

mod common;

use bgp::{AfiSafi, GracefulRestart, PeerConfig, RefreshKind};
use common::controller::{Controller, config};
use common::{Daemon, peer, wait};
use flowspec::Family;
use lab::speaker::SessionChange;

const PEER: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const DNS: &str = "dst 192.0.2.2/32 proto udp sport 53 then rate 1mbps";
const IPV6: &str = "ipv6 dst 2001:db8::1/128 proto tcp dport 80 then discard";
const ADVERTISE: &str = "advertise = [\"local\"]";
const V4: AfiSafi = AfiSafi::Flow(Family::Ipv4);
const V6: AfiSafi = AfiSafi::Flow(Family::Ipv6);

fn announce(daemon: &Daemon, words: &[&str]) {
    let output = daemon.cli(&[&["announce"], words].concat());
    assert!(output.status.success(), "{output:?}");
}

fn withdraw(daemon: &Daemon, rule: &str) {
    let output = daemon.cli(&["withdraw", rule]);
    assert!(output.status.success(), "{output:?}");
}

/// What is shown of a rule: to whom it is advertised.
fn advertised_to(daemon: &Daemon, rule: &str) -> Vec<String> {
    let shown = rule.parse::<flowspec::Rule>().unwrap().to_string();
    let rules = daemon.json(&["rules"]);
    let rule = rules.iter().find(|rule| rule["text"] == shown.as_str()).unwrap_or_else(|| panic!("{rules:?}"));
    let names = rule["advertised_to"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_local_rule_is_told_changed_withdrawn_and_expires() {
    let daemon = Daemon::start(&(peer("a", PEER, ADVERTISE) + &peer("b", OTHER, "")), "");
    announce(&daemon, &[NTP]);
    let (a, b) = (Controller::connected(PEER, daemon.port), Controller::connected(OTHER, daemon.port));
    a.wait_heard(&[NTP]);
    wait("End-of-RIB of both families", || (a.heard().ends == [(V4, 1), (V6, 1)]).then_some(()));
    assert_eq!(a.heard().attributes, [(vec![65140], None)]);
    announce(&daemon, &[DNS]);
    announce(&daemon, &[IPV6]);
    a.wait_heard(&[NTP, DNS, IPV6]);
    assert_eq!(advertised_to(&daemon, NTP), ["a"]);
    assert_eq!((&daemon.peer("a")["advertised"], &daemon.peer("b")["advertised"]), (&3.into(), &().into()));
    let table = String::from_utf8(daemon.cli(&["rules"]).stdout).unwrap();
    assert!(table.contains("advertised to a\n"), "{table}");
    assert!(String::from_utf8(daemon.cli(&["peers"]).stdout).unwrap().contains("ADVERTISED"));
    // Other actions take the place of the first ones.
    announce(&daemon, &["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps"]);
    a.wait_heard(&["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps", DNS, IPV6]);
    withdraw(&daemon, DNS);
    a.wait_heard(&["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps", IPV6]);
    announce(&daemon, &[DNS, "--for", "1s"]);
    a.wait_heard(&["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps", DNS, IPV6]);
    a.wait_heard(&["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps", IPV6]);
    assert!(daemon.cli(&["clear"]).status.success());
    a.wait_heard(&[]);
    assert_eq!((daemon.peer("a")["advertised"].as_u64(), b.heard().updates), (Some(0), 0));
}

#[test]
fn what_a_peer_announced_is_told_to_nobody() {
    let daemon = Daemon::start(&(peer("a", PEER, ADVERTISE) + &peer("b", OTHER, ADVERTISE)), "");
    let (a, b) = (Controller::connected(PEER, daemon.port), Controller::connected(OTHER, daemon.port));
    b.announce(&[NTP]);
    daemon.wait_rules(&[(&NTP.parse::<flowspec::Rule>().unwrap().to_string(), "installed")]);
    // What was announced later has come, so the other would have come, too.
    announce(&daemon, &[DNS]);
    a.wait_heard(&[DNS]);
    b.wait_heard(&[DNS]);
    // The same rule of both: ours is told, and only ours ends when it is withdrawn here.
    announce(&daemon, &["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps"]);
    a.wait_heard(&["dst 192.0.2.1/32 proto udp sport 123 then rate 2mbps", DNS]);
    withdraw(&daemon, NTP);
    a.wait_heard(&[DNS]);
    assert_eq!(advertised_to(&daemon, NTP), [""; 0]);
}

#[test]
fn the_next_session_and_a_refresh_have_the_rules_of_now() {
    let daemon = Daemon::start(&peer("a", PEER, ADVERTISE), "");
    announce(&daemon, &[NTP]);
    let a = Controller::connected(PEER, daemon.port);
    a.wait_heard(&[NTP]);
    a.vanish();
    wait("the loss", || (daemon.peer("a")["state"] != "established").then_some(()));
    assert_eq!((advertised_to(&daemon, NTP), daemon.peer("a")["advertised"].as_u64()), (vec![], Some(0)));
    withdraw(&daemon, NTP);
    announce(&daemon, &[DNS]);
    let a = Controller::connected(PEER, daemon.port);
    a.wait_heard(&[DNS]);
    let updates = a.heard().updates;
    a.ask_for_refresh();
    wait("the answer", || (a.heard().refreshes == [RefreshKind::Begin, RefreshKind::End]).then_some(()));
    assert_eq!(a.heard().updates, updates + 1);
    a.wait_heard(&[DNS]);
}

#[test]
fn a_peer_without_enhanced_route_refresh_is_answered_without_marks() {
    let daemon = Daemon::start(&peer("a", PEER, ADVERTISE), "");
    announce(&daemon, &[NTP]);
    let plain = PeerConfig { enhanced_route_refresh: false, ..config() };
    let a = Controller::start(PEER, daemon.port, plain, None);
    a.wait_up();
    a.wait_heard(&[NTP]);
    let updates = a.heard().updates;
    a.ask_for_refresh();
    wait("the rules again", || (a.heard().updates == updates + 1).then_some(()));
    assert_eq!(a.heard().refreshes, []);
}

#[test]
fn an_internal_peer_has_them_without_as_path_and_with_local_pref() {
    let internal =
        "[[peer]]\nname = \"a\"\naddress = \"127.0.0.2\"\nas = 65140\npassive = true\nadvertise = [\"local\"]\n";
    let daemon = Daemon::start(internal, "");
    announce(&daemon, &[NTP]);
    let a = Controller::start(PEER, daemon.port, PeerConfig { local_as: 65140, ..config() }, None);
    a.wait_up();
    a.wait_heard(&[NTP]);
    assert_eq!(a.heard().attributes, [(vec![], Some(100))]);
}

/// A daemon that was killed comes back with its rules: they are in its first UPDATEs, before
/// End-of-RIB, so that a peer that kept them keeps them; one that has expired meanwhile is not.
#[test]
fn a_restarted_daemon_confirms_its_rules_before_end_of_rib() {
    let mut daemon = Daemon::start(&peer("a", PEER, ADVERTISE), "");
    announce(&daemon, &[NTP]);
    announce(&daemon, &[DNS, "--for", "1s"]);
    let restart =
        GracefulRestart { families: vec![(V4.into(), false)], restart_time: 60, ..GracefulRestart::default() };
    let offer = PeerConfig { graceful_restart: Some(restart), ..config() };
    let a = Controller::start(PEER, daemon.port, offer, None);
    a.wait_up();
    wait("the rules", || (!a.heard().ends.is_empty()).then_some(()));
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    wait("the loss", || matches!(a.seen().last(), Some(SessionChange::Down(_))).then_some(()));
    let over = std::time::Instant::now() + std::time::Duration::from_secs(1);
    wait("the end of a lifetime", || (std::time::Instant::now() > over).then_some(()));
    daemon.run();
    wait("another session", || (a.seen().len() >= 3 && a.seen().last() == Some(&SessionChange::Up)).then_some(()));
    a.wait_heard(&[NTP]);
    // How long it was away counts in whole seconds: the other rule may have been there for a
    // moment.
    wait("End-of-RIB", || (a.heard().ends.iter().map(|(family, _)| *family).eq([V4, V6])).then_some(()));
    assert!(a.heard().ends.iter().all(|(_, rules)| *rules >= 1), "{:?}", a.heard());
}

#[test]
fn a_reload_begins_and_ends_it() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    announce(&daemon, &[NTP]);
    let a = Controller::connected(PEER, daemon.port);
    daemon.configure(&peer("a", PEER, ADVERTISE), "");
    assert!(daemon.cli(&["reload"]).status.success());
    a.wait_heard(&[NTP]);
    daemon.configure(&peer("a", PEER, ""), "");
    assert!(daemon.cli(&["reload"]).status.success());
    wait("a session without it", || {
        (a.seen().iter().filter(|seen| **seen == SessionChange::Up).count() == 3
            && a.seen().last() == Some(&SessionChange::Up))
        .then_some(())
    });
    announce(&daemon, &[DNS]);
    assert_eq!((a.heard().updates, &daemon.peer("a")["advertised"]), (0, &().into()));
}

#[test]
fn a_rule_that_fits_in_no_message_is_told_of_and_the_others_go() {
    let daemon = Daemon::start(&peer("a", PEER, ADVERTISE), "");
    let list: Vec<String> = (1000..2350).map(|port| port.to_string()).collect();
    let long = format!("dst 192.0.2.3/32 proto udp dport {} then discard", list.join(","));
    let small = PeerConfig { extended_message: false, ..config() };
    let a = Controller::start(PEER, daemon.port, small, None);
    a.wait_up();
    announce(&daemon, &[&long]);
    announce(&daemon, &[NTP]);
    a.wait_heard(&[NTP]);
    wait("the note", || {
        let rules = daemon.json(&["rules"]);
        let rule = rules.iter().find(|rule| rule["text"].as_str().unwrap().contains("192.0.2.3"))?;
        let notes = rule["notes"].as_array()?;
        notes.iter().any(|note| note.as_str().unwrap().contains("not advertised to a")).then_some(())
    });
    assert_eq!((advertised_to(&daemon, &long), daemon.peer("a")["advertised"].as_u64()), (vec![], Some(1)));
}
