//! The daemon on a switch with failures: cl-acltool fails or hangs, the table is full, the daemon
//! is killed during a run.

use crate::{Bench, NTP, PATIENCE, udp};
use anyhow::{Context, Result, ensure};
use api::RuleState;
use lab::acltool::Run;
use lab::site::VICTIM;
use lab::{Daemon, needs, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

const DNS: &str = "dst 192.0.2.1/32 proto udp sport 53 then discard";

fn attack() -> Vec<u8> {
    udp(123, VICTIM, 50_000, 440)
}

fn dns() -> Vec<u8> {
    udp(53, VICTIM, 50_000, 440)
}

#[test]
fn a_failing_tool_is_tried_again_ever_more_rarely() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut wire = bench.site.wire()?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    let policy = bench.policy();

    bench.switch.set("switchd", "stopped")?;
    let before = bench.switch.runs().len();
    controller.announce_text(DNS)?;
    let failed = daemon.wait_rules("the words of the switch", PATIENCE, |rules| {
        rules.iter().any(|rule| rule.reason.as_ref().is_some_and(|why| why.contains("endpoint is not connected")))
    })?;
    ensure!(failed.iter().any(|rule| rule.text == NTP && rule.state == RuleState::Installed), "{failed:?}");
    let tries = wait_until("five tries", PATIENCE, || {
        let tries: Vec<Run> = bench.switch.runs().drain(before..).filter(|run| run.ended.is_some()).collect();
        (tries.len() >= 5).then_some(tries)
    })?;
    let pauses: Vec<u128> = tries
        .windows(2)
        .map(|pair| pair[1].began.saturating_sub(pair[0].ended.unwrap_or_default()) / 1_000_000)
        .collect();
    // The first try may be two runs, as the whole file is written anew behind a change that fails.
    ensure!(pauses[1..].iter().zip([250, 500, 1000]).all(|(&pause, least)| pause >= least), "{pauses:?} ms");
    // A further try may be going on just now, and it puts its own file there while it lasts.
    wait_until("the last good file is back", PATIENCE, || (bench.policy() == policy).then_some(()))?;
    ensure!(wire.arrivals(&[attack(), dns()])? == [false, true], "the last good rules are in force");
    let status = daemon.status()?;
    ensure!(status.established == 1, "the session does not care");

    bench.switch.set("switchd", "")?;
    daemon.wait_installed(2)?;
    ensure!(wire.arrivals(&[attack(), dns()])? == [false, false]);
    Ok(())
}

#[test]
fn a_hanging_tool_delays_no_session_and_is_ended() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut wire = bench.site.wire()?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration("timeout = \"2s\""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    bench.switch.set("hang", "yes")?;
    controller.announce_text(DNS)?;
    daemon.wait_rules("the time-out", PATIENCE, |rules| {
        rules.iter().any(|rule| rule.reason.as_ref().is_some_and(|why| why.contains("did not end")))
    })?;
    ensure!(wire.arrivals(&[attack(), dns()])? == [false, true], "the last good rules are in force");
    ensure!(controller.status().sessions == 1 && daemon.status()?.established == 1, "{:?}", controller.status());
    bench.switch.set("hang", "")?;
    daemon.wait_installed(2)?;
    ensure!(wire.arrivals(&[attack(), dns()])? == [false, false]);
    Ok(())
}

#[test]
fn killed_between_the_file_and_the_run() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for withdrawn_meanwhile in [false, true] {
        let bench = Bench::new("5.0")?;
        let mut wire = bench.site.wire()?;
        let controller = bench.controller()?;
        let mut daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
        daemon.wait_established("controller", PATIENCE)?;
        let runs = bench.wait_first_run()?;
        bench.switch.set("hang", "yes")?;
        controller.announce_text(NTP)?;
        wait_until("the run", PATIENCE, || (bench.switch.runs().len() > runs).then_some(()))?;
        daemon.kill()?;
        // What it had started ends as well, without having installed anything.
        for pid in bench.site.switch.processes() {
            // It may have ended by itself.
            let pid = Pid::from_raw(i32::try_from(pid)?).context("a process")?;
            let _ = kill_process(pid, Signal::KILL);
        }
        bench.switch.set("hang", "")?;
        ensure!(bench.policy().is_some_and(|text| text.contains("--sport 123")) && bench.kernel()?.is_empty());
        ensure!(wire.passes(&attack())?, "the file alone does nothing");
        if withdrawn_meanwhile {
            controller.withdraw_text(NTP)?;
        }
        daemon.launch()?;
        if withdrawn_meanwhile {
            daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
            bench.wait_clean(&daemon)?;
            ensure!(wire.passes(&attack())?);
        } else {
            daemon.wait_installed(1)?;
            ensure!(!wire.passes(&attack())?, "the same file is installed all the same");
        }
    }
    Ok(())
}

#[test]
fn a_run_that_outlives_us_is_waited_for() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let controller = bench.controller()?;
    let mut daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    daemon.wait_established("controller", PATIENCE)?;
    let runs = bench.wait_first_run()?;
    bench.switch.set("delay", "2000")?;
    controller.announce_text(NTP)?;
    wait_until("the run", PATIENCE, || (bench.switch.runs().len() > runs).then_some(()))?;
    daemon.kill()?;
    daemon.launch()?;
    daemon.wait_installed(1)?;
    let runs = bench.switch.runs();
    for pair in runs.windows(2) {
        ensure!(pair[0].ended.is_some_and(|ended| ended <= pair[1].began), "two at once: {runs:?}");
    }
    ensure!(bench.kernel()?.contains("--sport 123"));
    Ok(())
}

#[test]
fn what_has_no_room_is_shown_and_comes_in_when_there_is_some() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration("capacity-v4 = 20\nreserve = 0"))?;
    let rule = |n: u32| format!("dst 192.0.2.{n}/32 proto udp sport 123 then discard");
    for n in 1..=30 {
        controller.announce_text(&rule(n))?;
    }
    let count = |rules: &[api::RuleView], state: RuleState| rules.iter().filter(|rule| rule.state == state).count();
    let such = |rules: &[api::RuleView]| {
        rules.len() == 30
            && count(rules, RuleState::Installed) + count(rules, RuleState::OverCapacity) == 30
            && count(rules, RuleState::Installed) > 10
    };
    let rules = daemon.wait_rules("a full table", PATIENCE, such)?;
    let left_out: Vec<_> = rules.iter().filter(|rule| rule.state == RuleState::OverCapacity).collect();
    ensure!(
        left_out.iter().all(|rule| rule.reason.as_ref().is_some_and(|why| why.contains("of 20 are left"))),
        "{left_out:?}"
    );
    let fits = rules.iter().take_while(|rule| rule.state == RuleState::Installed).count();
    ensure!(fits == count(&rules, RuleState::Installed), "in enforcement order: {rules:?}");
    let policy = bench.policy().context("a file")?;
    ensure!(policy.matches("-j DROP").count() == fits, "{policy}");
    for n in 1..=12 {
        controller.withdraw_text(&rule(n))?;
    }
    daemon.wait_installed(18).map(drop)
}

#[test]
fn a_stopped_daemon_removes_its_rules_and_leaves_those_of_others() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("4.4")?;
    // As the proof of concept leaves them behind, and a file that is none of ours.
    fs::write(
        bench.switch.policy_directory().join("60flowspec3.rules"),
        "[iptables]\n-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --dport 9 -j DROP\n",
    )?;
    fs::write(
        bench.switch.policy_directory().join("70mine.rules"),
        "[iptables]\n-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --dport 7 -j DROP\n",
    )?;
    bench.site.switch.exec(bench.switch.tool(), &["-i"])?;
    let mut wire = bench.site.wire()?;
    let probes = [udp(9, VICTIM, 9, 10), udp(9, VICTIM, 7, 10), attack()];
    ensure!(wire.arrivals(&probes)? == [false, false, true]);
    let controller = bench.controller()?;
    let mut daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    ensure!(wire.arrivals(&probes)? == [true, false, false], "the script's file is taken over");
    ensure!(daemon.stop()?.success());
    ensure!(wire.arrivals(&probes)? == [true, false, true]);
    ensure!(bench.policy().is_none() && bench.switch.policy_directory().join("70mine.rules").exists());
    Ok(())
}

#[test]
fn a_withdrawal_is_answered_when_the_switch_forwards_the_packets() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut wire = bench.site.wire()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    bench.switch.set("delay", "700")?;
    for command in [&["withdraw", NTP][..], &["clear"]] {
        daemon.cli(&["announce", NTP])?;
        daemon.wait_installed(1)?;
        ensure!(wire.arrivals(&[attack(), dns()])? == [false, true], "announced");
        daemon.cli(command)?;
        ensure!(wire.arrivals(&[attack(), dns()])? == [true, true], "{command:?}");
    }
    Ok(())
}
