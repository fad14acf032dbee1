//! Peers and families with stale paths, or with paths that a route refresh has not confirmed yet,
//! and their deadlines (RFC 4724, RFC 7313, RFC 9494).

use super::losses::{Due, Losses, Retention};
use crate::route::{PeerId, RouteFamily, Timestamp};
use std::collections::BTreeMap;

/// There are losses for a peer and family only while some path belongs to one of them, or its
/// End-of-RIB is awaited.
#[derive(Debug, Default)]
pub(super) struct StalePaths {
    losses: BTreeMap<(PeerId, RouteFamily), Losses>,
    /// Route refreshes that have begun, and when they end at the latest.
    refreshes: BTreeMap<(PeerId, RouteFamily), Timestamp>,
}

impl StalePaths {
    pub(super) fn retain_peers(&mut self, keep: impl Fn(PeerId) -> bool) {
        self.losses.retain(|(peer, _), _| keep(*peer));
        self.refreshes.retain(|(peer, _), _| keep(*peer));
    }

    /// Records a session loss; returns the number for the paths that become stale by it. `None` if
    /// nothing is retained.
    pub(super) fn add_loss(&mut self, peer: PeerId, retention: &Retention) -> Option<u16> {
        let retained = retention.until.is_some() || retention.long_lived_until.is_some();
        retained.then(|| self.losses.entry((peer, retention.family)).or_default().add(retention))
    }

    /// The session is lost: drops its route refreshes, and the losses of the families that are not
    /// retained.
    pub(super) fn session_lost(&mut self, peer: PeerId, is_retained: impl Fn(RouteFamily) -> bool) {
        self.refreshes.retain(|(other, _), _| *other != peer);
        self.losses.retain(|(other, family), _| *other != peer || is_retained(*family));
    }

    /// Drops losses of the peer to which no path belongs.
    pub(super) fn forget_unused_losses(&mut self, peer: PeerId, is_used: impl Fn(RouteFamily, u16) -> bool) {
        self.losses.retain(|(other, family), losses| {
            if *other == peer {
                losses.retain(|number| is_used(*family, number));
            }
            !losses.is_empty()
        });
    }

    /// Drops all losses of the peer and family; true if there were any.
    pub(super) fn forget_losses(&mut self, peer: PeerId, family: RouteFamily) -> bool {
        self.losses.remove(&(peer, family)).is_some()
    }

    /// A route refresh begins, and ends at `until` at the latest; true if none was in progress.
    pub(super) fn begin_refresh(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) -> bool {
        self.refreshes.insert((peer, family), until).is_none()
    }

    /// A route refresh ends; true if one was in progress. What it confirmed is not stale.
    pub(super) fn end_refresh(&mut self, peer: PeerId, family: RouteFamily) -> bool {
        let begun = self.refreshes.remove(&(peer, family)).is_some();
        if begun {
            self.losses.remove(&(peer, family));
        }
        begun
    }

    pub(super) fn start_end_of_rib_timer(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        if let Some(losses) = self.losses.get_mut(&(peer, family)) {
            losses.start_end_of_rib_timer(until);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let losses = self.losses.values().filter_map(Losses::next_deadline);
        losses.chain(self.refreshes.values().copied()).min()
    }

    /// The peers and families whose End-of-RIB, or end of a route refresh, has not come in time.
    pub(super) fn overdue(&self, now: Timestamp) -> Vec<(PeerId, RouteFamily)> {
        let losses = self.losses.iter().filter(|(_, losses)| losses.is_end_of_rib_overdue(now)).map(|(key, _)| *key);
        losses.chain(self.overdue_refreshes(now)).collect()
    }

    /// The peers and families whose route refresh has not ended in time.
    pub(super) fn overdue_refreshes(&self, now: Timestamp) -> Vec<(PeerId, RouteFamily)> {
        self.refreshes.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect()
    }

    /// The losses with something due at `now`. Where no loss is left all stale paths are due.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<((PeerId, RouteFamily), Due)> {
        let due = self.losses.iter_mut().map(|(key, losses)| {
            let mut due = losses.expire(now);
            due.all |= !due.is_empty() && losses.is_empty();
            (*key, due)
        });
        due.filter(|(_, due)| !due.is_empty()).collect()
    }
}
