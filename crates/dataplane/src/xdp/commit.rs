//! A transaction: from changed lists to changed tables, at once for every packet. `bpf/classify.h` tells how and why.

use super::index::{Bucket, Index, List, ListId, Pools};
use super::layout::{
    CHUNK, Chunk4, Chunk6, Control, FilterWord, Hash, Interval, Length6, NODE_PROTECTED, Node4, Node6, Pending, Record,
    Record4, Slot4, Slot6, Tuple4, Tuple6, View, descriptor,
};
use super::memory::{Table, publish};
use super::program::Tables;
use super::record::Network;
use std::mem::offset_of;
use std::sync::atomic::Ordering;

/// One descriptor that changes.
#[derive(Debug)]
struct Change {
    ipv6_slot: bool,
    slot: u32,
    before: u64,
    /// While old descriptors may still be in use: never inline.
    after: u64,
    last: u64,
    /// To be written before `last`.
    inline: Option<Record>,
    /// Chunks that are free afterwards.
    freed: [(usize, u32, u32); 2],
    /// The slot itself is free afterwards.
    gone: bool,
    /// The filter's bits of a list that is new or gone.
    bits: Bits,
}

/// The bits of the filter that a packet looks at before it looks for a list.
type Bits = [Option<u32>; 2];

/// Counts how many lists need each bit of the filter.
#[derive(Debug)]
pub(super) struct FilterCounts(Vec<u32>);

impl FilterCounts {
    pub(super) fn new() -> Self {
        FilterCounts(vec![0; 1 << super::layout::FILTER_BITS])
    }

    fn add(&mut self, bit: u32, filter: &Table<FilterWord>) {
        self.0[bit as usize] += 1;
        let word = filter.word(bit as usize / 64, 0);
        word.store(word.load(Ordering::Relaxed) | 1 << (bit % 64), Ordering::Relaxed);
    }

    fn subtract(&mut self, bit: u32, filter: &Table<FilterWord>) {
        self.0[bit as usize] -= 1;
        if self.0[bit as usize] == 0 {
            let word = filter.word(bit as usize / 64, 0);
            word.store(word.load(Ordering::Relaxed) & !(1 << (bit % 64)), Ordering::Relaxed);
        }
    }
}

/// Everything that a commit needs beside the lists.
pub(super) struct Commit<'a> {
    pub(super) tables: &'a Tables,
    pub(super) pools: &'a mut Pools,
    pub(super) filter: &'a mut FilterCounts,
    pub(super) generation: &'a mut u32,
    /// Labels that are new for a rule number in use: number and label.
    pub(super) relabelled: &'a [(u32, u64)],
    /// What a record's `meta` is, by rule number.
    pub(super) meta: &'a [u32],
}

/// Before anything is written: packets that may still see the last transaction's leavings begin again.
pub(super) fn begin(tables: &Tables, generation: u32) {
    tables.control.half_word(0, offset_of!(Control, floor)).store(generation, Ordering::SeqCst);
    publish();
}

impl Commit<'_> {
    /// Puts all changes of both versions in force. [`begin`] was called before the first word of this transaction was written.
    pub(super) fn run(mut self, indexes: &mut [Index; 2]) {
        let mut changes = Vec::new();
        let mut freed_nodes = Vec::new();
        self.mark_fresh_slots();
        for index in indexes.iter_mut() {
            self.stage(index, &mut changes, &mut freed_nodes);
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
        for (version, node) in freed_nodes {
            self.pools.nodes[version].give(node, 1);
        }
        publish();
        *self.generation += 1;
        control.half_word(0, generation).store(*self.generation, Ordering::SeqCst);
        publish();
    }

    /// Gives every slot that was taken a key that nobody looks for, so that no search ends at one that may yet stay without.
    fn mark_fresh_slots(&mut self) {
        let slots4 = self.pools.slots4.take_fresh().into_iter().map(|slot| self.tables.slots4.word(slot as usize, 0));
        let slots6 = self.pools.slots6.take_fresh().into_iter();
        let slots6 = slots6.map(|slot| self.tables.slots6.word(slot as usize, offset_of!(Slot6, length)));
        for word in slots4.chain(slots6) {
            if word.load(Ordering::Relaxed) == 0 {
                word.store(NO_KEY, Ordering::Release);
            }
        }
    }

    /// Writes the new lists of one IP version where nobody looks, and makes the descriptors pending.
    fn stage(&mut self, index: &mut Index, changes: &mut Vec<Change>, freed_nodes: &mut Vec<(usize, u32)>) {
        let version = usize::from(index.ipv6);
        let mut touched = std::mem::take(&mut index.touched);
        // New and vanished buckets change the parents of those inside.
        let mut inside = Vec::new();
        let mut dead: Vec<(Network, Bucket)> = Vec::new();
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let Some(bucket) = index.buckets.get(&network) else { continue };
            let is_empty = bucket.list.items.is_empty()
                && bucket.node.is_none_or(|node| {
                    index.nodes.get(&node).is_none_or(|node| node.lists.values().all(|l| l.list.items.is_empty()))
                });
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

        // Their lists, then the tuples that lead to them.
        for id in &touched {
            if let ListId::Tuple(number, key) = *id {
                self.stage_tuple_list(index, number, key, changes);
            }
        }
        for number in std::mem::take(&mut index.changed_nodes) {
            self.write_node(index, number);
        }
        for (network, bucket) in dead {
            if let Some(node) = bucket.node {
                index.nodes.remove(&node);
                freed_nodes.push((version, node));
            }
            let bits = bucket_bits(network, index.ipv6, self.tables.hash);
            self.drop_list(bucket.list, index.ipv6, version, bits, changes);
        }
        for id in &touched {
            let ListId::Bucket(network) = *id else { continue };
            let parent = index.parent_slot(network);
            let Some(bucket) = index.buckets.get_mut(&network) else { continue };
            let node = bucket.node;
            let is_new = bucket.list.published == 0;
            let bits = if is_new { bucket_bits(network, index.ipv6, self.tables.hash) } else { [None; 2] };
            let change = self.stage_list(&mut bucket.list, index.ipv6, version, node, parent, true, bits);
            let slot = change.slot;
            self.push(change, changes);
            if is_new {
                self.write_bucket_key(network, index.ipv6, slot);
            }
        }
    }

    fn stage_tuple_list(&mut self, index: &mut Index, number: u32, key: u64, changes: &mut Vec<Change>) {
        let version = usize::from(index.ipv6);
        let Some(node) = index.nodes.get_mut(&number) else { return };
        let Some(entry) = node.lists.get_mut(&key) else { return };
        let bits = [Some(Hash::filter_bit(entry.hash)), None];
        if entry.list.items.is_empty() {
            if let Some(entry) = node.lists.remove(&key) {
                node.tuples[entry.tuple].lists -= 1;
                self.drop_list(entry.list, false, version, bits, changes);
            }
            return;
        }
        let is_new = entry.list.published == 0;
        let may_inline = !index.ipv6;
        let bits = if is_new { bits } else { [None; 2] };
        let change = self.stage_list(&mut entry.list, false, version, None, None, may_inline, bits);
        let slot = change.slot as usize;
        self.push(change, changes);
        if is_new {
            self.tables.slots4.word(slot, 0).store(key, Ordering::Release);
        }
    }

    /// A list whose last record is gone.
    fn drop_list(&mut self, list: List, ipv6_slot: bool, version: usize, bits: Bits, changes: &mut Vec<Change>) {
        self.pools.chunks[version].give(list.staged.0, list.staged.1);
        if list.published == 0 {
            // It came and went within this transaction; nobody has seen it.
            self.give_slot(ipv6_slot, list.slot);
            return;
        }
        let freed = [(version, list.run.0, list.run.1), (version, 0, 0)];
        let change = Change {
            ipv6_slot,
            slot: list.slot,
            before: list.published,
            after: 0,
            last: 0,
            inline: None,
            freed,
            gone: true,
            bits,
        };
        self.push(change, changes);
    }

    /// Writes a list's records into its new chunks.
    #[expect(clippy::too_many_arguments, reason = "a list's surroundings, from the two places that know them")]
    fn stage_list(
        &mut self,
        list: &mut List,
        ipv6_slot: bool,
        version: usize,
        node: Option<u32>,
        parent: Option<u32>,
        may_inline: bool,
        bits: Bits,
    ) -> Change {
        let before = list.published;
        let mut freed = [(version, 0, 0); 2];
        let (mut after, mut last, mut inline) = (before & !PARENT, before & !PARENT, None);
        if let Some(node) = node {
            (after, last) = (descriptor::node(node), descriptor::node(node));
            freed = [(version, list.run.0, list.run.1), (version, list.staged.0, list.staged.1)];
            (list.run, list.staged) = ((0, 0), (0, 0));
        } else if list.changed {
            let chunks = list.items.len().div_ceil(CHUNK) as u32;
            let (start, have) = list.staged;
            self.pools.chunks[version].give(start + chunks, have - chunks);
            self.write_chunks(version, start, list);
            after = descriptor::list(start, list.items.len());
            freed[0] = (version, list.run.0, list.run.1);
            list.staged = (0, 0);
            match list.items[..] {
                [only] if may_inline => {
                    last = descriptor::inline();
                    inline = Some(only.record.with_meta(self.meta[only.number as usize]));
                    freed[1] = (version, start, chunks);
                    list.run = (0, 0);
                }
                _ => {
                    last = after;
                    list.run = (start, chunks);
                }
            }
        }
        list.changed = false;
        (after, last) = (descriptor::with_parent(after, parent), descriptor::with_parent(last, parent));
        list.published = last;
        Change { ipv6_slot, slot: list.slot, before, after, last, inline, freed, gone: false, bits }
    }

    fn write_chunks(&self, version: usize, start: u32, list: &List) {
        for (n, items) in list.items.chunks(CHUNK).enumerate() {
            let record = |at: usize| {
                items.get(at).map_or(Record::ZERO, |item| item.record.with_meta(self.meta[item.number as usize]))
            };
            let at = start as usize + n;
            if version == 0 {
                let mut chunk = Chunk4::ZERO;
                (0..CHUNK).for_each(|n| chunk.record[n] = record(n).to4());
                self.tables.chunks4.write(at, chunk);
            } else {
                let mut chunk = Chunk6::ZERO;
                (0..CHUNK).for_each(|n| chunk.record[n] = record(n));
                self.tables.chunks6.write(at, chunk);
            }
        }
    }

    fn write_node(&self, index: &Index, number: u32) {
        let Some(node) = index.nodes.get(&number) else { return };
        if index.ipv6 {
            let mut line = Node6 { count: node.tuples.len() as u32, ..Node6::ZERO };
            for (to, tuple) in line.tuple.iter_mut().zip(&node.tuples) {
                *to = Tuple6 { k: tuple.mask.k, t: tuple.mask.t, source: tuple.mask.source };
            }
            self.tables.nodes6.write(number as usize, line);
        } else {
            let mut line = Node4 { count: node.tuples.len() as u32, ..Node4::ZERO };
            for (to, tuple) in line.tuple.iter_mut().zip(&node.tuples) {
                *to = Tuple4 { k: tuple.mask.k, t: tuple.mask.t };
            }
            self.tables.nodes4.write(number as usize, line);
        }
    }

    /// The key of a new bucket, whose pending descriptor still says "nothing".
    fn write_bucket_key(&self, network: Network, ipv6: bool, slot: u32) {
        let slot = slot as usize;
        if ipv6 {
            let table = &self.tables.slots6;
            table.word(slot, 0).store((network.bits >> 64) as u64, Ordering::Release);
            table.word(slot, 8).store(network.bits as u64, Ordering::Release);
            table.word(slot, offset_of!(Slot6, length)).store(u64::from(network.length) + 1, Ordering::Release);
        } else {
            let key = Hash::bucket4_key((network.bits >> 96) as u32, network.length);
            self.tables.slots4.word(slot, 0).store(key, Ordering::Release);
        }
    }

    fn push(&mut self, change: Change, changes: &mut Vec<Change>) {
        if !change.gone {
            change.bits.into_iter().flatten().for_each(|bit| self.filter.add(bit, &self.tables.filter));
        }
        self.tables.pending.write(changes.len(), Pending { before: change.before, after: change.after });
        publish_store();
        self.descriptor(&change, descriptor::pending(changes.len()));
        changes.push(change);
    }

    fn descriptor(&self, change: &Change, value: u64) {
        let slot = change.slot as usize;
        let word = if change.ipv6_slot {
            self.tables.slots6.word(slot, offset_of!(Slot6, descriptor))
        } else {
            self.tables.slots4.word(slot, offset_of!(Slot4, descriptor))
        };
        word.store(value, Ordering::Release);
    }

    fn finish(&mut self, change: Change) {
        let slot = change.slot as usize;
        if let Some(record) = change.inline {
            if change.ipv6_slot {
                write_inline6(&self.tables.slots6, slot, record);
            } else {
                write_inline4(&self.tables.slots4, slot, record.to4());
            }
        }
        self.descriptor(&change, change.last);
        for (version, start, chunks) in change.freed {
            self.pools.chunks[version].give(start, chunks);
        }
        if change.gone {
            self.give_slot(change.ipv6_slot, change.slot);
            change.bits.into_iter().flatten().for_each(|bit| self.filter.subtract(bit, &self.tables.filter));
        }
    }

    fn give_slot(&mut self, ipv6: bool, slot: u32) {
        if ipv6 {
            for slot in self.pools.slots6.give(slot) {
                self.tables.slots6.word(slot as usize, offset_of!(Slot6, length)).store(0, Ordering::Release);
            }
        } else {
            for slot in self.pools.slots4.give(slot) {
                self.tables.slots4.word(slot as usize, 0).store(0, Ordering::Release);
            }
        }
    }
}

/// A key of neither a bucket nor a tuple, and a length of no prefix.
const NO_KEY: u64 = 0xffff;
/// The parent's bits of a descriptor.
const PARENT: u64 = 0xff_ffff << 34;

/// Orders a table's write before the descriptor that leads to it.
fn publish_store() {
    std::sync::atomic::fence(Ordering::Release);
}

fn write_inline4(table: &Table<Slot4>, slot: usize, record: Record4) {
    let at = offset_of!(Slot4, record);
    for (n, word) in [record.lo, record.hi, record.value, record.mask].into_iter().enumerate() {
        table.word(slot, at + n * 8).store(word, Ordering::Release);
    }
}

fn write_inline6(table: &Table<Slot6>, slot: usize, record: Record) {
    let at = offset_of!(Slot6, record);
    let [a, b] = record.source_value;
    let [c, d] = record.source_mask;
    for (n, word) in [record.lo, record.hi, record.value, record.mask, a, b, c, d].into_iter().enumerate() {
        table.word(slot, at + n * 8).store(word, Ordering::Release);
    }
}

/// Those of a bucket: one that it shares with others nearby, unless it is a short prefix, and its own.
fn bucket_bits(network: Network, ipv6: bool, hash: Hash) -> Bits {
    let (group, own) = if ipv6 {
        let (hi, lo) = ((network.bits >> 64) as u64, network.bits as u64);
        let group = match network.length {
            64.. => Some(hash.group6(hi, 64)),
            48.. => Some(hash.group6(hi, 48)),
            32.. => Some(hash.group6(hi, 32)),
            _ => None,
        };
        (group, hash.bucket6(hi, lo, network.length))
    } else {
        let destination = (network.bits >> 96) as u32;
        let group = match network.length {
            24.. => Some(hash.group4(destination, 8)),
            16.. => Some(hash.group4(destination, 16)),
            _ => None,
        };
        (group, hash.mix(Hash::bucket4_key(destination, network.length)))
    };
    [group.map(Hash::filter_bit), Some(Hash::filter_bit(own))]
}

/// Which prefix lengths have rules.
fn view_of(indexes: &[Index; 2]) -> View {
    let mut view = View::ZERO;
    let [v4, v6] = indexes;
    for length in (0..=32u8).rev().filter(|&length| v4.lengths[usize::from(length)] > 0) {
        let group = match length {
            24.. => 0,
            16.. => 1,
            _ => 2,
        };
        view.lengths4[group][view.groups4[group] as usize] = length;
        view.groups4[group] += 1;
    }
    for length in (0..=128u8).rev().filter(|&length| v6.lengths[usize::from(length)] > 0) {
        let group = match length {
            64.. => 0,
            48.. => 1,
            32.. => 2,
            _ => 3,
        };
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) };
        view.lengths6[group][view.groups6[group] as usize] =
            Length6 { hi: (mask >> 64) as u64, lo: mask as u64, length: u32::from(length), unused: 0 };
        view.groups6[group] += 1;
    }
    let protects =
        |index: &Index| u32::from(index.nodes.get(&NODE_PROTECTED).is_some_and(|node| !node.lists.is_empty()));
    (view.has_protected4, view.has_protected6) = (protects(v4), protects(v6));
    view
}

/// Writes one of the two views, only where it differs: it is large and seldom changes.
fn write_view(control: &Table<Control>, at: usize, old: &View, new: &View) {
    if old == new {
        return;
    }
    let words = |view: &View| -> [u64; size_of::<View>() / 8] {
        // SAFETY: a View is integers without padding, and exactly as long.
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
