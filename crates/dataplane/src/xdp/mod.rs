//! XDP: filters packets before the kernel's stack, at a cost that hardly grows with the number of
//! rules.
//!
//! - `bpf/` is the program; `program` loads it and maps its tables, `layout` is the shared layout,
//!   `memory` the mapping.
//! - `record` and `effect` encode a rule for the program, exactly.
//! - `list` is records in order, `index` has all lists, `labels` the order of rules; `slots`,
//!   `pool`, `extras` and `numbers` allocate; `commit` writes a change into the tables so that each
//!   packet sees all of it or nothing; `classifier` combines them.
//! - `kernel` is the back end, `links` its attachments to interfaces, `sys` the system calls,
//!   `condition` its condition, `samples` reads sampled packets.
//! - `redirects` decides which rules can redirect: `routes` asks the kernel where packets would go,
//!   `devices` knows which interfaces can send them, `neighbours` keeps their hardware addresses
//!   resolved, `targets` allocates entries for addresses.
//!
//! # What is kept when the daemon ends
//! Everything: links and the counters' tables are pinned in a BPF file system. The next run loads a
//! new program, fills its tables, replaces the program behind each link atomically, and takes the
//! counters over.

#![cfg_attr(not(xdp_program), allow(dead_code, reason = "built without clang: there is no XDP program"))]

use engine::capability::{ActionAbility, Capabilities};
use std::ops::RangeInclusive;
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
mod list;
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

/// Whether this build contains the XDP program; without clang and libbpf it does not.
pub const COMPILED_IN: bool = cfg!(xdp_program);

/// What [`Options::capacity`] may be.
pub const CAPACITIES: RangeInclusive<u32> = 1024..=1 << 19;
/// The default of [`Options::capacity`].
pub const CAPACITY: u32 = 131_072;

/// Settings of this back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Interfaces whose received packets are filtered; patterns with `*` and `?`. Interfaces may
    /// come and go.
    pub interfaces: Vec<String>,
    /// How the program is attached.
    pub attach: Attach,
    /// Maximum number of rules, 1024 to 524,288. Memory is allocated for all of them at once, about
    /// 1.1 KiB each on a machine with two CPUs.
    pub capacity: u32,
    /// Where links and tables are pinned: a directory in a BPF file system. Each network namespace
    /// with a daemon needs its own.
    pub directory: PathBuf,
}

/// Modes of attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// Native mode if possible, otherwise generic mode with a warning.
    #[default]
    Best,
    /// Native mode (in the driver) only.
    Native,
    /// Generic mode (in the kernel's stack).
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

/// What the back end can match and do: every component of every rule, and all actions but copies
/// and redirects to a VRF. Whether a redirect to an address is possible is known only when the rule
/// is applied.
pub fn capabilities() -> Capabilities {
    let everything = Capabilities::everything("xdp");
    Capabilities {
        actions: ActionAbility { copy_address: false, redirect_vrf: false, ..everything.actions },
        ..everything
    }
}
