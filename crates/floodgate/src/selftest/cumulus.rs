//! `floodgate selftest cumulus`: tests what a switch really accepts, and prints a report.

use super::interruptible::{interruptible, progress};
use crate::command_line::SelfTestArgs;
use crate::exit_status::{NEGATIVE, OK};
use crate::output::Output;
use anyhow::{Context, Result};
use config::Config;
use dataplane::cumulus::{self, ProbeOutcome, SelfTest, Settings};

/// Runs it; `NEGATIVE` when something of it may be left on the switch.
pub(super) fn run(args: &SelfTestArgs) -> Result<u8> {
    let settings = settings(args)?;
    let (tested, ending) = (settings.clone(), "the run under way ends first, then its file is removed");
    let found = interruptible(ending, move |stop| cumulus::self_test(&tested, stop, progress))?;
    let found = found.context("the self-test")?;
    let mut output = Output::new();
    for line in report(&settings, &found) {
        output.line(&line)?;
    }
    output.finish()?;
    Ok(if found.left_behind.is_some() || found.interrupted { NEGATIVE } else { OK })
}

fn settings(args: &SelfTestArgs) -> Result<Settings> {
    let mut dataplane = match &args.config {
        Some(path) => Config::load(path)?.dataplane,
        None => config::Dataplane::default(),
    };
    if !args.interfaces.is_empty() {
        dataplane.interfaces.clone_from(&args.interfaces);
    }
    for pattern in &dataplane.interfaces {
        if let Some(message) = config::unfit_interface(pattern) {
            anyhow::bail!(message);
        }
    }
    let release = config::release_of_this_machine();
    anyhow::ensure!(
        dataplane.cumulus.release.or(release).is_some(),
        "/etc/os-release names no release of Cumulus Linux: run this on the switch, or set release in [dataplane.cumulus]"
    );
    Ok(dataplane.cumulus.settings(&dataplane.interfaces, release))
}

fn report(settings: &Settings, found: &SelfTest) -> Vec<String> {
    let mut lines = vec![
        format!("floodgate {} selftest cumulus", env!("CARGO_PKG_VERSION")),
        format!("release {}, ASIC {} (as configured)", settings.release, settings.asic.name()),
        format!("entries in use without the test: {}", found.in_use.as_deref().unwrap_or("not shown by this switch")),
        String::new(),
        "TAKEN    ENTRIES v4/v6/ranges  KERNEL  PACKETS  SECONDS  WHAT".to_owned(),
    ];
    for probe in &found.probes {
        lines.push(line(probe));
        if let Some(words) = &probe.refused {
            lines.extend(probe.rules.iter().map(|rule| format!("           rule: {rule}")));
            lines.extend(words.lines().map(|line| format!("           said: {line}")));
        }
    }
    if !found.unknown_words.is_empty() {
        lines.push("\nunknown output of cl-acltool:".to_owned());
        lines.extend(found.unknown_words.iter().map(|words| format!("  {words}")));
    }
    lines.push(String::new());
    if found.interrupted {
        lines.push("ENDED EARLY: not everything was tried".to_owned());
    }
    lines.push(match &found.left_behind {
        Some(why) => format!("NOT REMOVED: remove 61floodgate-selftest.rules and run cl-acltool -i: {why}"),
        None => "removed: nothing of the test is left on the switch".to_owned(),
    });
    lines
}

fn line(probe: &ProbeOutcome) -> String {
    let taken = if probe.refused.is_none() { "yes" } else { "REFUSED" };
    let entries = match probe.entries {
        Some([v4, v6, ranges]) => format!("{v4}/{v6}/{ranges}"),
        None => "not shown".to_owned(),
    };
    let seconds = probe.took.as_secs_f64();
    format!("{taken:<8} {entries:<21} {:>7} {:>8} {seconds:>8.3}  {}", probe.in_kernel, probe.packets, probe.name)
}
