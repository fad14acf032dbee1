//! Floodgate's memory on disk: one incident for each rule, from its announcement to its end, in
//! SQLite.
//!
//! [`Recorder`] is what the daemon writes to: it hands changes to a thread through a bounded queue,
//! and never waits. A disk that is full or broken costs history and one warning. [`Store`] is the
//! file; [`Reader`] reads the file while it is written.

#![forbid(unsafe_code)]

mod address_range;
mod batch;
mod buckets;
mod change;
mod error;
mod incident;
mod maintenance;
mod reader;
mod recorder;
mod schema;
mod settings;
mod store;
mod writer;

pub use address_range::AddressRange;
pub use batch::MOST_STATES;
pub use change::{Change, Counted, Description, PeakRate};
pub use error::HistoryError;
pub use incident::{Incident, IncidentFilter, RateBucket, StateChange};
pub use reader::{Interrupt, Reader, RuleAt};
pub use recorder::Recorder;
pub use settings::Settings;
pub use store::Store;

/// Milliseconds since 1970, UTC.
pub type Time = i64;
