//! The addresses that rules redirect to: each has one place in the program's table, however many rules send packets there.

use super::full::Full;
use super::layout::Target;
use super::memory::Table;
use super::pool::Runs;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a place rests before another address gets it: a packet may be under way that was told to look there.
const REST: Duration = Duration::from_millis(100);

/// The places.
#[derive(Debug)]
pub(super) struct Targets {
    places: Runs,
    /// By family and address: the place, and how many rules use it.
    used: HashMap<(u32, [u32; 4]), (u32, usize)>,
    resting: VecDeque<(u32, Instant)>,
    most: u32,
}

impl Targets {
    pub(super) fn new(most: u32) -> Self {
        Targets { places: Runs::new(0, most), used: HashMap::new(), resting: VecDeque::new(), most }
    }

    /// The place of an address, for one rule more.
    pub(super) fn take(&mut self, target: Target, table: &Table<Target>) -> Result<u32, Full> {
        if let Some((place, rules)) = self.used.get_mut(&key(&target)) {
            *rules += 1;
            return Ok(*place);
        }
        while self.resting.front().is_some_and(|(_, since)| since.elapsed() >= REST) {
            if let Some((place, _)) = self.resting.pop_front() {
                self.places.give(place, 1);
            }
        }
        let place = match (self.places.take(1), self.resting.front()) {
            (Some(place), _) => place,
            (None, Some(&(place, since))) => {
                std::thread::sleep(REST.saturating_sub(since.elapsed()));
                self.resting.pop_front();
                place
            }
            (None, None) => return Err(Full::Targets(self.most)),
        };
        table.write(place as usize, target);
        self.used.insert(key(&target), (place, 1));
        Ok(place)
    }

    /// One rule less uses this place. To be called when no new packet is led there any more.
    pub(super) fn give(&mut self, place: u32) {
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
        targets.give(a);
        assert!(targets.take(target(3), &table).is_err(), "one more rule is there");
        // Before it is given: whatever happens then, the rest begins later.
        let began = Instant::now();
        targets.give(a);
        assert_eq!(targets.take(target(3), &table), Ok(a));
        assert!(began.elapsed() >= REST, "it rested: {:?}", began.elapsed());
        assert_eq!(table.read(a as usize).address[0], 3);
    }
}
