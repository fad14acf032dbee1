//! The task of one peer: moves octets, connection attempts and timers between the kernel and a
//! [`bgp::Session`], and passes the session's outputs to the engine.

use super::closing::{self, ClosingConnections};
use super::listen::Routes;
use super::originated::{Originated, OriginatedChange};
use super::socket::{Endpoint, SocketError};
use bgp::{
    AdjRibOut, Cease, ConnId, Direction, DownReason, Event, Negotiated, Output, PeerConfig, RefreshKind, Session,
};
use engine::PeerId;
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A message of a peer's task to the engine.
#[derive(Debug)]
pub struct PeerMessage {
    /// The peer.
    pub peer: PeerId,
    /// The event.
    pub news: PeerEvent,
}

/// An event of a peer.
#[derive(Debug)]
pub enum PeerEvent {
    /// An output of its session.
    Output(Output),
    /// Its session, which ExaBGP holds, is lost; the reason as ExaBGP gives it.
    Lost(String),
    /// Its session's task panicked and is started again; the message, for people.
    Restarted(String),
    /// Input of ExaBGP could not be parsed; the error, for people.
    ParseError(String),
    /// Asks for the number of stale rules of all peers, after all events before this one.
    Held(tokio::sync::oneshot::Sender<u64>),
}

/// An order to a peer's task.
#[derive(Debug)]
pub enum Control {
    /// End the session and the task; answered when the NOTIFICATION has been sent.
    Stop(Cease, tokio::sync::oneshot::Sender<()>),
    /// Close all connections without a NOTIFICATION, so that a peer with graceful restart keeps our
    /// routes, and end the task.
    Vanish,
    /// Close, and reconnect after the idle hold time.
    Reset(Cease),
}

/// What a peer's task needs.
#[derive(Debug)]
pub struct SessionSetup {
    /// The peer's id.
    pub peer: PeerId,
    /// The session.
    pub config: PeerConfig,
    /// The sockets.
    pub endpoint: Endpoint,
    /// Where outputs go.
    pub engine: mpsc::Sender<PeerMessage>,
    /// The listeners.
    pub routes: Routes,
    /// Connections that the peer opened.
    pub incoming: mpsc::Receiver<TcpStream>,
    /// The orders.
    pub control: mpsc::Receiver<Control>,
    /// The routes to advertise to this peer; `None`: it gets none.
    pub originated: Option<Originated>,
}

/// Octets read at a time; limits what one peer can queue for the engine in one go.
const READ: usize = 64 * 1024;

/// Timeout of a connection attempt. It is shorter than the session's connect retry time, so that
/// the reason is known.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the session until it is stopped.
pub async fn run(setup: SessionSetup) {
    let SessionSetup { peer, config, endpoint, engine, routes, mut incoming, mut control, originated } = setup;
    let mut task = Task {
        session: Session::new(config),
        endpoint,
        routes,
        conns: Vec::new(),
        connecting: None,
        next_conn: 0,
        outputs: VecDeque::new(),
        buffer: vec![0; READ],
        closing_connections: ClosingConnections::default(),
        adj_rib_out: AdjRibOut::default(),
        advertises: originated.is_some(),
    };
    let mut changes = originated.map(|originated| {
        let (routes, changes) = originated.subscribe();
        routes.into_iter().for_each(|route| task.advertise(route));
        changes
    });
    task.handle(Event::ManualStart);
    loop {
        let deadline = task.session.poll_timeout();
        let idle = task.outputs.is_empty();
        tokio::select! {
            biased;
            order = control.recv() => match order {
                Some(Control::Stop(cease, done)) => {
                    task.handle(Event::ManualStop(cease));
                    // The engine must learn that the session is over: if another session with this
                    // peer follows, its rules would otherwise stay.
                    for output in task.outputs.drain(..) {
                        if engine.send(PeerMessage { peer, news: PeerEvent::Output(output) }).await.is_err() {
                            break;
                        }
                    }
                    task.closing_connections.all().await;
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
            change = changed(&mut changes) => {
                task.advertise(change);
                while let Some(change) = changes.as_mut().and_then(|changes| changes.try_recv().ok()) {
                    task.advertise(change);
                }
                task.run_outputs();
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

/// The next change of the routes to advertise.
async fn changed(changes: &mut Option<mpsc::UnboundedReceiver<OriginatedChange>>) -> OriginatedChange {
    let next = match changes {
        Some(changes) => changes.recv().await,
        None => None,
    };
    match next {
        Some(change) => change,
        // There is nobody left who changes routes: the daemon is ending.
        None => pending().await,
    }
}

/// Why a connection attempt failed.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// The connection would reach this daemon itself.
    #[error("{0} is where Floodgate itself takes connections; it waits for the peer to connect")]
    Ourselves(SocketAddr),
    /// Connection refused.
    #[error("{0}; a peer that only connects needs passive = true")]
    Refused(SocketError),
    /// Another error.
    #[error(transparent)]
    Failed(#[from] SocketError),
    /// Timeout.
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
    /// Taken from the session, not yet accepted by the kernel.
    unsent: VecDeque<u8>,
}

#[derive(Clone, Copy)]
enum Readiness {
    Read,
    Write,
}

/// Waits until a connection is readable (unless the engine has not yet taken what was read before)
/// or writable with octets unsent.
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
    closing_connections: ClosingConnections,
    adj_rib_out: AdjRibOut,
    /// Routes are advertised to this peer, or would be if there were any.
    advertises: bool,
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

    /// Runs the session's outputs and writes its octets, until there are none left.
    fn run_outputs(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.run_output(output);
            }
            if !self.flush() && !self.adj_rib_out.answer(&mut self.session) {
                return;
            }
        }
    }

    /// Applies a change of the routes to advertise.
    fn advertise(&mut self, (key, route): OriginatedChange) {
        match route {
            Some(route) => self.adj_rib_out.announce(key, route.next_hop, route.attributes, &mut self.session),
            None => self.adj_rib_out.withdraw(key, &mut self.session),
        }
    }

    fn run_output(&mut self, output: Output) {
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
                    self.closing_connections.end(conn.stream, conn.unsent);
                }
            }
            Output::Established(ref negotiated) => {
                self.adj_rib_out.established(self.sends_end_of_rib(negotiated), &mut self.session);
                self.outputs.push_back(output);
            }
            Output::RouteRefresh { family, kind: RefreshKind::Request } => self.adj_rib_out.refresh(family),
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

    /// Writes; true if the session may have more outputs now.
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

    /// Whether this peer is told that it has all our routes, also if these are none: a restarting
    /// peer may delay its own routes until each of its peers has said so (RFC 4724 §4.1).
    fn sends_end_of_rib(&self, negotiated: &Negotiated) -> bool {
        self.advertises || negotiated.graceful_restart().is_some()
    }

    fn accepted(&mut self, stream: TcpStream) {
        match self.endpoint.configure_accepted(&stream) {
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
    /// Writes as much as the kernel accepts.
    fn write(&mut self) -> io::Result<()> {
        closing::write(&self.stream, &mut self.unsent)
    }
}
