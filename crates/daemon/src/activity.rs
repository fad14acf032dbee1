//! How busy something is: what the readings of its counters tell. Pure; the clock is the caller's.
//!
//! A rate is what was counted between two readings by the time between them, so a reading that
//! comes late gives no other rate than one in time. A counter that went back began anew, or was
//! read while its data plane was being changed, and then what is read next may be the full count
//! coming back: that is no burst.

use dataplane::Counter;
use std::time::Duration;

/// Readings that follow the last one sooner say too little; the next one tells of their time, too.
const SHORTEST: Duration = Duration::from_millis(100);

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Packets that match.
    pub(crate) packets: f32,
    /// Bits of those packets.
    pub(crate) bits: f32,
    /// Packets of those that are dropped; `None` where the data plane does not tell.
    pub(crate) dropped: Option<f32>,
}

/// The highest rates, and when they were; times are seconds of the caller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Peak {
    /// Packets a second.
    pub(crate) packets: f32,
    /// When.
    pub(crate) packets_at: u32,
    /// Bits a second.
    pub(crate) bits: f32,
    /// When.
    pub(crate) bits_at: u32,
}

/// Of one thing with a counter: its rate now, its peak, and when it last counted something.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    last: Counter,
    /// When that was read, in milliseconds.
    read: u64,
    rate: Option<Rate>,
    peak: Peak,
    /// In seconds.
    last_hit: Option<u32>,
    /// The counter went back at the last reading, or could not be read.
    unsure: bool,
    /// How many packets it had when it went back; 0 once it has passed that.
    high: u64,
}

impl Activity {
    /// The counter stood so at this time; what it counted until then, it may have counted long ago.
    pub(crate) fn new(counter: Counter, at: Duration) -> Self {
        let (peak, read) = (Peak::default(), milliseconds(at));
        Activity { last: counter, read, rate: None, peak, last_hit: None, unsure: false, high: 0 }
    }

    /// The counter began after the last reading, and stands so at this time.
    pub(crate) fn begun(counter: Counter, at: Duration) -> Self {
        let mut activity = Activity::new(counter, at);
        activity.last_hit = (counter.packets > 0).then_some(seconds(activity.read));
        activity
    }

    /// The counter stands so at this time; what it has counted since it was last read.
    pub(crate) fn take(&mut self, now: Counter, at: Duration) -> Counter {
        let at = milliseconds(at);
        let since = at.saturating_sub(self.read);
        if since < milliseconds(SHORTEST) {
            return Counter::default();
        }
        let went_back = now.packets < self.last.packets || now.bytes < self.last.bytes;
        let before = std::mem::replace(&mut self.last, now);
        self.read = at;
        if went_back {
            self.high = before.packets;
        }
        let comes_back = self.high > 0 && now.packets >= self.high;
        if comes_back {
            self.high = 0;
        }
        if std::mem::replace(&mut self.unsure, went_back) || went_back || comes_back {
            self.rate = None;
            return Counter::default();
        }
        let counted = increment(&before, &now);
        let seconds = since as f64 / 1000.0;
        let rate = Rate {
            packets: (counted.packets as f64 / seconds) as f32,
            bits: (counted.bytes as f64 * 8.0 / seconds) as f32,
            dropped: counted.dropped_packets.map(|dropped| (dropped as f64 / seconds) as f32),
        };
        let at = self::seconds(at);
        if rate.packets > self.peak.packets {
            (self.peak.packets, self.peak.packets_at) = (rate.packets, at);
        }
        if rate.bits > self.peak.bits {
            (self.peak.bits, self.peak.bits_at) = (rate.bits, at);
        }
        if counted.packets > 0 {
            self.last_hit = Some(at);
        }
        self.rate = Some(rate);
        counted
    }

    /// The counter cannot be read: there is no rate, and what is read next may have been counted at
    /// any time.
    pub(crate) fn lost(&mut self) {
        self.rate = None;
        self.unsure = true;
    }

    /// As it was last read.
    pub(crate) const fn counter(&self) -> &Counter {
        &self.last
    }

    /// Between the last two readings; `None` where they do not tell.
    pub(crate) const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// The highest rates so far; `None` if nothing was counted.
    pub(crate) fn peak(&self) -> Option<Peak> {
        (self.peak.packets > 0.0).then_some(self.peak)
    }

    /// At which reading something had been counted for the last time, in seconds; `None`: not since
    /// the first reading.
    pub(crate) const fn last_hit(&self) -> Option<u32> {
        self.last_hit
    }
}

/// What was counted between two readings. No more packets were dropped than there were, whatever
/// was read in between.
fn increment(before: &Counter, now: &Counter) -> Counter {
    let packets = now.packets.saturating_sub(before.packets);
    let bytes = now.bytes.saturating_sub(before.bytes);
    // Where the action changed, so may have what counts as dropped.
    let dropped = |now: Option<u64>, before: Option<u64>, most: u64| Some(now?.checked_sub(before?)?.min(most));
    Counter {
        packets,
        bytes,
        dropped_packets: dropped(now.dropped_packets, before.dropped_packets, packets),
        dropped_bytes: dropped(now.dropped_bytes, before.dropped_bytes, bytes),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(packets: u64) -> Counter {
        let dropped = packets / 2;
        Counter { packets, bytes: packets * 100, dropped_packets: Some(dropped), dropped_bytes: Some(dropped * 100) }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn packets(activity: &Activity) -> Option<f32> {
        activity.rate().map(|rate| rate.packets)
    }

    #[test]
    fn a_rate_is_by_the_time_between_readings_however_late_they_are() {
        let mut activity = Activity::new(counter(1000), at(0));
        assert_eq!((activity.rate(), activity.peak(), activity.last_hit()), (None, None, None));
        assert_eq!(activity.take(counter(2000), at(1000)), counter(1000));
        let rate = Rate { packets: 1000.0, bits: 800_000.0, dropped: Some(500.0) };
        assert_eq!(activity.rate(), Some(rate));
        // The same traffic, read three times as late.
        activity.take(counter(5000), at(4000));
        assert_eq!(activity.rate(), Some(rate));
        // Two readings at nearly the same time are one.
        assert_eq!(activity.take(counter(5009), at(4009)), Counter::default());
        assert_eq!(activity.rate(), Some(rate));
        assert_eq!(activity.take(counter(6000), at(5000)).packets, 1000, "nothing is lost by that");
        assert_eq!(activity.rate(), Some(rate));
        activity.take(counter(6000), at(6000));
        assert_eq!((packets(&activity), activity.last_hit()), (Some(0.0), Some(5)));
    }

    #[test]
    fn the_peak_has_its_time() {
        let mut activity = Activity::new(counter(0), at(0));
        for (packets, time) in [(10, 1000), (510, 2000), (520, 3000)] {
            activity.take(counter(packets), at(time));
        }
        let peak = activity.peak().unwrap();
        assert_eq!((peak.packets, peak.packets_at, peak.bits, peak.bits_at), (500.0, 2, 400_000.0, 2));
    }

    #[test]
    fn a_counter_that_goes_back_gives_no_rate_until_it_is_sure() {
        // It began anew: after one more reading there is a rate again.
        let mut activity = Activity::new(counter(1_000_000), at(0));
        activity.take(counter(1_001_000), at(1000));
        assert_eq!(activity.take(counter(500), at(2000)), Counter::default());
        assert_eq!(activity.rate(), None);
        activity.take(counter(1500), at(3000));
        assert_eq!(activity.rate(), None);
        activity.take(counter(2500), at(4000));
        assert_eq!(packets(&activity), Some(1000.0));
        // It was only read while it was missing: when it is back, that is no burst.
        let mut activity = Activity::new(counter(1_000_000), at(0));
        let readings = [1_001_000, 0, 600_000, 600_500, 1_003_000, 1_004_000];
        for (packets, second) in readings.into_iter().zip(1..) {
            activity.take(counter(packets), at(1000 * second));
            assert!(packets != 1_003_000 || activity.rate().is_none());
        }
        assert_eq!((packets(&activity), activity.peak().map(|peak| peak.packets)), (Some(1000.0), Some(1000.0)));
        // It could not be read for a while.
        activity.lost();
        assert_eq!(activity.rate(), None);
        activity.take(counter(9_000_000), at(9000));
        assert_eq!((activity.rate(), activity.peak().map(|peak| peak.packets)), (None, Some(1000.0)));
    }

    #[test]
    fn what_is_not_told_is_not_zero() {
        let untold = |packets| Counter { packets, bytes: packets * 100, ..Counter::default() };
        let mut activity = Activity::new(untold(0), at(0));
        assert_eq!(activity.take(untold(5), at(1000)).dropped_packets, None);
        assert_eq!(activity.rate().unwrap().dropped, None);
        // Another action: dropped packets are counted from now on.
        let known = |packets, dropped| Counter { dropped_packets: Some(dropped), ..untold(packets) };
        assert_eq!(activity.take(known(10, 10), at(2000)).dropped_packets, None);
        assert_eq!(activity.take(known(15, 15), at(3000)).dropped_packets, Some(5));
        // Less than before is not told, and no more is dropped than there was.
        assert_eq!(activity.take(known(20, 0), at(4000)).dropped_packets, None);
        assert_eq!(activity.take(known(25, 25), at(5000)).dropped_packets, Some(5));
    }

    #[test]
    fn no_order_of_readings_gives_an_absurd_rate() {
        // At most 1000 packets a second are counted; readings are late or fail, the counter is set
        // back, and now and then, but not at the same time, it is missing in a reading.
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut time, mut count) = (0, 500_000);
        let mut activity = Activity::new(counter(count), at(time));
        for _ in 0..100_000 {
            let passed = next(5000);
            time += passed;
            count += next(passed + 1);
            match next(20) {
                0 if count > 1_000_000 => count = next(1000),
                1 if count > 400_000 => drop(activity.take(counter(0), at(time))),
                2 => activity.lost(),
                _ => drop(activity.take(counter(count), at(time))),
            }
            if let Some(rate) = activity.rate() {
                assert!((0.0..=1001.0).contains(&rate.packets), "{rate:?}");
                assert!(rate.dropped.is_none_or(|dropped| (0.0..=rate.packets).contains(&dropped)), "{rate:?}");
            }
        }
        assert!(activity.peak().unwrap().packets <= 1001.0);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Activity>() <= 128, "{}", size_of::<Activity>());
    }
}
