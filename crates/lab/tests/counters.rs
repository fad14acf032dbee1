//! A rule's counter is kept as long as the rule exists: over `pause` and `resume`, and over a
//! change of the back end.

use api::{Backend, DataplaneState, RuleState};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::scenario::{NTP, reflected};
use lab::site::{SWITCH, VICTIM, Wire};
use lab::{Daemon, PATIENCE, Site, needs};

fn configuration(backend: Backend) -> String {
    format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\nlisten = []\n\n\
         [dataplane]\nbackend = \"{backend}\"\ninterfaces = [\"swp*\"]\nxdp.capacity = 1024\n"
    )
}

/// One packet that the rule takes, while it is in force or not.
fn attack(wire: &mut Wire, passes: bool) -> Result<()> {
    let passed = wire.passes(&reflected(123, VICTIM))?;
    ensure!(passed == passes, "passed: {passed}");
    Ok(())
}

fn counted(daemon: &Daemon<'_>, packets: u64) -> Result<()> {
    let what = format!("{packets} packets counted");
    daemon.wait_rules(&what, PATIENCE, |rules| {
        rules[0].packets == Some(packets) && rules[0].state == RuleState::Installed
    })?;
    // And no more of them a moment later.
    std::thread::sleep(Duration::from_millis(1100));
    let rule = &daemon.rules()?[0];
    ensure!(rule.packets == Some(packets), "{rule:?}");
    ensure!(rule.dropped.is_none_or(|dropped| dropped == packets), "{rule:?}");
    Ok(())
}

#[test]
fn counts_continue_after_a_pause_and_in_another_back_end() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut expected = 0;
    let daemon = Daemon::start(&site.switch, &configuration(Backend::Nftables))?;
    daemon.cli(&["announce", NTP])?;
    for backend in [Backend::Nftables, Backend::Xdp, Backend::Nftables] {
        daemon.configure(&configuration(backend))?;
        daemon.cli(&["reload"])?;
        daemon.wait_status("the back end", PATIENCE, |status| {
            status.backend == backend
                && status.dataplane == DataplaneState::Applied
                && status.rules_in(RuleState::Installed) == 1
        })?;
        counted(&daemon, expected)?;
        attack(&mut wire, false)?;
        expected += 1;
        for _ in 0..2 {
            daemon.cli(&["pause"])?;
            attack(&mut wire, true)?;
            daemon.cli(&["resume"])?;
            attack(&mut wire, false)?;
            expected += 1;
        }
        counted(&daemon, expected)?;
    }
    daemon.cli(&["withdraw", "dst 192.0.2.1/32 proto udp sport 123"])?;
    daemon.cli(&["announce", NTP])?;
    counted(&daemon, 0)
}
