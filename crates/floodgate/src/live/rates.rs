//! Current rates of rules: those of the daemon, or if it has none, the difference of two readings
//! of their counters.

use super::ask::fetch_rules;
use super::rule_with_rate::RuleWithRate;
use api::client::{Client, Failure};
use api::{RateView, RuleView, StatusView};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time between two readings.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// A shorter time between two readings is not meaningful.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// The readings so far.
#[derive(Debug, Default)]
pub(super) struct Readings {
    counted: Option<Instant>,
    counters: HashMap<String, (u64, u64, Option<u64>)>,
    rates: HashMap<String, RateView>,
}

impl Readings {
    /// Reads the status and the matching rules.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        filter: &[String],
    ) -> Result<(StatusView, Vec<RuleWithRate>), Failure> {
        // The status first: its request makes the daemon read the counters, if they are old, and
        // says when that was.
        let status: StatusView = client.get("/v1/status").await?;
        let now = Instant::now();
        let age = Duration::try_from_secs_f64(status.counters_age.unwrap_or_default()).unwrap_or_default();
        let counted = now.checked_sub(age).unwrap_or(now);
        let rules = fetch_rules(client, filter, usize::MAX).await?;
        Ok((status, self.take(counted, rules)))
    }

    /// Adds counters that were read at this time.
    fn take(&mut self, counted: Instant, rules: Vec<RuleView>) -> Vec<RuleWithRate> {
        let since = self.counted.map(|before| counted.saturating_duration_since(before));
        // The same reading shown twice has no difference; the previous rates are still valid.
        if since.is_none_or(|since| since >= MIN_INTERVAL) {
            self.rates.clear();
            for rule in &rules {
                if let (Some(since), Some(before)) = (since, self.counters.get(&rule.id)) {
                    self.rates.extend(rate(rule, *before, since).map(|rate| (rule.id.clone(), rate)));
                }
            }
            let counters =
                rules.iter().filter_map(|rule| Some((rule.id.clone(), (rule.packets?, rule.bytes?, rule.dropped))));
            self.counters = counters.collect();
            self.counted = Some(counted);
        }
        let rate = |rule: &RuleView| rule.rate.or_else(|| self.rates.get(&rule.id).copied());
        rules.into_iter().map(|rule| RuleWithRate { rate: rate(&rule), rule }).collect()
    }
}

/// `None` if there are no counters, or smaller ones than before: those were reset.
fn rate(rule: &RuleView, before: (u64, u64, Option<u64>), since: Duration) -> Option<RateView> {
    let seconds = since.as_secs_f64();
    let second = |now: u64, before: u64| Some(now.checked_sub(before)? as f64 / seconds);
    let dropped = rule.dropped.zip(before.2).and_then(|(now, before)| second(now, before));
    Some(RateView {
        packets_per_second: second(rule.packets?, before.0)?,
        bits_per_second: second(rule.bytes?, before.1)? * 8.0,
        dropped_per_second: dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str, packets: u64) -> RuleView {
        RuleView {
            id: id.to_owned(),
            packets: Some(packets),
            bytes: Some(packets * 100),
            dropped: Some(packets / 2),
            ..RuleView::default()
        }
    }

    #[test]
    fn a_rate_is_the_difference_of_two_readings() {
        let start = Instant::now();
        let mut readings = Readings::default();
        let rates = |rated: Vec<RuleWithRate>| {
            rated.iter().map(|rated| rated.rate.map(|rate| rate.packets_per_second)).collect::<Vec<_>>()
        };
        assert_eq!(rates(readings.take(start, vec![rule("a", 1000)])), [None]);
        let after = start + Duration::from_secs(2);
        let rated = readings.take(after, vec![rule("a", 3000), rule("b", 5)]);
        let rate = rated[0].rate.unwrap();
        assert_eq!(
            (rate.packets_per_second, rate.bits_per_second, rate.dropped_per_second),
            (1000.0, 800_000.0, Some(500.0))
        );
        assert_eq!(rated[1].rate, None);
        // What the daemon tells is better known.
        let told = RateView { packets_per_second: 7.0, ..RateView::default() };
        let told = RuleView { rate: Some(told), ..rule("a", 3000) };
        assert_eq!(rates(readings.take(after, vec![told])), [Some(7.0)]);
        // The same counters again do not mean a rate of zero; counters that were reset have no
        // rate.
        assert_eq!(rates(readings.take(after, vec![rule("a", 3000), rule("b", 5)])), [Some(1000.0), None]);
        assert_eq!(
            rates(readings.take(after + Duration::from_secs(1), vec![rule("a", 10), rule("b", 5)])),
            [None, Some(0.0)]
        );
    }
}
