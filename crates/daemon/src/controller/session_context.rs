//! What the handling of a session's event has at hand.

use super::event_log::EventLog;
use engine::{Engine, Timestamp};
use std::time::Instant;

/// What an event of a session acts on, and when.
pub(super) struct SessionContext<'a> {
    /// Where routes go.
    pub(super) engine: &'a mut Engine,
    /// Where what happens is told.
    pub(super) events: &'a mut EventLog,
    /// The engine's time.
    pub(super) time: Timestamp,
    /// The same moment, for what is told a few times a second.
    pub(super) now: Instant,
}
