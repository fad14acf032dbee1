//! Two connections between the same two speakers: which one stays (RFC 4271 §6.8, RFC 6286 §2.3).

use crate::message::Notification;
use crate::session::Session;
use crate::session::conn::{Conn, Phase};
use crate::session::event::{ConnId, Direction, DownReason};
use crate::session::negotiated::Negotiated;
use std::time::{Duration, Instant};

/// A connection on which no OPEN came for so long is not a rival: the other end of it is gone.
const RIVAL: Duration = Duration::from_secs(10);

impl Session {
    /// Called when the OPEN of `id` was accepted: closes what has to go. False if that was `id` itself.
    pub(super) fn settle_collision(&mut self, id: ConnId, new: &Negotiated, now: Instant) -> bool {
        let rivals: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).filter(|other| *other != id).collect();
        for rival in rivals {
            let find = |wanted: ConnId| self.conns.iter().find(|conn| conn.id == wanted);
            let (Some(this), Some(other)) = (find(id), find(rival)) else { continue };
            let cease = Notification::new(Notification::CEASE_COLLISION);
            if matches!(other.phase, Phase::Established) {
                // With graceful restart a new connection means that the peer restarted and the old one is dead (RFC 4724 §4.2).
                let restarted = self.config.graceful_restart.is_some()
                    && self.up.as_ref().is_some_and(|up| up.negotiated.graceful_restart().is_some());
                if !restarted {
                    self.drop_conn(id, Some(cease));
                    return false;
                }
                self.drop_conn(rival, None);
                self.down(DownReason::PeerRestarted, now);
            } else if self.stays(this, other, new, now) {
                self.drop_conn(rival, Some(cease));
            } else {
                self.drop_conn(id, Some(cease));
                return false;
            }
        }
        true
    }

    /// Whether `this` stays rather than `other`, neither established. The rule is applied already when only the first of the two OPENs
    /// is there: both sides then come to the same end, in whatever order the second arrives.
    fn stays(&self, this: &Conn, other: &Conn, new: &Negotiated, now: Instant) -> bool {
        if matches!(other.phase, Phase::OpenSent) && now.saturating_duration_since(other.since) >= RIVAL {
            return true;
        }
        // The connection opened by the speaker with the higher identifier stays; between equal ones that with the higher AS number.
        let ours_wins = (self.config.router_id, self.config.local_as) > (new.peer_id, new.peer_as);
        (this.direction == Direction::Outgoing) == ours_wins
    }
}
