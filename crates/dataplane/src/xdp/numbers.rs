//! Numbers of rules. One that a rule gave up rests before another rule gets it.

use super::pool::Runs;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a rule's number rests: a packet that was under way may still count for it.
const REST: Duration = Duration::from_millis(100);

/// The numbers that are free, and those that rest.
#[derive(Debug)]
pub(super) struct Numbers {
    free: Runs,
    /// The one that rests longest first.
    resting: VecDeque<(u32, Instant)>,
}

impl Numbers {
    /// So many numbers, from 0.
    pub(super) fn new(count: u32) -> Self {
        Numbers { free: Runs::new(0, count), resting: VecDeque::new() }
    }

    /// A number that no packet can be counting for. Waits for one that is still resting if there is no other.
    pub(super) fn take(&mut self) -> Option<u32> {
        while let Some(&(number, since)) = self.resting.front() {
            let rested = since.elapsed();
            if rested < REST {
                break;
            }
            self.resting.pop_front();
            self.free.give(number, 1);
        }
        if let Some(number) = self.free.take(1) {
            return Some(number);
        }
        let (number, since) = self.resting.pop_front()?;
        std::thread::sleep(REST.saturating_sub(since.elapsed()));
        Some(number)
    }

    /// Takes a number back that no packet has seen.
    pub(super) fn give_unused(&mut self, number: u32) {
        self.free.give(number, 1);
    }

    /// Takes numbers back that packets do not see from now on.
    pub(super) fn give(&mut self, numbers: Vec<u32>) {
        let now = Instant::now();
        self.resting.extend(numbers.into_iter().map(|number| (number, now)));
    }

    /// How many are in use or rest.
    pub(super) fn used(&self) -> u32 {
        self.free.used()
    }

    /// How many there are.
    pub(super) fn total(&self) -> u32 {
        self.free.total()
    }
}
