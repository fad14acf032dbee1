//! A BGP speaker of our own: the controller of the demo, and a peer for tests.
//!
//! It is a [`bgp::Session`] on TCP connections of a namespace. It keeps its announcements, and
//! sends them again whenever the session is established, as a controller does; one that is
//! [started with connections](Speaker::over) from elsewhere sends only what it is told to.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bgp::{
    AfiSafi, Cease, CeaseSubcode, ConnId, Direction, Event, Output, PathAttributes, PeerConfig, RefreshKind, Session,
    State,
};
use flowspec::{Action, Nlri, Rule};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Netns, Received, wait_until};

/// Timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(2);
/// Pause before it reconnects after the end of a session: short, since tests end many sessions on
/// purpose.
const IDLE: Duration = Duration::from_secs(1);

/// The state of a speaker's session.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The session is established.
    pub established: bool,
    /// How often it was established.
    pub sessions: u32,
    /// Why the latest session or attempt ended.
    pub ended: Option<String>,
    /// What happened to its sessions, in order.
    pub history: Vec<SessionChange>,
    /// What the peer has advertised.
    pub received: Received,
    /// Routes that wait to be sent.
    pub queued: usize,
    /// KEEPALIVE messages received, in all sessions.
    pub keepalives: u64,
}

/// A change of a speaker's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// It is established.
    Up,
    /// It was established, and has ended for this reason.
    Down(String),
}

/// Opens connections to the peer.
pub type Connector = Box<dyn FnMut() -> Result<TcpStream> + Send>;

/// A running speaker; dropping it ends its session.
#[derive(Debug)]
pub struct Speaker {
    commands: Sender<Command>,
    wake: UnixStream,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Announce(Vec<Rule>),
    Withdraw(Vec<Nlri>),
    EndOfRib,
    AskRefresh(AfiSafi),
    Forget,
    Raw(Vec<u8>),
    Cut,
    Vanish,
    Shutdown,
}

impl Speaker {
    /// A speaker that waits for its peer's connection on this address, as the controller of the
    /// demo does.
    ///
    /// # Errors
    /// The address is not in the namespace, or in use.
    pub fn listen(netns: &Netns, address: SocketAddr, config: PeerConfig) -> Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind(address))
            .with_context(|| format!("listen on {address} in {}", netns.name()))?;
        listener.set_nonblocking(true)?;
        let config = PeerConfig { passive: true, idle_hold_max: IDLE, connect_back_off_max: IDLE, ..config };
        Self::start(config, Some(listener), None, true, |work| netns.spawn_thread("speaker", work))
    }

    /// A speaker that connects from one of its addresses to its peer.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn connect(netns: &Netns, from: IpAddr, to: SocketAddr, config: PeerConfig) -> Result<Self> {
        let config = PeerConfig { connect_retry: IDLE, idle_hold_max: IDLE, connect_back_off_max: IDLE, ..config };
        let open = Box::new(move || open(from, to));
        Self::start(config, None, Some(open), true, |work| netns.spawn_thread("speaker", work))
    }

    /// A speaker with connections that the caller opens. It does not send rules, or End-of-RIB,
    /// again by itself after its session was established.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn over(connector: Connector, config: PeerConfig) -> Result<Self> {
        Self::start(config, None, Some(connector), false, |work| Ok(std::thread::Builder::new().spawn(work)?))
    }

    /// Announces rules, now if the session is established and whenever it is established again.
    pub fn announce(&self, rules: impl IntoIterator<Item = Rule>) {
        self.tell(Command::Announce(rules.into_iter().collect()));
    }

    /// The same with a rule's text, such as `dst 192.0.2.1/32 proto udp then discard`.
    ///
    /// # Errors
    /// The text is not a rule.
    pub fn announce_text(&self, rule: &str) -> Result<()> {
        self.announce([rule.parse::<Rule>().map_err(|error| anyhow!("{rule}: {error}"))?]);
        Ok(())
    }

    /// Withdraws rules.
    pub fn withdraw(&self, rules: impl IntoIterator<Item = Nlri>) {
        self.tell(Command::Withdraw(rules.into_iter().collect()));
    }

    /// The same with a rule's text; its actions are ignored.
    ///
    /// # Errors
    /// The text is not a rule.
    pub fn withdraw_text(&self, rule: &str) -> Result<()> {
        self.withdraw([rule.parse::<Rule>().map_err(|error| anyhow!("{rule}: {error}"))?.nlri]);
        Ok(())
    }

    /// Sends End-of-RIB of all families that are negotiated.
    pub fn end_of_rib(&self) {
        self.tell(Command::EndOfRib);
    }

    /// Asks the peer to advertise a family again (RFC 2918).
    pub fn ask_refresh(&self, family: AfiSafi) {
        self.tell(Command::AskRefresh(family));
    }

    /// Forgets all rules without withdrawing them: the next session begins without any.
    pub fn forget(&self) {
        self.tell(Command::Forget);
    }

    /// Sends these octets, whole messages, valid or not, after everything sent before.
    pub fn send_raw(&self, octets: Vec<u8>) {
        self.tell(Command::Raw(octets));
    }

    /// Closes the TCP connection without a NOTIFICATION, as a crash does. It is established again
    /// automatically.
    pub fn cut(&self) {
        self.tell(Command::Cut);
    }

    /// Closes the TCP connection without a NOTIFICATION, and ends the speaker.
    pub fn vanish(self) {
        self.tell(Command::Vanish);
    }

    /// The state of the session.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Waits until the session is established.
    ///
    /// # Errors
    /// After the timeout; with the reason why the last attempt ended.
    pub fn wait_established(&self, deadline: Duration) -> Result<()> {
        wait_until("the speaker's session", deadline, || self.status().established.then_some(()))
            .with_context(|| format!("{:?}", self.status()))
    }

    /// Ends the session as an operator would, and the speaker.
    pub fn shutdown(self) {
        // Dropping does it.
    }

    fn start(
        config: PeerConfig,
        listener: Option<TcpListener>,
        connector: Option<Connector>,
        repeats: bool,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>>,
    ) -> Result<Self> {
        let (commands, inbox) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let status = Arc::new(Mutex::new(Status::default()));
        let work = Work {
            session: Session::new(config),
            listener,
            connector,
            repeats,
            conns: Vec::new(),
            next: 0,
            rules: BTreeMap::new(),
            status: Arc::clone(&status),
            inbox,
            woken,
        };
        let thread = spawn(Box::new(move || work.run()))?;
        Ok(Self { commands, wake, status, thread: Some(thread) })
    }

    fn tell(&self, command: Command) {
        // The thread ends only with this value, or by a panic, which the end of the session shows.
        let _ = self.commands.send(command);
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.tell(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    // A status is consistent between any two statements that write it.
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the thread.
struct Work {
    session: Session,
    listener: Option<TcpListener>,
    connector: Option<Connector>,
    /// Sends its rules and End-of-RIB whenever its session is established.
    repeats: bool,
    conns: Vec<Conn>,
    next: u64,
    /// The announced rules, with their actions.
    rules: BTreeMap<Nlri, (Arc<PathAttributes>, Option<IpAddr>)>,
    status: Arc<Mutex<Status>>,
    inbox: Receiver<Command>,
    woken: UnixStream,
}

struct Conn {
    id: ConnId,
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Work {
    fn run(mut self) {
        self.session.handle(Event::ManualStart, Instant::now());
        loop {
            let goes_on = self.execute();
            self.flush();
            lock(&self.status).queued = self.session.queued();
            if !goes_on {
                return;
            }
            self.wait();
            self.accept();
            self.receive();
            self.session.handle_timeout(Instant::now());
        }
    }

    /// Executes an order; false when the thread has to end.
    fn execute(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Announce(rules) => {
                    // Rules with the same actions share their attributes, and so their UPDATEs.
                    let mut shared: Option<(Vec<Action>, Arc<PathAttributes>)> = None;
                    for Rule { nlri, actions, next_hop } in rules {
                        if shared.as_ref().is_none_or(|(known, _)| *known != actions) {
                            let attributes = Arc::new(PathAttributes::originate(&actions));
                            shared = Some((actions, attributes));
                        }
                        let Some((_, attributes)) = &shared else { continue };
                        // Without a session it is announced when there is one.
                        let _ = self.session.announce(nlri.clone().into(), next_hop, Arc::clone(attributes));
                        self.rules.insert(nlri, (Arc::clone(attributes), next_hop));
                    }
                }
                Command::Withdraw(nlris) => {
                    for nlri in nlris {
                        self.rules.remove(&nlri);
                        let _ = self.session.withdraw(nlri.into());
                    }
                }
                Command::EndOfRib => self.send_end_of_rib(),
                Command::AskRefresh(family) => {
                    // Refused without a session.
                    let _ = self.session.route_refresh(family, RefreshKind::Request);
                }
                Command::Vanish => return false,
                Command::Forget => self.rules.clear(),
                Command::Raw(octets) => {
                    // Queued messages go first, so that the order is that of the calls.
                    self.flush();
                    if let Some(conn) = self.conns.last_mut() {
                        conn.unsent.extend_from_slice(&octets);
                    }
                }
                Command::Cut => {
                    for conn in std::mem::take(&mut self.conns) {
                        // Without linger the kernel sends a reset, as for a process that died.
                        let _ = socket2::SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO));
                        self.session.handle(Event::Closed(conn.id), Instant::now());
                    }
                }
                Command::Shutdown => {
                    let subcode = CeaseSubcode::AdministrativeShutdown;
                    self.session
                        .handle(Event::ManualStop(Cease { subcode, communication: String::new() }), Instant::now());
                    return false;
                }
            }
        }
        true
    }

    /// Runs the session's outputs and writes its octets, until there are none left.
    fn flush(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.carry_out(output);
            }
            self.write();
            if self.conns.iter().any(|conn| !conn.unsent.is_empty()) {
                return;
            }
            let Some(transmit) = self.session.poll_transmit(Instant::now()) else { return };
            if let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == transmit.conn) {
                conn.unsent = transmit.octets;
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect => match self.connect() {
                Ok(stream) => self.connected(stream, Direction::Outgoing),
                Err(error) => {
                    lock(&self.status).ended = Some(format!("connect: {error:#}"));
                    self.session.handle(Event::ConnectFailed, Instant::now());
                }
            },
            Output::Close { conn, final_octets } => {
                if let Some(at) = self.conns.iter().position(|known| known.id == conn) {
                    let mut conn = self.conns.swap_remove(at);
                    conn.unsent.extend_from_slice(&final_octets);
                    let _ = conn.stream.write(&conn.unsent);
                }
            }
            Output::Established(_) => {
                if self.repeats {
                    for (nlri, (attributes, next_hop)) in &self.rules {
                        // Refused if the peer has not negotiated the family.
                        let _ = self.session.announce(nlri.clone().into(), *next_hop, Arc::clone(attributes));
                    }
                    self.send_end_of_rib();
                }
                let mut status = lock(&self.status);
                status.sessions += 1;
                status.received = Received::default();
                status.history.push(SessionChange::Up);
            }
            Output::Down(down) => {
                let mut status = lock(&self.status);
                status.ended = Some(down.reason.to_string());
                status.history.push(SessionChange::Down(down.reason.to_string()));
            }
            Output::Failed(reason) => lock(&self.status).ended = Some(reason.to_string()),
            Output::State(state) => lock(&self.status).established = state == State::Established,
            Output::RouteRefresh { family, kind } => {
                lock(&self.status).received.refreshes.push(kind);
                if self.repeats && kind == RefreshKind::Request {
                    self.announce_again(family);
                }
            }
            Output::Update(update) => lock(&self.status).received.update(&update),
            Output::EndOfRib(family) => lock(&self.status).received.end_of_rib(family),
            // Announcements that are too long are left out, since the peer would never see them.
            Output::AbortConnect
            | Output::UnknownRefresh(_)
            | Output::Damped { .. }
            | Output::NextTry(_)
            | Output::TooLong(_) => {}
        }
    }

    fn announce_again(&mut self, family: AfiSafi) {
        for (nlri, (attributes, next_hop)) in
            self.rules.iter().filter(|(nlri, _)| AfiSafi::Flow(nlri.family()) == family)
        {
            // Refused if the peer has not negotiated the family.
            let _ = self.session.announce(nlri.clone().into(), *next_hop, Arc::clone(attributes));
        }
    }

    fn send_end_of_rib(&mut self) {
        for family in AfiSafi::ALL {
            // Refused if the peer has not negotiated the family.
            let _ = self.session.end_of_rib(family);
        }
    }

    fn connect(&mut self) -> Result<TcpStream> {
        self.connector.as_mut().context("this speaker does not connect")?()
    }

    fn connected(&mut self, stream: TcpStream, direction: Direction) {
        if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
            return;
        }
        self.next += 1;
        let id = ConnId(self.next);
        self.conns.push(Conn { id, stream, unsent: Vec::new() });
        self.session.handle(Event::Connected(id, direction), Instant::now());
    }

    fn write(&mut self) {
        let mut broken = Vec::new();
        for conn in &mut self.conns {
            while !conn.unsent.is_empty() {
                match conn.stream.write(&conn.unsent) {
                    Ok(written) => drop(conn.unsent.drain(..written)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {
                        broken.push(conn.id);
                        break;
                    }
                }
            }
        }
        broken.into_iter().for_each(|id| self.lost(id));
    }

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
            self.connected(stream, Direction::Incoming);
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 1 << 16];
        let ids: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).collect();
        for id in ids {
            // Handling input of one connection may close another.
            while let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) {
                match conn.stream.read(&mut buffer) {
                    Ok(0) => self.lost(id),
                    Ok(read) => {
                        self.session.handle(Event::Received(id, &buffer[..read]), Instant::now());
                        while let Some(output) = self.session.poll() {
                            self.carry_out(output);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => self.lost(id),
                }
            }
        }
        lock(&self.status).keepalives = self.session.statistics().received.keepalives;
    }

    fn lost(&mut self, id: ConnId) {
        self.conns.retain(|conn| conn.id != id);
        self.session.handle(Event::Closed(id), Instant::now());
    }

    /// Waits until there is something to read, to write or to do.
    fn wait(&mut self) {
        let read_or = |write: bool| if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut entries = vec![PollFd::new(&self.woken, PollFlags::IN)];
        entries.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        entries.extend(self.conns.iter().map(|conn| PollFd::new(&conn.stream, read_or(!conn.unsent.is_empty()))));
        // A millisecond more, so that the deadline has passed when it wakes.
        let left = |at: Instant| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = self.session.poll_timeout().map(left).and_then(|left| Timespec::try_from(left).ok());
        // poll says what is ready; all are tried in any case.
        let _ = poll(&mut entries, timeout.as_ref());
        let mut bell = [0; 64];
        while matches!((&self.woken).read(&mut bell), Ok(read) if read > 0) {}
    }
}

fn open(from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), CONNECT)?;
    Ok(socket.into())
}
