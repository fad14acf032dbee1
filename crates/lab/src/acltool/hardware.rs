//! The "ASIC" part: what switchd takes of the kernel's rules, what that costs, and in which words it refuses.
//!
//! It is a file of the switch's directory, so that a test can see, change or lose it without touching the kernel's rules.

use super::rule::{Rule, Version};
use super::setting;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where it is kept.
const FILE: &str = "asic";

/// What is printed for a table that is too small.
const FULL: &str = "sync_acl hardware installation failed";

/// What is printed when the process behind /cumulus/switchd is gone: the words that the kernel has for it.
pub(super) const NO_SWITCHD: &str =
    "IOError: [Errno 107] Transport endpoint is not connected: '/cumulus/switchd/ctrl/acl/stop_stats_sync'";

/// Programs these rules and nothing else. The error is what stands in the brackets of `hw sync failed (...)`.
pub(super) fn program(switch: &Path, rules: &[Rule]) -> Result<(), String> {
    let number = |name, usual: u64| setting(switch, name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    // Rules on the management port are in the kernel alone.
    let seen: Vec<&Rule> = rules.iter().filter(|rule| !rule.is_ignored()).collect();
    let mut places: HashMap<(Version, &str, &str), u64> = HashMap::new();
    let mut ranges = BTreeSet::new();
    let first = number("number-from", 1);
    for rule in rules {
        let place = places.entry((rule.version, rule.table, &rule.chain)).or_insert(first);
        let cannot = |why: &str| format!("Cannot process {},{},{place},{why}", rule.version.tool(), rule.chain);
        if !rule.is_ignored() {
            for (name, reason) in [("refuse", true), ("refuse-unnamed", false)] {
                let Some(wanted) = setting(switch, name) else { continue };
                let (text, why) = wanted.split_once(" => ").unwrap_or((&wanted, "match not supported in hardware"));
                if rule.text.contains(text) {
                    return Err(if reason { cannot(why) } else { why.to_owned() });
                }
            }
            ranges.extend(rule.ranges.iter().cloned());
            if ranges.len() as u64 > number("ranges", u64::MAX) {
                return Err(cannot("no L4 port range checker left"));
            }
        }
        *place += 1;
    }
    let used = |version| seen.iter().filter(|rule| rule.version == version).map(|rule| rule.cost).sum::<u64>();
    if used(Version::V4) > number("capacity4", 500) || used(Version::V6) > number("capacity6", 250) {
        return Err(FULL.to_owned());
    }
    let mut text = String::new();
    for rule in seen {
        let _ = writeln!(text, "{} {} {} {}", rule.version.tool(), rule.table, rule.cost, rule.text.trim());
    }
    fs::write(switch.join(FILE), text).map_err(|error| error.to_string())
}

/// What is programmed, a rule a line.
pub(super) fn programmed(switch: &Path) -> String {
    fs::read_to_string(switch.join(FILE)).unwrap_or_default()
}

/// Nothing is programmed any more.
pub(super) fn lose(switch: &Path) -> std::io::Result<()> {
    fs::write(switch.join(FILE), "")
}

/// What `cl-resource-query` says of ACLs: lines as in the manual of 3.7.
pub(super) fn resources(switch: &Path) -> String {
    let programmed = programmed(switch);
    let used = |tool: &str, table: &str| -> u64 {
        let words = programmed.lines().map(|line| line.splitn(4, ' ').collect::<Vec<_>>());
        words
            .filter(|words| words[0] == tool && words[1] == table)
            .filter_map(|words| words[2].parse::<u64>().ok())
            .sum()
    };
    let mut text = String::new();
    let mut line = |name: &str, used: u64, most: u64, allocated: &str| {
        let _ = writeln!(
            text,
            "{:<32}{used:>9}, {:>3}% of maximum value {most:>6}{allocated}",
            name,
            used * 100 / most.max(1)
        );
    };
    let number = |name, usual: u64| setting(switch, name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    line("IPv4 route entries:", 4, 65536, "");
    for (table, tool, name, capacity) in [
        ("filter", "iptables", "Ingress ACL ipv4_mac filter table:", number("capacity4", 500)),
        ("filter", "ip6tables", "Ingress ACL ipv6 filter table:", number("capacity6", 250)),
        ("mangle", "iptables", "Ingress ACL ipv4_mac mangle table:", number("capacity4", 500)),
        ("mangle", "ip6tables", "Ingress ACL ipv6 mangle table:", number("capacity6", 250)),
    ] {
        line(name, used(tool, table), capacity, " (allocated: 256)");
    }
    line("ACL L4 port range checkers:", 2, 24, "");
    text
}
