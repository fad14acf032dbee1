//! Other programs change the kernel's tables: ours is restored and the damage reported, theirs is
//! never touched.

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Site, needs, wait_until};

use crate::{CONTROLLER_AS, NTP, PATIENCE, attack, configuration, controller, installed, kernel_has, numbered_rules};

/// A table of another program.
const THEIRS_TABLE: &str = "table inet theirs { chain input { type filter hook input priority 0; policy accept; \
                            tcp dport 4444 counter drop; }; }";

#[test]
fn faults_a_flushed_table_is_restored() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    site.switch.exec("nft", &[THEIRS_TABLE])?;
    let theirs = || site.switch.exec("nft", &["list", "table", "inet", "theirs"]);
    let before = theirs()?;
    let daemon = Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, "")]))?;
    let controller = controller(&site)?;
    let mut rules = numbered_rules(0..500);
    rules.push(NTP.parse()?);
    controller.announce(rules.clone());
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 501 && installed(rules))?;

    let ours = daemon.ruleset()?;
    let chain = ours.lines().find_map(|line| line.trim().strip_prefix("chain ")).context("a chain of ours")?;
    let chain = chain.trim_end_matches(" {");
    let tampering: [&[&str]; 3] = [
        &["delete", "table", "ip", "floodgate"],
        &["flush", "chain", "ip", "floodgate", chain],
        &["flush", "table", "ip", "floodgate"],
    ];
    for (count, command) in (1..).zip(tampering) {
        ensure!(!wire.passes(&attack())?, "not dropped before {command:?}");
        site.switch.exec("nft", command)?;
        daemon.wait_status("the report", PATIENCE, |status| status.damages >= count)?;
        wait_until("the filters", PATIENCE, || {
            kernel_has(&daemon, &rules).ok().filter(|()| !wire.passes(&attack()).unwrap_or(true))
        })
        .with_context(|| format!("{command:?}: {:?}", kernel_has(&daemon, &rules)))
        .with_context(|| daemon.explain())?;
    }
    ensure!(daemon.cli(&["history"])?.contains("damaged"), "the history does not tell: {}", daemon.cli(&["history"])?);
    ensure!(theirs()? == before, "another's table was touched: {}", theirs()?);

    // Everything at once, as `systemctl restart nftables` does.
    let damages = daemon.status()?.damages;
    site.switch.exec("nft", &["flush", "ruleset"])?;
    daemon.wait_status("the report", PATIENCE, |status| status.damages > damages)?;
    wait_until("the filters", PATIENCE, || kernel_has(&daemon, &rules).ok())?;
    ensure!(!wire.passes(&attack())?, "not dropped after the flush");
    ensure!(controller.status().sessions == 1, "the session was lost: {:?}", controller.status());
    Ok(())
}

#[test]
fn faults_another_table_outlives_ours() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    site.switch.exec("nft", &[THEIRS_TABLE])?;
    let theirs = || site.switch.exec("nft", &["list", "ruleset"]);
    let before = theirs()?;
    let mut daemon =
        Daemon::start(&site.switch, &configuration(&[("controller", lab::site::PEER, CONTROLLER_AS, "")]))?;
    let controller = controller(&site)?;
    controller.announce_text(NTP)?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && installed(rules))?;
    controller.withdraw_text(NTP)?;
    daemon.wait_rules("no rule", PATIENCE, <[_]>::is_empty)?;
    daemon.stop()?;
    ensure!(theirs()? == before, "before:\n{before}after:\n{}", theirs()?);
    Ok(())
}
