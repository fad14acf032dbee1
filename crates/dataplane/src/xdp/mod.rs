//! XDP: packets are judged before the kernel's stack sees them, at a cost that hardly grows with the number of rules.
//!
//! - `bpf/` is the program; `program` loads it and maps its tables, `layout` is what both sides share, `memory` the mapping.
//! - `record` and `effect` turn a rule into the program's words, exactly.
//! - `index` knows which records stand in which lists, `slots` and `pool` give out places; `commit` writes a change into the tables
//!   so that each packet sees all of it or nothing; `classifier` holds it together.

#![cfg_attr(not(xdp_program), allow(dead_code, reason = "built without clang: there is no program to drive"))]

use engine::capability::{ActionAbility, Capabilities};

mod classifier;
mod commit;
mod effect;
mod index;
mod layout;
mod memory;
mod pool;
mod program;
mod record;
mod slots;
#[cfg(xdp_program)]
#[doc(hidden)]
pub mod testing;

/// What the back end can match and do: every component of every rule, and all actions but copying a packet and choosing a VRF.
pub fn capabilities() -> Capabilities {
    let everything = Capabilities::everything("xdp");
    Capabilities {
        actions: ActionAbility { copy_address: false, redirect_vrf: false, ..everything.actions },
        ..everything
    }
}
