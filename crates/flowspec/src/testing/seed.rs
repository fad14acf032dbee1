//! The random numbers of this module.

/// A small pseudo-random sequence (splitmix64); the same on every machine and in every release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Seed(number)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Multiply and shift; the bias is far too small to matter here.
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number of `first..=last`; `first` when that is empty.
    pub fn within(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// True in this many cases of a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of `choices`; `None` if there is none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        choices.get(self.below(choices.len() as u64) as usize).copied()
    }

    /// A sequence of its own, for a part of the work.
    pub fn fork(&mut self) -> Seed {
        Seed(self.next_u64())
    }
}
