//! One peer's task: carries octets, connects and time between the kernel and a [`bgp::Session`], and what the session tells to the engine.

use super::goodbye::{self, Goodbyes};
use super::listen::Routes;
use super::socket::{Endpoint, SocketError};
use bgp::{Cease, ConnId, Direction, DownReason, Event, Negotiated, Output, PeerConfig, RefreshKind, Session};
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Names a peer for the life of the daemon; a peer that is taken out of the configuration and put back gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// What a peer's task tells the engine.
#[derive(Debug)]
pub struct PeerMessage {
    /// Who.
    pub peer: PeerId,
    /// What.
    pub news: PeerEvent,
}

/// What can be told of a peer.
#[derive(Debug)]
pub enum PeerEvent {
    /// What its session said.
    Output(Output),
    /// Its session, which another program holds, is lost; in that program's words.
    Lost(String),
    /// Its session ended by a bug of ours and is started again; in words.
    Restarted(String),
    /// Something of it could not be read; in words.
    ParseError(String),
    /// Asks how many stale rules there are, of any peer, behind all that was told before.
    Held(tokio::sync::oneshot::Sender<u64>),
}

/// What a peer's task is told.
#[derive(Debug)]
pub enum Control {
    /// End the session and the task; the answer comes when the peer has been told.
    Stop(Cease, tokio::sync::oneshot::Sender<()>),
    /// Close all without a word, so that a peer with graceful restart keeps its side, and end the task.
    Vanish,
    /// Close, and come back after the idle hold time.
    Reset(Cease),
}

/// All that a peer's task needs.
#[derive(Debug)]
pub struct SessionSetup {
    /// Who it is.
    pub peer: PeerId,
    /// The session.
    pub config: PeerConfig,
    /// The sockets.
    pub endpoint: Endpoint,
    /// Where outputs go.
    pub engine: mpsc::Sender<PeerMessage>,
    /// Where we listen ourselves.
    pub routes: Routes,
    /// Connections that the peer opened.
    pub incoming: mpsc::Receiver<TcpStream>,
    /// Orders.
    pub control: mpsc::Receiver<Control>,
}

/// Octets read at a time; bounds what one peer can put before the engine in one go.
const READ: usize = 64 * 1024;

/// Longest time that a connection attempt takes before it counts as failed.
/// Shorter than the session's connect retry time, so that it is known why there is no connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the session until it is told to stop.
pub async fn run(setup: SessionSetup) {
    let SessionSetup { peer, config, endpoint, engine, routes, mut incoming, mut control } = setup;
    let mut task = Task {
        session: Session::new(config),
        endpoint,
        routes,
        conns: Vec::new(),
        connecting: None,
        next_conn: 0,
        outputs: VecDeque::new(),
        buffer: vec![0; READ],
        goodbyes: Goodbyes::default(),
    };
    task.handle(Event::ManualStart);
    loop {
        let deadline = task.session.poll_timeout();
        let idle = task.outputs.is_empty();
        tokio::select! {
            biased;
            order = control.recv() => match order {
                Some(Control::Stop(cease, done)) => {
                    task.handle(Event::ManualStop(cease));
                    // The engine must learn that the session is over: where another with this peer is to follow, its rules would stay.
                    for output in task.outputs.drain(..) {
                        if engine.send(PeerMessage { peer, news: PeerEvent::Output(output) }).await.is_err() {
                            break;
                        }
                    }
                    task.goodbyes.all().await;
                    let _ = done.send(());
                    return;
                }
                Some(Control::Vanish) | None => return,
                Some(Control::Reset(cease)) => task.handle(Event::Reset(cease)),
            },
            () = sleep_until(deadline) => task.timeout(),
            permit = engine.reserve(), if !idle => {
                let Ok(permit) = permit else { return };
                if let Some(output) = task.outputs.pop_front() {
                    permit.send(PeerMessage { peer, news: PeerEvent::Output(output) });
                }
            }
            outcome = connected(&mut task.connecting) => task.connect_done(outcome),
            Some(stream) = incoming.recv() => task.accepted(stream),
            (index, readiness) = ready(&task.conns, idle) => task.transfer(index, readiness),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// A connection there would be one to this daemon.
    #[error("{0} is where Floodgate itself takes connections; it waits for the peer to connect")]
    Ourselves(SocketAddr),
    /// Nobody takes connections there.
    #[error("{0}; a peer that only connects needs passive = true")]
    Refused(SocketError),
    /// It failed otherwise.
    #[error(transparent)]
    Failed(#[from] SocketError),
    /// Nobody answers there.
    #[error("cannot connect to {0}: no answer")]
    NoAnswer(SocketAddr),
}

type Connected = Result<TcpStream, ConnectError>;
type Connecting = Pin<Box<dyn Future<Output = Connected> + Send>>;

async fn connected(connecting: &mut Option<Connecting>) -> Connected {
    match connecting {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

struct Conn {
    id: ConnId,
    stream: TcpStream,
    /// Taken from the session, not yet by the kernel.
    unsent: VecDeque<u8>,
}

#[derive(Clone, Copy)]
enum Readiness {
    Read,
    Write,
}

/// Waits until a connection can be read (unless the engine has yet to take what was read before) or has room for what is unsent.
async fn ready(conns: &[Conn], read: bool) -> (usize, Readiness) {
    poll_fn(|cx: &mut Context<'_>| {
        for (index, conn) in conns.iter().enumerate() {
            if !conn.unsent.is_empty() && conn.stream.poll_write_ready(cx).is_ready() {
                return Poll::Ready((index, Readiness::Write));
            }
            if read && conn.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready((index, Readiness::Read));
            }
        }
        Poll::Pending
    })
    .await
}

struct Task {
    session: Session,
    endpoint: Endpoint,
    routes: Routes,
    conns: Vec<Conn>,
    connecting: Option<Connecting>,
    next_conn: u64,
    outputs: VecDeque<Output>,
    buffer: Vec<u8>,
    goodbyes: Goodbyes,
}

impl Task {
    fn handle(&mut self, event: Event<'_>) {
        self.session.handle(event, Instant::now());
        self.run_outputs();
    }

    fn timeout(&mut self) {
        self.session.handle_timeout(Instant::now());
        self.run_outputs();
    }

    /// Does what the session wants, and writes what it has to say, until both are exhausted.
    fn run_outputs(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.act(output);
            }
            if !self.flush() {
                return;
            }
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Connect => {
                let endpoint = self.endpoint.clone();
                let ourselves = self.routes.is_ourselves(endpoint.remote);
                self.connecting = Some(Box::pin(async move {
                    if ourselves {
                        return Err(ConnectError::Ourselves(endpoint.remote));
                    }
                    match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
                        Ok(Err(error)) if error.cause.kind() == io::ErrorKind::ConnectionRefused => {
                            Err(ConnectError::Refused(error))
                        }
                        Ok(outcome) => Ok(outcome?),
                        Err(_) => Err(ConnectError::NoAnswer(endpoint.remote)),
                    }
                }));
            }
            Output::AbortConnect => self.connecting = None,
            Output::Close { conn, final_octets } => {
                if let Some(index) = self.conns.iter().position(|c| c.id == conn) {
                    let mut conn = self.conns.swap_remove(index);
                    conn.unsent.extend(final_octets);
                    self.goodbyes.end(conn.stream, conn.unsent);
                }
            }
            Output::Established(ref negotiated) => {
                self.end_of_rib(negotiated);
                self.outputs.push_back(output);
            }
            // Nothing lies between begin and end (RFC 7313 §4); a peer without these marks gets no answer, as there is nothing to send.
            Output::RouteRefresh { family, kind: RefreshKind::Request } => {
                for kind in [RefreshKind::Begin, RefreshKind::End] {
                    if let Err(error) = self.session.route_refresh(family, kind) {
                        tracing::debug!(%error, %family, "a ROUTE-REFRESH is not answered");
                    }
                }
            }
            Output::Down(_)
            | Output::Failed(_)
            | Output::State(_)
            | Output::Update(_)
            | Output::EndOfRib(_)
            | Output::RouteRefresh { .. }
            | Output::UnknownRefresh(_)
            | Output::Damped { .. }
            | Output::NextTry(_)
            | Output::TooLong(_) => self.outputs.push_back(output),
        }
    }

    /// Writes; true if the session may have more to do now.
    fn flush(&mut self) -> bool {
        let mut again = false;
        while self.conns.iter().all(|conn| conn.unsent.is_empty()) {
            let Some(transmit) = self.session.poll_transmit(Instant::now()) else { break };
            if let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == transmit.conn) {
                conn.unsent.extend(transmit.octets);
                let id = conn.id;
                if conn.write().is_err() {
                    again |= self.lost(id);
                }
            }
        }
        again
    }

    fn transfer(&mut self, index: usize, readiness: Readiness) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let id = conn.id;
        match readiness {
            Readiness::Write => {
                if conn.write().is_err() {
                    self.lost(id);
                }
                self.run_outputs();
            }
            Readiness::Read => match conn.stream.try_read(&mut self.buffer) {
                Ok(0) => {
                    self.lost(id);
                    self.run_outputs();
                }
                Ok(count) => {
                    self.session.handle(Event::Received(id, &self.buffer[..count]), Instant::now());
                    self.run_outputs();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.lost(id);
                    self.run_outputs();
                }
            },
        }
    }

    fn lost(&mut self, id: ConnId) -> bool {
        self.conns.retain(|conn| conn.id != id);
        self.session.handle(Event::Closed(id), Instant::now());
        true
    }

    fn connect_done(&mut self, outcome: Connected) {
        self.connecting = None;
        match outcome {
            Ok(stream) => self.add(stream, Direction::Outgoing),
            Err(error) => {
                self.outputs.push_back(Output::Failed(DownReason::NoConnection(error.to_string())));
                self.handle(Event::ConnectFailed);
            }
        }
    }

    /// We announce nothing, and say so at once: a peer that restarts gracefully may hold its own routes back until each of its peers
    /// has sent End-of-RIB (RFC 4724 §4.1).
    fn end_of_rib(&mut self, negotiated: &Negotiated) {
        if negotiated.graceful_restart().is_some() {
            for family in negotiated.families.iter() {
                if let Err(error) = self.session.end_of_rib(family) {
                    tracing::debug!(%error, %family, "no End-of-RIB is sent");
                }
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream) {
        match self.endpoint.adopt(&stream) {
            Ok(()) => self.add(stream, Direction::Incoming),
            Err(error) => tracing::warn!(%error, peer = %self.endpoint.remote, "connection closed"),
        }
    }

    fn add(&mut self, stream: TcpStream, direction: Direction) {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.push(Conn { id, stream, unsent: VecDeque::new() });
        self.handle(Event::Connected(id, direction));
    }
}

impl Conn {
    /// Writes as much as the kernel takes.
    fn write(&mut self) -> io::Result<()> {
        goodbye::write(&self.stream, &mut self.unsent)
    }
}
