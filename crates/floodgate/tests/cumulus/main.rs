//! The Cumulus back end through the emulator of cl-acltool into a real kernel: alone, in the daemon
//! with real BGP sessions, and against the oracle.

mod article;
mod backend;
mod differential;
mod figures;
mod selftest;
mod trouble;
mod words;

use anyhow::{Context, Result, ensure};
use dataplane::cumulus::{Cumulus, Settings, capabilities};
use engine::compile::{Verdict, compile};
use engine::plan::{Applied, CompiledRule, Plan, Ruleset};
use lab::acltool::Switch;
use lab::scenario::{self, CONTROLLER_AS, NTP, SWITCH_AS, udp};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, PATIENCE, Site, Speaker, wait_until};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

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

fn all_in_force(applied: &Applied) -> Result<()> {
    ensure!(applied.failures.is_empty(), "{applied:?}");
    Ok(())
}

impl Bench {
    /// The daemon's configuration: it connects to the article's controller, and filters through
    /// this switch. `more` is for `[dataplane.cumulus]`.
    fn configuration(&self, more: &str) -> String {
        let Settings { policy_directory, tool, save: [save4, save6], release, .. } = &self.settings;
        format!(
            r#"[router]
as = {SWITCH_AS}
id = "{SWITCH}"

[[peer]]
name = "controller"
address = "{PEER}"
port = 1179
as = {CONTROLLER_AS}

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

    /// The controller, waiting for the switch.
    fn controller(&self) -> Result<Speaker> {
        scenario::listening_peer(&self.site, scenario::controller_config()?)
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
