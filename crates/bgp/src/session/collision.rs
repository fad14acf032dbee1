//! Two connections between the same two speakers: which one stays (RFC 4271 §6.8, RFC 6286 §2.3).

use crate::message::{CeaseSubcode, Notification};
use crate::session::Session;
use crate::session::conn::{Conn, Phase};
use crate::session::event::{ConnId, Direction, DownReason};
use crate::session::negotiated::Negotiated;
use std::time::{Duration, Instant};

/// A connection on which no OPEN came for so long is not a rival: the other end of it is gone.
const RIVAL: Duration = Duration::from_secs(10);
/// How long a connection that would have to go waits for the OPEN of its rival. Whoever opens connections and says nothing costs the
/// session this time, not the connection.
const RIVAL_OPEN: Duration = Duration::from_secs(3);

/// What becomes of a connection whose OPEN was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// It stays; its rivals, if there were some, are closed.
    Won,
    /// It was closed.
    Lost,
    /// It would have to go if the OPEN of a rival came.
    Undecided,
}

impl Session {
    /// Called when the OPEN of `id` was accepted: closes what has to go.
    pub(super) fn settle_collision(&mut self, id: ConnId, new: &Negotiated, now: Instant) -> Collision {
        let rivals: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).filter(|other| *other != id).collect();
        let mut outcome = Collision::Won;
        for rival in rivals {
            let find = |wanted: ConnId| self.conns.iter().find(|conn| conn.id == wanted);
            let (Some(this), Some(other)) = (find(id), find(rival)) else { continue };
            let cease = Notification::new(CeaseSubcode::CollisionResolution);
            match other.phase {
                Phase::Established => {
                    // With graceful restart a new connection means that the peer restarted and the old one is dead, but only where its
                    // capability lists a family (RFC 4724 §5).
                    let restarted = self.config.graceful_restart.is_some()
                        && self.up.as_ref().is_some_and(|up| up.negotiated.restarts_gracefully());
                    if !restarted {
                        self.drop_conn(id, Some(cease));
                        return Collision::Lost;
                    }
                    self.drop_conn(rival, None);
                    self.down(DownReason::PeerRestarted);
                }
                // From the same side: the other end has started anew, or that one is not the peer's.
                _ if this.direction == other.direction => {
                    self.drop_conn(rival, Some(cease));
                }
                _ if self.stays(this, other, new, now) => {
                    self.drop_conn(rival, Some(cease));
                }
                Phase::OpenConfirm(_) => {
                    self.drop_conn(id, Some(cease));
                    return Collision::Lost;
                }
                // Whether there is a peer behind the rival its OPEN will tell.
                Phase::OpenSent => outcome = Collision::Undecided,
            }
        }
        if outcome == Collision::Undecided
            && let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id)
        {
            conn.undecided_until = Some(now + RIVAL_OPEN);
        }
        outcome
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

    /// Confirms connections that no longer have a rival, or whose rival has had its time.
    pub(super) fn confirm_decided(&mut self, now: Instant) {
        let undecided: Vec<ConnId> =
            self.conns.iter().filter(|conn| conn.undecided_until.is_some()).map(|conn| conn.id).collect();
        for id in undecided {
            let Some(conn) = self.conns.iter().find(|conn| conn.id == id) else { continue };
            let is_rival = |other: &Conn| {
                other.direction != conn.direction
                    && matches!(other.phase, Phase::OpenSent)
                    && now.saturating_duration_since(other.since) < RIVAL
            };
            let waits = conn.undecided_until.is_some_and(|until| now < until) && self.conns.iter().any(is_rival);
            if !waits {
                self.confirm(id, now);
            }
        }
    }
}
