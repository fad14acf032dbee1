//! Which process ends or is killed, and what happens to the filters.

use crate::{PATIENCE, Scene, configuration, wait_clean, wait_installed, with_each_version};
use anyhow::{Context, Result, ensure};
use api::RuleState;
use lab::peers::PeerDaemon as _;
use lab::scenario::{CONTROLLER_AS, NTP, check_dropped};
use lab::site::{PEER, Site};
use lab::{needs, wait_until};
use std::time::{Duration, Instant};

/// The process ids of `floodgate exabgp` in the switch.
fn floodgates(site: &Site) -> Vec<u32> {
    let is = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|octet| *octet == 0).any(|word| word == b"exabgp")
            && words.split(|octet| *octet == 0).next().is_some_and(|program| program.ends_with(b"floodgate"))
    };
    site.switch.processes().into_iter().filter(is).collect()
}

fn kill(pid: u32) -> Result<()> {
    // SAFETY: a signal to a process that this test has found in its own namespace.
    let done = unsafe { libc::kill(i32::try_from(pid)?, libc::SIGKILL) };
    ensure!(done == 0, "kill {pid}");
    Ok(())
}

fn holding(time: &str) -> String {
    configuration(&format!(
        "[[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {CONTROLLER_AS}\nport = 1179\nhold-on-loss = \"{time}\"\n"
    ))
}

/// ExaBGP dies without a word: its sessions are lost, and the filters with them. Nothing of us
/// stays behind.
#[test]
fn exabgp_is_killed() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&configuration(""), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        exabgp.process().context("it runs")?.kill()?;
        wait_clean(site)?;
        check_dropped(&mut wire, false)?;
        wait_until("the end of floodgate", PATIENCE, || floodgates(site).is_empty().then_some(()))?;
        ensure!(daemon.ruleset()?.is_empty(), "left behind: {}", daemon.ruleset()?);
        Ok(())
    })
}

/// With hold-on-loss the filters stay so long, with nobody there; and then they go, and we with
/// them.
#[test]
fn rules_are_held_when_exabgp_is_killed() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&holding("14s"), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        let killed = Instant::now();
        exabgp.process().context("it runs")?.kill()?;
        daemon.wait_rules("a stale rule", PATIENCE, |rules| rules.len() == 1 && rules[0].state == RuleState::Stale)?;
        while killed.elapsed() < Duration::from_millis(2500) {
            check_dropped(&mut wire, true)?;
        }
        wait_clean(site)?;
        ensure!(killed.elapsed() >= Duration::from_secs(13), "gone after {:?}", killed.elapsed());
        check_dropped(&mut wire, false)?;
        wait_until("the end of floodgate", PATIENCE, || floodgates(site).is_empty().then_some(()))?;
        Ok(())
    })
}

/// An ExaBGP that comes back within that time starts another of us, which takes over: not one
/// packet passes in between.
#[test]
fn the_next_start_takes_over_what_is_held() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&holding("10m"), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        let first = floodgates(site);
        exabgp.process().context("it runs")?.kill()?;
        daemon.wait_rules("a stale rule", PATIENCE, |rules| rules.len() == 1 && rules[0].state == RuleState::Stale)?;
        let dropped_all_the_time = std::thread::scope(|scope| -> Result<()> {
            let again = scope.spawn(|| exabgp.restart());
            while !again.is_finished() || floodgates(site) == first {
                check_dropped(&mut wire, true)?;
            }
            again.join().expect("no panic")
        });
        dropped_all_the_time?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        ensure!(floodgates(site).len() == 1 && floodgates(site) != first, "{first:?} {:?}", floodgates(site));
        exabgp.stop()?;
        wait_clean(site)?;
        Ok(())
    })
}

/// We are killed: the filters stay, ExaBGP starts us again, and the peer is asked to send its rules
/// again, though its session never ended.
#[test]
fn floodgate_is_killed() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&configuration(""), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        let first = floodgates(site);
        ensure!(first.len() == 1, "{first:?}");
        kill(first[0])?;
        wait_until("another floodgate", PATIENCE, || {
            let now = floodgates(site);
            check_dropped(&mut wire, true).ok()?;
            (now.len() == 1 && now != first).then_some(())
        })
        .with_context(|| exabgp.process().map(|process| process.log()).unwrap_or_default())?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        ensure!(controller.status().sessions == 1, "the session ended: {:?}", controller.status());
        controller.withdraw_text(NTP)?;
        wait_clean(site)?;
        exabgp.stop()?;
        Ok(())
    })
}
