//! Sessions that are lost, re-established, refused, or never established, and the effect on their
//! rules.

use super::*;

#[test]
fn a_lost_session_removes_its_rules() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[]);
    assert_eq!(daemon.peer("a")["last_error"], "connection lost");
}

#[test]
fn hold_on_loss_keeps_rules_until_the_peer_has_sent_them_again() {
    let daemon = Daemon::start(&peer("a", PEER, "hold-on-loss = \"1m\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale")]);
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "installed")]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(DNS), "installed")]);
}

#[test]
fn hold_on_loss_ends() {
    let daemon = Daemon::start(&peer("a", PEER, "hold-on-loss = \"1s\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale")]);
    daemon.wait_rules(&[]);
}

#[test]
fn only_the_right_secret_opens_a_session() {
    let daemon = Daemon::start(&(peer("a", PEER, "md5 = \"hush\"") + &peer("b", "127.0.0.3", "md5 = \"hush\"")), "");
    let wrong = Controller::start(PEER, daemon.port, config(), Some("husk"));
    let right = Controller::start("127.0.0.3", daemon.port, config(), Some("hush"));
    right.wait_up();
    assert_eq!(wrong.seen(), []);
    assert_eq!(daemon.peer("a")["established_count"], 0);
}

#[test]
fn a_killed_daemon_comes_back_with_its_rules() {
    let mut daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    assert!(daemon.cli(&["announce", "dst 192.0.2.3/32 then discard"]).status.success());
    let third = shown("dst 192.0.2.3/32 then discard");
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed"), (&third, "installed")]);
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    controller.vanish();
    daemon.run();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale"), (&third, "installed")]);
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[DNS]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(DNS), "installed"), (&third, "installed")]);

    // What is not confirmed in time goes (stale-time is 3 s here).
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    drop(controller);
    daemon.run();
    daemon.wait_rules(&[(&shown(DNS), "stale"), (&third, "installed")]);
    daemon.wait_rules(&[(&third, "installed")]);
}

#[test]
fn how_long_the_rules_of_a_lost_session_stay_outlives_a_kill() {
    // Of one peer the session is lost before the kill, of the other by the kill. stale-time is 3 s
    // here.
    let lost_before = peer("a", PEER, "") + "[peer.long-lived]\nmax-stale-time = \"1h\"\n";
    let mut daemon = Daemon::start(&(lost_before + &peer("b", "127.0.0.3", "hold-on-loss = \"1h\"")), "");
    let families: bgp::FamilySet = config().families;
    let restart = bgp::GracefulRestart {
        restart_time: 1,
        families: families.iter().map(|family| (family.into(), false)).collect(),
        ..bgp::GracefulRestart::default()
    };
    let mut offer = config();
    offer.graceful_restart = Some(restart);
    offer.long_lived = Some(bgp::LongLived { families, stale_time: 3600 });
    let a = Controller::start(PEER, daemon.port, offer.clone(), None);
    a.wait_up();
    a.announce(&[NTP]);
    a.end_of_rib();
    let b = Controller::connected("127.0.0.3", daemon.port);
    b.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    a.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "installed")]);
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    b.vanish();
    daemon.run();
    let long_lived = || {
        let rules = daemon.json(&["rules"]);
        let long_lived = rules.iter().filter(|rule| rule["origins"][0]["long_lived"] == true);
        long_lived.map(|rule| rule["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Only when stale-time is over.
    wait("the long-lived stale time", || (long_lived() == [shown(NTP)]).then_some(()));
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale")]);
}

#[test]
fn a_stopped_daemon_tells_its_peers_and_forgets_their_rules() {
    let mut daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    let began = Instant::now();
    daemon.signal("-TERM");
    assert!(daemon.ended());
    // It waits for nobody's hold time.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    wait("the goodbye", || controller.seen().get(1).cloned());
    assert!(
        matches!(&controller.seen()[1], SessionChange::Down(why) if why.contains("shutdown") && why.contains("floodgate is being stopped")),
        "{:?}",
        controller.seen()
    );
    let left = daemon::state_file::load(&daemon.path("state"));
    assert_eq!((left.restored.rules(), left.wrong), (0, vec![]));
    assert!(!daemon.path("api.sock").exists());
}

#[test]
fn graceful_restart_of_a_peer_keeps_its_rules() {
    let daemon = Daemon::start(&peer("a", PEER, "stale-until = \"f-bit\""), "");
    let restarting = |restarted| {
        let mut config = config();
        let families = config.families.iter().map(|family| (family.into(), true)).collect();
        let restart = bgp::GracefulRestart { restarted, notification: true, restart_time: 30, families };
        config.graceful_restart = Some(restart);
        let controller = Controller::start(PEER, daemon.port, config, None);
        controller.wait_up();
        controller
    };
    let controller = restarting(false);
    controller.announce(&[NTP, DNS]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale")]);
    let controller = restarting(true);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "stale")]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    // A peer that is back without graceful restart has forgotten its rules: they go at once.
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale")]);
    let _controller = Controller::connected(PEER, daemon.port);
    daemon.wait_rules(&[]);
}

#[test]
fn a_peer_that_sends_too_much_is_cut_off_where_told_to() {
    let daemon = Daemon::start(&peer("a", PEER, "max-rules = 2\non-excess = \"close\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS, IPV6]);
    wait("the end", || (controller.seen().len() > 1).then_some(()));
    assert!(
        matches!(&controller.seen()[1], SessionChange::Down(why) if why.contains("maximum number of prefixes")),
        "{:?}",
        controller.seen()
    );
}

#[test]
fn a_restarting_peer_need_not_wait_for_our_routes() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut stream = by_hand(&daemon);
    assert_eq!(receive_other(&mut stream), (2, vec![0, 0, 0, 6, 0x80, 15, 3, 0, 1, 133]), "End-of-RIB");
    stream.write_all(&message(5, &[0, 1, 0, 133])).unwrap();
    assert_eq!(receive_other(&mut stream), (5, vec![0, 1, 1, 133]), "begin of a refresh");
    assert_eq!(receive_other(&mut stream), (5, vec![0, 1, 2, 133]), "end of a refresh");
}

#[test]
fn peers_say_why_there_is_no_session() {
    let port = free_port();
    let silent = format!("[[peer]]\nname = \"b\"\naddress = \"127.0.0.3\"\nas = 65070\nport = {port}\n");
    let daemon = Daemon::start(&(peer("a", PEER, "") + &silent), "");
    let refused = wait("the refusal", || daemon.peer("b")["last_error"].as_str().map(str::to_owned));
    assert_eq!(
        refused,
        format!(
            "cannot connect to 127.0.0.3:{port}: Connection refused (os error 111); a peer that only connects needs passive = true"
        )
    );
    // A rule that is longer than its attribute: where the next one begins cannot be known (RFC 7606
    // §5.3).
    let mut stream = by_hand(&daemon);
    let attributes = [0x80, 14, 7, 0, 1, 133, 0, 0, 9, 1];
    stream.write_all(&message(2, &[&[0, 0, 0, attributes.len() as u8][..], &attributes].concat())).unwrap();
    let lost = wait("the loss", || daemon.peer("a")["last_error"].as_str().map(str::to_owned));
    assert!(lost.starts_with("the boundaries of its rules were lost (") && lost.ends_with("(3/9)"), "{lost}");
}

#[test]
fn a_failed_session_is_shown_in_the_history_and_an_unknown_neighbour_in_the_log() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let stranger = common::raw::connect("127.0.0.77", daemon.port);
    wait("the log", || daemon.log().contains("from=127.0.0.77").then_some(()));
    assert!(daemon.log().contains("not the address of a configured peer"), "{}", daemon.log());
    drop(stranger);
    let mut wrong = common::raw::connect(PEER, daemon.port);
    // An OPEN of AS 65071, where 65070 is configured.
    wrong.write_all(&message(1, &[4, 0xfe, 0x2f, 0, 90, 192, 0, 2, 77, 0])).unwrap();
    let failed =
        wait("the history", || daemon.json(&["history"]).into_iter().find(|event| event["event"] == "session-failed"));
    assert_eq!(failed["peer"], "a");
    assert_eq!(failed["message"], "we sent NOTIFICATION: bad peer AS (2/2): AS 65071");
}
