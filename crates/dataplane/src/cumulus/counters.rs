//! Counters of the installed rules, read from the kernel's listing.
//!
//! A line belongs to the rule that its comment names. Lines without comments are matched to rules
//! by their matches and their order.

use super::line::COMMENT;
use super::settings::Settings;
use crate::kernel::CounterLedger;
use crate::{Counter, DataplaneError};
use engine::plan::CompiledRule;
use flowspec::{IpVersion, Nlri, Policing, RuleId};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;

/// Counters that continue over reinstalls, each of which resets the kernel's counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ledger: CounterLedger,
}

impl Counters {
    /// Adds the kernel's current values.
    pub(super) fn read(&mut self, settings: &Settings, placed: &[Arc<CompiledRule>]) -> Result<(), DataplaneError> {
        self.add_listings(&listings(settings, placed)?, settings, placed);
        Ok(())
    }

    /// Adds the kernel's values. Returns how many of the rules were missing.
    pub(super) fn add_listings(
        &mut self,
        listings: &Listings,
        settings: &Settings,
        placed: &[Arc<CompiledRule>],
    ) -> usize {
        let mut missing = 0;
        for found in attributions(listings, settings, placed) {
            missing += found.missing;
            self.add_reading(found.counts);
        }
        missing
    }

    /// Adds values that were read in parallel with a run that has installed these rules since,
    /// unless they were read too late: after the run had reset the kernel's counters.
    pub(super) fn add_listings_before_reset(
        &mut self,
        listings: &Listings,
        settings: &Settings,
        placed: &[Arc<CompiledRule>],
    ) {
        let found: Vec<Attribution> = attributions(listings, settings, placed).collect();
        let is_less = |(nlri, now): (&Arc<Nlri>, &Counter)| self.ledger.is_less_than_last(nlri, now);
        let too_late = found.iter().any(|found| found.missing > 0 || found.counts.iter().any(is_less));
        if too_late {
            tracing::debug!("counters since the last reading are lost");
            return;
        }
        for found in found {
            self.add_reading(found.counts);
        }
    }

    fn add_reading(&mut self, counts: HashMap<Arc<Nlri>, Counter>) {
        for (nlri, now) in counts {
            self.ledger.read(&nlri, now);
        }
    }

    /// The kernel's counters start from zero; those of removed rules are dropped.
    pub(super) fn reinstalled(&mut self, placed: &[Arc<CompiledRule>]) {
        let placed: HashSet<&Nlri> = placed.iter().map(|rule| &*rule.nlri).collect();
        self.ledger.retain(|nlri| placed.contains(nlri));
        self.ledger.reset();
    }

    /// The counters of the rules in force.
    pub(super) fn of(&self, placed: &[Arc<CompiledRule>]) -> Vec<(Arc<Nlri>, Counter)> {
        let counter = |rule: &Arc<CompiledRule>| {
            let Counter { packets, bytes, .. } = self.ledger.total(&rule.nlri);
            let dropped = matches!(rule.effect.policing, Policing::Discard).then_some(packets);
            (Arc::clone(&rule.nlri), Counter::of_packets(packets, bytes, dropped))
        };
        placed.iter().map(counter).collect()
    }
}

/// Number of these rules that the kernel does not list.
pub(super) fn missing(settings: &Settings, placed: &[Arc<CompiledRule>]) -> Result<usize, DataplaneError> {
    let listings = listings(settings, placed)?;
    Ok(attributions(&listings, settings, placed).map(|found| found.missing).sum())
}

fn attributions<'a>(
    listings: &'a Listings,
    settings: &'a Settings,
    placed: &'a [Arc<CompiledRule>],
) -> impl Iterator<Item = Attribution> + use<'a> {
    listings.iter().map(move |(version, found)| {
        let rules = placed.iter().filter(|rule| rule.nlri.family().version() == *version);
        attribute(found, settings, rules)
    })
}

/// The kernel's listings of both IP versions.
pub(super) type Listings = Vec<(IpVersion, String)>;

/// The kernel's rules of the IP versions for which we have rules.
pub(super) fn listings(settings: &Settings, placed: &[Arc<CompiledRule>]) -> Result<Listings, DataplaneError> {
    let mut listings = Vec::new();
    for (version, program) in [IpVersion::V4, IpVersion::V6].into_iter().zip(&settings.save) {
        if !placed.iter().any(|rule| rule.nlri.family().version() == version && !rule.entries.is_empty()) {
            continue;
        }
        let table = if settings.release.filters_before_routing() { "mangle" } else { "filter" };
        let output = Command::new(program).args(["-c", "-t", table]).output();
        let output =
            output.map_err(|source| DataplaneError::Io { context: format!("run {}", program.display()), source })?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DataplaneError::Refused(format!("{}: {words}", program.display())));
        }
        listings.push((version, String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    Ok(listings)
}

#[derive(Debug, Default)]
struct Attribution {
    counts: HashMap<Arc<Nlri>, Counter>,
    missing: usize,
}

fn attribute<'a>(
    listing: &str,
    settings: &Settings,
    rules: impl Iterator<Item = &'a Arc<CompiledRule>>,
) -> Attribution {
    let rules: Vec<_> = rules.filter(|rule| !rule.entries.is_empty()).collect();
    let lines = listing.lines().filter_map(Line::parse);
    let mut found: HashMap<&Arc<Nlri>, Counter> = HashMap::with_capacity(rules.len());
    let mut add = |rule: &'a Arc<CompiledRule>, line: &Line<'_>| match found.entry(&rule.nlri) {
        Entry::Vacant(vacant) => drop(vacant.insert(line.count)),
        // The line after a policer counts again what the policer passed, and is the only one that
        // counts on some switches.
        Entry::Occupied(mut occupied) if matches!(rule.effect.policing, Policing::Limit { .. }) => {
            let most = occupied.get_mut();
            most.packets = most.packets.max(line.count.packets);
            most.bytes = most.bytes.max(line.count.bytes);
        }
        Entry::Occupied(mut occupied) => occupied.get_mut().add(&line.count),
    };
    if settings.has_comments() {
        let by_id: HashMap<RuleId, &Arc<CompiledRule>> = rules.iter().map(|rule| (rule.id, *rule)).collect();
        for line in lines {
            if let Some(rule) = line.id().and_then(|id| by_id.get(&id)) {
                add(rule, &line);
            }
        }
    } else {
        let wanted = rules.iter().flat_map(|rule| keys(rule, settings).into_iter().map(move |key| (*rule, key)));
        let mut wanted = wanted.peekable();
        for line in lines {
            let key = key(line.rule);
            if let Some((rule, _)) = wanted.next_if(|(_, wanted)| *wanted == key) {
                add(rule, &line);
            }
        }
    }
    let missing = rules.iter().filter(|rule| !found.contains_key(&rule.nlri)).count();
    let counts = found.into_iter().map(|(nlri, count)| (Arc::clone(nlri), count)).collect();
    Attribution { counts, missing }
}

/// A line such as `[12:3456] -A PREROUTING -i swp+ -j DROP`.
struct Line<'a> {
    count: Counter,
    rule: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (count, rule) = line.strip_prefix('[')?.split_once("] ")?;
        let (packets, bytes) = count.split_once(':')?;
        let count = Counter::of_packets(packets.parse().ok()?, bytes.parse().ok()?, None);
        rule.starts_with("-A ").then_some(Line { count, rule })
    }

    fn id(&self) -> Option<RuleId> {
        self.rule.split_once(COMMENT)?.1.get(..12)?.parse().ok()
    }
}

/// A rule's lines as the kernel lists them, one for each interface.
fn keys(rule: &CompiledRule, settings: &Settings) -> Vec<String> {
    let mut text = String::new();
    for entry in &rule.entries {
        // What cannot be written was not installed.
        let _ = super::line::write(&mut text, settings, entry, &rule.effect, None);
    }
    let all = settings.interfaces.join(",");
    let one = |line: &str| -> Vec<String> {
        settings.interfaces.iter().map(|interface| key(&line.replacen(&all, interface, 1))).collect()
    };
    text.lines().flat_map(one).collect()
}

/// The matches of a rule in a canonical order.
fn key(rule: &str) -> String {
    let mut words = rule.split_whitespace().peekable();
    let mut matches = Vec::new();
    while let Some(word) = words.next() {
        match word {
            // What follows is the target.
            "-j" => break,
            "-f" | "--ecn-tcp-cwr" | "--ecn-tcp-ece" => matches.push(word.to_owned()),
            _ => {
                let value = words.next().unwrap_or_default();
                match word {
                    "-A" | "-t" | "-m" | "--comment" => {}
                    "--in-interface" => matches.push(format!("-i {value}")),
                    // Listings have a name or a number here.
                    "-p" if !matches!(value, "tcp" | "udp" | "icmp" | "ipv6-icmp") => {}
                    "--dscp" => {
                        let number = value.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok());
                        matches.push(format!("--dscp {}", number.or(value.parse().ok()).unwrap_or_default()));
                    }
                    "--tcp-flags" => {
                        let set = words.next().unwrap_or_default();
                        matches.push(format!("--tcp-flags {value} {set}"));
                    }
                    _ if word.starts_with("--hashlimit") => {}
                    _ => matches.push(format!("{word} {value}")),
                }
            }
        }
    }
    matches.sort_unstable();
    matches.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cumulus::{Release, capabilities};
    use engine::compile::{Verdict, compile};

    fn rules(texts: &[&str], settings: &Settings) -> Vec<Arc<CompiledRule>> {
        let compile = |text: &&str| match compile(&text.parse().expect(text), &capabilities(settings)) {
            Verdict::Exact(rule) => Arc::new(rule),
            Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
        };
        texts.iter().map(compile).collect()
    }

    fn counts(listing: &str, settings: &Settings, rules: &[Arc<CompiledRule>]) -> (Vec<Option<u64>>, usize) {
        let found = attribute(listing, settings, rules.iter());
        (rules.iter().map(|rule| found.counts.get(&rule.nlri).map(|count| count.packets)).collect(), found.missing)
    }

    #[test]
    fn comments_tell_whose_line_it_is() {
        let settings = Settings { release: Release::new(5, 9), ..Settings::default() };
        let rules = rules(
            &[
                "dst 192.0.2.1/32 proto udp sport 1,3 then discard",
                "dst 192.0.2.1/32 then rate 1mbps",
                "dst 192.0.2.2/32 then discard",
            ],
            &settings,
        );
        let (a, b) = (rules[0].id, rules[1].id);
        let listing = format!(
            "*mangle\n:PREROUTING ACCEPT [100:2000]\n\
             [5:500] -A PREROUTING -d 192.0.2.1/32 -i swp+ -p udp -m comment --comment \"floodgate:{a}\" -m udp --sport 1 -j DROP\n\
             [7:700] -A PREROUTING -d 192.0.2.1/32 -i swp+ -p udp -m comment --comment floodgate:{a} -m udp --sport 3 -j DROP\n\
             [9:900] -A PREROUTING -d 192.0.2.1/32 -i swp+ -m comment --comment floodgate:{b} -j POLICE --set-mode KB\n\
             [11:1100] -A PREROUTING -d 192.0.2.1/32 -i swp+ -m comment --comment floodgate:{b} -j ACCEPT\n\
             [99:9] -A PREROUTING -i swp+ -m comment --comment rule_id:10 -j DROP\nCOMMIT\n"
        );
        assert_eq!(counts(&listing, &settings, &rules), (vec![Some(12), Some(11), None], 1));
    }

    #[test]
    fn without_comments_matches_and_order_tell() {
        let interfaces = vec!["swp1".to_owned(), "bond+".to_owned()];
        let settings = Settings { release: Release::new(4, 4), interfaces, ..Settings::default() };
        let texts =
            ["dst 192.0.2.1/32 tcp-flags syn&!ack dscp 46 then discard", "dst 192.0.2.2/32 proto 47 then discard"];
        let rules = rules(&texts, &settings);
        let listing = "*filter\n[1:1] -A FORWARD -i swp1 -j ACCEPT\n\
             [2:2] -A FORWARD -d 192.0.2.1/32 -i swp1 -p tcp -m tcp --tcp-flags SYN,ACK SYN -m dscp --dscp 0x2e -j DROP\n\
             [3:3] -A FORWARD -d 192.0.2.1/32 -i bond+ -p tcp -m tcp --tcp-flags SYN,ACK SYN -m dscp --dscp 0x2e -j DROP\n\
             [4:4] -A FORWARD -d 192.0.2.2/32 -i swp1 -p gre -j DROP\n\
             [5:5] -A FORWARD -d 192.0.2.2/32 -i bond+ -p gre -j DROP\nCOMMIT\n";
        assert_eq!(counts(listing, &settings, &rules), (vec![Some(5), Some(9)], 0));
    }

    #[test]
    fn what_was_read_too_late_beside_a_run_is_not_counted() {
        let settings = Settings { release: Release::new(5, 9), ..Settings::default() };
        let rules = rules(&["dst 192.0.2.1/32 then discard"], &settings);
        let listing = |packets: u64| {
            let line = format!("[{packets}:{packets}] -A PREROUTING -m comment --comment floodgate:{}", rules[0].id);
            vec![(IpVersion::V4, line)]
        };
        let mut counters = Counters::default();
        counters.reinstalled(&rules);
        assert_eq!(counters.add_listings(&listing(10), &settings, &rules), 0);
        counters.add_listings_before_reset(&listing(14), &settings, &rules);
        counters.reinstalled(&rules);
        counters.add_listings(&listing(6), &settings, &rules);
        // The next reading came too late: three packets since the reset. What was counted between
        // the last reading and the reset is lost, not counted twice.
        counters.add_listings_before_reset(&listing(3), &settings, &rules);
        counters.reinstalled(&rules);
        counters.add_listings(&listing(5), &settings, &rules);
        assert_eq!(counters.of(&rules)[0].1.packets, 14 + 6 + 5);
    }

    #[test]
    fn a_reinstall_does_not_lose_what_was_counted() {
        let settings = Settings { release: Release::new(5, 9), ..Settings::default() };
        let rules = rules(&["dst 192.0.2.1/32 then discard"], &settings);
        let mut counters = Counters::default();
        counters.reinstalled(&rules);
        let read = |packets: u64, counters: &mut Counters| {
            let listing = format!("[{packets}:{packets}] -A PREROUTING -m comment --comment floodgate:{}", rules[0].id);
            counters.add_reading(attribute(&listing, &settings, rules.iter()).counts);
            counters.of(&rules)[0].1.packets
        };
        assert_eq!(read(10, &mut counters), 10);
        assert_eq!(read(15, &mut counters), 15);
        counters.reinstalled(&rules);
        assert_eq!(read(20, &mut counters), 35);
        assert_eq!(counters.of(&rules)[0].1.dropped_packets, Some(35));
    }
}
