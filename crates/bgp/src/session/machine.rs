//! Connections come, go and become a session: the events of RFC 4271 §8.1 other than timers and messages.
//!
//! Back-off is of two kinds. What fails before it is a session slows down only our own connecting: whoever sends garbage from the peer's
//! address must not keep the peer out. Only sessions that are lost soon after they came up make connections be refused for a time
//! (DampPeerOscillations), and not while the peer's routes are retained and wait for it.

use crate::message::{CeaseSubcode, MAX_MESSAGE, Message, Notification};
use crate::session::conn::{Conn, Phase};
use crate::session::event::{Cease, ConnId, Direction, Down, DownReason, Output};
use crate::session::graceful;
use crate::session::negotiated::{Negotiated, local_open};
use crate::session::queue::Queue;
use crate::session::{Established, Session};
use crate::update::Encoding;
use std::time::{Duration, Instant};

/// How long a connection may take until the peer's OPEN is there (RFC 4271 §8.2.2: "a large value").
const OPEN_HOLD: Duration = Duration::from_secs(240);
/// A session that lived this long forgives the failures before it.
const STABLE: Duration = Duration::from_secs(30);
/// Connections of the peer on which no OPEN has come yet; with one more, one of them is closed.
const PENDING: usize = 8;

impl Session {
    pub(super) fn start(&mut self, now: Instant) {
        if !self.wanted {
            self.wanted = true;
            (self.flaps, self.failed_connects) = (0, 0);
            let restart = self.config.graceful_restart.as_ref();
            self.restarting_until = restart.map(|restart| now + Duration::from_secs(restart.restart_time.into()));
            self.leave_idle(now);
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
            // Who sent too much will do so again: that is a flap like others.
            if cease.subcode == CeaseSubcode::MaximumPrefixes && !self.config.idle_hold_max.is_zero() {
                self.enter_idle(now);
            } else {
                self.idle_until = Some(now + self.jitter.shorten(self.config.idle_hold));
            }
        }
    }

    /// Leaves Idle: to Connect, or to Active for a passive session.
    pub(super) fn leave_idle(&mut self, now: Instant) {
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

    /// Whether we have to connect: nothing is under way from our side, and no OPEN has come on a connection from the other. One without
    /// an OPEN is nobody's yet and does not count.
    pub(super) fn needs_connection(&self) -> bool {
        let serves = |conn: &Conn| conn.direction == Direction::Outgoing || !matches!(conn.phase, Phase::OpenSent);
        let waits = self.wanted && self.idle_until.is_none() && !self.config.passive;
        waits && !self.connecting && !self.conns.iter().any(serves)
    }

    /// Goes to Active: the next try to connect comes with the connect retry timer.
    fn try_again_later(&mut self, now: Instant) {
        if self.needs_connection() && self.connect_retry.is_none() {
            self.connect_retry = Some(now + self.jitter.shorten(self.config.connect_retry));
        }
    }

    /// Connects again after a time that doubles with each failure. While routes wait for the peer, it does not grow beyond the time
    /// between two tries at a peer that is away.
    fn back_off_connecting(&mut self, retained: bool, now: Instant) {
        if self.needs_connection() {
            let most = if retained { self.config.connect_retry } else { self.config.connect_back_off_max };
            let time = self.config.idle_hold.saturating_mul(1 << self.failed_connects.min(16)).min(most);
            self.failed_connects = self.failed_connects.saturating_add(1);
            self.connect_retry = Some(now + self.jitter.shorten(time));
        }
    }

    pub(super) fn connected(&mut self, id: ConnId, direction: Direction, now: Instant) {
        let asked = direction == Direction::Incoming || std::mem::take(&mut self.connecting);
        if !self.wanted || self.idle_until.is_some() || !asked {
            // In Idle connections are refused (RFC 4271 §8.2.2); what for is said (RFC 4486 §4).
            let mut final_octets = Vec::new();
            if direction == Direction::Incoming {
                Message::Notification(Notification::new(CeaseSubcode::ConnectionRejected)).encode_to(&mut final_octets);
                self.statistics.sent.notifications += 1;
            }
            self.outputs.push_back(Output::Close { conn: id, final_octets });
            return;
        }
        match direction {
            Direction::Outgoing => self.connect_retry = None,
            Direction::Incoming => self.make_room_for_a_connection(),
        }
        let mut conn = Conn::new(id, direction, now + OPEN_HOLD, now);
        conn.send(&Message::Open(local_open(&self.config, self.is_restarting(now))), now);
        self.statistics.sent.opens += 1;
        self.conns.push(conn);
    }

    /// Of many connections without an OPEN one goes, by chance: which of them is the peer's is not known, and the peer's sends its OPEN
    /// before long, after which it is safe.
    fn make_room_for_a_connection(&mut self) {
        let is_pending = |conn: &&Conn| conn.direction == Direction::Incoming && matches!(conn.phase, Phase::OpenSent);
        let pending: Vec<ConnId> = self.conns.iter().filter(is_pending).map(|conn| conn.id).collect();
        if pending.len() >= PENDING {
            let index = self.jitter.below(pending.len());
            self.drop_conn(pending[index], Some(Notification::new(CeaseSubcode::ConnectionRejected)));
        }
    }

    fn is_restarting(&self, now: Instant) -> bool {
        self.restarting_until.is_some_and(|until| now < until)
    }

    fn take_conn(&mut self, id: ConnId) -> Option<Conn> {
        let index = self.conns.iter().position(|conn| conn.id == id)?;
        Some(self.conns.remove(index))
    }

    /// Takes a connection out and has it closed; no more.
    pub(super) fn drop_conn(&mut self, id: ConnId, last: Option<Notification>) -> Option<Conn> {
        let mut conn = self.take_conn(id)?;
        let mut final_octets = std::mem::take(&mut conn.control);
        if let Some(notification) = last {
            let notification = notification.fit(self.max_message(&conn));
            Message::Notification(notification).encode_to(&mut final_octets);
            self.statistics.sent.notifications += 1;
        }
        self.outputs.push_back(Output::Close { conn: id, final_octets });
        Some(conn)
    }

    /// Most octets of a message that the other end of a connection takes (RFC 8654 §4).
    fn max_message(&self, conn: &Conn) -> usize {
        match (&conn.phase, &self.up) {
            (Phase::OpenConfirm(negotiated), _) => negotiated.max_message,
            (Phase::Established, Some(up)) if up.conn == conn.id => up.negotiated.max_message,
            _ => MAX_MESSAGE,
        }
    }

    /// Sends a NOTIFICATION, closes the connection and draws the consequences.
    pub(super) fn fail(&mut self, id: ConnId, notification: Notification, now: Instant) {
        self.on_connection_lost(id, DownReason::Sent(notification.clone()), Some(notification), now);
    }

    /// A connection ends. If it is lost, its owner knows and need not close it.
    pub(super) fn on_connection_lost(
        &mut self,
        id: ConnId,
        reason: DownReason,
        last: Option<Notification>,
        now: Instant,
    ) {
        let lost = reason == DownReason::ConnectionLost;
        let Some(conn) = (if lost { self.take_conn(id) } else { self.drop_conn(id, last) }) else { return };
        if matches!(conn.phase, Phase::Established) {
            return self.on_session_lost(reason, now);
        }
        self.outputs.push_back(Output::Failed(reason));
        if !self.wanted || self.idle_until.is_some() {
            return;
        }
        match conn.direction {
            // Nobody knows who that was: our own connecting goes on as if nothing had been.
            Direction::Incoming => self.try_again_later(now),
            Direction::Outgoing if lost && matches!(conn.phase, Phase::OpenSent) => self.try_again_later(now),
            Direction::Outgoing => self.back_off_connecting(false, now),
        }
    }

    /// The connection of the established session has ended.
    fn on_session_lost(&mut self, reason: DownReason, now: Instant) {
        let lived = self.up.as_ref().map_or(Duration::ZERO, |up| now.saturating_duration_since(up.since));
        if lived >= STABLE {
            (self.flaps, self.failed_connects) = (0, 0);
        }
        let retained = self.down(reason) || self.config.retained_on_loss;
        if !self.wanted {
            return;
        }
        // A peer that is there again already is not refused.
        let back = !self.conns.is_empty();
        if retained || back || lived >= STABLE || self.config.idle_hold_max.is_zero() {
            self.back_off_connecting(retained, now);
        } else {
            self.enter_idle(now);
        }
    }

    /// Refuses connections for a time that doubles with each session that was lost soon (RFC 4271 §8.1.1, DampPeerOscillations).
    fn enter_idle(&mut self, now: Instant) {
        self.give_up_connecting();
        let time = self.config.idle_hold.saturating_mul(1 << self.flaps.min(16)).min(self.config.idle_hold_max);
        self.flaps = self.flaps.saturating_add(1);
        let until = now + self.jitter.shorten(time);
        self.idle_until = Some(until);
        self.outputs.push_back(Output::Damped { until });
    }

    /// The established session is over; its connection is gone already. True if some of its routes are retained.
    pub(super) fn down(&mut self, reason: DownReason) -> bool {
        let Some(up) = self.up.take() else { return false };
        let graceful = graceful::families(&self.config, &up.negotiated, &reason);
        let retained = !graceful.is_empty();
        self.outputs.push_back(Output::Down(Box::new(Down { reason, graceful })));
        retained
    }

    /// Ends all connections with a NOTIFICATION of the operator's.
    fn close_all(&mut self, cease: &Cease) {
        while let Some(conn) = self.conns.first() {
            let id = conn.id;
            let plain = Notification::cease(cease.subcode, &cease.communication);
            let notification = match &self.up {
                Some(up)
                    if up.conn == id && graceful::needs_hard_reset(&self.config, &up.negotiated, cease.subcode) =>
                {
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
            self.drop_conn(other, Some(Notification::new(CeaseSubcode::CollisionResolution)));
        }
        self.give_up_connecting();
        self.restarting_until = None;
        let encoding = Encoding {
            four_octet_as: negotiated.four_octet_as,
            add_path: negotiated.add_path_send,
            max_message: negotiated.max_message,
            prepend: negotiated.external.then_some(self.config.local_as),
        };
        self.outputs.push_back(Output::Established(Box::new(negotiated.clone())));
        self.up = Some(Box::new(Established {
            conn: id,
            since: now,
            negotiated,
            encoding,
            unknown_refreshes: Vec::new(),
            queue: Queue::default(),
        }));
    }
}
