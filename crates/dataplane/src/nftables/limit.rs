//! Policers: a traffic rate as a token bucket of nf_tables.
//!
//! The kernel counts whole nanoseconds for a packet and accepts whole units a second, minute, hour
//! or day. Other rates are rounded (by less than 0.1%, except below 1000 units a day); a rate below
//! the lowest becomes one unit a day: never zero. A rate above what the bucket can count
//! ([`MAX_BYTES`], [`MAX_PACKETS`]) is no limit ([`countable`]), and the rule says so: no kernel
//! comes near it.
//!
//! The burst is one second's worth: of bytes at least 64 KiB, so that the longest packet can pass,
//! of packets at least one. The kernel's bucket of bytes holds one unit of time of the rate and the
//! burst, that of packets the burst.

use super::nf_tables::*;
use super::wire::Writer;
use flowspec::Policing;
use std::fmt;

/// The highest rate in bytes a second: the kernel multiplies it by the nanoseconds of a second, in
/// 64 bits.
pub(super) const MAX_BYTES: f32 = 16e9;
/// The highest rate in packets a second: one each nanosecond.
pub(super) const MAX_PACKETS: f32 = 1e9;
const MIN_BUCKET_BYTES: u64 = 65536;
/// Below this many units, a longer time unit is used, to reduce the rounding error.
const PRECISE: f64 = 1000.0;
const TIMES: [(u64, &str); 4] = [(1, "second"), (60, "minute"), (3600, "hour"), (86400, "day")];

/// The part of these limits that the kernel can count; the others would never be reached.
pub(super) fn countable(policing: Policing) -> Policing {
    let Policing::Limit { bytes, packets } = policing else { return policing };
    let (bytes, packets) = (bytes.filter(|rate| *rate <= MAX_BYTES), packets.filter(|rate| *rate <= MAX_PACKETS));
    match (bytes, packets) {
        (None, None) => Policing::None,
        _ => Policing::Limit { bytes, packets },
    }
}

/// The unit.
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
    /// `rate` units a second; it is positive and finite, and [`countable`].
    pub(super) fn new(unit: Unit, rate: f32) -> Self {
        let max = match unit {
            Unit::Bytes => MAX_BYTES,
            Unit::Packets => MAX_PACKETS,
        };
        let rate = f64::from(rate.min(max));
        let (seconds, _) = TIMES.into_iter().find(|&(seconds, _)| rate * seconds as f64 >= PRECISE).unwrap_or(TIMES[3]);
        let units = ((rate * seconds as f64).round() as u64).max(1);
        let burst = match unit {
            // The bucket also has the rate of one unit of time.
            Unit::Bytes => MIN_BUCKET_BYTES.saturating_sub(units) as u32, // at most 65536
            Unit::Packets => rate.max(1.0) as u32,
        };
        Limit { unit, rate: units, seconds, burst }
    }

    /// Rate, the seconds that it is for, and burst, in the kernel's form.
    pub(super) fn numbers(&self) -> [u64; 3] {
        [self.rate, self.seconds, self.burst.into()]
    }

    /// Writes the attributes of a limit that matches packets over it.
    pub(super) fn encode(&self, w: &mut Writer) {
        w.u64(NFTA_LIMIT_RATE, self.rate);
        w.u64(NFTA_LIMIT_UNIT, self.seconds);
        w.u32(NFTA_LIMIT_BURST, self.burst);
        let kind = match self.unit {
            Unit::Packets => NFT_LIMIT_PKTS,
            Unit::Bytes => NFT_LIMIT_PKT_BYTES,
        };
        w.u32(NFTA_LIMIT_TYPE, kind);
        w.u32(NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
    }
}

/// The text after nft's `limit rate over`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = TIMES.iter().find(|(seconds, _)| *seconds == self.seconds).map_or("second", |(_, time)| time);
        match self.unit {
            Unit::Bytes if self.burst == 0 => write!(f, "{} bytes/{time}", self.rate),
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
            (125_000.0, "125000 bytes/second"),
            (25_000.0, "25000 bytes/second burst 40536 bytes"),
            (1.5, "5400 bytes/hour burst 60136 bytes"),
            (16e9, "16000000000 bytes/second"),
            (f32::from_bits(1), "1 bytes/day burst 65535 bytes"),
        ] {
            assert_eq!(Limit::new(Unit::Bytes, rate).to_string(), text);
        }
        for (rate, text) in [
            (1000.0, "1000/second burst 1000 packets"),
            (0.5, "1800/hour burst 1 packets"),
            (1e9, "1000000000/second burst 1000000000 packets"),
            (f32::from_bits(1), "1/day burst 1 packets"),
        ] {
            assert_eq!(Limit::new(Unit::Packets, rate).to_string(), text);
        }
    }

    #[test]
    fn what_the_kernel_cannot_count_is_no_limit() {
        let limit = |bytes, packets| Policing::Limit { bytes, packets };
        for (asked, counted) in [
            (limit(Some(100e9), None), Policing::None),
            (limit(Some(16.1e9), Some(10.0)), limit(None, Some(10.0))),
            (limit(Some(1.0), Some(1.1e9)), limit(Some(1.0), None)),
            (limit(Some(16e9), Some(1e9)), limit(Some(16e9), Some(1e9))),
            (Policing::Discard, Policing::Discard),
        ] {
            assert_eq!(countable(asked), counted, "{asked:?}");
        }
    }
}
