//! Commits a transaction: writes changed lists to the tables, at once for every packet.
//! `bpf/classify.h` explains how and why.

use super::index::{Index, ListId, Pools};
use super::layout::{
    CHUNK, Chunk, Control, FilterWord, Hash, Interval, Length6, NodeLine, Pending, Place, SLOT_RECORDS, Slot, View,
    descriptor, group4, group6,
};
use super::list::{List, Run, Staged, Writing};
use super::memory::{Table, publish};
use super::program::Tables;
use super::record::Network;
use crate::kernel::{PerVersion, VERSIONS};
use std::mem::offset_of;
use std::sync::atomic::Ordering;

/// One descriptor that changes.
#[derive(Debug)]
struct Change {
    slot: u32,
    before: u64,
    /// While the contents of the slot may still be in use, the whole list is elsewhere.
    after: u64,
    last: u64,
    /// To be written into the slot before `last`.
    inline: Vec<Place>,
    /// Chunks to free afterwards.
    freed: [Run; 2],
    /// The slot itself is to be freed afterwards.
    gone: bool,
    /// For a list that is new or removed.
    bits: Bits,
}

/// The hashes that a packet tests in the filter before it looks a list up.
type Bits = [Option<u64>; 2];

/// Counts for each bit of the filter the lists that need it.
#[derive(Debug)]
pub(super) struct FilterCounts(Vec<u32>);

impl FilterCounts {
    pub(super) fn new() -> Self {
        FilterCounts(vec![0; 1 << super::layout::FILTER_BITS])
    }

    fn add(&mut self, hash: u64, filter: &Table<FilterWord>) {
        for bit in Hash::filter_bits(hash) {
            self.0[bit as usize] += 1;
            let word = filter.word(bit as usize / 64, 0);
            word.store(word.load(Ordering::Relaxed) | 1 << (bit % 64), Ordering::Relaxed);
        }
    }

    fn subtract(&mut self, hash: u64, filter: &Table<FilterWord>) {
        for bit in Hash::filter_bits(hash) {
            self.0[bit as usize] -= 1;
            if self.0[bit as usize] == 0 {
                let word = filter.word(bit as usize / 64, 0);
                word.store(word.load(Ordering::Relaxed) & !(1 << (bit % 64)), Ordering::Relaxed);
            }
        }
    }
}

/// What a commit needs besides the lists. Plain data: it borrows from its owners.
pub(super) struct Commit<'a> {
    pub(super) tables: &'a Tables,
    pub(super) pools: &'a mut Pools,
    pub(super) filter: &'a mut FilterCounts,
    pub(super) generation: &'a mut u32,
    /// New labels of rule numbers in use: number and label.
    pub(super) relabelled: &'a [(u32, u64)],
    /// The `meta` of each record, by rule number.
    pub(super) meta: &'a [u32],
}

/// Called before anything is written: packets that may still see remains of the last transaction
/// start again.
pub(super) fn begin(tables: &Tables, generation: u32) {
    tables.control.half_word(0, offset_of!(Control, floor)).store(generation, Ordering::SeqCst);
    publish();
}

impl Commit<'_> {
    /// Puts all changes of both versions in force. [`begin`] was called before the first write of
    /// this transaction.
    pub(super) fn run(mut self, indexes: &mut PerVersion<Index>) {
        let mut changes = Vec::new();
        let (mut freed_nodes, mut written_nodes) = (Vec::new(), Vec::new());
        self.mark_fresh_slots();
        for version in VERSIONS {
            self.stage(indexes.of_mut(version), &mut changes, &mut freed_nodes, &mut written_nodes);
        }
        let control = &self.tables.control;
        let old = control.read(0);
        let view = view_of(indexes);
        let [even, odd] = [0, 1].map(|n| (n, offset_of!(Control, view) + n * size_of::<View>()));
        write_view(control, odd.1, &old.view[1], &view);
        for &(number, label) in self.relabelled {
            self.tables.rules.word(number as usize, 8).store(label, Ordering::Relaxed);
        }

        publish();
        let generation = offset_of!(Control, generation);
        *self.generation += 1;
        control.half_word(0, generation).store(*self.generation, Ordering::SeqCst);
        publish();
        control.half_word(0, offset_of!(Control, floor)).store(*self.generation, Ordering::SeqCst);
        publish();

        write_view(control, even.1, &old.view[0], &view);
        for &(number, label) in self.relabelled {
            self.tables.rules.word(number as usize, 0).store(label, Ordering::Relaxed);
        }
        for change in changes {
            self.finish(change);
        }
        for (node, line) in written_nodes {
            self.tables.nodes.write(node as usize, line);
        }
        for node in freed_nodes {
            self.pools.nodes.release(node, 1);
        }
        publish();
        *self.generation += 1;
        control.half_word(0, generation).store(*self.generation, Ordering::SeqCst);
        publish();
    }

    /// Writes a key that no packet looks up into every newly taken slot, so that no search ends at
    /// one that may yet stay without a key.
    fn mark_fresh_slots(&mut self) {
        for slot in self.pools.slots.take_fresh() {
            let word = self.tables.slots.word(slot as usize, 0);
            if word.load(Ordering::Relaxed) == 0 {
                word.store(NO_KEY, Ordering::Release);
            }
        }
    }

    /// Writes the new lists of one IP version where no packet looks, and makes the descriptors
    /// pending.
    fn stage(
        &mut self,
        index: &mut Index,
        changes: &mut Vec<Change>,
        freed_nodes: &mut Vec<u32>,
        written_nodes: &mut Vec<(u32, NodeLine)>,
    ) {
        let (touched, removed) = index.take_touched();
        // The parts of nodes, then what refers to them.
        let mut dead_nodes: Vec<u32> = removed.iter().filter_map(|(_, bucket)| bucket.node).collect();
        for id in &touched {
            if let ListId::Part(number, id) = *id {
                self.stage_part(index, number, id, changes, &mut dead_nodes);
            }
        }
        for number in dead_nodes {
            index.remove_node(number);
            freed_nodes.push(number);
        }
        for (number, line) in index.take_changed_nodes() {
            self.write_node(number, line);
            written_nodes.push((number, line));
        }
        let (ipv6, hash) = (index.is_ipv6(), self.tables.hash);
        for (network, bucket) in removed {
            self.drop_list(bucket.list, bucket_bits(network, ipv6, hash), changes);
        }
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let parent = index.parent_slot(network);
            let Some(bucket) = index.bucket(network) else { continue };
            let is_new = !bucket.list.is_published();
            let bits = if is_new { bucket_bits(network, ipv6, hash) } else { [None; 2] };
            let slot = self.stage_list(bucket.list, bucket.node, parent, bits, changes);
            if is_new {
                self.write_bucket_key(network, ipv6, slot);
            }
        }
    }

    fn stage_part(
        &mut self,
        index: &mut Index,
        number: u32,
        id: u64,
        changes: &mut Vec<Change>,
        dead_nodes: &mut Vec<u32>,
    ) {
        if let Some(removed) = index.remove_empty_part(number, id) {
            dead_nodes.extend(removed.node);
            self.drop_list(removed.list, [Some(removed.hash), None], changes);
            return;
        }
        let Some(part) = index.part_of(number, id) else { return };
        let is_new = !part.list.is_published();
        let bits = if is_new { [Some(part.hash), None] } else { [None; 2] };
        let slot = self.stage_list(part.list, part.node, None, bits, changes);
        if is_new {
            self.write_id(slot as usize, id, [0; 2]);
        }
    }

    /// A list whose last record is gone.
    fn drop_list(&mut self, list: List, bits: Bits, changes: &mut Vec<Change>) {
        let (slot, published, run, (start, count)) = list.into_parts();
        self.pools.chunks.release(start, count);
        if published == 0 {
            // It was added and removed within this transaction; no packet has seen it.
            self.release_slot(slot);
            return;
        }
        let change = Change {
            slot,
            before: published,
            after: 0,
            last: 0,
            inline: Vec::new(),
            freed: [run, (0, 0)],
            gone: true,
            bits,
        };
        self.push(change, changes);
    }

    /// Writes a list's records into its new chunks; directly into the slot if no packet looks there
    /// yet. Returns its slot.
    fn stage_list(
        &mut self,
        list: &mut List,
        node: Option<u32>,
        parent: Option<u32>,
        bits: Bits,
        changes: &mut Vec<Change>,
    ) -> u32 {
        let slot = list.slot();
        let Staged { before, after, last, writing, unused: (start, count), freed } =
            list.stage(node, parent, self.meta);
        self.pools.chunks.release(start, count);
        let inline = match writing {
            Writing::Nothing => Vec::new(),
            Writing::Slot(places) => {
                self.write_slot(slot, &places);
                Vec::new()
            }
            Writing::Chunks(start, mut places) => {
                self.write_chunks(start, &places);
                places.truncate(SLOT_RECORDS);
                places
            }
        };
        self.push(Change { slot, before, after, last, inline, freed, gone: false, bits }, changes);
        slot
    }

    fn write_chunks(&self, start: u32, places: &[Place]) {
        for (n, places) in places.chunks(CHUNK).enumerate() {
            let mut chunk = Chunk { place: [Place::EMPTY; CHUNK] };
            chunk.place[..places.len()].copy_from_slice(places);
            self.tables.chunks.write(start as usize + n, chunk);
        }
    }

    fn write_slot(&self, slot: u32, places: &[Place]) {
        for (n, place) in places.iter().enumerate() {
            let at = offset_of!(Slot, place) + n * size_of::<Place>();
            for (n, word) in place.words().into_iter().enumerate() {
                self.tables.slots.word(slot as usize, at + n * 8).store(word, Ordering::Release);
            }
        }
    }

    /// Writes a node as it must be while old packets may use it: its tuples may be more than
    /// needed, never fewer. The line itself has to be written afterwards.
    fn write_node(&self, number: u32, line: NodeLine) {
        let old = self.tables.nodes.read(number as usize);
        let wide = NodeLine { classes: line.classes | old.classes, early: line.early | old.early, ..line };
        self.tables.nodes.write(number as usize, wide);
    }

    /// The key of a new bucket, whose pending descriptor still says "empty".
    fn write_bucket_key(&self, network: Network, ipv6: bool, slot: u32) {
        if ipv6 {
            let address = [(network.bits >> 64) as u64, network.bits as u64];
            self.write_id(slot as usize, Hash::bucket6_id(network.length), address);
        } else {
            self.write_id(slot as usize, Hash::bucket4_id((network.bits >> 96) as u32, network.length), [0; 2]);
        }
    }

    fn write_id(&self, slot: usize, id: u64, address: [u64; 2]) {
        let at = offset_of!(Slot, address);
        self.tables.slots.word(slot, at).store(address[0], Ordering::Release);
        self.tables.slots.word(slot, at + 8).store(address[1], Ordering::Release);
        self.tables.slots.word(slot, offset_of!(Slot, id)).store(id, Ordering::Release);
    }

    fn push(&mut self, change: Change, changes: &mut Vec<Change>) {
        if !change.gone {
            change.bits.into_iter().flatten().for_each(|hash| self.filter.add(hash, &self.tables.filter));
        }
        self.tables.pending.write(changes.len(), Pending { before: change.before, after: change.after });
        publish_store();
        self.descriptor(&change, descriptor::pending(changes.len()));
        changes.push(change);
    }

    fn descriptor(&self, change: &Change, value: u64) {
        self.tables.slots.word(change.slot as usize, offset_of!(Slot, descriptor)).store(value, Ordering::Release);
    }

    fn finish(&mut self, change: Change) {
        self.write_slot(change.slot, &change.inline);
        self.descriptor(&change, change.last);
        for (start, chunks) in change.freed {
            self.pools.chunks.release(start, chunks);
        }
        if change.gone {
            self.release_slot(change.slot);
            change.bits.into_iter().flatten().for_each(|hash| self.filter.subtract(hash, &self.tables.filter));
        }
    }

    fn release_slot(&mut self, slot: u32) {
        for slot in self.pools.slots.release(slot) {
            self.tables.slots.word(slot as usize, offset_of!(Slot, id)).store(0, Ordering::Release);
        }
    }
}

/// An id that is neither a bucket's nor a part's.
const NO_KEY: u64 = 0xffff;

/// Orders writes to a table before the descriptor that refers to them.
fn publish_store() {
    std::sync::atomic::fence(Ordering::Release);
}

/// The filter bits of a bucket: one that it shares with others nearby, unless it is a short prefix,
/// and its own.
fn bucket_bits(network: Network, ipv6: bool, hash: Hash) -> Bits {
    let (group, own) = if ipv6 {
        let (hi, lo) = ((network.bits >> 64) as u64, network.bits as u64);
        let (group, bits) = group6(network.length);
        (bits.map(|bits| hash.group6(hi, group, bits)), hash.bucket6(hi, lo, network.length))
    } else {
        let destination = (network.bits >> 96) as u32;
        let (group, bits) = group4(network.length);
        (
            bits.map(|bits| hash.group4(destination, group, bits)),
            hash.mix(Hash::bucket4_id(destination, network.length)),
        )
    };
    [group, Some(own)]
}

/// The prefix lengths that have rules.
fn view_of(indexes: &PerVersion<Index>) -> View {
    let mut view = View::ZERO;
    let PerVersion { v4, v6 } = indexes;
    for length in (0..=32u8).rev().filter(|&length| v4.has_length(length)) {
        let (group, _) = group4(length);
        view.lengths4[group][view.groups4[group] as usize] = length;
        view.groups4[group] += 1;
    }
    for length in (0..=128u8).rev().filter(|&length| v6.has_length(length)) {
        let (group, _) = group6(length);
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) };
        view.lengths6[group][view.groups6[group] as usize] =
            Length6 { hi: (mask >> 64) as u64, lo: mask as u64, length: u32::from(length), unused: 0 };
        view.groups6[group] += 1;
    }
    (view.has_protected4, view.has_protected6) = (u32::from(v4.has_protected()), u32::from(v6.has_protected()));
    view
}

/// Writes one of the two views, only the parts that differ: it is large and seldom changes.
fn write_view(control: &Table<Control>, at: usize, old: &View, new: &View) {
    if old == new {
        return;
    }
    let words = |view: &View| -> [u64; size_of::<View>() / 8] {
        // SAFETY: a View is integers without padding, and exactly this long.
        unsafe { std::mem::transmute::<View, [u64; size_of::<View>() / 8]>(*view) }
    };
    for (n, (old, new)) in words(old).into_iter().zip(words(new)).enumerate() {
        if old != new {
            control.word(0, at + n * 8).store(new, Ordering::Release);
        }
    }
}

/// Writes a rule's intervals.
pub(super) fn write_intervals(table: &Table<Interval>, start: u32, intervals: &[(u32, u32)]) {
    for (n, &(first, last)) in intervals.iter().enumerate() {
        table.write(start as usize + n, Interval { first, last });
    }
}
