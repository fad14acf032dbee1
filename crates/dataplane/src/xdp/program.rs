//! Loads the program and maps its tables.

use super::CAPACITIES;
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

/// Sizes of the tables, from the maximum number of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Rules.
    pub(super) rules: u32,
    /// Rule numbers: more than rules, since a number is not reused at once.
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
    /// The program needs explicit load barriers, which some machines do without.
    pub(super) barriers: bool,
}

/// The most sets of counters: beyond this many CPUs they share.
const COUNTER_SETS: u32 = 16;
/// The most rules: their numbers have 20 bits.
pub(super) const RULES_MAX: u32 = *CAPACITIES.end();

impl Sizes {
    pub(super) fn for_rules(rules: u32) -> Self {
        let rules = rules.clamp(*CAPACITIES.start(), RULES_MAX);
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

/// The loaded program; not attached to anything.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) ebpf: Ebpf,
}

/// Loads `object`, with the named programs, for this many rules. `extra` sets the size of further
/// maps.
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
    let mut ebpf = loader.load(object).map_err(|error| unavailable("the XDP program", &error))?;
    for name in programs {
        let program = ebpf
            .program_mut(name)
            .ok_or_else(|| DataplaneError::Refused(format!("the object has no program {name}")))?;
        let program: &mut Xdp = program.try_into().map_err(|error| refused("load the XDP program", &error))?;
        program.load().map_err(|error| unavailable(&format!("the program {name}"), &error))?;
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
    DataplaneError::Refused(format!("{doing}: {}", error_chain(error)))
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}

/// This kernel rejects the program. The verifier's output, which is long, is logged at debug;
/// people get one line.
pub(super) fn unavailable(part: &str, error: &dyn std::error::Error) -> DataplaneError {
    let words = error_chain(error);
    let kernel = super::sys::kernel_release();
    tracing::debug!(kernel, part, words, "the kernel rejects it");
    // That is caused by the settings, not by the kernel.
    if words.contains("os error 12)") {
        return DataplaneError::Refused(format!("there is no memory for {part}; a smaller xdp.capacity takes less"));
    }
    DataplaneError::Unavailable(format!(
        "XDP is not available on this kernel: Linux {kernel} does not take {part} ({}); use a kernel that the manual's page on XDP names, or \
         backend = \"nftables\", or fallback = \"nftables\" in [dataplane.xdp]",
        reason(&words)
    ))
}

/// The reason from the messages of library and verifier: the error number's text, and the last
/// thing that the verifier says about the program.
fn reason(words: &str) -> String {
    const LONGEST: usize = 120;
    let (before, log) = words.split_once("Verifier output:").unwrap_or((words, ""));
    let is_statistic = |line: &&str| {
        ["processed ", "verification time", "stack depth", "max_states", "peak_states", "cur state:", "old state:"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let verdict = log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_statistic(line));
    let errno = before.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let reason = verdict.map_or_else(|| errno.to_owned(), |verdict| format!("{errno}: {verdict}"));
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_get_one_line_of_a_verifier() {
        let long = "0: R1=ctx() R10=fp0\n".repeat(2000);
        let error = std::io::Error::other(format!(
            "the BPF_PROG_LOAD syscall returned Permission denied (os error 13). Verifier output: {long}; x @ act.h:114\nR4 invalid zero-sized \
             read: u64=[0,128]\nverification time 12134 usec\nstack depth 48+0\nprocessed 32 insns (limit 1000000)\n"
        ));
        let DataplaneError::Unavailable(said) = unavailable("the program floodgate", &error) else {
            panic!("unavailable")
        };
        assert!(said.starts_with("XDP is not available on this kernel: Linux "), "{said}");
        assert!(said.contains("the program floodgate (") && said.contains("R4 invalid zero-sized read"), "{said}");
        assert!(said.len() < 500 && !said.contains('\n') && !said.contains("processed"), "{said}");
        let memory =
            std::io::Error::other("failed to create map `slots` with code -1: Cannot allocate memory (os error 12)");
        assert!(matches!(unavailable("the tables", &memory), DataplaneError::Refused(_)));
    }
}
