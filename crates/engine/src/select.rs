//! Which of several routes to the same destination is best (RFC 4271 §9.1.2.2, RFC 4456 §9, RFC 9494 §4.2).

use crate::peer::Peers;
use crate::route::Path;
use std::net::IpAddr;

/// Preference of a route whose LOCAL_PREF is not told.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The best of `paths`; it does not depend on their order.
///
/// Our own come first. The cost to the next hop is not known here and so does not decide.
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
    keep_least(&mut left, |path| (path.peer, path.path_id));
    left.first().copied()
}

/// Who first announced the route in our AS: ORIGINATOR_ID or else the peer's address (RFC 8955 §6).
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
