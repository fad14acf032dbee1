//! `floodgate selftest cumulus` with the emulator: it reports what the switch accepts, and leaves
//! nothing installed.

use crate::{Bench, NTP, PATIENCE, all_in_force};
use anyhow::{Context, Result, ensure};
use dataplane::Dataplane;
use lab::{needs, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Command, Stdio};

/// The command, in the switch's namespace.
fn command(bench: &Bench, directory: &std::path::Path) -> Result<Command> {
    let config = directory.join("floodgate.toml");
    fs::write(&config, bench.configuration(""))?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", bench.site.switch.name()]);
    command.arg(lab::daemon::program()?).args(["selftest", "cumulus", "--config"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// The file is gone, and its rules are.
fn is_clean(bench: &Bench) -> Result<bool> {
    let own = bench.switch.policy_directory().join("61floodgate-selftest.rules");
    let kernel = bench.site.switch.exec("iptables-legacy-save", &[])?;
    Ok(!own.exists() && !kernel.contains("192.0.2.2") && !bench.switch.programmed().contains("192.0.2.2"))
}

#[test]
fn the_report_says_what_the_switch_takes() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore", "ip6tables-legacy-restore");
    let bench = Bench::new("5.9")?;
    // What is in force stays in force.
    all_in_force(&bench.dataplane().replace(&bench.ruleset(&[NTP]))?)?;
    let directory = tempfile::tempdir()?;
    let output = command(&bench, directory.path())?.output()?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let whole = format!("{report}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{whole}");
    let line = |what: &str| report.lines().find(|line| line.ends_with(&format!("  {what}"))).context(whole.clone());
    for (what, words) in [
        ("the article's rule", "yes      1/0/0"),
        ("a comment", "yes      1/0/0"),
        ("ranges of both ports", "yes      2/0/"),
        ("IPv6, one host", "yes      0/1/0"),
        ("100 rules", "yes      100/0/0"),
        ("fragments", "REFUSED"),
        ("TCP flag ECE", "yes"),
        ("an inverse match (listed as unsupported)", "REFUSED"),
    ] {
        ensure!(line(what)?.starts_with(words), "{what}: {}", line(what)?);
    }
    ensure!(report.contains("said: error: line 3 : option -f not supported error processing rule"), "{whole}");
    ensure!(report.contains("removed: nothing of the test is left on the switch"), "{whole}");
    ensure!(is_clean(&bench)? && bench.kernel()?.contains("--sport 123"), "{}", bench.kernel()?);
    Ok(())
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.9")?;
    let directory = tempfile::tempdir()?;
    bench.switch.set("delay", "100")?;
    let mut child = command(&bench, directory.path())?.spawn()?;
    wait_until("some probes", PATIENCE, || (bench.switch.runs().len() > 4).then_some(()))?;
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    let ended = wait_until("its end", PATIENCE, || child.try_wait().ok().flatten());
    let _ = child.kill();
    let report = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let status = ended?;
    ensure!(status.code() == Some(1), "{status:?}: {report}");
    ensure!(report.contains("ENDED EARLY") && report.contains("removed: nothing of the test is left"), "{report}");
    ensure!(is_clean(&bench)?);
    ensure!(bench.switch.runs().len() < 30, "it went on: {:?}", bench.switch.runs().len());
    Ok(())
}
