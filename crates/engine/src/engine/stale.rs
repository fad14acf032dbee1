//! Sessions that end and come back: which routes stay, for how long, and what ends them (RFC 4724, RFC 9494, hold on loss). And rules
//! that live only so long.
//!
//! A route may wait for two things, told apart: for its peer to send it again after a loss (stale), and for the end of a route refresh
//! (not yet refreshed, RFC 7313). Only the first is seen from outside.

use super::Engine;
use super::losses::{Due, Losses};
use crate::key::RuleKey;
use crate::route::{Path, PeerId, RouteFamily, Timestamp};
use flowspec::{Nlri, PathId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
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
    /// What was stale already counts from this loss, too (hold on loss). Otherwise it keeps the deadline that it has (RFC 8538 §4.1,
    /// RFC 9494 §4.2).
    pub renews: bool,
}

/// The route of a peer that ends at a time.
type Life = (Timestamp, RuleKey, PeerId, Option<PathId>);

/// What ends by itself.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    losses: BTreeMap<(PeerId, RouteFamily), Losses>,
    /// Route refreshes that have begun, and when they end at the latest.
    refreshes: BTreeMap<(PeerId, RouteFamily), Timestamp>,
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
        self.losses.retain(|(peer, _), _| keep(*peer));
        self.refreshes.retain(|(peer, _), _| keep(*peer));
    }

    /// Notes a loss; the number for the paths that become stale by it. `None` if nothing is retained.
    pub(super) fn lose(&mut self, peer: PeerId, retention: &Retention) -> Option<u16> {
        let kept = retention.until.is_some() || retention.long_lived_until.is_some();
        kept.then(|| self.losses.entry((peer, retention.family)).or_default().add(retention))
    }
}

/// What is to become of a route.
enum Fate {
    Untouched,
    Changed,
    Gone,
}

impl Engine {
    /// A peer's session is lost. Its routes go, but for those of the families in `retain`. A refresh that was under way is forgotten.
    pub fn peer_down(&mut self, peer: PeerId, retain: &[Retention], _now: Timestamp) {
        self.stale.refreshes.retain(|(other, _), _| *other != peer);
        let losses: Vec<(Retention, u16)> =
            retain.iter().filter_map(|retention| Some((*retention, self.stale.lose(peer, retention)?))).collect();
        let loss = |family| losses.iter().find(|(retention, _)| retention.family == family);
        self.stale.losses.retain(|(other, family), _| *other != peer || loss(*family).is_some());
        let mut used = BTreeSet::new();
        self.for_each_path(peer, None, |family, path| {
            path.unrefreshed = false;
            let Some((retention, number)) = loss(family) else { return Fate::Gone };
            if path.stale && !retention.renews {
                used.insert((family, path.loss));
                return Fate::Untouched;
            }
            path.lose(*number);
            used.insert((family, *number));
            if retention.until.is_none() { last_resort(path) } else { Fate::Changed }
        });
        self.stale.losses.retain(|(other, family), losses| {
            if *other == peer {
                losses.retain(|number| used.contains(&(*family, number)));
            }
            !losses.is_empty()
        });
    }

    /// A peer has sent all its routes of a family: those that are still stale go.
    pub fn end_of_rib(&mut self, peer: PeerId, family: RouteFamily) {
        if self.stale.losses.remove(&(peer, family)).is_some() {
            self.for_each_path(peer, Some(family), |_, path| if path.stale { Fate::Gone } else { Fate::Untouched });
        }
    }

    /// A peer is back and will not confirm its routes of a family: the stale ones go at once.
    pub fn delete_stale(&mut self, peer: PeerId, family: RouteFamily) {
        self.end_of_rib(peer, family);
    }

    /// All routes of a peer are to be sent again (RFC 7313 §4): those that are not until the [end](Self::end_refresh) go, and at `until` at
    /// the latest. They are no less in force meanwhile. A begin before that end only moves the time: what was sent since the first begin
    /// counts, so that begins without end cost next to nothing.
    pub fn begin_refresh(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        if self.stale.refreshes.insert((peer, family), until).is_some() {
            return;
        }
        self.for_each_path(peer, Some(family), |_, path| {
            path.unrefreshed = true;
            Fate::Untouched
        });
    }

    /// A peer has sent all its routes again: those that it did not send since the [begin](Self::begin_refresh) go. False, and nothing is
    /// done, if there was no begin.
    pub fn end_refresh(&mut self, peer: PeerId, family: RouteFamily) -> bool {
        let begun = self.stale.refreshes.remove(&(peer, family)).is_some();
        if begun {
            self.stale.losses.remove(&(peer, family));
            self.for_each_path(peer, Some(family), |_, path| match path.unrefreshed {
                true => Fate::Gone,
                false => Fate::Untouched,
            });
        }
        begun
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let stale = self.stale.losses.values().filter_map(Losses::next_deadline);
        let lives = self.stale.lives.peek().map(|Reverse((deadline, ..))| *deadline);
        stale.chain(self.stale.refreshes.values().copied()).chain(lives).min()
    }

    /// A peer is back, and by `until` it is to have sent all its routes of a family again: what is still stale then goes. From now on it is
    /// not the time to come back that counts, the first time after each loss; what that loss would have kept longer than `until` is.
    pub fn start_end_of_rib_timer(&mut self, peer: PeerId, family: RouteFamily, until: Timestamp) {
        if let Some(losses) = self.stale.losses.get_mut(&(peer, family)) {
            losses.back(until);
        }
    }

    /// The peers and families whose End-of-RIB, or end of a route refresh, has not come in time: [`expire`](Self::expire) takes out what they
    /// have not sent.
    pub fn overdue_end_of_rib(&self, now: Timestamp) -> Vec<(PeerId, RouteFamily)> {
        let losses = self.stale.losses.iter().filter(|(_, losses)| losses.is_unsynchronized(now)).map(|(key, _)| *key);
        losses.chain(self.stale.refreshes.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key)).collect()
    }

    /// Time has passed: routes whose time is over go. The rules whose own time was over, and who announced them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(PeerId, Arc<Nlri>)> {
        let due = self.stale.losses.iter_mut().map(|(key, losses)| (*key, losses.expire(now)));
        let due: Vec<_> = due.filter(|(_, due)| !due.is_empty()).collect();
        for ((peer, family), due) in due {
            self.expire_losses(peer, family, &due);
        }
        let late: Vec<_> =
            self.stale.refreshes.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        for (peer, family) in late {
            self.end_refresh(peer, family);
        }
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

    fn expire_losses(&mut self, peer: PeerId, family: RouteFamily, due: &Due) {
        if due.all || self.stale.losses.get(&(peer, family)).is_some_and(Losses::is_empty) {
            self.end_of_rib(peer, family);
            return;
        }
        self.for_each_path(peer, Some(family), |_, path| match path.loss {
            _ if !path.stale => Fate::Untouched,
            loss if due.gone.contains(&loss) => Fate::Gone,
            loss if due.long_lived.contains(&loss) => last_resort(path),
            _ => Fate::Untouched,
        });
    }

    /// Goes through a peer's routes, of one family or of all.
    fn for_each_path(
        &mut self,
        peer: PeerId,
        only: Option<RouteFamily>,
        mut fate: impl FnMut(RouteFamily, &mut Path) -> Fate,
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
