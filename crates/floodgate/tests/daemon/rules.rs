//! Rules of peers: accepted, in force, guarded, refused, withdrawn.

use super::*;

#[test]
fn what_a_peer_announces_is_installed_until_it_withdraws() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS, IPV6]);
    let (ntp, dns, ipv6) = (shown(NTP), shown(DNS), shown(IPV6));
    daemon.wait_rules(&[(&ntp, "installed"), (&dns, "installed"), (&ipv6, "installed")]);
    controller.announce(&["dst 192.0.2.2/32 proto udp sport 53 then discard"]);
    daemon.wait_rules(&[
        (&ntp, "installed"),
        (&dns.replace("rate 1mbps", "discard"), "installed"),
        (&ipv6, "installed"),
    ]);
    controller.withdraw(&[NTP, IPV6]);
    daemon.wait_rules(&[(&dns.replace("rate 1mbps", "discard"), "installed")]);
    let history = daemon.json(&["history"]);
    let events: Vec<&str> = history.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        events,
        ["started", "peer-up", "announced", "announced", "announced", "announced", "withdrawn", "withdrawn"]
    );
    assert_eq!(daemon.peer("a")["state"], "established");
    assert_eq!(daemon.peer("a")["rules"], 1);
}

#[test]
fn a_rule_of_two_peers_stays_until_both_withdraw_it() {
    let daemon = Daemon::start(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "")), "");
    let (a, b) = (Controller::connected(PEER, daemon.port), Controller::connected("127.0.0.3", daemon.port));
    a.announce(&[NTP]);
    b.announce(&[NTP]);
    wait("two origins", || {
        let rules = daemon.json(&["rules"]);
        (rules.len() == 1 && rules[0]["origins"].as_array().unwrap().len() == 2).then_some(())
    });
    a.withdraw(&[NTP]);
    wait("one origin", || {
        let rules = daemon.json(&["rules"]);
        (rules[0]["origins"].as_array().unwrap().len() == 1).then_some(())
    });
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    b.vanish();
    daemon.wait_rules(&[]);
}

#[test]
fn the_guard_shows_what_it_does_not_let_in() {
    let allow = "[peer.allow]\ndestinations = [\"192.0.2.0/24\"]\nactions = [\"discard\"]";
    let daemon = Daemon::start(&peer("a", PEER, allow), "");
    let controller = Controller::connected(PEER, daemon.port);
    let rules = [NTP, "dst 192.0.2.1/32 then rate 1mbps", "dst 198.51.100.1/32 then discard", "proto udp then discard"];
    controller.announce(&rules);
    wait("four rules", || {
        let rules = daemon.rules();
        (rules.len() == 4 && rules.iter().all(|(_, state)| state != "pending")).then_some(())
    });
    let states: Vec<String> = daemon.rules().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["installed", "guarded", "guarded", "guarded"]);
    assert!(daemon.json(&["rules"])[2]["reason"].as_str().unwrap().contains("may not filter this destination"));
}

#[test]
fn rules_with_unknown_actions_and_interface_sets_are_in_force_only_as_the_policy_says() {
    // Juniper's redirect to an address in attribute 16, and an interface set.
    let unknown = "dst 192.0.2.1/32 then community 800b000000000001";
    let set = "dst 192.0.2.2/32 then community 07020000fe2e400c discard";
    for (key, state, state_of_set) in [
        ("", "installed", "refused"),
        ("allow = { interface-sets = \"ignore\" }", "installed", "installed"),
        ("allow = { unknown-actions = \"refuse\" }", "guarded", "guarded"),
    ] {
        let daemon = Daemon::start(&peer("controller", PEER, key), "");
        let controller = Controller::connected(PEER, daemon.port);
        controller.announce(&[unknown, set, NTP]);
        wait("the rules", || (daemon.rules().len() == 3).then_some(()));
        wait("the decision", || {
            let rules = daemon.json(&["rules"]);
            let of = |text: &str| {
                rules.iter().find(|rule| rule["text"].as_str().unwrap().starts_with(text)).unwrap().clone()
            };
            let (accept, limited, ntp) = (of("dst 192.0.2.1/32 then"), of("dst 192.0.2.2/32 then"), of(&NTP[..30]));
            (accept["state"] == state && limited["state"] == state_of_set && ntp["state"] == "installed").then(|| {
                assert!(accept["notes"][0].as_str().unwrap().contains("accepts its packets"), "{accept}");
                if state_of_set == "installed" {
                    assert!(limited["notes"][0].as_str().unwrap().contains("every filtered interface"), "{limited}");
                } else {
                    assert_eq!(limited["notes"], serde_json::Value::Null, "{limited}");
                }
                if state_of_set == "refused" {
                    assert!(limited["reason"].as_str().unwrap().contains("allow.interface-sets"), "{limited}");
                }
                assert_eq!(ntp["notes"], serde_json::Value::Null);
                if state == "guarded" {
                    assert!(accept["reason"].as_str().unwrap().contains("unknown-actions"), "{accept}");
                }
            })
        });
        let table = String::from_utf8(daemon.cli(&["rules"]).stdout).unwrap();
        assert!(table.contains("note: "), "{table}");
    }
}

#[test]
fn ten_thousand_rules_are_announced_and_withdrawn_quickly() {
    const COUNT: u32 = 10_000;
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut config = config();
    config.hold_time = 9;
    let controller = Controller::start(PEER, daemon.port, config, None);
    controller.wait_up();
    let rules = (0..COUNT)
        .map(|n| format!("dst 10.{}.{}.{}/32 proto udp sport 123 then discard", n >> 16, n >> 8 & 255, n & 255));
    let rules: Vec<flowspec::Rule> = rules.map(|text| text.parse().unwrap()).collect();
    let began = Instant::now();
    controller.announce_rules(rules);
    let installed = || daemon.json(&["status"])[0]["rules"]["installed"].as_u64();
    wait("all rules", || (installed() == Some(u64::from(COUNT))).then_some(()));
    println!("{COUNT} rules from the controller to the back end: {:?}", began.elapsed());
    assert_eq!(daemon.json(&["rules"]).len(), COUNT as usize);
    assert_eq!(daemon.json(&["rules", "10.0.1.1"]).len(), 1);
    assert_eq!(daemon.peer("a")["established_count"], 1);
    controller.vanish();
    daemon.wait_rules(&[]);
}

/// An UPDATE that announces `dst 192.0.2.HOST/32` with these octets of AS_PATH and this extended
/// community.
fn announcement(host: u8, as_path: &[u8], community: [u8; 8]) -> Vec<u8> {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, as_path.len() as u8];
    attributes.extend(as_path);
    attributes.extend([0xc0, 16, 8].iter().chain(&community));
    attributes.extend([0x80, 14, 12, 0, 1, 133, 0, 0, 6, 1, 32, 192, 0, 2, host]);
    message(2, &[&[0, 0, 0, attributes.len() as u8][..], &attributes].concat())
}

#[test]
fn a_peer_of_another_as_speaks_for_itself_and_redirects_where_it_may() {
    let daemon = Daemon::start(&peer("a", PEER, "allow.redirect-to = [\"10.77.0.0/16\"]"), "");
    let mut stream = by_hand(&daemon);
    let discard = [0x80, 6, 0, 0, 0, 0, 0, 0];
    let redirect = |last| [1, 12, 10, last, 0, 1, 0, 0];
    let own: &[u8] = &[2, 1, 0xfe, 0x2e];
    for (host, as_path, community) in [
        (1, own, discard),
        (2, &[2, 1, 0xfd, 0xe7][..], discard),
        (3, &[][..], discard),
        (4, own, redirect(77)),
        (5, own, redirect(78)),
    ] {
        stream.write_all(&announcement(host, as_path, community)).unwrap();
    }
    let states = wait("all rules", || {
        let rules = daemon.json(&["rules"]);
        let states = rules.iter().map(|rule| rule["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (states.len() == 5 && !states.contains(&"pending".to_owned())).then_some(states)
    });
    assert_eq!(states, ["installed", "infeasible", "infeasible", "installed", "guarded"]);
    let reasons: Vec<_> =
        daemon.json(&["rules"]).into_iter().filter_map(|rule| Some(rule["reason"].as_str()?.to_owned())).collect();
    assert!(reasons[0].contains("AS 64999") && reasons[0].contains("65070"), "{reasons:?}");
    assert!(reasons[1].contains("empty") && reasons[2].contains("10.78.0.1"), "{reasons:?}");
    // It says that it is a route server: any AS may stand first.
    daemon.configure(&peer("a", PEER, "route-server = true"), "");
    daemon.cli(&["reload"]);
    wait("another decision", || {
        let rules = daemon.json(&["rules"]);
        (rules[1]["state"] != "infeasible" && rules[2]["state"] == "infeasible" && rules[3]["state"] == "guarded")
            .then_some(())
    });
}

/// Who announced a rule and who operates learn that it is not enforced without asking for it: in
/// the log, in the history, in `status`.
#[test]
fn rules_that_are_not_enforced_are_reported_with_their_reason() {
    let daemon = Daemon::start(&peer("a", PEER, "allow.destinations = [\"192.0.2.0/24\"]"), "");
    let controller = Controller::connected(PEER, daemon.port);
    let outside = "dst 198.51.100.1/32 then discard";
    controller.announce(&[NTP, outside]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (outside, "guarded")]);
    let history = daemon.json(&["history"]);
    let told: Vec<_> = history.iter().filter(|event| event["event"] == "not-enforced").collect();
    assert_eq!(told.len(), 1, "{history:?}");
    assert_eq!((&told[0]["peer"], &told[0]["rule"]), (&"a".into(), &outside.into()));
    assert!(told[0]["message"].as_str().unwrap().starts_with("guarded: "), "{told:?}");
    wait("the log", || {
        daemon.log().lines().any(|line| line.contains("INFO") && line.contains("guarded")).then_some(())
    });
    let warning = daemon.json(&["status"])[0]["warnings"][0].as_str().unwrap().to_owned();
    assert_eq!(warning, "1 rule is announced and not enforced: 1 guarded; `floodgate rules guarded` says why");
    // The same again is no news; another policy is.
    controller.announce(&[outside]);
    daemon.configure(&peer("a", PEER, "allow.destinations = [\"203.0.113.0/24\"]"), "");
    assert!(daemon.cli(&["reload"]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "guarded"), (outside, "guarded")]);
    let rules = |history: Vec<serde_json::Value>| {
        let told = history.into_iter().filter(|event| event["event"] == "not-enforced");
        told.map(|event| event["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rules(daemon.json(&["history"])), [outside.to_owned(), shown(NTP)]);
    daemon.configure(&peer("a", PEER, ""), "");
    assert!(daemon.cli(&["reload"]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed"), (outside, "installed")]);
    assert_eq!(daemon.json(&["status"])[0]["warnings"], serde_json::json!([]));
}
