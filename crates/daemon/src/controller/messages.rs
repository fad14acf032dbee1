//! What the controller is told by the supervisor, and what it asks of it.

use crate::command::Command;
use crate::host_environment::HostEnvironment;
use crate::http::Shown;
use crate::net::{PeerId, PeerMessage};
use crate::state_file::Loaded;
use config::Config;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// What the supervisor tells.
#[derive(Debug)]
pub(crate) enum SupervisorMessage {
    /// A changed configuration, already checked.
    Configure {
        /// All of it.
        config: Arc<Config>,
        /// The ids of its peers, in order.
        ids: Vec<PeerId>,
        /// What this machine has.
        environment: HostEnvironment,
        /// Who asked for it; `None` for a signal.
        by: Option<String>,
        /// Told when it is in force; an error means that nothing was changed.
        done: oneshot::Sender<anyhow::Result<()>>,
    },
    /// Other peers, and everything else as before.
    Peers {
        /// All of the configuration.
        config: Arc<Config>,
        /// The ids of its peers, in order.
        ids: Vec<PeerId>,
        /// Told when they are known.
        done: oneshot::Sender<()>,
    },
    /// Something that is of no peer could not be read; in words.
    ParseError(String),
    /// What this machine has changed.
    HostEnvironment(HostEnvironment),
    /// A changed configuration was refused, and why.
    ReloadFailed {
        /// In words.
        why: String,
        /// Who asked for it; `None` for a signal.
        by: Option<String>,
    },
    /// Where BGP connections are taken.
    Listening(Vec<SocketAddr>),
    /// The end.
    Stop {
        /// Whether the filters stay.
        keep: bool,
    },
}

/// What the core wants from the supervisor.
#[derive(Debug)]
pub(crate) enum SessionRequest {
    /// End this session with a Cease of this subcode.
    Reset(PeerId, bgp::CeaseSubcode),
}

/// What the core starts with.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) ids: Vec<PeerId>,
    pub(crate) environment: HostEnvironment,
    /// What the state file says.
    pub(crate) loaded: Loaded,
}

/// Where its messages come from and go to.
pub(crate) struct Queues {
    pub(crate) peers: mpsc::Receiver<PeerMessage>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) changes: mpsc::Receiver<SupervisorMessage>,
    pub(crate) session_requests: mpsc::Sender<SessionRequest>,
    pub(crate) shown: watch::Sender<Shown>,
}
