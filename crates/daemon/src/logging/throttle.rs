//! A few lines a second about what others can cause as often as they like; the rest is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Lines that are let through within [`WINDOW`].
const FEW: u32 = 5;

/// How long the few must do.
const WINDOW: Duration = Duration::from_secs(1);

/// Lets a few through a second and counts the rest, by kind.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    began: Option<Instant>,
    reported: u32,
    left_out: BTreeMap<&'static str, u64>,
}

impl Throttle {
    /// Whether something of this kind may be said now; if not, it is counted.
    pub(crate) fn admit(&mut self, kind: &'static str, now: Instant) -> bool {
        // What was left out is to be said before the next few.
        let over = self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW);
        if over && self.left_out.is_empty() {
            (self.began, self.reported) = (Some(now), 0);
        }
        if self.reported < FEW {
            self.reported += 1;
            return true;
        }
        *self.left_out.entry(kind).or_default() += 1;
        false
    }

    /// What was left out, in words, once the time of the few is over.
    pub(crate) fn summary(&mut self, now: Instant) -> Option<String> {
        let began = self.began.filter(|began| now.saturating_duration_since(*began) >= WINDOW)?;
        if self.left_out.is_empty() {
            return None;
        }
        let kinds = std::mem::take(&mut self.left_out);
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        let mut text = format!("{} more in {seconds:.1} s, not told one by one:", kinds.values().sum::<u64>());
        for (kind, count) in kinds {
            // Writing to a String cannot fail.
            let _ = write!(text, " {kind} {count},");
        }
        text.pop();
        self.began = None;
        Some(text)
    }

    /// Nothing was said for a while, and nothing is to be said.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.left_out.is_empty() && self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_second_and_a_count() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let (mut said, mut summaries, mut counted) = (0, Vec::new(), 0);
        // 10 s, each millisecond ten of one kind and one of another.
        for millisecond in 0..10_000_u64 {
            let now = start + Duration::from_millis(millisecond);
            for _ in 0..10 {
                said += u32::from(throttle.admit("length", now));
            }
            said += u32::from(throttle.admit("order", now));
            if millisecond % 250 == 0 {
                summaries.extend(throttle.summary(now));
            }
        }
        summaries.extend(throttle.summary(start + Duration::from_secs(12)));
        assert!((40..=50).contains(&said), "{said}");
        assert!((8..=11).contains(&summaries.len()), "{summaries:?}");
        for summary in &summaries {
            assert!(summary.contains(": length ") && summary.contains(", order "), "{summary}");
            counted += summary.split(' ').next().and_then(|count| count.parse::<u32>().ok()).unwrap();
        }
        assert_eq!(said + counted, 110_000);
    }

    #[test]
    fn what_comes_seldom_is_always_said() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        for second in 0..100 {
            let now = start + Duration::from_millis(second * 300);
            assert!(throttle.admit("length", now) && throttle.summary(now).is_none());
        }
        assert!(throttle.is_idle(start + Duration::from_secs(1000)));
    }
}
