//! The source of routes: our own BGP sessions, or those of the ExaBGP that started us.

use crate::exabgp_input::{NeighborEvent, NeighborId, NeighborMessage, Neighbors, Request};
use crate::net::{PeerEvent, PeerMessage, SocketError};
use crate::peers::{Changes, Peers};
use crate::state_file::{Origin, SavedRules};
use anyhow::{Context, Result};
use bgp::Output;
use config::Config;
use config::DEFAULT_FILE;
use engine::PeerId;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The part of the daemon that differs between `floodgate run` and `floodgate exabgp`.
pub(crate) enum RouteSource {
    /// `floodgate run`.
    Bgp(Box<Peers>),
    /// `floodgate exabgp`.
    Exabgp(Box<Neighbors>),
}

impl RouteSource {
    /// The configuration with additions that are not in the file.
    pub(crate) fn complete(&self, config: Config) -> Config {
        match self {
            RouteSource::Bgp(_) => config,
            RouteSource::Exabgp(neighbors) => neighbors.complete(config),
        }
    }

    /// The number of each peer, in the order of the configuration.
    pub(crate) fn ids(&mut self, config: &Config) -> Vec<PeerId> {
        match self {
            RouteSource::Bgp(peers) => peers.ids(config),
            RouteSource::Exabgp(neighbors) => neighbors.ids(config).into_iter().map(peer_of).collect(),
        }
    }

    /// Opens the listening sockets.
    ///
    /// # Errors
    /// One could not be opened.
    pub(crate) fn listen(&mut self, config: &Config) -> Result<(), SocketError> {
        match self {
            RouteSource::Bgp(peers) => peers.listen(config),
            RouteSource::Exabgp(_) => Ok(()),
        }
    }

    /// The addresses of the BGP listeners.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            RouteSource::Bgp(peers) => peers.addresses(),
            RouteSource::Exabgp(_) => Vec::new(),
        }
    }

    /// Applies the configuration to the sessions.
    pub(crate) async fn apply(&mut self, config: &Config, ids: &[PeerId]) -> Changes {
        match self {
            RouteSource::Bgp(peers) => peers.apply(config, ids).await,
            RouteSource::Exabgp(_) => Changes::default(),
        }
    }

    /// The configuration was changed, and everything uses the new one.
    pub(crate) fn changed(&self) {
        match self {
            RouteSource::Bgp(_) => {}
            RouteSource::Exabgp(neighbors) => neighbors.changed(),
        }
    }

    /// Restarts tasks that ended unexpectedly.
    pub(crate) async fn restart_ended(&mut self) {
        match self {
            RouteSource::Bgp(peers) => peers.restart_ended().await,
            RouteSource::Exabgp(_) => {}
        }
    }

    /// Ends one session.
    pub(crate) async fn reset(&self, peer: PeerId, subcode: bgp::CeaseSubcode) {
        match self {
            RouteSource::Bgp(peers) => peers.reset(peer, subcode).await,
            RouteSource::Exabgp(_) => tracing::warn!("on-excess = \"close\": floodgate cannot close ExaBGP's sessions"),
        }
    }

    /// Ends all sessions.
    pub(crate) async fn stop(&mut self, keep: bool) {
        match self {
            RouteSource::Bgp(peers) => peers.stop(keep).await,
            RouteSource::Exabgp(_) => {}
        }
    }

    /// A request of the route source; pending forever if it makes none. `None` when it will make no
    /// more.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        match self {
            RouteSource::Bgp(_) => std::future::pending().await,
            RouteSource::Exabgp(neighbors) => neighbors.request().await,
        }
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// For `floodgate exabgp` without `--config`: the default file if it exists, otherwise built-in
    /// defaults.
    Usual,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// The errors of the file.
    pub(crate) fn load(&self) -> Result<Config, config::ConfigError> {
        match self {
            Source::File(path) => Config::load(path),
            Source::Usual => match self.file() {
                Some(path) => Config::load(path),
                None => Ok(crate::exabgp_input::built_in()),
            },
        }
    }

    /// The file that is used now.
    fn file(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Usual => Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()),
        }
    }

    /// The text of the file, for a comparison; empty if there is no file.
    pub(crate) fn text(&self) -> String {
        self.file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Usual => match self.file() {
                Some(path) => path.display().fmt(f),
                None => f.write_str("built-in"),
            },
        }
    }
}

/// Starts to read ExaBGP's lines.
///
/// # Errors
/// There are no more threads.
pub(crate) fn exabgp(
    core: tokio::sync::mpsc::Sender<PeerMessage>,
    saved_rules: &[SavedRules],
    config: &Config,
) -> Result<RouteSource> {
    let successor = crate::exabgp_input::successor_file(&config.api.socket);
    let of_peers = saved_rules.iter().filter_map(|SavedRules { origin, paths }| match origin {
        Origin::Peer(address) => Some((*address, paths.iter().map(|path| path.nlri.family()).collect())),
        Origin::Local => None,
    });
    let neighbors = Neighbors::start(core, of_peers, successor).context("cannot read ExaBGP's lines")?;
    Ok(RouteSource::Exabgp(Box::new(neighbors)))
}

/// Neighbours of ExaBGP are peers with the same numbers.
pub(crate) const fn peer_of(neighbor: NeighborId) -> PeerId {
    PeerId(neighbor.0)
}

impl From<NeighborMessage> for PeerMessage {
    fn from(NeighborMessage { neighbor, event }: NeighborMessage) -> Self {
        let news = match event {
            NeighborEvent::State(state) => PeerEvent::Output(Output::State(state)),
            NeighborEvent::Established(negotiated) => PeerEvent::Output(Output::Established(negotiated)),
            NeighborEvent::Update(update) => PeerEvent::Output(Output::Update(update)),
            NeighborEvent::EndOfRib(family) => PeerEvent::Output(Output::EndOfRib(family)),
            NeighborEvent::Lost(reason) => PeerEvent::Lost(reason),
            NeighborEvent::ParseError(what) => PeerEvent::ParseError(what),
            NeighborEvent::Held(answer) => PeerEvent::Held(answer),
        };
        PeerMessage { peer: peer_of(neighbor), news }
    }
}
