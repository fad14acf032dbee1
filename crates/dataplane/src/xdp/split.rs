//! Keys to split a long list by: the source, cut to one of a few lengths, and masks of the key.

use super::layout::{
    LANE_DESTINATION, LANE_LENGTH, LANE_SOURCE, LENGTH_LANE, PORT_LANE, Record, T_PROTOCOL, T_SOURCE4,
};

/// Lengths that IPv4 and IPv6 sources are cut to, longest first. The last class contains everything
/// shorter.
const CLASSES4: [u32; CLASSES] = [32, 28, 24, 20, 16, 14, 12, 10, 8, 0];
const CLASSES6: [u32; CLASSES - 1] = [128, 64, 56, 48, 40, 32, 24, 16, 0];
/// Source classes of a node, at most.
pub(super) const CLASSES: usize = 10;
/// The most lists of a tuple for one record: a range of ports is in a list for each block of ports
/// that it overlaps.
const BLOCKS_MAX: usize = 4;
/// Sizes of such blocks, in bits.
const BLOCK_BITS: [u32; 4] = [0, 4, 8, 12];

/// The class of a record's source, and the source as input of the class's hash. `None` without
/// source.
pub(super) fn source_class(record: &Record, ipv6: bool) -> Option<(usize, [u64; 2])> {
    if ipv6 {
        let length = record.source_length as u32;
        let class = CLASSES6.iter().position(|&class| class <= length).filter(|_| length > 0)?;
        return Some((class, cut(record.source, mask6(CLASSES6[class]))));
    }
    let length = ((record.mask >> T_SOURCE4) as u32).leading_ones();
    let class = CLASSES4.iter().position(|&class| class <= length).filter(|_| length > 0)?;
    Some((class, [0, record.value >> T_SOURCE4 >> (32 - CLASSES4[class])]))
}

/// A mask of the key that a tuple compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TupleMask {
    pub(super) k: u64,
    pub(super) t: u64,
    pub(super) source: [u64; 2],
}

/// The values that packets of a record have under a mask: one value of everything but the lanes,
/// and a few of those.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    k: [u64; BLOCKS_MAX],
    count: usize,
    pub(super) t: u64,
    pub(super) source: [u64; 2],
}

impl Values {
    /// The values of the lanes.
    pub(super) fn lanes(&self) -> &[u64] {
        &self.k[..self.count]
    }
}

impl TupleMask {
    pub(super) const NONE: TupleMask = TupleMask { k: 0, t: 0, source: [0; 2] };

    /// Everything that a record's packets can be looked up by.
    fn finest(record: &Record) -> Self {
        let length =
            if (record.lo ^ record.hi) >> LANE_LENGTH & LENGTH_LANE == 0 { LENGTH_LANE << LANE_LENGTH } else { 0 };
        TupleMask { k: length | ports(record), t: record.mask, source: mask6(record.source_length as u32) }
    }

    /// Everything but the source, which the list may share already. For the first few kinds of
    /// records in a list.
    pub(super) fn kind(record: &Record, ipv6: bool) -> Self {
        let finest = Self::finest(record);
        let t = if ipv6 { finest.t } else { finest.t & ((1 << T_SOURCE4) - 1) };
        TupleMask { t, source: [0; 2], ..finest }
    }

    /// Masks for a record, coarse ones first. Each tuple costs every packet a lookup, so many kinds
    /// of records share the first: the source, cut to one of few lengths; else a port, or a range
    /// of them; else the protocol. With `source_known` all records of the list have nearly the same
    /// source.
    pub(super) fn choices(record: &Record, ipv6: bool, source_known: bool) -> [Self; 3] {
        let finest = Self::finest(record);
        let source4 = if ipv6 { 0 } else { u64::from(cut4((finest.t >> T_SOURCE4) as u32)) << T_SOURCE4 };
        let source = mask6(cut6(record.source_length as u32));
        let (from, to) = (lane(record, LANE_SOURCE).0, lane(record, LANE_DESTINATION).0);
        let exact =
            [from, to].into_iter().find(|&k| [LANE_SOURCE, LANE_DESTINATION].iter().any(|l| k == PORT_LANE << l));
        let port = exact.or([to, from].into_iter().find(|&k| k != 0));
        let protocol = finest.t & 0xff << T_PROTOCOL;
        let coarse = if !source_known && (source4 != 0 || source != [0; 2]) {
            TupleMask { t: source4, source, ..Self::NONE }
        } else if let Some(k) = port {
            TupleMask { k, ..Self::NONE }
        } else {
            TupleMask { t: protocol, ..Self::NONE }
        };
        let middle = TupleMask { k: ports(record), t: source4 | protocol, source };
        [coarse, middle, finest]
    }

    /// The values of a record's packets under this mask. `None` if they are not a few values.
    pub(super) fn values(&self, record: &Record) -> Option<Values> {
        let source_mask = mask6(record.source_length as u32);
        if self.t & !record.mask != 0 || (0..2).any(|n| self.source[n] & !source_mask[n] != 0) {
            return None;
        }
        let one_length = LENGTH_LANE << LANE_LENGTH;
        if self.k & one_length != 0 && (record.lo ^ record.hi) & one_length != 0 {
            return None;
        }
        let mut values =
            Values { k: [0; BLOCKS_MAX], count: 0, t: record.value & self.t, source: cut(record.source, self.source) };
        let blocks = [LANE_SOURCE, LANE_DESTINATION].map(|lane| {
            let mask = self.k >> lane & PORT_LANE;
            let size = 1 << mask.trailing_zeros().min(17);
            let [first, last] = [record.lo, record.hi].map(|word| word >> lane & mask);
            (lane, first, last.saturating_sub(first) / size + 1, size)
        });
        let [(a, first_a, count_a, size_a), (b, first_b, count_b, size_b)] = blocks;
        if count_a * count_b > BLOCKS_MAX as u64 {
            return None;
        }
        for n in 0..count_a {
            for m in 0..count_b {
                values.k[values.count] =
                    record.lo & self.k & one_length | (first_a + n * size_a) << a | (first_b + m * size_b) << b;
                values.count += 1;
            }
        }
        Some(values)
    }
}

fn cut(words: [u64; 2], mask: [u64; 2]) -> [u64; 2] {
    [words[0] & mask[0], words[1] & mask[1]]
}

/// The bits of a lane that name the block of ports of a record's range, and the number of blocks;
/// uses the smallest blocks of which it overlaps only a few.
fn lane(record: &Record, lane: u32) -> (u64, u64) {
    let [first, last] = [record.lo, record.hi].map(|word| word >> lane & PORT_LANE);
    if last < first {
        return (0, 1);
    }
    let blocks = |bits: u32| (last >> bits) - (first >> bits) + 1;
    let few = |bits: &u32| blocks(*bits) <= if *bits == 0 { 1 } else { 3 };
    let found = BLOCK_BITS.into_iter().find(few);
    found.map_or((0, 1), |bits| ((PORT_LANE >> bits << bits) << lane, blocks(bits)))
}

/// The bits of both port lanes; of the second alone if both together are too many blocks.
fn ports(record: &Record) -> u64 {
    let (from, to) = (lane(record, LANE_SOURCE), lane(record, LANE_DESTINATION));
    if from.1 * to.1 > BLOCKS_MAX as u64 { to.0 } else { from.0 | to.0 }
}

/// An IPv4 mask, cut to a length of 32, 24, 16, 8 or none.
fn cut4(mask: u32) -> u32 {
    match mask.leading_ones() {
        32 => mask,
        24.. => 0xffff_ff00,
        16.. => 0xffff_0000,
        8.. => 0xff00_0000,
        _ => 0,
    }
}

/// A length, cut to 128, 64, 48, 32, 16 or none.
fn cut6(length: u32) -> u32 {
    [128, 64, 48, 32, 16].into_iter().find(|&cut| cut <= length).unwrap_or(0)
}

/// The mask of a length.
fn mask6(length: u32) -> [u64; 2] {
    let mask = if length == 0 { 0 } else { u128::MAX << (128 - length.min(128)) };
    [(mask >> 64) as u64, mask as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdp::record::records;
    use flowspec::space::Space;

    fn record(text: &str) -> Record {
        let rule: flowspec::Rule = format!("{text} then discard").parse().unwrap();
        records(&Space::of(&rule.nlri), false).records[0]
    }

    #[test]
    fn sources_are_cut_to_few_lengths() {
        let cut: Vec<u32> =
            [32, 31, 24, 23, 8, 7, 0].map(|l: u32| cut4((u64::MAX << (32 - l)) as u32).leading_ones()).into();
        assert_eq!(cut, [32, 24, 24, 16, 8, 0, 0]);
        assert_eq!([128, 127, 64, 63, 15].map(cut6), [128, 64, 64, 48, 0]);
        assert_eq!(mask6(65), [u64::MAX, 1 << 63]);
    }

    #[test]
    fn classes_of_sources() {
        let class = |text: &str| source_class(&record(text), text.starts_with("ipv6"));
        assert_eq!(class("src 192.0.2.1/32 proto udp"), Some((0, [0, 0xc000_0201])));
        assert_eq!(class("src 192.0.2.0/27 proto udp"), Some((2, [0, 0xc0_0002])));
        assert_eq!(class("src 128.0.0.0/1 proto udp"), Some((9, [0, 0])));
        assert_eq!(class("proto udp"), None);
        assert_eq!(class("ipv6 src 2001:db8::/47 proto udp"), Some((4, [0x2001_0db8 << 32, 0])));
        assert_eq!(class("ipv6 src 2001:db8::1/128 proto udp"), Some((0, [0x2001_0db8 << 32, 1])));
        assert_eq!(class("ipv6 proto udp"), None);
    }

    #[test]
    fn masks_of_tuples() {
        let record = record("proto udp sport 53");
        let [coarse, middle, fine] = TupleMask::choices(&record, false, false);
        assert_eq!((coarse.k, coarse.t), (PORT_LANE, 0));
        assert_eq!(middle, fine);
        assert_eq!((fine.k, fine.t), (PORT_LANE, 0xff << T_PROTOCOL));
        for mask in [TupleMask::NONE, coarse, fine] {
            assert_eq!(mask.values(&record).unwrap().lanes(), [53 & mask.k]);
        }
        let other = TupleMask { k: PORT_LANE << LANE_DESTINATION, ..TupleMask::NONE };
        assert!(other.values(&record).is_none());
    }

    #[test]
    fn a_range_of_ports_is_in_a_few_blocks() {
        let record = record("proto udp dport 250-520");
        let [coarse, ..] = TupleMask::choices(&record, false, false);
        assert_eq!(coarse.k, 0x1_ff00 << LANE_DESTINATION);
        let blocks: Vec<u64> = [0, 0x100, 0x200].map(|block| block << LANE_DESTINATION).into();
        assert_eq!(coarse.values(&record).unwrap().lanes(), blocks);
    }
}
