//! The reference pages of the manual are generated from the code. `UPDATE=1` writes them.
//!
//! Generated text in a page is between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; the
//! rest is written by hand.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::command_line::Cli;
use api::{
    AttachmentMode, AttachmentView, EventKind, Named, PeakView, PeerView, RateView, RuleState, RuleView, StatusView,
    TrafficView, Verdict,
};
use clap::CommandFactory;
use daemon::metrics::{Busiest, BusyRule, Exposition, Snapshot};

fn manual(page: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual")).join(page)
}

/// Compares, or with `UPDATE=1` replaces, the part of a page that has this name.
fn assert_page(page: &str, name: &str, made: &str) {
    let path = manual(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end of {name} -->"));
    let place = text.find(&begin).zip(text.find(&end));
    let (start, end) = place.unwrap_or_else(|| panic!("{page} has no part `{name}`"));
    let start = start + begin.len();
    let made = format!("\n{}\n\n", made.trim());
    if text[start..end] == made {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{}{made}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    panic!("docs/manual/{page} is not what the code makes; run this test with UPDATE=1. It should have\n{made}");
}

#[test]
fn commands() {
    let mut made = String::new();
    let mut whole = Cli::command();
    whole.build();
    for command in whole.get_subcommands_mut().filter(|command| command.get_name() != "help" && !command.is_hide_set())
    {
        let name = command.get_name().to_owned();
        let help = command.render_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        writeln!(made, "## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim()).unwrap();
    }
    assert_page("commands.md", "commands", &made);
}

#[test]
fn events() {
    let mut made = "| event | when |\n|---|---|\n".to_owned();
    for kind in EventKind::ALL {
        writeln!(made, "| `{kind}` <a id=\"{kind}\"></a> | {} |", kind.meaning()).unwrap();
    }
    assert_page("events.md", "events", &made);
}

#[test]
fn limits() {
    let mut made = String::new();
    for group in daemon::limits::groups() {
        writeln!(made, "### {}\n\n| what | limit | beyond it |\n|---|---|---|", group.name).unwrap();
        for limit in group.limits {
            writeln!(made, "| {} | {} | {} |", limit.what, limit.value, limit.beyond).unwrap();
        }
        made.push('\n');
    }
    let line = daemon::limits::octets(crate::input::MAX_LINE as usize);
    writeln!(made, "### Commands\n\n| what | limit | beyond it |\n|---|---|---|").unwrap();
    writeln!(made, "| octets of a line of a rules file, of hex or of JSON | {line} | an error of that line |").unwrap();
    assert_page("limits.md", "limits", &made);
}

/// A status in which each metric has a value.
fn everything() -> (StatusView, PeerView) {
    let status = StatusView {
        rules: [(RuleState::Installed.into(), 1)].into(),
        capacity: Some(1),
        dataplane_memory: Some(1),
        attachments: vec![AttachmentView {
            interface: "eth0".into(),
            mode: AttachmentMode::Native.into(),
            reason: None,
        }],
        statistics: [("truncated".to_owned(), 1)].into(),
        ..StatusView::default()
    };
    let peer = PeerView {
        name: "a".into(),
        malformed: [("nlri".to_owned(), 1)].into(),
        advertised: Some(1),
        ..PeerView::default()
    };
    (status, peer)
}

#[test]
fn metrics() {
    let (status, peer) = everything();
    let id = "dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id();
    let counter = dataplane::Counter { dropped_packets: Some(0), ..Default::default() };
    let rules = Some(Busiest { rules: vec![BusyRule { id, counter }], left_out: 0 });
    let told = |action: Verdict| TrafficView {
        action: Some(action.into()),
        dropped: Some(0),
        dropped_bytes: Some(0),
        passed: Some(0),
        passed_bytes: Some(0),
        ..all_traffic()
    };
    let traffic = vec![told(Verdict::Rate)];
    let snapshot = Snapshot { status, peers: vec![peer], traffic, rules, commit: "" };
    let text = daemon::metrics::render(&snapshot, Exposition::OpenMetrics).unwrap();
    let mut made = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let mut kinds = std::collections::BTreeMap::new();
    let mut helps = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name.to_owned(), kind.to_owned());
        } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.to_owned());
        }
    }
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = if kinds.contains_key(name) { name } else { name.trim_end_matches("_total") };
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
        let labels: Vec<String> =
            labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| format!("`{name}`")).collect();
        if seen.insert(family.to_owned()) {
            writeln!(made, "| `{name}` | {} | {} | {} |", kinds[family], labels.join(", "), helps[family]).unwrap();
        }
    }
    assert_eq!(seen.len(), kinds.len(), "each metric has a value in this test: {kinds:?}");
    assert_page("metrics.md", "metrics", &made);
}

/// What rules match, with all that can be told.
fn all_traffic() -> TrafficView {
    let (rate, peak) = (Some(RateView::default()), Some(PeakView::default()));
    let (peer, last_hit) = (Some("a".to_owned()), Some("2026-11-26T17:03:24.000Z".to_owned()));
    let (action, family) = (Some(Verdict::Rate.into()), Some(flowspec::Family::Ipv4.into()));
    TrafficView { peer, action, family, rate, peak, last_hit, ..TrafficView::default() }
}

/// A rule of which all can be told.
fn busy_rule() -> RuleView {
    let TrafficView { rate, peak, last_hit, .. } = all_traffic();
    let known = Some(1);
    let (notes, limits) = (vec![String::new()], vec![String::new()]);
    RuleView {
        notes,
        limits,
        advertised_to: vec![String::new()],
        dropped_bytes: known,
        passed: known,
        passed_bytes: known,
        rate,
        peak,
        last_hit,
        ..RuleView::default()
    }
}

/// With each field that may be left out.
fn explanation() -> api::Explanation {
    api::Explanation { described: Some(String::new()), ..api::Explanation::default() }
}

/// Every field of the API has a row in its page, and every row is about a field.
#[test]
fn fields_of_the_api() {
    let page = fs::read_to_string(manual("api.md")).unwrap();
    let (status, peer) = everything();
    let objects = [
        ("Status", serde_json::to_value(status).unwrap()),
        ("Peer", serde_json::to_value(peer).unwrap()),
        ("Rule", serde_json::to_value(busy_rule()).unwrap()),
        ("Traffic", serde_json::to_value(all_traffic()).unwrap()),
        ("Explanation", serde_json::to_value(explanation()).unwrap()),
        ("Sample", serde_json::to_value(api::SampleView::default()).unwrap()),
    ];
    for (object, value) in objects {
        let heading = format!("\n### {object}\n");
        let (_, part) = page.split_once(&heading).unwrap_or_else(|| panic!("api.md has no part {heading}"));
        let part = part.split_once("\n### ").map_or(part, |(part, _)| part);
        for field in value.as_object().unwrap().keys() {
            let row = |line: &str| {
                line.starts_with('|')
                    && line.split('|').nth(1).is_some_and(|names| names.contains(&format!("`{field}`")))
            };
            assert!(part.lines().any(row), "api.md, {object}: no row for `{field}`");
        }
        for row in part.lines().filter(|line| line.starts_with("| `")) {
            let names = row.split('|').nth(1).unwrap_or_default();
            for name in names.split('`').skip(1).step_by(2) {
                assert!(value.get(name).is_some(), "api.md, {object}: a row for `{name}`, which is not a field");
            }
        }
    }
}

/// Every state, and every kind of reason, has a row in its page.
#[test]
fn states() {
    let page = fs::read_to_string(manual("states.md")).unwrap();
    for state in RuleState::ALL {
        assert!(page.contains(&format!("| `{state}` |")), "states.md has no row for `{state}`");
    }
}

/// Other pages link to keys, and so do users.
#[test]
fn every_configuration_key_has_an_anchor() {
    let page = fs::read_to_string(manual("configuration.md")).unwrap();
    let mut section = String::new();
    for line in page.lines() {
        if line.starts_with('#') {
            section = line.split('`').nth(1).unwrap_or("").trim_matches(['[', ']']).replace('.', "-");
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            let anchor = format!("| `{key}` <a id=\"{section}-{key}\"></a> |");
            assert!(line.starts_with(&anchor), "configuration.md: the row of `{key}` should begin with {anchor}");
        }
    }
}
