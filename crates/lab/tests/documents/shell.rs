//! Runs the commands of a page in one shell, isolated from the machine in namespaces.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::page::Page;

/// What a command printed on standard output and standard error, and its exit status.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub printed: String,
    pub status: i32,
}

/// Seconds that a page may take; nextest ends a test after three minutes, without what was printed.
const PATIENCE: &str = "160";

/// Network, processes and mounts are the page's own: /run, /etc and /var/lib/floodgate can be
/// written, and nothing of it stays. A file system for BPF programs as well, where the kernel has
/// one.
const MACHINE: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/page/etc /run/page/etc.work /run/page/lib /run/page/lib.work /run/page/here /run/netns /run/lock
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/page/etc,workdir=/run/page/etc.work /etc
mount -t overlay overlay -o lowerdir=/var/lib,upperdir=/run/page/lib,workdir=/run/page/lib.work /var/lib
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true
rm -rf /etc/floodgate /var/lib/floodgate
mkdir -p /etc/floodgate
ip link set lo up
cd /run/page/here
set +e
"#;

/// Waits until a daemon that was just started in the background has applied its rules.
const READY: &str =
    r#"until floodgate status --json 2>/dev/null | grep -q '"dataplane":"applied"'; do sleep 0.05; done"#;

/// Runs all commands of the page.
pub(crate) fn run(page: &Page) -> Result<Vec<Outcome>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("script");
    // Job control, as an interactive shell has it; a separator that no command prints.
    let mut script = String::from("set -m\n");
    let separator = format!("@@{}@@", std::process::id());
    for command in page.commands() {
        script.push_str(&command.script);
        script.push_str(&format!("\nprintf '\\n{separator} %s\\n' $?\n"));
        if command.script.trim_end().ends_with('&') && command.script.contains("floodgate") {
            script.push_str(READY);
            script.push('\n');
        }
    }
    fs::write(&file, format!("exec 2>&1 </dev/null\n{MACHINE}{script}"))?;
    let program = lab::daemon::program()?;
    let bin = program.parent().context("a directory")?.display().to_string();
    let path = format!("{bin}:{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=5", PATIENCE, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    shell.args(["--mount-proc", "bash", "--norc"]).arg(&file);
    shell.env_clear().envs([("PATH", &*path), ("LANG", "C.UTF-8"), ("HOME", "/root"), ("COLUMNS", "120")]);
    let output = shell.stdin(Stdio::null()).output().context("unshare")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut outcomes = Vec::new();
    let mut rest = &*printed;
    for command in page.commands() {
        let Some((said, behind)) = rest.split_once(&format!("\n{separator} ")) else {
            bail!("line {}: `{}` did not end; all that was printed:\n{printed}", command.line, command.script);
        };
        let (status, behind) = behind.split_once('\n').context("a status")?;
        let mut said = said.to_owned();
        if !said.is_empty() && !said.ends_with('\n') {
            said.push('\n');
        }
        outcomes.push(Outcome { printed: said, status: status.parse()? });
        rest = behind;
    }
    ensure!(rest.trim().is_empty(), "printed behind the last command: {rest}");
    Ok(outcomes)
}
