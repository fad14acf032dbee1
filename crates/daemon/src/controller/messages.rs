//! Messages between the supervisor and the controller.

use crate::command::Command;
use crate::host_environment::HostEnvironment;
use crate::http::PublishedOverview;
use crate::net::{Originated, PeerMessage};
use crate::state_file::Loaded;
use config::Config;
use engine::PeerId;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// A message of the supervisor.
#[derive(Debug)]
pub(crate) enum SupervisorMessage {
    /// A changed configuration, already checked.
    Configure {
        /// The whole configuration.
        config: Arc<Config>,
        /// The ids of its peers, in order.
        ids: Vec<PeerId>,
        /// The host environment.
        environment: HostEnvironment,
        /// Who asked for it; `None` for a signal.
        by: Option<String>,
        /// Answered when it is in force; an error means that nothing was changed.
        done: oneshot::Sender<anyhow::Result<()>>,
    },
    /// Other peers; everything else is unchanged.
    Peers {
        /// The whole configuration.
        config: Arc<Config>,
        /// The ids of its peers, in order.
        ids: Vec<PeerId>,
        /// Answered when the peers are known.
        done: oneshot::Sender<()>,
    },
    /// Input of ExaBGP that belongs to no peer could not be parsed; the error, for people.
    ParseError(String),
    /// The host environment has changed.
    HostEnvironment(HostEnvironment),
    /// A changed configuration was rejected.
    ReloadFailed {
        /// Why, for people.
        why: String,
        /// Who asked for it; `None` for a signal.
        by: Option<String>,
    },
    /// The addresses of the BGP listeners.
    Listening(Vec<SocketAddr>),
    /// Shut down.
    Stop {
        /// Whether the filters stay.
        keep: bool,
    },
}

/// A request of the controller to the supervisor.
#[derive(Debug)]
pub(crate) enum SessionRequest {
    /// End this session with a Cease of this subcode.
    Reset(PeerId, bgp::CeaseSubcode),
}

/// What the controller starts with.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    pub(crate) ids: Vec<PeerId>,
    pub(crate) environment: HostEnvironment,
    /// The contents of the state file.
    pub(crate) loaded: Loaded,
    /// Where locally originated rules go that peers get.
    pub(crate) originated: Originated,
}

/// Its channels.
pub(crate) struct Queues {
    pub(crate) peers: mpsc::Receiver<PeerMessage>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) changes: mpsc::Receiver<SupervisorMessage>,
    pub(crate) session_requests: mpsc::Sender<SessionRequest>,
    pub(crate) shown: watch::Sender<PublishedOverview>,
}
