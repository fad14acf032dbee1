//! A request to read the configuration again, and what comes of it.

use crate::command::Requester;
use crate::http::ListenError;
use crate::net::SocketError;
use crate::peers::Changes;
use config::ConfigError;
use std::fmt;
use tokio::sync::oneshot;

/// A request to read the configuration again.
#[derive(Debug)]
pub(crate) struct Reload {
    /// Who asks.
    pub by: Requester,
    /// Told what changed, or why nothing did.
    pub done: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

/// What a reload changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The file says what is in force already.
    Nothing,
    /// Another configuration is in force.
    Changed {
        /// What differs between the files.
        differences: Vec<String>,
        /// What became of the sessions.
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
    /// The file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another daemon has what it needs.
    #[error("{0:#}")]
    Locked(anyhow::Error),
    /// The kernel did not tell what this machine has.
    #[error("{0:#}")]
    Environment(anyhow::Error),
    /// Where BGP connections are to be taken, they cannot be.
    #[error(transparent)]
    Listen(#[from] SocketError),
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] ListenError),
    /// The data plane cannot be used with these settings.
    #[error("{0}")]
    Dataplane(anyhow::Error),
    /// The daemon is ending.
    #[error("the engine has stopped")]
    Stopped,
}
