//! A reload of the configuration and its outcome.

use crate::command::Requester;
use crate::http::ListenError;
use crate::net::SocketError;
use crate::peers::Changes;
use config::ConfigError;
use std::fmt;
use tokio::sync::oneshot;

/// A request to reload the configuration.
#[derive(Debug)]
pub(crate) struct Reload {
    /// Who asks.
    pub by: Requester,
    /// Answered with what changed, or why nothing did.
    pub done: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// The changes made by a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The file is the same as the configuration in force.
    Nothing,
    /// Another configuration is in force.
    Changed {
        /// The differences between the files.
        differences: Vec<String>,
        /// The effect on the sessions.
        sessions: Changes,
    },
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloaded::Changed { differences, sessions } = self else { return f.write_str("reloaded: nothing changed") };
        let Changes { added, removed, restarted } = sessions;
        let differences = match differences.as_slice() {
            [] => "a secret in a file of its own".to_owned(),
            differences => differences.join("; "),
        };
        write!(f, "reloaded: {differences} (sessions: {added} added, {removed} removed, {restarted} restarted)")
    }
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// The file has errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another daemon holds a lock that it needs.
    #[error("{0:#}")]
    Locked(anyhow::Error),
    /// The host environment could not be read.
    #[error("{0:#}")]
    Environment(anyhow::Error),
    /// The BGP listeners could not be opened.
    #[error(transparent)]
    Listen(#[from] SocketError),
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] ListenError),
    /// The data plane cannot be used with these settings.
    #[error("{0}")]
    Dataplane(anyhow::Error),
    /// The daemon is stopping.
    #[error("the engine has stopped")]
    Stopped,
}
