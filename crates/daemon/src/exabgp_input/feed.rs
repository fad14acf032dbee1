//! From lines to events of neighbours: keeps ExaBGP's neighbours apart and knows which of their sessions are up.

use super::event::{Introduced, NeighborEvent, NeighborId, NeighborMessage, Request};
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

/// Lines about what cannot be read, in any [`TOLD_IN`], that go to the log.
const TOLD: u32 = 50;
const TOLD_IN: Duration = Duration::from_secs(10);

/// Characters of a line that are shown when it cannot be read.
const EXCERPT: usize = 160;

/// How often it is looked whether rules are held, or a successor waits, once ExaBGP is gone.
const LOOK: Duration = Duration::from_millis(100);

/// The task's state. `M` is what its events become for whoever takes them.
#[derive(Debug)]
pub(super) struct Feed<M> {
    lines: mpsc::Receiver<Line>,
    events: mpsc::Sender<M>,
    supervisor: mpsc::Sender<Request>,
    /// Is there when the next of us waits to take over.
    successor: PathBuf,
    sessions: HashMap<IpAddr, Session>,
    /// Changes of the configuration so far; see [`Session::generation`].
    generation: Arc<AtomicU64>,
    number: u64,
    told_since: Instant,
    reported: u32,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    who: Introduced,
    local: Option<IpAddr>,
    up: bool,
    /// When `who` was looked up.
    generation: u64,
}

/// Those who take events or requests have gone: there is nobody to feed.
#[derive(Debug)]
struct Gone;

impl<M: From<NeighborMessage>> Feed<M> {
    pub(super) fn new(
        lines: mpsc::Receiver<Line>,
        events: mpsc::Sender<M>,
        supervisor: mpsc::Sender<Request>,
        successor: PathBuf,
        generation: Arc<AtomicU64>,
    ) -> Self {
        let (sessions, told_since) = (HashMap::new(), Instant::now());
        Feed { lines, events, supervisor, successor, sessions, generation, number: 0, told_since, reported: 0 }
    }

    /// Until ExaBGP is gone and nothing of it is held any more.
    pub(super) async fn run(mut self) {
        // Whoever does not listen any more is ending, and so do we.
        if self.take_lines().await.is_ok() {
            let _ = self.see_out().await;
        }
    }

    async fn take_lines(&mut self) -> Result<(), Gone> {
        loop {
            let line = self.lines.recv().await.unwrap_or(Line::End(None));
            self.number += 1;
            match line {
                Line::Whole(line) => match read(&line) {
                    Ok(message) => self.message(message).await?,
                    Err(misread) => {
                        let text = String::from_utf8_lossy(&line);
                        let excerpt: String = text.chars().take(EXCERPT).collect();
                        self.misread(None, &misread, Some(&excerpt)).await?;
                    }
                },
                Line::TooLong(octets) => {
                    let what = format!("{octets} octets, more than {}; left out", super::reader::LONGEST);
                    self.misread(None, &ParseError::new(what), None).await?;
                }
                Line::CutOff(octets) => {
                    self.misread(None, &ParseError::new(format!("cut off after {octets} octets")), None).await?;
                }
                Line::End(error) => {
                    let why =
                        error.map_or("ExaBGP is gone".to_owned(), |error| format!("ExaBGP cannot be read: {error}"));
                    tracing::warn!("{why}");
                    return self.all_lost(&why).await;
                }
            }
        }
    }

    /// ExaBGP is gone, but the policy may hold rules for a while; and the next of us may come before that.
    async fn see_out(&mut self) -> Result<(), Gone> {
        for round in 0u64.. {
            let successor = is_waiting(&self.successor);
            // To count them takes time where there are many.
            let mut held = 1;
            if round % 10 == 0 {
                let (answer, count) = oneshot::channel();
                self.tell(NeighborId::ALL, NeighborEvent::Held(answer)).await?;
                held = count.await.map_err(|_| Gone)?;
            }
            if held == 0 || successor {
                return self.supervisor.send(Request::Ended { successor }).await.map_err(|_| Gone);
            }
            if round == 0 {
                tracing::warn!(
                    rules = held,
                    "rules are held as hold-on-loss says, or until the next start takes them over"
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<(), Gone> {
        match message {
            Message::State(neighbor, state) => {
                let Some(peer) = self.session(&neighbor, state == SessionState::Connected).await? else {
                    return Ok(());
                };
                self.state(peer, &neighbor, state).await
            }
            Message::Update(neighbor, update, misread) => {
                let Some(peer) = self.session(&neighbor, false).await? else { return Ok(()) };
                self.is_up(peer, &neighbor).await?;
                self.update(peer, update, misread).await
            }
            Message::EndOfRib(neighbor, family) => {
                let Some(peer) = self.session(&neighbor, false).await? else { return Ok(()) };
                self.is_up(peer, &neighbor).await?;
                match self.sessions[&peer].who {
                    who if who.families.contains(family) => self.tell(who.id, NeighborEvent::EndOfRib(family)).await,
                    _ => Ok(()),
                }
            }
            Message::Shutdown => {
                tracing::info!("ExaBGP shuts down");
                self.all_lost("ExaBGP shuts down").await
            }
            Message::Answer(true) | Message::Other => Ok(()),
            Message::Answer(false) => {
                tracing::warn!("ExaBGP did not accept the command to have the rules sent again");
                Ok(())
            }
        }
    }

    /// The session of a neighbour, by the peer's address. `None` for a second neighbour with the same: their rules could not be told apart.
    async fn session(&mut self, neighbor: &Neighbor, begins: bool) -> Result<Option<IpAddr>, Gone> {
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
                    self.misread(Some(session.who.id), &ParseError::new(what).within("neighbor"), None).await?;
                    return Ok(None);
                }
                None if !begins && session.generation == generation => return Ok(Some(neighbor.peer)),
                _ => {}
            }
        }
        let (answer, introduced) = oneshot::channel();
        let request = Request::Introduce(Box::new(neighbor.clone()), answer);
        self.supervisor.send(request).await.map_err(|_| Gone)?;
        let who = introduced.await.map_err(|_| Gone)?;
        let up = known.is_some_and(|session| session.up);
        self.sessions.insert(neighbor.peer, Session { who, local: neighbor.local, up, generation });
        Ok(Some(neighbor.peer))
    }

    async fn state(&mut self, peer: IpAddr, neighbor: &Neighbor, state: SessionState) -> Result<(), Gone> {
        let Session { who, up, .. } = self.sessions[&peer];
        match state {
            SessionState::Down(reason) => {
                let reason = if reason.is_empty() { "ExaBGP says that it is down".to_owned() } else { reason };
                self.lost(peer, reason).await
            }
            SessionState::Connected | SessionState::Up if up => {
                self.lost(peer, "it came up again, and ExaBGP did not tell of its end".to_owned()).await?;
                if state == SessionState::Up { self.establish(peer, neighbor).await } else { Ok(()) }
            }
            SessionState::Connected => self.tell(who.id, NeighborEvent::State(State::OpenSent)).await,
            SessionState::Up => self.establish(peer, neighbor).await,
        }
    }

    /// Who sends routes has a session, whether or not we were there when it came up.
    async fn is_up(&mut self, peer: IpAddr, neighbor: &Neighbor) -> Result<(), Gone> {
        if self.sessions[&peer].up {
            return Ok(());
        }
        tracing::warn!(
            peer = %neighbor.peer,
            "ExaBGP did not tell when this session came up: either it was up before, or the api block lacks `neighbor-changes;`, \
             without which the loss of a session cannot be seen"
        );
        self.establish(peer, neighbor).await
    }

    async fn establish(&mut self, peer: IpAddr, neighbor: &Neighbor) -> Result<(), Gone> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        session.up = true;
        let who = session.who;
        self.tell(who.id, NeighborEvent::State(State::Established)).await?;
        let negotiated = Box::new(negotiated(neighbor, who.families));
        self.tell(who.id, NeighborEvent::Established(negotiated)).await
    }

    async fn lost(&mut self, peer: IpAddr, reason: String) -> Result<(), Gone> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Ok(()) };
        session.up = false;
        let id = session.who.id;
        self.tell(id, NeighborEvent::State(State::Idle)).await?;
        self.tell(id, NeighborEvent::Lost(reason)).await
    }

    async fn all_lost(&mut self, reason: &str) -> Result<(), Gone> {
        let up: Vec<IpAddr> = self.sessions.iter().filter(|(_, s)| s.up).map(|(peer, _)| *peer).collect();
        for peer in up {
            self.lost(peer, reason.to_owned()).await?;
        }
        Ok(())
    }

    async fn update(&mut self, peer: IpAddr, mut update: Update, misread: Vec<ParseError>) -> Result<(), Gone> {
        let Introduced { id, families } = self.sessions[&peer].who;
        for misread in &misread {
            self.misread(Some(id), misread, None).await?;
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
            self.misread(Some(id), &ParseError::new(what), None).await?;
        }
        self.tell(id, NeighborEvent::Update(Box::new(update))).await
    }

    /// Reports what cannot be read: in the log as long as that is not flooded, and to the history.
    async fn misread(
        &mut self,
        peer: Option<NeighborId>,
        misread: &ParseError,
        text: Option<&str>,
    ) -> Result<(), Gone> {
        if self.told_since.elapsed() >= TOLD_IN {
            if self.reported > TOLD {
                tracing::warn!("{} more could not be read", self.reported - TOLD);
            }
            (self.told_since, self.reported) = (Instant::now(), 0);
        }
        self.reported = self.reported.saturating_add(1);
        let message = format!("line {}: {misread}", self.number);
        if self.reported <= TOLD {
            match text {
                Some(text) => tracing::warn!(text, "cannot read {message}"),
                None => tracing::warn!("cannot read {message}"),
            }
        }
        match peer {
            Some(peer) => self.tell(peer, NeighborEvent::ParseError(message)).await,
            None => self.supervisor.send(Request::ParseError(message)).await.map_err(|_| Gone),
        }
    }

    async fn tell(&self, neighbor: NeighborId, event: NeighborEvent) -> Result<(), Gone> {
        self.events.send(NeighborMessage { neighbor, event }.into()).await.map_err(|_| Gone)
    }
}

/// Whether the process that this file names is there. A file may be left of one that was killed.
fn is_waiting(file: &Path) -> bool {
    let process = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    process.is_some_and(|process| Path::new(&format!("/proc/{process}")).exists())
}

/// What is known of a session that ExaBGP negotiated.
fn negotiated(neighbor: &Neighbor, families: FamilySet) -> Negotiated {
    let peer_as = neighbor.peer_as.unwrap_or(0);
    // Its identifier is not told. It only decides between equal routes, for which the address does as well.
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
        long_lived_offered: false,
        open: Open { asn: peer_as, hold_time: 0, router_id: peer_id, capabilities: Vec::new() },
    }
}
