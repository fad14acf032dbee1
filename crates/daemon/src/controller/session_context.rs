//! The context in which a session's event is handled.

use super::event_log::EventLog;
use engine::{Engine, Timestamp};
use std::time::Instant;

/// What an event of a session acts on, and when.
pub(super) struct SessionContext<'a> {
    /// The engine.
    pub(super) engine: &'a mut Engine,
    /// The event log.
    pub(super) events: &'a mut EventLog,
    /// The engine's time.
    pub(super) time: Timestamp,
    /// The same moment, for rate limits of the log.
    pub(super) now: Instant,
}
