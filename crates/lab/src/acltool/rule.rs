//! A rule, as far as the hardware is documented to accept it, and what the kernel gets for it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The table's IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    /// The program for it, as messages name the table.
    pub(super) fn tool(self) -> &'static str {
        match self {
            Version::V4 => "iptables",
            Version::V6 => "ip6tables",
        }
    }
}

/// A rule with its lists expanded.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) version: Version,
    pub(super) table: &'static str,
    pub(super) chain: String,
    /// The text, with its lists expanded.
    pub(super) text: String,
    matches: Vec<String>,
    target: Vec<String>,
    /// Entries of the hardware's table.
    pub(super) cost: u64,
    /// Its ranges of ports: protocol, option, range.
    pub(super) ranges: Vec<(String, String, String)>,
    /// Interfaces that it names.
    interfaces: Vec<String>,
}

/// What the kernel gets for a rule.
#[derive(Debug, Default)]
pub(super) struct KernelLines {
    /// A chain to be created first.
    pub(super) chain: Option<String>,
    pub(super) lines: Vec<String>,
}

/// Why a rule is rejected.
#[derive(Debug)]
pub(super) enum RuleError {
    /// It has no match: that is not an error.
    NoMatch,
    /// The error text.
    Unsupported(String),
}

/// Match options of the hardware, with the number of their arguments.
const MATCHES: [(&str, usize); 15] = [
    ("--sport", 1),
    ("--dport", 1),
    ("--source-port", 1),
    ("--destination-port", 1),
    ("--sports", 1),
    ("--dports", 1),
    ("--tcp-flags", 2),
    ("--icmp-type", 1),
    ("--icmpv6-type", 1),
    ("--dscp", 1),
    ("--ttl", 1),
    ("--ttl-eq", 1),
    ("--hl-eq", 1),
    ("--dst-type", 1),
    ("--src-type", 1),
];

/// Match extensions that the hardware has.
const MODULES: [&str; 9] = ["tcp", "udp", "multiport", "icmp", "icmp6", "hl", "dscp", "ttl", "addrtype"];

/// The first release with each feature.
const COMMENTS: (u32, u32, u32) = (5, 9, 0);
const PREROUTING: (u32, u32, u32) = (5, 0, 0);
const FRAGMENTS: (u32, u32, u32) = (5, 10, 0);
const ECN: (u32, u32, u32) = (4, 4, 1);
/// From this release on, evaluation continues after a policer.
const POLICERS_GO_ON: (u32, u32, u32) = (4, 3, 0);

impl Rule {
    pub(super) fn read(version: Version, text: &str, release: (u32, u32, u32)) -> Result<Self, RuleError> {
        let mut rule = Rule {
            version,
            table: "filter",
            chain: String::new(),
            text: text.to_owned(),
            matches: Vec::new(),
            target: Vec::new(),
            cost: 1,
            ranges: Vec::new(),
            interfaces: Vec::new(),
        };
        let mut protocol = String::new();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| unsupported(format!("{word} needs a value")));
            match word {
                "-t" | "--table" => {
                    rule.table = match value()? {
                        "filter" => "filter",
                        "mangle" => "mangle",
                        other => return Err(unsupported(format!("table {other} not supported"))),
                    };
                }
                "-A" | "--append" => rule.chain = value()?.to_owned(),
                "-i" | "--in-interface" | "-o" | "--out-interface" => {
                    let name = value()?;
                    check_interface(name)?;
                    let short = if word.contains("-o") { "-o" } else { "-i" };
                    if short == "-o" && rule.chain == "INPUT" {
                        return Err(unsupported("output interface specified with INPUT chain".to_owned()));
                    }
                    rule.interfaces.push(name.to_owned());
                    rule.matches.extend([short.to_owned(), name.to_owned()]);
                }
                "-s" | "-d" | "--source" | "--destination" => {
                    let prefix = value()?;
                    check_prefix(version, prefix)?;
                    rule.matches.extend([word.to_owned(), prefix.to_owned()]);
                }
                "-p" | "--protocol" => {
                    value()?.clone_into(&mut protocol);
                    rule.matches.extend([word.to_owned(), protocol.clone()]);
                }
                "--ecn-tcp-ece" | "--ecn-tcp-cwr" if version == Version::V4 && release >= ECN => {
                    rule.matches.push(word.to_owned());
                }
                "-f" | "--fragment" if version == Version::V4 && release >= FRAGMENTS => {
                    rule.matches.push("-f".to_owned());
                }
                "-m" | "--match" => match value()? {
                    "comment" if release >= COMMENTS => rule.matches.extend(["-m".to_owned(), "comment".to_owned()]),
                    "ecn" if version == Version::V4 && release >= ECN => {
                        rule.matches.extend(["-m".to_owned(), "ecn".to_owned()]);
                    }
                    module if MODULES.contains(&module) => {
                        rule.matches.extend(["-m".to_owned(), module.to_owned()]);
                    }
                    other => return Err(unsupported(format!("match {other} not supported"))),
                },
                "--comment" => rule.matches.extend([word.to_owned(), value()?.to_owned()]),
                "-j" | "--jump" => rule.target = words.by_ref().map(str::to_owned).collect(),
                "!" => return Err(unsupported("inverse match not supported".to_owned())),
                option => {
                    let Some((_, count)) = MATCHES.iter().find(|(name, _)| *name == option) else {
                        return Err(unsupported(format!("option {option} not supported")));
                    };
                    rule.matches.push(option.to_owned());
                    for _ in 0..*count {
                        let value = words.next().ok_or_else(|| unsupported(format!("{option} needs a value")))?;
                        let ranges = value.split(',').filter(|value| value.contains(':'));
                        let ranges = ranges.map(|range| (protocol.clone(), option.to_owned(), range.to_owned()));
                        rule.ranges.extend(ranges);
                        rule.matches.push(value.to_owned());
                    }
                }
            }
        }
        rule.cost = (rule.ranges.len() as u64).max(1);
        rule.check(release)?;
        if rule.matches.is_empty() {
            return Err(RuleError::NoMatch);
        }
        Ok(rule)
    }

    fn check(&self, release: (u32, u32, u32)) -> Result<(), RuleError> {
        let chains: &[&str] = match self.table {
            "mangle" if release >= PREROUTING => &["PREROUTING", "POSTROUTING"],
            "mangle" => &["FORWARD"],
            _ => &["INPUT", "FORWARD", "OUTPUT"],
        };
        if !chains.contains(&self.chain.as_str()) {
            return Err(unsupported(format!(
                "chain {} of table {} not supported in this release",
                self.chain, self.table
            )));
        }
        match self.target.first().map(String::as_str) {
            Some("ACCEPT" | "DROP") if self.target.len() == 1 => Ok(()),
            Some("POLICE" | "SETQOS" | "SETCLASS" | "LOG" | "SPAN" | "ERSPAN" | "DSCP" | "TRICOLORPOLICE") => Ok(()),
            Some(other) => Err(unsupported(format!("target {other} not supported"))),
            None => Err(unsupported("no target specified".to_owned())),
        }
    }

    /// The hardware ignores rules on interfaces other than its ports.
    pub(super) fn is_ignored(&self) -> bool {
        self.interfaces.iter().any(|name| name == "lo" || name == "mgmt" || name.starts_with("eth"))
    }

    /// The rule's lines for iptables-restore. A target that an ordinary kernel lacks becomes a
    /// chain of its own, so that the rule stays one rule with one counter. `number` makes names
    /// unique.
    pub(super) fn kernel_lines(&self, number: usize, release: (u32, u32, u32)) -> KernelLines {
        let rule = |target: &str| format!("-A {} {} -j {target}", self.chain, self.matches.join(" "));
        match self.target.first().map(String::as_str) {
            Some("POLICE") => {
                let chain = format!("police{number}");
                let limited = self.limit(&chain);
                let lines = if release >= POLICERS_GO_ON {
                    vec![format!("-A {chain} --hashlimit-above {limited} -j DROP")]
                } else {
                    vec![format!("-A {chain} --hashlimit-upto {limited} -j ACCEPT"), format!("-A {chain} -j DROP")]
                };
                let lines = lines.iter().map(|line| line.replacen("--hashlimit", "-m hashlimit --hashlimit", 1));
                KernelLines { lines: lines.chain([rule(&chain)]).collect(), chain: Some(chain) }
            }
            Some("SETQOS") => {
                let chain = format!("mark{number}");
                let dscp = self.option("--set-dscp").unwrap_or("0");
                let lines =
                    [format!("-A {chain} -j DSCP --set-dscp {dscp}"), format!("-A {chain} -j ACCEPT"), rule(&chain)];
                KernelLines { lines: lines.to_vec(), chain: Some(chain) }
            }
            Some("ACCEPT" | "DROP") => KernelLines { lines: vec![rule(&self.target[0])], chain: None },
            // The others have no equivalent in this kernel and do not change what passes.
            _ => KernelLines::default(),
        }
    }

    /// The rate as options of hashlimit.
    fn limit(&self, name: &str) -> String {
        let number = |option: &str| self.option(option).and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
        let (rate, burst) = (number("--set-rate"), number("--set-burst"));
        if self.option("--set-mode") == Some("pkt") {
            // The maximum of hashlimit.
            let rate = rate.min(1_000_000);
            format!("{rate}/sec --hashlimit-burst {} --hashlimit-name {name}", burst.min(1_000_000))
        } else {
            // It requires a burst of at least a second, in kilobytes of 1,024 octets.
            let rate = rate.min(4_000_000);
            format!("{rate}kb/s --hashlimit-burst {}kb --hashlimit-name {name}", burst.clamp(rate, 4_000_000))
        }
    }

    fn option(&self, name: &str) -> Option<&str> {
        let at = self.target.iter().position(|word| word == name)?;
        self.target.get(at + 1).map(String::as_str)
    }
}

fn unsupported(reason: String) -> RuleError {
    RuleError::Unsupported(reason)
}

/// Ports, bonds and others by name; all ports and all bonds by a wildcard.
fn check_interface(name: &str) -> Result<(), RuleError> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if matches!(name, "swp+" | "bond+") || is_name(name) {
        Ok(())
    } else {
        Err(unsupported(format!("interface {name} not supported")))
    }
}

fn check_prefix(version: Version, text: &str) -> Result<(), RuleError> {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    let fits = match version {
        Version::V4 => address.parse::<Ipv4Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 32),
        Version::V6 => address.parse::<Ipv6Addr>().is_ok() && length.parse::<u8>().is_ok_and(|length| length <= 128),
    };
    if fits { Ok(()) } else { Err(unsupported(format!("invalid address {text}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, release: (u32, u32, u32)) -> Result<Rule, String> {
        Rule::read(Version::V4, text, release).map_err(|refused| match refused {
            RuleError::NoMatch => "without match".to_owned(),
            RuleError::Unsupported(reason) => reason,
        })
    }

    #[test]
    fn takes_what_the_manual_lists_and_no_more() {
        for (rule, release) in [
            ("-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --sport 123 -j DROP", (4, 4, 0)),
            ("-t mangle -A PREROUTING -i swp1 -p tcp --tcp-flags ACK,SYN,FIN,RST SYN -j DROP", (5, 0, 0)),
            ("-t mangle -A PREROUTING -i swp+ -m comment --comment x -f -d 192.0.2.1/32 -j DROP", (5, 10, 0)),
            ("-A FORWARD -i swp+ -p tcp -m tcp -m ecn --ecn-tcp-ece -j DROP", (4, 4, 1)),
            ("-A FORWARD -i eth0 -j DROP", (4, 4, 0)),
        ] {
            assert!(read(rule, release).is_ok(), "{rule}");
        }
        for (rule, release) in [
            ("-A FORWARD -i swp+ ! -p udp -j DROP", (4, 4, 0)),
            ("-A FORWARD -i swp+ -m length --length 1:100 -j DROP", (4, 4, 0)),
            ("-A FORWARD -i swp+ -m comment --comment x -j DROP", (4, 4, 0)),
            ("-A FORWARD -i swp+ -f -j DROP", (4, 4, 0)),
            ("-t mangle -A PREROUTING -i swp+ -f -j DROP", (5, 9, 0)),
            ("-t mangle -A PREROUTING -i swp+ -m comment --comment x -j DROP", (5, 8, 0)),
            ("-A FORWARD -i swp+ -p tcp -m ecn --ecn-tcp-ece -j DROP", (4, 4, 0)),
            ("-A FORWARD -i s+ -j DROP", (4, 4, 0)),
            ("-A FORWARD -i swp+ -j REJECT", (4, 4, 0)),
            ("-A FORWARD -i swp+ -j mychain", (4, 4, 0)),
            ("-t mangle -A PREROUTING -i swp+ -j DROP", (4, 4, 0)),
            ("-A INPUT -i swp1 -o swp2 -p tcp -j ACCEPT", (4, 4, 0)),
            ("-A FORWARD -j ACCEPT", (4, 4, 0)),
        ] {
            assert!(read(rule, release).is_err(), "{rule}");
        }
    }

    #[test]
    fn a_port_range_costs_an_entry() {
        let cost =
            |matches: &str| read(&format!("-A FORWARD -i swp+ -p udp {matches} -j DROP"), (4, 4, 0)).unwrap().cost;
        assert_eq!(cost("--sport 1"), 1);
        assert_eq!(cost("--sport 1:2"), 1);
        assert_eq!(cost("-m multiport --dports 1050:1051,1055:1056"), 2);
    }
}
