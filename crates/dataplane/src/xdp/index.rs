//! The classifier's lists as we know them: which records stand where. `commit` writes them into the tables.

use super::layout::{Hash, LIST_MAX, Record, TUPLES};
use super::pool::Runs;
use super::record::{Network, TupleMask};
use super::slots::Slots;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A bucket longer than this becomes a node.
const BUCKET_MAX: usize = 24;
/// A list of a tuple that is longer than this gets no more records that a finer tuple can tell apart.
const TUPLE_LIST_MAX: usize = 12;
/// Tuples that split what others leave too long, at most.
const FINE_TUPLES: usize = 6;
/// Chunks that only a list which loses a record may use, so that taking rules out always works.
const CHUNKS_KEPT: u32 = 4096;

/// A list's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ListId {
    /// Of a destination.
    Bucket(Network),
    /// Of a node; its key in the hash table.
    Tuple(u32, u64),
}

/// One record of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) number: u32,
    pub(super) record: Record,
}

/// Records in order, and where they are.
#[derive(Debug)]
pub(super) struct List {
    pub(super) slot: u32,
    /// The descriptor in force; 0 while there is none.
    pub(super) published: u64,
    pub(super) items: Vec<Item>,
    /// Chunks in force: start and number.
    pub(super) run: (u32, u32),
    /// Chunks for the next commit.
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

/// A long list in parts.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) tuples: Vec<Tuple>,
    pub(super) lists: HashMap<u64, TupleList>,
}

#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) mask: TupleMask,
    /// Lists under it, those included that are on their way out.
    pub(super) lists: u32,
    /// One of the first choice for some kind of record; places are kept for all of those.
    pub(super) coarse: bool,
}

#[derive(Debug)]
pub(super) struct TupleList {
    pub(super) list: List,
    pub(super) tuple: usize,
    pub(super) hash: u64,
}

/// What is given out to both IP versions.
#[derive(Debug)]
pub(super) struct Pools {
    pub(super) slots4: Slots,
    pub(super) slots6: Slots,
    pub(super) chunks: [Runs; 2],
    pub(super) nodes: [Runs; 2],
}

/// Why a rule does not fit.
pub(super) type Full = String;

/// The lists of one IP version.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) ipv6: bool,
    pub(super) buckets: BTreeMap<Network, Bucket>,
    pub(super) nodes: HashMap<u32, Node>,
    /// How many buckets have each prefix length.
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

    fn insert(&mut self, item: Item, labels: &[u64]) {
        let label = labels[item.number as usize];
        let at = self.items.partition_point(|other| labels[other.number as usize] <= label);
        self.items.insert(at, item);
        self.changed = true;
    }

    /// Makes sure that there are chunks for `items` records.
    fn reserve(&mut self, items: usize, chunks: &mut Runs, kept: u32) -> Result<(), Full> {
        let needed = items.div_ceil(super::layout::CHUNK) as u32;
        let (start, have) = self.staged;
        if needed <= have {
            return Ok(());
        }
        if items > LIST_MAX {
            return Err(format!("{LIST_MAX} rules here differ only in what cannot be looked up"));
        }
        // Growing in steps, since a full load adds one record after another; what is too much goes back with the commit.
        let wanted = if have == 0 { needed } else { needed.next_power_of_two() };
        if chunks.total() - chunks.used() < wanted + kept {
            return Err("no room for more lists of rules".into());
        }
        let taken = chunks.take(wanted).ok_or("no room in one piece for a list of rules")?;
        if have > 0 {
            chunks.give(start, have);
        }
        self.staged = (taken, wanted);
        Ok(())
    }
}

impl Index {
    pub(super) fn new(ipv6: bool) -> Self {
        let fixed = [super::layout::NODE_PROTECTED, super::layout::NODE_WIDE];
        Index {
            ipv6,
            buckets: BTreeMap::new(),
            nodes: fixed.into_iter().map(|number| (number, Node::default())).collect(),
            lengths: [0; 129],
            touched: HashSet::new(),
            changed_nodes: HashSet::new(),
        }
    }

    fn version(&self) -> usize {
        usize::from(self.ipv6)
    }

    /// Adds a record to the rules for a destination.
    pub(super) fn add_to_bucket(
        &mut self,
        network: Network,
        item: Item,
        labels: &[u64],
        pools: &mut Pools,
        hash: Hash,
    ) -> Result<(), Full> {
        if !self.buckets.contains_key(&network) {
            let slot = take_bucket_slot(network, self.ipv6, pools, hash)?;
            self.buckets.insert(network, Bucket { list: List::new(slot), node: None });
            self.lengths[usize::from(network.length)] += 1;
            self.touched.insert(ListId::Bucket(network));
        }
        let version = self.version();
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err("no bucket".into()) };
        if let Some(node) = bucket.node {
            return self.add_to_node(node, item, labels, pools, hash);
        }
        let length = bucket.list.items.len() + 1;
        if length > BUCKET_MAX && self.split(network, labels, pools, hash) {
            return self.add_to_bucket(network, item, labels, pools, hash);
        }
        let Some(bucket) = self.buckets.get_mut(&network) else { return Err("no bucket".into()) };
        bucket.list.reserve(length, &mut pools.chunks[version], CHUNKS_KEPT)?;
        bucket.list.insert(item, labels);
        self.touched.insert(ListId::Bucket(network));
        Ok(())
    }

    /// Makes a node of a bucket's list. Leaves the list as it is when there is no room for that.
    fn split(&mut self, network: Network, labels: &[u64], pools: &mut Pools, hash: Hash) -> bool {
        let version = self.version();
        let Some(number) = pools.nodes[version].take(1) else { return false };
        self.nodes.insert(number, Node::default());
        let items = self.buckets.get(&network).map(|bucket| bucket.list.items.clone()).unwrap_or_default();
        let all = items.into_iter().all(|item| self.add_to_node(number, item, labels, pools, hash).is_ok());
        if !all {
            self.drop_unpublished_node(number, pools);
            return false;
        }
        if let Some(bucket) = self.buckets.get_mut(&network) {
            bucket.node = Some(number);
            bucket.list.items.clear();
            bucket.list.changed = true;
        }
        self.touched.insert(ListId::Bucket(network));
        true
    }

    fn drop_unpublished_node(&mut self, number: u32, pools: &mut Pools) {
        let version = self.version();
        for (key, list) in self.nodes.remove(&number).unwrap_or_default().lists {
            pools.chunks[version].give(list.list.staged.0, list.list.staged.1);
            pools.slots4.give(list.list.slot);
            self.touched.remove(&ListId::Tuple(number, key));
        }
        self.changed_nodes.remove(&number);
        pools.nodes[version].give(number, 1);
    }

    /// Adds a record to a node.
    pub(super) fn add_to_node(
        &mut self,
        number: u32,
        item: Item,
        labels: &[u64],
        pools: &mut Pools,
        hash: Hash,
    ) -> Result<(), Full> {
        let (ipv6, version) = (self.ipv6, self.version());
        let node = self.nodes.entry(number).or_default();
        let (tuple, is_new) = node.tuple_for(number, &item.record, ipv6, hash);
        if is_new {
            self.changed_nodes.insert(number);
        }
        let value = tuple_hash(&node.tuples[tuple].mask, &item.record, ipv6, hash);
        let key = Hash::tuple_key(ipv6, number, tuple, value);
        let list = match node.lists.entry(key) {
            Entry::Occupied(list) => list.into_mut(),
            Entry::Vacant(place) => {
                let slot = pools.slots4.take(Hash::tuple_index(key, value)).ok_or("the hash table is too crowded")?;
                node.tuples[tuple].lists += 1;
                place.insert(TupleList { list: List::new(slot), tuple, hash: value })
            }
        };
        self.touched.insert(ListId::Tuple(number, key));
        list.list.reserve(list.list.items.len() + 1, &mut pools.chunks[version], CHUNKS_KEPT)?;
        list.list.insert(item, labels);
        Ok(())
    }

    /// Takes a rule's records out of the place where `record` is, if it is there.
    ///
    /// # Errors
    /// There is no room to write the shorter list.
    pub(super) fn remove(
        &mut self,
        home: Option<Network>,
        fixed: u32,
        item: Item,
        pools: &mut Pools,
        hash: Hash,
    ) -> Result<(), Full> {
        let (ipv6, version) = (self.ipv6, self.version());
        let node = match home {
            None => Some(fixed),
            Some(network) => match self.buckets.get_mut(&network) {
                None => return Ok(()),
                Some(bucket) => {
                    if bucket.node.is_none() {
                        bucket.list.take_out(item.number, &mut pools.chunks[version])?;
                        self.touched.insert(ListId::Bucket(network));
                    }
                    bucket.node
                }
            },
        };
        let Some((number, node)) = node.and_then(|number| Some((number, self.nodes.get_mut(&number)?))) else {
            return Ok(());
        };
        let finest = TupleMask::finest(&item.record);
        for tuple in 0..node.tuples.len() {
            if !node.tuples[tuple].mask.is_within(&finest) {
                continue;
            }
            let value = tuple_hash(&node.tuples[tuple].mask, &item.record, ipv6, hash);
            let key = Hash::tuple_key(ipv6, number, tuple, value);
            if let Some(list) = node.lists.get_mut(&key)
                && list.list.items.iter().any(|other| other.number == item.number)
            {
                list.list.take_out(item.number, &mut pools.chunks[version])?;
                self.touched.insert(ListId::Tuple(number, key));
            }
        }
        if let Some(network) = home {
            self.touched.insert(ListId::Bucket(network));
        }
        Ok(())
    }

    /// The slot of the next shorter prefix with rules.
    pub(super) fn parent_slot(&self, network: Network) -> Option<u32> {
        (1..network.length)
            .rev()
            .filter(|&length| self.lengths[usize::from(length)] > 0)
            .find_map(|length| self.buckets.get(&Network::truncated(network.bits, length)))
            .map(|bucket| bucket.list.slot)
    }

    /// The prefixes inside of one, itself aside.
    pub(super) fn inside(&self, network: Network) -> Vec<Network> {
        if network.length >= 128 {
            return Vec::new();
        }
        let first = Network { bits: network.bits, length: network.length + 1 };
        let last = Network { bits: network.last(), length: 128 };
        self.buckets.range(first..=last).map(|(network, _)| *network).collect()
    }
}

impl List {
    fn take_out(&mut self, number: u32, chunks: &mut Runs) -> Result<(), Full> {
        self.items.retain(|item| item.number != number);
        self.changed = true;
        self.reserve(self.items.len(), chunks, 0)
    }
}

impl Node {
    /// The tuple for a record, and whether it is a new one.
    fn tuple_for(&mut self, number: u32, record: &Record, ipv6: bool, hash: Hash) -> (usize, bool) {
        let choices = TupleMask::choices(record, ipv6);
        let fine = choices[2];
        for mask in choices {
            if let Some(tuple) = self.position(&mask) {
                let value = tuple_hash(&mask, record, ipv6, hash);
                let key = Hash::tuple_key(ipv6, number, tuple, value);
                let length = self.lists.get(&key).map_or(0, |list| list.list.items.len());
                if length < TUPLE_LIST_MAX || mask == fine {
                    return (tuple, false);
                }
            } else if let Some(tuple) = self.new_tuple(mask, mask == choices[0]) {
                return (tuple, true);
            }
        }
        // No more kinds of look-up. Of those that are there and hold for this record, the one that leads to the fewest.
        let length = |&tuple: &usize| {
            let value = tuple_hash(&self.tuples[tuple].mask, record, ipv6, hash);
            let key = Hash::tuple_key(ipv6, number, tuple, value);
            self.lists.get(&key).map_or(0, |list| list.list.items.len())
        };
        let fitting = (0..self.tuples.len()).filter(|&tuple| self.tuples[tuple].mask.is_within(&fine));
        if let Some(tuple) = fitting.min_by_key(length) {
            return (tuple, false);
        }
        // The last place is kept for the one that fits all.
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
        // The one that fits all stays what it is: there may be no other place for it.
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

/// The hash of what a tuple looks at, the same for a record and the packets that it matches.
fn tuple_hash(mask: &TupleMask, record: &Record, ipv6: bool, hash: Hash) -> u64 {
    let value = hash.mix(hash.mix(record.lo & mask.k) ^ (record.value & mask.t));
    if !ipv6 {
        return value;
    }
    let [hi, lo] = record.source_value;
    hash.mix(hash.mix(value ^ (hi & mask.source[0])) ^ (lo & mask.source[1]))
}

fn take_bucket_slot(network: Network, ipv6: bool, pools: &mut Pools, hash: Hash) -> Result<u32, Full> {
    let slot = if ipv6 {
        let (hi, lo) = ((network.bits >> 64) as u64, network.bits as u64);
        pools.slots6.take(hash.bucket6(hi, lo, network.length) as u32)
    } else {
        let key = Hash::bucket4_key((network.bits >> 96) as u32, network.length);
        pools.slots4.take(hash.mix(key) as u32)
    };
    slot.ok_or_else(|| "the hash table is too crowded".into())
}
