//! The addresses that rules redirect to: each has one entry in the program's table, however many
//! rules use it.

use super::full::Full;
use super::layout::Target;
use super::memory::Table;
use super::pool::Runs;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a released entry is not reused: a packet in flight may still refer to it.
const REUSE_DELAY: Duration = Duration::from_millis(100);

/// The entries.
#[derive(Debug)]
pub(super) struct Targets {
    places: Runs,
    /// By family and address: the entry, and the number of rules that use it.
    used: HashMap<(u32, [u32; 4]), (u32, usize)>,
    resting: VecDeque<(u32, Instant)>,
    most: u32,
}

impl Targets {
    pub(super) fn new(most: u32) -> Self {
        Targets { places: Runs::new(0, most), used: HashMap::new(), resting: VecDeque::new(), most }
    }

    /// The entry of an address, for one more rule.
    pub(super) fn take(&mut self, target: Target, table: &Table<Target>) -> Result<u32, Full> {
        if let Some((place, rules)) = self.used.get_mut(&key(&target)) {
            *rules += 1;
            return Ok(*place);
        }
        while self.resting.front().is_some_and(|(_, since)| since.elapsed() >= REUSE_DELAY) {
            if let Some((place, _)) = self.resting.pop_front() {
                self.places.release(place, 1);
            }
        }
        let place = match (self.places.take(1), self.resting.front()) {
            (Some(place), _) => place,
            (None, Some(&(place, since))) => {
                std::thread::sleep(REUSE_DELAY.saturating_sub(since.elapsed()));
                self.resting.pop_front();
                place
            }
            (None, None) => return Err(Full::Targets(self.most)),
        };
        table.write(place as usize, target);
        self.used.insert(key(&target), (place, 1));
        Ok(place)
    }

    /// One rule less uses this entry. Called when no new packet refers to it any more.
    pub(super) fn release(&mut self, place: u32) {
        let Some((&key, (_, rules))) = self.used.iter_mut().find(|(_, (there, _))| *there == place) else { return };
        *rules -= 1;
        if *rules == 0 {
            self.used.remove(&key);
            self.resting.push_back((place, Instant::now()));
        }
    }
}

fn key(target: &Target) -> (u32, [u32; 4]) {
    (target.family, target.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn an_address_has_one_place_which_rests_before_it_is_used_again() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let table: Table<Target> = Table::map(file.as_fd(), 2, "targets").unwrap();
        let target = |n| Target { family: 2, address: [n, 0, 0, 0], ..Target::ZERO };
        let mut targets = Targets::new(2);
        let (a, b) = (targets.take(target(1), &table).unwrap(), targets.take(target(2), &table).unwrap());
        assert_ne!(a, b);
        assert_eq!(targets.take(target(1), &table), Ok(a));
        assert_eq!(targets.take(target(3), &table), Err(Full::Targets(2)));
        targets.release(a);
        assert!(targets.take(target(3), &table).is_err(), "one more rule is there");
        // Before it is used: whatever happens then, reuse is delayed from a later moment.
        let began = Instant::now();
        targets.release(a);
        assert_eq!(targets.take(target(3), &table), Ok(a));
        assert!(began.elapsed() >= REUSE_DELAY, "it rested: {:?}", began.elapsed());
        assert_eq!(table.read(a as usize).address[0], 3);
    }
}
