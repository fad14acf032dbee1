//! Continuous reloads, while a peer comes and goes and our tables are flushed: the other peer's
//! session and its rule stay.

use api::RuleState;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::scenario::NTP;
use lab::site::PEER;
use lab::{Daemon, Site, needs, wait_until};

use crate::place::{SECOND, attack, configuration, configuration_with, speaker};
use crate::{PATIENCE, amount, resident};

#[test]
fn torture_reloads_of_all_kinds() -> Result<()> {
    needs!(root, "nft");
    let count = amount(12, 500);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let usual = configuration("nftables");
    let mut daemon = Daemon::start(&site.switch, &usual)?;
    let (odd, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
    daemon.wait_established("one", PATIENCE)?;
    one.announce_text(NTP)?;
    odd.announce_text("dst 10.1.2.3/32 then discard")?;
    wait_until("the rule", PATIENCE, || wire.passes(&attack()).ok().filter(|passes| !passes))?;
    let pid = daemon.process()?.pid();
    let before = resident(pid)?;
    let without_many = usual.replacen(&configuration_peer(&usual)?, "", 1);
    let kinds = [
        configuration_with("nftables", "hold-time = \"30s\""),
        without_many,
        configuration_with("nftables", "allow.destinations = [\"10.0.0.0/8\"]"),
        "this is no configuration".to_owned(),
        usual.clone(),
    ];
    let began = Instant::now();
    for (number, text) in (0..count).zip(kinds.iter().cycle()) {
        daemon.configure(text)?;
        let told = daemon.cli(&["reload"]);
        ensure!(told.is_ok() != text.starts_with("this"), "{told:?}");
        if number % 5 == 2 {
            odd.cut();
        }
        ensure!(!wire.passes(&attack())?, "an attack passed after reload {number}");
    }
    ensure!(one.status().sessions == 1, "another's session was lost: {:?}", one.status());
    daemon.process()?.check_running().context("the daemon")?;
    let grown = resident(pid)?.saturating_sub(before) >> 20;
    println!("{count} reloads in {:?}, {grown} MiB more resident", began.elapsed());
    ensure!(grown < 50, "the daemon grew by {grown} MiB");
    Ok(())
}

/// The part of the first peer.
fn configuration_peer(text: &str) -> Result<String> {
    let start = text.find("[[peer]]").context("a peer")?;
    let length = text[start + 1..].find("[[peer]]").context("another")? + 1;
    Ok(text[start..start + length].to_owned())
}

#[test]
fn torture_flushed_tables() -> Result<()> {
    needs!(root, "nft");
    let count = amount(5, 370);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let daemon = Daemon::start(&site.switch, &configuration("nftables"))?;
    let (many, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
    for peer in ["many", "one"] {
        daemon.wait_established(peer, PATIENCE)?;
    }
    one.announce_text(NTP)?;
    let attack = attack();
    let began = Instant::now();
    for number in 0..count {
        // Rules come while the table goes.
        many.announce_text(&format!("dst 10.2.{}.{}/32 then discard", number / 256, number % 256))?;
        let command: &[&str] = match number % 3 {
            0 => &["flush", "ruleset"],
            1 => &["delete", "table", "ip", "floodgate"],
            _ => &["flush", "table", "ip", "floodgate"],
        };
        // It may be gone this very moment.
        let _ = site.switch.exec("nft", command);
        let dropped = || wire.passes(&attack).ok().filter(|passes| !passes);
        wait_until("the filters", PATIENCE, dropped).with_context(|| format!("{command:?}"))?;
    }
    let all = count as usize + 1;
    daemon.wait_rules("all rules", PATIENCE, |rules| {
        rules.len() == all && rules.iter().all(|rule| rule.state == RuleState::Installed)
    })?;
    println!("{count} times flushed in {:?}, put right {} times", began.elapsed(), daemon.status()?.damages);
    Ok(())
}
