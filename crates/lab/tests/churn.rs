//! Rules that are announced and withdrawn for a long time: the daemon must not grow, and at the end
//! nothing may be left in the kernel.
//!
//! `FLOODGATE_SOAK=1` makes many more rounds.

use api::{DataplaneState, RuleState};
use std::fs;

use anyhow::{Context, Result, ensure};
use bgp::{PeerAs, PeerConfig};
use flowspec::Rule;
use lab::site::PEER;
use lab::{Daemon, PATIENCE, Site, Speaker, needs};

const CONFIGURATION: &str = r#"
[router]
as = 65140
id = "203.0.113.10"
listen = []

[[peer]]
name = "controller"
address = "203.0.113.1"
port = 1179
as = 65070
allow.without-destination = true

[dataplane]
backend = "nftables"
"#;
/// Rules that come and go in a round.
const RULES: u32 = 1_000;
/// Rounds before the daemon's memory is looked at first, in a run of every day and in a soak: by
/// then its buffers have the size they need. In a soak that is after the state file was first
/// written, which is a second after the first change.
const WARM: [u32; 2] = [4, 40];
/// Between the first look and the last, of the first: what the allocator needs for itself is far
/// below, a leak of a rule is not.
const GROWTH: f64 = 0.1;

#[test]
fn churn_leaves_nothing_behind_soak() -> Result<()> {
    needs!(root, "nft");
    let soak = std::env::var_os("FLOODGATE_SOAK").is_some();
    let (rounds, warm_after) = if soak { (300, WARM[1]) } else { (8, WARM[0]) };
    let site = Site::new()?;
    let config = PeerConfig::new(65070, PEER.parse()?, PeerAs::Exactly(65140));
    let controller = Speaker::listen(&site.peers, format!("{PEER}:1179").parse()?, config)?;
    let mut daemon = Daemon::start(&site.switch, CONFIGURATION)?;
    daemon.wait_established("controller", PATIENCE)?;
    let pid = daemon.process()?.pid();
    let (mut warm, mut most) = (0, 0);
    for round in 0..rounds {
        // Other rules each time, so that what is kept by rule would show.
        let rules = (0..RULES).map(|number| rule(round, number)).collect::<Result<Vec<Rule>>>()?;
        let keys: Vec<_> = rules.iter().map(|rule| rule.nlri.clone()).collect();
        for (count, announce) in [(u64::from(RULES), true), (0, false)] {
            if announce {
                controller.announce(rules.clone());
            } else {
                controller.withdraw(keys.clone());
            }
            daemon.wait_status("the rules", PATIENCE, |status| {
                status.rules.values().sum::<u64>() == count
                    && status.rules_in(RuleState::Installed) == count
                    && status.dataplane == DataplaneState::Applied
            })?;
        }
        most = resident(pid)?.max(most);
        if round + 1 == warm_after {
            warm = most;
        }
    }
    let last = resident(pid)?;
    let (warm_kb, last_kb) = (warm / 1024, last / 1024);
    println!(
        "{rounds} rounds of {RULES} rules: {warm_kb} kB resident after {warm_after}, {last_kb} kB at the end, {} kB at most",
        most / 1024
    );
    ensure!(last as f64 <= warm as f64 * (1.0 + GROWTH), "the daemon grew from {warm_kb} kB to {last_kb} kB");
    let left = daemon.ruleset()?;
    ensure!(!left.contains("comment"), "left in the kernel: {left}");
    daemon.stop()?;
    ensure!(daemon.ruleset()?.is_empty(), "the table is still there");
    Ok(())
}

/// A rule of a round, in one of several shapes; all are different.
fn rule(round: u32, number: u32) -> Result<Rule> {
    let host = std::net::Ipv4Addr::from(0x0a00_0000 + round * RULES + number);
    let text = match number % 5 {
        0 => format!("dst {host}/32 proto udp sport 123 then rate {}kbps", 8 + number),
        1 => format!("dst {host}/32 proto tcp dport {} tcp-flags syn&!ack then discard", 1 + number),
        2 => format!("dst {host}/32 proto udp length >=468 then discard"),
        3 => format!("ipv6 dst 2001:db8:{round:x}:{number:x}::/64 then discard"),
        _ => format!("dst {host}/32 proto udp sport 53,123 then mark 8"),
    };
    text.parse().with_context(|| text.clone())
}

/// Resident octets.
fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse::<u64>()? * 1024)
}
