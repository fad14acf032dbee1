//! The classifier's lists in user space: which records are where. `commit` writes them into the
//! tables.

use super::full::Full;
use super::layout::{
    CHUNK, Hash, LIST_MAX, Place, Record, SLOT_PLACES, SLOT_RECORDS, TUPLES, node_protected, node_wide,
};
use super::mix_hasher::MixHasher;
use super::pool::Runs;
use super::record::Network;
use super::slots::Slots;
use super::split::{CLASSES, TupleMask, source_class};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;

/// A bucket longer than this becomes a node.
const BUCKET_MAX: usize = 24;
/// A list of one source longer than this becomes a node.
const SOURCE_MAX: usize = 16;
/// A tuple's list longer than this gets no more records that a finer tuple can distinguish.
const TUPLE_LIST_MAX: usize = 12;
/// Most tuples that split lists which others leave too long.
const FINE_TUPLES: usize = 6;
/// Number of record kinds that get a tuple which separates them from all others at once: each is
/// the whole lookup for its kind.
const KINDS: usize = 3;
/// Chunks reserved for lists that lose a record, so that removing rules always works.
const RESERVED_CHUNKS: u32 = 4096;

/// Identifies a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ListId {
    /// Of a destination.
    Bucket(Network),
    /// Of a node; its id in the hash table.
    Part(u32, u64),
}

/// One record of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) number: u32,
    pub(super) record: Record,
    /// May come before rules with a more specific source: a rule for a destination among those
    /// without.
    pub(super) early: bool,
}

/// Records in order, and their location. Open to the files that build, split and commit lists: a
/// transaction of 100,000 rules uses them.
#[derive(Debug)]
pub(super) struct List {
    pub(super) slot: u32,
    /// The descriptor in force; 0 if there is none.
    pub(super) published: u64,
    pub(super) items: Vec<Item>,
    /// Chunks in force: start and number.
    pub(super) run: (u32, u32),
    /// Chunks allocated for the next commit.
    pub(super) staged: (u32, u32),
    pub(super) changed: bool,
}

/// The rules for one destination prefix.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) list: List,
    /// Instead of the list.
    pub(super) node: Option<u32>,
}

/// A long list split into parts. Open to the same files as [`List`].
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) tuples: Vec<Tuple>,
    pub(super) parts: HashMap<u64, Part, BuildHasherDefault<MixHasher>>,
    /// How many lists each class of sources has.
    pub(super) classes: [u32; CLASSES],
    /// Records in the tuples that may come before one with a source.
    pub(super) early: u32,
    /// A node of one source: all records are in tuples.
    of_source: bool,
    /// Records, each as often as it is in a list.
    pub(super) records: usize,
}

#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) mask: TupleMask,
    /// Lists in it, including those being removed.
    pub(super) lists: u32,
    /// One of the first choice for some kind of record; slots are reserved for all of those.
    pub(super) coarse: bool,
}

/// A list of a node.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) list: List,
    pub(super) split: Split,
    pub(super) hash: u64,
    /// Instead of the list, for a source with many rules.
    pub(super) node: Option<u32>,
}

/// The key of a node's list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Split {
    /// A class of sources.
    Source(usize),
    /// The number of a tuple.
    Tuple(usize),
}

/// Resources shared by both IP versions.
#[derive(Debug)]
pub(super) struct Pools {
    pub(super) slots: Slots,
    pub(super) chunks: Runs,
    pub(super) nodes: Runs,
}

/// What the lists of both IP versions share during a transaction.
#[derive(Debug)]
pub(super) struct IndexContext<'a> {
    /// By rule number: the label.
    pub(super) labels: &'a [u64],
    pub(super) pools: &'a mut Pools,
    pub(super) hash: Hash,
}

/// The lists of one IP version. Open to the same files as [`List`].
#[derive(Debug)]
pub(super) struct Index {
    pub(super) ipv6: bool,
    pub(super) buckets: BTreeMap<Network, Bucket>,
    pub(super) nodes: HashMap<u32, Node>,
    /// Number of buckets of each prefix length.
    pub(super) lengths: [u32; 129],
    /// Lists to be written with the next commit.
    pub(super) touched: HashSet<ListId>,
    /// Nodes with new tuples.
    pub(super) changed_nodes: HashSet<u32>,
}

impl List {
    fn new(slot: u32) -> Self {
        List { slot, published: 0, items: Vec::new(), run: (0, 0), staged: (0, 0), changed: false }
    }

    /// Adds a record, and reserves room to write the list.
    fn insert(&mut self, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let labels = context.labels;
        let label = labels[item.number as usize];
        let at = self.items.partition_point(|other| labels[other.number as usize] <= label);
        self.items.insert(at, item);
        if let Err(full) = self.reserve(&mut context.pools.chunks, RESERVED_CHUNKS) {
            self.items.remove(at);
            return Err(full);
        }
        self.changed = true;
        Ok(())
    }

    /// Removes a rule's records. Returns how many.
    fn remove_records(&mut self, number: u32, chunks: &mut Runs) -> Result<usize, Full> {
        let before = self.items.len();
        self.items.retain(|item| item.number != number);
        self.changed = true;
        self.reserve(chunks, 0)?;
        Ok(before - self.items.len())
    }

    /// Whether all of it is written into the slot at once: no packet looks there yet, and there is
    /// room for `places`.
    pub(super) fn is_written_in_place(&self, places: usize) -> bool {
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
    /// empty, and two places of a record are in one chunk.
    pub(super) fn places(&self, meta: &[u32]) -> Vec<Place> {
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

impl Index {
    pub(super) fn new(ipv6: bool) -> Self {
        let fixed = [node_protected(ipv6), node_wide(ipv6)];
        Index {
            ipv6,
            buckets: BTreeMap::new(),
            nodes: fixed.into_iter().map(|number| (number, Node::default())).collect(),
            lengths: [0; 129],
            touched: HashSet::new(),
            changed_nodes: HashSet::new(),
        }
    }

    /// Adds a record to the bucket of a destination.
    pub(super) fn add_to_bucket(
        &mut self,
        network: Network,
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        if !self.buckets.contains_key(&network) {
            let slot = take_bucket_slot(network, self.ipv6, context)?;
            self.buckets.insert(network, Bucket { list: List::new(slot), node: None });
            self.lengths[usize::from(network.length)] += 1;
            self.touched.insert(ListId::Bucket(network));
        }
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err(Full::Inconsistent("bucket")) };
        if let Some(node) = bucket.node {
            return self.add_to_node(node, item, context);
        }
        if bucket.list.items.len() >= BUCKET_MAX {
            let items = bucket.list.items.clone();
            if let Some(node) = self.node_of(items, false, context) {
                if let Some(bucket) = self.buckets.get_mut(&network) {
                    bucket.node = Some(node);
                    bucket.list.items.clear();
                    bucket.list.changed = true;
                }
                self.touched.insert(ListId::Bucket(network));
                return self.add_to_node(node, item, context);
            }
        }
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err(Full::Inconsistent("bucket")) };
        bucket.list.insert(item, context)?;
        self.touched.insert(ListId::Bucket(network));
        Ok(())
    }

    /// Makes a node of a list's records. `None` if there is no room for it.
    fn node_of(&mut self, items: Vec<Item>, of_source: bool, context: &mut IndexContext<'_>) -> Option<u32> {
        let number = context.pools.nodes.take(1)?;
        self.nodes.insert(number, Node { of_source, ..Node::default() });
        self.changed_nodes.insert(number);
        let all = items.into_iter().all(|item| self.add_to_node(number, item, context).is_ok());
        if !all {
            self.drop_unpublished_node(number, context.pools);
            return None;
        }
        Some(number)
    }

    fn drop_unpublished_node(&mut self, number: u32, pools: &mut Pools) {
        for (id, part) in self.nodes.remove(&number).unwrap_or_default().parts {
            pools.chunks.release(part.list.staged.0, part.list.staged.1);
            pools.slots.release(part.list.slot);
            self.touched.remove(&ListId::Part(number, id));
            if let Some(node) = part.node {
                self.drop_unpublished_node(node, pools);
            }
        }
        self.changed_nodes.remove(&number);
        pools.nodes.release(number, 1);
    }

    /// Adds a record to a node. On failure some of its lists may have it: the caller removes the
    /// rule.
    pub(super) fn add_to_node(&mut self, number: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let ipv6 = self.ipv6;
        let node = self.nodes.entry(number).or_default();
        if let Some((class, source)) = node.class_of(&item, ipv6) {
            return self.add_to_source(number, class, source, item, context);
        }
        let (tuple, is_new) = node.tuple_for(number, &item.record, ipv6, context.hash);
        if is_new || (item.early && node.early == 0) {
            self.changed_nodes.insert(number);
        }
        let values = node.tuples[tuple].mask.values(&item.record).ok_or(Full::Inconsistent("part of a list"))?;
        for &lanes in values.lanes() {
            let value = context.hash.tuple(ipv6, lanes, values.t, values.source);
            let id = Hash::tuple_id(number, tuple, value);
            let part = node.part(id, value, Split::Tuple(tuple), context.pools)?;
            self.touched.insert(ListId::Part(number, id));
            part.list.insert(item, context)?;
            node.records += 1;
            node.early += u32::from(item.early);
        }
        Ok(())
    }

    fn add_to_source(
        &mut self,
        number: u32,
        class: usize,
        source: [u64; 2],
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        let value = context.hash.source(self.ipv6, number, class, source);
        let id = Hash::source_id(number, class, value);
        let node = self.nodes.entry(number).or_default();
        let is_new_class = node.classes[class] == 0;
        let part = node.part(id, value, Split::Source(class), context.pools)?;
        if is_new_class {
            self.changed_nodes.insert(number);
        }
        self.touched.insert(ListId::Part(number, id));
        let inner = if part.node.is_none() && part.list.items.len() >= SOURCE_MAX {
            let items = part.list.items.clone();
            self.node_of(items, true, context)
        } else {
            part.node
        };
        let inner_records = inner.and_then(|inner| self.nodes.get(&inner)).map_or(0, |node| node.records);
        let Some(node) = self.nodes.get_mut(&number) else { return Err(Full::Inconsistent("node")) };
        let Some(part) = node.parts.get_mut(&id) else { return Err(Full::Inconsistent("list")) };
        if inner.is_some() && part.node.is_none() {
            part.node = inner;
            node.records = node.records + inner_records - part.list.items.len();
            part.list.items.clear();
            part.list.changed = true;
        }
        match inner {
            None => {
                part.list.insert(item, context)?;
                node.records += 1;
            }
            Some(inner) => self.add_counted(number, inner, item, context)?,
        }
        Ok(())
    }

    /// Adds a record to the node of one source in another node.
    fn add_counted(&mut self, outer: u32, inner: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let records = |index: &Self| index.nodes.get(&inner).map_or(0, |node| node.records);
        let before = records(self);
        let added = self.add_to_node(inner, item, context);
        let after = records(self);
        if let Some(node) = self.nodes.get_mut(&outer) {
            node.records += after - before;
        }
        added
    }

    /// Removes a rule's records from where `record` would be, if they are there.
    ///
    /// # Errors
    /// There is no room to write the shorter list.
    pub(super) fn remove(
        &mut self,
        home: Option<Network>,
        fixed: u32,
        item: Item,
        context: &mut IndexContext<'_>,
    ) -> Result<(), Full> {
        let Some(network) = home else { return self.remove_from_node(fixed, item, context) };
        let Some(bucket) = self.buckets.get_mut(&network) else { return Ok(()) };
        self.touched.insert(ListId::Bucket(network));
        match bucket.node {
            Some(node) => self.remove_from_node(node, item, context),
            None => bucket.list.remove_records(item.number, &mut context.pools.chunks).map(|_| ()),
        }
    }

    fn remove_from_node(&mut self, number: u32, item: Item, context: &mut IndexContext<'_>) -> Result<(), Full> {
        let ipv6 = self.ipv6;
        let Some(node) = self.nodes.get_mut(&number) else { return Ok(()) };
        if let Some((class, source)) = node.class_of(&item, ipv6) {
            let id = Hash::source_id(number, class, context.hash.source(ipv6, number, class, source));
            let Some(part) = node.parts.get_mut(&id) else { return Ok(()) };
            self.touched.insert(ListId::Part(number, id));
            let Some(inner) = part.node else {
                node.records -= part.list.remove_records(item.number, &mut context.pools.chunks)?;
                return Ok(());
            };
            let records = |index: &Self| index.nodes.get(&inner).map_or(0, |node| node.records);
            let before = records(self);
            let removed = self.remove_from_node(inner, item, context);
            let after = records(self);
            if let Some(node) = self.nodes.get_mut(&number) {
                node.records -= before - after;
            }
            return removed;
        }
        for tuple in 0..node.tuples.len() {
            let Some(values) = node.tuples[tuple].mask.values(&item.record) else { continue };
            for &lanes in values.lanes() {
                let value = context.hash.tuple(ipv6, lanes, values.t, values.source);
                let id = Hash::tuple_id(number, tuple, value);
                if let Some(part) = node.parts.get_mut(&id)
                    && part.list.items.iter().any(|other| other.number == item.number)
                {
                    let gone = part.list.remove_records(item.number, &mut context.pools.chunks)?;
                    node.records -= gone;
                    if item.early {
                        node.early -= gone as u32;
                        self.changed_nodes.insert(number);
                    }
                    self.touched.insert(ListId::Part(number, id));
                }
            }
        }
        Ok(())
    }

    /// The slot of the next shorter prefix with rules.
    pub(super) fn parent_slot(&self, network: Network) -> Option<u32> {
        let (mut nearest, mut bucket) = self.buckets.range(..network).next_back()?;
        while !nearest.contains(network) {
            // A prefix that contains `network` sorts before `nearest`, and contains that, too: it
            // is no longer than what both share.
            let shared = (nearest.bits ^ network.bits).leading_zeros() as u8;
            (nearest, bucket) = self.buckets.range(..=Network::truncated(network.bits, shared)).next_back()?;
        }
        (nearest.length > 0).then_some(bucket.list.slot)
    }

    /// The prefixes inside of one, without itself.
    pub(super) fn inside(&self, network: Network) -> Vec<Network> {
        if network.length >= 128 {
            return Vec::new();
        }
        let first = Network { bits: network.bits, length: network.length + 1 };
        let last = Network { bits: network.last(), length: 128 };
        self.buckets.range(first..=last).map(|(network, _)| *network).collect()
    }
}

impl Node {
    /// The key for a record with a source, unless all are in tuples or another order counts.
    fn class_of(&self, item: &Item, ipv6: bool) -> Option<(usize, [u64; 2])> {
        if self.of_source || item.early { None } else { source_class(&item.record, ipv6) }
    }

    /// The list with this id, created if it does not exist.
    fn part(&mut self, id: u64, hash: u64, split: Split, pools: &mut Pools) -> Result<&mut Part, Full> {
        match self.parts.entry(id) {
            Entry::Occupied(part) => Ok(part.into_mut()),
            Entry::Vacant(place) => {
                let slot = pools.slots.take(Hash::part_index(id, hash)).ok_or(Full::Slots)?;
                match split {
                    Split::Source(class) => self.classes[class] += 1,
                    Split::Tuple(tuple) => self.tuples[tuple].lists += 1,
                }
                Ok(place.insert(Part { list: List::new(slot), split, hash, node: None }))
            }
        }
    }

    /// The length of the longest list that a record would be in under a mask; `None` if it cannot
    /// be looked up by that mask.
    fn length(&self, number: u32, tuple: usize, record: &Record, ipv6: bool, hash: Hash) -> Option<usize> {
        let values = self.tuples[tuple].mask.values(record)?;
        let length = |&lanes: &u64| {
            let value = hash.tuple(ipv6, lanes, values.t, values.source);
            self.parts.get(&Hash::tuple_id(number, tuple, value)).map_or(0, |part| part.list.items.len())
        };
        values.lanes().iter().map(length).max()
    }

    /// The tuple for a record, and whether it is new.
    fn tuple_for(&mut self, number: u32, record: &Record, ipv6: bool, hash: Hash) -> (usize, bool) {
        let choices = TupleMask::choices(record, ipv6, self.of_source);
        let fine = choices[2];
        let kind = TupleMask::kind(record, ipv6);
        let in_use = self.tuples.iter().filter(|tuple| tuple.lists > 0).count();
        let takes_kind = self.position(&kind).is_some() || in_use < KINDS;
        for mask in takes_kind.then_some(kind).into_iter().chain(choices) {
            if let Some(tuple) = self.position(&mask) {
                let length = self.length(number, tuple, record, ipv6, hash);
                if length.is_some_and(|length| length < TUPLE_LIST_MAX || mask == fine) {
                    return (tuple, false);
                }
            } else if mask.values(record).is_some()
                && let Some(tuple) = self.new_tuple(mask, mask == choices[0])
            {
                return (tuple, true);
            }
        }
        // No more lookup kinds: of the existing ones that fit this record, the one with the fewest
        // lists.
        let fitting =
            (0..self.tuples.len()).filter_map(|tuple| Some((self.length(number, tuple, record, ipv6, hash)?, tuple)));
        if let Some((_, tuple)) = fitting.min() {
            return (tuple, false);
        }
        // The last place is reserved for the tuple that fits all.
        self.tuples.push(Tuple { mask: TupleMask::NONE, lists: 0, coarse: true });
        (self.tuples.len() - 1, true)
    }

    fn position(&self, mask: &TupleMask) -> Option<usize> {
        self.tuples.iter().position(|tuple| tuple.mask == *mask)
    }

    fn new_tuple(&mut self, mask: TupleMask, coarse: bool) -> Option<usize> {
        let is_unused = |tuple: &Tuple| tuple.lists == 0 && tuple.mask != TupleMask::NONE;
        let fine = self.tuples.iter().filter(|tuple| !tuple.coarse && !is_unused(tuple)).count();
        if !coarse && fine >= FINE_TUPLES {
            return None;
        }
        // The tuple that fits all stays: there may be no other place for its records.
        if let Some(unused) = self.tuples.iter().position(is_unused) {
            (self.tuples[unused].mask, self.tuples[unused].coarse) = (mask, coarse);
            return Some(unused);
        }
        let has_none = mask == TupleMask::NONE || self.position(&TupleMask::NONE).is_some();
        if self.tuples.len() + usize::from(!has_none) >= TUPLES {
            return None;
        }
        self.tuples.push(Tuple { mask, lists: 0, coarse });
        Some(self.tuples.len() - 1)
    }
}

fn take_bucket_slot(network: Network, ipv6: bool, context: &mut IndexContext<'_>) -> Result<u32, Full> {
    let hash = context.hash;
    let place = if ipv6 {
        let (hi, lo) = ((network.bits >> 64) as u64, network.bits as u64);
        hash.bucket6(hi, lo, network.length)
    } else {
        hash.mix(Hash::bucket4_id((network.bits >> 96) as u32, network.length))
    };
    context.pools.slots.take(place as u32).ok_or(Full::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_the_next_shorter_prefix_around() {
        let mut seed = flowspec::testing::Seed::new(4);
        for _ in 0..200 {
            let mut index = Index::new(true);
            // Few bits, so that many are inside of others.
            for slot in 0..40 {
                let length = 1 + seed.below(7) as u8 * if seed.percent(50) { 1 } else { 18 };
                let bits = u128::from(seed.below(256)) << 120 | u128::from(seed.below(4));
                let network = Network::truncated(bits, length.min(128));
                index.buckets.insert(network, Bucket { list: List::new(slot), node: None });
            }
            for &network in index.buckets.keys() {
                let around = index.buckets.iter().filter(|(other, _)| **other != network && other.contains(network));
                let nearest = around.max_by_key(|(other, _)| other.length).map(|(_, bucket)| bucket.list.slot);
                assert_eq!(index.parent_slot(network), nearest, "{network:?}");
            }
        }
    }
}
