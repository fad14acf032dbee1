//! One TCP connection of a session, and how far its conversation has come.

use crate::message::{Framer, Message};
use crate::session::event::{ConnId, Direction};
use crate::session::negotiated::Negotiated;
use std::time::{Duration, Instant};

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Phase {
    OpenSent,
    OpenConfirm(Box<Negotiated>),
    Established,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) direction: Direction,
    pub(crate) phase: Phase,
    pub(crate) framer: Framer,
    pub(crate) since: Instant,
    /// Its OPEN is accepted, but a connection from the other side may have to stay instead: until then it is not confirmed.
    pub(crate) undecided_until: Option<Instant>,
    /// The peer's KEEPALIVE came while it was undecided.
    pub(crate) confirmed_by_peer: bool,
    /// Messages that go before any route: OPEN, KEEPALIVE, ROUTE-REFRESH requests.
    pub(crate) control: Vec<u8>,
    pub(crate) keepalive_waits: bool,
    pub(crate) hold_until: Option<Instant>,
    /// Hold time and keepalive interval, once negotiated and not 0.
    pub(crate) timers: Option<(Duration, Duration)>,
    pub(crate) keepalive_at: Option<Instant>,
    /// Since when something waits that the socket does not take.
    pub(crate) blocked_since: Option<Instant>,
}

impl Conn {
    pub(crate) fn new(id: ConnId, direction: Direction, hold_until: Instant, now: Instant) -> Self {
        Conn {
            id,
            direction,
            phase: Phase::OpenSent,
            framer: Framer::new(),
            since: now,
            undecided_until: None,
            confirmed_by_peer: false,
            control: Vec::new(),
            keepalive_waits: false,
            hold_until: Some(hold_until),
            timers: None,
            keepalive_at: None,
            blocked_since: None,
        }
    }

    /// Queues a message that goes before routes.
    pub(crate) fn send(&mut self, message: &Message<'_>, now: Instant) {
        message.encode_to(&mut self.control);
        self.blocked_since.get_or_insert(now);
    }

    /// Queues a KEEPALIVE unless one waits already; true if it was queued.
    pub(crate) fn send_keepalive(&mut self, now: Instant) -> bool {
        if self.keepalive_waits {
            return false;
        }
        self.keepalive_waits = true;
        self.send(&Message::Keepalive, now);
        true
    }

    /// A message from the peer proves that it lives.
    pub(crate) fn restart_hold_timer(&mut self, now: Instant) {
        if let Some((hold, _)) = self.timers {
            self.hold_until = Some(now + hold);
        }
    }
}
