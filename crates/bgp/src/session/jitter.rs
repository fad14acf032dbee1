//! Random numbers for timers (RFC 4271 §10): from a seed, so that tests are reproducible.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Jitter(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between three quarters of `time` and all of it.
    pub(crate) fn shorten(&mut self, time: Duration) -> Duration {
        let fraction = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        time.mul_f64(0.75 + fraction / 4.0)
    }

    /// One of 0 to `count` - 1; `count` is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_its_quarter_and_differs_by_seed() {
        let time = Duration::from_secs(100);
        let of = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..100).map(|_| jitter.shorten(time)).collect::<Vec<_>>()
        };
        assert!(of(1).iter().all(|t| (Duration::from_secs(75)..=time).contains(t)));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
