//! The laboratory: whatever Floodgate's tests and its demo need of the world outside.
//!
//! - [`Netns`] is a machine of its own on the network: a network namespace, with [`veth()`] cables
//!   between them;
//! - [`Process`] runs a program there and keeps what it prints;
//! - [`PacketSocket`] and [`packet`] send and see packets;
//! - [`peers`] starts BIRD, GoBGP, ExaBGP and FRR as BGP neighbours, [`Speaker`] is one of our own,
//!   [`RawPeer`] one that sends any octets;
//! - [`Observer`] tells what a data plane does to each packet;
//! - [`Probe`] is an attack without a pause, and counts what gets through;
//! - [`Daemon`] runs the program under test, and [`Site`] is the network around it; [`scenario`] is
//!   the attack that most tests play there;
//! - [`Browser`] is a Chromium that sees what the daemon serves;
//! - [`acltool`] makes a namespace a Cumulus Linux switch, with a stand-in for its cl-acltool;
//! - [`needs!`] skips a test, saying why, where the machine cannot run it.
//!
//! Everything that is made here is removed again when its value is dropped, also when a test
//! panics. What a test that was killed left behind is removed by the next one that makes a
//! namespace.

pub mod acltool;
mod browser;
mod built;
pub mod daemon;
mod forward;
mod netns;
pub mod observer;
pub mod orchagent;
pub mod packet;
pub mod peers;
mod probe;
mod process;
mod processor;
pub mod raw;
mod received;
mod require;
pub mod scenario;
mod seccomp;
pub mod site;
mod socket;
pub mod speaker;
mod token_bucket;
mod veth;

pub use browser::{Browser, CHROMIUM};
pub use daemon::Daemon;
pub use forward::Forward;
pub use netns::Netns;
pub use observer::{Observer, PacketOutcome};
pub use probe::Probe;
pub use process::Process;
pub use processor::OnOneProcessor;
pub use raw::RawPeer;
pub use received::Received;
pub use require::{Skipped, is_emulated, require_program, require_root, skip, skip_for_kernel};
pub use rustix::process::Signal;
pub use seccomp::without_bpf_programs;
pub use site::Site;
pub use socket::PacketSocket;
pub use speaker::Speaker;
pub use token_bucket::TokenBucket;
pub use veth::{End, veth};

use std::time::{Duration, Instant};

/// How long a test waits for what has to come: far longer than it takes, also on a machine with
/// much else to do. nextest ends a test after a little more (.config/nextest.toml).
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Calls `check` every few milliseconds until it returns a value; an error that names `what` after
/// `deadline`.
pub fn wait_until<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = check() {
            return Ok(value);
        }
        if Instant::now() >= end {
            anyhow::bail!("after {deadline:?} still waiting for {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for tests that return nothing: waits for at most [`PATIENCE`].
///
/// # Panics
/// After that time.
pub fn wait<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    wait_until(what, PATIENCE, check).unwrap_or_else(|error| panic!("{error:#}"))
}
