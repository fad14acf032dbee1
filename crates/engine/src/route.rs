//! A route as announced: its actions, and the path attributes on which best-path selection and
//! validation depend.

use flowspec::{Action, Effect, Family, IpVersion};
use std::net::{IpAddr, Ipv4Addr};

/// A source of routes: a peer, or the program itself. Numbered by the program, for as long as it
/// runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Seconds of a clock that does not jump; the program chooses its zero, so that it may be Unix
/// time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This many seconds later.
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

impl From<Family> for RouteFamily {
    fn from(family: Family) -> Self {
        RouteFamily::Flow(family)
    }
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

/// What selection and validation need to know of an AS_PATH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPathFacts {
    /// Its length by RFC 4271 §9.1.2.2 a: a set counts as one, confederation segments as zero (RFC
    /// 5065 §5.3).
    pub length: u32,
    /// The left-most AS of the first segment that is not of a confederation, if that is a sequence:
    /// the neighbouring AS.
    pub leftmost: Option<u32>,
    /// It is empty, or has confederation segments only.
    pub internal: bool,
}

/// Why a route is a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteLoop {
    /// This AS number of ours is in its AS_PATH (RFC 4271 §9.1.2).
    OwnAs(u32),
    /// Our identifier is its ORIGINATOR_ID (RFC 4456 §8).
    Originator(Ipv4Addr),
    /// Our identifier is in its CLUSTER_LIST (RFC 4456 §8).
    Cluster(Ipv4Addr),
}

/// The path attributes on which best-path selection and validation depend.
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
    /// Community NO_LLGR: not to be retained as long-lived stale (RFC 9494).
    pub no_llgr: bool,
    /// Community LLGR_STALE: the route is stale at a router on the way (RFC 9494).
    pub llgr_stale: bool,
    /// The route is a loop: it is kept and shown, and never selected.
    pub route_loop: Option<RouteLoop>,
}

impl Default for PathFacts {
    /// As of a locally originated route.
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

/// Attributes of a route on which only import policy depends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteAttributes {
    /// COMMUNITIES, each as one number.
    pub communities: Vec<u32>,
    /// LARGE_COMMUNITY.
    pub large_communities: Vec<[u32; 3]>,
    /// The numbers of the AS_PATH, nearest first, those of sets among them and those of
    /// confederations not.
    pub as_path: Vec<u32>,
    /// The last number of the AS_PATH, where that is one of a sequence.
    pub origin_as: Option<u32>,
}

impl RouteAttributes {
    /// `None` if there are none.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != RouteAttributes::default()).then(|| Box::new(self))
    }
}

/// An announcement without its NLRI. One value is shared by all announcements with equal content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// The traffic actions; none for unicast.
    pub actions: Vec<Action>,
    /// Next hop, if there was one.
    pub next_hop: Option<IpAddr>,
    /// The path attributes for selection and validation.
    pub facts: PathFacts,
    /// Attributes on which import policy may depend; `None` if there are none.
    pub attributes: Option<Box<RouteAttributes>>,
}

impl Route {
    /// A locally originated route.
    pub fn local(actions: Vec<Action>) -> Self {
        Route { actions, ..Route::default() }
    }

    /// The combined effect of the actions.
    pub fn effect(&self) -> Effect {
        Effect::of(&self.actions, self.next_hop)
    }
}
