//! One peer's route to one destination in the Adj-RIB-In. Plain data: the stages read and set its
//! flags.

use crate::import_policy::PolicyRejection;
use crate::path_key::PathKey;
use crate::route::{PeerId, Route, Timestamp};
use std::sync::Arc;

/// What import policy did with a route that it changed or rejected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PolicyOutcome {
    /// The route as announced.
    pub(crate) announced: Arc<Route>,
    /// Why it is rejected, if it is.
    pub(crate) rejection: Option<PolicyRejection>,
}

/// One peer's route to one destination. Plain data: the Adj-RIB-In says what its fields may be
/// together.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The route as import policy left it.
    pub(crate) route: Arc<Route>,
    /// What import policy did with it, unless it was accepted unchanged.
    pub(crate) policy: Option<Box<PolicyOutcome>>,
    /// When it was announced.
    pub(crate) received: Timestamp,
    /// When it expires, if it does.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) peer: PeerId,
    pub(crate) key: PathKey,
    /// Stale path: the session was lost, or the daemon restarted, and the peer has not sent it
    /// again since.
    pub(crate) stale: bool,
    /// The loss by which it became stale, among those of its peer and family.
    pub(crate) loss: u16,
    /// It was in force before the daemon restarted, so it was feasible: it counts as feasible until
    /// the unicast routes are received again.
    pub(crate) presumed_feasible: bool,
    /// A route refresh has begun, and the peer has not sent it again since.
    pub(crate) unrefreshed: bool,
    /// Stale for so long that any other route is better (RFC 9494).
    pub(crate) long_lived: bool,
    /// Beyond the peer's maximum-prefix limit.
    pub(crate) excess: bool,
    /// Its lifetime (import policy, or given with the announcement) has ended.
    pub(crate) expired: bool,
}

impl Path {
    pub(crate) fn new(peer: PeerId, key: PathKey, route: Arc<Route>, received: Timestamp) -> Self {
        Path {
            route,
            policy: None,
            received,
            deadline: None,
            peer,
            key,
            stale: false,
            loss: 0,
            presumed_feasible: false,
            unrefreshed: false,
            long_lived: false,
            excess: false,
            expired: false,
        }
    }

    /// The session of its peer is lost; `loss` is the number of that loss.
    pub(crate) const fn mark_stale(&mut self, loss: u16) {
        (self.stale, self.loss) = (true, loss);
    }

    /// Its peer has sent it again; true if it was stale, or a route refresh was in progress.
    pub(crate) const fn mark_received(&mut self) -> bool {
        let awaited = self.stale || self.long_lived || self.unrefreshed;
        (self.stale, self.long_lived, self.unrefreshed) = (false, false, false);
        awaited
    }

    pub(crate) fn is_from(&self, peer: PeerId, key: PathKey) -> bool {
        self.peer == peer && self.key == key
    }

    /// The route as its peer announced it.
    pub(crate) fn announced_route(&self) -> &Arc<Route> {
        self.policy.as_ref().map_or(&self.route, |policy| &policy.announced)
    }
}
