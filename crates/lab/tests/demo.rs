//! `make demo`: it succeeds if every step has the described result, fails otherwise, and leaves
//! nothing on the machine either way.

use std::process::Command;

use anyhow::{Result, ensure};
use lab::{PATIENCE, Process, needs};

fn demo(arguments: &[&str]) -> Result<Process> {
    // Where the demo finds the program, built first if it has to be.
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(arguments).env("FLOODGATE", lab::daemon::program()?);
    Process::spawn("demo", command)
}

/// Namespaces that the process made are named after it.
fn nothing_left(of: u32) -> Result<()> {
    let listed = String::from_utf8(Command::new("ip").args(["netns", "list"]).output()?.stdout)?;
    let left: Vec<&str> = listed.lines().filter(|name| name.starts_with(&format!("fg-{of}-"))).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn all_is_as_told() -> Result<()> {
    needs!(root, "ip", "nft");
    let mut demo = demo(&[])?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.success(), "{status}\n{}", demo.log());
    for line in ["2000 sent    2000 arrived", "2000 sent       0 arrived", "All of this was as told."] {
        ensure!(demo.log().contains(line), "no {line:?} in\n{}", demo.log());
    }
    let log = demo.log();
    let counts = |line: &str| line.contains(" installed ") && line.split_whitespace().any(|word| word == "2000");
    ensure!(log.lines().any(counts), "no rule in force that counted 2000 packets in\n{log}");
    nothing_left(demo.pid())
}

#[test]
fn it_fails_when_nothing_is_dropped() -> Result<()> {
    needs!(root, "ip", "nft");
    // A data plane that shows rules as installed and installs nothing.
    let mut demo = demo(&["--backend", "none"])?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.code() == Some(1), "{status}\n{}", demo.log());
    ensure!(demo.log().contains("NOT AS TOLD: with the filter no packet"), "{}", demo.log());
    nothing_left(demo.pid())
}

#[test]
fn interrupted_it_cleans_up() -> Result<()> {
    needs!(root, "ip", "nft");
    let mut demo = demo(&[])?;
    demo.wait_for_line("misused NTP servers", PATIENCE)?;
    demo.signal(lab::Signal::INT)?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.code() == Some(130), "{status}\n{}", demo.log());
    nothing_left(demo.pid())
}
