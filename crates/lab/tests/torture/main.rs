//! Campaigns against the live daemon. Each has a short form, which is an ordinary test, and a long
//! one:
//!
//!     make torture                       # all of them, long
//!     FLOODGATE_TORTURE=1 cargo nextest run -p lab --test torture
//!
//! `FLOODGATE_PARTS=10` makes the long forms a tenth as long: ten such runs, each with a seed of
//! its own, are a whole one. The long forms print figures, and the seed of what was random in them:
//! `FLOODGATE_SEED` has it again. `FLOODGATE` names the program to be tried, so that it may be a
//! release build.

mod api;
mod bgp;
mod clocks;
mod descriptors;
mod disk;
mod place;
mod reloads;
mod scale;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use flowspec::testing::Seed;
use lab::{Daemon, PATIENCE};

/// As wished for the long form, or else for every day.
fn long() -> bool {
    std::env::var_os("FLOODGATE_TORTURE").is_some()
}

/// Figures are to hold: the long form with an optimised program on a machine with nothing else to
/// do, which `scripts/torture.sh` takes for granted unless `FLOODGATE_STRICT=0`.
fn strict() -> bool {
    std::env::var("FLOODGATE_STRICT").is_ok_and(|value| value == "1")
}

/// The most that something may take: the one where figures are to hold, or else what a busy machine
/// and a build for tests make of it.
fn limit(strictly: Duration, otherwise: Duration) -> Duration {
    if strict() { strictly } else { otherwise }
}

/// A number for the short form and one for the long form, or for a part of that.
fn amount(short: u32, long_form: u32) -> u32 {
    if !long() {
        return short;
    }
    let parts = std::env::var("FLOODGATE_PARTS").ok().and_then(|parts| parts.parse().ok());
    (long_form / parts.unwrap_or(1).max(1)).max(short)
}

/// The daemon's API socket.
fn socket(daemon: &Daemon<'_>) -> PathBuf {
    daemon.configuration().with_file_name("api.sock")
}

/// The answer to a request, and how long it took.
fn ask(daemon: &Daemon<'_>, request: &str) -> Result<(String, Duration)> {
    let began = Instant::now();
    let mut stream = UnixStream::connect(socket(daemon)).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets)?;
    Ok((String::from_utf8_lossy(&octets).into_owned(), began.elapsed()))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Resident octets of a process.
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse::<u64>()? * 1024)
}

/// What is random in a campaign: another sequence in each long run, the same one every day. Prints
/// its seed.
fn seed(campaign: &str) -> Result<Seed> {
    let number = match std::env::var("FLOODGATE_SEED") {
        Ok(text) => text.parse().context("FLOODGATE_SEED")?,
        Err(_) if long() => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        Err(_) => 0x5eed,
    };
    println!("{campaign}: FLOODGATE_SEED={number}");
    Ok(Seed::new(number))
}

/// A random position in something of this length.
fn position(seed: &mut Seed, length: usize) -> usize {
    seed.below(length as u64) as usize
}
