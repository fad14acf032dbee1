//! Listening: connections from configured peers go to their tasks, all others are refused.

use super::goodbye::Goodbyes;
use super::socket::{self, EVERYWHERE, SocketError, plain};
use bgp::{Message, Notification};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{BGP_PORT, Listen};
use crate::logging::Throttle;

/// Which task takes the connections of which address.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<Mutex<HashMap<IpAddr, mpsc::Sender<TcpStream>>>>);

impl Routes {
    /// From now on connections from `peer` go to `task`.
    pub fn insert(&self, peer: IpAddr, task: mpsc::Sender<TcpStream>) {
        self.lock().insert(peer, task);
    }

    /// From now on connections from `peer` are closed.
    pub fn remove(&self, peer: IpAddr) {
        self.lock().remove(&peer);
    }

    fn find(&self, peer: IpAddr) -> Option<mpsc::Sender<TcpStream>> {
        self.lock().get(&peer).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, mpsc::Sender<TcpStream>>> {
        // The map is whole whatever a panicking holder did: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listening sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    open: Vec<Listener>,
    secrets: HashMap<IpAddr, String>,
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
    /// Listens on exactly these addresses; those that stay are not touched. `None` means port 179 everywhere, and there an address that
    /// another program has is only a warning: this machine may already run a BGP daemon, and we can still connect.
    ///
    /// # Errors
    /// The addresses that could not be opened; what could be is open.
    pub fn set(&mut self, wanted: Option<&[Listen]>, routes: &Routes) -> Result<(), SocketError> {
        let addresses: Vec<SocketAddr> = match wanted {
            Some(listen) => listen.iter().map(|listen| listen.bgp()).collect(),
            None => EVERYWHERE.iter().map(|ip| SocketAddr::new(*ip, BGP_PORT)).collect(),
        };
        self.open.retain(|listener| addresses.contains(&listener.address));
        let mut failure = None;
        for address in addresses {
            if self.open.iter().any(|listener| listener.address == address) {
                continue;
            }
            match self.open(address, routes) {
                Ok(listener) => self.open.push(listener),
                Err(error) if wanted.is_none() => {
                    tracing::warn!(%error, "not listening there; peers that only connect will not reach us (router.listen)");
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sets the TCP-MD5 secrets of all peers, on the listeners that there are and those to come.
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

    /// Where connections are taken.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    fn open(&self, address: SocketAddr, routes: &Routes) -> Result<Listener, SocketError> {
        let socket = Arc::new(socket::listen(address)?);
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
    Message::Notification(Notification::new(Notification::CEASE_REJECTED)).encode_to(&mut octets);
    octets.into()
}

async fn accept(listener: Arc<TcpListener>, routes: Routes) {
    let mut throttle = Throttle::default();
    let mut failing = false;
    let mut goodbyes = Goodbyes::default();
    loop {
        if let Some(summary) = throttle.summary(Instant::now()) {
            tracing::info!("connections closed: {summary}");
        }
        match listener.accept().await {
            Ok((stream, from)) => {
                failing = false;
                let from = plain(from.ip());
                let (why, refused) = match routes.find(from) {
                    None => ("it is not the address of a configured peer", Some(stream)),
                    // More than a task has taken are a flood.
                    Some(task) => match task.try_send(stream) {
                        Ok(()) => continue,
                        Err(_) => ("this peer has too many connections at once", None),
                    },
                };
                if let Some(stream) = refused {
                    goodbyes.end(stream, rejection());
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
