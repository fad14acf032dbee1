//! The slots of a hash table with linear probing. A released slot keeps its key until no search
//! passes over it.

use super::layout::PROBES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A search ends here.
    Empty,
    /// A search passes over it.
    Left,
    Taken,
}

/// The states of a table's slots. Their contents are written by others.
#[derive(Debug)]
pub(super) struct Slots {
    state: Vec<State>,
    taken: u32,
    /// Taken since the last commit: searches must pass over them even if nothing is written there.
    fresh: Vec<u32>,
}

impl Slots {
    pub(super) fn new(slots: u32) -> Self {
        Slots { state: vec![State::Empty; slots as usize], taken: 0, fresh: Vec::new() }
    }

    fn place(&self, at: usize) -> usize {
        at & (self.state.len() - 1)
    }

    /// Takes a slot for a key with this hash that is not in the table. `None` if all slots of the
    /// search are taken.
    pub(super) fn take(&mut self, hash: u32) -> Option<u32> {
        let slot = (0..PROBES).map(|n| self.place(hash as usize + n)).find(|&slot| self.state[slot] != State::Taken)?;
        self.state[slot] = State::Taken;
        self.taken += 1;
        self.fresh.push(slot as u32);
        Some(slot as u32)
    }

    /// The slots taken since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fresh)
    }

    /// Releases a slot. Returns the slots whose keys have to be cleared: searches may end there
    /// from now on.
    pub(super) fn release(&mut self, slot: u32) -> Vec<u32> {
        let mut slot = slot as usize;
        self.state[slot] = State::Left;
        self.taken -= 1;
        let mut cleared = Vec::new();
        if self.state[self.place(slot + 1)] == State::Empty {
            while self.state[slot] == State::Left {
                self.state[slot] = State::Empty;
                cleared.push(slot as u32);
                slot = self.place(slot + self.state.len() - 1);
            }
        }
        cleared
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_near_their_place_and_searches_never_break() {
        let mut slots = Slots::new(64);
        let taken: Vec<u32> = (0..4).map(|_| slots.take(62).unwrap()).collect();
        assert_eq!(taken, [62, 63, 0, 1]);
        assert_eq!(slots.release(63), [], "a search for those behind it passes over");
        assert_eq!(slots.take(62), Some(63));
        assert_eq!(slots.release(0), []);
        assert_eq!(slots.release(1), [1, 0]);
        assert_eq!(slots.taken(), 2);
    }

    #[test]
    fn a_crowd_is_refused() {
        let mut slots = Slots::new(64);
        assert_eq!((0..40).filter(|_| slots.take(5).is_some()).count(), PROBES);
    }
}
