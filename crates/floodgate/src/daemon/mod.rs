//! `floodgate run`, and `floodgate exabgp`, which has ExaBGP in the place of the peer tasks.
//!
//! ```text
//!              main thread (tokio)                      thread "engine"                     thread "dataplane"
//!   TCP ⇄ peer tasks ──────FromPeer──────▶ core: RIBs, guard, table, plan ──Order──▶ apply: nftables, ...
//!   API ⇄ requests   ──────Command──────▶        state file, history      ◀─Report──
//!   signals, reload, supervisor ──Change─▶
//! ```
//!
//! Nothing waits for what is to its right, except that a full queue of updates stops the reading of more from that peer: keepalives go on.

pub(crate) mod clock;
mod command;
mod convert;
mod core;
mod front;
mod locks;
mod peer_table;
mod retention;
mod supervisor;

pub use clock::{ClockMark, WallTrust};
pub use command::{Command, Overview, Paused, RuleFilter, Which};
pub(crate) use convert::protection;
pub use supervisor::{run, run_exabgp};
