//! Policers: a traffic rate as nf_tables' token bucket.
//!
//! The kernel counts whole nanoseconds for a packet and wants whole units a second, minute, hour or day. A rate that is not such a number is
//! rounded (by less than 0.1%, but for less than 1000 units a day); a rate above what the bucket can count becomes the highest that
//! it can (16 GB/s, 1,000,000,000 packets/s), and one below its lowest one unit a day: never unlimited, and never nothing.
//!
//! How much may come at once: one second's worth, of bytes at least 64 KiB, so that the longest packet can pass, of packets at least one.

use super::wire::Writer;
use std::fmt;

const MAX_BYTES: f64 = 16e9;
const MAX_PACKETS: f64 = 1e9;
const MIN_BURST_BYTES: f64 = 65536.0;
/// Below this many units, a longer time is taken, for the sake of what rounding does.
const PRECISE: f64 = 1000.0;
const TIMES: [(u64, &str); 4] = [(1, "second"), (60, "minute"), (3600, "hour"), (86400, "day")];

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unit {
    Packets,
    Bytes,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limit {
    unit: Unit,
    rate: u64,
    seconds: u64,
    burst: u32,
}

impl Limit {
    /// `rate` units a second; it is positive and finite.
    pub(super) fn new(unit: Unit, rate: f32) -> Self {
        let max = match unit {
            Unit::Bytes => MAX_BYTES,
            Unit::Packets => MAX_PACKETS,
        };
        let rate = f64::from(rate).min(max);
        let (seconds, _) = TIMES.into_iter().find(|&(seconds, _)| rate * seconds as f64 >= PRECISE).unwrap_or(TIMES[3]);
        // The kernel's bucket of bytes has the rate of one unit of time in it besides the burst.
        let burst = match unit {
            Unit::Bytes => MIN_BURST_BYTES,
            Unit::Packets => rate.max(1.0),
        };
        Limit { unit, rate: ((rate * seconds as f64).round() as u64).max(1), seconds, burst: burst as u32 }
    }

    /// Rate, the seconds that it is for, and burst: as the kernel shows them, too.
    pub(super) fn numbers(&self) -> [u64; 3] {
        [self.rate, self.seconds, self.burst.into()]
    }

    /// Writes the attributes of a limit that matches what is over it.
    pub(super) fn encode(&self, w: &mut Writer) {
        w.u64(1, self.rate);
        w.u64(2, self.seconds);
        w.u32(3, self.burst);
        w.u32(4, u32::from(self.unit == Unit::Bytes));
        w.u32(5, 1);
    }
}

/// As it stands behind nft's `limit rate over`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = TIMES.iter().find(|(seconds, _)| *seconds == self.seconds).map_or("second", |(_, time)| time);
        match self.unit {
            Unit::Bytes => write!(f, "{} bytes/{time} burst {} bytes", self.rate, self.burst),
            Unit::Packets => write!(f, "{}/{time} burst {} packets", self.rate, self.burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_become_whole_numbers() {
        for (rate, text) in [
            (125_000.0, "125000 bytes/second burst 65536 bytes"),
            (1.5, "5400 bytes/hour burst 65536 bytes"),
            (f32::MAX, "16000000000 bytes/second burst 65536 bytes"),
            (f32::from_bits(1), "1 bytes/day burst 65536 bytes"),
        ] {
            assert_eq!(Limit::new(Unit::Bytes, rate).to_string(), text);
        }
        for (rate, text) in [
            (1000.0, "1000/second burst 1000 packets"),
            (0.5, "1800/hour burst 1 packets"),
            (f32::MAX, "1000000000/second burst 1000000000 packets"),
            (f32::from_bits(1), "1/day burst 1 packets"),
        ] {
            assert_eq!(Limit::new(Unit::Packets, rate).to_string(), text);
        }
    }
}
