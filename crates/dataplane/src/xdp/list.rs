//! A list of records in order: its records, its location in the tables, and that of its next state.

use super::full::Full;
use super::layout::{CHUNK, LIST_MAX, Place, Record, SLOT_PLACES, SLOT_RECORDS, descriptor};
use super::pool::Runs;

/// Chunks reserved for lists that lose a record, so that removing rules always works.
const RESERVED_CHUNKS: u32 = 4096;
/// The parent bits of a descriptor.
const PARENT: u64 = 0xff_ffff << 34;

/// Adjacent chunks: start and number.
pub(super) type Run = (u32, u32);

/// One record of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) number: u32,
    pub(super) record: Record,
    /// May come before rules with a more specific source: a rule for a destination among those
    /// without.
    pub(super) early: bool,
}

/// Records in order, and their location.
#[derive(Debug)]
pub(super) struct List {
    slot: u32,
    /// The descriptor in force; 0 if there is none.
    published: u64,
    items: Vec<Item>,
    /// Chunks in force.
    run: Run,
    /// Chunks allocated for the next commit.
    staged: Run,
    changed: bool,
}

/// The next state of a list: what to write where, and the descriptors that refer to it.
#[derive(Debug)]
pub(super) struct Staged {
    /// The descriptor in force until now.
    pub(super) before: u64,
    /// The descriptor while what is in the slot may still be in use.
    pub(super) after: u64,
    /// The descriptor from then on.
    pub(super) last: u64,
    /// What to write; nothing if the list itself has not changed.
    pub(super) writing: Writing,
    /// Surplus chunks, which no packet has seen.
    pub(super) unused: Run,
    /// Chunks to free once the change is in force.
    pub(super) freed: [Run; 2],
}

/// How the places of a list are written.
#[derive(Debug)]
pub(super) enum Writing {
    /// Not at all.
    Nothing,
    /// At once into the slot, where no packet looks yet.
    Slot(Vec<Place>),
    /// Into the chunks from this one on, and into the slot afterwards.
    Chunks(u32, Vec<Place>),
}

impl List {
    pub(super) const fn new(slot: u32) -> Self {
        List { slot, published: 0, items: Vec::new(), run: (0, 0), staged: (0, 0), changed: false }
    }

    /// Its place in the hash table.
    #[inline]
    pub(super) const fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether packets can see it; if not, it is new in this transaction.
    #[inline]
    pub(super) const fn is_published(&self) -> bool {
        self.published != 0
    }

    #[inline]
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Adds a record, and reserves room to write the list. `labels` are by rule number.
    pub(super) fn insert(&mut self, item: Item, labels: &[u64], chunks: &mut Runs) -> Result<(), Full> {
        let label = labels[item.number as usize];
        let at = self.items.partition_point(|other| labels[other.number as usize] <= label);
        self.items.insert(at, item);
        if let Err(full) = self.reserve(chunks, RESERVED_CHUNKS) {
            self.items.remove(at);
            return Err(full);
        }
        self.changed = true;
        Ok(())
    }

    /// Removes a rule's records. Returns how many.
    pub(super) fn remove_records(&mut self, number: u32, chunks: &mut Runs) -> Result<usize, Full> {
        let before = self.items.len();
        self.items.retain(|item| item.number != number);
        self.changed = true;
        self.reserve(chunks, 0)?;
        Ok(before - self.items.len())
    }

    /// Removes all records: a node has them from now on.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.changed = true;
    }

    /// Whether all of it is written into the slot at once: no packet looks there yet, and there is
    /// room for `places`.
    const fn is_written_in_place(&self, places: usize) -> bool {
        self.published == 0 && places <= SLOT_RECORDS
    }

    /// Reserves chunks for the list.
    fn reserve(&mut self, chunks: &mut Runs, kept: u32) -> Result<(), Full> {
        let mut places = 0;
        for item in &self.items {
            next_place(&mut places, item.record.source_length > 0);
        }
        let needed = if self.is_written_in_place(places) { 0 } else { places.div_ceil(CHUNK) as u32 };
        let (start, have) = self.staged;
        if needed <= have {
            return Ok(());
        }
        if places > LIST_MAX {
            return Err(Full::ListLength);
        }
        // Grows in steps, since a full load adds one record after the other; the surplus is
        // returned at the commit.
        let wanted = if have == 0 { needed } else { needed.next_power_of_two() };
        if chunks.total() - chunks.used() < wanted + kept {
            return Err(Full::Chunks);
        }
        let taken = chunks.take(wanted).ok_or(Full::ChunksSideBySide)?;
        if have > 0 {
            chunks.release(start, have);
        }
        self.staged = (taken, wanted);
        Ok(())
    }

    /// The layout of the list: a record takes one place or two, the last place of a slot stays
    /// empty, and two places of a record are in one chunk. `meta` is by rule number.
    fn places(&self, meta: &[u32]) -> Vec<Place> {
        let mut places = Vec::with_capacity(self.items.len() + 1);
        let mut end = 0;
        for item in &self.items {
            let (record, source) = item.record.with_meta(meta[item.number as usize]).places();
            places.resize(next_place(&mut end, source.is_some()), Place::EMPTY);
            places.push(record);
            places.extend(source);
        }
        places
    }

    /// Takes the changes in, and returns what a commit has to write so that this list, or the node
    /// in its place, is in force. `parent` is the slot of the next shorter prefix.
    pub(super) fn stage(&mut self, node: Option<u32>, parent: Option<u32>, meta: &[u32]) -> Staged {
        let before = self.published;
        let unchanged = before & !PARENT;
        let mut staged = Staged {
            before,
            after: unchanged,
            last: unchanged,
            writing: Writing::Nothing,
            unused: (0, 0),
            freed: [(0, 0); 2],
        };
        if let Some(node) = node {
            (staged.after, staged.last) = (descriptor::node(node), descriptor::node(node));
            staged.freed = [std::mem::take(&mut self.run), std::mem::take(&mut self.staged)];
        } else if self.changed {
            self.stage_places(self.places(meta), &mut staged);
        }
        self.changed = false;
        staged.after = descriptor::with_parent(staged.after, parent);
        staged.last = descriptor::with_parent(staged.last, parent);
        self.published = staged.last;
        staged
    }

    fn stage_places(&mut self, places: Vec<Place>, staged: &mut Staged) {
        let (start, have) = std::mem::take(&mut self.staged);
        let count = places.len();
        let chunks = if self.is_written_in_place(count) { 0 } else { count.div_ceil(CHUNK) as u32 };
        staged.unused = (start + chunks, have - chunks);
        staged.freed[0] = self.run;
        let in_slot = (SLOT_PLACES / CHUNK) as u32;
        let rest = if count > SLOT_PLACES { start + in_slot } else { 0 };
        staged.last = descriptor::inline(rest, count);
        if chunks == 0 {
            staged.after = staged.last;
            staged.writing = Writing::Slot(places);
        } else {
            staged.after = descriptor::list(start, count);
            staged.freed[1] = (start, chunks.min(in_slot));
            staged.writing = Writing::Chunks(start, places);
        }
        self.run = (rest, chunks.saturating_sub(in_slot));
    }

    /// Of a list without records: its slot, the descriptor in force, the chunks in force, and those
    /// that no packet has seen.
    pub(super) fn into_parts(self) -> (u32, u64, Run, Run) {
        (self.slot, self.published, self.run, self.staged)
    }
}

/// The place of a record, which needs one place or two, when a list ends at `end`; advances `end`.
fn next_place(end: &mut usize, has_source: bool) -> usize {
    let width = 1 + usize::from(has_source);
    if *end < SLOT_PLACES && *end + width > SLOT_RECORDS {
        *end = SLOT_PLACES;
    } else if *end % CHUNK + width > CHUNK && *end >= SLOT_PLACES {
        *end = end.next_multiple_of(CHUNK);
    }
    *end += width;
    *end - width
}
