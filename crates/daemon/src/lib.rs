//! The daemon of `floodgate run`, and of `floodgate exabgp`, where ExaBGP replaces the peers'
//! tasks.
//!
//! ```text
//!              main thread (tokio)                           thread "engine"                         thread "dataplane"
//!   TCP ⇄ peer tasks ────────PeerMessage────────▶ controller: engine, driver, state writer ──Order──▶ apply: nftables, ...
//!   API ⇄ requests   ──────────Command──────────▶                 history                  ◀─Report──
//!   signals, reload, supervisor ─SupervisorMessage─▶
//! ```
//!
//! Nothing waits for what is to its right, except that a full queue of updates stops reading from
//! that peer; keepalives continue.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic when the reader went away.

mod activity;
mod apply;
mod backend_spec;
mod busiest;
mod clock;
mod command;
mod controller;
mod convert;
mod descriptors;
pub mod events;
mod exabgp_input;
mod host_environment;
mod http;
pub mod interfaces;
pub mod limits;
mod locks;
mod logging;
pub mod metrics;
pub mod net;
mod peer_table;
mod peers;
mod policies;
mod policy_trace;
mod reload;
mod retention;
mod route_source;
mod rule_filter;
mod rule_selection;
mod samples;
pub mod state_file;
mod supervisor;
mod tokens;

pub use clock::{ClockMark, WallTrust};
pub use convert::protection;
pub use http::{ClientSession, Inspector};
pub use locks::EnforcementLock;
pub use policy_trace::{PolicyQuestionError, explain_policy};
pub use supervisor::{Program, run, run_exabgp};
pub use tokens::hash as token_hash;
