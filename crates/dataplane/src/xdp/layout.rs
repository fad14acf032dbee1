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

pub(super) const NODE_PROTECTED: u32 = 0;
pub(super) const NODE_WIDE: u32 = 1;

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
    struct Record4 { lo: u64, hi: u64, value: u64, mask: u64 } size 32
    /// A record of either IP version in memory of our own; IPv4 has its source in `value` and `mask`.
    struct Record { lo: u64, hi: u64, value: u64, mask: u64, source_value: [u64; 2], source_mask: [u64; 2] } size 64
    struct Chunk4 { record: [Record4; CHUNK] } size 128
    struct Chunk6 { record: [Record; CHUNK] } size 256
    struct ExtraList { start: u32, count: u16, field: u16 } size 8
    struct Extra {
        destination_value: [u64; 2], destination_mask: [u64; 2], list: [ExtraList; EXTRA_LISTS], count: u32, unused: [u32; 5],
    } size 128
    struct Interval { first: u32, last: u32 } size 8
    struct Slot4 { key: u64, descriptor: u64, unused: [u64; 2], record: Record4 } size 64
    struct Slot6 { key: [u64; 2], length: u64, descriptor: u64, record: Record, unused: [u64; 4] } size 128
    struct Pending { before: u64, after: u64 } size 16
    struct Tuple4 { k: u64, t: u64 } size 16
    struct Tuple6 { k: u64, t: u64, source: [u64; 2] } size 32
    struct Node4 { count: u32, unused: [u32; 3], tuple: [Tuple4; TUPLES] } size 256
    struct Node6 { count: u32, unused: [u32; 7], tuple: [Tuple6; TUPLES] } size 512
    struct RuleLine {
        label: [u64; 2], flags: u32, extra: u32, dscp: u32, target: u32, byte_full: u64, packet_full: u64, packet_cost: u64,
        byte_cost: u32, byte_shift: i32,
    } size 64
    struct CounterLine { packets: u64, bytes: u64, dropped: u64, unused: u64 } size 32
    struct Target { family: u32, address: [u32; 4], unused: [u32; 3] } size 32
    struct StatisticsLine { count: [u64; 16] } size 128
    struct Length6 { hi: u64, lo: u64, length: u32, unused: u32 } size 24
    struct View {
        groups4: [u32; 3], groups6: [u32; 4], has_protected4: u32, has_protected6: u32, unused: [u32; 7],
        lengths4: [[u8; 20]; 3], unused2: u32, lengths6: [[Length6; 65]; 4],
    } size 6368
    struct Control { generation: u32, floor: u32, unused: [u32; 14], view: [View; 2] } size 12800
    struct FilterWord { word: u64 } size 8
    struct IdLine { id: u64, packets: u64, bytes: u64, dropped: u64 } size 32
    struct SampleRecord {
        rule: u64, time: u64, interface: u32, frame_length: u32, captured: u32, unused: u32, octets: [u8; 128],
    } size 160
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

    pub(super) fn to4(self) -> Record4 {
        Record4 { lo: self.lo, hi: self.hi, value: self.value, mask: self.mask }
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

    pub(in crate::xdp) fn inline() -> u64 {
        PRESENT | INLINE | 1 << 22
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

    /// The bit of a hash in the filter.
    pub(super) fn filter_bit(hash: u64) -> u32 {
        hash as u32 & ((1 << FILTER_BITS) - 1)
    }

    pub(super) fn group4(self, destination: u32, shift: u32) -> u64 {
        self.mix(1 << 48 | u64::from(shift) << 40 | u64::from(destination >> shift))
    }

    pub(super) fn bucket4_key(prefix: u32, length: u8) -> u64 {
        1 << 40 | u64::from(length) << 32 | u64::from(prefix)
    }

    pub(super) fn group6(self, destination_hi: u64, bits: u32) -> u64 {
        self.mix(2 << 60 ^ u64::from(bits) << 40 ^ destination_hi >> (64 - bits))
    }

    pub(super) fn bucket6(self, hi: u64, lo: u64, length: u8) -> u64 {
        self.mix(self.mix(hi ^ u64::from(length) << 56) ^ lo)
    }

    pub(super) fn tuple_key(ipv6: bool, node: u32, tuple: usize, hash: u64) -> u64 {
        1 << 63 | u64::from(ipv6) << 62 | (u64::from(node) << 4 | tuple as u64) << 42 | hash >> 22
    }

    pub(super) fn tuple_index(key: u64, hash: u64) -> u32 {
        (hash ^ key >> 40) as u32
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
