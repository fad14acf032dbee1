//! The Cumulus back end through the stand-in for cl-acltool into a real kernel: on its own, in the daemon with real BGP sessions, and
//! against the oracle.

mod article;
mod backend;
mod differential;
mod figures;
mod selftest;
mod trouble;
mod words;

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use bgp::{PeerAs, PeerConfig};
use dataplane::cumulus::{Cumulus, Settings, capabilities};
use engine::compile::{Verdict, compile};
use engine::plan::{Applied, CompiledRule, Plan, Ruleset};
use lab::acltool::Switch;
use lab::site::{PEER, SWITCH};
use lab::{Daemon, PATIENCE, Site, Speaker, packet, wait_until};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The article's rule.
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

/// A switch with its network.
struct Bench {
    site: Site,
    switch: Switch,
    settings: Settings,
}

impl Bench {
    fn new(release: &str) -> Result<Self> {
        let site = Site::new()?;
        let switch = Switch::new(&site.switch, &lab::acltool::stand_in()?)?;
        switch.set("release", release)?;
        let settings = Settings {
            policy_directory: switch.policy_directory(),
            tool: switch.tool(),
            save: switch.save(),
            release: release.parse()?,
            timeout: Duration::from_secs(20),
            ..Settings::default()
        };
        Ok(Bench { site, switch, settings })
    }

    fn dataplane(&self) -> Cumulus {
        Cumulus::new(self.settings.clone())
    }

    fn rule(&self, text: &str) -> Arc<CompiledRule> {
        match compile(&text.parse().expect(text), &capabilities(&self.settings)) {
            Verdict::Exact(rule) => Arc::new(rule),
            Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
        }
    }

    fn ruleset(&self, texts: &[&str]) -> Ruleset {
        let mut rules: Vec<_> = texts.iter().map(|text| self.rule(text)).collect();
        rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        Ruleset { protected: Arc::default(), rules }
    }

    fn plan(&self, upsert: &[&str], remove: &[&str]) -> Plan {
        let remove = remove.iter().map(|text| Arc::clone(&self.rule(text).nlri)).collect();
        Plan { upsert: upsert.iter().map(|text| self.rule(text)).collect(), remove, protected: None }
    }

    fn policy(&self) -> Option<String> {
        fs::read_to_string(self.switch.policy_directory().join("60flowspec.rules")).ok()
    }

    /// The kernel's rules that are ours.
    fn kernel(&self) -> Result<String> {
        let listed = self.site.switch.exec("iptables-legacy-save", &[])?;
        Ok(listed.lines().filter(|line| line.contains("192.0.2.") || line.contains("floodgate")).collect())
    }
}

fn udp(from_port: u16, to: &str, to_port: u16, octets: usize) -> Vec<u8> {
    let from: IpAddr = if to.contains(':') { "2001:db8:1::1" } else { "198.51.100.1" }.parse().unwrap();
    let to = SocketAddr::new(to.parse().unwrap(), to_port);
    packet::udp((from, from_port).into(), to, &vec![0x17; octets])
}

fn all_in_force(applied: &Applied) -> Result<()> {
    ensure!(applied.failures.is_empty(), "{applied:?}");
    Ok(())
}

/// The AS numbers of the article: the switch's and the controller's.
const OURS: u32 = 65140;
const THEIRS: u32 = 65070;

impl Bench {
    /// The daemon's configuration: it connects to the article's controller, and filters through this switch. `more` is for
    /// `[dataplane.cumulus]`.
    fn configuration(&self, more: &str) -> String {
        let Settings { policy_directory, tool, save: [save4, save6], release, .. } = &self.settings;
        format!(
            r#"[router]
as = {OURS}
id = "{SWITCH}"

[[peer]]
name = "controller"
address = "{PEER}"
port = 1179
as = {THEIRS}

[dataplane]
backend = "cumulus"

[dataplane.cumulus]
release = "{release}"
policy-directory = {policy_directory:?}
cl-acltool = {tool:?}
iptables-save = {save4:?}
ip6tables-save = {save6:?}
{more}
"#
        )
    }

    /// The article's controller: it waits for the switch on port 1179.
    fn controller(&self) -> Result<Speaker> {
        let address: Ipv4Addr = PEER.parse()?;
        let config = PeerConfig::new(THEIRS, address, PeerAs::Exactly(OURS));
        Speaker::listen(&self.site.peers, SocketAddr::new(address.into(), 1179), config)
    }

    /// Waits until the daemon has had its first, empty rule set installed; the number of runs.
    fn wait_first_run(&self) -> Result<usize> {
        wait_until("the first run", PATIENCE, || self.switch.runs().iter().any(|run| run.installed).then_some(()))?;
        Ok(self.switch.runs().len())
    }

    /// Nothing of ours is left, in the policy directory or in the kernel.
    fn wait_clean(&self, daemon: &Daemon<'_>) -> Result<()> {
        wait_until("a switch without our rules", PATIENCE, || {
            (self.policy().is_none() && self.kernel().is_ok_and(|rules| rules.is_empty())).then_some(())
        })
        .with_context(|| daemon.explain())
    }
}

/// Waits until there are so many rules, all installed by a live session.
fn wait_installed(daemon: &Daemon<'_>, count: usize) -> Result<()> {
    let such = |rules: &[RuleView]| {
        rules.len() == count
            && rules
                .iter()
                .all(|rule| rule.state == RuleState::Installed && rule.origins.iter().all(|origin| !origin.stale))
    };
    daemon.wait_rules(&format!("{count} rules, all installed"), PATIENCE, such).map(drop)
}
