//! What a policer lets through, for tests of rates.

use std::time::{Duration, Instant};

/// A token bucket, full at the beginning.
#[derive(Debug)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl TokenBucket {
    /// So many units a second, and so many at once.
    #[must_use]
    pub fn new(rate: f64, burst: f64) -> Self {
        TokenBucket { rate, burst, tokens: burst, last: Instant::now() }
    }

    /// Whether a packet of so many units passes now.
    pub fn lets_through(&mut self, units: f64) -> bool {
        let now = Instant::now();
        self.lets_through_after(units, now.duration_since(self.last), now)
    }

    fn lets_through_after(&mut self, units: f64, since: Duration, now: Instant) -> bool {
        self.tokens = self.rate.mul_add(since.as_secs_f64(), self.tokens).min(self.burst);
        self.last = now;
        let passes = self.tokens >= units;
        if passes {
            self.tokens -= units;
        }
        passes
    }

    /// The time that the rate takes for so many units.
    #[must_use]
    pub fn time_for(&self, units: f64) -> Duration {
        Duration::from_secs_f64(units / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = TokenBucket::new(10.0, 3.0);
        let now = Instant::now();
        let mut after = |milliseconds| bucket.lets_through_after(1.0, Duration::from_millis(milliseconds), now);
        assert_eq!(
            [after(0), after(0), after(0), after(0), after(50), after(50)],
            [true, true, true, false, false, true]
        );
        assert_eq!([after(10_000), after(0), after(0), after(0)], [true, true, true, false], "no more than the burst");
    }
}
