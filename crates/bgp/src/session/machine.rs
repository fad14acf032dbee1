//! Connections come, go and become a session: the events of RFC 4271 §8.1 other than timers and messages.

use crate::message::{Message, Notification};
use crate::session::conn::{Conn, Phase};
use crate::session::event::{Cease, ConnId, Direction, Down, DownReason, Output};
use crate::session::graceful;
use crate::session::negotiated::{Negotiated, local_open};
use crate::session::queue::Queue;
use crate::session::{Session, Up};
use crate::update::Encoding;
use std::time::{Duration, Instant};

/// How long a connection may take until the peer's OPEN is there (RFC 4271 §8.2.2: "a large value").
const OPEN_HOLD: Duration = Duration::from_secs(240);
/// A session that lived this long forgives the failures before it.
const STABLE: Duration = Duration::from_secs(30);

impl Session {
    pub(super) fn start(&mut self, now: Instant) {
        if !self.wanted {
            self.wanted = true;
            self.failures = 0;
            self.awake(now);
        }
    }

    pub(super) fn stop(&mut self, cease: &Cease) {
        self.wanted = false;
        self.idle_until = None;
        self.give_up_connecting();
        self.close_all(cease);
    }

    pub(super) fn reset(&mut self, cease: &Cease, now: Instant) {
        if self.wanted {
            self.give_up_connecting();
            self.close_all(cease);
            self.idle_until = Some(now + self.jitter.shorten(self.config.idle_hold));
        }
    }

    /// Leaves Idle: to Connect, or to Active for a passive session.
    pub(super) fn awake(&mut self, now: Instant) {
        self.idle_until = None;
        if !self.config.passive {
            self.ask_to_connect(now);
        }
    }

    pub(super) fn ask_to_connect(&mut self, now: Instant) {
        self.connecting = true;
        self.outputs.push_back(Output::Connect);
        self.connect_retry = Some(now + self.jitter.shorten(self.config.connect_retry));
    }

    pub(super) fn give_up_connecting(&mut self) {
        self.connect_retry = None;
        if std::mem::take(&mut self.connecting) {
            self.outputs.push_back(Output::AbortConnect);
        }
    }

    pub(super) fn connect_failed(&mut self, now: Instant) {
        if std::mem::take(&mut self.connecting) {
            self.try_again_later(now);
        }
    }

    /// Goes to Active: the next try to connect comes with the connect retry timer.
    fn try_again_later(&mut self, now: Instant) {
        let alone = self.wanted && self.idle_until.is_none() && self.conns.is_empty() && !self.connecting;
        if alone && !self.config.passive {
            self.connect_retry = Some(now + self.jitter.shorten(self.config.connect_retry));
        }
    }

    pub(super) fn connected(&mut self, id: ConnId, direction: Direction, now: Instant) {
        let asked = direction == Direction::Incoming || std::mem::take(&mut self.connecting);
        if !self.wanted || self.idle_until.is_some() || !asked {
            // In Idle connections are refused (RFC 4271 §8.2.2), without a word: the peer will try again.
            self.outputs.push_back(Output::Close { conn: id, last_words: Vec::new() });
            return;
        }
        if direction == Direction::Outgoing {
            self.connect_retry = None;
        }
        // A second one from the same side before the first is up: the other end has started anew.
        let older = |conn: &&Conn| conn.direction == direction && !matches!(conn.phase, Phase::Established);
        if let Some(older) = self.conns.iter().find(older).map(|conn| conn.id) {
            self.drop_conn(older, Some(Notification::new(Notification::CEASE_COLLISION)));
        }
        let mut conn = Conn::new(id, direction, now + OPEN_HOLD, now);
        conn.send(&Message::Open(local_open(&self.config)), now);
        self.statistics.sent.opens += 1;
        self.conns.push(conn);
    }

    fn take_conn(&mut self, id: ConnId) -> Option<Conn> {
        let index = self.conns.iter().position(|conn| conn.id == id)?;
        Some(self.conns.remove(index))
    }

    /// Takes a connection out and has it closed; no more.
    pub(super) fn drop_conn(&mut self, id: ConnId, last: Option<Notification>) -> Option<Conn> {
        let mut conn = self.take_conn(id)?;
        let mut last_words = std::mem::take(&mut conn.control);
        if let Some(notification) = last {
            Message::Notification(notification).encode_to(&mut last_words);
            self.statistics.sent.notifications += 1;
        }
        self.outputs.push_back(Output::Close { conn: id, last_words });
        Some(conn)
    }

    /// Sends a NOTIFICATION, closes the connection and draws the consequences.
    pub(super) fn fail(&mut self, id: ConnId, notification: Notification, now: Instant) {
        self.lose(id, DownReason::Sent(notification.clone()), Some(notification), now);
    }

    /// A connection ends. If it is lost, its owner knows and need not close it.
    pub(super) fn lose(&mut self, id: ConnId, reason: DownReason, last: Option<Notification>, now: Instant) {
        let lost = reason == DownReason::ConnectionLost;
        let Some(conn) = (if lost { self.take_conn(id) } else { self.drop_conn(id, last) }) else { return };
        let was_up = matches!(conn.phase, Phase::Established);
        let quiet = lost && matches!(conn.phase, Phase::OpenSent);
        if was_up {
            self.down(reason, now);
        } else {
            self.outputs.push_back(Output::Failed(reason));
        }
        if !self.wanted || !self.conns.is_empty() {
            return;
        }
        if quiet {
            self.try_again_later(now);
        } else {
            self.rest(now);
        }
    }

    /// Stays Idle for a time that doubles with each failure (RFC 4271 §8.1.1, DampPeerOscillations).
    fn rest(&mut self, now: Instant) {
        self.give_up_connecting();
        let time = self.config.idle_hold.saturating_mul(1 << self.failures.min(16)).min(self.config.idle_hold_max);
        self.failures = self.failures.saturating_add(1);
        self.idle_until = Some(now + self.jitter.shorten(time));
    }

    /// The established session is over; its connection is gone already.
    pub(super) fn down(&mut self, reason: DownReason, now: Instant) {
        let Some(up) = self.up.take() else { return };
        if now.saturating_duration_since(up.since) >= STABLE {
            self.failures = 0;
        }
        let graceful = graceful::families(&self.config, &up.negotiated, &reason);
        self.outputs.push_back(Output::Down(Box::new(Down { reason, graceful })));
    }

    /// The operator's end of everything there is.
    fn close_all(&mut self, cease: &Cease) {
        while let Some(conn) = self.conns.first() {
            let id = conn.id;
            let plain = Notification::cease(cease.code, &cease.communication);
            let notification = match &self.up {
                Some(up) if up.conn == id && graceful::needs_hard_reset(&self.config, &up.negotiated, &plain) => {
                    plain.hard_reset()
                }
                _ => plain,
            };
            self.drop_conn(id, Some(notification.clone()));
            if self.up.as_ref().is_some_and(|up| up.conn == id) {
                let Some(up) = self.up.take() else { continue };
                let reason = DownReason::Sent(notification);
                let graceful = graceful::families(&self.config, &up.negotiated, &reason);
                self.outputs.push_back(Output::Down(Box::new(Down { reason, graceful })));
            }
        }
    }

    /// OpenConfirm has come to its end: this connection is the session.
    pub(super) fn establish(&mut self, id: ConnId, negotiated: Negotiated, now: Instant) {
        let others: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).filter(|other| *other != id).collect();
        for other in others {
            self.drop_conn(other, Some(Notification::new(Notification::CEASE_COLLISION)));
        }
        self.give_up_connecting();
        let encoding = Encoding {
            four_octet_as: negotiated.four_octet_as,
            add_path: negotiated.add_path_send,
            max_message: negotiated.max_message,
            prepend: negotiated.external.then_some(self.config.local_as),
        };
        self.outputs.push_back(Output::Established(Box::new(negotiated.clone())));
        self.up = Some(Box::new(Up { conn: id, since: now, negotiated, encoding, queue: Queue::default() }));
    }
}
