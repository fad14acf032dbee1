//! The encoding of the records of a state file, with a checksum.
//!
//! ```text
//! mark (4) | length of the payload (4) | CRC-32 of length and payload (4) | payload: kind (1), the rest by kind
//! ```
//!
//! Numbers are big-endian. After a damaged record, decoding continues at the next magic number.

use super::contents::{Origin, Pause, RetainedFamily};
use crate::clock::{ClockMark, WallTrust};
use engine::route::{AsPathFacts, PathFacts, RouteAttributes};
use engine::{Route, RouteFamily, SnapshotPath, Timestamp};
use flowspec::{Action, Community, Family, IpVersion, Nlri, PathId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The first octets of each record.
const MAGIC: [u8; 4] = [0xf1, 0x0d, 0x6a, 0x7e];

/// Octets before the payload.
pub(super) const HEADER: usize = 12;

/// The longest valid payload: a rule of 200 peers with all the actions that fit into a message.
const LONGEST: usize = 16 << 20;

/// A record. Each replaces an earlier one about the same thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// All paths of a rule; no paths mean that it was withdrawn.
    Rule {
        /// Its match part.
        nlri: Arc<Nlri>,
        /// Its paths.
        paths: Vec<(Origin, SnapshotPath)>,
    },
    /// Filtering is paused, or is not.
    Pause(Option<Pause>),
    /// The rules of all peers were removed.
    ForgetPeers,
    /// The time.
    Clock(ClockMark),
    /// For how long the rules of a peer are retained; no families if none are.
    Retained {
        /// The peer's address.
        peer: IpAddr,
        /// The families whose rules are retained.
        families: Vec<RetainedFamily>,
    },
}

/// The kinds, as encoded.
const RULE: u8 = 1;
const PAUSE: u8 = 2;
const FORGET_PEERS: u8 = 3;
const CLOCK: u8 = 4;
const RETAINED: u8 = 5;

/// Flags: which fields of a path are encoded.
mod has {
    pub(super) const PATH_ID: u16 = 1;
    pub(super) const DEADLINE: u16 = 1 << 1;
    pub(super) const NEXT_HOP_V4: u16 = 1 << 2;
    pub(super) const NEXT_HOP_V6: u16 = 1 << 3;
    pub(super) const LEFTMOST_AS: u16 = 1 << 4;
    pub(super) const INTERNAL: u16 = 1 << 5;
    pub(super) const LOCAL_PREF: u16 = 1 << 6;
    pub(super) const MED: u16 = 1 << 7;
    pub(super) const ORIGINATOR: u16 = 1 << 8;
    pub(super) const NO_LLGR: u16 = 1 << 9;
    pub(super) const LLGR_STALE: u16 = 1 << 10;
    /// After the actions: communities, large communities, AS_PATH and ORIGIN.
    pub(super) const ATTRIBUTES: u16 = 1 << 11;
    pub(super) const BLACKHOLE: u16 = 1 << 12;
    pub(super) const KNOWN: u16 = (1 << 13) - 1;
}

impl Record {
    /// Appends it.
    pub fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Record::Rule { nlri, paths } => {
                encode_rule(to, nlri, paths.iter().map(|(origin, path)| (*origin, path)));
            }
            Record::Pause(pause) => framed(to, |to| {
                to.push(PAUSE);
                to.push(u8::from(pause.is_some()));
                let until = pause.as_ref().and_then(|pause| pause.until);
                to.push(u8::from(until.is_some()));
                to.extend(until.unwrap_or_default().0.to_be_bytes());
            }),
            Record::ForgetPeers => framed(to, |to| to.push(FORGET_PEERS)),
            Record::Retained { peer, families } => framed(to, |to| {
                to.push(RETAINED);
                encode_address(to, *peer);
                for retained in families {
                    to.push(route_family_number(retained.family));
                    to.extend(retained.since.0.to_be_bytes());
                    for time in [retained.until, retained.long_lived_until] {
                        to.push(u8::from(time.is_some()));
                        to.extend(time.unwrap_or_default().0.to_be_bytes());
                    }
                }
            }),
            Record::Clock(mark) => framed(to, |to| {
                to.push(CLOCK);
                for number in [mark.time, mark.since_boot, mark.wall] {
                    to.extend(number.to_be_bytes());
                }
                to.extend(mark.boot_id.to_be_bytes());
                to.push(match mark.trust {
                    WallTrust::None => 0,
                    WallTrust::Synchronized => 1,
                    WallTrust::Reckoned => 2,
                });
            }),
        }
    }

    /// Decodes a payload; `None` if it is not valid.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let record = match reader.u8()? {
            RULE => reader.rule()?,
            PAUSE => {
                let paused = reader.flag()?;
                let limited = reader.flag()?;
                let until = reader.u64()?;
                Record::Pause(paused.then(|| Pause { until: limited.then_some(Timestamp(until)) }))
            }
            FORGET_PEERS => Record::ForgetPeers,
            RETAINED => reader.retained()?,
            CLOCK => {
                let (time, since_boot, wall) = (reader.u64()?, reader.u64()?, reader.u64()?);
                let boot_id = u128::from_be_bytes(reader.array()?);
                let trust = match reader.u8()? {
                    0 => WallTrust::None,
                    1 => WallTrust::Synchronized,
                    2 => WallTrust::Reckoned,
                    _ => return None,
                };
                Record::Clock(ClockMark { time, since_boot, wall, boot_id, trust })
            }
            _ => return None,
        };
        reader.0.is_empty().then_some(record)
    }
}

/// Appends a [`Record::Rule`].
pub fn encode_rule<'a>(to: &mut Vec<u8>, nlri: &Nlri, paths: impl Iterator<Item = (Origin, &'a SnapshotPath)>) {
    framed(to, |to| {
        to.push(RULE);
        to.push(family_number(nlri.family()));
        // An NLRI has at most 4095 octets.
        to.extend((nlri.as_bytes().len() as u16).to_be_bytes());
        to.extend(nlri.as_bytes());
        paths.for_each(|(origin, path)| encode_path(to, origin, path));
    });
}

fn encode_path(to: &mut Vec<u8>, origin: Origin, path: &SnapshotPath) {
    let facts = &path.route.facts;
    match origin {
        Origin::Local => to.push(0),
        Origin::Peer(address) => encode_address(to, address),
    }
    let flags = [
        (path.path_id.is_some(), has::PATH_ID),
        (path.deadline.is_some(), has::DEADLINE),
        (path.route.next_hop.is_some_and(|address| address.is_ipv4()), has::NEXT_HOP_V4),
        (path.route.next_hop.is_some_and(|address| address.is_ipv6()), has::NEXT_HOP_V6),
        (facts.as_path.leftmost.is_some(), has::LEFTMOST_AS),
        (facts.as_path.internal, has::INTERNAL),
        (facts.local_pref.is_some(), has::LOCAL_PREF),
        (facts.med.is_some(), has::MED),
        (facts.originator.is_some(), has::ORIGINATOR),
        (facts.no_llgr, has::NO_LLGR),
        (facts.llgr_stale, has::LLGR_STALE),
        (path.route.attributes.is_some(), has::ATTRIBUTES),
        (path.blackhole, has::BLACKHOLE),
    ];
    let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
    to.extend(flags.to_be_bytes());
    to.push(facts.origin as u8);
    to.extend(facts.as_path.length.to_be_bytes());
    to.extend(facts.cluster_list_length.to_be_bytes());
    to.extend(path.received.0.to_be_bytes());
    to.extend(path.deadline.iter().flat_map(|deadline| deadline.0.to_be_bytes()));
    match path.route.next_hop {
        Some(IpAddr::V4(address)) => to.extend(address.octets()),
        Some(IpAddr::V6(address)) => to.extend(address.octets()),
        None => {}
    }
    let numbers = [
        path.path_id.map(|id| id.0),
        facts.as_path.leftmost,
        facts.local_pref,
        facts.med,
        facts.originator.map(u32::from),
    ];
    to.extend(numbers.into_iter().flatten().flat_map(u32::to_be_bytes));
    // A BGP message has at most 65535 octets, and each action takes 8.
    to.extend((path.route.actions.len() as u16).to_be_bytes());
    for action in &path.route.actions {
        let community = action.encode();
        to.push(community.as_bytes().len() as u8);
        to.extend(community.as_bytes());
    }
    if let Some(attributes) = path.route.attributes.as_deref() {
        encode_attributes(to, attributes);
    }
}

fn encode_address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            to.push(4);
            to.extend(address.octets());
        }
        IpAddr::V6(address) => {
            to.push(6);
            to.extend(address.octets());
        }
    }
}

fn encode_attributes(to: &mut Vec<u8>, attributes: &RouteAttributes) {
    let RouteAttributes { communities, large_communities, as_path, origin_as } = attributes;
    // As above: the attributes of one message fit.
    to.extend((communities.len() as u16).to_be_bytes());
    to.extend(communities.iter().flat_map(|number| number.to_be_bytes()));
    to.extend((large_communities.len() as u16).to_be_bytes());
    to.extend(large_communities.iter().flatten().flat_map(|number| number.to_be_bytes()));
    to.extend((as_path.len() as u16).to_be_bytes());
    to.extend(as_path.iter().flat_map(|number| number.to_be_bytes()));
    // AS number 0 is not valid.
    to.extend(origin_as.unwrap_or(0).to_be_bytes());
}

fn framed(to: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend(MAGIC);
    to.extend([0; HEADER - MAGIC.len()]);
    payload(to);
    let length = ((to.len() - start - HEADER) as u32).to_be_bytes();
    let checksum = checksum(length, &to[start + HEADER..]).to_be_bytes();
    to[start + 4..start + 8].copy_from_slice(&length);
    to[start + 8..start + HEADER].copy_from_slice(&checksum);
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// What is at a position of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A complete record, and what follows it.
    Record(&'a [u8], &'a [u8]),
    /// The beginning of a truncated record; or only zeros, as a file system leaves after a crash.
    Torn,
    /// Anything else.
    Damaged,
}

pub(super) fn decode_at(octets: &[u8]) -> Found<'_> {
    let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else {
        let mark = &octets[..octets.len().min(MAGIC.len())];
        return if MAGIC.starts_with(mark) || octets.iter().all(|octet| *octet == 0) {
            Found::Torn
        } else {
            Found::Damaged
        };
    };
    if !header.starts_with(&MAGIC) {
        return if octets.iter().all(|octet| *octet == 0) { Found::Torn } else { Found::Damaged };
    }
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let length = u32::from_be_bytes(word(4)) as usize;
    match rest.split_at_checked(length).filter(|_| length <= LONGEST) {
        Some((payload, after)) if checksum(word(4), payload) == u32::from_be_bytes(word(8)) => {
            Found::Record(payload, after)
        }
        None if length <= LONGEST => Found::Torn,
        Some(_) | None => Found::Damaged,
    }
}

/// The position of the next complete record.
pub(super) fn next_record(octets: &[u8]) -> Option<usize> {
    let places = octets.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC).map(|(at, _)| at);
    places.into_iter().find(|&at| matches!(decode_at(&octets[at..]), Found::Record(..)))
}

const fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 0,
        Family::Vpnv4 => 1,
        Family::Ipv6 => 2,
        Family::Vpnv6 => 3,
    }
}

const fn route_family_number(family: RouteFamily) -> u8 {
    match family {
        RouteFamily::Flow(family) => family_number(family),
        RouteFamily::Unicast(IpVersion::V4) => 4,
        RouteFamily::Unicast(IpVersion::V6) => 5,
    }
}

const fn route_family(number: u8) -> Option<RouteFamily> {
    Some(match number {
        0 => RouteFamily::Flow(Family::Ipv4),
        1 => RouteFamily::Flow(Family::Vpnv4),
        2 => RouteFamily::Flow(Family::Ipv6),
        3 => RouteFamily::Flow(Family::Vpnv6),
        4 => RouteFamily::Unicast(IpVersion::V4),
        5 => RouteFamily::Unicast(IpVersion::V6),
        _ => return None,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A value that is present if the flag is set.
    fn when<T>(&mut self, set: bool, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if set { read(self).map(Some) } else { Some(None) }
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => Some(Ipv4Addr::from(self.array()?).into()),
            6 => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => None,
        }
    }

    fn time_if_there(&mut self) -> Option<Option<Timestamp>> {
        let is_there = self.flag()?;
        let time = Timestamp(self.u64()?);
        Some(is_there.then_some(time))
    }

    fn retained(&mut self) -> Option<Record> {
        let peer = self.address()?;
        let mut families = Vec::new();
        while !self.0.is_empty() {
            families.push(RetainedFamily {
                family: route_family(self.u8()?)?,
                since: Timestamp(self.u64()?),
                until: self.time_if_there()?,
                long_lived_until: self.time_if_there()?,
            });
        }
        Some(Record::Retained { peer, families })
    }

    fn rule(&mut self) -> Option<Record> {
        let RouteFamily::Flow(family) = route_family(self.u8()?)? else { return None };
        let length = usize::from(self.u16()?);
        let nlri = Arc::new(Nlri::from_value(family, self.take(length)?).ok()?);
        let mut paths = Vec::new();
        while !self.0.is_empty() {
            paths.push(self.path(&nlri)?);
        }
        Some(Record::Rule { nlri, paths })
    }

    fn path(&mut self, nlri: &Arc<Nlri>) -> Option<(Origin, SnapshotPath)> {
        let announced_by = match self.u8()? {
            0 => Origin::Local,
            4 => Origin::Peer(Ipv4Addr::from(self.array()?).into()),
            6 => Origin::Peer(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => return None,
        };
        let flags = self.u16()?;
        if flags & !has::KNOWN != 0 {
            return None;
        }
        let has = |flag| flags & flag != 0;
        let origin = match self.u8()? {
            0 => engine::route::Origin::Igp,
            1 => engine::route::Origin::Egp,
            2 => engine::route::Origin::Incomplete,
            _ => return None,
        };
        let (as_path_length, cluster_list_length) = (self.u32()?, self.u32()?);
        let received = Timestamp(self.u64()?);
        let deadline = self.when(has(has::DEADLINE), Self::u64)?.map(Timestamp);
        let v4 = self.when(has(has::NEXT_HOP_V4), |it| it.array().map(Ipv4Addr::from))?;
        let v6 = self.when(has(has::NEXT_HOP_V6), |it| it.array::<16>().map(Ipv6Addr::from))?;
        let path_id = self.when(has(has::PATH_ID), Self::u32)?.map(PathId);
        let leftmost = self.when(has(has::LEFTMOST_AS), Self::u32)?;
        let local_pref = self.when(has(has::LOCAL_PREF), Self::u32)?;
        let med = self.when(has(has::MED), Self::u32)?;
        let originator = self.when(has(has::ORIGINATOR), Self::u32)?.map(Ipv4Addr::from);
        let mut actions = Vec::new();
        for _ in 0..self.u16()? {
            let community = match self.u8()? {
                8 => Community::Extended(self.array()?),
                20 => Community::Ipv6(self.array()?),
                _ => return None,
            };
            actions.push(Action::decode(community).ok()?);
        }
        let as_path = AsPathFacts { length: as_path_length, leftmost, internal: has(has::INTERNAL) };
        let facts = PathFacts {
            origin,
            as_path,
            local_pref,
            med,
            originator,
            cluster_list_length,
            no_llgr: has(has::NO_LLGR),
            llgr_stale: has(has::LLGR_STALE),
            route_loop: None,
        };
        let next_hop = v4.map(IpAddr::from).or(v6.map(IpAddr::from));
        let attributes = self.when(has(has::ATTRIBUTES), Self::attributes)?.and_then(RouteAttributes::boxed);
        let route = Arc::new(Route { actions, next_hop, facts, attributes });
        let blackhole = has(has::BLACKHOLE);
        let path = SnapshotPath { nlri: Arc::clone(nlri), path_id, received, deadline, route, blackhole };
        Some((announced_by, path))
    }

    fn attributes(&mut self) -> Option<RouteAttributes> {
        let communities = self.list(Self::u32)?;
        let large_communities = self.list(|it| Some([it.u32()?, it.u32()?, it.u32()?]))?;
        let as_path = self.list(Self::u32)?;
        let origin_as = Some(self.u32()?).filter(|asn| *asn != 0);
        Some(RouteAttributes { communities, large_communities, as_path, origin_as })
    }

    /// As many values as the preceding number says.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.u16()?).map(|_| read(self)).collect()
    }
}
