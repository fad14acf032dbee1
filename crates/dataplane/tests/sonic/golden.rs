//! The database contents, octet for octet. The golden files are in `tests/golden/sonic`; after an
//! intended change, `FLOODGATE_GOLDEN=write cargo test -p dataplane --test sonic` writes them
//! again.

use super::switch::{discards, ruleset};
use dataplane::RuleFailure;
use dataplane::sonic::{Database, Settings, preview};
use flowspec::{Rule, Space};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// One of each kind that every release can do, in no order.
const RULES: &[&str] = &[
    "dst 192.0.2.1/32 proto udp sport 123 then discard",
    "dst 192.0.2.1/32 proto tcp tcp-flags syn&!ack then discard",
    "dst 192.0.2.0/24 port 53 then discard",
    "dst 192.0.2.2/32 proto tcp dport 443,8000-8002 then accept",
    "dst 192.0.2.2/32 proto tcp then discard",
    "dst 192.0.2.3/32 icmp-type 3,11 then discard",
    "dst 192.0.2.5/32 proto 47,50 then discard",
    "src 198.51.100.0/24 then discard",
    "dst 2001:db8::1/128 proto udp sport 123 then discard",
    "dst 2001:db8::/32 then discard",
];

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sonic").join(name);
    if std::env::var_os("FLOODGATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).expect(name);
    assert!(text == expected, "{name} is now:\n{text}\nand was:\n{expected}");
}

fn strings(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

#[test]
fn what_is_written_is_that_of_the_golden_files() {
    let oldest =
        Settings { interfaces: vec!["Ethernet0".to_owned(), "PortChannel1".to_owned()], ..Settings::default() };
    let mut rules = ruleset(&strings(RULES), &oldest);
    let protected = ["dst 192.0.2.100/32 then accept", "src 198.51.100.7/32 proto tcp dport 179 then accept"];
    rules.protected = Arc::new(protected.iter().map(|text| Space::of(&text.parse::<Rule>().unwrap().nlri)).collect());
    golden("appl-oldest.txt", &preview(&rules, &oldest).text);
    let newest = Settings {
        release: "2026-08-01".parse().unwrap(),
        ranges: true,
        dscp: true,
        policers: true,
        ..Settings::default()
    };
    let more = [
        "dst 192.0.2.1/32 proto udp dport 1024-65535 then discard",
        "dst 192.0.2.4/32 dscp 8-15 then discard",
        "dst 192.0.2.6/32 proto udp then rate 8mbps",
        "dst ::1:0:0:0/64-80 src 2001:db8::/32 then discard",
    ];
    golden("appl-newest.txt", &preview(&ruleset(&strings(&more), &newest), &newest).text);
    let config = Settings { database: Database::Config, ..newest };
    golden("config.txt", &preview(&ruleset(&strings(&more[..2]), &config), &config).text);
}

#[test]
fn neighbour_discovery_comes_first_where_a_rule_would_touch_it() {
    let settings = Settings::default();
    let of = |rule: &str| preview(&ruleset(&strings(&[rule]), &settings), &settings);
    assert_eq!(of("ipv6 dst 2001:db8::/32 then discard").neighbor_discovery, 5);
    assert_eq!(of("ipv6 dst 2001:db8::/32 proto udp then discard").neighbor_discovery, 0);
    assert_eq!(of("ipv6 dst 2001:db8::/32 then accept").neighbor_discovery, 0);
}

#[test]
fn what_has_no_room_stays_out_with_what_it_exempts() {
    let settings = Settings { max_entries: Some(3), ..Settings::default() };
    let rules = strings(&[
        "dst 192.0.2.1/32 proto udp sport 1-4 then accept",
        "dst 192.0.2.1/32 proto udp then discard",
        "dst 192.0.2.2/32 proto tcp then discard",
    ]);
    let preview = preview(&ruleset(&rules, &settings), &settings);
    assert_eq!((preview.entries, preview.failures.len()), ((1, 0), 2));
    assert!(preview.failures.iter().all(|(_, failure)| matches!(failure, RuleFailure::OverCapacity(_))));
}

#[test]
fn compile_of_thousands_of_rules_is_quick() {
    let settings = Settings { max_entries: Some(16_000), ..Settings::default() };
    let one_victim = discards(12_500);
    let victims: Vec<String> = (0..12_500u32)
        .map(|n| format!("dst 10.{}.{}.{}/32 proto udp sport 53 then discard", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    for (name, rules) in [("one victim", one_victim), ("a victim each", victims)] {
        let rules: Vec<Rule> = rules.iter().map(|text| text.parse().unwrap()).collect();
        let begun = Instant::now();
        let capabilities = dataplane::sonic::capabilities(&settings);
        let compiled = engine::compile::compile_list(&rules, &capabilities);
        let compile = begun.elapsed();
        let exact = compiled.into_iter().map(|verdict| match verdict {
            engine::compile::Verdict::Exact(rule) => Arc::new(rule),
            engine::compile::Verdict::Refused(refusal) => panic!("{refusal}"),
        });
        let mut exact: Vec<_> = exact.collect();
        exact.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        let begun = Instant::now();
        let preview = preview(&engine::plan::Ruleset { protected: Arc::default(), rules: exact }, &settings);
        println!("{name}: 12,500 rules compiled in {compile:?}, placed and written out in {:?}", begun.elapsed());
        assert_eq!(preview.entries, (12_500, 0));
    }
}
