//! Sets of TCP flags: truth tables over the bits that matter, and their cover by value/mask pairs.

use super::bits::accepts;
use crate::op::BitmaskOp;

/// The twelve bits: the low nibble of octet 12 of the TCP header, and octet 13.
const FIELD: u16 = 0x0fff;

/// A set of values of the twelve bits behind TCP's data offset: the low nibble of header octet 12 and octet 13 (FIN 0x001, SYN 0x002,
/// RST 0x004, PSH 0x008, ACK 0x010, URG 0x020, ECE 0x040, CWR 0x080). Equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlagSet {
    /// The bits on which membership depends, and no others.
    support: u16,
    /// Truth table: bit n tells for the n-th combination of the support's bits.
    table: Box<[u64]>,
}

/// The values with `value & mask` equal to `self.value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cube {
    /// The wanted bits; zero outside of `mask`.
    pub value: u16,
    /// The compared bits, within 0x0fff.
    pub mask: u16,
}

impl Cube {
    /// Whether `flags` are in it.
    pub const fn contains(self, flags: u16) -> bool {
        flags & self.mask == self.value
    }
}

impl TcpFlagSet {
    /// All 4096 values.
    pub fn full() -> Self {
        TcpFlagSet { support: 0, table: Box::from([1]) }
    }

    /// The values that the list accepts (RFC 8955 §4.2.2.9). A two-octet value may ask for bits of the data offset, which count
    /// as zero.
    pub fn from_ops(ops: impl Iterator<Item = BitmaskOp> + Clone) -> Self {
        // Bits beyond the field are 0 in the data, so they decide a pair but are no variable.
        let support = ops.clone().fold(0, |bits, op| bits | op.value as u16) & FIELD;
        TcpFlagSet::tabulate(support, |flags| accepts(ops.clone(), u64::from(flags)))
    }

    /// The set of `flags` for which `member` holds, if that depends on the bits of `support` only.
    fn tabulate(support: u16, member: impl Fn(u16) -> bool) -> Self {
        // Asked once for each combination: `member` may walk two thousand operators.
        let mut members = vec![false; usize::from(FIELD) + 1];
        combinations(support).for_each(|flags| members[usize::from(flags)] = member(flags));
        let member = |flags: u16| members[usize::from(flags)];
        let support =
            bits(support).filter(|&bit| combinations(support & !bit).any(|flags| member(flags) != member(flags | bit)));
        let support = support.fold(0, |bits, bit| bits | bit);
        let mut table = vec![0u64; (1usize << support.count_ones()).div_ceil(64)];
        for (n, flags) in combinations(support).enumerate() {
            table[n / 64] |= u64::from(member(flags)) << (n % 64);
        }
        TcpFlagSet { support, table: table.into() }
    }

    /// Whether `flags` are in it; only the low twelve bits count.
    pub fn contains(&self, flags: u16) -> bool {
        let n = bits(self.support).enumerate().fold(0, |n, (at, bit)| n | usize::from(flags & bit != 0) << at);
        self.table.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 != 0)
    }

    /// The bits on which membership depends.
    pub const fn support(&self) -> u16 {
        self.support
    }

    /// Whether no value is in it.
    pub fn is_empty(&self) -> bool {
        self.support == 0 && *self.table == [0]
    }

    /// Whether all 4096 values are in it.
    pub fn is_full(&self) -> bool {
        self.support == 0 && *self.table == [1]
    }

    /// Number of values, of 4096.
    pub fn values(&self) -> u32 {
        let ones: u32 = self.table.iter().map(|word| word.count_ones()).sum();
        ones << (FIELD & !self.support).count_ones()
    }

    /// Values of both.
    pub fn intersect(&self, other: &Self) -> Self {
        TcpFlagSet::tabulate(self.support | other.support, |flags| self.contains(flags) && other.contains(flags))
    }

    /// Whether some value is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        combinations(self.support | other.support).any(|flags| self.contains(flags) && other.contains(flags))
    }

    /// Whether every value of `other` is in `self`.
    pub fn covers(&self, other: &Self) -> bool {
        combinations(self.support | other.support).all(|flags| self.contains(flags) || !other.contains(flags))
    }

    /// The same set as disjoint value/mask pairs: few, though not always the fewest.
    pub fn cubes(&self) -> Vec<Cube> {
        let mut cubes = Vec::new();
        self.split(Cube { value: 0, mask: 0 }, &mut |cube| cubes.push(cube));
        cubes
    }

    /// How many pairs [`cubes`](Self::cubes) gives.
    pub fn cubes_len(&self) -> u64 {
        let mut count = 0;
        self.split(Cube { value: 0, mask: 0 }, &mut |_| count += 1);
        count
    }

    /// Shannon expansion: cuts `within` at the bit that leaves the most of its two halves decided, until all are.
    fn split(&self, within: Cube, found: &mut impl FnMut(Cube)) {
        let free = self.support & !within.mask;
        let mut members = combinations(free).map(|flags| self.contains(flags | within.value));
        let first = members.next().unwrap_or(false);
        if members.all(|member| member == first) {
            if first {
                found(within);
            }
            return;
        }
        let halves = |bit: u16| [0, bit].map(|value| Cube { value: within.value | value, mask: within.mask | bit });
        let undecided = |cube: Cube| {
            let free = self.support & !cube.mask;
            bits(free).map(|bit| self.differs(free & !bit, cube.value, bit)).map(u32::from).sum::<u32>()
        };
        let best = bits(free).min_by_key(|&bit| halves(bit).map(undecided).into_iter().sum::<u32>());
        for half in best.map(halves).into_iter().flatten() {
            self.split(half, found);
        }
    }

    /// Whether `bit` decides membership somewhere in the cube.
    fn differs(&self, others: u16, value: u16, bit: u16) -> bool {
        combinations(others).any(|flags| self.contains(flags | value) != self.contains(flags | value | bit))
    }
}

/// The single bits of `of`, ascending.
fn bits(of: u16) -> impl Iterator<Item = u16> + Clone {
    (0..16).map(|at| 1 << at).filter(move |bit| of & bit != 0)
}

/// Every combination of the bits of `of`, ascending.
fn combinations(of: u16) -> impl Iterator<Item = u16> {
    let mut next = Some(0u16);
    std::iter::from_fn(move || {
        let now = next?;
        next = if now == of { None } else { Some((now | !of).wrapping_add(1) & of) };
        Some(now)
    })
}
