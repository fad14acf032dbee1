//! The kernel part: tables are loaded, listed, flushed and restored.

use super::rule::{KernelLines, Rule, Version};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Why a program for the kernel's tables failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelError {
    /// It could not be started.
    #[error("{program}: {error}")]
    NotRun {
        /// The program.
        program: String,
        /// The error.
        error: std::io::Error,
    },
    /// It failed.
    #[error("{program}: {message}")]
    Failed {
        /// The program.
        program: String,
        /// Its output.
        message: String,
    },
}

const TABLES: [&str; 2] = ["filter", "mangle"];

/// Loads exactly these rules, of both versions; on failure the previous rules stay.
pub(super) fn load(rules: &[Rule], release: (u32, u32, u32)) -> Result<(), KernelError> {
    let before = run("iptables-legacy-save", &["-c"], "")?;
    restore(Version::V4, &text(rules, Version::V4, release))?;
    restore(Version::V6, &text(rules, Version::V6, release)).inspect_err(|_| {
        // Rules that were loaded once can be loaded again.
        let _ = run("iptables-legacy-restore", &["-c"], &before);
    })
}

/// The loaded rules, of IPv4 and of IPv6, with counters.
pub(super) fn save() -> Result<[String; 2], KernelError> {
    Ok([run("iptables-legacy-save", &["-c"], "")?, run("ip6tables-legacy-save", &["-c"], "")?])
}

/// Loads saved rules.
pub(super) fn restore_saved([v4, v6]: &[String; 2]) -> Result<(), KernelError> {
    run("iptables-legacy-restore", &["-c"], v4)?;
    run("ip6tables-legacy-restore", &["-c"], v6).map(drop)
}

/// Flushes the tables.
pub(super) fn flush() -> Result<(), KernelError> {
    load(&[], (5, 0, 0))
}

/// The output of `cl-acltool -L`.
pub(super) fn list(version: Version) -> Result<String, KernelError> {
    let (program, kind) = match version {
        Version::V4 => ("iptables-legacy", "iptables"),
        Version::V6 => ("ip6tables-legacy", "ip6tables"),
    };
    let line = "-".repeat(31);
    let mut text = format!("{line}\nListing rules of type {kind}:\n{line}\n");
    for table in TABLES {
        let _ = write!(text, "\nTABLE {table} :\n{}", run(program, &["-t", table, "-L", "-v"], "")?);
    }
    Ok(text)
}

fn restore(version: Version, text: &str) -> Result<(), KernelError> {
    let program = match version {
        Version::V4 => "iptables-legacy-restore",
        Version::V6 => "ip6tables-legacy-restore",
    };
    run(program, &["--test"], text)?;
    run(program, &[], text).map(drop)
}

fn text(rules: &[Rule], version: Version, release: (u32, u32, u32)) -> String {
    let mut text = String::new();
    for table in TABLES {
        let _ = writeln!(text, "*{table}");
        let chains: &[&str] = if table == "filter" {
            &["INPUT", "FORWARD", "OUTPUT"]
        } else {
            &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
        };
        for chain in chains {
            let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
        }
        let of_table = rules.iter().enumerate().filter(|(_, rule)| rule.version == version && rule.table == table);
        let all: Vec<KernelLines> = of_table.map(|(number, rule)| rule.kernel_lines(number, release)).collect();
        for chain in all.iter().filter_map(|lines| lines.chain.as_ref()) {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        for line in all.iter().flat_map(|lines| &lines.lines) {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("COMMIT\n");
    }
    text
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, KernelError> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let not_run = |error| KernelError::NotRun { program: program.to_owned(), error };
    let mut child = child.map_err(not_run)?;
    let mut stdin = child.stdin.take();
    // It reads everything before it prints; a program that fails early closes the pipe, and reports
    // why below.
    let _ = stdin.as_mut().map(|stdin| stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().map_err(not_run)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(KernelError::Failed { program: program.to_owned(), message })
    }
}
