//! Reads sampled packets from the program's ring buffer.

use super::layout::{SampleRecord, StatisticsLine};
use super::memory::Table;
use super::program::{self, Tables, map_fd};
use crate::{DataplaneError, Sample, SampleSource};
use aya::Ebpf;
use aya::maps::{Map, MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Index of `STAT_SAMPLES_LOST` in the statistics.
const LOST: usize = 10;

/// The ring buffer of the current program; it changes with the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Arc<Mutex<Option<Ring>>>);

struct Ring {
    ring: RingBuf<MapData>,
    stats: Table<StatisticsLine>,
    /// Lost before the first reading.
    told: u64,
}

impl Samples {
    /// From now on samples are read from this program's buffer.
    pub(super) fn exchange(&self, ebpf: &Ebpf, tables: &Tables) -> Result<(), DataplaneError> {
        let refused = |error: aya::maps::MapError| program::refused("open the samples", &error);
        let fd = map_fd(ebpf, "samples")?
            .try_clone_to_owned()
            .map_err(|source| DataplaneError::Io { context: "open the samples".into(), source })?;
        let ring = RingBuf::try_from(Map::RingBuf(MapData::from_fd(fd).map_err(refused)?)).map_err(refused)?;
        let stats = program::table(ebpf, "stats", tables.sizes.cpus)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ring { ring, stats, told: 0 });
        Ok(())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Ring {
    fn lost(&self) -> u64 {
        super::statistics::sum(&self.stats)[LOST]
    }
}

impl SampleSource for Samples {
    fn skip(&mut self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ring) = slot.as_mut() else { return };
        while ring.ring.next().is_some() {}
        ring.told = ring.lost();
    }

    fn wait(&mut self, most: Duration) {
        let buffer = {
            let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.as_ref().and_then(|ring| ring.ring.as_fd().try_clone_to_owned().ok())
        };
        let Some(buffer) = buffer else { return std::thread::sleep(most) };
        let timeout = rustix::event::Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        // On failure the wait merely ends early.
        let _ = poll(&mut [PollFd::new(&buffer, PollFlags::IN)], Some(&timeout));
    }

    fn read(&mut self, most: usize, each: &mut dyn FnMut(Sample)) -> u64 {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ring) = slot.as_mut() else { return 0 };
        // In this order: if we are delayed in between, a packet seems later than it was, and not
        // earlier than it was sent.
        let (monotonic, now) = (monotonic(), SystemTime::now());
        for _ in 0..most {
            let Some(octets) = ring.ring.next() else { break };
            if let Some(sample) = sample(&octets, now, monotonic) {
                each(sample);
            }
        }
        let lost = ring.lost();
        lost - std::mem::replace(&mut ring.told, lost).min(lost)
    }
}

/// A record as the program wrote it.
fn sample(octets: &[u8], now: SystemTime, monotonic: Duration) -> Option<Sample> {
    if octets.len() < size_of::<SampleRecord>() {
        return None;
    }
    // SAFETY: there are this many octets, any of which are a record; the pointer need not be
    // aligned.
    let record = unsafe { octets.as_ptr().cast::<SampleRecord>().read_unaligned() };
    let age = monotonic.saturating_sub(Duration::from_nanos(record.time));
    let captured = (record.captured as usize).min(record.octets.len());
    Some(Sample {
        time: now.checked_sub(age).unwrap_or(now),
        rule: format!("{:012x}", record.rule).parse().ok(),
        interface: record.interface,
        length: record.frame_length,
        octets: record.octets[..captured].to_vec(),
    })
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdp::statistics::STATISTICS;

    #[test]
    fn a_record_is_read_and_a_short_one_is_not() {
        assert_eq!(STATISTICS[LOST], "samples_lost");
        let mut octets = vec![0u8; size_of::<SampleRecord>()];
        octets[..8].copy_from_slice(&0x0102_0304_0506u64.to_ne_bytes());
        octets[8..16].copy_from_slice(&9_000_000_000u64.to_ne_bytes());
        octets[16..20].copy_from_slice(&7u32.to_ne_bytes());
        octets[20..24].copy_from_slice(&1514u32.to_ne_bytes());
        octets[24..28].copy_from_slice(&9999u32.to_ne_bytes());
        let now = SystemTime::now();
        let read = sample(&octets, now, Duration::from_secs(10)).unwrap();
        assert_eq!(read.time, now - Duration::from_secs(1));
        assert_eq!(read.rule.unwrap().to_string(), "010203040506");
        assert_eq!((read.interface, read.length, read.octets.len()), (7, 1514, 128));
        assert_eq!(sample(&octets[1..], now, Duration::ZERO), None);
    }
}
