//! Floodgate's decisions: pure functions over values, without socket, clock or process.
//!
//! # Tour
//! - [`Engine`] is what the program talks to: routes go in, changes for the data plane come out, every rule has a state.
//! - What a route is, and which of several is best: [`route`]. Whether a rule is feasible: [`validate`]. Whether its peer may ask for it:
//!   [`import_policy`]. What nobody may touch: [`protection`].
//! - What a data plane can do: [`capability`]. How a rule becomes entries of it, or is refused: [`compile`](mod@compile).
//! - What crosses the border to it: [`plan`]. What became of a rule: [`state`].

#![forbid(unsafe_code)]

pub mod capability;
pub mod compile;
mod engine;
pub mod import_policy;
mod key;
pub mod notes;
mod peer;
pub mod plan;
mod precedence;
mod prefixes;
pub mod protection;
pub mod route;
mod select;
mod shadow;
pub mod state;
mod table;
mod unicast;
pub mod validate;

pub use engine::{
    AnnounceOutcome, Engine, EngineConfig, InvalidSnapshot, PathRef, Rejected, Retention, RuleRef, SnapshotPath,
    Transaction,
};
pub use peer::{PeerConfig, PeerCounts};
pub use route::{PeerId, Route, RouteFamily, Timestamp};
