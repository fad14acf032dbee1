//! ExaBGP's neighbours as peers: configured ones with their policy, the others with the default
//! policy, identified by address.

use super::event::{NeighborId, NeighborMessage, RegisteredNeighbor, Request};
use super::feed::Feed;
use super::reader;
use crate::convert;
use anyhow::{Context, Result, bail};
use config::{Config, FamilyName};
use exabgp::Neighbor;
use flowspec::Family;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The neighbours, and the channel to the input task.
#[derive(Debug)]
pub(crate) struct Neighbors {
    ids: HashMap<IpAddr, NeighborId>,
    next_id: u32,
    learned: BTreeMap<IpAddr, config::Peer>,
    /// Our AS number and router id, as ExaBGP reports them.
    local: Option<(u32, std::net::Ipv4Addr)>,
    requests: mpsc::Receiver<Request>,
    /// Incremented with each change of the file: the input task then looks up its neighbours again.
    generation: Arc<AtomicU64>,
}

impl Neighbors {
    /// Starts to read standard input; `events` receives the events. `saved_rules` are the peers of
    /// the last run, with the families of their rules.
    ///
    /// # Errors
    /// There are no more threads.
    pub(crate) fn start<M: From<NeighborMessage> + Send + 'static>(
        events: mpsc::Sender<M>,
        saved_rules: impl IntoIterator<Item = (IpAddr, Vec<Family>)>,
        successor: PathBuf,
    ) -> Result<Self> {
        if std::io::stdin().is_terminal() {
            tracing::warn!(
                "standard input is a terminal: this is meant to be started by ExaBGP (see `floodgate exabgp --help`)"
            );
        }
        let lines = reader::spawn(std::io::stdin()).context("cannot start a thread")?;
        let (supervisor, requests) = mpsc::channel(16);
        let generation = Arc::new(AtomicU64::new(0));
        tokio::spawn(Feed::new(lines, events, supervisor, successor, Arc::clone(&generation)).run());
        let mut learned = BTreeMap::new();
        let mut families = BTreeSet::new();
        for (address, of_peer) in saved_rules {
            learned.insert(address, learned_peer(address));
            families.extend(of_peer);
        }
        ask_again(families);
        Ok(Neighbors { ids: HashMap::new(), next_id: 0, learned, local: None, requests, generation })
    }

    /// The requests of the input task.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// The file has changed.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// The configuration with added peers for neighbours that are not configured.
    pub(crate) fn complete(&self, mut config: Config) -> Config {
        if let (Some((asn, id)), 0) = (self.local, config.router.asn) {
            (config.router.asn, config.router.id) = (asn, id);
        }
        // There are no BGP sessions of our own.
        config.router.listen = Some(Vec::new());
        config.peers.iter_mut().for_each(|peer| peer.advertise.clear());
        for peer in self.learned.values() {
            if config.peers.iter().any(|other| other.address == peer.address) {
                continue;
            }
            let mut peer = peer.clone();
            while config.peers.iter().any(|other| other.name == peer.name) {
                peer.name.push('\'');
            }
            config.peers.push(peer);
        }
        config
    }

    /// The number of each peer, in the order of the configuration.
    pub(crate) fn ids(&mut self, config: &Config) -> Vec<NeighborId> {
        let id = |peer: &config::Peer| {
            *self.ids.entry(peer.address).or_insert_with(|| {
                self.next_id += 1;
                NeighborId(self.next_id)
            })
        };
        config.peers.iter().map(id).collect()
    }

    /// Records a neighbour; true if [`complete`](Self::complete) now makes a different
    /// configuration from `fresh`.
    pub(crate) fn learn(&mut self, neighbor: &Neighbor, fresh: &Config) -> bool {
        let before = (self.learned.clone(), self.local);
        if let Some(asn) = neighbor.local_as {
            let id = neighbor.router_id.or(match neighbor.local {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            });
            self.local.get_or_insert((asn, id.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED)));
        }
        // Also record one that is configured: a changed file may no longer name it.
        let peer = self.learned.entry(neighbor.peer).or_insert_with(|| learned_peer(neighbor.peer));
        peer.asn = neighbor.peer_as.unwrap_or(peer.asn);
        peer.local_as = neighbor.local_as.or(peer.local_as);
        peer.source = neighbor.local.filter(|local| local.is_ipv4() == neighbor.peer.is_ipv4());
        peer.port = super::port::of_session(neighbor).unwrap_or(peer.port);
        let configured = fresh.peers.iter().any(|peer| peer.address == neighbor.peer);
        before.1 != self.local || (!configured && before.0 != self.learned)
    }

    /// The registered neighbour, once it is configured or learned.
    pub(crate) fn register_neighbor(&self, neighbor: &Neighbor, config: &Config) -> Option<RegisteredNeighbor> {
        let peer = config.peers.iter().find(|peer| peer.address == neighbor.peer)?;
        let families = peer.families.iter().map(|name| convert::afi_safi(*name)).collect();
        Some(RegisteredNeighbor { id: *self.ids.get(&neighbor.peer)?, families })
    }
}

/// A peer for a neighbour that is not configured: the defaults of `[[peer]]`, with the VPN
/// families, too, since ExaBGP was configured to negotiate them.
fn learned_peer(address: IpAddr) -> config::Peer {
    let families = vec![FamilyName::Ipv4, FamilyName::Ipv6, FamilyName::Vpnv4, FamilyName::Vpnv6];
    config::Peer { families, ..super::default::peer(address) }
}

/// A start creates this file beside the API socket to ask the process before it to end.
pub(crate) fn successor_file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".successor");
    name.into()
}

/// How long a start waits for the process before it to end, which may have to remove filters.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until nobody answers on the API socket. ExaBGP starts a process anew while the old one is
/// still ending; a process that retains rules after the end of its ExaBGP leaves them to us.
///
/// # Errors
/// Another process still answers after half a minute.
pub(crate) async fn wait_for_predecessor(socket: &Path) -> Result<()> {
    let file = successor_file(socket);
    let end = Instant::now() + PREDECESSOR_TIMEOUT;
    let mut told = false;
    while UnixStream::connect(socket).await.is_ok() {
        if !std::mem::replace(&mut told, true) {
            tracing::info!("waiting for the previous process to end, which still answers on {}", socket.display());
            if let Err(error) = std::fs::write(&file, std::process::id().to_string()) {
                tracing::warn!(%error, "cannot write {}", file.display());
            }
        }
        if Instant::now() >= end {
            let _ = std::fs::remove_file(&file);
            bail!("another floodgate answers on {}; set another `socket` in [api]", socket.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Also remove one that a killed start left.
    let _ = std::fs::remove_file(&file);
    Ok(())
}

/// Rules of the last run are in force, as stale. If ExaBGP has been running all the time, its peers
/// have no reason to send them again, so we request a refresh. Nothing else is ever written to
/// standard output, from which ExaBGP reads commands.
fn ask_again(families: BTreeSet<Family>) {
    let mut commands = String::new();
    for family in families {
        let words = match family {
            Family::Ipv4 => "ipv4 flow",
            Family::Ipv6 => "ipv6 flow",
            Family::Vpnv4 => "ipv4 flow-vpn",
            Family::Vpnv6 => "ipv6 flow-vpn",
        };
        commands.push_str(&format!("announce route-refresh {words}\n"));
    }
    let mut output = std::io::stdout().lock();
    if let Err(error) = output.write_all(commands.as_bytes()).and_then(|()| output.flush()) {
        tracing::warn!(%error, "cannot ask ExaBGP to send the rules again");
    }
}
