//! Route loops: our AS in the AS_PATH (RFC 4271 §9.1.2), our identifier as originator or cluster
//! (RFC 4456 §8).

use crate::attribute::path_attributes::PathAttributes;
use std::fmt;
use std::net::Ipv4Addr;

/// This speaker as its peers see it, for loop detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct LocalSpeaker {
    /// Our AS number towards the peer.
    pub local_as: u32,
    /// The AS number of the router itself, if `local_as` is one that it uses with this peer only.
    pub router_as: Option<u32>,
    /// How often one of these may occur in an AS_PATH.
    pub allow_own_as: usize,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
}

/// Why a route is a loop: it is kept in the Adj-RIB-In and never selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum RouteLoop {
    /// This AS number of ours is in its AS_PATH.
    OwnAs(u32),
    /// Its ORIGINATOR_ID is our identifier.
    Originator(Ipv4Addr),
    /// Our identifier is in its CLUSTER_LIST.
    Cluster(Ipv4Addr),
}

impl fmt::Display for RouteLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteLoop::OwnAs(asn) => write!(f, "our own AS {asn} is in its AS_PATH"),
            RouteLoop::Originator(id) => write!(f, "our own id {id} is its ORIGINATOR_ID"),
            RouteLoop::Cluster(id) => write!(f, "our own id {id} is in its CLUSTER_LIST"),
        }
    }
}

impl PathAttributes {
    /// Whether a route with these attributes has passed through `speaker` before.
    #[must_use]
    pub fn route_loop(&self, speaker: &LocalSpeaker) -> Option<RouteLoop> {
        let own = [Some(speaker.local_as), speaker.router_as].into_iter().flatten();
        let looped = |asn: &u32| self.as_path.occurrences(*asn) > speaker.allow_own_as;
        if let Some(asn) = own.into_iter().find(looped) {
            return Some(RouteLoop::OwnAs(asn));
        }
        let id = speaker.router_id;
        if self.originator_id == Some(id) {
            return Some(RouteLoop::Originator(id));
        }
        self.cluster_list.contains(&id).then_some(RouteLoop::Cluster(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::as_path::AsPath;

    #[test]
    fn both_as_numbers_and_the_identifier_make_a_loop() {
        let id = Ipv4Addr::new(192, 0, 2, 9);
        let speaker = LocalSpeaker { local_as: 65010, router_as: Some(65001), allow_own_as: 0, router_id: id };
        let path = |numbers: &[u32]| PathAttributes { as_path: AsPath::sequence(numbers), ..Default::default() };
        let originated = PathAttributes { originator_id: Some(id), ..path(&[65002]) };
        let clustered = PathAttributes { cluster_list: vec![Ipv4Addr::LOCALHOST, id], ..path(&[65002]) };
        for (attributes, expected) in [
            (path(&[]), None),
            (path(&[65002, 65003]), None),
            (path(&[65002, 65010]), Some(RouteLoop::OwnAs(65010))),
            (path(&[65002, 65001, 65003]), Some(RouteLoop::OwnAs(65001))),
            (originated, Some(RouteLoop::Originator(id))),
            (clustered, Some(RouteLoop::Cluster(id))),
        ] {
            assert_eq!(attributes.route_loop(&speaker), expected, "{attributes:?}");
        }
        let lenient = LocalSpeaker { allow_own_as: 1, ..speaker };
        assert_eq!(path(&[65001, 65010]).route_loop(&lenient), None, "one of each is allowed");
        assert_eq!(path(&[65001, 65001]).route_loop(&lenient), Some(RouteLoop::OwnAs(65001)));
    }
}
