//! Two sessions and a network between them on a virtual clock: latency, small pieces, damage, loss.
#![allow(dead_code, reason = "each test file uses its part")]

use bgp::{
    AfiSafi, Cease, CeaseSubcode, ConnId, Direction, Down, DownReason, Event, Negotiated, Notification, Output,
    PathAttributes, PeerAs, PeerConfig, RouteKey, Session, State, Update,
};
use flowspec::{Action, Comparison, ComponentType, Family, Nlri, NumericOp, Prefix, Rate};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// What a network does with what is sent from one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wire {
    Carries,
    /// Takes octets and delivers nothing; nobody is told.
    Swallows,
    /// Takes no octets: the socket is full.
    Blocks,
}

/// Given the sending side and what it sends.
pub(super) type Damage = Box<dyn FnMut(usize, &mut Vec<u8>)>;

enum Happening {
    ConnectFailed,
    Connected(Direction),
    Octets(Vec<u8>),
    Closed,
}

struct InFlight {
    at: Instant,
    to: usize,
    conn: u64,
    what: Happening,
}

pub(super) struct Pair {
    pub sessions: [Session; 2],
    pub now: Instant,
    pub start: Instant,
    /// All outputs with their time, by side.
    pub log: [Vec<(Duration, Output)>; 2],
    pub latency: Duration,
    /// Octets of a piece, and the time between two pieces.
    pub pieces: Option<(usize, Duration)>,
    pub wire: [Wire; 2],
    /// Neither side's connects get through.
    pub unreachable: bool,
    /// Changes octets sent from a side.
    pub damage: Option<Damage>,
    flight: Vec<InFlight>,
    /// Open connections as each side sees them.
    open: [Vec<u64>; 2],
    /// When the last octet sent on a connection to a side arrives: streams keep their order.
    tail: std::collections::HashMap<(u64, usize), Instant>,
    next_conn: u64,
}

pub(super) fn config(asn: u32, id: u8) -> PeerConfig {
    PeerConfig::new(asn, Ipv4Addr::new(192, 0, 2, id), PeerAs::Any)
}

pub(super) fn cease(subcode: CeaseSubcode, text: &str) -> Cease {
    Cease { subcode, communication: text.to_owned() }
}

impl Pair {
    pub(super) fn new(a: PeerConfig, b: PeerConfig) -> Self {
        let start = Instant::now();
        Pair {
            sessions: [Session::new(a), Session::new(b)],
            now: start,
            start,
            log: [Vec::new(), Vec::new()],
            latency: Duration::from_millis(5),
            pieces: None,
            wire: [Wire::Carries; 2],
            unreachable: false,
            damage: None,
            flight: Vec::new(),
            open: [Vec::new(), Vec::new()],
            tail: Default::default(),
            next_conn: 1,
        }
    }

    /// An eBGP pair in which A connects and B waits, established.
    pub(super) fn established() -> Self {
        Pair::established_with(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) })
    }

    pub(super) fn established_with(a: PeerConfig, b: PeerConfig) -> Self {
        let mut pair = Pair::new(a, b);
        pair.start_both();
        pair.run(Duration::from_secs(2));
        assert!(pair.both_up(), "{:?}", pair.log);
        pair
    }

    pub(super) fn start_both(&mut self) {
        self.handle(A, Event::ManualStart);
        self.handle(B, Event::ManualStart);
    }

    pub(super) fn both_up(&self) -> bool {
        self.sessions.iter().all(|session| session.state() == State::Established)
    }

    pub(super) fn handle(&mut self, side: usize, event: Event<'_>) {
        self.sessions[side].handle(event, self.now);
        self.flush();
    }

    /// Runs the clock on by `time`.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeouts = self.sessions.iter().filter_map(Session::poll_timeout);
            let next = timeouts.chain(self.flight.iter().map(|f| f.at)).min();
            match next {
                Some(next) if next <= end => {
                    self.now = self.now.max(next);
                    self.step();
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn step(&mut self) {
        for side in [A, B] {
            if self.sessions[side].poll_timeout().is_some_and(|at| at <= self.now) {
                self.sessions[side].handle_timeout(self.now);
                let next = self.sessions[side].poll_timeout();
                assert!(next.is_none_or(|at| at > self.now), "a due timer was left");
            }
        }
        self.flush();
        while let Some(index) = self.flight.iter().position(|f| f.at <= self.now) {
            let InFlight { to, conn, what, .. } = self.flight.remove(index);
            let id = ConnId(conn);
            match what {
                Happening::ConnectFailed => self.sessions[to].handle(Event::ConnectFailed, self.now),
                Happening::Connected(direction) => {
                    self.open[to].push(conn);
                    self.sessions[to].handle(Event::Connected(id, direction), self.now);
                }
                Happening::Octets(octets) if self.open[to].contains(&conn) => {
                    self.sessions[to].handle(Event::Received(id, &octets), self.now);
                }
                Happening::Closed if self.open[to].contains(&conn) => {
                    self.open[to].retain(|c| *c != conn);
                    self.sessions[to].handle(Event::Closed(id), self.now);
                }
                Happening::Octets(_) | Happening::Closed => {}
            }
            self.flush();
        }
    }

    /// Does what the sessions want until they want nothing more.
    pub(super) fn flush(&mut self) {
        for side in [A, B] {
            while let Some(output) = self.sessions[side].poll() {
                self.execute(side, &output);
                self.log[side].push((self.now - self.start, output));
            }
            while self.wire[side] != Wire::Blocks {
                let Some(sent) = self.sessions[side].poll_transmit(self.now) else { break };
                assert!(self.open[side].contains(&sent.conn.0), "octets for a connection that is closed");
                self.send(side, sent.conn.0, sent.octets);
            }
            while let Some(output) = self.sessions[side].poll() {
                self.execute(side, &output);
                self.log[side].push((self.now - self.start, output));
            }
        }
    }

    fn execute(&mut self, side: usize, output: &Output) {
        let at = self.now + self.latency;
        match output {
            Output::Connect if self.unreachable => {
                self.flight.push(InFlight { at, to: side, conn: 0, what: Happening::ConnectFailed });
            }
            Output::Connect => {
                let conn = self.next_conn;
                self.next_conn += 1;
                // The listener's kernel accepts half a round trip before the connecting side knows.
                let incoming = Happening::Connected(Direction::Incoming);
                self.flight.push(InFlight { at, to: 1 - side, conn, what: incoming });
                let outgoing = Happening::Connected(Direction::Outgoing);
                self.flight.push(InFlight { at: at + self.latency, to: side, conn, what: outgoing });
                self.tail.insert((conn, side), at + self.latency);
            }
            Output::AbortConnect => {
                let aborted =
                    |f: &InFlight| f.to == side && matches!(f.what, Happening::Connected(Direction::Outgoing));
                let conns: Vec<u64> = self.flight.iter().filter(|f| aborted(f)).map(|f| f.conn).collect();
                self.flight.retain(|f| !aborted(f) && (f.to != side || !matches!(f.what, Happening::ConnectFailed)));
                for conn in conns {
                    self.flight.push(InFlight { at, to: 1 - side, conn, what: Happening::Closed });
                }
            }
            Output::Close { conn, final_octets } => {
                assert!(self.open[side].contains(&conn.0), "closed twice");
                self.send(side, conn.0, final_octets.clone());
                self.open[side].retain(|c| *c != conn.0);
                if self.wire[side] != Wire::Swallows {
                    let at = self.arrival(conn.0, 1 - side);
                    self.flight.push(InFlight { at, to: 1 - side, conn: conn.0, what: Happening::Closed });
                }
            }
            _ => {}
        }
    }

    fn arrival(&mut self, conn: u64, to: usize) -> Instant {
        let at = (self.now + self.latency).max(self.tail.get(&(conn, to)).copied().unwrap_or(self.now));
        self.tail.insert((conn, to), at);
        at
    }

    fn send(&mut self, from: usize, conn: u64, mut octets: Vec<u8>) {
        if let Some(damage) = &mut self.damage {
            damage(from, &mut octets);
        }
        if self.wire[from] != Wire::Carries {
            return;
        }
        let (size, gap) = self.pieces.unwrap_or((usize::MAX, Duration::ZERO));
        for piece in octets.chunks(size.min(octets.len().max(1))) {
            let at = self.arrival(conn, 1 - from) + gap;
            self.tail.insert((conn, 1 - from), at);
            self.flight.push(InFlight { at, to: 1 - from, conn, what: Happening::Octets(piece.to_vec()) });
        }
    }

    /// Octets that `side` never sent arrive at the other.
    pub(super) fn inject(&mut self, to: usize, octets: &[u8]) {
        let conn = ConnId(*self.open[to].last().expect("an open connection"));
        self.handle(to, Event::Received(conn, octets));
    }

    /// Both sides lose all connections, and are told.
    pub(super) fn break_connections(&mut self) {
        self.flight.retain(|f| matches!(f.what, Happening::Connected(_) | Happening::ConnectFailed));
        for side in [A, B] {
            for conn in std::mem::take(&mut self.open[side]) {
                self.handle(side, Event::Closed(ConnId(conn)));
            }
        }
    }

    /// One side vanishes (its connections too, without a word) and comes back as a new process.
    pub(super) fn restart(&mut self, side: usize) {
        let config = self.sessions[side].config().clone();
        self.open[side].clear();
        self.flight.clear();
        self.sessions[side] = Session::new(config);
        self.handle(side, Event::ManualStart);
    }

    /// The open connections of a side.
    pub(super) fn connections(&self, side: usize) -> &[u64] {
        &self.open[side]
    }

    /// The outputs of a side since the beginning, taken out.
    pub(super) fn take(&mut self, side: usize) -> Vec<Output> {
        std::mem::take(&mut self.log[side]).into_iter().map(|(_, output)| output).collect()
    }

    pub(super) fn downs(&self, side: usize) -> Vec<Down> {
        let down = |(_, output): &(Duration, Output)| match output {
            Output::Down(down) => Some((**down).clone()),
            _ => None,
        };
        self.log[side].iter().filter_map(down).collect()
    }

    pub(super) fn failures(&self, side: usize) -> Vec<DownReason> {
        let failed = |(_, output): &(Duration, Output)| match output {
            Output::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        self.log[side].iter().filter_map(failed).collect()
    }

    pub(super) fn negotiated(&self, side: usize) -> &Negotiated {
        self.sessions[side].negotiated().expect("established")
    }

    pub(super) fn updates(&self, side: usize) -> Vec<Update> {
        let update = |(_, output): &(Duration, Output)| match output {
            Output::Update(update) => Some((**update).clone()),
            _ => None,
        };
        self.log[side].iter().filter_map(update).collect()
    }

    /// Routes announced to a side and not withdrawn since.
    pub(super) fn rib(&self, side: usize) -> std::collections::HashMap<RouteKey, Arc<PathAttributes>> {
        let mut rib = std::collections::HashMap::new();
        for update in self.updates(side) {
            for route in &update.withdrawn {
                rib.remove(route);
            }
            for group in update.announced {
                for route in group.routes {
                    rib.insert(route, group.attributes.clone());
                }
            }
        }
        rib
    }

    pub(super) fn last_notification(&self, side: usize) -> Option<Notification> {
        self.downs(side).into_iter().map(|down| down.reason).chain(self.failures(side)).find_map(
            |reason| match reason {
                DownReason::Sent(notification) | DownReason::Received(notification) => Some(notification),
                _ => None,
            },
        )
    }
}

pub(super) const V4: AfiSafi = AfiSafi::Flow(Family::Ipv4);

/// `dst 10.x.y.z/32 proto 17 sport 123`.
pub(super) fn rule(number: u32) -> RouteKey {
    let host = Ipv4Addr::from(0x0a00_0000 | number & 0x00ff_ffff);
    let equal = |value| [NumericOp::new(Comparison::Equal, value)];
    Nlri::builder(Family::Ipv4)
        .prefix(ComponentType::Destination, Prefix::V4(ipnet::Ipv4Net::new(host, 32).unwrap()))
        .numeric(ComponentType::Protocol, &equal(17))
        .numeric(ComponentType::SourcePort, &equal(123))
        .build()
        .unwrap()
        .into()
}

pub(super) fn discard() -> Arc<PathAttributes> {
    Arc::new(PathAttributes::originate(&[Action::RateBytes { asn: 0, rate: Rate::new(0.0).unwrap() }]))
}
