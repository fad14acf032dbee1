//! Lost sessions: the rules are removed at once and together, or stay as long as configured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Daemon, Process, Site, needs, packet, wait_until};

use crate::{
    CONTROLLER_AS, NTP, PATIENCE, attack, configuration, controller, installed, kernel_has, numbered_rules, speaker,
};

#[test]
fn faults_a_lost_session_takes_its_rules_in_one_transaction() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let graceless = "graceful-restart = false\n";
    let daemon =
        Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, graceless)]))?;
    let controller = controller(&site)?;
    let mut rules = numbered_rules(0..1000);
    rules.push(NTP.parse()?);
    controller.announce(rules.clone());
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 1001 && installed(rules))?;
    kernel_has(&daemon, &rules)?;
    ensure!(!wire.passes(&attack())?, "not dropped");

    // nft tells each transaction that the kernel commits as a new generation.
    let mut monitor = site.switch.command("stdbuf")?;
    monitor.args(["--output=L", "nft", "monitor"]);
    let mut monitor = Process::spawn("nft monitor", monitor)?;
    let mark_it = |name: &str| {
        let table = |verb: &str| site.switch.exec("nft", &[&format!("{verb} table inet {name}")]);
        table("add").and_then(|_| table("delete"))
    };
    wait_until("nft monitor to listen", PATIENCE, || {
        mark_it("first").ok().filter(|_| monitor.log().contains("first"))
    })?;
    let mark = monitor.mark();
    controller.forget();
    controller.cut();
    daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
    wait_until("the kernel to follow", PATIENCE, || kernel_has(&daemon, &[]).ok())?;
    ensure!(wire.passes(&attack())?, "still dropped");
    mark_it("last")?;
    monitor.wait_for_line_after(mark, "delete table inet last", PATIENCE)?;
    let log = monitor.log();
    let generations: Vec<&str> =
        log[mark..].lines().filter(|line| line.contains("new generation") && !line.contains("(nft)")).collect();
    ensure!(generations.len() == 1, "{} transactions: {generations:?}\n{}", generations.len(), &log[mark..]);
    Ok(())
}

#[test]
fn faults_a_rule_for_all_of_tcp_does_not_cut_its_own_session() -> Result<()> {
    needs!(root, "nft");
    const EVERYTHING: &str = "src 0.0.0.0/0 proto tcp then discard";
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let allowed = "allow.without-destination = true\n";
    let daemon =
        Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, allowed)]))?;
    let controller = speaker(&site, lab::site::PEER, CONTROLLER_AS, 6)?;
    let (from, to) = (([198, 51, 100, 7], 4000).into(), (lab::site::VICTIM.parse::<std::net::IpAddr>()?, 80).into());
    let to_the_victim = &packet::tcp(from, to, packet::tcp_flags::SYN, b"");
    controller.announce_text(EVERYTHING)?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && installed(rules))?;
    ensure!(!wire.passes(to_the_victim)?, "not dropped");
    // For longer than both sides would wait for one: they come every two seconds.
    let before = controller.status().keepalives;
    let status = wait_until("keepalives", PATIENCE, || {
        Some(controller.status()).filter(|status| status.sessions != 1 || status.keepalives >= before + 5)
    })?;
    ensure!(status.sessions == 1, "the session was lost: {status:?}\n{}", daemon.explain());
    // It can be taken back, over the session that it would have cut.
    controller.withdraw_text(EVERYTHING)?;
    daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
    wait_until("traffic", PATIENCE, || wire.passes(to_the_victim).ok().filter(|passes| *passes))?;
    Ok(())
}

#[test]
fn faults_hold_on_loss_keeps_the_rules() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let held = "graceful-restart = false\nhold-on-loss = \"8s\"\n";
    let daemon = Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, held)]))?;
    let controller = controller(&site)?;
    controller.announce(numbered_rules(0..50));
    controller.announce_text(NTP)?;
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 51 && installed(rules))?;

    // The peer comes back without some of its rules: those go when it has sent all of them, not
    // before and not later.
    controller.cut();
    daemon.wait_status("the loss", PATIENCE, |status| status.established == 0)?;
    ensure!(!wire.passes(&attack())?, "a held rule is not enforced");
    controller.withdraw(numbered_rules(0..20).into_iter().map(|rule| rule.nlri));
    daemon.wait_rules("what was confirmed", PATIENCE, |rules| rules.len() == 31 && installed(rules))?;
    ensure!(!wire.passes(&attack())?, "a confirmed rule is not enforced");

    // The peer stays away: the rules end with the time that the operator gave them.
    let lost = Instant::now();
    drop(controller);
    let stale = daemon.wait_rules("stale rules", PATIENCE, |rules| rules.iter().all(|rule| rule.origins[0].stale))?;
    ensure!(stale.len() == 31, "{} rules are held", stale.len());
    ensure!(!wire.passes(&attack())?, "a held rule is not enforced");
    daemon.wait_rules("their end", PATIENCE, <[_]>::is_empty)?;
    let held = lost.elapsed();
    ensure!(held > Duration::from_secs(6), "held for {held:?}");
    wait_until("the kernel to follow", PATIENCE, || kernel_has(&daemon, &[]).ok())?;
    ensure!(wire.passes(&attack())?, "still dropped");
    Ok(())
}
