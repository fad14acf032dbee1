//! The session with one peer: the FSMs of RFC 4271 §8, without sockets or clock.

mod adj_rib_out;
mod backoff;
mod collision;
mod config;
mod connection;
mod effect;
mod established;
mod event;
mod fsm;
mod fsm_event;
mod graceful;
mod intervals;
mod jitter;
mod negotiated;
mod output;
mod queue;
#[allow(clippy::module_inception, reason = "the type that the module is about")]
mod session;
mod shared;
mod state;
mod statistics;
mod timer;

pub use adj_rib_out::AdjRibOut;
pub use config::{LongLived, PeerAs, PeerConfig};
pub use established::SendError;
pub use event::{Cease, ConnId, Direction, Event, Transmit};
pub use negotiated::Negotiated;
pub use output::{Down, DownReason, Output, StaleFamily};
pub use session::Session;
pub use state::State;
pub use statistics::{MessageCounts, Statistics};
pub use timer::Timer;
