//! A changed configuration file.

use super::*;

#[test]
fn a_reload_leaves_unchanged_sessions_up_and_a_bad_file_changes_nothing() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let a = Controller::connected(PEER, daemon.port);
    a.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);

    daemon.configure(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "")), "");
    let output = daemon.cli(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(": added") && said.contains("(sessions: 1 added, 0 removed, 0 restarted)"), "{said}");
    let b = Controller::connected("127.0.0.3", daemon.port);
    b.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);

    daemon.configure(&peer("a", PEER, "hold-tim = 9"), "");
    let output = daemon.cli(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("floodgate.toml:10:1: unknown key `hold-tim`; did you mean `hold-time`?"), "{words}");
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);

    // A session that starts anew is a lost session for its rules, until they are announced again.
    daemon.configure(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "hold-time = 30")), "");
    let output = daemon.cli(&["reload"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(sessions: 0 added, 0 removed, 1 restarted)"), "{said}");
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    wait("b again", || (b.seen().len() == 3).then_some(()));
    b.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    assert_eq!(daemon.peer("b")["hold_time"], 30);

    // Policy changes without a session; a peer that is gone goes with its rules.
    daemon.configure(&peer("a", PEER, "allow.destinations = [\"198.51.100.0/24\"]"), "");
    daemon.signal("-HUP");
    daemon.wait_rules(&[(&shown(NTP), "guarded")]);
    assert_eq!(daemon.peer("a")["established_count"], 1);
    assert_eq!(a.seen(), [SessionChange::Up]);
    wait("b's end", || (b.seen().len() == 4).then_some(()));
    assert!(
        matches!(&b.seen()[1], SessionChange::Down(why) if why.contains("other configuration change")),
        "{:?}",
        b.seen()
    );
    assert!(matches!(&b.seen()[3], SessionChange::Down(why) if why.contains("de-configured")), "{:?}", b.seen());
}

#[test]
fn reload_says_what_changed() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let reload = || String::from_utf8(daemon.cli(&["reload"]).stdout).unwrap();
    assert_eq!(reload(), "reloaded: nothing changed\n");
    daemon.configure(&peer("a", PEER, "max-rules = 5"), "format = \"json\"");
    let said = reload();
    for change in ["peer a: max-rules default -> 5", "[log] format default -> \"json\"", "0 restarted"] {
        assert!(said.contains(change), "{said}");
    }
}
