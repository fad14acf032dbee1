//! Commits a transaction: writes changed lists to the tables, at once for every packet.
//! `bpf/classify.h` explains how and why.

use super::index::{Bucket, Index, List, ListId, Pools, Split};
use super::layout::{
    CHUNK, Chunk, Control, FilterWord, Hash, Interval, Length6, NodeLine, Pending, Place, SLOT_PLACES, SLOT_RECORDS,
    Slot, TupleLine, View, descriptor, group4, group6, node_protected,
};
use super::memory::{Table, publish};
use super::program::Tables;
use super::record::Network;
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
    freed: [(u32, u32); 2],
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
    pub(super) fn run(mut self, indexes: &mut [Index; 2]) {
        let mut changes = Vec::new();
        let (mut freed_nodes, mut written_nodes) = (Vec::new(), Vec::new());
        self.mark_fresh_slots();
        for index in indexes.iter_mut() {
            self.stage(index, &mut changes, &mut freed_nodes, &mut written_nodes);
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
        let mut touched = std::mem::take(&mut index.touched);
        // New and removed buckets change the parents of those inside.
        let mut inside = Vec::new();
        let mut dead: Vec<(Network, Bucket)> = Vec::new();
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let Some(bucket) = index.buckets.get(&network) else { continue };
            let is_empty = bucket.list.items.is_empty()
                && bucket.node.is_none_or(|node| index.nodes.get(&node).is_none_or(|node| node.records == 0));
            let is_new = bucket.list.published == 0;
            if is_empty {
                let Some(bucket) = index.buckets.remove(&network) else { continue };
                index.lengths[usize::from(network.length)] -= 1;
                inside.extend(index.inside(network));
                dead.push((network, bucket));
            } else if is_new {
                inside.extend(index.inside(network));
            }
        }
        touched.extend(inside.into_iter().map(ListId::Bucket));

        // The parts of nodes, then what refers to them.
        let mut dead_nodes: Vec<u32> = dead.iter().filter_map(|(_, bucket)| bucket.node).collect();
        for id in &touched {
            if let ListId::Part(number, id) = *id {
                self.stage_part(index, number, id, changes, &mut dead_nodes);
            }
        }
        for number in dead_nodes {
            index.nodes.remove(&number);
            freed_nodes.push(number);
        }
        for number in std::mem::take(&mut index.changed_nodes) {
            written_nodes.extend(self.write_node(index, number));
        }
        for (network, bucket) in dead {
            let bits = bucket_bits(network, index.ipv6, self.tables.hash);
            self.drop_list(bucket.list, bits, changes);
        }
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let parent = index.parent_slot(network);
            let Some(bucket) = index.buckets.get_mut(&network) else { continue };
            let is_new = bucket.list.published == 0;
            let bits = if is_new { bucket_bits(network, index.ipv6, self.tables.hash) } else { [None; 2] };
            let change = self.stage_list(&mut bucket.list, bucket.node, parent, bits);
            let slot = change.slot;
            self.push(change, changes);
            if is_new {
                self.write_bucket_key(network, index.ipv6, slot);
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
        let inner = index.nodes.get(&number).and_then(|node| node.parts.get(&id)?.node);
        let inner_is_empty = inner.is_none_or(|inner| index.nodes.get(&inner).is_none_or(|node| node.records == 0));
        let Some(node) = index.nodes.get_mut(&number) else { return };
        let Some(part) = node.parts.get_mut(&id) else { return };
        let bits = [Some(part.hash), None];
        if part.list.items.is_empty() && inner_is_empty {
            let Some(part) = node.parts.remove(&id) else { return };
            match part.split {
                Split::Tuple(tuple) => node.tuples[tuple].lists -= 1,
                Split::Source(class) => {
                    node.classes[class] -= 1;
                    if node.classes[class] == 0 {
                        index.changed_nodes.insert(number);
                    }
                }
            }
            dead_nodes.extend(part.node);
            self.drop_list(part.list, bits, changes);
            return;
        }
        let is_new = part.list.published == 0;
        let change = self.stage_list(&mut part.list, part.node, None, if is_new { bits } else { [None; 2] });
        let slot = change.slot as usize;
        self.push(change, changes);
        if is_new {
            self.write_id(slot, id, [0; 2]);
        }
    }

    /// A list whose last record is gone.
    fn drop_list(&mut self, list: List, bits: Bits, changes: &mut Vec<Change>) {
        self.pools.chunks.release(list.staged.0, list.staged.1);
        if list.published == 0 {
            // It was added and removed within this transaction; no packet has seen it.
            self.release_slot(list.slot);
            return;
        }
        let change = Change {
            slot: list.slot,
            before: list.published,
            after: 0,
            last: 0,
            inline: Vec::new(),
            freed: [list.run, (0, 0)],
            gone: true,
            bits,
        };
        self.push(change, changes);
    }

    /// Writes a list's records into its new chunks; directly into the slot if no packet looks there
    /// yet.
    fn stage_list(&mut self, list: &mut List, node: Option<u32>, parent: Option<u32>, bits: Bits) -> Change {
        let before = list.published;
        let (mut after, mut last, mut inline) = (before & !PARENT, before & !PARENT, Vec::new());
        let mut freed = [(0, 0); 2];
        if let Some(node) = node {
            (after, last) = (descriptor::node(node), descriptor::node(node));
            freed = [list.run, list.staged];
            (list.run, list.staged) = ((0, 0), (0, 0));
        } else if list.changed {
            let mut places = list.places(self.meta);
            let (start, have) = std::mem::take(&mut list.staged);
            let count = places.len();
            let chunks = if list.is_written_in_place(count) { 0 } else { count.div_ceil(CHUNK) as u32 };
            self.pools.chunks.release(start + chunks, have - chunks);
            freed[0] = list.run;
            let in_slot = (SLOT_PLACES / CHUNK) as u32;
            let rest = if count > SLOT_PLACES { start + in_slot } else { 0 };
            last = descriptor::inline(rest, count);
            if chunks == 0 {
                self.write_slot(list.slot, &places);
                after = last;
            } else {
                self.write_chunks(start, &places);
                after = descriptor::list(start, count);
                freed[1] = (start, chunks.min(in_slot));
                places.truncate(SLOT_RECORDS);
                inline = places;
            }
            list.run = (rest, chunks.saturating_sub(in_slot));
        }
        list.changed = false;
        (after, last) = (descriptor::with_parent(after, parent), descriptor::with_parent(last, parent));
        list.published = last;
        Change { slot: list.slot, before, after, last, inline, freed, gone: false, bits }
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
    /// needed, never fewer. Returns what has to be written afterwards.
    fn write_node(&self, index: &Index, number: u32) -> Option<(u32, NodeLine)> {
        let node = index.nodes.get(&number)?;
        let mut line = NodeLine { count: node.tuples.len() as u32, early: u32::from(node.early > 0), ..NodeLine::ZERO };
        for (n, &lists) in node.classes.iter().enumerate() {
            line.classes |= u32::from(lists > 0) << n;
        }
        for (to, tuple) in line.tuple.iter_mut().zip(&node.tuples) {
            *to = TupleLine { k: tuple.mask.k, t: tuple.mask.t, source: tuple.mask.source };
        }
        let old = self.tables.nodes.read(number as usize);
        let wide = NodeLine { classes: line.classes | old.classes, early: line.early | old.early, ..line };
        self.tables.nodes.write(number as usize, wide);
        Some((number, line))
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
/// The parent bits of a descriptor.
const PARENT: u64 = 0xff_ffff << 34;

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
fn view_of(indexes: &[Index; 2]) -> View {
    let mut view = View::ZERO;
    let [v4, v6] = indexes;
    for length in (0..=32u8).rev().filter(|&length| v4.lengths[usize::from(length)] > 0) {
        let (group, _) = group4(length);
        view.lengths4[group][view.groups4[group] as usize] = length;
        view.groups4[group] += 1;
    }
    for length in (0..=128u8).rev().filter(|&length| v6.lengths[usize::from(length)] > 0) {
        let (group, _) = group6(length);
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) };
        view.lengths6[group][view.groups6[group] as usize] =
            Length6 { hi: (mask >> 64) as u64, lo: mask as u64, length: u32::from(length), unused: 0 };
        view.groups6[group] += 1;
    }
    let protects = |index: &Index| {
        u32::from(index.nodes.get(&node_protected(index.ipv6)).is_some_and(|node| !node.parts.is_empty()))
    };
    (view.has_protected4, view.has_protected6) = (protects(v4), protects(v6));
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
