//! Rule numbers. A released number is not reused for a while.

use super::pool::Runs;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a released number is not reused: a packet in flight may still count for it.
const REUSE_DELAY: Duration = Duration::from_millis(100);

/// The free numbers, and those that wait.
#[derive(Debug)]
pub(super) struct Numbers {
    free: Runs,
    /// The longest waiting first.
    resting: VecDeque<(u32, Instant)>,
}

impl Numbers {
    /// This many numbers, from 0.
    pub(super) fn new(count: u32) -> Self {
        Numbers { free: Runs::new(0, count), resting: VecDeque::new() }
    }

    /// A number that no packet can be counting for. Waits for one that cannot be reused yet if
    /// there is no other.
    pub(super) fn take(&mut self) -> Option<u32> {
        while let Some(&(number, since)) = self.resting.front() {
            let rested = since.elapsed();
            if rested < REUSE_DELAY {
                break;
            }
            self.resting.pop_front();
            self.free.release(number, 1);
        }
        if let Some(number) = self.free.take(1) {
            return Some(number);
        }
        let (number, since) = self.resting.pop_front()?;
        std::thread::sleep(REUSE_DELAY.saturating_sub(since.elapsed()));
        Some(number)
    }

    /// Releases a number that no packet has seen.
    pub(super) fn release_unused(&mut self, number: u32) {
        self.free.release(number, 1);
    }

    /// Releases numbers that packets do not see from now on.
    pub(super) fn release(&mut self, numbers: Vec<u32>) {
        let now = Instant::now();
        self.resting.extend(numbers.into_iter().map(|number| (number, now)));
    }

    /// Numbers that are in use or wait.
    pub(super) fn used(&self) -> u32 {
        self.free.used()
    }

    /// The number of numbers.
    pub(super) fn total(&self) -> u32 {
        self.free.total()
    }
}
