//! `backend = "xdp"` where it cannot filter: a kernel that rejects the program, missing interfaces,
//! pins that somebody removed. What is not filtered is shown as such, and recovers by itself if
//! possible.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use api::{Backend, DataplaneState, RuleState, RuleView};
use lab::scenario::{NTP, reflected};
use lab::site::{NEIGHBOUR, SWITCH, VICTIM, Wire};
use lab::{Daemon, End, PATIENCE, Site, needs, veth, wait_until, without_bpf_programs};
use rustix::mount::{UnmountFlags, unmount};

fn configuration(interfaces: &str, more: &str) -> String {
    format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\nlisten = []\n\n[dataplane]\nbackend = \"xdp\"\ninterfaces = [{interfaces}]\n\
         xdp.capacity = 1024\n{more}\n"
    )
}

fn announce(daemon: &Daemon<'_>, rule: &str) {
    // What it answers depends on whether the rule could be put in force, which is looked at
    // elsewhere.
    let _ = daemon.cli(&["announce", rule]);
}

fn is_filtered(wire: &mut Wire) -> Result<bool> {
    let arrived = wire.arrivals(&[reflected(123, VICTIM), reflected(124, VICTIM), reflected(123, NEIGHBOUR)])?;
    ensure!(arrived[1..] == [true, true], "{arrived:?}");
    Ok(!arrived[0])
}

fn is_installed(rules: &[RuleView]) -> bool {
    !rules.is_empty() && rules.iter().all(|rule| rule.state == RuleState::Installed)
}

fn has_failed(rules: &[RuleView], why: &str) -> bool {
    rules.len() == 1
        && rules[0].state == RuleState::Failed
        && rules[0].reason.as_ref().is_some_and(|said| said.contains(why))
}

#[test]
fn xdp_on_a_kernel_that_refuses_the_program_is_one_line_and_unhealthy() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut daemon = Daemon::prepare(&site.switch, &configuration("\"swp1\"", ""))?;
    daemon.launch_with(without_bpf_programs)?;
    announce(&daemon, NTP);
    let why = "XDP is not available on this kernel";
    let rules = daemon.wait_rules("the reason", PATIENCE, |rules| has_failed(rules, why))?;
    let reason = rules[0].reason.as_deref().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(reason.contains(kernel.trim()) && reason.contains("nftables"), "{reason}");
    ensure!(!reason.contains('\n') && reason.len() < 500, "{reason}");
    let (code, said) = daemon.get("/healthz")?;
    ensure!(code == 503 && said.contains(why), "{code} {said}");
    ensure!(daemon.log().lines().all(|line| line.len() < 1000), "{}", daemon.log());
    ensure!(!is_filtered(&mut site.wire()?)?, "something filters");
    Ok(())
}

#[test]
fn xdp_falls_back_where_the_configuration_says_so_and_tells() -> Result<()> {
    needs!(root, "ip", "nft");
    let site = Site::new()?;
    let mut daemon = Daemon::prepare(&site.switch, &configuration("\"swp*\"", "xdp.fallback = \"nftables\""))?;
    daemon.launch_with(without_bpf_programs)?;
    announce(&daemon, NTP);
    daemon.wait_rules("the rule in force", PATIENCE, is_installed)?;
    ensure!(is_filtered(&mut site.wire()?)?, "nothing filters");
    let status = daemon.status()?;
    let fallback = status.fallback.context("no fallback is told")?;
    ensure!(
        status.backend == Backend::Nftables && fallback.configured == Backend::Xdp,
        "{} {fallback:?}",
        status.backend
    );
    ensure!(fallback.reason.contains("XDP is not available on this kernel"), "{fallback:?}");
    ensure!(
        status.warnings.iter().any(|warning| warning.contains("and not xdp as configured")),
        "{:?}",
        status.warnings
    );
    let text = daemon.cli(&["status"])?;
    ensure!(text.contains("FALLBACK from xdp to nftables"), "{text}");
    ensure!(daemon.log().contains("its fallback filters instead"), "{}", daemon.log());
    let (_, metrics) = daemon.get("/metrics")?;
    ensure!(metrics.contains("floodgate_dataplane_fallback 1"), "{metrics}");
    ensure!(daemon.get("/healthz")?.0 == 200, "{:?}", daemon.get("/healthz")?);
    // Interfaces that change, and a reload that changes nothing of XDP, leave it in use.
    site.switch.ip(&["link", "add", "swp9", "type", "veth", "peer", "name", "swp8"])?;
    daemon.wait_status("the interface", PATIENCE, |status| {
        status.interfaces.as_ref().is_some_and(|names| names.contains(&"swp9".to_owned()))
    })?;
    daemon.cli(&["reload"])?;
    ensure!(daemon.status()?.backend == Backend::Nftables, "{}", daemon.explain());
    ensure!(is_filtered(&mut site.wire()?)?, "nothing filters any more");
    // Once the program may be loaded, the next start is XDP's again, and takes out what the
    // fallback put in.
    daemon.kill()?;
    daemon.launch()?;
    let status = daemon.wait_status("XDP", PATIENCE, |status| {
        status.backend == Backend::Xdp && status.dataplane == DataplaneState::Applied
    })?;
    ensure!(status.fallback.is_none(), "{status:?}");
    daemon.wait_rules("the rule in force", PATIENCE, is_installed)?;
    Ok(())
}

#[test]
fn xdp_on_an_interface_that_is_not_there_filters_nothing_and_says_so() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let daemon = Daemon::start(&site.switch, &configuration("\"swp9\"", ""))?;
    announce(&daemon, NTP);
    let why = "no interface is filtered (swp9: no interface has this name)";
    daemon.wait_rules("the reason", PATIENCE, |rules| has_failed(rules, why))?;
    let (code, said) = daemon.get("/healthz")?;
    ensure!(code == 503 && said.contains("swp9"), "{code} {said}");
    let text = format!("{:#}", daemon.cli(&["status"]).err().context("status answers with yes")?);
    ensure!(text.contains("swp9 NOT FILTERED") && text.contains("swp9 is not filtered"), "{text}");
    // It comes, goes and comes.
    for _ in 0..2 {
        veth(End::new(&site.attacker, "eth9", &[]), End::new(&site.switch, "swp9", &[]))?;
        daemon.wait_rules("the rule in force", PATIENCE, is_installed)?;
        ensure!(daemon.get("/healthz")?.0 == 200, "{:?}", daemon.get("/healthz")?);
        site.switch.ip(&["link", "del", "swp9"])?;
        daemon.wait_rules("the reason again", PATIENCE, |rules| has_failed(rules, why))?;
    }
    Ok(())
}

#[test]
fn xdp_pins_that_somebody_removes_come_back() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("\"swp1\"", ""))?;
    announce(&daemon, NTP);
    daemon.wait_rules("the rule in force", PATIENCE, is_installed)?;
    ensure!(is_filtered(&mut wire)?, "nothing filters");
    let directory = site.switch.bpf_directory().join("floodgate");
    let names = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        names.sort();
        names
    };
    let all = names();
    ensure!(all.len() == 4, "{all:?}");
    // Each alone, and the directory with all of them.
    for pin in all.iter().map(Some).chain([None]) {
        let damages = daemon.status()?.damages;
        match pin {
            Some(pin) => fs::remove_file(pin)?,
            None => fs::remove_dir_all(&directory)?,
        }
        wait_until("the names", PATIENCE, || (names() == all).then_some(()))
            .with_context(|| format!("{pin:?}: {:?}\n{}", names(), daemon.explain()))?;
        daemon.wait_status("that it was put right", PATIENCE, |status| status.damages > damages)?;
        ensure!(is_filtered(&mut wire)?, "{pin:?}: nothing filters");
    }
    // Changes go on, and the next run takes over what is there, counters too.
    announce(&daemon, "dst 192.0.2.9/32 then discard");
    daemon.wait_rules("both in force", PATIENCE, |rules| rules.len() == 2 && is_installed(rules))?;
    let count = |rules: &[RuleView]| rules.iter().filter_map(|rule| rule.packets).sum::<u64>();
    let counted = daemon.wait_rules("the count", PATIENCE, |rules| count(rules) == 6)?;
    daemon.kill()?;
    daemon.launch()?;
    daemon.wait_rules("the same count", PATIENCE, |rules| is_installed(rules) && count(rules) == count(&counted))?;
    ensure!(is_filtered(&mut wire)?, "nothing filters after the restart");
    Ok(())
}

#[test]
fn xdp_mounts_the_bpf_file_system_where_there_is_none() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut daemon = Daemon::prepare(&site.switch, &configuration("\"swp1\"", ""))?;
    daemon.launch_with(|command| {
        let without = || Ok(unmount(c"/sys/fs/bpf", UnmountFlags::DETACH)?);
        // SAFETY: between fork and exec only a system call is made, on a constant.
        unsafe { command.pre_exec(without) };
    })?;
    announce(&daemon, NTP);
    daemon.wait_rules("the rule in force", PATIENCE, is_installed)?;
    ensure!(is_filtered(&mut site.wire()?)?, "nothing filters");
    // It is not the one that the namespace's programs have otherwise.
    ensure!(!site.switch.bpf_directory().join("floodgate").exists(), "it was there before");
    daemon.stop()?;
    ensure!(!is_filtered(&mut site.wire()?)?, "something filters");
    Ok(())
}
