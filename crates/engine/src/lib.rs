//! Floodgate's decisions: pure functions over values, without socket, clock or process.
//!
//! # Tour
//! - [`Engine`] is the interface for the daemon: routes in, transactions for the data plane out;
//!   every rule has a state.
//! - Adj-RIB-In: what peers announced ([`route`]). Import policy and validation: [`import_policy`],
//!   [`validate`]. What no rule may affect: [`protection`].
//! - Loc-RIB: best-path selection, and the effects of rules on later ones.
//! - What a data plane can do: [`capability`]. How a rule becomes entries of it, or is refused:
//!   [`compile`](mod@compile).
//! - Reconciler: what is handed to the data plane: [`plan`]. The state of a rule: [`state`].
//!
//! Files depend on each other in one direction: route, key, prefix_map; path_key, import_policy;
//! path, received_paths, peers; select, unicast, validate; compile, precedence, protection;
//! rule_decision, enforcement, rule_entry, rule_table; decision_context; adj_rib_in, loc_rib,
//! reconciler; view, snapshot; engine.

#![forbid(unsafe_code)]

mod adj_rib_in;
mod blackhole_rules;
pub mod capability;
pub mod compile;
mod decision_context;
mod enforcement;
mod engine;
pub mod first_fragments;
pub mod hidden_protocol;
pub mod import_policy;
mod interner;
mod key;
pub mod let_through;
pub mod limits;
mod loc_rib;
pub mod mpls_in_ip;
mod newly_rejected;
pub mod notes;
mod path;
mod path_key;
mod peers;
pub mod plan;
pub mod precedence;
pub mod prefix_list;
mod prefix_map;
pub mod protection;
mod received_paths;
mod reconciler;
pub mod route;
mod rule_decision;
mod rule_entry;
mod rule_table;
mod select;
mod shadow;
mod shadow_groups;
mod snapshot;
pub mod state;
mod unicast;
mod unknown_actions;
pub mod validate;
mod view;

pub use adj_rib_in::blackholes::UnicastChange;
pub use adj_rib_in::{AnnounceOutcome, Retention};
pub use blackhole_rules::blackhole_rules;
pub use engine::{Engine, EngineConfig};
pub use newly_rejected::NewlyRejected;
pub use peers::{PeerConfig, PeerCounts};
pub use reconciler::Transaction;
pub use route::{PeerId, Route, RouteFamily, Timestamp};
pub use snapshot::{InvalidSnapshot, SnapshotPath};
pub use view::{PathRef, RuleRef};
