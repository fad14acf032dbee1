//! Tests what this switch really accepts: one rule after the other, in a policy file of its own,
//! for addresses that nobody uses.
//!
//! Each probe is a run of cl-acltool with a few rules for 192.0.2.0/24 (2001:db8::/32 for IPv6),
//! documentation addresses that no packet has. The file is removed at the end, and at the start;
//! anything that prevents that is reported.

use super::line::COMMENT;
use super::resources::{self, Resources, Used};
use super::settings::Settings;
use super::tool::{self, InstallLock, RunError};
use super::transcript::Transcript;
use crate::DataplaneError;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The policy file, which sorts after ours.
const FILE: &str = "61floodgate-selftest.rules";

/// The result of the test.
#[derive(Clone, Debug, Default)]
pub struct SelfTest {
    /// The probes, in the order of their runs.
    pub probes: Vec<ProbeOutcome>,
    /// Entries of the ASIC's tables in use without the probes, if the switch reports them.
    pub in_use: Option<String>,
    /// Unknown lines that cl-acltool printed, each once.
    pub unknown_words: Vec<String>,
    /// Whether it was stopped early.
    pub interrupted: bool,
    /// Why something of it may be left on the switch.
    pub left_behind: Option<String>,
}

/// The outcome of one probe.
#[derive(Clone, Debug)]
pub struct ProbeOutcome {
    /// What was tested.
    pub name: &'static str,
    /// The rules as written in the file; of many the first.
    pub rules: Vec<String>,
    /// The tool's message, if it refused them.
    pub refused: Option<String>,
    /// How many of the rules the kernel lists.
    pub in_kernel: usize,
    /// Entries that they took of the ASIC's IPv4 and IPv6 tables, and port range checkers, if the
    /// switch reports them.
    pub entries: Option<[i64; 3]>,
    /// Packets that they have counted according to the kernel's listing.
    pub packets: u64,
    /// Duration of the run.
    pub took: Duration,
}

struct Probe {
    name: &'static str,
    six: bool,
    /// After the chain and the interface.
    rules: &'static [&'static str],
    /// This many hosts, each with these rules.
    hosts: usize,
}

const fn probe(name: &'static str, rules: &'static [&'static str]) -> Probe {
    Probe { name, six: false, rules, hosts: 1 }
}

const fn probe6(name: &'static str, rules: &'static [&'static str]) -> Probe {
    Probe { name, six: true, rules, hosts: 1 }
}

const fn probe_many(name: &'static str, hosts: usize) -> Probe {
    Probe { name, six: false, rules: &["-d 192.0.2.HOST/32 -p udp --sport 123 -j DROP"], hosts }
}

static PROBES: [Probe; 31] = [
    Probe { name: "nothing", six: false, rules: &[], hosts: 0 },
    probe("drop, one host", &["-d 192.0.2.241/32 -j DROP"]),
    probe("the article's rule", &["-p udp -d 192.0.2.241/32 --sport 123 -j DROP"]),
    probe("accept", &["-d 192.0.2.241/32 -j ACCEPT"]),
    probe("a comment", &["-m comment --comment floodgate:selftest -d 192.0.2.241/32 -j DROP"]),
    probe("source prefix", &["-s 192.0.2.240/28 -d 192.0.2.241/32 -j DROP"]),
    probe("protocol by number", &["-p 47 -d 192.0.2.241/32 -j DROP"]),
    probe("a range of source ports", &["-p udp -d 192.0.2.241/32 --sport 1000:2000 -j DROP"]),
    probe("ranges of both ports", &["-p udp -d 192.0.2.241/32 --sport 1000:2000 --dport 3000:4000 -j DROP"]),
    probe("a short range", &["-p udp -d 192.0.2.241/32 --dport 1000:1003 -j DROP"]),
    probe("multiport", &["-p udp -d 192.0.2.241/32 -m multiport --dports 53,123,1900 -j DROP"]),
    probe("TCP flags", &["-p tcp -d 192.0.2.241/32 --tcp-flags SYN,ACK SYN -j DROP"]),
    probe("TCP flag ECE", &["-p tcp -d 192.0.2.241/32 -m tcp -m ecn --ecn-tcp-ece -j DROP"]),
    probe("TCP flags with ECE", &["-p tcp -d 192.0.2.241/32 --tcp-flags SYN SYN -m ecn --ecn-tcp-ece -j DROP"]),
    probe("DSCP", &["-d 192.0.2.241/32 -m dscp --dscp 46 -j DROP"]),
    probe("ICMP type", &["-p icmp -d 192.0.2.241/32 --icmp-type 8 -j DROP"]),
    probe("ICMP type and code", &["-p icmp -d 192.0.2.241/32 --icmp-type 3/4 -j DROP"]),
    probe("fragments", &["-d 192.0.2.241/32 -f -j DROP"]),
    probe("fragments of a protocol", &["-p udp -d 192.0.2.241/32 -f -j DROP"]),
    probe("TTL", &["-d 192.0.2.241/32 -m ttl --ttl-eq 1 -j DROP"]),
    probe("an inverse match (listed as unsupported)", &["-d 192.0.2.241/32 ! -p udp -j DROP"]),
    probe("packet length (not listed)", &["-d 192.0.2.241/32 -m length --length 100:200 -j DROP"]),
    probe("police kilobytes", &["-d 192.0.2.241/32 -j POLICE --set-mode KB --set-rate 1000 --set-burst 250"]),
    probe("police packets", &["-d 192.0.2.241/32 -j POLICE --set-mode pkt --set-rate 1000 --set-burst 250"]),
    probe(
        "police, and accept after it",
        &["-d 192.0.2.241/32 -j POLICE --set-mode pkt --set-rate 1000 --set-burst 250", "-d 192.0.2.241/32 -j ACCEPT"],
    ),
    probe("mark", &["-d 192.0.2.241/32 -j SETQOS --set-dscp 46"]),
    probe6("IPv6, one host", &["-d 2001:db8::f1/128 -j DROP"]),
    probe6("IPv6, UDP port", &["-p udp -d 2001:db8::f1/128 --sport 123 -j DROP"]),
    probe6("IPv6, ICMP type", &["-p ipv6-icmp -d 2001:db8::f1/128 -m icmp6 --icmpv6-type 128 -j DROP"]),
    probe_many("10 rules", 10),
    probe_many("100 rules", 100),
];

/// Runs all probes. `stop`, once true, stops after the current run. `progress` is called with each
/// probe before it runs.
///
/// # Errors
/// This is not a switch, or the policy directory cannot be written.
pub fn self_test(
    settings: &Settings,
    stop: &AtomicBool,
    mut progress: impl FnMut(&str),
) -> Result<SelfTest, DataplaneError> {
    let mut test = Running { settings, path: settings.policy_directory.join(FILE), found: SelfTest::default() };
    // The file of an earlier test that was killed, and messages about rules that exist anyway.
    test.remove();
    progress("what is there without it");
    if let Some(words) = test.install()?.refused {
        return Err(DataplaneError::Refused(format!("cl-acltool refuses what is there without the test: {words}")));
    }
    let before = resources::query(settings);
    test.found.in_use = before.map(|resources| resources.to_string());
    let mut failed = None;
    for probe in &PROBES {
        if stop.load(Ordering::Relaxed) {
            test.found.interrupted = true;
            break;
        }
        progress(probe.name);
        if let Err(error) = test.probe(probe, before) {
            failed = Some(error);
            break;
        }
    }
    progress("removing it");
    test.remove();
    match test.install() {
        Ok(Run { refused: None, .. }) if !test.path.exists() => {}
        Ok(Run { refused, .. }) => {
            test.found.left_behind = refused.or(Some(format!("{} is still there", test.path.display())))
        }
        Err(error) => test.found.left_behind = Some(error.to_string()),
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(std::mem::take(&mut test.found)),
    }
}

struct Running<'a> {
    settings: &'a Settings,
    path: PathBuf,
    found: SelfTest,
}

struct Run {
    refused: Option<String>,
    took: Duration,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Running<'_> {
    fn probe(&mut self, probe: &Probe, before: Option<Resources>) -> Result<(), DataplaneError> {
        let chain = self.settings.release.chain();
        let interfaces = self.settings.interfaces.join(",");
        let hosts = 0..probe.hosts;
        let rules: Vec<String> = hosts
            .flat_map(|host| {
                // Within the documentation prefix, for any number.
                let host = (host % 256).to_string();
                probe.rules.iter().map(move |rule| rule.replace("HOST", &host)).collect::<Vec<_>>()
            })
            .map(|rule| format!("{chain} --in-interface {interfaces} {rule}"))
            .collect();
        let section = if probe.six { "[ip6tables]" } else { "[iptables]" };
        let text = format!("# floodgate selftest: for a few minutes only.\n{section}\n{}\n", rules.join("\n"));
        fs::write(&self.path, text).map_err(|source| self.error("write", source))?;
        let run = self.install()?;
        let (in_kernel, packets) = if run.refused.is_none() { self.listed(probe.six) } else { (0, 0) };
        let entries =
            before.zip(run.refused.is_none().then(|| resources::query(self.settings)).flatten()).map(|(a, b)| {
                let count = |used: Option<Used>| used.map_or(0, |used| used.count as i64);
                let more = |before, after| count(after) - count(before);
                [more(a.v4, b.v4), more(a.v6, b.v6), more(a.ranges, b.ranges)]
            });
        let (refused, took) = (run.refused, run.took);
        let rules = rules.into_iter().take(4).collect();
        self.found.probes.push(ProbeOutcome { name: probe.name, rules, refused, in_kernel, entries, packets, took });
        Ok(())
    }

    /// One run; an error only if it could not be started.
    fn install(&mut self) -> Result<Run, DataplaneError> {
        let lock = InstallLock::wait(self.settings)?;
        let began = Instant::now();
        let (output, succeeded) = match tool::run_for_output(self.settings, lock, began + self.settings.timeout) {
            Ok(run) => run,
            Err(RunError::NotRun(error)) => return Err(error),
            Err(RunError::Timeout(after)) => {
                let words = format!("cl-acltool did not end within {after:?} and was ended");
                return Ok(Run { refused: Some(words), took: after });
            }
            Err(RunError::Failed(error)) => return Ok(Run { refused: Some(error.message), took: began.elapsed() }),
        };
        let took = began.elapsed();
        let read = Transcript::read(&output, succeeded);
        for warning in read.warnings {
            if !self.found.unknown_words.contains(&warning) {
                self.found.unknown_words.push(warning);
            }
        }
        Ok(Run { refused: read.error.map(|_| output.trim().to_owned()), took })
    }

    /// Rules of the probe that the kernel lists, and the packets that they have counted.
    fn listed(&self, six: bool) -> (usize, u64) {
        let (table, _) = self.settings.release.table_and_chain();
        let output = Command::new(&self.settings.save[usize::from(six)]).args(["-c", "-t", table]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let is_ours = |line: &&str| line.contains(" -d 192.0.2.") || line.contains(" -d 2001:db8::f1");
        let ours: Vec<&str> = text.lines().filter(|line| line.contains("-A ")).filter(is_ours).collect();
        let ours = ours.iter().filter(|line| !line.contains(COMMENT) || line.contains("floodgate:selftest"));
        let packets = |line: &&&str| line.strip_prefix('[')?.split(':').next()?.parse::<u64>().ok();
        (ours.clone().count(), ours.filter_map(|line| packets(&line)).sum())
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "the self-test's file cannot be removed")
            }
        }
    }

    fn error(&self, what: &str, source: std::io::Error) -> DataplaneError {
        DataplaneError::Io { context: format!("{what} {}", self.path.display()), source }
    }
}
