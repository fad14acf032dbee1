//! The policy file, octet for octet, and its cost. The golden files are in `tests/golden/cumulus`;
//! after an intended change, `FLOODGATE_GOLDEN=write cargo test -p dataplane --test cumulus` writes
//! them again.

use dataplane::cumulus::{Release, Settings, capabilities, cost, render};
use engine::compile::{Verdict, compile, compile_list};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::{Rule, Space};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One of each kind that the switch can do, in no order.
const RULES: &[&str] = &[
    "dst 192.0.2.1/32 proto udp sport 123 then discard",
    "dst 192.0.2.1/32 proto tcp tcp-flags syn&!ack then rate 1mbps",
    "dst 192.0.2.0/24 port 53 then discard",
    "dst 192.0.2.2/32 proto tcp dport !=80 then discard",
    "dst 192.0.2.2/32 proto tcp dport 443,8000-8080 then accept",
    "dst 192.0.2.3/32 icmp-type 8 icmp-code 0 then rate 100pps",
    "dst 192.0.2.3/32 icmp-type 3,11 then discard",
    "dst 192.0.2.4/32 dscp 46 then discard",
    "dst 192.0.2.5/32 proto 47,50 then discard",
    "src 198.51.100.0/24 then discard",
    "dst 2001:db8::1/128 proto udp sport 123 then discard",
    "dst 2001:db8::/32 icmp-type 128 then discard",
    "dst 2001:db8::2/128 src 2001:db8:1::/48 proto tcp dport 80 then accept",
];

fn compiled(texts: &[&str], settings: &Settings) -> Ruleset {
    let rules: Vec<Rule> = texts.iter().map(|text| text.parse().expect(text)).collect();
    let verdicts = compile_list(&rules, &capabilities(settings));
    let exact = verdicts.into_iter().zip(texts).map(|(verdict, text)| match verdict {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
    });
    let mut rules: Vec<Arc<CompiledRule>> = exact.collect();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cumulus").join(name);
    if std::env::var_os("FLOODGATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).expect(name);
    assert!(text == expected, "{name} is now:\n{text}\nand was:\n{expected}");
}

fn release(text: &str) -> Settings {
    Settings { release: text.parse().unwrap(), ..Settings::default() }
}

#[test]
fn the_articles_rule_looks_as_in_the_article() {
    let text =
        render(&compiled(&["dst 192.0.2.1/32 proto udp sport 123 then discard"], &release("3.7")), &release("3.7"));
    assert!(text.contains("[iptables]\n# "), "{text}");
    assert!(text.contains("\n-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --sport 123 -j DROP\n"), "{text}");
}

#[test]
fn of_a_release_that_filters_forwarded_packets() {
    for name in ["3.7", "4.4"] {
        let settings = release(name);
        golden(&format!("release-{name}.rules"), &render(&compiled(RULES, &settings), &settings));
    }
}

#[test]
fn of_a_release_that_filters_before_routing() {
    let interfaces = vec!["swp1".to_owned(), "bond+".to_owned()];
    let texts = ["dst 192.0.2.1/32 proto udp sport 123 then discard", "dst 192.0.2.9/32 then mark 46"];
    let mut settings = Settings { interfaces, ..release("5.0") };
    golden("release-5.0-interfaces.rules", &render(&compiled(&texts, &settings), &settings));
    settings = release("5.14");
    let texts = [
        &[
            "dst 192.0.2.9/32 fragment is-fragment then discard",
            "dst 192.0.2.8/32 then mark 10",
            "dst 192.0.2.7/32 proto tcp tcp-flags ece then discard",
            "dst 192.0.2.7/32 proto tcp tcp-flags syn&ece&cwr then discard",
            "dst 2001:db8::3/128 then discard",
        ],
        RULES,
    ]
    .concat();
    let protected = ["dst 192.0.2.100/32 then accept", "src 192.0.2.101/32 proto tcp dport 179 then accept"];
    let protected = protected.iter().map(|text| Space::of(&text.parse::<Rule>().unwrap().nlri)).collect();
    let rules = Ruleset { protected: Arc::new(protected), ..compiled(&texts, &settings) };
    golden("release-5.14.rules", &render(&rules, &settings));
}

#[test]
fn what_the_hardware_cannot_do_is_refused() {
    for (rule, settings, name) in [
        ("dst 192.0.2.1/32 length >=512 then discard", release("5.14"), "field"),
        ("dst 192.0.2.1/32 fragment first-fragment then discard", release("5.14"), "fragment-kinds"),
        ("dst 192.0.2.1/32 fragment is-fragment then discard", release("5.9"), "field"),
        ("dst 2001:db8::/32 fragment is-fragment then discard", release("5.14"), "field"),
        ("dst 192.0.2.1/32 tcp-flags ece then discard", release("4.4"), "tcp-flag-bits"),
        ("dst 192.0.2.1/32 tcp-flags !ece then discard", release("5.14"), "tcp-flag-bits"),
        ("dst 2001:db8::/32 tcp-flags ece then discard", release("5.14"), "tcp-flag-bits"),
        ("dst 192.0.2.1/32 tcp-flags 0x100 then discard", release("5.14"), "tcp-flag-bits"),
        ("dst 192.0.2.1/32 proto 0 then discard", release("5.14"), "value"),
        ("dst 192.0.2.1/32 icmp-type 255 then discard", release("5.14"), "value"),
        ("dst 192.0.2.1/32 icmp-code 1 then discard", release("5.14"), "value"),
        ("dst 192.0.2.1/32 then mark 46", release("4.4"), "action"),
        ("dst 192.0.2.1/32 then rate 1mbps mark 46", release("5.14"), "several-actions"),
        ("dst 192.0.2.1/32 port 53 then rate 1mbps", release("5.14"), "shared-policer"),
        ("dst 192.0.2.1/32 then redirect 65000:100", release("5.14"), "action"),
        ("dst 192.0.2.1/32 then sample", release("5.14"), "action"),
        ("dst 192.0.2.1/32 then discard continue", release("5.14"), "action"),
        ("dst 2001:db8::1/128 label 5 then discard", release("5.14"), "field"),
        (
            "dst 2001:db8::1/128 then discard",
            Settings { asic: "spectrum1-ip-acl-heavy".parse().unwrap(), ..release("5.14") },
            "ipv6",
        ),
        (
            "dst 192.0.2.1/32 then rate 1mbps",
            Settings { interfaces: vec!["swp1".to_owned(), "swp2".to_owned()], ..release("5.14") },
            "action",
        ),
    ] {
        match compile(&rule.parse().expect(rule), &capabilities(&settings)) {
            Verdict::Exact(compiled) => panic!("{rule}: {compiled:?}"),
            Verdict::Refused(refusal) => assert_eq!(refusal.kind.name(), name, "{rule}: {refusal}"),
        }
    }
}

#[test]
fn a_refusal_says_which_release_could() {
    for (text, name, words) in [
        (
            "dst 192.0.2.1/32 fragment is-fragment then discard",
            "5.4",
            "fragment cannot be matched by cumulus before 5.10 (IPv4)",
        ),
        ("dst 192.0.2.1/32 then mark 46", "4.4", "marking cannot be done by cumulus before 5.0"),
        ("dst 192.0.2.1/32 length 40 then discard", "5.4", "packet length cannot be matched by cumulus"),
        ("dst 2001:db8::/32 fragment is-fragment then discard", "5.14", "fragment cannot be matched by cumulus"),
    ] {
        match compile(&text.parse().expect(text), &capabilities(&release(name))) {
            Verdict::Refused(refusal) => assert_eq!(refusal.to_string(), words),
            Verdict::Exact(_) => panic!("{text} on {name}"),
        }
    }
}

#[test]
fn entries_are_counted_before_they_are_installed() {
    let count = |rule: &str, settings: &Settings| cost(&compiled(&[rule], settings).rules[0], settings);
    let one = release("5.14");
    let three = Settings { interfaces: ["swp1", "swp2", "swp3"].map(str::to_owned).to_vec(), ..one.clone() };
    for (rule, entries) in [
        ("dst 192.0.2.1/32 proto udp sport 123 then discard", 1),
        ("dst 192.0.2.1/32 proto udp sport 1-1023 then discard", 1),
        ("dst 192.0.2.1/32 proto udp sport 1-1023 dport 1024-65535 then discard", 2),
        ("dst 192.0.2.1/32 proto udp dport !=80 then discard", 2),
        // Both protocols; as source port and as destination port.
        ("dst 192.0.2.1/32 port 53 then discard", 4),
        ("dst 192.0.2.1/32 proto udp port 53,123 then discard", 4),
        ("dst 192.0.2.1/32 proto udp port 53 sport 53 then discard", 1),
        ("dst 192.0.2.1/32 tcp-flags syn&!ack then discard", 1),
    ] {
        assert_eq!(count(rule, &one), entries, "{rule}");
        assert_eq!(count(rule, &three), 3 * entries, "{rule} on three interfaces");
    }
    assert_eq!(count("dst 192.0.2.1/32 then rate 1mbps", &one), 2);
}

#[test]
fn rates_are_rounded_up_to_what_the_policer_counts() {
    let settings = release("5.14");
    for (rate, expected) in [
        ("1mbps", "--set-mode KB --set-rate 125 --set-burst 32 "),
        ("1bps", "--set-mode KB --set-rate 1 --set-burst 16 "),
        ("100gbps", "--set-mode KB --set-rate 12500000 --set-burst 3125000 "),
        ("1000pps", "--set-mode pkt --set-rate 1000 --set-burst 250 "),
        ("1pps", "--set-mode pkt --set-rate 1 --set-burst 10 "),
    ] {
        let text = render(&compiled(&[&format!("dst 192.0.2.1/32 then rate {rate}")], &settings), &settings);
        assert!(text.replace('\n', " \n").contains(expected), "{rate}: {text}");
    }
}

#[test]
fn a_full_table_renders_quickly() {
    let settings = release("5.0");
    let texts: Vec<String> = (0..12_500)
        .map(|n| format!("dst 10.{}.{}.{}/32 proto udp sport 123 then discard", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    let rules = compiled(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &settings);
    let began = Instant::now();
    let text = render(&rules, &settings);
    let took = began.elapsed();
    println!("12,500 rules rendered in {took:?}, {} octets", text.len());
    assert_eq!(text.lines().filter(|line| line.starts_with('-')).count(), 12_500);
    // That it is linear; the figure is the benchmark's, which runs on a machine at rest.
    let limit = if cfg!(debug_assertions) { Duration::from_secs(60) } else { Duration::from_secs(2) };
    assert!(took < limit, "{took:?}");
    assert_eq!(Release::new(5, 0).to_string(), "5.0");
}
