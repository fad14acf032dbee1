//! The README, followed step by step, as by a new user on a new machine: the first dropped packet,
//! and the service with a controller.
//!
//! These tests use the machine's own network, directories and services. `make kernels` runs the
//! first part on its machines, `make fresh` all of it on a newly installed Debian.

mod service;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::acltool::Switch;
use lab::needs;

const README: &str = include_str!("../../../../README.md");

/// Why they are not run with all others.
macro_rules! machine_of_its_own {
    ($(fn $name:ident() { $body:expr })+) => {$(
        #[test]
        #[ignore = "it uses the machine's own network and directories; make kernels and make fresh run it on machines of their own"]
        fn $name() -> anyhow::Result<()> { $body }
    )+};
}
pub(crate) use machine_of_its_own;

/// Waits until the daemon has put its first rules, none, in force.
const READY: &str = "for n in $(seq 3000); do \
                     floodgate status --json 2>/dev/null | grep -q '\"dataplane\":\"applied\".*\"applied\":[1-9]' && break; sleep 0.1; done\n";

/// What is under a heading.
fn section(heading: &str) -> Result<&'static str> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).context("no such heading")?;
    Ok(section.split_once("\n## ").map_or(section, |(section, _)| section))
}

/// The configuration under a heading.
fn configuration(heading: &str) -> Result<&'static str> {
    let (_, text) = section(heading)?.split_once("```toml\n").context("no configuration")?;
    Ok(text.split_once("```").context("an end")?.0)
}

/// The commands under a heading, in order; lines that begin with `> ` belong to the command above
/// them.
fn commands(heading: &str) -> Result<Vec<String>> {
    let section = section(heading)?;
    let mut commands: Vec<String> = Vec::new();
    for line in section.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        } else if let Some(more) = line.strip_prefix('>')
            && let Some(command) = commands.last_mut()
        {
            command.push('\n');
            command.push_str(more.trim_start_matches(' '));
        }
    }
    Ok(commands)
}

/// Runs the commands in one shell; what each printed and its exit status.
fn follow(commands: &[String]) -> Result<Vec<(String, i32)>> {
    let directory = tempfile::tempdir()?;
    // Jobs, as an interactive shell has them.
    let mut script = String::from("set -m\n");
    for command in commands {
        script.push_str(command);
        script.push_str("\nprintf '\\n@@ %s\\n' $?\n");
        if command.trim_end().ends_with('&') {
            // Somebody who types is slower than this, unless the machine is emulated.
            script.push_str(READY);
        }
    }
    let program = lab::daemon::program()?;
    let bin = program.parent().context("a directory")?.display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1\n{script}")]).env("PATH", path).current_dir(directory.path());
    let output = shell.output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut parts = Vec::new();
    let mut rest = &*printed;
    for command in commands {
        let (said, behind) = rest.split_once("\n@@ ").with_context(|| format!("{command} did not end:\n{printed}"))?;
        let (status, behind) = behind.split_once('\n').context("a status")?;
        parts.push((said.to_owned(), status.parse()?));
        rest = behind;
    }
    Ok(parts)
}

/// A back end, and what the README's configuration needs for it on a machine that is no switch.
struct Backend {
    name: &'static str,
    /// What the README calls something else there, and its name here.
    other_names: &'static [(&'static str, &'static str)],
    /// The stand-in for the tool of a switch.
    switch: Option<Switch>,
}

impl Backend {
    fn new(name: &'static str) -> Result<Self> {
        if name != "cumulus" {
            return Ok(Self { name, other_names: &[], switch: None });
        }
        // Ports of a switch are called like this; no other names are taken.
        Ok(Self { name, other_names: &[("fg-test", "swp1")], switch: Some(Switch::here(&stand_in()?)?) })
    }

    /// A piece of the README for this back end.
    fn adapt(&self, text: &str) -> String {
        let mut line = format!("backend = \"{}\"", self.name);
        if let Some(switch) = &self.switch {
            let ([save4, save6], tool, directory) = (switch.save(), switch.tool(), switch.policy_directory());
            line = format!(
                "cumulus = {{ release = \"5.0\", policy-directory = {directory:?}, cl-acltool = {tool:?}, \
                 iptables-save = {save4:?}, ip6tables-save = {save6:?} }}\n{line}"
            );
        }
        let text = text.replace("backend = \"nftables\"", &line);
        self.other_names.iter().fold(text, |text, (from, to)| text.replace(from, to))
    }
}

/// The stand-in for cl-acltool that was built with this test.
fn stand_in() -> Result<String> {
    let own = std::env::current_exe()?;
    let found =
        own.ancestors().skip(1).take(2).map(|directory| directory.join("cl-acltool")).find(|path| path.exists());
    Ok(found.context("no cl-acltool beside the test")?.display().to_string())
}

fn first_dropped_packet(backend: &'static str) -> Result<()> {
    needs!(root, "ip", "bash");
    let backend = Backend::new(backend)?;
    let commands: Vec<String> =
        commands("Your first dropped packet")?.iter().map(|command| backend.adapt(command)).collect();
    let outcome = follow(&commands);
    // What a failure left.
    let _ = Command::new("ip").args(["netns", "del", "neighbour"]).output();
    let (mut answered, mut lost) = (0, 0);
    let outcome = outcome?;
    let everything = || {
        let shown =
            commands.iter().zip(&outcome).map(|(command, (said, status))| format!("$ {command}\n{said}\n[{status}]\n"));
        shown.collect::<String>()
    };
    for (command, (said, status)) in commands.iter().zip(&outcome) {
        if command.contains("# exit status 1") {
            ensure!(*status == 1 && said.contains("100% packet loss"), "{command}\n{}", everything());
            lost += 1;
            continue;
        }
        ensure!(*status == 0, "{command}\n{}", everything());
        if command.contains(" ping ") {
            ensure!(said.contains(" 0% packet loss"), "{command}\n{}", everything());
            answered += 1;
        }
        if command.starts_with("floodgate rules") {
            ensure!(said.contains("installed") && said.contains("dst 198.51.100.1/32"), "{command}\n{}", everything());
        }
    }
    ensure!(answered == 2 && lost == 1, "the README tells another story than this test: {}", everything());
    Ok(())
}

machine_of_its_own! {
    fn readme_first_dropped_packet_nftables() { first_dropped_packet("nftables") }
    fn readme_first_dropped_packet_xdp() { first_dropped_packet("xdp") }
    fn readme_first_dropped_packet_cumulus() { first_dropped_packet("cumulus") }
}
