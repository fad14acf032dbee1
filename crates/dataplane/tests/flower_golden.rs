//! The filters of tc, word for word. The golden files are in `tests/golden/flower`; after an
//! intended change, `FLOODGATE_GOLDEN=write cargo test -p dataplane --test flower_golden` writes
//! them again.

use dataplane::flower::{Driver, Settings, capabilities, preview};
use engine::compile::{Verdict, compile_list};
use engine::plan::Ruleset;
use flowspec::{Rule, Space};
use std::path::Path;
use std::sync::Arc;

/// One of each kind, in no order. A driver has those that it takes.
const RULES: &[&str] = &[
    "dst 192.0.2.1/32 proto udp sport 123 then discard",
    "dst 192.0.2.1/32 proto tcp tcp-flags syn&!ack then discard",
    "dst 192.0.2.0/24 port 53 then discard",
    "dst 192.0.2.2/32 proto tcp dport 443,8000-8007 then accept",
    "dst 192.0.2.2/32 proto tcp then discard",
    "dst 192.0.2.3/32 icmp-type 3,11 then discard",
    "dst 192.0.2.4/32 dscp 8-15 then mark 46",
    "dst 192.0.2.5/32 proto 47,137 then discard",
    "dst 192.0.2.6/32 fragment is-fragment then discard",
    "dst 192.0.2.6/32 fragment !is-fragment then rate 1000pps",
    "dst 192.0.2.7/32 dport 80 then rate 8mbps",
    "dst 192.0.2.8/32 then sample discard",
    "src 198.51.100.0/24 then discard",
    "dst 2001:db8::1/128 proto udp sport 123 then discard",
    "dst 2001:db8::2/128 proto 6 then accept",
    "dst 2001:db8::/32 then discard",
];

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/flower").join(name);
    if std::env::var_os("FLOODGATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).expect(name);
    assert!(text == expected, "{name} is now:\n{text}\nand was:\n{expected}");
}

#[test]
fn filters_are_those_of_the_golden_files() {
    let space = |text: &str| Space::of(&text.parse::<Rule>().unwrap().nlri);
    let protected = ["dst 192.0.2.100/32 then accept", "src 198.51.100.7/32 proto tcp dport 179 then accept"];
    let protected = Arc::new(protected.map(space).to_vec());
    for driver in Driver::ALL {
        let settings = Settings { driver, interfaces: vec!["swp*".to_owned()], ..Settings::default() };
        let rules: Vec<Rule> = RULES.iter().map(|text| text.parse().unwrap()).collect();
        let mut exact: Vec<_> = compile_list(&rules, &capabilities(&settings))
            .into_iter()
            .filter_map(|verdict| match verdict {
                Verdict::Exact(rule) => Some(Arc::new(rule)),
                Verdict::Refused(_) => None,
            })
            .collect();
        exact.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        let preview = preview(&Ruleset { protected: protected.clone(), rules: exact }, &settings);
        assert!(preview.failures.is_empty(), "{driver}: {:?}", preview.failures);
        golden(&format!("{driver}.txt"), &preview.text);
    }
}
