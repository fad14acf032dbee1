//! The memory layout shared by the program and the loader. Constants and structures are read from
//! `bpf/layout.h`, which explains them, when this crate is built; the loader's operations on them
//! are here.

use super::memory::Plain;

include!(concat!(env!("OUT_DIR"), "/layout.rs"));

/// Bits of the length lane, without its guard bit.
pub(super) const LENGTH_LANE: u64 = 0xffff;

/// The most records of one list: the maximum of a descriptor's count.
pub(super) const LIST_MAX: usize = 0xfff;

/// The node of protected packets.
pub(super) const fn node_protected(ipv6: bool) -> u32 {
    if ipv6 { NODE_PROTECTED6 } else { NODE_PROTECTED4 }
}

/// The node of the rules without destination.
pub(super) const fn node_wide(ipv6: bool) -> u32 {
    if ipv6 { NODE_WIDE6 } else { NODE_WIDE4 }
}

/// Fields of [`ExtraList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Field {
    SourcePort = FIELD_SOURCE_PORT,
    DestinationPort = FIELD_DESTINATION_PORT,
    EitherPort = FIELD_EITHER_PORT,
    Length = FIELD_LENGTH,
    Protocol = FIELD_PROTOCOL,
    TcpFlags = FIELD_TCP_FLAGS,
    Dscp = FIELD_DSCP,
    Fragment = FIELD_FRAGMENT,
    Label = FIELD_LABEL,
}

/// A record in our own memory. IPv4 has its source in `value` and `mask`, IPv6 as a prefix length
/// and bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) lo: u64,
    pub(super) hi: u64,
    pub(super) value: u64,
    pub(super) mask: u64,
    pub(super) source: [u64; 2],
    pub(super) source_length: u64,
}

/// A word of `struct filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct FilterWord {
    pub(super) word: u64,
}

// SAFETY: an integer.
unsafe impl Plain for FilterWord {}

/// The group of an IPv4 prefix length, and the number of bits by which the filter tells whether the
/// group has anything nearby.
pub(super) fn group4(length: u8) -> (usize, Option<u32>) {
    match length {
        32.. => (0, None),
        25.. => (1, Some(24)),
        24 => (2, None),
        20.. => (3, Some(20)),
        16.. => (4, Some(16)),
        8.. => (5, Some(8)),
        _ => (6, None),
    }
}

/// The same for IPv6.
pub(super) fn group6(length: u8) -> (usize, Option<u32>) {
    match length {
        128.. => (0, None),
        65.. => (1, Some(64)),
        64 => (2, None),
        49.. => (3, Some(48)),
        48 => (4, None),
        33.. => (5, Some(32)),
        32 => (6, None),
        _ => (7, None),
    }
}

/// Flags of a [`RuleLine`].
pub(super) mod flag {
    pub(in crate::xdp) const DISCARD: u32 = super::RULE_DISCARD;
    pub(in crate::xdp) const CONTINUE: u32 = super::RULE_CONTINUE;
    pub(in crate::xdp) const MARK: u32 = super::RULE_MARK;
    pub(in crate::xdp) const SAMPLE: u32 = super::RULE_SAMPLE;
    pub(in crate::xdp) const REDIRECT: u32 = super::RULE_REDIRECT;
    pub(in crate::xdp) const RATE_BYTES: u32 = super::RULE_RATE_BYTES;
    pub(in crate::xdp) const RATE_PACKETS: u32 = super::RULE_RATE_PACKETS;
}

impl Record {
    /// Puts the 22 bits of `meta` into the words where the lanes have room.
    pub(super) fn with_meta(mut self, meta: u32) -> Self {
        let keep = (1u64 << LANE_BITS) - 1;
        self.lo = self.lo & keep | u64::from(meta & 0x7ff) << LANE_BITS;
        self.hi = self.hi & keep | u64::from(meta >> 11 & 0x7ff) << LANE_BITS;
        self
    }

    fn place(&self) -> Place {
        Place { lo: self.lo, hi: self.hi, value: self.value, mask: self.mask }
    }

    /// Size in places: one or two.
    pub(super) fn places(&self) -> (Place, Option<Place>) {
        let place = self.place();
        if self.source_length == 0 {
            return (place, None);
        }
        let [hi, lo] = self.source;
        let source = Place { hi: self.source_length, value: hi, mask: lo, ..Place::EMPTY };
        (Place { hi: place.hi | HI_SOURCE, ..place }, Some(source))
    }
}

impl Place {
    /// A record that matches no packet: the lower bound of its first lane is above the upper one.
    pub(super) const EMPTY: Place = Place { lo: PORT_LANE, hi: 0, value: 0, mask: 0 };

    pub(super) fn words(self) -> [u64; 4] {
        [self.lo, self.hi, self.value, self.mask]
    }
}

/// A descriptor: the location of a list of records, in one word.
pub(super) mod descriptor {
    use super::{D_INLINE as INLINE, D_NODE as NODE, D_PENDING as PENDING, D_PRESENT as PRESENT};

    /// Two descriptors, one for even and one for odd generations.
    pub(in crate::xdp) fn pending(number: usize) -> u64 {
        PENDING | number as u64
    }

    pub(in crate::xdp) fn list(start: u32, count: usize) -> u64 {
        PRESENT | u64::from(start & 0x3f_ffff) | ((count as u64) & 0xfff) << 22
    }

    pub(in crate::xdp) fn node(number: u32) -> u64 {
        PRESENT | NODE | u64::from(number & 0x3f_ffff)
    }

    /// With the first records in the slot, and the others from `start` on.
    pub(in crate::xdp) fn inline(start: u32, count: usize) -> u64 {
        list(start, count) | INLINE
    }

    pub(in crate::xdp) fn with_parent(descriptor: u64, slot: Option<u32>) -> u64 {
        descriptor | slot.map_or(0, |slot| u64::from(slot + 1) << 34)
    }
}

/// The program's hash functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    pub(super) fn mix(self, x: u64) -> u64 {
        let x = (x ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^ x.swap_bytes()
    }

    /// The bits of a hash in the filter, both in one word.
    pub(super) fn filter_bits(hash: u64) -> [u32; 2] {
        let word = hash as u32 & ((1 << FILTER_BITS) - 1) & !63;
        [word | hash as u32 & 63, word | (hash >> FILTER_BITS) as u32 & 63]
    }

    /// The filter for several lengths at once; see [`group4`].
    pub(super) fn group4(self, destination: u32, group: usize, bits: u32) -> u64 {
        self.mix(1 << 48 | (group as u64) << 40 | u64::from(destination) >> (32 - bits))
    }

    pub(super) fn bucket4_id(prefix: u32, length: u8) -> u64 {
        1 << 40 | u64::from(length) << 32 | u64::from(prefix)
    }

    pub(super) fn bucket6_id(length: u8) -> u64 {
        1 << 62 | u64::from(length)
    }

    pub(super) fn group6(self, destination_hi: u64, group: usize, bits: u32) -> u64 {
        self.mix((8 | group as u64) << 60 ^ destination_hi >> (64 - bits))
    }

    pub(super) fn bucket6(self, hi: u64, lo: u64, length: u8) -> u64 {
        self.mix(self.mix(hi ^ u64::from(length) << 56) ^ lo)
    }

    /// The hash for a source class: the node, the class, and a source cut to the class's length.
    pub(super) fn source(self, ipv6: bool, node: u32, class: usize, source: [u64; 2]) -> u64 {
        let [hi, lo] = source;
        let salt = (u64::from(node) << 4 | class as u64) << 40;
        if ipv6 { self.mix(self.mix(hi ^ salt) ^ lo) } else { self.mix(salt | lo) }
    }

    /// The hash for a tuple, the same for a record and the packets that it matches.
    pub(super) fn tuple(self, ipv6: bool, lanes: u64, t: u64, source: [u64; 2]) -> u64 {
        let value = self.mix(self.mix(lanes) ^ t);
        if !ipv6 {
            return value;
        }
        let [hi, lo] = source;
        self.mix(self.mix(value ^ hi) ^ lo)
    }

    pub(super) fn tuple_id(node: u32, tuple: usize, hash: u64) -> u64 {
        1 << 63 | (u64::from(node) << 4 | tuple as u64) << 42 | hash >> 22
    }

    pub(super) fn source_id(node: u32, class: usize, hash: u64) -> u64 {
        1 << 63 | (u64::from(node) << 4 | BY_SOURCE) << 42 | (class as u64) << 38 | hash >> 26
    }

    /// The slot of a node's list.
    pub(super) fn part_index(id: u64, hash: u64) -> u32 {
        (hash ^ id >> 40) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn short_prefixes_in_high_bits_are_spread() {
        let hash = Hash(0x1234_5678_9abc_def1);
        for shift in [51, 48, 40, 32, 20, 0] {
            let places: HashSet<u64> = (0..4096u64).map(|n| hash.mix(n << shift) & 0x3_ffff).collect();
            assert!(places.len() > 3500, "{} places at {shift}", places.len());
        }
    }
}
