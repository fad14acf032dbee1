//! Limits log lines that others can cause at any rate to a few a second; the rest is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Most lines within [`WINDOW`].
pub(crate) const MAX_LINES: u32 = 5;

/// The time for [`MAX_LINES`].
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Admits a few lines a second and counts the rest, by kind.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    began: Option<Instant>,
    reported: u32,
    left_out: BTreeMap<&'static str, u64>,
}

impl Throttle {
    /// Whether a line of this kind may be logged now; if not, it is counted.
    pub(crate) fn admit(&mut self, kind: &'static str, now: Instant) -> bool {
        // Report what was left out before the next lines.
        let over = self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW);
        if over && self.left_out.is_empty() {
            (self.began, self.reported) = (Some(now), 0);
        }
        if self.reported < MAX_LINES {
            self.reported += 1;
            return true;
        }
        *self.left_out.entry(kind).or_default() += 1;
        false
    }

    /// The text about what was left out, once the window is over.
    pub(crate) fn summary(&mut self, now: Instant) -> Option<String> {
        let began = self.began.filter(|began| now.saturating_duration_since(*began) >= WINDOW)?;
        if self.left_out.is_empty() {
            return None;
        }
        let kinds = std::mem::take(&mut self.left_out);
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        let mut text = format!("{} more in {seconds:.1} s, not logged one by one:", kinds.values().sum::<u64>());
        for (kind, count) in kinds {
            // Writing to a String cannot fail.
            let _ = write!(text, " {kind} {count},");
        }
        text.pop();
        self.began = None;
        Some(text)
    }

    /// Nothing was logged for a while, and nothing is left to report.
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
        // 10 s with ten lines of one kind and one of another in each millisecond.
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
    fn what_is_rare_is_always_logged() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        for second in 0..100 {
            let now = start + Duration::from_millis(second * 300);
            assert!(throttle.admit("length", now) && throttle.summary(now).is_none());
        }
        assert!(throttle.is_idle(start + Duration::from_secs(1000)));
    }
}
