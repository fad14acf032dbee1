//! kill -9: the filters stay, and the next start takes them over; nothing is duplicated, nothing is
//! left.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use api::RuleView;
use lab::{Daemon, Site, needs};

use crate::{CONTROLLER_AS, NTP, PATIENCE, attack, configuration, controller, installed, kernel_has, numbered_rules};

/// So many rules that a kill comes in the middle of their load.
fn many() -> u32 {
    if lab::is_emulated() { 1_000 } else { 10_000 }
}

fn start(site: &Site) -> Result<Daemon<'_>> {
    Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, "")]))
}

#[test]
fn faults_kill_during_a_load() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut daemon = start(&site)?;
    let controller = controller(&site)?;
    daemon.wait_established("controller", PATIENCE)?;
    let rules = numbered_rules(0..many());
    // Before anything arrived, in the middle of it, and when it is about done.
    for after in [5, 50, 150, 400, 1000] {
        controller.announce(rules.clone());
        thread::sleep(Duration::from_millis(after));
        daemon.kill()?;
        daemon.launch()?;
        let all = |there: &[RuleView]| there.len() == rules.len() && installed(there);
        daemon.wait_rules("all rules, installed", PATIENCE, all)?;
        kernel_has(&daemon, &rules)?;
        controller.withdraw(rules.iter().map(|rule| rule.nlri.clone()));
        daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
        // The last removal is under way when the rules are gone.
        lab::wait_until("an empty kernel", PATIENCE, || kernel_has(&daemon, &[]).ok())?;
    }
    daemon.stop()?;
    ensure!(daemon.ruleset()?.is_empty(), "left behind: {}", daemon.ruleset()?);
    Ok(())
}

#[test]
fn faults_filters_stay_over_a_crash_without_a_gap() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = start(&site)?;
    let controller = controller(&site)?;
    let rules = numbered_rules(0..1000);
    controller.announce(rules.clone());
    controller.announce_text(NTP)?;
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 1001 && installed(rules))?;

    daemon.kill()?;
    ensure!(!wire.passes(&attack())?, "the filter went with the daemon");
    // What is withdrawn while nobody listens has to be found out afterwards.
    let (gone, stay) = rules.split_at(400);
    controller.withdraw(gone.iter().map(|rule| rule.nlri.clone()));
    daemon.launch()?;
    ensure!(!wire.passes(&attack())?, "the start opened a gap");
    daemon.wait_rules("what was not withdrawn", PATIENCE, |rules| rules.len() == 601 && installed(rules))?;
    ensure!(!wire.passes(&attack())?, "the sweep opened a gap");
    let left = [stay, &[NTP.parse()?]].concat();
    lab::wait_until("the kernel to follow", PATIENCE, || kernel_has(&daemon, &left).ok())?;
    Ok(())
}

#[test]
fn faults_what_nobody_confirms_goes() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let text = configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, "")]);
    let mut daemon = Daemon::start_with_state(&site.switch, &text, "stale-time = \"3s\"")?;
    let controller = controller(&site)?;
    controller.announce_text(NTP)?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && installed(rules))?;
    daemon.kill()?;
    drop(controller);
    daemon.launch()?;
    ensure!(!wire.passes(&attack())?, "a remembered rule is not enforced");
    daemon.wait_rules("a stale rule", PATIENCE, |rules| rules.len() == 1 && rules[0].origins[0].stale)?;
    daemon.wait_rules("its end", PATIENCE, <[_]>::is_empty)?;
    lab::wait_until("the kernel to follow", PATIENCE, || wire.passes(&attack()).ok().filter(|passes| *passes))?;
    Ok(())
}
