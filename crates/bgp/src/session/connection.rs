//! One TCP connection: the octets of an incomplete message, and messages to be sent before any
//! route.

use crate::message::{Framer, Message};
use crate::session::event::{ConnId, Direction};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnId,
    direction: Direction,
    opened: Instant,
    framer: Framer,
    /// Messages that go before any route: OPEN, KEEPALIVE, ROUTE-REFRESH requests.
    queued: Vec<u8>,
    keepalive_queued: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnId, direction: Direction, now: Instant) -> Self {
        let framer = Framer::new();
        Connection { id, direction, opened: now, framer, queued: Vec::new(), keepalive_queued: false }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// The framer, to be returned when its messages are handled: they borrow from it.
    pub(crate) fn take_framer(&mut self) -> Framer {
        std::mem::take(&mut self.framer)
    }

    pub(crate) fn put_framer(&mut self, framer: Framer) {
        self.framer = framer;
    }

    /// Queues a message before any route.
    pub(crate) fn queue(&mut self, message: &Message<'_>) {
        message.encode_to(&mut self.queued);
    }

    /// Queues a KEEPALIVE, unless one is queued already; true if it was queued.
    pub(crate) fn queue_keepalive(&mut self) -> bool {
        if self.keepalive_queued {
            return false;
        }
        self.keepalive_queued = true;
        self.queue(&Message::Keepalive);
        true
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    pub(crate) fn take_queued(&mut self) -> Vec<u8> {
        self.keepalive_queued = false;
        std::mem::take(&mut self.queued)
    }
}
