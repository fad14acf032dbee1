//! How many entries of a data plane a space takes, counted without making them.

use super::{IntervalSet, Space};

/// How an entry of a data plane can say what a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Any set: one entry.
    Set,
    /// One interval: an entry for each.
    Range,
    /// A value and a mask: an entry for each prefix, or for each cube of TCP flags.
    Masked,
    /// A single value: an entry for each.
    Exact,
}

impl Encoding {
    /// Entries for a set of numbers. An empty set takes none.
    pub fn count(self, set: &IntervalSet) -> u64 {
        match self {
            Encoding::Set => u64::from(!set.is_empty()),
            Encoding::Range => set.len() as u64,
            Encoding::Masked => set.masked_len(),
            Encoding::Exact => set.values(),
        }
    }
}

/// What one entry of a data plane can say, field by field. Every entry is a conjunction of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryShape {
    /// Protocols.
    pub protocol: Encoding,
    /// Source and destination ports.
    pub ports: Encoding,
    /// Whether an entry can ask for source *or* destination port. If not, it takes entries for each.
    pub either_port: bool,
    /// ICMP types and codes.
    pub icmp: Encoding,
    /// TCP flags; [`Encoding::Range`] counts as [`Encoding::Exact`].
    pub tcp_flags: Encoding,
    /// Packet lengths.
    pub length: Encoding,
    /// DSCPs.
    pub dscp: Encoding,
    /// Kinds of fragment: one entry for all with [`Encoding::Set`], else one each.
    pub fragment: Encoding,
    /// Flow labels.
    pub label: Encoding,
}

impl EntryShape {
    /// Every field in the same encoding.
    pub const fn uniform(encoding: Encoding, either_port: bool) -> Self {
        EntryShape {
            protocol: encoding,
            ports: encoding,
            either_port,
            icmp: encoding,
            tcp_flags: encoding,
            length: encoding,
            dscp: encoding,
            fragment: encoding,
            label: encoding,
        }
    }
}

impl Space {
    /// Entries that the whole space takes: the cross product of its fields, saturating. An empty space takes none. A fragment
    /// constraint that only says what an upper-layer field implies is taken to cost nothing.
    pub fn entry_count(&self, shape: &EntryShape) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let number = |set: Option<&IntervalSet>, encoding: Encoding| set.map_or(1, |set| encoding.count(set));
        let either = if shape.either_port { 1 } else { 2 };
        let factors = [
            self.protocol().map_or(1, |set| shape.protocol.count(&set.to_intervals())),
            self.port().map_or(1, |set| shape.ports.count(set).saturating_mul(either)),
            number(self.destination_port(), shape.ports),
            number(self.source_port(), shape.ports),
            number(self.icmp_type(), shape.icmp),
            number(self.icmp_code(), shape.icmp),
            self.tcp_flags().map_or(1, |set| match shape.tcp_flags {
                Encoding::Set => 1,
                Encoding::Masked => set.cubes_len(),
                Encoding::Range | Encoding::Exact => u64::from(set.values()),
            }),
            number(self.length(), shape.length),
            self.dscp().map_or(1, |set| shape.dscp.count(&set.to_intervals())),
            match self.fragment() {
                Some(kinds) if !self.fragment_is_implied() && shape.fragment != Encoding::Set => u64::from(kinds.len()),
                _ => 1,
            },
            number(self.label(), shape.label),
        ];
        factors.into_iter().fold(1, u64::saturating_mul)
    }

    /// Whether the fragment constraint says no more than that the upper-layer header is there, which an upper-layer field implies.
    pub fn fragment_is_implied(&self) -> bool {
        let guard = super::FragmentSet::WITH_L4_HEADER.intersect(super::FragmentSet::possible(self.version));
        self.fields.has_any(super::Fields::L4) && self.fragment == guard
    }
}
