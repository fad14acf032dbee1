//! The text form of a peer's rule in the state file, which is kept over a restart: one line each.
//!
//! A line is the path's attributes as `key=value`, then the rule as a wire line of a rules file.
//! Unicast routes are not saved: the peers send them again.

use crate::path::Path;
use crate::path_key::PathKind;
use crate::route::{AsPathFacts, Origin, PathFacts, Route, RouteAttributes, Timestamp};
use flowspec::hex::{self, Hex};
use flowspec::{Action, Community, Family, Nlri, PathId};
use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

/// A saved rule of a peer. The text form does not name the peer: its number may differ after a
/// restart.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotPath {
    /// The match part.
    pub nlri: Arc<Nlri>,
    /// Path identifier.
    pub path_id: Option<PathId>,
    /// When it was announced.
    pub received: Timestamp,
    /// When it expires, if it does.
    pub deadline: Option<Timestamp>,
    /// The rest of the announcement.
    pub route: Arc<Route>,
    /// It came as a unicast route.
    pub blackhole: bool,
}

/// A line that is not a rule of a state file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rule of the state file: {0}")]
pub struct InvalidSnapshot(String);

impl SnapshotPath {
    pub(crate) fn new(nlri: &Arc<Nlri>, path: &Path) -> Self {
        SnapshotPath {
            nlri: nlri.clone(),
            path_id: path.key.id,
            received: path.received,
            deadline: path.deadline,
            route: path.announced_route().clone(),
            blackhole: path.key.kind == PathKind::Blackhole,
        }
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

/// Values with commas between them, `-` for none.
struct List<'a, T, F>(&'a [T], F);

impl<T, F: Fn(&T) -> String> fmt::Display for List<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_char('-');
        }
        f.write_str(&self.0.iter().map(&self.1).collect::<Vec<_>>().join(","))
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
        if let Some(attributes) = self.route.attributes.as_deref() {
            let RouteAttributes { communities, large_communities, as_path, origin_as } = attributes;
            let large = List(large_communities, |[a, b, c]: &[u32; 3]| format!("{a}:{b}:{c}"));
            write!(f, "communities={} large={large} ", List(communities, u32::to_string))?;
            write!(f, "as-list={} origin-as={} ", List(as_path, u32::to_string), OrDash(*origin_as))?;
        }
        if self.blackhole {
            f.write_str("blackhole=1 ")?;
        }
        write!(f, "wire {} {}", self.nlri.family(), Hex(self.nlri.as_bytes()))?;
        self.route.actions.iter().try_for_each(|action| write!(f, " {}", Hex(action.encode().as_bytes())))
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
    let facts_behind = values.clone();
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
    // Fields that earlier versions did not write.
    let value = |key: &str| facts_behind.clone().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let attributes = RouteAttributes {
        communities: list(value("communities"), |word| word.parse().ok())?,
        large_communities: list(value("large"), |word| {
            let numbers: Vec<u32> = word.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
            numbers.try_into().ok()
        })?,
        as_path: list(value("as-list"), |word| word.parse().ok())?,
        origin_as: value("origin-as").map_or(Some(None), or_dash)?,
    };
    let blackhole = value("blackhole").is_some();
    let mut words = wire.split(' ');
    let family: Family = words.next()?.parse().ok()?;
    let nlri = Nlri::from_value(family, &hex::decode(words.next()?)?).ok()?;
    let actions = words.map(|word| Action::decode(community(&hex::decode(word)?)?).ok()).collect::<Option<_>>()?;
    let route = Route { actions, next_hop, facts, attributes: attributes.boxed() };
    Some(SnapshotPath { nlri: Arc::new(nlri), path_id, received, deadline, route: Arc::new(route), blackhole })
}

/// `None` if it is neither a value nor `-`.
fn or_dash<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
}

/// Values with commas between them; empty for none.
fn list<T>(text: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    match text {
        None | Some("-") => Some(Vec::new()),
        Some(text) => text.split(',').map(read).collect(),
    }
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
