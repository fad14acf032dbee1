//! Examples of files, and the errors of wrong ones.

use super::*;
use api::HumanDuration;
use std::collections::BTreeSet;
use std::path::Path;

const SMALLEST: &str = r#"
[router]
as = 65140
id = "192.0.2.10"

[[peer]]
name = "controller"
address = "192.0.2.1"
as = 65070

[dataplane]
backend = "nftables"
interfaces = ["swp*"]
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("f.toml")).map_err(|error| error.to_string())
}

#[test]
fn the_smallest_useful_file() {
    let config = parse(SMALLEST).unwrap();
    let peer = &config.peers[0];
    assert_eq!((peer.port, peer.passive, peer.hold_time), (179, false, HumanDuration::seconds(90)));
    assert_eq!(peer.families, [FamilyName::Ipv4, FamilyName::Ipv6]);
    assert!(!peer.allow.without_destination);
    assert_eq!(config.dataplane.on_exit, OnExit::Remove);
}

#[test]
fn errors_say_where_what_and_what_was_meant() {
    let cases = [
        (
            "[dataplane]\nbackend = \"nftables\"",
            "[dataplane]\nbackend = \"nftable\"",
            "f.toml:12:11: unknown value `nftable`; did you mean `nftables`? Expected one of `nftables`, `",
        ),
        ("interfaces", "interface", "f.toml:13:1: unknown key `interface`; did you mean `interfaces`?"),
        (
            "[\"swp*\"]",
            "[\"!p0\", \"vlan[0-9]*\"]",
            "f.toml:13:22: `vlan[0-9]*` matches no interface; there are only `*`",
        ),
        ("[\"swp*\"]", "[\"p0\", \"!p0\"]", "f.toml:13:15: `!p0` takes out all that `p0` matches"),
        (
            "[\"swp*\"]",
            "[\"swp*\"]\n[protect]\npresets = [\"bgpp\"]",
            "f.toml:15:12: `bgpp` is not a preset; did you mean `bgp`?",
        ),
        (
            "as = 65140",
            "as = \"x\"",
            "f.toml:3:6: invalid type: string \"x\", expected an AS number from 1 to 4294967295",
        ),
        ("[\"swp*\"]", "[\"swp*\"]\n[protect]\nsources = [\"0.0.0.0/0\"]", "f.toml:15:12: 0.0.0.0/0 is all there is"),
        ("[\"swp*\"]", "[\"swp*\"]\n[protect]\npresets = [\"mld from 192.0.2.1\"]", "f.toml:15:12: mld is not spoken"),
        ("as = 65140\n", "", "f.toml:2:1: missing key `as`"),
        ("id = \"192.0.2.10\"", "id = \"192.0.2\"", "f.toml:4:6: `192.0.2` is not an IPv4 address"),
        ("id = \"192.0.2.10\"", "id = \"0.0.0.0\"", "f.toml:4:6: a router id is not 0.0.0.0"),
        ("as = 65070", "as = 0", "f.toml:9:6: 0 is not an AS number"),
        ("as = 65070", "as = 65070\nhold-time = 2", "f.toml:10:13: a hold time is 0 or at least 3 seconds"),
        ("as = 65070", "as = 65070\nhold-time = \"1x\"", "f.toml:10:13: `1x` is not a duration"),
        (
            "as = 65070",
            "as = 65070\nallow.max-lifetime = \"18446744073709551615s\"",
            "f.toml:10:22: `18446744073709551615s` is too long; expected at most 100 years (36500d)",
        ),
        (
            "as = 65070",
            "as = 65070\nhold-on-loss = 9223372036854775807",
            "f.toml:10:16: `9223372036854775807s` is too long; expected at most 100 years (36500d)",
        ),
        (
            "as = 65070",
            "as = 65070\nttl-security = 0",
            "f.toml:10:16: expected true, false or a number of hops from 1 to 254",
        ),
        ("as = 65070", "as = 65070\nfamilies = [\"ipv5\"]", "f.toml:10:13: unknown value `ipv5`; did you mean `ipv4`?"),
        (
            "as = 65070",
            "as = 65070\n[[peer]]\nname = \"controller\"\naddress = \"192.0.2.2\"\nas = 1",
            "f.toml:11:8: a second peer `controller`",
        ),
        (
            "as = 65070",
            "as = 65070\n[[peer]]\nname = \"b\"\naddress = \"192.0.2.1\"\nas = 1",
            "f.toml:12:11: 192.0.2.1 is also the address of `controller`",
        ),
        ("as = 65070", "as = 65070\nsource = \"::1\"", "f.toml:10:10: ::1 cannot connect to 192.0.2.1"),
        (
            "as = 65070",
            "as = 65070\nallow = { validation = \"rfc9117\" }",
            "f.toml:10:24: validation needs unicast routes",
        ),
        ("as = 65070", "as = 65070\nallow.shortest-prefix-v4 = 33", "f.toml:10:28: an IPv4 prefix has at most 32 bits"),
        ("as = 65070", "as = 65070\nallow.max-lifetime = 0", "f.toml:10:22: rules with a lifetime of 0 s"),
        (
            "[dataplane]",
            "[api]\nlisten = [\"127.0.0.1:80\"]\n[protect]\nprefixes = 3\n[dataplane]",
            "f.toml:14:12: invalid type: integer `3`, expected a list, in square brackets",
        ),
        (
            "as = 65070",
            "as = \"65070\"",
            "f.toml:9:6: invalid type: string \"65070\", expected an AS number from 1 to 4294967295; did you mean `65070`?",
        ),
        (
            "[[peer]]",
            "[peer]",
            "f.toml:6:1: invalid type: a single table, expected one of a list; write its name as in [[peer]]",
        ),
        ("as = 65070", "as = 65070\nport = 0", "f.toml:10:8: 0 is not a port"),
        ("as = 65070", "as = 65070\nmax-rules = 0", "f.toml:10:13: with 0 no rule of the peer is ever installed"),
        (
            "\"192.0.2.1\"",
            "\"::ffff:192.0.2.1\"",
            "f.toml:8:11: ::ffff:192.0.2.1 is an IPv4 address in the form of another; did you mean `192.0.2.1`?",
        ),
        ("\"192.0.2.1\"", "\"fe80::1\"", "f.toml:8:11: fe80::1 is valid on one link only"),
        ("[dataplane]", "[dataplane]\ndebounce = \"20m\"", "f.toml:12:12: no rule would be enforced for so long"),
        (
            "[dataplane]",
            "[api]\nlisten = [\"0.0.0.0:80\"]\n[dataplane]",
            "f.toml:12:11: 0.0.0.0:80 is reachable from outside",
        ),
        ("[dataplane]", "[protect]\nports = [\"ssh\"]\n[dataplane]", "f.toml:12:10: `ssh` is not a port"),
        (
            "as = 65070",
            "as = 65070\nallow.destinations = [\"198.51.100.0/24\", \"203.0.113.1/24\"]",
            "f.toml:10:42: 203.0.113.1/24 has host bits set; did you mean `203.0.113.0/24`?",
        ),
        (
            "as = 65070",
            "as = 65070\nallow.destinations = [\"198.51.100/24\"]",
            "f.toml:10:23: `198.51.100/24` is not a prefix",
        ),
        (
            "backend = \"nftables\"\ninterfaces = [\"swp*\"]",
            "backend = \"cumulus\"\ninterfaces = [\"bond*\", \"swp1*\"]",
            "f.toml:13:24: the switch knows the wildcards `swp*` (all ports) and `bond*` (all bonds), and not `swp1*`",
        ),
        (
            "backend = \"nftables\"\ninterfaces = [\"swp*\"]",
            "backend = \"cumulus\"\ninterfaces = [\"swp*\", \"eth0\"]",
            "f.toml:13:23: the switch's hardware ignores rules on `eth0`",
        ),
        (
            "interfaces = [\"swp*\"]",
            "cumulus.asic = \"trident4\"",
            "f.toml:13:16: `trident4` is not a known ASIC; expected one of tomahawk, trident2, trident2+, trident3, helix4, spectrum1,",
        ),
        (
            "interfaces = [\"swp*\"]",
            "cumulus.release = 5.1",
            "f.toml:13:19: invalid type: floating point `5.1`, expected",
        ),
        (
            "backend = \"nftables\"",
            "backend = \"cumulus\"\ncumulus.reserve = 500",
            "f.toml:13:19: nothing is left of the table for IPv4 rules",
        ),
        ("[router]", "[router", "f.toml:2:8: "),
    ];
    let mut wrong = String::new();
    for (from, to, expected) in cases {
        let text = SMALLEST.replacen(from, to, 1);
        assert_ne!(text, SMALLEST, "{from}");
        let error = parse(&text).expect_err(to);
        if !error.starts_with(expected) {
            wrong.push_str(&format!("{to}\n  got:      {error}\n  expected: {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn several_mistakes_are_reported_at_once() {
    let error = parse(&SMALLEST.replace("192.0.2.10", "0.0.0.0").replace("65070", "0")).unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn a_secret_is_the_first_line_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("floodgate.toml");
    std::fs::write(dir.path().join("key"), "hush\nsecond line\n").unwrap();
    let key = format!("as = 65070\nmd5-file = {:?}", dir.path().join("key"));
    std::fs::write(&file, SMALLEST.replace("as = 65070", &key)).unwrap();
    assert_eq!(Config::load(&file).unwrap().peers[0].md5.as_deref(), Some("hush"));
    std::fs::remove_file(dir.path().join("key")).unwrap();
    assert!(Config::load(&file).unwrap_err().to_string().contains("md5-file of peer controller: cannot read"));
    let started = Config::load_to_start(&file).unwrap();
    let why = started.peers[0].md5_error.as_deref().unwrap();
    assert!(started.peers[0].md5.is_none() && why.contains("cannot read"), "{why}");
    std::fs::write(&file, SMALLEST.replace("as = 65070", &key).replace("65140", "0")).unwrap();
    assert!(Config::load_to_start(&file).is_err(), "any other mistake ends the start");
}

const MANUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/configuration.md");

#[test]
fn the_manuals_examples_are_right() {
    let manual = std::fs::read_to_string(MANUAL).unwrap();
    let examples: Vec<&str> = manual.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2);
    let cumulus = std::fs::read_to_string(MANUAL.replace("configuration.md", "cumulus.md")).unwrap();
    let switch = cumulus.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for example in examples.into_iter().chain([switch]) {
        parse(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

/// The rows of the tables of keys: section, key, default.
fn documented() -> Vec<(String, String, String)> {
    let manual = std::fs::read_to_string(MANUAL).unwrap();
    let (mut section, mut rows) = (String::new(), Vec::new());
    for line in manual.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            section = heading.split('`').nth(1).unwrap_or("").to_owned();
        } else if line.starts_with("| `") {
            let mut cells = line.split(" | ");
            let key = cells.next().and_then(|cell| cell.split('`').nth(1)).unwrap();
            rows.push((section.clone(), key.to_owned(), cells.next().unwrap_or("").to_owned()));
        }
    }
    rows
}

/// Serde lists all keys of a table when it is asked for an unknown one, so that no key can be
/// forgotten here.
#[test]
fn the_manual_has_every_key() {
    let documented: BTreeSet<String> =
        documented().iter().map(|(section, key, _)| format!("{section} {key}")).collect();
    let keys = sections::keys_of_sections().into_iter();
    let known: BTreeSet<String> = keys.map(|(section, key)| format!("{section} {key}")).collect();
    assert!(known.len() > 40, "{known:?}");
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "docs/manual/configuration.md has no row for {missing:?}; if one is a table, `sections` has to have it"
    );
    assert!(unknown.is_empty(), "docs/manual/configuration.md has rows for keys that there are not: {unknown:?}");
}

/// A file with the defaults of the manual has no effect.
#[test]
fn the_manuals_defaults_are_those_of_the_code() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for (section, key, default) in documented() {
        // Some have a value, as `90` or `[]` = any; others have text, also about what the value
        // depends on.
        let Some((value, rest)) = default.strip_prefix('`').and_then(|rest| rest.split_once('`')) else { continue };
        if !rest.is_empty() && !rest.starts_with(" = ") {
            continue;
        }
        let (anchor, place) = match section.as_str() {
            "[router]" => ("as = 65140\n", String::new()),
            "[[peer]]" => ("as = 65070\n", String::new()),
            "[peer.allow]" => ("as = 65070\n", "allow.".to_owned()),
            // They need other keys beside them, or mean something without any; tests of their own
            // have their defaults.
            "[peer.blackhole]" | "[peer.long-lived]" | "[[policy]]" | "[[policy.statement]]" | "[[token]]" => continue,
            other => ("", format!("{}.", other.trim_matches(['[', ']']))),
        };
        let small = SMALLEST.split("[dataplane]").next().unwrap();
        let line = format!("{anchor}{place}{key} = {value}\n");
        let text = small.replacen(anchor, &line, 1);
        let config = parse(&text).unwrap_or_else(|error| panic!("{section} {key} = {value}: {error}"));
        if config != parse(small).unwrap() {
            wrong.push(format!("{section} {key} is not {value}"));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "as the manual says, without the key: {wrong:?}");
    assert!(compared > 30, "{compared}");
}

#[test]
fn validation_by_the_only_router_is_said_to_check_little() {
    let advice = |peers: &str| {
        let text = SMALLEST.replacen("as = 65070", peers, 1);
        parse(&text).unwrap().advice().join("\n")
    };
    let validated = "allow.validation = \"rfc9117\"\nfamilies = [\"ipv4\", \"ipv4-unicast\"]";
    let internal = advice(&format!("as = 65140\n{validated}"));
    assert!(internal.contains("checks little") && internal.contains("may filter any destination"), "{internal}");
    let named = advice(&format!("as = 65140\nallow.destinations = [\"192.0.2.0/24\"]\n{validated}"));
    assert!(named.contains("checks little") && !named.contains("may filter any destination"), "{named}");
    let router = "[[peer]]\nname = \"router\"\naddress = \"192.0.2.7\"\nas = 65140\nfamilies = [\"ipv4-unicast\"]\nallow.destinations = [\"192.0.2.0/24\"]";
    for other in [advice(&format!("as = 65140\n{validated}\n{router}")), advice(&format!("as = 65070\n{validated}"))] {
        assert!(!other.contains("checks little") && !other.contains("may filter any destination"), "{other}");
    }
}

#[test]
fn blackholes_and_statements_have_the_defaults_of_the_manual() {
    use engine::import_policy::{RouteCommunity, Trigger};
    let text = format!("{SMALLEST}\n[[policy]]\nname = \"a\"\n[[policy.statement]]\nlifetime = \"1h\"\n").replacen(
        "as = 65070\n",
        "as = 65070\nfamilies = [\"ipv4-unicast\"]\nallow.destinations = [\"198.51.100.0/24\"]\n[peer.blackhole]\n",
        1,
    );
    let config = parse(&text).unwrap();
    let blackhole = config.peers[0].blackhole.as_ref().unwrap();
    assert_eq!(blackhole.destination_triggers(), [Trigger::Community(RouteCommunity::BLACKHOLE)]);
    assert!(blackhole.source.is_empty() && blackhole.both.is_empty() && blackhole.sources.is_empty());
    assert_eq!((blackhole.shortest_prefix_v4, blackhole.shortest_prefix_v6), (32, 128));
    assert_eq!((config.policies[0].peers.as_ref(), config.policies[0].statements[0].then), (None, None));
    assert_eq!(config.peers[0].allow_own_as, 0);
}
