//! `floodgate compile`: what a data plane would install.

use super::*;
use std::collections::BTreeSet;

#[test]
fn compile_for_a_data_plane_that_can_do_everything() {
    let run = floodgate(&["compile", "--target", "none", "--json"], RULES);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let objects = run.objects();
    let order: Vec<_> = objects.iter().filter_map(|object| object["rule"].as_u64()).collect();
    assert_eq!(order, [1, 2, 0, 3, 4], "enforcement order (port before dport), in file numbering");
    assert!(objects[..5].iter().all(|object| object["verdict"] == "exact" && object["entries"] == 1));
    assert_eq!(objects[5]["program"], "");
}

#[test]
fn compile_says_what_a_limit_and_an_unknown_action_come_to() {
    let rules = "dst 192.0.2.1/32 then rate 800gbps\ndst 192.0.2.2/32 then rate 100mbps\n\
                 dst 192.0.2.3/32 then community 800b000000000001\n";
    let run = floodgate(&["compile", "--target", "nftables"], rules);
    assert_eq!(run.status, 0, "{}", run.stderr);
    for text in [
        "note: its rate is above the 128 Gbit/s that nftables can count: nothing is limited",
        "note: community 800b000000000001 is not a known action",
        "limit rate over 12500000 bytes/second",
        "a limit in bytes lets one unit of time of its rate and the burst through at once",
        "accepted before any rule: IPv6 neighbour discovery",
    ] {
        assert!(run.stdout.contains(text), "{text}\n{}", run.stdout);
    }
    assert!(!run.stdout.contains("16000000000"), "{}", run.stdout);
    let notes = floodgate(&["compile", "--target", "xdp", "--json"], rules);
    let notes: Vec<_> = notes.objects().iter().map(|line| line["notes"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(notes, [0, 0, 1, 0], "XDP can count any rate");
}

#[test]
fn compile_counts_a_rule_once() {
    let rules = "dst 192.0.2.1/32 then discard\ndst 192.0.2.1/32 then rate 1mbps\n\
                 dst 192.0.2.2/32 then sample continue\ndst 192.0.2.2/32 then discard\n";
    for target in ["none", "nftables"] {
        let run = floodgate(&["compile", "--json", "--target", target], rules);
        assert_eq!(run.status, 1, "{}", run.stderr);
        let objects = run.objects();
        let told: Vec<_> =
            objects[..4].iter().map(|line| (&line["rule"], &line["verdict"], &line["entries"])).collect();
        assert_eq!(told.iter().map(|line| line.0.as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(
            told.iter().map(|line| line.1.as_str().unwrap()).collect::<Vec<_>>(),
            ["exact", "exact", "exact", "refused"]
        );
        assert_eq!(told.iter().map(|line| line.2.as_u64().unwrap()).collect::<Vec<_>>(), [1, 0, 1, 0]);
        assert!(objects[1]["reason"].as_str().unwrap().contains("rule 0"), "{}", run.stdout);
    }
}

#[test]
fn compile_for_a_switch_shows_the_file_and_what_each_rule_costs() {
    let rules = "dst 192.0.2.1/32 proto udp sport 123 then discard\n\
                 dst 192.0.2.2/32 proto tcp dport !=80 then discard\n\
                 dst 192.0.2.3/32 length >=512 then discard\n";
    let compile = ["compile", "--target", "cumulus"];
    let run = floodgate(&[&compile[..], &["--json", "--asic", "trident3", "--release", "4.4"]].concat(), rules);
    assert_eq!(run.status, 1, "one is refused: {}", run.stderr);
    let objects = run.objects();
    let costs: Vec<_> = objects[..3].iter().map(|object| object["entries"].as_u64().unwrap()).collect();
    assert_eq!(costs, [1, 2, 0]);
    assert!(objects[2]["reason"].as_str().is_some_and(|why| why.contains("packet length")), "{}", objects[2]);
    let program = objects[3]["program"].as_str().unwrap();
    assert!(
        program.contains("\n-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --sport 123 -j DROP\n"),
        "{program}"
    );
    assert_eq!(
        (&objects[3]["room"]["ipv4"]["entries"], &objects[3]["room"]["ipv4"]["budget"]),
        (&3.into(), &724.into())
    );

    // On more ports than the table has room for.
    let ports = (1..=200).map(|n| format!("swp{n}")).collect::<Vec<_>>().join(",");
    let three = (1..=3).map(|n| format!("dst 192.0.2.{n}/32 proto udp then discard\n")).collect::<String>();
    let run = floodgate(&[&compile[..], &["--json", "--interfaces", &ports]].concat(), &three);
    assert_eq!(run.objects()[2]["entries"], 200);
    assert!(
        run.objects()[2]["over_capacity"].as_str().is_some_and(|why| why.contains("56 of 456 are left")),
        "{}",
        run.stdout
    );

    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "[router]\nas = 65140\nid = \"192.0.2.10\"\n[dataplane]\ninterfaces = [\"swp1\", \"bond*\"]\n[dataplane.cumulus]\nrelease = \"5.14\"\nasic = \"spectrum3\"\n";
    file.write_all(text.as_bytes()).expect("written");
    let run = floodgate(&[&compile[..], &["--config", file.path().to_str().expect("UTF-8")]].concat(), rules);
    assert!(run.stdout.contains("-t mangle -A PREROUTING --in-interface swp1,bond+ "), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("spectrum3: 6 of 12456 IPv4 entries"), "{}", run.stdout);

    assert!(run.stdout.contains("  chain: -t mangle -A PREROUTING (5.17)\n"), "{}", run.stdout);
    assert!(run.stdout.contains("  port range checkers: taken as unlimited (UNKNOWN)\n"), "{}", run.stdout);
    let run = floodgate(&[&compile[..], &["--json", "--asic", "tomahawk", "--release", "3.7"]].concat(), rules);
    let profile = run.objects()[3]["profile"].clone();
    let fact = |name: &str| profile.as_array().expect("facts").iter().find(|fact| fact["name"] == name).cloned();
    assert_eq!(fact("rules after a policer are evaluated").expect("a fact")["document"], "3.7");
    assert!(fact("comments in rules").expect("a fact")["document"].is_null(), "{profile}");

    for wrong in [&["--target", "cumulus", "--interfaces", "eth*"][..], &["--target", "nftables", "--asic", "trident2"]]
    {
        assert_eq!(floodgate(&[&["compile"], wrong].concat(), rules).status, 1, "{wrong:?}");
    }
    assert_eq!(floodgate(&[&compile[..], &["--asic", "trident9"]].concat(), rules).status, 2);
}

/// More rules of all kinds than any small table has room for: ports, ranges, limits, both IP
/// versions.
fn many_rules(count: usize) -> String {
    (0..count)
        .map(|n| {
            let (a, b) = (n / 250, n % 250 + 1);
            match n % 5 {
                0 => format!("dst 10.0.{a}.{b}/32 proto udp sport 123 then discard\n"),
                1 => format!("dst 10.0.{a}.{b}/32 proto tcp dport {}-{} then discard\n", 1000 + n, 1100 + n),
                2 => format!("dst 10.0.{a}.{b}/32 then rate 1mbps\n"),
                3 => format!("dst 2001:db8:{a}::{b}/128 proto udp dport 53,123 then discard\n"),
                _ => format!("dst 2001:db8:{a}::{b}/128 then discard\n"),
            }
        })
        .collect()
}

#[test]
fn compile_for_each_asic_and_release_stays_within_the_documented_figures() {
    for release in ["3.7", "4.4", "5.4", "5.9", "5.14", "5.17"] {
        for (asic, (atomic, non_atomic, default_rules)) in TABLES {
            for (mode, (v4, v6)) in [(&[][..], atomic), (&["--non-atomic"][..], non_atomic)] {
                let case = format!("{asic} {release} {mode:?}");
                // So many that a small table is full.
                let is_small = v4 < 1500;
                let rules = many_rules(if is_small { v4.max(v6) as usize } else { 200 });
                let arguments = ["compile", "--target", "cumulus", "--json", "--asic", asic, "--release", release];
                let run = floodgate(&[&arguments[..], mode].concat(), &rules);
                let objects = run.objects();
                let program = &objects[objects.len() - 1];
                let room = &program["room"];
                let number = |version: &str, what: &str| room[version][what].as_u64().expect("a number");
                let (taken4, taken6) = (number("ipv4", "entries"), number("ipv6", "entries"));
                // At least as many as of any ASIC that tells.
                let (default4, default6) = default_rules.unwrap_or((44, 44));
                assert!(taken4 + default4 <= v4, "{case}: {taken4} of {v4} for IPv4");
                assert!(taken6 == 0 || taken6 + default6 <= v6, "{case}: {taken6} of {v6} for IPv6");
                // Not the most of both together.
                let (budget4, budget6) = (v4.saturating_sub(default4), v6.saturating_sub(default6));
                assert!(budget6 == 0 || taken4 * budget6 + taken6 * budget4 <= budget4 * budget6, "{case}: {room}");
                // Each line of the file takes an entry at least, and one more for a second range.
                let text = program["program"].as_str().expect("a file");
                let (section4, section6) = text.split_once("[ip6tables]").expect("both sections");
                for (section, taken) in [(section4, taken4), (section6, taken6)] {
                    let lines: Vec<&str> = section.lines().filter(|line| line.starts_with('-')).collect();
                    let ranges = |line: &&str| line.split(' ').filter(|word| is_range(word)).count().max(1);
                    let entries: usize = lines.iter().map(ranges).sum();
                    assert_eq!(entries as u64, taken, "{case}");
                }
                let ranges: BTreeSet<&str> = text.split([' ', '\n']).filter(|word| is_range(word)).collect();
                if default_rules.is_some() {
                    assert!(ranges.len() <= 22, "{case}: 24 range checkers, of which the default rules take 2");
                }
                // It is full: what is left out is for want of room.
                let is_full = objects.iter().any(|line| line["over_capacity"].is_string());
                assert!(is_full || !is_small, "{case}: {room}");
            }
        }
    }
}

/// Such as `1000:1100`; an IPv6 address is none.
fn is_range(word: &str) -> bool {
    word.split_once(':').is_some_and(|(first, last)| first.parse::<u16>().is_ok() && last.parse::<u16>().is_ok())
}

#[test]
fn compile_shows_what_is_protected_as_the_daemon_would() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "[router]\nas = 65140\nid = \"192.0.2.10\"\n[[peer]]\nname = \"c\"\naddress = \"198.51.100.1\"\nport = 1179\nas = 65070\n\
                [protect]\naddresses = [\"192.0.2.10\"]\nports = [\"tcp/22\"]\nprefixes = [\"203.0.113.0/24\"]\n\
                [dataplane]\nbackend = \"cumulus\"\n[dataplane.cumulus]\nrelease = \"5.14\"\nasic = \"trident3\"\n";
    file.write_all(text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let rules = "dst 192.0.2.10/32 proto tcp then discard\n";
    let run = floodgate(&["compile", "--target", "cumulus", "--config", path], rules);
    let out = &run.stdout;
    assert!(out.contains("# never filtered\n"), "{out}{}", run.stderr);
    assert!(out.contains("never filtered: tcp/22 to 192.0.2.10, 1 entries"), "{out}");
    assert!(out.contains("never filtered: packets to 203.0.113.0/24 (no rule would touch it)"), "{out}");
    assert!(out.contains("-d 192.0.2.10/32 --dport 22 -j ACCEPT"), "{out}");
    // The session with the peer, from and to ports 179 and 1179, SSH, and the rule.
    assert!(out.contains("trident3: 6 of 724 IPv4 entries"), "{out}");
    let json = floodgate(&["compile", "--target", "cumulus", "--json", "--config", path], rules);
    let protected = json.objects()[1]["protected"].clone();
    let entries: u64 = protected.as_array().expect("items").iter().filter_map(|item| item["entries"].as_u64()).sum();
    assert_eq!(entries, 5, "{protected}");
}
