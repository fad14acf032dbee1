//! Converts lines to events of neighbours: keeps ExaBGP's neighbours apart and tracks which of
//! their sessions are established.

use super::event::{NeighborEvent, NeighborId, NeighborMessage, RegisteredNeighbor, Request};
use super::reader::Line;
use bgp::{AfiSafi, FamilySet, Negotiated, Open, RouteKey, State, Update};
use exabgp::{Message, Neighbor, ParseError, SessionState, read};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Most lines about parse errors that are logged in any [`LOG_WINDOW`].
const MAX_LOGGED_LINES: u32 = 50;
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Most characters of a line in an error message.
const EXCERPT: usize = 160;

/// How often to check whether rules are retained, or a successor waits, after ExaBGP has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The state of the task. `M` is the type that its events are converted to.
#[derive(Debug)]
pub(super) struct Feed<M> {
    lines: mpsc::Receiver<Line>,
    events: mpsc::Sender<M>,
    supervisor: mpsc::Sender<Request>,
    /// This file exists when the next process waits to take over.
    successor: PathBuf,
    sessions: HashMap<IpAddr, Session>,
    /// Number of changes of the configuration; see [`Session::generation`].
    generation: Arc<AtomicU64>,
    number: u64,
    window_start: Instant,
    reported: u32,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    who: RegisteredNeighbor,
    local: Option<IpAddr>,
    up: bool,
    /// The generation in which `who` was looked up.
    generation: u64,
}

/// The receiver of events or requests is gone.
#[derive(Debug)]
struct ReceiverClosed;

impl<M: From<NeighborMessage>> Feed<M> {
    pub(super) fn new(
        lines: mpsc::Receiver<Line>,
        events: mpsc::Sender<M>,
        supervisor: mpsc::Sender<Request>,
        successor: PathBuf,
        generation: Arc<AtomicU64>,
    ) -> Self {
        let (sessions, window_start) = (HashMap::new(), Instant::now());
        Feed { lines, events, supervisor, successor, sessions, generation, number: 0, window_start, reported: 0 }
    }

    /// Runs until ExaBGP has ended and nothing of it is retained.
    pub(super) async fn run(mut self) {
        // A closed receiver means that the daemon is stopping.
        if self.take_lines().await.is_ok() {
            let _ = self.wait_until_rules_expire().await;
        }
    }

    async fn take_lines(&mut self) -> Result<(), ReceiverClosed> {
        loop {
            let line = self.lines.recv().await.unwrap_or(Line::End(None));
            self.number += 1;
            match line {
                Line::Whole(line) => match read(&line) {
                    Ok(message) => self.message(message).await?,
                    Err(report_parse_error) => {
                        let text = String::from_utf8_lossy(&line);
                        let excerpt: String = text.chars().take(EXCERPT).collect();
                        self.report_parse_error(None, &report_parse_error, Some(&excerpt)).await?;
                    }
                },
                Line::TooLong(octets) => {
                    let what = format!("{octets} octets, more than {}; left out", super::reader::LONGEST);
                    self.report_parse_error(None, &ParseError::new(what), None).await?;
                }
                Line::CutOff(octets) => {
                    self.report_parse_error(None, &ParseError::new(format!("cut off after {octets} octets")), None)
                        .await?;
                }
                Line::End(error) => {
                    let why =
                        error.map_or("ExaBGP has ended".to_owned(), |error| format!("ExaBGP cannot be read: {error}"));
                    tracing::warn!("{why}");
                    return self.end_all_sessions(&why).await;
                }
            }
        }
    }

    /// ExaBGP has ended, but the policy may retain rules for a while, and the next process may
    /// start before that is over.
    async fn wait_until_rules_expire(&mut self) -> Result<(), ReceiverClosed> {
        for round in 0u64.. {
            let successor = is_waiting(&self.successor);
            // Counting them takes time if there are many.
            let mut held = 1;
            if round % 10 == 0 {
                let (answer, count) = oneshot::channel();
                self.send_event(NeighborId::ALL, NeighborEvent::Held(answer)).await?;
                held = count.await.map_err(|_| ReceiverClosed)?;
            }
            if held == 0 || successor {
                return self.supervisor.send(Request::Ended { successor }).await.map_err(|_| ReceiverClosed);
            }
            if round == 0 {
                tracing::warn!(
                    rules = held,
                    "rules are retained as hold-on-loss says, or until the next start takes them over"
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<(), ReceiverClosed> {
        match message {
            Message::State(neighbor, state) => {
                let Some(peer) = self.session(&neighbor, state == SessionState::Connected).await? else {
                    return Ok(());
                };
                self.state(peer, &neighbor, state).await
            }
            Message::Update(neighbor, update, report_parse_error) => {
                let Some(peer) = self.session(&neighbor, false).await? else { return Ok(()) };
                self.is_up(peer, &neighbor).await?;
                self.update(peer, update, report_parse_error).await
            }
            Message::EndOfRib(neighbor, family) => {
                let Some(peer) = self.session(&neighbor, false).await? else { return Ok(()) };
                self.is_up(peer, &neighbor).await?;
                match self.sessions[&peer].who {
                    who if who.families.contains(family) => {
                        self.send_event(who.id, NeighborEvent::EndOfRib(family)).await
                    }
                    _ => Ok(()),
                }
            }
            Message::Shutdown => {
                tracing::info!("ExaBGP shuts down");
                self.end_all_sessions("ExaBGP shuts down").await
            }
            Message::Answer(true) | Message::Other => Ok(()),
            Message::Answer(false) => {
                tracing::warn!("ExaBGP did not accept the command to send the rules again");
                Ok(())
            }
        }
    }

    /// The session of a neighbour, by the peer's address. `None` for a second neighbour with the
    /// same address: their rules could not be distinguished.
    async fn session(&mut self, neighbor: &Neighbor, begins: bool) -> Result<Option<IpAddr>, ReceiverClosed> {
        let known = self.sessions.get(&neighbor.peer).copied();
        let generation = self.generation.load(Ordering::Relaxed);
        if let Some(session) = known {
            let other = session.local.zip(neighbor.local).filter(|(ours, theirs)| ours != theirs);
            match other {
                Some((ours, theirs)) if session.up => {
                    let what = format!(
                        "two neighbours have the address {}, one seen from {ours} and one from {theirs}: the latter is left out",
                        neighbor.peer
                    );
                    self.report_parse_error(Some(session.who.id), &ParseError::new(what).within("neighbor"), None)
                        .await?;
                    return Ok(None);
                }
                None if !begins && session.generation == generation => return Ok(Some(neighbor.peer)),
                _ => {}
            }
        }
        let (answer, introduced) = oneshot::channel();
        let request = Request::Register(Box::new(neighbor.clone()), answer);
        self.supervisor.send(request).await.map_err(|_| ReceiverClosed)?;
        let who = introduced.await.map_err(|_| ReceiverClosed)?;
        let up = known.is_some_and(|session| session.up);
        self.sessions.insert(neighbor.peer, Session { who, local: neighbor.local, up, generation });
        Ok(Some(neighbor.peer))
    }

    async fn state(&mut self, peer: IpAddr, neighbor: &Neighbor, state: SessionState) -> Result<(), ReceiverClosed> {
        let Session { who, up, .. } = self.sessions[&peer];
        match state {
            SessionState::Down(reason) => {
                let reason = if reason.is_empty() { "ExaBGP says that it is down".to_owned() } else { reason };
                self.lost(peer, reason).await
            }
            SessionState::Connected | SessionState::Up if up => {
                self.lost(peer, "it was established again, and ExaBGP did not report its end".to_owned()).await?;
                if state == SessionState::Up { self.establish(peer, neighbor).await } else { Ok(()) }
            }
            SessionState::Connected => self.send_event(who.id, NeighborEvent::State(State::OpenSent)).await,
            SessionState::Up => self.establish(peer, neighbor).await,
        }
    }

    /// A neighbour that sends routes has a session, even if it was established before we started.
    async fn is_up(&mut self, peer: IpAddr, neighbor: &Neighbor) -> Result<(), ReceiverClosed> {
        if self.sessions[&peer].up {
            return Ok(());
        }
        tracing::warn!(
            peer = %neighbor.peer,
            "ExaBGP did not report when this session was established: either it was established before, or the api block lacks `neighbor-changes;`, \
             without which the loss of a session cannot be seen"
        );
        self.establish(peer, neighbor).await
    }

    async fn establish(&mut self, peer: IpAddr, neighbor: &Neighbor) -> Result<(), ReceiverClosed> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        session.up = true;
        let who = session.who;
        self.send_event(who.id, NeighborEvent::State(State::Established)).await?;
        let negotiated = Box::new(negotiated(neighbor, who.families));
        self.send_event(who.id, NeighborEvent::Established(negotiated)).await
    }

    async fn lost(&mut self, peer: IpAddr, reason: String) -> Result<(), ReceiverClosed> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        session.up = false;
        let id = session.who.id;
        self.send_event(id, NeighborEvent::State(State::Idle)).await?;
        self.send_event(id, NeighborEvent::Lost(reason)).await
    }

    async fn end_all_sessions(&mut self, reason: &str) -> Result<(), ReceiverClosed> {
        let up: Vec<IpAddr> = self.sessions.iter().filter(|(_, s)| s.up).map(|(peer, _)| *peer).collect();
        for peer in up {
            self.lost(peer, reason.to_owned()).await?;
        }
        Ok(())
    }

    async fn update(
        &mut self,
        peer: IpAddr,
        mut update: Update,
        report_parse_error: Vec<ParseError>,
    ) -> Result<(), ReceiverClosed> {
        let RegisteredNeighbor { id, families } = self.sessions[&peer].who;
        for report_parse_error in &report_parse_error {
            self.report_parse_error(Some(id), report_parse_error, None).await?;
        }
        let mut left_out: Option<AfiSafi> = None;
        let mut keep = |route: &RouteKey| {
            let taken = families.contains(route.family());
            if !taken {
                left_out = Some(route.family());
            }
            taken
        };
        update.withdrawn.retain(&mut keep);
        update.announced.iter_mut().for_each(|group| group.routes.retain(&mut keep));
        if let Some(family) = left_out.filter(|family| matches!(family, AfiSafi::Flow(_))) {
            let what = format!("rules of {family}, which is not among the families of this peer: left out");
            self.report_parse_error(Some(id), &ParseError::new(what), None).await?;
        }
        self.send_event(id, NeighborEvent::Update(Box::new(update))).await
    }

    /// Reports a parse error: in the history, and in the log up to a rate limit.
    async fn report_parse_error(
        &mut self,
        peer: Option<NeighborId>,
        report_parse_error: &ParseError,
        text: Option<&str>,
    ) -> Result<(), ReceiverClosed> {
        if self.window_start.elapsed() >= LOG_WINDOW {
            if self.reported > MAX_LOGGED_LINES {
                tracing::warn!("{} more lines could not be read", self.reported - MAX_LOGGED_LINES);
            }
            (self.window_start, self.reported) = (Instant::now(), 0);
        }
        self.reported = self.reported.saturating_add(1);
        let message = format!("line {}: {report_parse_error}", self.number);
        if self.reported <= MAX_LOGGED_LINES {
            match text {
                Some(text) => tracing::warn!(text, "cannot read {message}"),
                None => tracing::warn!("cannot read {message}"),
            }
        }
        match peer {
            Some(peer) => self.send_event(peer, NeighborEvent::ParseError(message)).await,
            None => self.supervisor.send(Request::ParseError(message)).await.map_err(|_| ReceiverClosed),
        }
    }

    async fn send_event(&self, neighbor: NeighborId, event: NeighborEvent) -> Result<(), ReceiverClosed> {
        self.events.send(NeighborMessage { neighbor, event }.into()).await.map_err(|_| ReceiverClosed)
    }
}

/// Whether the process that this file names is running. A process that was killed leaves its file.
fn is_waiting(file: &Path) -> bool {
    let process = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    process.is_some_and(|process| Path::new(&format!("/proc/{process}")).exists())
}

/// The parameters of a session that ExaBGP negotiated.
fn negotiated(neighbor: &Neighbor, families: FamilySet) -> Negotiated {
    let peer_as = neighbor.peer_as.unwrap_or(0);
    // The JSON does not contain the peer's router id. It only decides between equal routes; the
    // address serves as well.
    let peer_id = match neighbor.peer {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    Negotiated {
        peer_as,
        peer_id,
        external: neighbor.peer_as != neighbor.local_as,
        hold_time: 0,
        families,
        four_octet_as: true,
        max_message: 4096,
        route_refresh: false,
        enhanced_route_refresh: false,
        add_path_receive: FamilySet::EMPTY,
        add_path_send: FamilySet::EMPTY,
        long_lived_offered: FamilySet::EMPTY,
        open: Open { asn: peer_as, hold_time: 0, router_id: peer_id, capabilities: Vec::new() },
    }
}
