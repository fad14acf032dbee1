//! `support`: writes an archive with everything for a problem report.

use super::args::SupportArgs;
use crate::exit_status::OK;
use crate::output::print_error;
use anyhow::{Context, Result};
use api::client::{Client, Failure};
use flate2::{Compression, write::GzEncoder};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Timeout of one request to the daemon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most octets of one file of the archive: a longer one, such as a list of a million rules, is
/// truncated with a note.
const MAX_FILE_OCTETS: usize = 32 << 20;

/// Requests to the daemon, and the files for their answers.
const API_FILES: [(&str, &str); 6] = [
    ("status.json", "/v1/status"),
    ("peers.json", "/v1/peers"),
    ("rules.jsonl", "/v1/rules"),
    ("history.json", "/v1/history?count=10000"),
    ("metrics.txt", "/metrics"),
    ("health.txt", "/healthz"),
];

/// Files of the machine.
const FILES: [&str; 10] = [
    "/etc/os-release",
    "/etc/lsb-release",
    "/proc/version",
    "/proc/cmdline",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/net/dev",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/net/core/bpf_jit_enable",
];

/// Programs whose output is included. None changes anything.
const COMMANDS: [(&str, &[&str]); 10] = [
    ("date.txt", &["date", "--rfc-3339=ns"]),
    ("links.txt", &["ip", "-details", "-statistics", "link", "show"]),
    ("addresses.txt", &["ip", "address", "show"]),
    ("rules-of-routing.txt", &["ip", "rule", "show"]),
    ("sockets.txt", &["ss", "-tlnp"]),
    ("nftables.txt", &["nft", "-s", "list", "ruleset"]),
    ("unit.txt", &["systemctl", "--no-pager", "show", "floodgate.service"]),
    ("log.txt", &["journalctl", "--no-pager", "-u", "floodgate", "-n", "5000", "-o", "short-iso-precise"]),
    ("limits.txt", &["sh", "-c", "ulimit -a"]),
    ("bpf.txt", &["ls", "-lR", "/sys/fs/bpf"]),
];

/// An archive being written. What cannot be obtained is listed in `errors.txt`.
struct Archive<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    directory: String,
    modified: u64,
    errors: String,
}

impl<W: Write> Archive<W> {
    fn new(writer: W, directory: String, modified: u64) -> Self {
        let tar = tar::Builder::new(GzEncoder::new(writer, Compression::default()));
        Archive { tar, directory, modified, errors: String::new() }
    }

    /// Adds a file; one that is too long is truncated.
    fn add(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut octets = octets;
        if octets.len() > MAX_FILE_OCTETS {
            self.note(name, &format!("cut after {MAX_FILE_OCTETS} of {} octets", octets.len()));
            octets = &octets[..MAX_FILE_OCTETS];
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(octets.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.modified);
        self.tar.append_data(&mut header, Path::new(&self.directory).join(name), octets)
    }

    /// Adds what could be obtained; otherwise records why not.
    fn add_outcome<E: std::fmt::Display>(&mut self, name: &str, outcome: Result<Vec<u8>, E>) -> io::Result<()> {
        match outcome {
            Ok(octets) => self.add(name, &octets),
            Err(error) => {
                self.note(name, &error.to_string());
                Ok(())
            }
        }
    }

    fn note(&mut self, name: &str, why: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.errors, "{name}: {why}");
    }

    fn finish(mut self) -> io::Result<W> {
        let errors = std::mem::take(&mut self.errors);
        self.add("errors.txt", errors.as_bytes())?;
        self.tar.into_inner()?.finish()
    }
}

/// Writes the archive, and its name to standard error.
pub(super) fn support(args: &SupportArgs) -> Result<u8> {
    let now = SystemTime::now();
    let stamp = humantime::format_rfc3339_seconds(now).to_string().replace(':', "");
    let directory = format!("floodgate-support-{stamp}");
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{directory}.tar.gz")));
    let modified = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if path == Path::new("-") {
        anyhow::ensure!(!io::stdout().is_terminal(), "the archive is not for a terminal; use -o FILE");
        fill(args, Archive::new(io::stdout().lock(), directory, modified))?.flush()?;
        return Ok(OK);
    }
    // It contains addresses and rules: readable by its owner alone.
    let (partial, file) = create(&path)?;
    let outcome = fill(args, Archive::new(file, directory, modified))
        .and_then(|file| Ok(file.sync_all()?))
        .and_then(|()| Ok(fs::rename(&partial, &path)?))
        .with_context(|| path.display().to_string());
    if outcome.is_err() {
        let _ = fs::remove_file(&partial);
    }
    outcome?;
    print_error(format_args!("{}: check it before you send it", path.display()));
    Ok(OK)
}

/// A file beside the archive that is renamed when it is complete.
fn create(path: &Path) -> Result<(PathBuf, File)> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    Ok((partial.clone(), file.with_context(|| partial.display().to_string())?))
}

fn fill<W: Write>(args: &SupportArgs, mut archive: Archive<W>) -> Result<W> {
    archive.add("version.txt", format!("{}\n", *crate::version::LONG).as_bytes())?;
    archive.add_outcome("floodgate.toml", configuration(&args.config))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&args.socket);
    for (name, path) in API_FILES {
        archive.add_outcome(name, runtime.block_on(answer(&client, path)))?;
    }
    for path in FILES {
        archive.add_outcome(&format!("machine{path}"), read(Path::new(path)))?;
    }
    for (name, command) in COMMANDS {
        archive.add_outcome(&format!("machine/{name}"), run(command))?;
    }
    Ok(archive.finish()?)
}

fn configuration(path: &Path) -> Result<Vec<u8>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let text = config::without_secrets(&text)
        .map_err(|error| anyhow::anyhow!("{}: left out, since it is not TOML: {}", path.display(), error.message()))?;
    Ok(text.into_bytes())
}

async fn answer(client: &Client, path: &str) -> Result<Vec<u8>> {
    match tokio::time::timeout(ANSWER_TIMEOUT, client.text(path)).await {
        Ok(Ok(text)) => Ok(text.into_bytes()),
        Ok(Err(Failure::Unreachable(why))) => anyhow::bail!("the daemon does not answer: {why}"),
        Ok(Err(Failure::Refused(message))) => anyhow::bail!("the daemon answers: {message}"),
        Ok(Err(Failure::Other(error))) => Err(error),
        Err(_) => anyhow::bail!("the daemon does not answer within {ANSWER_TIMEOUT:?}"),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_FILE_OCTETS as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

fn run(command: &[&str]) -> Result<Vec<u8>> {
    let (program, arguments) = command.split_first().context("no program")?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| (*program).to_owned())?;
    let mut octets = output.stdout;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(!octets.is_empty(), "{}: {}: {}", command.join(" "), output.status, told.trim());
        octets.extend_from_slice(told.as_bytes());
    }
    Ok(octets)
}
