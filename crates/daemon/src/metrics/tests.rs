use super::*;
use api::{AttachmentMode, AttachmentView, Verdict};
use dataplane::Counter;
use std::io::Write;
use std::process::{Command, Stdio};

fn attachment(interface: &str, mode: AttachmentMode, reason: Option<&str>) -> AttachmentView {
    AttachmentView { interface: interface.to_owned(), mode: mode.into(), reason: reason.map(str::to_owned) }
}

fn kind(peer: &str, action: Verdict, packets: u64, dropped: Option<u64>) -> TrafficView {
    TrafficView {
        peer: Some(peer.to_owned()),
        action: Some(action.into()),
        family: Some(flowspec::Family::Ipv6.into()),
        packets,
        dropped,
        passed: dropped.map(|dropped| packets - dropped),
        rules: 2,
        ..TrafficView::default()
    }
}

/// A snapshot in which each metric has a value; this is the name of a peer and of an interface.
fn snapshot(name: &str) -> Snapshot {
    let status = StatusView {
        version: "0.1.0".to_owned(),
        rules: [(RuleState::Installed.into(), 3)].into(),
        rules_uncounted: 4,
        applied: 7,
        capacity: Some(1),
        dataplane_memory: Some(1),
        attachments: vec![
            attachment(name, AttachmentMode::Generic, None),
            attachment("eth1", AttachmentMode::None, Some("gone")),
        ],
        statistics: [("truncated".to_owned(), 5)].into(),
        ..StatusView::default()
    };
    let peer = PeerView {
        name: name.to_owned(),
        state: SessionState::Established.into(),
        rules: 3,
        advertised: Some(2),
        malformed: [("nlri".to_owned(), 2), ("origin".to_owned(), 1)].into(),
        ..PeerView::default()
    };
    let id = "dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id();
    let counter = Counter { packets: 9, bytes: 900, dropped_packets: Some(9), dropped_bytes: Some(900) };
    Snapshot {
        status,
        peers: vec![peer],
        traffic: vec![kind(name, Verdict::Discard, 5, Some(5)), kind(name, Verdict::Rate, 8, None)],
        rules: Some(Busiest { rules: vec![BusyRule { id, counter }], left_out: 4 }),
        commit: "1a2b3c4d5e6f",
    }
}

#[test]
fn names_and_labels() {
    let text = render(&snapshot("a"), Exposition::OpenMetrics).unwrap();
    for line in [
        "floodgate_build_info{version=\"0.1.0\",commit=\"1a2b3c4d5e6f\"} 1",
        "floodgate_rules{state=\"installed\"} 3",
        "floodgate_rules{state=\"over-capacity\"} 0",
        "floodgate_rules_uncounted 4",
        "floodgate_applied_total 7",
        "floodgate_peer_up{peer=\"a\"} 1",
        "floodgate_peer_errors_total{peer=\"a\"} 3",
        "floodgate_peer_advertised_rules{peer=\"a\"} 2",
        "floodgate_dataplane_up 1",
        "floodgate_state_saved 1",
        "floodgate_dataplane_interface{interface=\"a\",mode=\"generic\"} 1",
        "floodgate_dataplane_interface{interface=\"eth1\",mode=\"none\"} 0",
        "floodgate_dataplane_packets_total{what=\"truncated\"} 5",
        "floodgate_rules_in_force{peer=\"a\",action=\"rate\",family=\"ipv6\"} 2",
        "floodgate_matched_packets_total{peer=\"a\",action=\"rate\",family=\"ipv6\"} 8",
        "floodgate_dropped_packets_total{peer=\"a\",action=\"discard\",family=\"ipv6\"} 5",
        "floodgate_rule_matched_packets_total{id=\"2d8b5a2d1d3e\"} 9",
        "floodgate_rules_without_series 4",
    ] {
        let line =
            line.replace("2d8b5a2d1d3e", &"dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id().to_string());
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    // What is not told has no series, and neither has what cannot be.
    assert!(!text.contains("floodgate_dropped_packets_total{peer=\"a\",action=\"rate\""), "{text}");
    assert!(!text.contains("floodgate_passed_packets_total{peer=\"a\""), "{text}");
    let none = render(&Snapshot { rules: None, ..snapshot("a") }, Exposition::OpenMetrics).unwrap();
    assert!(!none.contains("floodgate_rule_"), "{none}");
}

/// `promtool check metrics`; `None` without promtool.
fn promtool(text: &str) -> Option<String> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    Some(format!("{}{}", if output.status.success() { "" } else { "failed: " }, String::from_utf8_lossy(&words)))
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn promtool_finds_nothing() {
    let text = render(&snapshot("a"), Exposition::Text).unwrap();
    match promtool(&text) {
        Some(words) => assert_eq!(words, "", "{text}"),
        None => eprintln!("skipped: promtool is missing (Debian's package prometheus)"),
    }
}

#[test]
fn hostile_names_stay_one_label() {
    for name in [
        "a\"} 1\nfloodgate_dataplane_up 0\n#",
        "back\\slash\\",
        "quote\"",
        "new\nline",
        "# EOF",
        "\n# EOF\n",
        "ümläut\u{202e}\u{7f}\t",
        "{}",
        "",
    ] {
        let plain = render(&snapshot("a"), Exposition::Text).unwrap();
        for exposition in [Exposition::Text, Exposition::OpenMetrics] {
            let text = render(&snapshot(name), exposition).unwrap();
            let extra = usize::from(exposition == Exposition::OpenMetrics);
            assert_eq!(text.lines().count(), plain.lines().count() + extra, "{name:?}\n{text}");
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            assert!(text.contains(&format!("floodgate_peer_up{{peer=\"{escaped}\"}} 1\n")), "{name:?}\n{text}");
            assert!(text.lines().any(|line| line == "floodgate_dataplane_up 1"), "{name:?}");
        }
        if let Some(words) = promtool(&render(&snapshot(name), Exposition::Text).unwrap()) {
            assert_eq!(words, "", "{name:?}");
        }
    }
}
