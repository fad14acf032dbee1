//! The history on disk: what is remembered of rules, over restarts and kills, and in which forms it
//! is told.

use super::*;
use serde_json::Value;

/// The incidents that these options choose, once there are so many.
fn incidents(daemon: &Daemon, count: usize, options: &[&str]) -> Vec<Value> {
    wait("incidents", || {
        let found = daemon.json(&[&["history", "--incidents"], options].concat());
        (found.len() == count).then_some(found)
    })
}

/// Waits until the only incident has ended, or not.
fn only(daemon: &Daemon, ended: bool) -> Value {
    wait("an incident", || {
        let found = daemon.json(&["history", "--incidents"]);
        (found.len() == 1 && found[0]["ended"].is_null() != ended).then(|| found[0].clone())
    })
}

#[test]
fn a_rule_is_remembered_with_who_asked_for_it_until_somebody_ends_it() {
    let daemon = Daemon::start("", "");
    assert!(daemon.cli(&["announce", NTP, "--for", "1h"]).status.success());
    let incident = only(&daemon, false);
    let user = daemon.json(&["history"]).pop().unwrap()["by"].clone();
    assert_eq!((&incident["text"], &incident["by"], &incident["peer"]), (&shown(NTP).into(), &user, &"local".into()));
    let id = incident["id"].as_str().unwrap();
    assert!(daemon.cli(&["withdraw", id]).status.success());
    let incident = only(&daemon, true);
    assert_eq!((&incident["end"], &incident["ended_by"]), (&"withdrawn".into(), &user));
    // Events are as before.
    assert_eq!(daemon.json(&["history"]).pop().unwrap()["event"], "withdrawn");
    // By its number and by the rule's id.
    let number = incident["number"].to_string();
    for which in [&*number, id] {
        let report = &daemon.json(&["report", which])[0];
        assert_eq!((&report["number"], &report["states"][0]["state"]), (&incident["number"], &"installed".into()));
        let markdown = daemon.cli(&["report", which, "--markdown"]);
        let markdown = String::from_utf8(markdown.stdout).unwrap();
        assert!(markdown.starts_with(&format!("# Incident {number}\n")), "{markdown}");
        let text = String::from_utf8(daemon.cli(&["report", which]).stdout).unwrap();
        assert!(text.contains(&format!("rule         {}", shown(NTP))), "{text}");
    }
    for nobody in ["99", "000000000000", "x"] {
        assert_eq!(daemon.cli(&["report", nobody]).status.code(), Some(1), "{nobody}");
    }
}

#[test]
fn incidents_are_found_by_what_they_were() {
    let daemon = Daemon::start("", "");
    for rule in [NTP, DNS, IPV6] {
        assert!(daemon.cli(&["announce", rule]).status.success());
    }
    let all = incidents(&daemon, 3, &[]);
    assert!(all.is_sorted_by_key(|incident| std::cmp::Reverse(incident["number"].as_u64())));
    let id = all[0]["id"].as_str().unwrap();
    for (options, count) in [
        (&["--rule", "192.0.2.1"][..], 1),
        (&["--rule", "192.0.2.0/24"], 2),
        (&["--rule", "2001:db8::/32"], 1),
        (&["--rule", "sport 123"], 1),
        (&["--rule", id], 1),
        (&["--rule", &id[..6]], 1),
        (&["--peer", "local"], 3),
        (&["--peer", "nobody"], 0),
        (&["--state", "installed"], 3),
        (&["--state", "refused"], 0),
        (&["--since", "1h"], 3),
        (&["--until", "1h"], 0),
        (&["--until", "2001-01-01"], 0),
        (&["-n", "2"], 2),
        (&["-n", "0"], 0),
    ] {
        let found = daemon.json(&[&["history", "--incidents"], options].concat());
        assert_eq!(found.len(), count, "{options:?}: {found:?}");
    }
    let wrong = daemon.cli(&["history", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`yesterday` is not a time"), "{wrong:?}");
    let csv = String::from_utf8(daemon.cli(&["history", "--csv"]).stdout).unwrap();
    assert_eq!((csv.lines().count(), csv.starts_with("\"number\",\"id\",\"rule\"")), (4, true), "{csv}");
    let table = String::from_utf8(daemon.cli(&["history", "--incidents"]).stdout).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn the_history_outlives_a_kill_and_a_damaged_file_costs_no_more_than_itself() {
    let mut daemon = Daemon::start("", "");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    let before = only(&daemon, false);
    daemon.signal("-KILL");
    daemon.ended();
    daemon.run();
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    // It is the same incident still.
    assert_eq!(only(&daemon, false)["number"], before["number"]);
    daemon.signal("-KILL");
    daemon.ended();
    std::fs::write(daemon.path("state.history"), "this is no database").unwrap();
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(daemon.path(&format!("state.history{end}")));
    }
    daemon.run();
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    assert_eq!(only(&daemon, false)["text"], shown(NTP));
    assert!(daemon.path("state.history.damaged").exists() && daemon.log().contains("the history is damaged"));
}

#[test]
fn without_a_history_all_else_is_as_it_is() {
    let daemon = Daemon::start("", "[history]\nfile = \"\"");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    let output = daemon.cli(&["history", "--incidents"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[history] file is empty"), "{output:?}");
    assert!(!daemon.path("state.history").exists());
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning_and_nothing_else() {
    let daemon = Daemon::start("", "[history]\nfile = \"/proc/history\"");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    wait("the warning", || {
        let warnings = daemon.json(&["status"])[0]["warnings"].to_string();
        warnings.contains("no history is written").then_some(())
    });
    assert!(daemon.cli(&["health"]).status.success());
}

#[test]
fn what_was_in_force_at_a_time_decides_about_a_packet_of_that_time() {
    let daemon = Daemon::start("", "");
    assert!(daemon.cli(&["announce", "dst 192.0.2.1/32 proto udp then discard"]).status.success());
    let incident = only(&daemon, false);
    let report = daemon.json(&["report", &incident["number"].to_string()]);
    let then = report[0]["states"][0]["time"].as_str().unwrap().to_owned();
    // Other actions since then, and gone in the end.
    assert!(daemon.cli(&["announce", "dst 192.0.2.1/32 proto udp then rate 1mbps"]).status.success());
    wait("the change", || {
        let report = daemon.json(&["report", &incident["number"].to_string()]);
        report[0]["states"].as_array().unwrap().iter().any(|change| change["state"] == "changed").then_some(())
    });
    assert!(daemon.cli(&["clear"]).status.success());
    only(&daemon, true);
    let verdict = |time: &str| {
        let answer = daemon.json(&["explain", "--at", time, "udp", "198.51.100.7:123", "192.0.2.1:4000"]);
        answer[0]["verdict"].clone()
    };
    assert_eq!(verdict(&then), "discard");
    assert_eq!(verdict("now"), "accept");
    assert_eq!(verdict("2001-01-01"), "accept");
    assert_eq!(daemon.cli(&["explain", "--at", "x", "udp", "198.51.100.7:1", "192.0.2.1:1"]).status.code(), Some(1));
}
