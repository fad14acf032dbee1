//! The timers of RFC 4271 §8 and the send hold timer of RFC 9687.

use crate::message::{Notification, NotificationCode};
use crate::session::Session;
use crate::session::conn::{Conn, Phase};
use crate::session::event::ConnId;
use std::time::{Duration, Instant};

/// Least send hold time that RFC 9687 §4 recommends.
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);

/// KEEPALIVEs must not be sent more often than this (RFC 4271 §4.4), so at a hold time of 3 s there is no jitter.
pub(super) const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let of_conn =
            |conn: &Conn| [conn.hold_until, conn.keepalive_at, self.send_hold_until(conn), conn.undecided_until];
        let of_conns = self.conns.iter().flat_map(of_conn);
        [self.idle_until, self.connect_retry].into_iter().chain(of_conns).flatten().min()
    }

    /// When the peer has taken nothing for too long. Without a hold time there is no such end (RFC 9687 §4.3).
    fn send_hold_until(&self, conn: &Conn) -> Option<Instant> {
        let (hold, _) = conn.timers?;
        if !matches!(conn.phase, Phase::Established) {
            return None;
        }
        Some(conn.blocked_since? + self.config.send_hold.unwrap_or(SEND_HOLD.max(hold * 2)))
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.idle_until) {
            self.leave_idle(now);
        }
        if due(self.connect_retry) {
            self.give_up_connecting();
            if self.needs_connection() {
                self.ask_to_connect(now);
            }
        }
        let ids: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).collect();
        for id in ids {
            let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) else { continue };
            if due(conn.hold_until) {
                self.fail(id, Notification::new(NotificationCode::HoldTimerExpired), now);
                continue;
            }
            if due(conn.keepalive_at)
                && let Some((_, interval)) = conn.timers
            {
                conn.keepalive_at = Some(now + self.jitter.shorten(interval).max(KEEPALIVE_LEAST));
                if conn.send_keepalive(now) {
                    self.statistics.sent.keepalives += 1;
                }
            }
            let blocked = self.conns.iter().find(|conn| conn.id == id).and_then(|conn| self.send_hold_until(conn));
            if due(blocked) {
                self.fail(id, Notification::new(NotificationCode::SendHoldTimerExpired), now);
            }
        }
    }
}
