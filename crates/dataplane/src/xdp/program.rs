//! Loading the program and mapping its tables.

use super::layout::{
    Chunk, Control, CounterLine, Extra, FILTER_BITS, FilterWord, Hash, IdLine, Interval, NodeLine, Pending, RuleLine,
    Slot, StatisticsLine, Target,
};
use super::memory::{Plain, Table, random_seed};
use crate::DataplaneError;
use aya::maps::Map;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use std::os::fd::{AsFd, BorrowedFd};

/// Sizes of the tables, from how many rules are to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Rules.
    pub(super) rules: u32,
    /// Rule numbers: more than rules, since a number is not used again at once.
    pub(super) numbers: u32,
    pub(super) slots: u32,
    pub(super) chunks: u32,
    pub(super) nodes: u32,
    pub(super) extras: u32,
    pub(super) intervals: u32,
    pub(super) targets: u32,
    /// Sets of counters; a power of two.
    pub(super) counter_sets: u32,
    pub(super) cpus: u32,
    /// The program orders its loads, which not every machine does by itself.
    pub(super) barriers: bool,
}

/// The most sets of counters: beyond so many CPUs they share.
const COUNTER_SETS: u32 = 16;
/// The most rules: their numbers have 20 bits.
pub(super) const RULES_MAX: u32 = 1 << 19;

impl Sizes {
    pub(super) fn for_rules(rules: u32) -> Self {
        let rules = rules.clamp(1024, RULES_MAX);
        let cpus = possible_cpus();
        Sizes {
            rules,
            numbers: rules + rules / 4 + 1024,
            slots: (rules * 2).next_power_of_two(),
            chunks: rules + rules / 2 + 8192,
            nodes: (rules / 16).clamp(64, 32768),
            extras: rules / 2 + 1024,
            intervals: rules * 4 + 65_536,
            targets: 1024,
            counter_sets: cpus.next_power_of_two().min(COUNTER_SETS),
            cpus,
            barriers: !cfg!(any(target_arch = "x86_64", target_arch = "x86")),
        }
    }

    /// Octets of all tables together.
    pub(super) fn memory(&self) -> u64 {
        let table = |entries: u32, size: usize| u64::from(entries) * size as u64;
        table(self.slots, size_of::<Slot>() + size_of::<Pending>())
            + table(self.chunks, size_of::<Chunk>())
            + table(self.nodes, size_of::<NodeLine>())
            + table(self.extras, size_of::<Extra>())
            + table(self.intervals, size_of::<Interval>())
            + table(self.numbers, size_of::<RuleLine>() + size_of::<IdLine>())
            + table(self.numbers * self.counter_sets, size_of::<CounterLine>())
            + table(1, size_of::<Control>())
            + table(1 << FILTER_BITS >> 6, 8)
    }
}

fn possible_cpus() -> u32 {
    // "0-3,8-11": the last number is the largest.
    std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|list| list.trim().rsplit(['-', ',']).next()?.parse::<u32>().ok())
        .map_or(64, |last| last + 1)
}

/// The tables, mapped.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) sizes: Sizes,
    pub(super) hash: Hash,
    pub(super) control: Table<Control>,
    pub(super) filter: Table<FilterWord>,
    pub(super) slots: Table<Slot>,
    pub(super) pending: Table<Pending>,
    pub(super) chunks: Table<Chunk>,
    pub(super) nodes: Table<NodeLine>,
    pub(super) extras: Table<Extra>,
    pub(super) intervals: Table<Interval>,
    pub(super) rules: Table<RuleLine>,
    pub(super) ids: Table<IdLine>,
    pub(super) counters: Table<CounterLine>,
    pub(super) targets: Table<Target>,
    pub(super) stats: Table<StatisticsLine>,
}

/// The program in the kernel; not attached to anything.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) ebpf: Ebpf,
}

/// Loads `object`, with the named programs, for so many rules. `extra` sets the size of further maps.
pub(super) fn load(
    object: &[u8],
    programs: &[&str],
    sizes: Sizes,
    extra: &[(&str, u32)],
) -> Result<(Program, Tables), DataplaneError> {
    let hash = Hash(random_seed());
    let slots_mask = sizes.slots - 1;
    let counters_mask = sizes.counter_sets - 1;
    let shared = u32::from(sizes.cpus > sizes.counter_sets);
    let weak = u32::from(sizes.barriers);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("weak_order", &weak, true)
        .override_global("hash_seed", &hash.0, true)
        .override_global("slots_mask", &slots_mask, true)
        .override_global("counters_mask", &counters_mask, true)
        .override_global("counters_stride", &sizes.numbers, true)
        .override_global("counters_shared", &shared, true);
    let entries = [
        ("slots", sizes.slots),
        ("pending", sizes.slots),
        ("chunks", sizes.chunks),
        ("nodes", sizes.nodes),
        ("extras", sizes.extras),
        ("intervals", sizes.intervals),
        ("rules", sizes.numbers),
        ("ids", sizes.numbers),
        ("counters", sizes.numbers * sizes.counter_sets),
        ("targets", sizes.targets),
        ("stats", sizes.cpus),
    ];
    for &(name, entries) in entries.iter().chain(extra) {
        loader.map_max_entries(name, entries);
    }
    let mut ebpf = loader.load(object).map_err(|error| refused("load the XDP program", &error))?;
    for name in programs {
        let program = ebpf
            .program_mut(name)
            .ok_or_else(|| DataplaneError::Refused(format!("the object has no program {name}")))?;
        let program: &mut Xdp = program.try_into().map_err(|error| refused("load the XDP program", &error))?;
        program.load().map_err(|error| refused("load the XDP program", &error))?;
    }
    let tables = map_tables(&ebpf, sizes, hash)?;
    Ok((Program { ebpf }, tables))
}

fn map_tables(ebpf: &Ebpf, sizes: Sizes, hash: Hash) -> Result<Tables, DataplaneError> {
    Ok(Tables {
        sizes,
        hash,
        control: table(ebpf, "control", 1)?,
        filter: table(ebpf, "filter", 1 << FILTER_BITS >> 6)?,
        slots: table(ebpf, "slots", sizes.slots)?,
        pending: table(ebpf, "pending", sizes.slots)?,
        chunks: table(ebpf, "chunks", sizes.chunks)?,
        nodes: table(ebpf, "nodes", sizes.nodes)?,
        extras: table(ebpf, "extras", sizes.extras)?,
        intervals: table(ebpf, "intervals", sizes.intervals)?,
        rules: table(ebpf, "rules", sizes.numbers)?,
        ids: table(ebpf, "ids", sizes.numbers)?,
        counters: table(ebpf, "counters", sizes.numbers * sizes.counter_sets)?,
        targets: table(ebpf, "targets", sizes.targets)?,
        stats: table(ebpf, "stats", sizes.cpus)?,
    })
}

/// Maps one table of a loaded object.
pub(super) fn table<T: Plain>(ebpf: &Ebpf, name: &str, entries: u32) -> Result<Table<T>, DataplaneError> {
    Table::map(map_fd(ebpf, name)?, entries as usize, name)
}

/// A map's descriptor.
pub(super) fn map_fd<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, DataplaneError> {
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::RingBuf(data) | Map::HashMap(data)) => Ok(data.fd().as_fd()),
        _ => Err(DataplaneError::Refused(format!("the object has no table {name}"))),
    }
}

/// A loaded program's descriptor.
pub(super) fn program_fd<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, DataplaneError> {
    let program =
        ebpf.program(name).ok_or_else(|| DataplaneError::Refused(format!("the object has no program {name}")))?;
    let program: &Xdp = program.try_into().map_err(|error| refused("use the XDP program", &error))?;
    Ok(program.fd().map_err(|error| refused("use the XDP program", &error))?.as_fd())
}

/// An error of the library, with its causes.
pub(super) fn refused(doing: &str, error: &dyn std::error::Error) -> DataplaneError {
    let mut message = format!("{doing}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    // A verifier's log is long; the end of it says what is wrong.
    if let Some(start) = message.len().checked_sub(2000) {
        let start = message.ceil_char_boundary(start);
        message = format!("{doing}: ...{}", &message[start..]);
    }
    DataplaneError::Refused(message)
}
