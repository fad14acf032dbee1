//! The session with one peer: the state machine of RFC 4271 §8 over up to two connections, without sockets or clock.

mod collision;
mod config;
mod conn;
mod event;
mod graceful;
mod jitter;
mod machine;
mod negotiated;
mod queue;
mod receive;
mod timers;
mod transmit;

pub use config::{LongLived, PeerAs, PeerConfig};
pub use event::{
    Cease, ConnId, Counts, Direction, Down, DownReason, Event, Output, StaleFamily, State, Statistics, Transmit,
};
pub use negotiated::Negotiated;

use crate::afi_safi::AfiSafi;
use crate::attribute::PathAttributes;
use crate::message::{Message, RefreshKind, RouteRefresh};
use crate::route::RouteKey;
use crate::update::{AttributeCache, Encoding};
use conn::{Conn, Phase};
use jitter::Jitter;
use queue::{Change, Marker, Queue};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// One peer. After each call that takes `&mut self`: take all of [`poll`](Self::poll), write what
/// [`poll_transmit`](Self::poll_transmit) gives as long as the socket takes it, and set a timer for [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    wanted: bool,
    /// Waiting in Idle: connections are refused.
    idle_until: Option<Instant>,
    /// Sessions in a row that were lost soon after they came up, without their routes being retained.
    flaps: u32,
    /// Connections of ours in a row that came to nothing.
    failed_connects: u32,
    /// We have restarted, and neither was there a session since nor is the restart time over: R and F bits are sent.
    restarting_until: Option<Instant>,
    /// [`Output::Connect`] is not answered yet.
    connecting: bool,
    connect_retry: Option<Instant>,
    /// At most one of each direction before one is established.
    conns: Vec<Conn>,
    up: Option<Box<Established>>,
    outputs: VecDeque<Output>,
    shown: State,
    shown_next_try: Option<Instant>,
    jitter: Jitter,
    cache: AttributeCache,
    statistics: Statistics,
}

/// What there is only while established.
#[derive(Debug)]
struct Established {
    conn: ConnId,
    since: Instant,
    negotiated: Negotiated,
    encoding: Encoding,
    /// Unassigned subtypes of ROUTE-REFRESH that were told.
    unknown_refreshes: Vec<u8>,
    queue: Queue,
}

impl Session {
    /// A session in Idle; [`Event::Start`] wakes it.
    pub fn new(config: PeerConfig) -> Self {
        Session {
            jitter: Jitter::new(config.seed),
            config,
            wanted: false,
            idle_until: None,
            flaps: 0,
            failed_connects: 0,
            restarting_until: None,
            connecting: false,
            connect_retry: None,
            conns: Vec::new(),
            up: None,
            outputs: VecDeque::new(),
            shown: State::Idle,
            shown_next_try: None,
            cache: AttributeCache::default(),
            statistics: Statistics::default(),
        }
    }

    /// What it was configured with.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// The state of the connection that is furthest on.
    pub fn state(&self) -> State {
        let of = |conn: &Conn| match conn.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established => State::Established,
        };
        let resting = match (self.wanted && self.idle_until.is_none(), self.connecting) {
            (false, _) => State::Idle,
            (true, true) => State::Connect,
            (true, false) => State::Active,
        };
        self.conns.iter().map(of).max().unwrap_or(resting)
    }

    /// What was negotiated, while established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.up.as_ref().map(|up| &up.negotiated)
    }

    /// Messages counted since the session was made.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Start => self.start(now),
            Event::Stop(cease) => self.stop(&cease),
            Event::Reset(cease) => self.reset(&cease, now),
            Event::Connected(id, direction) => self.connected(id, direction, now),
            Event::ConnectFailed => self.connect_failed(now),
            Event::Received(id, octets) => self.received(id, octets, now),
            Event::Closed(id) => self.on_connection_lost(id, DownReason::ConnectionLost, None, now),
        }
        self.confirm_decided(now);
        self.show_state();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }

    /// Lets the timers that are due at `now` expire. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
        self.confirm_decided(now);
        self.show_state();
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next octets to write: one or more whole messages, 64 KiB or a little more. Ask only while the socket can take something:
    /// what is not asked for stays queued as routes, and the send hold timer (RFC 9687) watches how long.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.next_transmit(now)
    }

    /// Queues a route for the peer; `attributes` as this speaker has them: for an eBGP peer our AS number is prepended and LOCAL_PREF is
    /// left out, for an iBGP peer LOCAL_PREF is added. A queued route with the same key is replaced. False if the session is not
    /// established or the family was not negotiated: nothing was queued. The queue is emptied when the session ends. A route that fits
    /// in no message is told by [`Output::TooLong`] when its turn comes.
    pub fn announce(&mut self, route: RouteKey, next_hop: Option<IpAddr>, attributes: Arc<PathAttributes>) -> bool {
        self.queue_for(route.family(), |queue| queue.push(route, Change::Announce { next_hop, attributes }))
    }

    /// Queues a withdrawal; false as for [`announce`](Self::announce).
    pub fn withdraw(&mut self, route: RouteKey) -> bool {
        self.queue_for(route.family(), |queue| queue.push(route, Change::Withdraw))
    }

    /// Queues an End-of-RIB marker behind the routes; false as for [`announce`](Self::announce).
    pub fn end_of_rib(&mut self, family: AfiSafi) -> bool {
        self.queue_for(family, |queue| queue.push_marker(Marker::EndOfRib(family)))
    }

    /// Sends a request for the peer's routes at once, or queues the begin or end of our own behind the routes (RFC 7313). False if the
    /// peer does not take it.
    pub fn route_refresh(&mut self, family: AfiSafi, kind: RefreshKind) -> bool {
        let Some(up) = &self.up else { return false };
        let taken = match kind {
            RefreshKind::Request => up.negotiated.route_refresh,
            RefreshKind::Begin | RefreshKind::End => up.negotiated.enhanced_route_refresh,
            RefreshKind::Other(_) => false,
        };
        if !taken {
            return false;
        }
        if kind != RefreshKind::Request {
            return self.queue_for(family, |queue| queue.push_marker(Marker::Refresh(family, kind)));
        }
        let conn = up.conn;
        if !up.negotiated.families.contains(family) {
            return false;
        }
        if let Some(conn) = self.conns.iter_mut().find(|c| c.id == conn) {
            Message::RouteRefresh(RouteRefresh { family: family.into(), kind }).encode_to(&mut conn.control);
            self.statistics.sent.refreshes += 1;
        }
        true
    }

    /// Routes and markers that wait to be sent.
    pub fn queued(&self) -> usize {
        self.up.as_ref().map_or(0, |up| up.queue.len())
    }

    fn queue_for(&mut self, family: AfiSafi, push: impl FnOnce(&mut Queue)) -> bool {
        match &mut self.up {
            Some(up) if up.negotiated.families.contains(family) => {
                push(&mut up.queue);
                true
            }
            _ => false,
        }
    }

    fn show_state(&mut self) {
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.outputs.push_back(Output::State(state));
        }
        let waits = self.conns.is_empty() && !self.connecting;
        let next_try = self.idle_until.or(self.connect_retry).filter(|_| waits);
        if next_try != self.shown_next_try {
            self.shown_next_try = next_try;
            self.outputs.push_back(Output::NextTry(next_try));
        }
    }
}
