//! Listeners: passes connections of configured peers to their tasks, and rejects all others.

use super::closing::ClosingConnections;
use super::socket::{self, Endpoint, SocketError, TtlRequirement, least_ttl, to_canonical};
use bgp::{CeaseSubcode, Message, Notification};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::logging::Throttle;

/// The task for connections from each address, and the addresses that we listen on.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    peers: HashMap<IpAddr, Route>,
    listening: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Route {
    task: mpsc::Sender<TcpStream>,
    /// TTL security: least TTL of its SYN.
    least_ttl: Option<u8>,
    /// The interface that its link-local address is on.
    interface: Option<String>,
}

impl Route {
    /// Whether a connection from this address is one of the peer: a link-local address is another
    /// machine's on another link.
    fn is_on_its_link(&self, from: SocketAddr) -> bool {
        match (from, &self.interface) {
            (SocketAddr::V6(from), Some(name)) if from.ip().is_unicast_link_local() => {
                socket::interface_index(name).is_ok_and(|index| index == from.scope_id())
            }
            _ => true,
        }
    }
}

impl Routes {
    /// From now on connections from this peer go to `task`, unless they come from further away than
    /// its TTL security allows, or over another link.
    pub fn insert(&self, peer: &Endpoint, task: mpsc::Sender<TcpStream>) {
        let Endpoint { remote, hops, interface, .. } = peer;
        let route = Route { task, least_ttl: hops.map(least_ttl), interface: interface.clone() };
        self.lock().peers.insert(remote.ip(), route);
    }

    /// From now on connections from `peer` are rejected.
    pub fn remove(&self, peer: IpAddr) {
        self.lock().peers.remove(&peer);
    }

    /// Whether a connection to this address would reach this daemon itself: we listen there, and it
    /// is an address of this machine.
    pub(super) fn is_ourselves(&self, to: SocketAddr) -> bool {
        let table = self.lock();
        table.listening.iter().any(|own| {
            let same_family = own.is_ipv4() == to.is_ipv4();
            own.port() == to.port()
                && (own.ip() == to.ip() || (own.ip().is_unspecified() && same_family && is_own_address(to.ip())))
        })
    }

    fn find(&self, peer: IpAddr) -> Option<Route> {
        self.lock().peers.get(&peer).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // The table is consistent even after a panic: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this machine has the address.
fn is_own_address(address: IpAddr) -> bool {
    address.is_loopback() || crate::interfaces::addresses().is_ok_and(|own| own.contains(&address))
}

/// The listening sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    open: Vec<Listener>,
    secrets: HashMap<IpAddr, String>,
    /// For IPv4 and IPv6.
    ttl_requirements: [TtlRequirement; 2],
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listeners {
    /// Listens on exactly these addresses; existing listeners are kept. Those of `tried` may belong
    /// to another program, since this machine may run a router; we can still connect, so that is
    /// only a warning.
    ///
    /// # Errors
    /// The addresses of `wanted` that could not be opened; the others are open.
    pub fn set(&mut self, wanted: &[SocketAddr], tried: &[SocketAddr], routes: &Routes) -> Result<(), SocketError> {
        self.open.retain(|listener| wanted.contains(&listener.address) || tried.contains(&listener.address));
        let mut failure = None;
        for address in wanted.iter().chain(tried) {
            if self.open.iter().any(|listener| listener.address == *address) {
                continue;
            }
            match self.open(*address, routes) {
                Ok(listener) => self.open.push(listener),
                Err(error) if tried.contains(address) => {
                    tracing::warn!(%error, "cannot listen: passive peers cannot connect (router.listen)");
                }
                Err(error) => failure = Some(error),
            }
        }
        routes.lock().listening = self.addresses();
        failure.map_or(Ok(()), Err)
    }

    /// Sets the TTL security of the listeners, present and future. Each peer of an IP version has
    /// its number of hops, or none.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn ttl_requirements(
        &mut self,
        peers: impl Iterator<Item = (IpAddr, Option<u8>)> + Clone,
    ) -> Result<(), SocketError> {
        let of = |ipv4: bool| {
            let hops = peers.clone().filter(move |(peer, _)| peer.is_ipv4() == ipv4).map(|(_, hops)| hops);
            let keep_syn = hops.clone().any(|hops| hops.is_some());
            // The furthest of them; a peer without a limit counts as infinitely far.
            let furthest = hops.map(|hops| hops.unwrap_or(u8::MAX)).max();
            let least = furthest.filter(|hops| *hops < u8::MAX).map_or(0, least_ttl);
            TtlRequirement::new(least, keep_syn)
        };
        self.ttl_requirements = [of(true), of(false)];
        for listener in &self.open {
            socket::set_listener_ttl_requirement(&listener.socket, self.ttl_requirement(listener.address))?;
        }
        Ok(())
    }

    const fn ttl_requirement(&self, address: SocketAddr) -> TtlRequirement {
        if address.is_ipv4() { self.ttl_requirements[0] } else { self.ttl_requirements[1] }
    }

    /// Sets the TCP-MD5 secrets of all peers on the listeners, present and future.
    ///
    /// # Errors
    /// The kernel refused one.
    pub fn secrets(&mut self, secrets: HashMap<IpAddr, String>) -> Result<(), SocketError> {
        let gone = self.secrets.keys().filter(|peer| !secrets.contains_key(*peer)).map(|peer| (*peer, None));
        let new = secrets.iter().filter(|(peer, secret)| self.secrets.get(peer) != Some(secret));
        let changes: Vec<_> = gone.chain(new.map(|(peer, secret)| (*peer, Some(secret.as_str())))).collect();
        for listener in &self.open {
            for (peer, secret) in &changes {
                socket::listener_secret(&listener.socket, *peer, *secret)?;
            }
        }
        self.secrets = secrets;
        Ok(())
    }

    /// The addresses of the listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    fn open(&self, address: SocketAddr, routes: &Routes) -> Result<Listener, SocketError> {
        let socket = Arc::new(socket::listen(address, self.ttl_requirement(address))?);
        for (peer, secret) in &self.secrets {
            socket::listener_secret(&socket, *peer, Some(secret))?;
        }
        let task = tokio::spawn(accept(Arc::clone(&socket), routes.clone()));
        Ok(Listener { address, socket, task })
    }
}

/// Cease, Connection Rejected (RFC 4486 §4).
fn rejection() -> VecDeque<u8> {
    let mut octets = Vec::new();
    Message::Notification(Notification::new(CeaseSubcode::ConnectionRejected)).encode_to(&mut octets);
    octets.into()
}

async fn accept(listener: Arc<TcpListener>, routes: Routes) {
    let mut throttle = Throttle::default();
    let mut failing = false;
    let mut closing_connections = ClosingConnections::default();
    loop {
        if let Some(summary) = throttle.summary(Instant::now()) {
            tracing::info!("connections closed: {summary}");
        }
        match listener.accept().await {
            Ok((stream, from)) => {
                failing = false;
                let remote = from;
                let from = to_canonical(from.ip());
                let (why, refused) = match routes.find(from) {
                    None => ("it is not the address of a configured peer", Some(stream)),
                    Some(route) if !route.is_on_its_link(remote) => ("it is from another link", Some(stream)),
                    // Connections beyond the backlog of a task are a flood. TTL is checked before
                    // anything is read (RFC 5082 §3); a connection from too far away gets no
                    // answer.
                    Some(route) if route.least_ttl.is_some_and(|least| !socket::has_least_ttl(&stream, least)) => {
                        ("it is from further away than ttl-security allows", None)
                    }
                    Some(route) => match route.task.try_send(stream) {
                        Ok(()) => continue,
                        Err(_) => ("this peer has too many connections at once", None),
                    },
                };
                if let Some(stream) = refused {
                    closing_connections.end(stream, rejection());
                }
                if throttle.admit(why, Instant::now()) {
                    tracing::info!(%from, "connection refused: {why}");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections of peers");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
