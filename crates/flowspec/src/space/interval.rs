//! Sets of numbers as sorted intervals: what a list of numeric operators (RFC 8955 §4.2.1.1)
//! accepts.

use crate::op::{Comparison, NumericOp};

/// A set of numbers: disjoint inclusive intervals, ascending, with a gap between any two. Equal
/// sets are equal values.
///
/// The set does not know its domain; operations that need it take the domain's largest value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalSet {
    intervals: Box<[(u32, u32)]>,
}

impl IntervalSet {
    /// The set without a number.
    #[must_use]
    pub fn empty() -> Self {
        IntervalSet::default()
    }

    /// `0..=max`.
    #[must_use]
    pub fn full(max: u32) -> Self {
        IntervalSet::range(0, max)
    }

    /// `first..=last`; empty when `first > last`.
    #[must_use]
    pub fn range(first: u32, last: u32) -> Self {
        let intervals = if first <= last { Box::from([(first, last)]) } else { Box::default() };
        IntervalSet { intervals }
    }

    /// The numbers of `0..=max` that the list accepts. AND binds tighter than OR; values beyond
    /// `max` are compared as they are, so `=70000` accepts no port and `<70000` every port.
    #[must_use]
    pub fn from_ops(ops: impl IntoIterator<Item = NumericOp>, max: u32) -> Self {
        let mut accepted = Vec::new();
        let mut group: Option<IntervalSet> = None;
        for op in ops {
            let set = IntervalSet::from_op(op, max);
            group = match group {
                Some(terms) if op.and => Some(terms.intersect(&set)),
                finished => {
                    accepted.extend(finished.iter().flat_map(IntervalSet::iter));
                    Some(set)
                }
            };
        }
        accepted.extend(group.iter().flat_map(IntervalSet::iter));
        accepted.into_iter().collect()
    }

    fn from_op(op: NumericOp, max: u32) -> Self {
        let below = |value: u64| value.checked_sub(1).map_or(IntervalSet::empty(), |last| upto(last, max));
        match op.comparison {
            Comparison::False => IntervalSet::empty(),
            Comparison::True => IntervalSet::full(max),
            Comparison::Equal => from(op.value, max).intersect(&upto(op.value, max)),
            Comparison::NotEqual => below(op.value).union(&above(op.value, max)),
            Comparison::Less => below(op.value),
            Comparison::LessOrEqual => upto(op.value, max),
            Comparison::Greater => above(op.value, max),
            Comparison::GreaterOrEqual => from(op.value, max),
        }
    }

    /// Whether the set has `value`.
    #[must_use]
    pub fn contains(&self, value: u32) -> bool {
        let at = self.intervals.partition_point(|&(_, last)| last < value);
        self.intervals.get(at).is_some_and(|&(first, _)| first <= value)
    }

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Whether it is all of `0..=max`.
    #[must_use]
    pub fn is_full(&self, max: u32) -> bool {
        *self.intervals == [(0, max)]
    }

    /// Number of intervals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Number of numbers.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// The smallest and the largest number, if there is one.
    #[must_use]
    pub fn bounds(&self) -> Option<(u32, u32)> {
        Some((self.intervals.first()?.0, self.intervals.last()?.1))
    }

    /// The only number, if there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<u32> {
        match *self.intervals {
            [(first, last)] if first == last => Some(first),
            _ => None,
        }
    }

    /// The intervals, `(first, last)`, ascending.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + DoubleEndedIterator + Clone + '_ {
        self.intervals.iter().copied()
    }

    /// Numbers of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Numbers of both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut intervals = Vec::new();
        let (mut a, mut b) = (&*self.intervals, &*other.intervals);
        while let (&[(a_first, a_last), ..], &[(b_first, b_last), ..]) = (a, b) {
            let (first, last) = (a_first.max(b_first), a_last.min(b_last));
            if first <= last {
                intervals.push((first, last));
            }
            if a_last < b_last {
                a = &a[1..];
            } else {
                b = &b[1..];
            }
        }
        IntervalSet { intervals: intervals.into() }
    }

    /// Whether some number is in both; `intersect` without making the set.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut a, mut b) = (&*self.intervals, &*other.intervals);
        while let (&[(a_first, a_last), ..], &[(b_first, b_last), ..]) = (a, b) {
            if a_first.max(b_first) <= a_last.min(b_last) {
                return true;
            }
            if a_last < b_last {
                a = &a[1..];
            } else {
                b = &b[1..];
            }
        }
        false
    }

    /// Numbers of `0..=max` that are not in it.
    #[must_use]
    pub fn complement(&self, max: u32) -> Self {
        let mut intervals = Vec::with_capacity(self.len() + 1);
        let mut next = Some(0);
        for (first, last) in self.iter() {
            if let Some(start) = next.filter(|&start| start < first && start <= max) {
                intervals.push((start, max.min(first - 1)));
            }
            next = last.checked_add(1);
        }
        if let Some(start) = next.filter(|&start| start <= max) {
            intervals.push((start, max));
        }
        IntervalSet { intervals: intervals.into() }
    }

    /// Numbers of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersect(&other.complement(u32::MAX))
    }

    /// Whether every number of `other` is in `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(first, last)| {
            let at = self.intervals.partition_point(|&(_, own_last)| own_last < last);
            self.intervals.get(at).is_some_and(|&(own_first, _)| own_first <= first)
        })
    }

    /// The same set as the fewest prefixes of `bits`-bit numbers, ascending: `(value, mask)`, a
    /// number is in it when `number & mask == value`. `bits` is at most 32, and every number must
    /// have at most so many bits.
    pub fn masked(&self, bits: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let field = u64::from(u32::MAX) >> (32 - bits.min(32));
        self.iter().flat_map(|(first, last)| Blocks { next: u64::from(first), end: u64::from(last) + 1 }).map(
            move |(value, size)| {
                // Both fit: they come from numbers below 2^32.
                (value as u32, (!(size - 1) & field) as u32)
            },
        )
    }

    /// How many pairs [`masked`](Self::masked) gives, counted without making them.
    #[must_use]
    pub fn masked_len(&self) -> u64 {
        self.iter()
            .map(|(first, last)| Blocks { next: u64::from(first), end: u64::from(last) + 1 }.count() as u64)
            .sum()
    }
}

/// Makes a set of intervals in any order, overlapping or not; those with `first > last` are empty.
impl FromIterator<(u32, u32)> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(intervals: I) -> Self {
        let mut sorted: Vec<(u32, u32)> = intervals.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        IntervalSet { intervals: sorted.into() }
    }
}

fn upto(last: u64, max: u32) -> IntervalSet {
    IntervalSet::full(u32::try_from(last).unwrap_or(u32::MAX).min(max))
}

fn from(first: u64, max: u32) -> IntervalSet {
    u32::try_from(first).map_or(IntervalSet::empty(), |first| IntervalSet::range(first, max))
}

fn above(value: u64, max: u32) -> IntervalSet {
    value.checked_add(1).map_or(IntervalSet::empty(), |first| from(first, max))
}

/// The aligned power-of-two blocks that make up `next..end`, as `(start, size)`.
struct Blocks {
    next: u64,
    end: u64,
}

impl Iterator for Blocks {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let left = self.end.checked_sub(self.next).filter(|&left| left > 0)?;
        let fits = 1u64 << left.ilog2();
        let aligned = if self.next == 0 { fits } else { 1u64 << self.next.trailing_zeros() };
        let block = (self.next, fits.min(aligned));
        self.next += block.1;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Comparison as C;

    const MAX: u32 = 31;

    fn numbers(number: u64) -> impl FnMut(u64) -> u64 {
        let mut seed = crate::testing::Seed::new(number);
        move |end| seed.below(end)
    }

    fn random_ops(below: &mut impl FnMut(u64) -> u64) -> Vec<NumericOp> {
        (0..=below(5))
            .map(|n| NumericOp {
                and: n > 0 && below(2) == 0,
                ..NumericOp::new(
                    C::from_operator(below(8) as u8),
                    [below(33), below(33), 1 << 32, u64::MAX][below(4) as usize],
                )
            })
            .collect()
    }

    fn accepts(ops: &[NumericOp], data: u64) -> bool {
        ops.chunk_by(|_, next| next.and).any(|group| group.iter().all(|op| op.comparison.holds(data, op.value)))
    }

    fn assert_canonical(set: &IntervalSet) {
        assert!(set.iter().all(|(first, last)| first <= last));
        assert!(set.intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{set:?}");
    }

    #[test]
    fn every_number_is_in_the_set_that_the_list_accepts() {
        let mut below = numbers(3);
        for _ in 0..20_000 {
            let ops = random_ops(&mut below);
            let set = IntervalSet::from_ops(ops.iter().copied(), MAX);
            assert_canonical(&set);
            for value in 0..=MAX {
                assert_eq!(set.contains(value), accepts(&ops, value.into()), "{ops:?} {value}");
            }
            assert!(!set.contains(MAX + 1));
            let prefixes: Vec<_> = set.masked(5).collect();
            assert_eq!(prefixes.len() as u64, set.masked_len());
            for value in 0..=MAX {
                let hits = prefixes.iter().filter(|&&(bits, mask)| value & mask == bits).count();
                assert_eq!(hits, usize::from(set.contains(value)), "{set:?} {prefixes:?}");
            }
            assert_eq!(set.values() as usize, (0..=MAX).filter(|&value| set.contains(value)).count());
        }
    }

    #[test]
    fn algebra_is_that_of_the_numbers() {
        let mut below = numbers(4);
        for _ in 0..20_000 {
            let a = IntervalSet::from_ops(random_ops(&mut below), MAX);
            let b = IntervalSet::from_ops(random_ops(&mut below), MAX);
            let sets = [a.union(&b), a.intersect(&b), a.complement(MAX), a.difference(&b)];
            sets.iter().for_each(assert_canonical);
            for value in 0..=MAX {
                let (in_a, in_b) = (a.contains(value), b.contains(value));
                let expected = [in_a || in_b, in_a && in_b, !in_a, in_a && !in_b];
                assert_eq!(sets.each_ref().map(|set| set.contains(value)), expected, "{a:?} {b:?} {value}");
            }
            assert_eq!(a.covers(&b), (0..=MAX).all(|value| a.contains(value) || !b.contains(value)));
            assert_eq!(a.overlaps(&b), !a.intersect(&b).is_empty());
            assert_eq!(a.is_full(MAX), a.complement(MAX).is_empty());
        }
    }

    #[test]
    fn whole_words_do_not_overflow() {
        let full = IntervalSet::full(u32::MAX);
        assert!(full.complement(u32::MAX).is_empty() && full.is_full(u32::MAX));
        assert_eq!(full.masked(32).collect::<Vec<_>>(), [(0, 0)]);
        let one = IntervalSet::range(u32::MAX, u32::MAX);
        assert_eq!(one.masked(32).collect::<Vec<_>>(), [(u32::MAX, u32::MAX)]);
        assert_eq!(one.complement(u32::MAX), IntervalSet::range(0, u32::MAX - 1));
        assert_eq!(IntervalSet::range(1, 65534).masked_len(), 30);
        assert_eq!(IntervalSet::from_ops([NumericOp::new(C::Greater, u64::MAX)], u32::MAX), IntervalSet::empty());
    }
}
