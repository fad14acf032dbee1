//! The "ASIC" part: which of the kernel's rules switchd accepts, what they cost, and its error
//! messages.
//!
//! It is a file in the switch's directory, so that a test can read, change or remove it without
//! touching the kernel's rules.

use super::rule::{Rule, Version};
use super::setting::setting;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The file.
const FILE: &str = "asic";

/// The text in the brackets of `hw sync failed (...)`.
#[derive(Debug, thiserror::Error)]
pub(super) enum HardwareError {
    /// A rule that it identifies.
    #[error("Cannot process {tool},{chain},{place},{why}")]
    Rule {
        /// `iptables` or `ip6tables`.
        tool: &'static str,
        /// The rule's chain.
        chain: String,
        /// Its number in that chain.
        place: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A rule that it does not identify.
    #[error("{0}")]
    Unnamed(String),
    /// A table is too small.
    #[error("sync_acl hardware installation failed")]
    Full,
    /// switchd does not run. Its text is printed alone.
    #[error("{NO_SWITCHD}")]
    NoSwitchd,
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The text that is printed while switchd does not run. **It is our own: no document shows that of
/// cl-acltool.** It is known that cl-acltool opens this file before anything else that concerns the
/// hardware (according to an analysis of the cl-acltool of 2.5), that the file belongs to a FUSE
/// file system, and what Python prints when the process behind one is gone. Code that parses the
/// output must only rely on the text being unknown.
const NO_SWITCHD: &str =
    "IOError: [Errno 107] Transport endpoint is not connected: '/cumulus/switchd/ctrl/acl/stop_stats_sync'";

/// Programs exactly these rules.
pub(super) fn program(switch: &Path, rules: &[Rule]) -> Result<(), HardwareError> {
    let number = |name, usual: u64| setting(switch, name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    // Rules on the management port are only in the kernel.
    let seen: Vec<&Rule> = rules.iter().filter(|rule| !rule.is_ignored()).collect();
    let mut places: HashMap<(Version, &str, &str), u64> = HashMap::new();
    let mut ranges = BTreeSet::new();
    let first = number("number-from", 1);
    for rule in rules {
        let place = places.entry((rule.version, rule.table, &rule.chain)).or_insert(first);
        let cannot = |why: &str| {
            let (tool, chain) = (rule.version.tool(), rule.chain.clone());
            HardwareError::Rule { tool, chain, place: *place, why: why.to_owned() }
        };
        if !rule.is_ignored() {
            for (name, reason) in [("refuse", true), ("refuse-unnamed", false)] {
                let Some(wanted) = setting(switch, name) else { continue };
                let (text, why) = wanted.split_once(" => ").unwrap_or((&wanted, "match not supported in hardware"));
                if text.split('|').any(|piece| rule.text.contains(piece)) {
                    return Err(if reason { cannot(why) } else { HardwareError::Unnamed(why.to_owned()) });
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
        return Err(HardwareError::Full);
    }
    let mut text = String::new();
    for rule in seen {
        let _ = writeln!(text, "{} {} {} {}", rule.version.tool(), rule.table, rule.cost, rule.text.trim());
    }
    Ok(fs::write(switch.join(FILE), text)?)
}

/// The programmed rules, one a line.
pub(super) fn programmed(switch: &Path) -> String {
    fs::read_to_string(switch.join(FILE)).unwrap_or_default()
}

/// Removes all programmed rules.
pub(super) fn clear(switch: &Path) -> std::io::Result<()> {
    fs::write(switch.join(FILE), "")
}

/// The output of `cl-resource-query` for ACLs: lines as on the page of 3.7, of a Broadcom ASIC, or
/// from release 5.0 on as on the page of 5.10, of Spectrum.
pub(super) fn resources(switch: &Path, release: (u32, u32, u32)) -> String {
    let programmed = programmed(switch);
    let used = |tool: &str, table: &str| -> u64 {
        let words = programmed.lines().map(|line| line.splitn(4, ' ').collect::<Vec<_>>());
        words
            .filter(|words| words[0] == tool && words[1] == table)
            .filter_map(|words| words[2].parse::<u64>().ok())
            .sum()
    };
    if release >= (5, 0, 0) { spectrum(used) } else { broadcom(used, switch) }
}

fn broadcom(used: impl Fn(&str, &str) -> u64, switch: &Path) -> String {
    let number = |name, usual: u64| setting(switch, name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let mut text = String::new();
    let mut line = |name: &str, used: u64, most: u64, allocated: &str| {
        let part = used * 100 / most.max(1);
        let _ = writeln!(text, "{name:<32}{used:>9}, {part:>3}% of maximum value {most:>6}{allocated}");
    };
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

fn spectrum(used: impl Fn(&str, &str) -> u64) -> String {
    let mut text = "IPv4 route entries:                     0,   0% of maximum value  82720\nIngress ACL entries:                    0\n\
                    ACL Regions:                            4,   1% of maximum value    400\n"
        .to_owned();
    for (table, tool, version) in [
        ("filter", "iptables", "ipv4"),
        ("filter", "ip6tables", "ipv6"),
        ("mangle", "iptables", "ipv4"),
        ("mangle", "ip6tables", "ipv6"),
    ] {
        let name = format!("Ingress ACL {version} {table} table:");
        let used = used(tool, table);
        let _ = writeln!(text, "{name:<39}{used:>2}    18B : {used} 36B : 0 54B : 0 ");
    }
    text
}
