//! XDP: packets are judged before the kernel's stack sees them, at a cost that hardly grows with the number of rules.
//!
//! - `bpf/` is the program; `program` loads it and maps its tables, `layout` is what both sides share, `memory` the mapping.
//! - `record` and `effect` turn a rule into the program's words, exactly.
//! - `index` knows which records stand in which lists, `labels` in which order rules are; `slots`, `pool`, `extras` and `numbers` give out places;
//!   `commit` writes a change into the tables so that each packet sees all of it or nothing; `classifier` holds it together.
//! - `kernel` is the back end, `links` its attachments to interfaces, `sys` the system calls, `condition` what it tells of itself, `samples`
//!   reads sampled packets.
//! - `redirects` decides which rules can redirect: `routes` asks the kernel where packets would go, `devices` knows which interfaces can send
//!   them, `neighbours` keeps their hardware addresses known, `targets` gives out places.
//!
//! # What is kept when the daemon ends
//! Everything: links and the counters' tables are pinned in a BPF file system. The next run loads a program of its own, fills its tables,
//! exchanges the program behind each link, which is one step for packets, and carries the counters over.

#![cfg_attr(not(xdp_program), allow(dead_code, reason = "built without clang: there is no program to drive"))]

use engine::capability::{ActionAbility, Capabilities};
use std::path::PathBuf;

mod classifier;
mod commit;
mod condition;
mod counters;
mod devices;
mod effect;
mod extras;
mod full;
#[cfg(xdp_program)]
mod generated;
mod index;
mod kernel;
mod labels;
mod layout;
mod links;
mod memory;
mod mix_hasher;
mod neighbours;
mod numbers;
mod pool;
mod program;
mod record;
mod redirects;
mod render;
mod routes;
mod samples;
mod slots;
mod split;
mod statistics;
mod sys;
mod targets;
#[cfg(xdp_program)]
#[doc(hidden)]
pub mod testing;

pub use kernel::Xdp;
pub use render::render;

/// Whether this build has the program for the kernel; without clang and libbpf it has not.
pub const COMPILED_IN: bool = cfg!(xdp_program);

/// Rules that fit unless [`Options::capacity`] says otherwise.
pub const CAPACITY: u32 = 131_072;

/// Settings of this back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Interfaces whose incoming packets are filtered; patterns with `*` and `?`. They may come and go.
    pub interfaces: Vec<String>,
    /// How the program is attached.
    pub attach: Attach,
    /// How many rules are to fit, 1024 to 524,288. Memory is taken for all of them at once, about 1.1 KiB each on a machine with two CPUs.
    pub capacity: u32,
    /// Where links and tables are pinned: a directory in a BPF file system. One for each network namespace that has a daemon.
    pub directory: PathBuf,
}

/// Modes of attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// In the driver where it can, otherwise in the kernel's stack, with a warning.
    #[default]
    Best,
    /// In the driver or not at all.
    Native,
    /// In the kernel's stack.
    Generic,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            interfaces: Vec::new(),
            attach: Attach::Best,
            capacity: CAPACITY,
            directory: PathBuf::from("/sys/fs/bpf/floodgate"),
        }
    }
}

/// What the back end can match and do: every component of every rule, and all actions but copies and redirects to a VRF. Whether a
/// redirect to an address can be is known only where the rule is applied.
pub fn capabilities() -> Capabilities {
    let everything = Capabilities::everything("xdp");
    Capabilities {
        actions: ActionAbility { copy_address: false, redirect_vrf: false, ..everything.actions },
        ..everything
    }
}
