//! Sessions that end and come back: which routes stay, for how long, and what ends them (RFC 4724, RFC 9494, hold on loss). And rules
//! that live only so long.

use super::Engine;
use crate::key::RuleKey;
use crate::route::{Path, PeerId, RouteFamily, Timestamp};
use flowspec::{Nlri, PathId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// How long a peer's routes of one family outlive the session. A family for which there is none goes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The family.
    pub family: RouteFamily,
    /// They stay as they are until then: graceful restart, or hold on loss.
    pub until: Option<Timestamp>,
    /// Then, or at once, they stay as a last resort until that time: long-lived graceful restart.
    pub long_lived_until: Option<Timestamp>,
    /// Routes that were stale already stay too. Graceful restart wants them to go (RFC 4724 §4.2), hold on loss does not.
    pub keep_stale: bool,
}

/// The route of a peer that ends at a time.
type Life = (Timestamp, RuleKey, PeerId, Option<PathId>);

/// What ends by itself.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    stale: BTreeMap<(PeerId, RouteFamily), Retention>,
    /// Lives of single routes; out of date where the route has another deadline now.
    lives: BinaryHeap<Reverse<Life>>,
    /// So many timers are there at most before those that are out of date are taken out.
    trim_lives_at: usize,
}

/// Timers that are never worth trimming.
const FEW_LIVES: usize = 4096;

impl Deadlines {
    pub(super) fn lives_until(
        &mut self,
        deadline: Option<Timestamp>,
        key: &RuleKey,
        peer: PeerId,
        path_id: Option<PathId>,
    ) {
        self.lives.extend(deadline.map(|deadline| Reverse((deadline, key.clone(), peer, path_id))));
    }

    pub(super) fn keep_peers(&mut self, keep: impl Fn(PeerId) -> bool) {
        self.stale.retain(|(peer, _), _| keep(*peer));
    }

    pub(super) fn keep_stale(&mut self, peer: PeerId, retention: Retention) {
        self.stale.insert((peer, retention.family), retention);
    }
}

/// What is to become of a route.
enum Fate {
    Untouched,
    Changed,
    Gone,
}

impl Engine {
    /// A peer's session is lost. Its routes go, but for those of the families in `retain`.
    pub fn peer_down(&mut self, peer: PeerId, retain: &[Retention], _now: Timestamp) {
        self.stale.stale.retain(|(other, _), _| *other != peer);
        for retention in retain {
            self.stale.keep_stale(peer, *retention);
        }
        let retention = |family| retain.iter().find(|retention| retention.family == family);
        self.for_each_path(peer, None, |family, path| match retention(family) {
            None => Fate::Gone,
            Some(retention) if path.stale && !retention.keep_stale => Fate::Gone,
            Some(retention) => {
                path.stale = true;
                if retention.until.is_none() { last_resort(path) } else { Fate::Changed }
            }
        });
    }

    /// A peer has sent all its routes of a family: those that it did not send again go.
    pub fn end_of_rib(&mut self, peer: PeerId, family: RouteFamily) {
        if self.stale.stale.remove(&(peer, family)).is_some() {
            self.drop_stale(peer, family);
        }
    }

    /// A peer is back and has not kept its routes of a family (no graceful restart for it any more, or the F bit is clear): the stale ones go
    /// at once.
    pub fn sweep(&mut self, peer: PeerId, family: RouteFamily) {
        self.end_of_rib(peer, family);
    }

    /// All routes of a peer are to be sent again (route refresh): those that are not sent until the [end](Self::end_of_rib) go.
    pub fn begin_refresh(&mut self, peer: PeerId, family: RouteFamily) {
        let retention = Retention { family, until: None, long_lived_until: None, keep_stale: true };
        self.stale.keep_stale(peer, retention);
        self.for_each_path(peer, Some(family), |_, path| {
            path.stale = true;
            Fate::Changed
        });
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let stale = self.stale.stale.values().filter_map(|retention| retention.until.or(retention.long_lived_until));
        let lives = self.stale.lives.peek().map(|Reverse((deadline, ..))| *deadline);
        stale.chain(lives).min()
    }

    /// A peer is back that has kept its routes of a family: from now on it is not the time to come back that counts, but until when it
    /// has to have sent them again. Routes that would have stayed longer than `until` do.
    pub fn peer_back(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        if let Some(retention) = self.stale.stale.get_mut(&(peer, family)) {
            retention.until = retention.until.map(|earlier| earlier.max(until));
        }
    }

    /// Time has passed: routes whose time is over go. The rules whose own time was over, and who announced them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(PeerId, Arc<Nlri>)> {
        let over = |time: &Option<Timestamp>| time.is_some_and(|time| time <= now);
        let due: Vec<_> = self.stale.stale.iter().filter(|(_, r)| over(&r.until)).map(|(key, _)| *key).collect();
        for (peer, family) in due {
            let long_lived = self.stale.stale.get_mut(&(peer, family)).and_then(|retention| {
                retention.until = None;
                retention.long_lived_until.filter(|time| *time > now)
            });
            if long_lived.is_some() {
                self.for_each_path(
                    peer,
                    Some(family),
                    |_, path| if path.stale { last_resort(path) } else { Fate::Untouched },
                );
            } else {
                self.end_of_rib(peer, family);
            }
        }
        let late = self.stale.stale.iter().filter(|(_, r)| r.until.is_none() && over(&r.long_lived_until));
        let late: Vec<_> = late.map(|(key, _)| *key).collect();
        late.into_iter().for_each(|(peer, family)| self.end_of_rib(peer, family));
        self.trim_lives();
        let mut ended = Vec::new();
        while let Some(Reverse((deadline, ..))) = self.stale.lives.peek()
            && *deadline <= now
        {
            if let Some(Reverse((deadline, key, peer, path_id))) = self.stale.lives.pop()
                && self.end_life(deadline, &key, peer, path_id)
            {
                ended.extend(key.nlri().map(|nlri| (peer, Arc::clone(nlri))));
            }
        }
        ended
    }

    /// A rule made here goes; another's stays visible until its peer withdraws it.
    /// False if it has another deadline by now.
    fn end_life(&mut self, deadline: Timestamp, key: &RuleKey, peer: PeerId, path_id: Option<PathId>) -> bool {
        let path = self
            .table
            .rules
            .get_mut(key)
            .and_then(|record| record.paths.iter_mut().find(|path| path.is(peer, path_id) && !path.expired));
        let Some(path) = path else { return false };
        if path.deadline.is_none_or(|due| due > deadline) {
            // It was announced again meanwhile: the timer goes on until then.
            self.stale.lives_until(path.deadline, key, peer, path_id);
            return false;
        }
        path.expired = true;
        self.table.touch(key);
        if self.peers.is_local(peer) {
            self.withdraw_key(peer, key, path_id);
        }
        true
    }

    /// How many timers of single rules there are.
    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.stale.lives.len()
    }

    /// Rules that come and go leave timers behind: one for each route is enough.
    fn trim_lives(&mut self) {
        if self.stale.lives.len() < self.stale.trim_lives_at.max(FEW_LIVES) {
            return;
        }
        let lives = self.table.rules.iter().flat_map(|(key, record)| {
            let limited = record.paths.iter().filter(|path| !path.expired);
            limited.filter_map(move |path| Some(Reverse((path.deadline?, key.clone(), path.peer, path.path_id))))
        });
        self.stale.lives = lives.collect();
        self.stale.trim_lives_at = self.stale.lives.len() * 2;
    }

    fn drop_stale(&mut self, peer: PeerId, family: RouteFamily) {
        self.for_each_path(peer, Some(family), |_, path| if path.stale { Fate::Gone } else { Fate::Untouched });
    }

    /// Goes through a peer's routes, of one family or of all.
    fn for_each_path(
        &mut self,
        peer: PeerId,
        only: Option<RouteFamily>,
        fate: impl Fn(RouteFamily, &mut Path) -> Fate,
    ) {
        let meant = |family| only.is_none_or(|only| only == family);
        self.table.touch_where(|key, record| {
            let Some(family) = key.nlri().map(|nlri| RouteFamily::Flow(nlri.family())).filter(|f| meant(*f)) else {
                return false;
            };
            let mut changed = false;
            record.paths.retain_mut(|path| {
                if path.peer != peer {
                    return true;
                }
                let fate = fate(family, path);
                changed |= !matches!(fate, Fate::Untouched);
                !matches!(fate, Fate::Gone)
            });
            changed
        });
        for version in [flowspec::IpVersion::V4, flowspec::IpVersion::V6] {
            let family = RouteFamily::Unicast(version);
            if meant(family) {
                let keep = |path: &mut Path| !matches!(fate(family, path), Fate::Gone);
                let (touched, gone) = self.unicast.retain(peer, version, keep);
                self.unicast_changes.extend(touched);
                if let Some(counts) = self.peers.counts_mut(peer) {
                    counts.unicast -= gone;
                }
            }
        }
        self.recount();
    }
}

/// Only where there is nothing better, and unless the route says not even then (RFC 9494 §4.2, §4.6).
fn last_resort(path: &mut Path) -> Fate {
    path.long_lived = true;
    if path.route.facts.no_llgr { Fate::Gone } else { Fate::Changed }
}
