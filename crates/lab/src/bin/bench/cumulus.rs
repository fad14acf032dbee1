//! From a message to cl-acltool, with its emulator: measures how many runs a burst takes, and how
//! soon one begins.

use api::RuleState;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use flowspec::Rule;
use lab::acltool::Switch;
use lab::scenario::{CONTROLLER_PORT, router_and_controller};
use lab::{Daemon, Site, wait_until};

use crate::report::{Figure, Group};
use crate::wire::controller;

const PATIENCE: Duration = Duration::from_secs(120);
/// Rules in force before single ones are announced.
const CROWD: u32 = 5_000;
/// Number of single rules.
const SINGLES: u32 = 40;

/// Timeout.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut group = Group::new("cumulus", "A controller's rules to cl-acltool (a stand-in, which takes 300 ms a run).");
    let site = Site::new()?;
    let binary = std::env::current_exe()?.with_file_name("cl-acltool");
    ensure!(binary.exists(), "{} is not built", binary.display());
    let switch = Switch::new(&site.switch, binary.to_str().context("a path in UTF-8")?)?;
    switch.set("capacity4", "100000")?;
    switch.set("delay", "300")?;
    let controller = controller(&site)?;
    let daemon = Daemon::start(&site.switch, &configuration(&switch))?;
    daemon.wait_established("controller", PATIENCE)?;
    wait_until("the first run", PATIENCE, || switch.runs().iter().any(|run| run.installed).then_some(()))?;

    let before = switch.runs().len();
    controller.announce((0..1000).map(rule));
    installed(&daemon, 1000)?;
    let runs = (switch.runs().len() - before) as f64;
    group.add(Figure::median("a burst of 1,000 rules: runs of cl-acltool", "runs", Some(2.0), &[runs]));

    for (crowd, name) in [(1000, "1,000 rules in force"), (CROWD, "5,000 rules in force")] {
        if crowd > 1000 {
            controller.announce((1000..crowd).map(rule));
            installed(&daemon, crowd)?;
        }
        let mut took = Vec::new();
        for n in 0..SINGLES {
            let single = rule(1_000_000 + n);
            let before = switch.runs().len();
            let sent = now();
            controller.announce([single.clone()]);
            let began = wait_until("a run", PATIENCE, || switch.runs().get(before).map(|run| run.began))?;
            took.push(began.saturating_sub(sent) as f64 / 1e6);
            installed(&daemon, crowd + 1)?;
            controller.withdraw([single.nlri]);
            installed(&daemon, crowd)?;
            wait_until("its end", PATIENCE, || switch.runs().iter().all(|run| run.ended.is_some()).then_some(()))?;
        }
        let name = format!("a rule, until cl-acltool has started, {name}");
        group.add(Figure::median(name, "ms", Some(50.0), &took));
    }
    group.add(refused_among_a_thousand(binary.to_str().context("a path in UTF-8")?)?);
    Ok(vec![group])
}

/// The cost of one refused rule among a thousand.
fn refused_among_a_thousand(binary: &str) -> Result<Figure> {
    let site = Site::new()?;
    let switch = Switch::new(&site.switch, binary)?;
    switch.set("capacity4", "100000")?;
    switch.set("refuse", "10.0.1.244/32 => not supported by this ASIC")?;
    let controller = controller(&site)?;
    let daemon = Daemon::start(&site.switch, &configuration(&switch))?;
    daemon.wait_established("controller", PATIENCE)?;
    wait_until("the first run", PATIENCE, || switch.runs().iter().any(|run| run.installed).then_some(()))?;
    // They gather during this run.
    switch.set("delay", "1000")?;
    controller.announce([rule(5_000)]);
    let before = switch.runs().len();
    wait_until("a run", PATIENCE, || (switch.runs().len() > before).then_some(()))?;
    controller.announce((0..1000).map(rule));
    switch.set("delay", "")?;
    let refused = |status: &api::StatusView| {
        status.rules_in(RuleState::Failed) == 1 && status.rules_in(RuleState::Installed) == 1000
    };
    daemon.wait_status("all but one", PATIENCE, refused)?;
    let runs = switch.runs().len() - before - 2;
    Ok(Figure::median("one rule refused among 1,000: further runs of cl-acltool", "runs", Some(3.0), &[runs as f64]))
}

fn configuration(switch: &Switch) -> String {
    let [save4, save6] = switch.save();
    let head = router_and_controller(CONTROLLER_PORT);
    format!(
        r#"{head}
[dataplane]
backend = "cumulus"

[dataplane.cumulus]
release = "5.0"
capacity-v4 = 100000
policy-directory = {:?}
cl-acltool = {:?}
iptables-save = {save4:?}
ip6tables-save = {save6:?}
"#,
        switch.policy_directory(),
        switch.tool()
    )
}

/// This many rules, all in force.
fn installed(daemon: &Daemon<'_>, count: u32) -> Result<()> {
    let count = u64::from(count);
    daemon
        .wait_status("the rules", PATIENCE, |status| {
            status.rules.values().sum::<u64>() == count && status.rules_in(RuleState::Installed) == count
        })
        .map(drop)
}

fn rule(n: u32) -> Rule {
    let [_, a, b, c] = n.to_be_bytes();
    // A host's address and numbers are always a rule.
    format!("dst 10.{a}.{b}.{c}/32 proto udp sport 123 then discard")
        .parse()
        .unwrap_or_else(|error| unreachable!("{error}"))
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}
