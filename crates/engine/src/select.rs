//! Best-path selection (RFC 4271 §9.1.2.2, RFC 4456 §9, RFC 9494 §4.2).

use crate::path::Path;
use crate::peers::Peers;
use std::net::IpAddr;

/// LOCAL_PREF of a route that has none.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The best of `paths`; it does not depend on their order.
///
/// Locally originated routes come first. The cost to the next hop is not known here and so does not
/// decide.
pub(crate) fn best<'a>(mut paths: impl Iterator<Item = &'a Path>, peers: &Peers) -> Option<&'a Path> {
    let first = paths.next()?;
    let Some(second) = paths.next() else { return Some(first) };
    let mut left: Vec<&Path> = [first, second].into_iter().chain(paths).collect();
    keep_least(&mut left, |path| !peers.is_local(path.peer));
    keep_least(&mut left, |path| path.long_lived || path.route.facts.llgr_stale);
    keep_least(&mut left, |path| u32::MAX - path.route.facts.local_pref.unwrap_or(DEFAULT_LOCAL_PREF));
    keep_least(&mut left, |path| path.route.facts.as_path.length);
    keep_least(&mut left, |path| path.route.facts.origin);
    keep_least_med(&mut left);
    keep_least(&mut left, |path| !peers.is_external(path.peer));
    keep_least(&mut left, |path| path.route.facts.originator.unwrap_or_else(|| peers.router_id(path.peer)));
    keep_least(&mut left, |path| path.route.facts.cluster_list_length);
    keep_least(&mut left, |path| peers.address(path.peer));
    keep_least(&mut left, |path| (path.peer, path.key));
    left.first().copied()
}

/// The originator of the route in our AS: ORIGINATOR_ID or else the peer's address (RFC 8955 §6).
pub(crate) fn originator(path: &Path, peers: &Peers) -> Option<IpAddr> {
    path.route.facts.originator.map(IpAddr::V4).or_else(|| peers.address(path.peer))
}

fn keep_least<K: Ord>(left: &mut Vec<&Path>, key: impl Fn(&Path) -> K) {
    if let Some(least) = left.iter().map(|path| key(path)).min() {
        left.retain(|path| key(path) == least);
    }
}

/// MEDs of different neighbouring ASes are not compared (RFC 4271 §9.1.2.2 c).
fn keep_least_med(left: &mut Vec<&Path>) {
    let key = |path: &Path| (path.route.facts.as_path.leftmost, path.route.facts.med.unwrap_or(0));
    let keys: Vec<_> = left.iter().map(|path| key(path)).collect();
    left.retain(|path| {
        let (neighbour, med) = key(path);
        !keys.iter().any(|&(other, lower)| other == neighbour && lower < med)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_key::PathKey;
    use crate::peers::PeerConfig;
    use crate::route::{AsPathFacts, Origin, PathFacts, PeerId, Route, Timestamp};
    use std::sync::Arc;

    /// Peer 0 is ourselves, 1 and 2 are internal, 3 and 4 external; the higher the number, the
    /// higher address and identifier.
    fn peers() -> Peers {
        let peer = |n: u8| PeerConfig { address: Some([10, 0, 0, n].into()), external: n > 2, policy: None };
        let mut peers = Peers::default();
        let numbered = (1..5).map(|n| (PeerId(n.into()), peer(n)));
        peers.set(numbered.chain([(PeerId(0), PeerConfig::local())]).collect());
        for n in 0..5 {
            peers.get_mut(PeerId(n)).unwrap().set_router_id([1, 1, 1, n as u8].into());
        }
        peers
    }

    fn path(peer: u32, facts: PathFacts) -> Path {
        Path::new(PeerId(peer), PathKey::flow(None), Arc::new(Route { facts, ..Route::default() }), Timestamp(0))
    }

    /// A neutral one.
    fn facts() -> PathFacts {
        let as_path = AsPathFacts { length: 2, leftmost: Some(1), internal: false };
        PathFacts { origin: Origin::Egp, as_path, local_pref: Some(100), med: Some(5), ..PathFacts::default() }
    }

    #[test]
    fn each_step_decides_where_those_before_do_not() {
        let longer = AsPathFacts { length: 3, ..facts().as_path };
        let shorter = AsPathFacts { length: 1, ..facts().as_path };
        let elsewhere = AsPathFacts { leftmost: Some(2), ..facts().as_path };
        // Better, worse; the worse one would win by the later steps.
        let table = [
            ("ours", path(0, PathFacts { local_pref: Some(1), ..facts() }), path(1, facts())),
            ("stale", path(4, facts()), path(3, PathFacts { llgr_stale: true, local_pref: Some(900), ..facts() })),
            ("local pref", path(1, PathFacts { local_pref: Some(101), as_path: longer, ..facts() }), path(3, facts())),
            ("default local pref", path(1, PathFacts { local_pref: None, ..facts() }), path(2, facts())),
            (
                "as path",
                path(2, PathFacts { as_path: shorter, origin: Origin::Incomplete, ..facts() }),
                path(1, facts()),
            ),
            ("origin", path(2, PathFacts { origin: Origin::Igp, med: Some(9), ..facts() }), path(1, facts())),
            ("med", path(2, PathFacts { med: None, ..facts() }), path(3, facts())),
            ("med of others", path(3, facts()), path(4, PathFacts { med: None, as_path: elsewhere, ..facts() })),
            ("external", path(3, facts()), path(1, facts())),
            ("identifier", path(1, facts()), path(2, PathFacts { cluster_list_length: 0, ..facts() })),
            (
                "originator",
                path(2, PathFacts { originator: Some([0, 0, 0, 1].into()), cluster_list_length: 3, ..facts() }),
                path(1, facts()),
            ),
            (
                "cluster list",
                path(2, PathFacts { originator: Some([0, 0, 0, 1].into()), cluster_list_length: 1, ..facts() }),
                path(1, PathFacts { originator: Some([0, 0, 0, 1].into()), cluster_list_length: 2, ..facts() }),
            ),
            (
                "address",
                path(1, PathFacts { originator: Some([0, 0, 0, 1].into()), ..facts() }),
                path(2, PathFacts { originator: Some([0, 0, 0, 1].into()), ..facts() }),
            ),
        ];
        let peers = peers();
        for (step, better, worse) in &table {
            for paths in [[better, worse], [worse, better]] {
                let best = best(paths.into_iter(), &peers).unwrap();
                assert!(std::ptr::eq(best, better), "{step}");
            }
        }
    }

    #[test]
    fn med_does_not_depend_on_the_order() {
        // The classic cycle: A beats B by MED, C beats A by identifier, B beats C by identifier.
        let of = |leftmost, med, originator: u8| PathFacts {
            med: Some(med),
            as_path: AsPathFacts { leftmost: Some(leftmost), ..facts().as_path },
            originator: Some([1, 1, 1, originator].into()),
            ..facts()
        };
        let (a, b, c) = (path(1, of(1, 0, 3)), path(1, of(1, 9, 1)), path(2, of(2, 0, 2)));
        let peers = peers();
        for paths in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a], [&a, &c, &b], [&b, &a, &c], [&c, &a, &b]] {
            assert_eq!(best(paths.into_iter(), &peers).map(|path| path.peer), Some(PeerId(2)));
        }
    }
}
