//! The position of each rule of all policy files in the kernel's chains: cl-acltool identifies a
//! rule that the hardware refuses by its chain and its position there, which counts the rules of
//! all files.

use super::store::FILE;
use flowspec::IpVersion;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A line of a policy file as rules of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expansion {
    version: IpVersion,
    table: String,
    chain: String,
    /// Rules of the kernel that the line expands to in this chain.
    rules: usize,
}

/// The rule at a position of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleLocation {
    /// A rule of our file; the line, counted from 1.
    Ours(usize),
    /// A rule of another file; the file, its line counted from 1, and the rule.
    Other(PathBuf, usize, String),
}

/// The rules of one chain, in the kernel's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// Where each line's rules end, counted from 0, and the line's location.
    lines: Vec<(usize, RuleLocation)>,
}

impl Chain {
    /// Reads the policy files of a directory; `own` is the text of ours. Unreadable files are left
    /// out.
    pub(super) fn read(directory: &Path, own: &str, version: IpVersion, (table, chain): (&str, &str)) -> Self {
        let mut files: Vec<PathBuf> = fs::read_dir(directory)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "rules"));
        let ours = directory.join(FILE);
        if !files.contains(&ours) {
            files.push(ours.clone());
        }
        files.sort();
        let mut found = Chain::default();
        let is_in = |e: &Expansion| e.version == version && e.table == table && e.chain == chain;
        for path in files {
            if path == ours {
                found.file(own, is_in, |line, _| RuleLocation::Ours(line));
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.file(&text, is_in, |line, rule| RuleLocation::Other(path.clone(), line, rule.to_owned()));
            }
        }
        found
    }

    /// The rule at an index, counted from 0.
    pub(super) fn rule_at(&self, index: usize) -> Option<&RuleLocation> {
        let line = self.lines.partition_point(|(end, _)| *end <= index);
        self.lines.get(line).map(|(_, place)| place)
    }

    /// The index of the first rule of a line of ours, counted from 0.
    pub(super) fn first_index_of(&self, own_line: usize) -> Option<usize> {
        let at = self.lines.iter().position(|(_, place)| *place == RuleLocation::Ours(own_line))?;
        Some(at.checked_sub(1).map_or(0, |before| self.lines[before].0))
    }

    fn file(&mut self, text: &str, is_in: impl Fn(&Expansion) -> bool, place: impl Fn(usize, &str) -> RuleLocation) {
        let mut end = self.lines.last().map_or(0, |(end, _)| *end);
        for (number, line, expansions) in expansions(text) {
            let rules: usize = expansions.iter().filter(|e| is_in(e)).map(|expansion| expansion.rules).sum();
            if rules > 0 {
                end += rules;
                self.lines.push((end, place(number, line)));
            }
        }
    }
}

/// Number of different port ranges that rules of other files match.
pub(super) fn foreign_ranges(directory: &Path) -> u64 {
    let mut ranges = std::collections::BTreeSet::new();
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_policy = path.extension().is_some_and(|extension| extension == "rules");
        if !is_policy || path.file_name().is_some_and(|name| name == FILE) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.lines().map(str::trim).filter(|line| line.starts_with('-')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let behind = |options: &[&str]| {
                words.windows(2).filter(|pair| options.contains(&pair[0])).map(|pair| pair[1]).collect::<Vec<_>>()
            };
            let protocol = behind(&["-p", "--protocol"]).first().copied().unwrap_or_default();
            for (source, options) in [
                (true, ["--sport", "--source-port", "--sports"]),
                (false, ["--dport", "--destination-port", "--dports"]),
            ] {
                for range in
                    behind(&options).into_iter().flat_map(|list| list.split(',')).filter(|part| part.contains(':'))
                {
                    ranges.insert((protocol.to_owned(), source, range.to_owned()));
                }
            }
        }
    }
    ranges.len() as u64
}

/// Each rule of a file: its line, counted from 1, its text, and what it expands to.
fn expansions(text: &str) -> impl Iterator<Item = (usize, &str, Vec<Expansion>)> {
    let mut variables: HashMap<&str, String> = HashMap::new();
    let mut section = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        match line {
            "[iptables]" => section = Some(IpVersion::V4),
            "[ip6tables]" => section = Some(IpVersion::V6),
            _ if line.starts_with('[') => section = None,
            _ if line.starts_with('-') => {
                let expansions = section.map(|version| expand(line, version, &variables)).unwrap_or_default();
                return Some((index + 1, line, expansions));
            }
            _ => {
                if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                    variables.insert(name.trim(), value.trim().trim_matches('"').replace(' ', ""));
                }
            }
        }
        None
    })
}

fn expand(line: &str, version: IpVersion, variables: &HashMap<&str, String>) -> Vec<Expansion> {
    let mut chains = vec![String::new()];
    let mut table = "filter".to_owned();
    let mut rules = 1;
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        let many = matches!(
            word,
            "-i" | "--in-interface" | "-o" | "--out-interface" | "-s" | "--source" | "-d" | "--destination"
        );
        let is_chain = matches!(word, "-A" | "--append");
        let is_table = matches!(word, "-t" | "--table");
        if !many && !is_chain && !is_table {
            continue;
        }
        let value = words.next().unwrap_or_default();
        let value = value.strip_prefix('$').and_then(|name| variables.get(name)).map_or(value, String::as_str);
        if is_table {
            value.clone_into(&mut table);
        } else if is_chain {
            chains = value.split(',').map(str::to_owned).collect();
        } else {
            rules *= value.split(',').count();
        }
    }
    chains.into_iter().map(|chain| Expansion { version, table: table.clone(), chain, rules }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_all_files_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(
            path.join("00control_plane.rules"),
            "INTF = swp+\nCHAIN = INPUT,FORWARD\nMARTIANS = \"240.0.0.0/5, 127.0.0.0/8\"\n\n[iptables]\n\
             -A $CHAIN --in-interface $INTF -s $MARTIANS -j DROP\n-A INPUT -i swp1,swp2 -j ACCEPT\n\
             [ip6tables]\n-A FORWARD -i swp+ -p tcp -j ACCEPT\n[ebtables]\n-A FORWARD -p ARP -j ACCEPT\n",
        )
        .unwrap();
        fs::write(
            path.join("70mine.rules"),
            "[iptables]\n-t mangle -A FORWARD -i swp1 -j DROP\n-A FORWARD -i swp1 -j DROP\n",
        )
        .unwrap();
        fs::write(path.join("70mine.rules.bak"), "[iptables]\n-A FORWARD -i swp1 -j DROP\n").unwrap();
        let own = "# ours\n[iptables]\n-A FORWARD -i swp1,swp2 -d 192.0.2.1/32 -j DROP\n# a comment\n\
                   -A FORWARD -i swp1,swp2 -d 192.0.2.2/32 -j DROP\n[ip6tables]\n-A FORWARD -i swp1,swp2 -j DROP\n";
        let chain = Chain::read(path, own, IpVersion::V4, ("filter", "FORWARD"));
        let places: Vec<Option<&RuleLocation>> = (0..8).map(|index| chain.rule_at(index)).collect();
        let other = |name: &str, line, rule: &str| RuleLocation::Other(path.join(name), line, rule.to_owned());
        let first = other("00control_plane.rules", 6, "-A $CHAIN --in-interface $INTF -s $MARTIANS -j DROP");
        let last = other("70mine.rules", 3, "-A FORWARD -i swp1 -j DROP");
        let (third, fifth) = (RuleLocation::Ours(3), RuleLocation::Ours(5));
        let expected =
            [Some(&first), Some(&first), Some(&third), Some(&third), Some(&fifth), Some(&fifth), Some(&last), None];
        assert_eq!(places, expected);
        assert_eq!(
            (chain.first_index_of(3), chain.first_index_of(5), chain.first_index_of(4)),
            (Some(2), Some(4), None)
        );
        let six = Chain::read(path, own, IpVersion::V6, ("filter", "FORWARD"));
        assert!(
            matches!(six.rule_at(0), Some(RuleLocation::Other(..))) && six.rule_at(1) == Some(&RuleLocation::Ours(7))
        );
        assert_eq!(Chain::read(path, own, IpVersion::V4, ("mangle", "PREROUTING")).rule_at(0), None);
        fs::write(
            path.join("00control_plane.rules"),
            "[iptables]\n-A INPUT -p udp --dport bootps:bootpc -j ACCEPT\n-A INPUT -p tcp --dport bootps:bootpc -j ACCEPT\n\
             -A INPUT -p tcp --dport bootps:bootpc -j DROP\n-A INPUT -p tcp -m multiport --sports 1:2,9,20:30 -j ACCEPT\n",
        )
        .unwrap();
        assert_eq!(foreign_ranges(path), 4);
    }
}
