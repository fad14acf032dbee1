//! What the program and the loader share: the memory layout. `bpf/layout.h` is the other half and explains it.

use super::memory::Plain;

pub(super) const LANE_SOURCE: u32 = 0;
pub(super) const LANE_DESTINATION: u32 = 18;
pub(super) const LANE_LENGTH: u32 = 36;
/// Bits of a lane's value, guard aside.
pub(super) const PORT_LANE: u64 = 0x1_ffff;
pub(super) const LENGTH_LANE: u64 = 0xffff;
/// What is added to an ICMP type or code.
pub(super) const ICMP: u32 = 0x1_0000;
const LANE_BITS: u32 = 53;

pub(super) const T_FLAGS_PRESENT: u32 = 12;
pub(super) const T_POSITION: u32 = 13;
pub(super) const T_DF: u32 = 17;
pub(super) const T_DSCP: u32 = 18;
pub(super) const T_PROTOCOL: u32 = 24;
pub(super) const T_LABEL: u32 = 32;
pub(super) const T_NO_PROTOCOL: u32 = 52;
/// Where the source address of IPv4 stands.
pub(super) const T_SOURCE4: u32 = 32;

pub(super) const META_RULE: u32 = 0xf_ffff;
pub(super) const META_EXTRA: u32 = 1 << 20;
pub(super) const META_DROP: u32 = 1 << 21;

pub(super) const CHUNK: usize = 4;
pub(super) const EXTRA_LISTS: usize = 9;
pub(super) const TUPLES: usize = 15;
pub(super) const PROBES: usize = 32;
pub(super) const MATCHES: usize = 1024;
pub(super) const FILTER_BITS: u32 = 21;
/// The most records of one list.
pub(super) const LIST_MAX: usize = 0xfff;

/// A note in the guard bits of `hi`: the next place has the source.
const HI_SOURCE: u64 = 1 << 52;
/// Records in a slot, and the places of a longer list that are for them: the last of those stays empty.
pub(super) const SLOT_RECORDS: usize = 7;
pub(super) const SLOT_PLACES: usize = 8;
/// In the place of a tuple's number.
const BY_SOURCE: u64 = 15;

/// The nodes that are always there: what is protected, and the rules without destination.
pub(super) const fn node_protected(ipv6: bool) -> u32 {
    ipv6 as u32
}

pub(super) const fn node_wide(ipv6: bool) -> u32 {
    2 + ipv6 as u32
}

/// The first node for a list that has become long.
pub(super) const NODES_FIXED: u32 = 4;

/// Fields of [`ExtraList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Field {
    SourcePort,
    DestinationPort,
    EitherPort,
    Length,
    Protocol,
    TcpFlags,
    Dscp,
    Fragment,
    Label,
}

macro_rules! shared {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty),* $(,)? } size $size:literal)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(C)]
            pub(super) struct $name { $(pub(super) $field: $type),* }

            const _: () = assert!(size_of::<$name>() == $size);

            // SAFETY: made of integers without padding (its size is asserted, and is the sum of its fields'), so any octets are a value.
            unsafe impl Plain for $name {}

            impl $name {
                #[allow(dead_code, reason = "some are only ever read")]
                pub(super) const ZERO: $name = {
                    // SAFETY: any octets are a value, zeros too.
                    unsafe { std::mem::zeroed() }
                };
            }
        )*
    };
}

shared! {
    /// A place of a list: a record, or the source of the one before.
    struct Place { lo: u64, hi: u64, value: u64, mask: u64 } size 32
    /// A record in memory of our own; IPv4 has its source in `value` and `mask`. In IPv6 it is a prefix, as a length and bits.
    struct Record { lo: u64, hi: u64, value: u64, mask: u64, source: [u64; 2], source_length: u64 } size 56
    struct Chunk { place: [Place; CHUNK] } size 128
    struct ExtraList { start: u32, count: u16, field: u16 } size 8
    struct Extra {
        destination_value: [u64; 2], destination_mask: [u64; 2], source_value: [u64; 2], source_mask: [u64; 2],
        list: [ExtraList; EXTRA_LISTS], count: u32, unused: [u32; 5],
    } size 160
    struct Interval { first: u32, last: u32 } size 8
    struct Slot { id: u64, descriptor: u64, address: [u64; 2], place: [Place; SLOT_RECORDS] } size 256
    struct Pending { before: u64, after: u64 } size 16
    struct TupleLine { k: u64, t: u64, source: [u64; 2] } size 32
    struct NodeLine { count: u32, classes: u32, early: u32, unused: [u32; 5], tuple: [TupleLine; TUPLES] } size 512
    struct RuleLine {
        label: [u64; 2], flags: u32, extra: u32, dscp: u32, target: u32, byte_full: u64, packet_full: u64, packet_cost: u64,
        byte_cost: u32, byte_shift: i32,
    } size 64
    struct CounterLine { packets: u64, bytes: u64, dropped: u64, unused: u64 } size 32
    struct Target { family: u32, address: [u32; 4], unused: [u32; 3] } size 32
    struct StatisticsLine { count: [u64; 16] } size 128
    struct Length6 { hi: u64, lo: u64, length: u32, unused: u32 } size 24
    struct View {
        groups4: [u32; GROUPS], groups6: [u32; GROUPS], has_protected4: u32, has_protected6: u32,
        lengths4: [[u8; 8]; GROUPS], lengths6: [[Length6; 63]; GROUPS],
    } size 12232
    struct Control { generation: u32, floor: u32, unused: [u32; 14], view: [View; 2] } size 24528
    struct FilterWord { word: u64 } size 8
    struct IdLine { id: u64, packets: u64, bytes: u64, dropped: u64 } size 32
    struct SampleRecord {
        rule: u64, time: u64, interface: u32, frame_length: u32, captured: u32, unused: u32, octets: [u8; 128],
    } size 160
}

/// Groups of prefix lengths, at most.
pub(super) const GROUPS: usize = 8;

/// The group of an IPv4 prefix length, and by how many bits the filter tells whether the group has anything nearby.
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
    pub(in crate::xdp) const DISCARD: u32 = 1;
    pub(in crate::xdp) const CONTINUE: u32 = 2;
    pub(in crate::xdp) const MARK: u32 = 4;
    pub(in crate::xdp) const SAMPLE: u32 = 8;
    pub(in crate::xdp) const REDIRECT: u32 = 16;
    pub(in crate::xdp) const RATE_BYTES: u32 = 32;
    pub(in crate::xdp) const RATE_PACKETS: u32 = 64;
}

impl Record {
    /// Puts the 22 bits of `meta` into the words where the lanes leave room.
    pub(super) fn with_meta(mut self, meta: u32) -> Self {
        let keep = (1u64 << LANE_BITS) - 1;
        self.lo = self.lo & keep | u64::from(meta & 0x7ff) << LANE_BITS;
        self.hi = self.hi & keep | u64::from(meta >> 11 & 0x7ff) << LANE_BITS;
        self
    }

    fn place(&self) -> Place {
        Place { lo: self.lo, hi: self.hi, value: self.value, mask: self.mask }
    }

    /// One place, or two.
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
    /// What matches no packet: its first lane has a lower bound above the upper one.
    pub(super) const EMPTY: Place = Place { lo: PORT_LANE, hi: 0, value: 0, mask: 0 };

    pub(super) fn words(self) -> [u64; 4] {
        [self.lo, self.hi, self.value, self.mask]
    }
}

/// A descriptor: where a list of records is, in one word.
pub(super) mod descriptor {
    const PENDING: u64 = 1 << 63;
    const PRESENT: u64 = 1 << 62;
    const NODE: u64 = 1 << 61;
    const INLINE: u64 = 1 << 60;

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

    /// With the first places in the slot, and the others from `start` on.
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

    /// What tells of several lengths at once; see [`group4`].
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

    /// The hash of what a source class looks at: the node, the class, and a source cut to the class's length.
    pub(super) fn source(self, ipv6: bool, node: u32, class: usize, source: [u64; 2]) -> u64 {
        let [hi, lo] = source;
        let salt = (u64::from(node) << 4 | class as u64) << 40;
        if ipv6 { self.mix(self.mix(hi ^ salt) ^ lo) } else { self.mix(salt | lo) }
    }

    pub(super) fn tuple_id(node: u32, tuple: usize, hash: u64) -> u64 {
        1 << 63 | (u64::from(node) << 4 | tuple as u64) << 42 | hash >> 22
    }

    pub(super) fn source_id(node: u32, class: usize, hash: u64) -> u64 {
        1 << 63 | (u64::from(node) << 4 | BY_SOURCE) << 42 | (class as u64) << 38 | hash >> 26
    }

    /// Where a node's list is looked for.
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
