//! Finds the entries that overlap, through their destinations and the values of the fields in which
//! most entries differ, instead of comparing all pairs.

use super::entry::OrderedEntry;
use flowspec::{IpVersion, Prefix, Space};
use std::collections::{BTreeMap, HashMap};

/// Entries indexed by what they match.
pub(super) struct OverlapIndex<'a> {
    entries: &'a [OrderedEntry<'a>],
    keys: Vec<(Network, Values)>,
    buckets: HashMap<Network, Bucket>,
    /// Lengths of destinations, of IPv4 and of IPv6, ascending.
    lengths: [Vec<u8>; 2],
    /// For entries whose destination is wider than that of a later one: those later ones. In the
    /// order of RFC 8955 there are none.
    wider: BTreeMap<usize, Vec<u32>>,
}

/// A destination; a pattern with an offset counts as no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network {
    version: IpVersion,
    length: u8,
    bits: u128,
}

/// The values that an entry requires in some fields; 0 for any or several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Values {
    /// Which of them it requires: a bit each, in this order.
    asked: u8,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
    source: u128,
}

/// The entries of one destination, by the fields that they require, and by the values there.
type Bucket = Vec<(u8, HashMap<Values, Vec<u32>>)>;

impl<'a> OverlapIndex<'a> {
    pub(super) fn new(entries: &'a [OrderedEntry<'a>]) -> Self {
        let keys: Vec<_> = entries.iter().map(|entry| (Network::of(entry.space), Values::of(entry.space))).collect();
        let mut index = OverlapIndex {
            entries,
            keys,
            buckets: HashMap::new(),
            lengths: [Vec::new(), Vec::new()],
            wider: BTreeMap::new(),
        };
        for (at, (network, values)) in (0u32..).zip(&index.keys) {
            let bucket = index.buckets.entry(*network).or_default();
            let place = bucket.iter().position(|(asked, _)| *asked == values.asked).unwrap_or_else(|| {
                bucket.push((values.asked, HashMap::new()));
                bucket.len() - 1
            });
            bucket[place].1.entry(*values).or_default().push(at);
        }
        for network in index.buckets.keys() {
            index.lengths[usize::from(network.version == IpVersion::V6)].push(network.length);
        }
        for lengths in &mut index.lengths {
            lengths.sort_unstable();
            lengths.dedup();
        }
        let mut wider: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for at in 0..entries.len() {
            let own = index.keys[at].0.length;
            index.candidates(at, |length, others| {
                let earlier = others.iter().map(|&other| other as usize).take_while(|other| *other < at);
                for other in earlier.filter(|_| length < own).filter(|&other| index.conflict(at, other)) {
                    // The number of entries is a u32.
                    wider.entry(other).or_default().push(at as u32);
                }
            });
        }
        index.wider = wider;
        index
    }

    /// Visits the later entries that may have to stay after this one; `visit` decides whether they
    /// overlap if that still matters.
    pub(super) fn later(&self, at: usize, mut visit: impl FnMut(usize, &dyn Fn() -> bool)) {
        self.candidates(at, |_, others| {
            let first = others.partition_point(|&other| other as usize <= at);
            for &other in &others[first..] {
                let other = other as usize;
                if self.entries[other].group != self.entries[at].group {
                    visit(other, &|| self.entries[at].space.overlaps(self.entries[other].space));
                }
            }
        });
        for &other in self.wider.get(&at).into_iter().flatten() {
            visit(other as usize, &|| true);
        }
    }

    fn conflict(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.entries[a], &self.entries[b]);
        a.group != b.group && a.space.overlaps(b.space)
    }

    /// Lists of entries with the same destination as this one or a wider one, ascending, with the
    /// length of that destination.
    fn candidates(&self, at: usize, mut visit: impl FnMut(u8, &[u32])) {
        let (network, values) = &self.keys[at];
        for &length in &self.lengths[usize::from(network.version == IpVersion::V6)] {
            if length > network.length {
                break;
            }
            for (asked, lists) in self.buckets.get(&network.widened(length)).into_iter().flatten() {
                if asked & !values.asked == 0 {
                    lists.get(&values.only(*asked)).into_iter().for_each(|list| visit(length, list));
                } else {
                    let common = asked & values.asked;
                    let wanted = values.only(common);
                    let fitting = lists.iter().filter(|(others, _)| others.only(common) == wanted);
                    fitting.for_each(|(_, list)| visit(length, list));
                }
            }
        }
    }
}

impl Network {
    fn of(space: &Space) -> Self {
        let version = space.version();
        match space.destination() {
            Some(Prefix::V4(net)) => {
                let bits = u128::from(u32::from(net.network())) << 96;
                Network { version, length: net.prefix_len(), bits }
            }
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 => {
                Network { version, length: pattern.length(), bits: pattern.bits() }
            }
            Some(Prefix::V6(_)) | None => Network { version, length: 0, bits: 0 },
        }
    }

    /// The network of this length that contains it.
    fn widened(self, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Network { length, bits: self.bits & mask, ..self }
    }
}

impl Values {
    fn of(space: &Space) -> Self {
        let port = |ports: Option<&flowspec::space::IntervalSet>| {
            ports.and_then(|ports| ports.single()).and_then(|port| u16::try_from(port).ok())
        };
        let source = match space.source() {
            Some(Prefix::V4(net)) if net.prefix_len() == 32 => Some(u128::from(u32::from(net.network()))),
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 && pattern.length() == 128 => Some(pattern.bits()),
            Some(Prefix::V4(_) | Prefix::V6(_)) | None => None,
        };
        let protocol = space.protocol().and_then(|protocols| protocols.single());
        let (source_port, destination_port) = (port(space.source_port()), port(space.destination_port()));
        let asked = [protocol.is_some(), source_port.is_some(), destination_port.is_some(), source.is_some()];
        Values {
            asked: (0..).zip(asked).fold(0, |bits, (bit, asked)| bits | u8::from(asked) << bit),
            protocol: protocol.unwrap_or(0),
            source_port: source_port.unwrap_or(0),
            destination_port: destination_port.unwrap_or(0),
            source: source.unwrap_or(0),
        }
    }

    /// The same, reduced to these fields.
    fn only(self, asked: u8) -> Self {
        let has = |bit: u8| asked & 1 << bit != 0;
        Values {
            asked,
            protocol: if has(0) { self.protocol } else { 0 },
            source_port: if has(1) { self.source_port } else { 0 },
            destination_port: if has(2) { self.destination_port } else { 0 },
            source: if has(3) { self.source } else { 0 },
        }
    }
}
