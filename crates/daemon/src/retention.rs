//! Retention policy: which routes outlive a session, for how long, and what confirms or ends them
//! (RFC 4724, RFC 7313, RFC 8538). It has no clock of its own, so tests can simulate long outages.

use crate::convert;
use crate::peer_table::PeerEntry;
use bgp::{AfiSafi, CeaseSubcode, DownReason, Negotiated, NotificationCode, StaleFamily};
use config::StaleUntil;
use engine::{Engine, PeerId, Retention, Timestamp};

/// Applies session events of one peer to its routes.
pub(crate) struct PeerRoutes<'a> {
    engine: &'a mut Engine,
    entry: &'a mut PeerEntry,
    /// Seconds within which a peer is to have sent everything (`[state] stale-time`).
    stale_time: u64,
    now: Timestamp,
}

/// The outcome of a BoRR or EoRR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// It is valid.
    Taken,
    /// A BoRR before the End-of-RIB of its family, or an EoRR without a BoRR: ignored (RFC 7313
    /// §4).
    Ignored,
}

/// Whether this reason is our own doing: routes are then retained for as long as the reconnection
/// may take, whatever the peer negotiated.
pub(crate) fn is_ours(reason: &DownReason) -> bool {
    matches!(reason, DownReason::Sent(notification) if notification.code == NotificationCode::Cease(CeaseSubcode::ConfigurationChange))
}

impl<'a> PeerRoutes<'a> {
    /// `stale_time`: seconds within which a peer is to have sent everything.
    pub(crate) fn new(engine: &'a mut Engine, entry: &'a mut PeerEntry, stale_time: u64, now: Timestamp) -> Self {
        PeerRoutes { engine, entry, stale_time, now }
    }

    fn id(&self) -> PeerId {
        self.entry.id()
    }

    /// The session is established. `restored`: rules of the last run wait for this peer.
    pub(crate) fn established(&mut self, negotiated: Negotiated, restored: bool) {
        let id = self.id();
        if self.entry.negotiated().is_some() {
            // The previous session ended without an event, as when its task was stuck.
            self.lost(&[], true);
        }
        self.engine.peer_up(id, negotiated.peer_id);
        let waits = restored
            || !self.entry.config().hold_on_loss.0.is_zero()
            || self.entry.config().stale_until == StaleUntil::EndOfRib;
        let by = self.now.plus(self.stale_time);
        for family in AfiSafi::ALL {
            // A family that is no longer negotiated is never confirmed.
            if negotiated.families.contains(family) && (waits || negotiated.preserved(family)) {
                self.engine.start_end_of_rib_timer(id, convert::family(family), by);
            } else {
                self.engine.delete_stale(id, convert::family(family));
                self.entry.confirmed(convert::family(family));
            }
        }
        self.entry.up(negotiated);
    }

    /// The session is lost. `ours`: by our own doing. Returns until when its routes stay at most;
    /// `None` if they are removed.
    pub(crate) fn lost(&mut self, graceful: &[StaleFamily], ours: bool) -> Option<Timestamp> {
        let retention = self.retention(graceful, ours);
        self.engine.peer_down(self.id(), &retention, self.now);
        self.entry.retain(&retention, self.now);
        retention.iter().filter_map(|r| r.long_lived_until.max(r.until)).max()
    }

    /// The peer has sent all routes of a family: those that it did not send are withdrawn.
    pub(crate) fn end_of_rib(&mut self, family: AfiSafi) {
        self.entry.end_of_rib(family);
        self.entry.confirmed(convert::family(family));
        self.engine.end_of_rib(self.id(), convert::family(family));
    }

    /// The peer begins to send all routes of a family again (BoRR).
    pub(crate) fn begin_refresh(&mut self, family: AfiSafi) -> Refresh {
        let graceful = self.entry.negotiated().is_some_and(|negotiated| negotiated.graceful_restart().is_some());
        if graceful && !self.entry.is_synchronized(family) {
            return Refresh::Ignored;
        }
        self.engine.begin_refresh(self.id(), convert::family(family), self.now.plus(self.stale_time));
        Refresh::Taken
    }

    /// The peer has sent all routes of a family again (EoRR).
    pub(crate) fn end_refresh(&mut self, family: AfiSafi) -> Refresh {
        match self.engine.end_refresh(self.id(), convert::family(family)) {
            true => {
                self.entry.confirmed(convert::family(family));
                Refresh::Taken
            }
            false => Refresh::Ignored,
        }
    }

    /// For each family, the longer of the operator's setting (`hold-on-loss`) and what was
    /// negotiated (graceful restart), and then the long-lived stale time of the peer within the
    /// operator's bounds (RFC 9494). Unicast routes are retained like the rules that are validated
    /// against them.
    fn retention(&self, graceful: &[StaleFamily], ours: bool) -> Vec<Retention> {
        let Some(negotiated) = self.entry.negotiated() else { return Vec::new() };
        let hold = self.entry.config().hold_on_loss.0.as_secs();
        let retention = |family| {
            let graceful = graceful.iter().find(|stale| stale.family == family);
            let restart = graceful.map_or(0, |stale| u64::from(stale.restart_time));
            let asked = graceful.and_then(|stale| stale.long_lived);
            let bounds = self.entry.config().long_lived.as_ref();
            let long_lived = asked.zip(bounds).map_or(0, |(asked, bounds)| bounds.stale_time(asked));
            let until = restart.max(hold).max(if ours { self.stale_time } else { 0 });
            (until > 0 || long_lived > 0).then(|| Retention {
                family: convert::family(family),
                until: (until > 0).then(|| self.now.plus(until)),
                long_lived_until: (long_lived > 0).then(|| self.now.plus(until).plus(long_lived)),
                renews: hold > 0,
            })
        };
        negotiated.families.iter().filter_map(retention).collect()
    }
}

#[cfg(test)]
mod tests;
