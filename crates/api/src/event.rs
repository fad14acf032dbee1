//! Events: the objects of `GET /v1/history` and `GET /v1/events`.

use crate::or_unknown::{Named, OrUnknown};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up from 1 since the daemon started.
    pub number: u64,
    /// Time, RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The kind.
    pub event: OrUnknown<EventKind>,
    /// The peer concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The rule's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rule's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Who asked for it: a user of this machine, or the address of a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The message, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Declares [`EventKind`] with a sentence for each kind, which is its documentation here and in the
/// manual.
macro_rules! kinds {
    ($(#[doc = $meaning:literal] $kind:ident = $name:literal,)*) => {
        /// Kinds of events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl EventKind {
            /// When events of this kind are recorded, as one sentence or two.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(EventKind::$kind => $meaning.trim_ascii(),)*
                }
            }
        }

        impl Named for EventKind {
            const ALL: &'static [Self] = &[$(EventKind::$kind),*];

            fn name(self) -> &'static str {
                match self {
                    $(EventKind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The daemon started.
    Started = "started",
    /// The daemon is stopping.
    Stopping = "stopping",
    /// A session was established.
    PeerUp = "peer-up",
    /// A session was lost; the message has the reason.
    PeerDown = "peer-down",
    /// An attempt at a session failed for a new reason.
    SessionFailed = "session-failed",
    /// A peer sent something malformed; the message says what.
    Malformed = "malformed",
    /// A peer has sent all its rules (End-of-RIB).
    EndOfRib = "end-of-rib",
    /// A rule was announced, or announced with other actions.
    Announced = "announced",
    /// An announced rule is not enforced; the message has the reason.
    NotEnforced = "not-enforced",
    /// A rule was withdrawn.
    Withdrawn = "withdrawn",
    /// A rule's lifetime is over.
    Expired = "expired",
    /// One UPDATE changed more than 16 rules; the message has their number.
    Bulk = "bulk",
    /// The data plane did not apply a change; the message has its words.
    ApplyFailed = "apply-failed",
    /// Another program changed what was installed in the data plane; it is being repaired.
    Damaged = "damaged",
    /// Filtering was paused: nothing is filtered.
    Paused = "paused",
    /// Filtering was resumed.
    Resumed = "resumed",
    /// All local rules were withdrawn.
    Cleared = "cleared",
    /// A changed configuration is in force.
    Reloaded = "reloaded",
    /// A changed configuration was refused.
    ReloadFailed = "reload-failed",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
