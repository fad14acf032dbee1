//! What a back end is opened from, and what has to be known of it before that.

use crate::{Dataplane, DataplaneError};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one back end. Equal settings open the same.
pub trait BackendSettings: Clone + fmt::Debug + PartialEq + Send {
    /// Opens the back end; changes nothing yet.
    ///
    /// # Errors
    /// [`DataplaneError::Unavailable`] if this machine lacks what the back end needs: a fallback
    /// may then be used.
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError>;

    /// Where rules are enforced.
    fn enforcement_point(&self) -> EnforcementPoint;

    /// Whether the opened back end takes over what a back end with the settings `old` has in force;
    /// otherwise that is cleared.
    fn takes_over(&self, old: &Self) -> bool {
        self.enforcement_point() == old.enforcement_point()
    }

    /// Whether a running program can go over from `old` to these settings.
    ///
    /// # Errors
    /// Why it has to be started anew for that.
    fn can_follow(&self, _old: &Self) -> Result<(), DataplaneError> {
        Ok(())
    }

    /// How long changes are gathered before they are applied, unless the configuration says
    /// otherwise.
    fn usual_debounce(&self) -> Duration {
        Duration::ZERO
    }
}

/// Where a back end enforces rules. No two daemons use one back end at the same point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnforcementPoint {
    /// Nowhere: any number of daemons may do that.
    Nowhere,
    /// The network namespace.
    NetworkNamespace,
    /// A path: a directory, a socket.
    Path(PathBuf),
}

impl<S: BackendSettings> BackendSettings for Box<S> {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        self.as_ref().open()
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        self.as_ref().enforcement_point()
    }

    fn takes_over(&self, old: &Self) -> bool {
        self.as_ref().takes_over(old)
    }

    fn can_follow(&self, old: &Self) -> Result<(), DataplaneError> {
        self.as_ref().can_follow(old)
    }

    fn usual_debounce(&self) -> Duration {
        self.as_ref().usual_debounce()
    }
}
