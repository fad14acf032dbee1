//! Accepts connections and serves requests on them, within limits.

use super::limits::{self, ConnectionCounts, HEAD, HEAD_TIME};
use super::write_stall_timeout::WriteStallTimeout;
use axum::Router;
use axum::http::{HeaderValue, header};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A user of this machine.
    User(u32),
    /// A host.
    Host(IpAddr),
    /// The kernel does not say.
    Unknown,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Caller::User(uid) => match nix::unistd::User::from_uid((*uid).into()) {
                Ok(Some(user)) => write!(f, "{}", user.name),
                _ => write!(f, "uid {uid}"),
            },
            Caller::Host(address) => address.fmt(f),
            Caller::Unknown => f.write_str("unknown"),
        }
    }
}

/// The two ends of a client's TCP connection: a rule that takes its packets locks the client out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// The client.
    pub client: SocketAddr,
    /// This machine.
    pub server: SocketAddr,
}

/// A listener.
pub(super) trait Accept {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection, and its origin.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;
    /// Both ends of a connection, if it is one over TCP.
    fn session(stream: &Self::Stream) -> Option<ClientSession>;
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<(Self::Stream, Caller)> {
        let (stream, _) = self.accept().await?;
        let caller = stream.peer_cred().map_or(Caller::Unknown, |credentials| Caller::User(credentials.uid()));
        Ok((stream, caller))
    }

    fn session(_: &Self::Stream) -> Option<ClientSession> {
        None
    }
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Caller)> {
        self.accept().await.map(|(stream, from)| (stream, Caller::Host(from.ip().to_canonical())))
    }

    fn session(stream: &Self::Stream) -> Option<ClientSession> {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let (client, server) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
        Some(ClientSession { client: canonical(client), server: canonical(server) })
    }
}

/// Serves forever.
pub(super) async fn serve<L: Accept>(listener: L, router: Router) {
    let places = Arc::new(Semaphore::new(limits::connections(crate::descriptors::limit())));
    let connection_counts = ConnectionCounts::default();
    let mut silent = IdleConnections::default();
    let mut failing = false;
    loop {
        let (stream, caller) = match listener.next().await {
            Ok(connection) => connection,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the API cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        failing = false;
        let counted = match caller {
            Caller::Host(address) => match connection_counts.take(address) {
                None => continue,
                counted => counted,
            },
            Caller::User(_) | Caller::Unknown => None,
        };
        // If all slots are taken, this one and those in the kernel's backlog wait.
        let place = loop {
            tokio::select! {
                biased;
                place = Arc::clone(&places).acquire_owned() => match place {
                    Ok(place) => break place,
                    Err(_) => return,
                },
                () = silent.next_grace() => silent.close_one(),
            }
        };
        let asked = Arc::new(AtomicBool::new(false));
        let witness = Arc::clone(&asked);
        let session = L::session(&stream);
        let crowd = Arc::clone(&places);
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            witness.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(caller);
            if let Some(session) = session {
                request.extensions_mut().insert(session);
            }
            let (answer, crowd) = (router.call(request), Arc::clone(&crowd));
            async move {
                let mut answer = answer.await?;
                // While others wait, nobody keeps a connection for a later request.
                if crowd.available_permits() == 0 {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let task = tokio::spawn(async move {
            let _held = (place, counted);
            // An error on one connection concerns its client only.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(WriteStallTimeout::new(stream)), service)
                .await;
        });
        silent.enter(asked, task.abort_handle());
    }
}

/// Connections without a request yet, the oldest first. When all slots are taken, they are closed
/// for new ones.
#[derive(Default)]
struct IdleConnections(VecDeque<(Arc<AtomicBool>, AbortHandle, Instant)>);

/// How long a connection may be idle before it can be closed for a new one.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

impl IdleConnections {
    fn enter(&mut self, asked: Arc<AtomicBool>, task: AbortHandle) {
        self.0.retain(|(asked, task, _)| !asked.load(Ordering::Relaxed) && !task.is_finished());
        self.0.push_back((asked, task, Instant::now()));
    }

    /// Waits until the oldest has been idle for long enough; pending forever if there is none.
    async fn next_grace(&mut self) {
        while self.0.front().is_some_and(|(asked, task, _)| asked.load(Ordering::Relaxed) || task.is_finished()) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some((.., since)) => {
                tokio::time::sleep_until(*since + GRACE).await;
                // A request may have arrived, and the connection's task may not have run yet on a
                // busy machine: let it run now.
                tokio::task::yield_now().await;
            }
            None => std::future::pending().await,
        }
    }

    fn close_one(&mut self) {
        if let Some((asked, task, _)) = self.0.pop_front()
            && !asked.load(Ordering::Relaxed)
        {
            task.abort();
        }
    }
}
