//! No file descriptors left, at any moment and for any time: what is filtered stays, and everything
//! recovers when there are some again.

use api::RuleState;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::scenario::NTP;
use lab::site::PEER;
use lab::{Daemon, Site, needs, wait_until};

use crate::place::{SECOND, attack, configuration_with, speaker};
use crate::{PATIENCE, amount, position, seed, socket};

/// How many descriptors the process may have from now on.
fn limit(pid: u32, files: u64) -> Result<()> {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).status()?;
    ensure!(status.success(), "prlimit");
    Ok(())
}

fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn descriptors(backend: &str) -> Result<()> {
    let count = amount(4, 300);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let more = "idle-hold-max = \"0s\"";
    let configuration =
        configuration_with(backend, more).replace("[dataplane]\n", "[dataplane]\ninterfaces = [\"swp*\"]\n");
    let mut daemon = Daemon::start(&site.switch, &configuration)?;
    let (odd, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
    daemon.wait_established("many", PATIENCE)?;
    daemon.wait_established("one", PATIENCE)?;
    one.announce_text(NTP)?;
    wait_until("the rule", PATIENCE, || wire.passes(&attack()).ok().filter(|passes| !passes))?;
    let pid = daemon.process()?.pid();
    let most = 4096;
    let usual = open_files(pid)?;
    let mut seed = seed("descriptors")?;
    let began = Instant::now();
    let mut clients = 0;
    for round in 0..count {
        let step = (|| -> Result<()> {
            // None, or some more than there are, up to what a few clients need.
            limit(pid, seed.below(usual as u64 + 30))?;
            let mut idle = Vec::new();
            for _ in 0..2 + seed.below(5) {
                match seed.below(4) {
                    0 => odd.cut(),
                    1 => odd.announce_text(&format!("dst 10.3.{}.{}/32 then discard", round / 256, round % 256))?,
                    2 => idle
                        .extend((0..position(&mut seed, 40)).filter_map(|_| UnixStream::connect(socket(&daemon)).ok())),
                    _ => std::thread::sleep(Duration::from_millis(seed.below(300))),
                }
                ensure!(!wire.passes(&attack())?, "an attack passed without descriptors");
            }
            clients += idle.len();
            limit(pid, most)?;
            drop(idle);
            daemon.wait_established("many", PATIENCE)?;
            odd.announce_text(&format!("dst 10.4.{}.{}/32 then discard", round / 256, round % 256))?;
            let newest = format!("dst 10.4.{}.{}/32 then discard", round / 256, round % 256);
            daemon.wait_rules("the newest rule", PATIENCE, |rules| {
                rules.iter().any(|rule| rule.text == newest && rule.state == RuleState::Installed)
            })?;
            odd.withdraw_text(&newest)?;
            ensure!(!wire.passes(&attack())?, "an attack passed");
            Ok(())
        })();
        step.with_context(|| format!("round {round}\n{}", daemon.explain()))?;
    }
    ensure!(one.status().sessions == 1, "another's session was lost: {:?}", one.status());
    daemon.process()?.check_running()?;
    // Those of clients are given back.
    let now =
        wait_until("as many descriptors as before", PATIENCE, || open_files(pid).ok().filter(|now| *now <= usual + 8))
            .with_context(|| format!("{usual} before, {:?} now", open_files(pid)))?;
    println!(
        "{backend}: {count} times without descriptors in {:.0?}: {clients} clients, 0 leaks, 0 sessions of another peer lost, {usual} descriptors before and {now} after",
        began.elapsed()
    );
    Ok(())
}

#[test]
fn torture_descriptors_nftables() -> Result<()> {
    needs!(root, "nft", "prlimit");
    descriptors("nftables")
}

#[test]
fn torture_descriptors_xdp() -> Result<()> {
    needs!(root, "ip", "prlimit");
    descriptors("xdp")
}
