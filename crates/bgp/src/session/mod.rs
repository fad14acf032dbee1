//! The session with one peer: the state machine of RFC 4271 §8 over up to two connections, without sockets or clock.

mod config;
mod event;
mod negotiated;

pub use config::{LongLived, PeerAs, PeerConfig};
pub use event::{Cease, ConnId, Direction, Down, DownReason, Event, Output, StaleFamily, State, Transmit};
pub use negotiated::Negotiated;

use crate::afi_safi::AfiSafi;
use crate::attribute::PathAttributes;
use crate::message::RefreshKind;
use crate::route::RouteKey;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// One peer. After each call that takes `&mut self`: take all of [`poll`](Self::poll), write what
/// [`poll_transmit`](Self::poll_transmit) gives as long as the socket takes it, and set a timer for [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    config: PeerConfig,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session in Idle; [`Event::Start`] wakes it.
    pub fn new(config: PeerConfig) -> Self {
        Session { config, outputs: VecDeque::new() }
    }

    /// What it was configured with.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// The state of the connection that is furthest on.
    pub fn state(&self) -> State {
        State::Idle
    }

    /// What was negotiated, while established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        None
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, _event: Event<'_>, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets the timers that are due at `now` expire. Calling it early does nothing.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next octets to write: one or more whole messages, at most 64 KiB or so. Ask only while the socket can take something: what
    /// is not asked for stays queued as routes, and the send hold timer (RFC 9687) watches how long.
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<Transmit> {
        None
    }

    /// Queues a route for the peer; `attributes` as this speaker has them: for an eBGP peer our AS number is prepended and LOCAL_PREF is
    /// left out, for an iBGP peer LOCAL_PREF is added. A queued route with the same key is replaced. False if the session is not
    /// established or the family was not negotiated: nothing was queued. The queue is emptied when the session ends.
    pub fn announce(&mut self, _route: RouteKey, _next_hop: Option<IpAddr>, _attributes: Arc<PathAttributes>) -> bool {
        false
    }

    /// Queues a withdrawal; false as for [`announce`](Self::announce).
    pub fn withdraw(&mut self, _route: RouteKey) -> bool {
        false
    }

    /// Queues an End-of-RIB marker behind the routes; false as for [`announce`](Self::announce).
    pub fn end_of_rib(&mut self, _family: AfiSafi) -> bool {
        false
    }

    /// Queues a ROUTE-REFRESH: a request, or the demarcation of our own routes (RFC 7313). False if the peer does not take it.
    pub fn route_refresh(&mut self, _family: AfiSafi, _kind: RefreshKind) -> bool {
        false
    }
}
