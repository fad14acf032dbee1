//! Sets of TCP flags: truth tables over the bits that matter, and their cover by value/mask pairs.

use super::bits::accepts;
use crate::op::BitmaskOp;

/// The twelve bits: the low nibble of octet 12 of the TCP header, and octet 13.
pub(super) const FIELD: u16 = 0x0fff;

/// A set of values of the twelve bits behind TCP's data offset: the low nibble of header octet 12
/// and octet 13 (FIN 0x001, SYN 0x002, RST 0x004, PSH 0x008, ACK 0x010, URG 0x020, ECE 0x040, CWR
/// 0x080). Equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlagSet {
    /// The bits on which membership depends, and no others.
    support: u16,
    /// Truth table: bit n is for the n-th combination of the support's bits.
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
    #[must_use]
    pub const fn contains(self, flags: u16) -> bool {
        flags & self.mask == self.value
    }
}

impl TcpFlagSet {
    /// All 4096 values.
    #[must_use]
    pub fn full() -> Self {
        TcpFlagSet { support: 0, table: Box::from([1]) }
    }

    /// The values that the list accepts (RFC 8955 §4.2.2.9). A two-octet value may ask for bits of
    /// the data offset, which count as zero.
    #[must_use]
    pub fn from_ops(ops: impl Iterator<Item = BitmaskOp>) -> Self {
        let ops: Vec<BitmaskOp> = ops.collect();
        // Bits beyond the field are 0 in the data, so they decide a pair but are no variable.
        let support = ops.iter().fold(0, |bits, op| bits | op.value as u16) & FIELD;
        TcpFlagSet::tabulate(support, |flags| accepts(ops.iter().copied(), u64::from(flags)))
    }

    /// The set of `flags` for which `member` holds, if that depends on the bits of `support` only.
    pub(super) fn tabulate(support: u16, member: impl Fn(u16) -> bool) -> Self {
        let mut truth: Vec<bool> = combinations(support).map(member).collect();
        let mut kept = 0;
        let mut at = 0;
        for bit in bits(support) {
            if influence(&truth, at) > 0 {
                kept |= bit;
                at += 1;
            } else {
                truth = cofactor(&truth, at, false);
            }
        }
        let word = |members: &[bool]| members.iter().rev().fold(0u64, |word, &member| word << 1 | u64::from(member));
        TcpFlagSet { support: kept, table: truth.chunks(64).map(word).collect() }
    }

    /// Whether `flags` are in it; only the low twelve bits count.
    #[must_use]
    pub fn contains(&self, flags: u16) -> bool {
        let n = bits(self.support).enumerate().fold(0, |n, (at, bit)| n | usize::from(flags & bit != 0) << at);
        self.table.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 != 0)
    }

    /// The bits on which membership depends.
    #[must_use]
    pub const fn support(&self) -> u16 {
        self.support
    }

    /// Whether no value is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.support == 0 && *self.table == [0]
    }

    /// Whether all 4096 values are in it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.support == 0 && *self.table == [1]
    }

    /// Number of values, of 4096.
    #[must_use]
    pub fn values(&self) -> u32 {
        let ones: u32 = self.table.iter().map(|word| word.count_ones()).sum();
        ones << (FIELD & !self.support).count_ones()
    }

    /// Values of both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        TcpFlagSet::tabulate(self.support | other.support, |flags| self.contains(flags) && other.contains(flags))
    }

    /// Whether some value is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        combinations(self.support | other.support).any(|flags| self.contains(flags) && other.contains(flags))
    }

    /// Whether every value of `other` is in `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        combinations(self.support | other.support).all(|flags| self.contains(flags) || !other.contains(flags))
    }

    /// The same set as disjoint value/mask pairs: few, though not always the fewest.
    #[must_use]
    pub fn cubes(&self) -> Vec<Cube> {
        let mut cubes = Vec::new();
        self.each_cube(&mut |cube| cubes.push(cube));
        cubes
    }

    /// How many pairs [`cubes`](Self::cubes) gives.
    #[must_use]
    pub fn cubes_len(&self) -> u64 {
        let mut count = 0;
        self.each_cube(&mut |_| count += 1);
        count
    }

    fn each_cube(&self, found: &mut impl FnMut(Cube)) {
        let truth: Vec<bool> = combinations(self.support).map(|flags| self.contains(flags)).collect();
        let free: Vec<u16> = bits(self.support).collect();
        split(&truth, &free, Cube { value: 0, mask: 0 }, found);
    }
}

/// Shannon expansion: cuts the cube `within` at the bit that decides most often, until membership
/// is the same all over each part. `truth` is the table of the cube, over its `free` bits.
fn split(truth: &[bool], free: &[u16], within: Cube, found: &mut impl FnMut(Cube)) {
    let best = (0..free.len()).map(|at| (influence(truth, at), at)).max().filter(|&(influence, _)| influence > 0);
    let Some((_, at)) = best else {
        if truth.first() == Some(&true) {
            found(within);
        }
        return;
    };
    let bit = free[at];
    let rest: Vec<u16> = free.iter().copied().filter(|&other| other != bit).collect();
    for set in [false, true] {
        let value = within.value | if set { bit } else { 0 };
        split(&cofactor(truth, at, set), &rest, Cube { value, mask: within.mask | bit }, found);
    }
}

/// For how many combinations of the other bits the bit with index `at` decides.
fn influence(truth: &[bool], at: usize) -> usize {
    let half = 1 << at;
    truth.chunks(2 * half).map(|block| (0..half).filter(|&n| block[n] != block[n + half]).count()).sum()
}

/// The table with the bit with index `at` fixed.
fn cofactor(truth: &[bool], at: usize, set: bool) -> Vec<bool> {
    let half = 1 << at;
    let start = if set { half } else { 0 };
    truth.chunks(2 * half).flat_map(|block| &block[start..start + half]).copied().collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Width;

    fn numbers(number: u64) -> impl FnMut(u64) -> u64 {
        let mut seed = crate::testing::Seed::new(number);
        move |end| seed.below(end)
    }

    fn random_ops(below: &mut impl FnMut(u64) -> u64) -> Vec<BitmaskOp> {
        let widest = [0x40, 0x100, 0x1000, 0x1_0000][below(4) as usize];
        (0..=below(4))
            .map(|n| BitmaskOp {
                and: n > 0 && below(2) == 0,
                not: below(2) == 0,
                all: below(2) == 0,
                value: below(widest),
                width: Width::Two,
            })
            .collect()
    }

    #[test]
    fn every_value_is_in_the_set_that_the_list_accepts() {
        let mut below = numbers(1);
        for _ in 0..300 {
            let ops = random_ops(&mut below);
            let set = TcpFlagSet::from_ops(ops.iter().copied());
            let members: Vec<u16> = (0..0x1000).filter(|&flags| accepts(ops.clone(), flags.into())).collect();
            assert!((0..0x1000u16).filter(|&flags| set.contains(flags)).eq(members.iter().copied()), "{ops:?}");
            assert_eq!(set.values() as usize, members.len());
            assert_eq!((set.is_empty(), set.is_full()), (members.is_empty(), members.len() == 4096));
            let cubes = set.cubes();
            assert_eq!(cubes.len() as u64, set.cubes_len());
            for flags in 0..0x1000 {
                let in_cubes = cubes.iter().filter(|cube| cube.contains(flags)).count();
                assert_eq!(in_cubes, usize::from(set.contains(flags)), "disjoint, and all of it");
            }
        }
    }

    #[test]
    fn relations_are_those_of_the_values() {
        let mut below = numbers(2);
        for _ in 0..200 {
            let a = TcpFlagSet::from_ops(random_ops(&mut below).into_iter());
            let b = TcpFlagSet::from_ops(random_ops(&mut below).into_iter());
            let all = 0..0x1000u16;
            assert_eq!(a.covers(&b), all.clone().all(|flags| a.contains(flags) || !b.contains(flags)));
            assert_eq!(a.overlaps(&b), all.clone().any(|flags| a.contains(flags) && b.contains(flags)));
            let both = a.intersect(&b);
            assert!(all.clone().all(|flags| both.contains(flags) == (a.contains(flags) && b.contains(flags))));
            assert_eq!(a == b, all.clone().all(|flags| a.contains(flags) == b.contains(flags)), "canonical");
        }
    }

    #[test]
    fn usual_lists_take_few_cubes() {
        let all = |value| BitmaskOp::new(true, value);
        let any = |value| BitmaskOp::new(false, value);
        let cubes = |ops: &[BitmaskOp]| TcpFlagSet::from_ops(ops.iter().copied()).cubes_len();
        assert_eq!(cubes(&[all(0x02), all(0x10).negated().and()]), 1, "syn and not ack");
        assert_eq!(cubes(&[any(0x3f).negated()]), 1, "none of six");
        assert_eq!(cubes(&[any(0x12)]), 2, "syn or ack");
        assert_eq!(cubes(&[all(0xff).negated()]), 8);
        assert_eq!(cubes(&[all(0)]), 1, "always");
        assert_eq!(cubes(&[any(0)]), 0, "never");
        assert_eq!(TcpFlagSet::full().cubes(), [Cube { value: 0, mask: 0 }]);
    }
}
