//! The README's "Your first dropped packet", followed to the letter, as a new user would on a machine of his own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::needs;

const README: &str = include_str!("../../../README.md");

/// Waits until the daemon has put its first rules, none, in force.
const READY: &str = "for n in $(seq 3000); do \
                     floodgate status --json 2>/dev/null | grep -q '\"dataplane\":\"applied\".*\"applied\":[1-9]' && break; sleep 0.1; done\n";

/// The commands under a heading, in order; lines that begin with `> ` belong to the command above them.
fn commands(heading: &str) -> Result<Vec<String>> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).context("no such heading")?;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
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

fn first_dropped_packet(backend: &str) -> Result<()> {
    needs!(root, "ip", "bash");
    let commands: Vec<String> = commands("Your first dropped packet")?
        .into_iter()
        .map(|command| command.replace("backend = \"nftables\"", &format!("backend = \"{backend}\"")))
        .collect();
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

#[test]
#[ignore = "it uses the machine's own network and directories; make kernels runs it on machines of its own"]
fn readme_first_dropped_packet_nftables() -> Result<()> {
    first_dropped_packet("nftables")
}

#[test]
#[ignore = "it uses the machine's own network and directories; make kernels runs it on machines of its own"]
fn readme_first_dropped_packet_xdp() -> Result<()> {
    first_dropped_packet("xdp")
}
