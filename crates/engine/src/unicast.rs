//! Unicast routes from the sessions: what traffic filters are validated against.

use crate::path::Path;
use crate::path_key::PathKey;
use crate::peers::Peers;
use crate::prefix_map::{PrefixMap, Retain};
use crate::route::PeerId;
use crate::select;
use flowspec::IpVersion;
use ipnet::IpNet;

#[derive(Debug, Default)]
pub(crate) struct UnicastRib {
    routes: PrefixMap<Vec<Path>>,
}

impl UnicastRib {
    /// Adds or replaces a route; true if it is a new one.
    pub(crate) fn announce(&mut self, net: IpNet, path: Path) -> bool {
        match self.routes.get_mut(net) {
            Some(paths) => match paths.iter_mut().find(|old| old.is_from(path.peer, path.key)) {
                Some(old) => {
                    *old = path;
                    false
                }
                None => {
                    paths.push(path);
                    true
                }
            },
            None => {
                self.routes.insert(net, vec![path]);
                true
            }
        }
    }

    /// Removes a route; true if it existed.
    pub(crate) fn withdraw(&mut self, net: IpNet, peer: PeerId, key: PathKey) -> bool {
        let Some(paths) = self.routes.get_mut(net) else { return false };
        let before = paths.len();
        paths.retain(|path| !path.is_from(peer, key));
        let found = paths.len() < before;
        if paths.is_empty() {
            self.routes.remove(net);
        }
        found
    }

    /// Visits a peer's routes of one IP version; `keep` may change them. Returns the prefixes where
    /// something changed, and how many routes were removed.
    pub(crate) fn retain(
        &mut self,
        peer: PeerId,
        version: IpVersion,
        mut keep: impl FnMut(&mut Path) -> bool,
    ) -> (Vec<IpNet>, u64) {
        let mut gone = 0;
        let touched = self.routes.retain(
            |paths| {
                let before = paths.len();
                let mut changed = false;
                paths.retain_mut(|path| {
                    let own = path.peer == peer;
                    changed |= own;
                    !own || keep(path)
                });
                gone += (before - paths.len()) as u64;
                match (paths.is_empty(), changed) {
                    (true, _) => Retain::Removed,
                    (false, true) => Retain::Changed,
                    (false, false) => Retain::Unchanged,
                }
            },
            version,
        );
        (touched, gone)
    }

    /// The best route to the longest prefix that covers `net`.
    pub(crate) fn best_match(&self, net: IpNet, peers: &Peers) -> Option<&Path> {
        self.routes.longest_match(net).and_then(|paths| select::best(paths.iter(), peers))
    }

    /// The best routes to the longer prefixes within `net`.
    pub(crate) fn more_specific<'a>(
        &'a self,
        net: IpNet,
        peers: &'a Peers,
    ) -> impl Iterator<Item = (IpNet, &'a Path)> + 'a {
        let routes = self.routes.within(net);
        routes.filter_map(|(net, paths)| Some((net, select::best(paths.iter(), peers)?)))
    }
}
