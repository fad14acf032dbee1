//! What is remembered over a restart of the program: each peer's rules, one a line.
//!
//! A line is the facts of the path as `key=value`, then the rule as a wire line of a rules file. Unicast routes are not remembered: the
//! peers send them again.

use super::Engine;
use super::stale::Retention;
use crate::key::RuleKey;
use crate::route::{AsPathFacts, Origin, Path, PathFacts, PeerId, Route, RouteFamily, Timestamp};
use crate::table::Record;
use flowspec::{Action, Community, Family, Nlri, PathId, RuleId};
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

/// A peer's rule, as remembered. The text form does not name the peer: the number may be another after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotPath {
    /// The match part.
    pub nlri: Arc<Nlri>,
    /// Path identifier.
    pub path_id: Option<PathId>,
    /// When it was announced.
    pub received: Timestamp,
    /// When it ends by itself.
    pub deadline: Option<Timestamp>,
    /// All else.
    pub route: Arc<Route>,
}

/// A line that is no remembered rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a remembered rule: {0}")]
pub struct InvalidSnapshot(String);

impl Engine {
    /// The rules of all peers.
    pub fn snapshot(&self) -> impl Iterator<Item = (PeerId, SnapshotPath)> + '_ {
        self.snapshot_after(None)
    }

    /// The same from behind a match part on, in enforcement order, for writing them down bit by bit.
    pub fn snapshot_after(&self, after: Option<&Arc<Nlri>>) -> impl Iterator<Item = (PeerId, SnapshotPath)> + '_ {
        let start = after.map_or(Bound::Unbounded, |nlri| Bound::Excluded(RuleKey::new(nlri.clone())));
        self.table.rules.range((start, Bound::Unbounded)).flat_map(|(key, record)| {
            let nlri = key.nlri();
            record.kept().filter_map(move |path| Some((path.peer, SnapshotPath::new(nlri?, path))))
        })
    }

    /// Hands out the rules whose routes are not as they were handed out last, to be kept over a restart: what each matches, and all its
    /// routes; none where nobody announces it any longer. Those that changed since the last [change](Self::next_transaction) was taken are not
    /// among them, and routes that only became stale have not changed.
    pub fn take_unsaved(&mut self, mut each: impl FnMut(&Arc<Nlri>, &[(PeerId, SnapshotPath)])) {
        let keys = self.table.take_unsaved();
        let mut found = keys.iter().peekable();
        let mut paths = Vec::new();
        crate::table::visit(&mut self.table.rules, keys.iter(), |key, record| {
            // Those in between are there no more.
            while let Some(gone) = found.next_if(|next| *next < key) {
                gone.nlri().into_iter().for_each(|nlri| each(nlri, &[]));
            }
            found.next_if(|next| *next == key);
            if let Some(nlri) = key.nlri()
                && record.save()
            {
                paths.clear();
                paths.extend(record.kept().map(|path| (path.peer, SnapshotPath::new(nlri, path))));
                each(nlri, &paths);
            }
        });
        found.filter_map(|gone| gone.nlri()).for_each(|nlri| each(nlri, &[]));
    }

    /// The same for one rule, as it is now; its routes, if somebody announces it.
    pub fn snapshot_rule(&mut self, nlri: &Arc<Nlri>) -> Vec<(PeerId, SnapshotPath)> {
        let Some(record) = self.table.rules.get_mut(&RuleKey::new(Arc::clone(nlri))) else { return Vec::new() };
        record.save();
        record.kept().map(|path| (path.peer, SnapshotPath::new(nlri, path))).collect()
    }

    /// All rules are kept as they are now.
    pub fn mark_all_saved(&mut self) {
        for record in self.table.rules.values_mut() {
            record.save();
        }
    }

    /// About how many rules there are.
    pub fn rule_count(&self) -> usize {
        self.table.rules.len()
    }

    /// The data plane has these rules in force since an earlier run. Those of them that were remembered were feasible then, and unicast routes are
    /// not remembered: until [`validate_presumed`](Self::validate_presumed) they count as feasible, unless several peers announce one of them.
    pub fn presume_feasible(&mut self, in_force: &BTreeSet<RuleId>) {
        self.table.touch_where(|key, record| match (&mut record.paths[..], key.nlri()) {
            ([path], Some(nlri)) if path.stale && in_force.contains(&nlri.id()) => {
                path.presumed_feasible = true;
                true
            }
            _ => false,
        });
    }

    /// The unicast routes have come again, or had the time to: nothing is presumed any longer.
    pub fn validate_presumed(&mut self) {
        self.table.touch_where(|_, record| {
            let presumed = record.paths.iter_mut().map(|path| std::mem::take(&mut path.presumed_feasible));
            presumed.fold(false, |any, presumed| any | presumed)
        });
    }

    /// Takes back what was remembered of a peer, before its session is up. Its rules are stale until the peer sends them again, and go as
    /// `retain` says; those of a family without retention are not taken. Rules made here are as before.
    pub fn restore(&mut self, peer: PeerId, paths: impl IntoIterator<Item = SnapshotPath>, retain: &[Retention]) {
        let local = self.peers.is_local(peer);
        let losses: Vec<_> = match local {
            true => Vec::new(),
            false => retain.iter().filter_map(|r| Some((r.family, self.stale.lose(peer, r)?))).collect(),
        };
        for path in paths {
            let family = RouteFamily::from(path.nlri.family());
            let loss = losses.iter().find(|(retained, _)| *retained == family).map(|(_, loss)| *loss);
            if !local && loss.is_none() {
                continue;
            }
            let nlri = path.nlri.clone();
            self.announce(peer, path.nlri, path.path_id, path.route, path.received, path.deadline);
            let record = self.table.rules.get_mut(&RuleKey::new(nlri));
            let held = record.and_then(|record| record.paths.iter_mut().find(|held| held.is(peer, path.path_id)));
            if let Some((restored, loss)) = held.zip(loss) {
                restored.lose(loss);
            }
        }
    }
}

impl SnapshotPath {
    fn new(nlri: &Arc<Nlri>, path: &Path) -> Self {
        SnapshotPath {
            nlri: nlri.clone(),
            path_id: path.path_id,
            received: path.received,
            deadline: path.deadline,
            route: path.route.clone(),
        }
    }
}

impl Record {
    /// The routes that are kept over a restart. A loop is never in force, and its peer sends it again.
    fn kept(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.route.facts.route_loop.is_none())
    }

    /// Notes that its routes are kept as they are now; whether that is not what was kept before.
    fn save(&mut self) -> bool {
        let mut hasher = DefaultHasher::new();
        for path in self.kept() {
            (path.peer, path.path_id.map(|id| id.0), path.received, path.deadline, &path.route).hash(&mut hasher);
        }
        // 0 is for what was never kept.
        let number = hasher.finish().max(1);
        std::mem::replace(&mut self.saved, number) != number
    }
}

/// Absent as `-`.
struct OrDash<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_char('-'),
        }
    }
}

impl fmt::Display for SnapshotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.route.facts;
        let path_id = self.path_id.map(|id| id.0);
        write!(
            f,
            "path={} since={} until={} ",
            OrDash(path_id),
            self.received.0,
            OrDash(self.deadline.map(|time| time.0))
        )?;
        write!(f, "next-hop={} origin={} ", OrDash(self.route.next_hop), facts.origin as u8)?;
        let as_path = &facts.as_path;
        write!(f, "as-path={}/{}/{} ", as_path.length, OrDash(as_path.leftmost), u8::from(as_path.internal))?;
        write!(f, "local-pref={} med={} ", OrDash(facts.local_pref), OrDash(facts.med))?;
        write!(f, "originator={} clusters={} ", OrDash(facts.originator), facts.cluster_list_length)?;
        write!(f, "llgr={}{} ", u8::from(facts.no_llgr), u8::from(facts.llgr_stale))?;
        write!(f, "wire {} ", self.nlri.family())?;
        self.nlri.as_bytes().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        for action in &self.route.actions {
            f.write_char(' ')?;
            action.encode().as_bytes().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        }
        Ok(())
    }
}

impl FromStr for SnapshotPath {
    type Err = InvalidSnapshot;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSnapshot(line.chars().take(200).collect());
        parse(line).ok_or_else(invalid)
    }
}

fn parse(line: &str) -> Option<SnapshotPath> {
    let (facts, wire) = line.trim().split_once(" wire ")?;
    let mut values = facts.split(' ');
    let mut value = |key: &str| values.next()?.strip_prefix(key)?.strip_prefix('=');
    let path_id = or_dash(value("path")?)?.map(PathId);
    let received = Timestamp(value("since")?.parse().ok()?);
    let deadline = or_dash(value("until")?)?.map(Timestamp);
    let next_hop = or_dash(value("next-hop")?)?;
    let origin = match value("origin")? {
        "0" => Origin::Igp,
        "1" => Origin::Egp,
        "2" => Origin::Incomplete,
        _ => return None,
    };
    let mut as_path = value("as-path")?.split('/');
    let as_path = AsPathFacts {
        length: as_path.next()?.parse().ok()?,
        leftmost: or_dash(as_path.next()?)?,
        internal: flag(as_path.next()?)?,
    };
    let facts = PathFacts {
        origin,
        as_path,
        local_pref: or_dash(value("local-pref")?)?,
        med: or_dash(value("med")?)?,
        originator: or_dash(value("originator")?)?,
        cluster_list_length: value("clusters")?.parse().ok()?,
        no_llgr: false,
        llgr_stale: false,
        route_loop: None,
    };
    let (no_llgr, llgr_stale) = value("llgr")?.split_at_checked(1)?;
    let facts = PathFacts { no_llgr: flag(no_llgr)?, llgr_stale: flag(llgr_stale)?, ..facts };
    let mut words = wire.split(' ');
    let family: Family = words.next()?.parse().ok()?;
    let nlri = Nlri::from_value(family, &octets(words.next()?)?).ok()?;
    let actions = words.map(|word| Action::decode(community(&octets(word)?)?).ok()).collect::<Option<_>>()?;
    let route = Route { actions, next_hop, facts };
    Some(SnapshotPath { nlri: Arc::new(nlri), path_id, received, deadline, route: Arc::new(route) })
}

/// `None` where it is neither a value nor `-`.
fn or_dash<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn community(octets: &[u8]) -> Option<Community> {
    match octets.len() {
        8 => octets.try_into().ok().map(Community::Extended),
        20 => octets.try_into().ok().map(Community::Ipv6),
        _ => None,
    }
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let pair = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}
