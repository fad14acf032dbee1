//! Routes as the engine sees them: what an announcement asks for, and the facts of its path by which the best is selected.

use flowspec::{Action, Effect, Family, IpVersion, PathId};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A source of routes, numbered by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Seconds on a clock that does not jump; the program chooses its zero, so that it may be Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So many seconds later.
    pub const fn plus(self, seconds: u64) -> Self {
        Timestamp(self.0.saturating_add(seconds))
    }
}

/// The families of routes that the engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteFamily {
    /// Unicast, for validation.
    Unicast(IpVersion),
    /// Traffic filters.
    Flow(Family),
}

/// ORIGIN; lower is preferred (RFC 4271 §9.1.2.2 b).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp,
    /// Learned by EGP.
    Egp,
    /// Otherwise.
    #[default]
    Incomplete,
}

/// What an AS_PATH says, as far as selection and validation ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPathFacts {
    /// Its length as RFC 4271 §9.1.2.2 a counts: a set is one, confederation segments are nothing (RFC 5065 §5.3).
    pub length: u32,
    /// The left-most AS of the first segment that is not of a confederation, where that is a sequence: the neighbouring AS.
    pub leftmost: Option<u32>,
    /// It is empty, or has confederation segments only.
    pub internal: bool,
}

/// Why a path is a loop: it came back to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteLoop {
    /// This AS number of ours is in its AS_PATH (RFC 4271 §9.1.2).
    OwnAs(u32),
    /// Our identifier is its ORIGINATOR_ID (RFC 4456 §8).
    Originator(Ipv4Addr),
    /// Our identifier is in its CLUSTER_LIST (RFC 4456 §8).
    Cluster(Ipv4Addr),
}

/// The facts of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathFacts {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH.
    pub as_path: AsPathFacts,
    /// LOCAL_PREF; `None` counts as 100.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC; `None` counts as 0.
    pub med: Option<u32>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator: Option<Ipv4Addr>,
    /// Entries of CLUSTER_LIST.
    pub cluster_list_length: u32,
    /// Community NO_LLGR: not to be kept as long-lived stale (RFC 9494).
    pub no_llgr: bool,
    /// Community LLGR_STALE: whoever sent it has it as stale.
    pub llgr_stale: bool,
    /// It came back to us: it is kept and shown, and never selected.
    pub route_loop: Option<RouteLoop>,
}

impl Default for PathFacts {
    /// As of a route that starts here.
    fn default() -> Self {
        PathFacts {
            origin: Origin::Igp,
            as_path: AsPathFacts { length: 0, leftmost: None, internal: true },
            local_pref: None,
            med: None,
            originator: None,
            cluster_list_length: 0,
            no_llgr: false,
            llgr_stale: false,
            route_loop: None,
        }
    }
}

/// All that an announcement says besides its NLRI. Shared by all routes that say the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// The traffic actions; none for unicast.
    pub actions: Vec<Action>,
    /// Next hop, if there was one.
    pub next_hop: Option<IpAddr>,
    /// The facts of the path.
    pub facts: PathFacts,
}

impl Route {
    /// A route that starts here.
    pub fn local(actions: Vec<Action>) -> Self {
        Route { actions, ..Route::default() }
    }

    /// What the actions do together.
    pub fn effect(&self) -> Effect {
        Effect::of(&self.actions, self.next_hop)
    }
}

/// One peer's route to one destination.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) route: Arc<Route>,
    pub(crate) received: Timestamp,
    /// When it ends, if it does.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) peer: PeerId,
    pub(crate) path_id: Option<PathId>,
    /// The session was lost, or this was remembered over a restart, and the peer has not sent it again since.
    pub(crate) stale: bool,
    /// The loss by which it became stale, among those of its peer and family.
    pub(crate) loss: u16,
    /// It was in force in an earlier run, so it was feasible then: that counts until the unicast routes have come again.
    pub(crate) presumed_feasible: bool,
    /// A route refresh has begun, and the peer has not sent it again since.
    pub(crate) unrefreshed: bool,
    /// Stale for so long that any other route is better (RFC 9494).
    pub(crate) long_lived: bool,
    /// Beyond the peer's limit.
    pub(crate) excess: bool,
    /// It has lived as long as policy allows.
    pub(crate) expired: bool,
}

impl Path {
    pub(crate) fn new(peer: PeerId, path_id: Option<PathId>, route: Arc<Route>, received: Timestamp) -> Self {
        Path {
            route,
            received,
            deadline: None,
            peer,
            path_id,
            stale: false,
            loss: 0,
            presumed_feasible: false,
            unrefreshed: false,
            long_lived: false,
            excess: false,
            expired: false,
        }
    }

    /// Its session is lost.
    pub(crate) const fn lose(&mut self, loss: u16) {
        (self.stale, self.loss) = (true, loss);
    }

    /// Its peer has sent it again; whether that was waited for, after a loss or in a refresh.
    pub(crate) const fn confirm(&mut self) -> bool {
        let awaited = self.stale || self.long_lived || self.unrefreshed;
        (self.stale, self.long_lived, self.unrefreshed) = (false, false, false);
        awaited
    }

    pub(crate) fn is(&self, peer: PeerId, path_id: Option<PathId>) -> bool {
        self.peer == peer && self.path_id == path_id
    }
}

/// Equal routes, kept once.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    known: HashSet<Arc<Route>>,
    sweep_at: usize,
}

impl Routes {
    /// The route equal to this one that is known already, otherwise this one.
    pub(crate) fn share(&mut self, route: Arc<Route>) -> Arc<Route> {
        if let Some(known) = self.known.get(&route) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at.max(1024) {
            self.known.retain(|route| Arc::strong_count(route) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        self.known.insert(route.clone());
        route
    }
}
