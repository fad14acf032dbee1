//! The nftables back end: applies the desired state to the kernel and keeps it there.

use super::batch::{Batch, Part, batch};
use super::capabilities::capabilities;
use super::changes::Changes;
use super::counts::{Count, InitialCounts};
use super::dump;
use super::inventory::Inventory;
use super::limit::countable;
use super::names::has_counts;
use super::nf_tables::{NFTA_TABLE_NAME, msg};
use super::options::{NO_INTERFACE, Options};
use super::program::Program;
use super::socket::{CommitError, Socket, io};
use super::table::TABLE;
use super::wire::Writer;
use crate::kernel::{DesiredState, PerVersion, Undo, Unenforced, VERSIONS};
use crate::{
    Applied, Attachment, BackendSettings, Condition, Counter, Counts, Dataplane, DataplaneError, EnforcementPoint,
    Health, Interface, NoSamples, Reading, SampleSource, Usage,
};
use engine::capability::Capabilities;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::{Nlri, Policing, RuleId};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often a transaction is retried because another program changed nf_tables meanwhile.
const ATTEMPTS: usize = 16;

/// A change of this many rules leaves memory behind that takes long to free.
const TRIM_AFTER_RULES: usize = 1000;

impl BackendSettings for Options {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        Ok(Box::new(Nftables::open(self.clone())?))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::NetworkNamespace
    }
}

/// The nftables back end. It acts in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Nftables {
    options: Options,
    socket: Socket,
    /// The kernel's generation for which `state` is known to be true.
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was applied yet, or it was cleared: rules of an earlier run may be in force.
    Unknown,
    /// This is in force.
    Applied { programs: Box<PerVersion<Program>>, inventories: Box<PerVersion<Inventory>>, unenforced: Unenforced },
    /// This is wanted, and in force as far as we know, but its program is lost: a transaction
    /// failed. A full load is next.
    Lost(DesiredState),
}

impl Nftables {
    /// Opens a netlink socket to nf_tables; changes nothing yet.
    ///
    /// # Errors
    /// The kernel has no nf_tables.
    pub fn open(options: Options) -> Result<Self, DataplaneError> {
        if let Some(name) = options.interfaces.iter().find(|name| name.is_empty() || name.len() > 15) {
            return Err(DataplaneError::InvalidSetting(format!(
                "`{name}` is not an interface name: it has 1 to 15 octets"
            )));
        }
        let socket = Socket::open()?;
        Ok(Nftables { options, socket, generation: 0, state: State::Unknown })
    }

    /// The interfaces that are filtered, if not all are.
    fn interfaces(&self) -> Vec<Interface> {
        let absent = || Attachment::None("no interface has this name".to_owned());
        let named = self.options.interfaces.iter().filter(|name| *name != NO_INTERFACE).map(|name| Interface {
            name: name.clone(),
            attachment: if self.socket.has_interface(name) { Attachment::Prerouting } else { absent() },
        });
        let unmatched =
            self.options.unmatched.iter().map(|name| Interface { name: name.clone(), attachment: absent() });
        named.chain(unmatched).collect()
    }

    fn load(&mut self, ruleset: &Ruleset) -> Result<Applied, DataplaneError> {
        for _ in 0..ATTEMPTS {
            let generation = self.socket.generation()?;
            let leftovers = PerVersion::try_new(|version| dump::leftovers(&mut self.socket, version))?;
            let newest = leftovers.iter().map(|(_, newest)| *newest).max().unwrap_or_default();
            let mut unenforced = Unenforced::default();
            let built = PerVersion::new(|version| {
                Program::build(version, self.options.clone(), newest + 1, ruleset, &mut unenforced)
            });
            let mut initial = InitialCounts::default();
            for version in VERSIONS {
                let sets = leftovers.of(version).0.sets.iter().filter(|name| has_counts(name));
                dump::kept_counts(&mut self.socket, version, sets, &mut initial)?;
            }
            let before = Inventory::default();
            let parts = PerVersion::new(|version| {
                let (program, changes) = built.of(version);
                Part { program, changes, leftovers: Some(&leftovers.of(version).0), before: &before }
            });
            let batch = batch(generation, &parts, &mut initial);
            match self.socket.commit(&batch.writer, batch.acknowledged) {
                Ok(mut echoed) => {
                    self.generation = after(generation, &batch.writer);
                    let mut inventories = PerVersion::<Inventory>::default();
                    let PerVersion { v4, v6 } = built;
                    let programs = [(v4, batch.rewritten.v4), (v6, batch.rewritten.v6)];
                    let [v4, v6] = programs.map(|((program, changes), rewritten)| {
                        let version = program.version();
                        let echoed = echoed.of_mut(version);
                        // The kernel reports the handle of a table only when it is created.
                        echoed.table = echoed.table.or(leftovers.of(version).0.handle);
                        inventories.of_mut(version).apply(&changes, rewritten, echoed);
                        program
                    });
                    let applied = unenforced.applied();
                    let programs = Box::new(PerVersion { v4, v6 });
                    self.state = State::Applied { programs, inventories: Box::new(inventories), unenforced };
                    return Ok(applied);
                }
                Err(CommitError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED)
    }

    /// Commits a change of what is in force.
    fn commit(
        &mut self,
        programs: &PerVersion<Program>,
        changes: &PerVersion<Changes>,
        inventories: &mut PerVersion<Inventory>,
    ) -> Result<(), DataplaneError> {
        for _ in 0..ATTEMPTS {
            let mut initial = InitialCounts::default();
            for version in VERSIONS {
                dump::transferred(&mut self.socket, version, &changes.of(version).transfers, &mut initial)?;
            }
            let parts = PerVersion::new(|version| Part {
                program: programs.of(version),
                changes: changes.of(version),
                leftovers: None,
                before: inventories.of(version),
            });
            let Batch { writer, acknowledged, rewritten } = batch(self.generation, &parts, &mut initial);
            match self.socket.commit(&writer, acknowledged) {
                Ok(echoed) => {
                    self.generation = after(self.generation, &writer);
                    inventories.v4.apply(&changes.v4, rewritten.v4, &echoed.v4);
                    inventories.v6.apply(&changes.v6, rewritten.v6, &echoed.v6);
                    return Ok(());
                }
                Err(CommitError::Stale) => {
                    let generation = self.socket.generation()?;
                    if let Some(damage) = dump::damage(&mut self.socket, inventories)? {
                        return Err(DataplaneError::ExternalChange(damage));
                    }
                    self.generation = generation;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED)
    }
}

impl Dataplane for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        let mut found = InitialCounts::default();
        if !matches!(self.state, State::Unknown) {
            return Ok(BTreeSet::new());
        }
        for version in VERSIONS {
            let left = dump::leftovers(&mut self.socket, version)?.0;
            // Without a hook, or dormant, it filters nothing.
            if left.base && !left.dormant {
                let counted = left.sets.iter().filter(|name| has_counts(name));
                dump::kept_counts(&mut self.socket, version, counted, &mut found)?;
            }
        }
        Ok(found.matched.into_keys().collect())
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.load(rules)
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let (mut programs, mut inventories, mut unenforced) = match std::mem::replace(&mut self.state, State::Unknown) {
            State::Applied { programs, inventories, unenforced } => (programs, inventories, unenforced),
            State::Unknown => {
                self.state = State::Unknown;
                return Err(DataplaneError::NothingApplied);
            }
            State::Lost(before) => {
                let mut wanted = before.clone();
                wanted.change(plan);
                let loaded = self.load(&wanted.ruleset());
                if loaded.is_err() {
                    self.state = State::Lost(before);
                }
                return loaded;
            }
        };
        let mut undo = Undo::new(programs.v4.protected().clone());
        unenforced.begin_change();
        let mut changes = PerVersion::<Changes>::default();
        if let Some(protected) = &plan.protected {
            programs.v4.protect(protected.clone(), &mut changes.v4);
            programs.v6.protect(protected.clone(), &mut changes.v6);
        }
        let mut groups = Vec::new();
        for version in VERSIONS {
            let gone = plan.remove.iter().filter(|nlri| nlri.family().version() == version);
            let removed = programs.of_mut(version).remove(gone, changes.of_mut(version));
            removed.rules.into_iter().for_each(|rule| undo.note(&rule.nlri.clone(), Some(rule)));
            groups.extend(removed.groups);
        }
        if !unenforced.is_empty() {
            plan.remove.iter().for_each(|nlri| unenforced.forget(nlri));
        }
        for rule in &plan.upsert {
            let version = rule.nlri.family().version();
            let program = programs.of_mut(version);
            undo.note(&rule.nlri, program.compiled(&rule.nlri).cloned());
            unenforced.forget(&rule.nlri);
            program.add_unless_blocked(rule, changes.of_mut(version), &mut unenforced);
        }
        loop {
            let blocked = unenforced.newly_blocked(programs.iter().flat_map(Program::rules));
            if blocked.is_empty() {
                break;
            }
            for version in VERSIONS {
                let keys = blocked.iter().map(|(rule, _)| &rule.nlri);
                let gone = keys.filter(|nlri| nlri.family().version() == version);
                groups.extend(programs.of_mut(version).remove(gone, changes.of_mut(version)).groups);
            }
            for (rule, failure) in blocked {
                unenforced.insert(&rule, failure);
                undo.note(&rule.nlri.clone(), Some(rule));
            }
        }
        match self.commit(&programs, &changes, &mut inventories) {
            Ok(()) => {
                let applied = unenforced.applied();
                self.state = State::Applied { programs, inventories, unenforced };
                if undo.len() > TRIM_AFTER_RULES {
                    drop_in_background((undo, changes, groups));
                }
                Ok(applied)
            }
            Err(error) => {
                self.state = State::Lost(undo.restore(programs.iter().flat_map(Program::rules)));
                Err(error)
            }
        }
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        match &self.state {
            State::Applied { .. } => {}
            State::Unknown => return Ok(Health::ExternalChange("nothing was applied yet".to_owned())),
            State::Lost(_) => return Ok(Health::ExternalChange("the last change failed".to_owned())),
        }
        let generation = self.socket.generation()?;
        if generation == self.generation {
            return Ok(Health::Intact);
        }
        let state = std::mem::replace(&mut self.state, State::Unknown);
        let damage = match &state {
            State::Applied { inventories, .. } => dump::damage(&mut self.socket, inventories),
            State::Unknown | State::Lost(_) => Ok(None),
        };
        self.state = state;
        match damage? {
            Some(damage) => Ok(Health::ExternalChange(damage)),
            None => {
                self.generation = generation;
                Ok(Health::Intact)
            }
        }
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        let State::Applied { inventories, .. } = &self.state else { return Ok(Vec::new()) };
        let counted = PerVersion::new(|version| {
            let sets = inventories.of(version).sets.iter().filter(|(_, set)| set.counts);
            sets.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        let mut counts = InitialCounts::default();
        for version in VERSIONS {
            dump::kept_counts(&mut self.socket, version, counted.of(version).iter(), &mut counts)?;
        }
        let State::Applied { programs, .. } = &self.state else { return Ok(Vec::new()) };
        let counter = |rule: &Arc<CompiledRule>| {
            let matched = counts.matched.get(&rule.id).copied().unwrap_or_default();
            let dropped = match countable(rule.effect.policing) {
                Policing::Discard => matched,
                Policing::Limit { .. } => counts.dropped.get(&rule.id).copied().unwrap_or_default(),
                Policing::None => Count::default(),
            };
            let Count { packets, bytes } = matched;
            let (dropped_packets, dropped_bytes) = (Some(dropped.packets), Some(dropped.bytes));
            (rule.nlri.clone(), Counter { packets, bytes, dropped_packets, dropped_bytes })
        };
        Ok(programs.iter().flat_map(Program::rules).map(counter).collect())
    }

    fn reading(&self) -> Option<Reading> {
        let State::Applied { inventories, .. } = &self.state else { return None };
        let counted = PerVersion::new(|version| {
            let sets = inventories.of(version).sets.iter().filter(|(_, set)| set.counts);
            sets.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        let generation = self.generation;
        let counters: usize =
            inventories.iter().flat_map(|inventory| &inventory.sets).map(|(_, set)| set.elements).sum();
        Some(Box::new(move || {
            // Few are read before it matters.
            if counters > SLOW_COUNTERS {
                lower_thread_priority();
            }
            let mut socket = Socket::open()?;
            let mut counts = InitialCounts::default();
            for version in VERSIONS {
                dump::kept_counts(&mut socket, version, counted.of(version).iter(), &mut counts)?;
            }
            let matched = counts.matched.into_iter().map(|(rule, count)| (rule, (count.packets, count.bytes)));
            let dropped = counts.dropped.into_iter().map(|(rule, count)| (rule, (count.packets, Some(count.bytes))));
            let disturbed = socket.generation()? != generation;
            Ok(Counts { matched: matched.collect(), dropped: dropped.collect(), disturbed })
        }))
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let State::Applied { inventories, .. } = &self.state else { return Ok(Usage::default()) };
        let rules: usize =
            inventories.iter().flat_map(|inventory| inventory.chains.values()).map(|chain| chain.rules).sum();
        let elements: usize =
            inventories.iter().flat_map(|inventory| &inventory.sets).map(|(_, set)| set.elements).sum();
        Ok(Usage { entries: (rules + elements) as u64, capacity: None, memory: None })
    }

    fn condition(&mut self) -> Condition {
        Condition { interfaces: self.interfaces(), ..Condition::default() }
    }

    fn unfiltered(&mut self) -> Option<String> {
        Condition::unfiltered(&self.interfaces())
    }

    fn samples(&self) -> Result<Box<dyn SampleSource>, NoSamples> {
        Err(NoSamples::PacketLog { group: self.options.sample_group })
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        drop_in_background(std::mem::replace(&mut self.state, State::Unknown));
        for _ in 0..ATTEMPTS {
            let generation = self.socket.generation()?;
            let there = PerVersion::try_new(|version| {
                self.socket.ask(version, msg::GETTABLE, 0, |w| w.str(NFTA_TABLE_NAME, TABLE), |_, _| {})
            })?;
            let mut writer = Writer::new();
            writer.begin(generation);
            let mut acknowledged = None;
            for version in VERSIONS.into_iter().filter(|version| *there.of(*version)) {
                writer.table_of(version);
                let flags = if acknowledged.is_none() { crate::netlink::NLM_F_ACK } else { 0 };
                let sequence = writer.message(msg::DELTABLE, flags, |w| w.str(NFTA_TABLE_NAME, TABLE));
                acknowledged.get_or_insert(sequence);
            }
            let Some(acknowledged) = acknowledged else { return Ok(()) };
            writer.end();
            match self.socket.commit(&writer, acknowledged) {
                Ok(_) => return Ok(()),
                Err(CommitError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED)
    }
}

/// The kernel's generation after a commit. If it may not have moved, the previous one: the next
/// change or check then finds another generation if it has moved, and checks whether everything is
/// as we left it. The other way round, a change of another program would go unnoticed.
const fn after(generation: u32, committed: &Writer) -> u32 {
    if committed.changes() { generation.wrapping_add(1) } else { generation }
}

/// From this number of elements on, reading counters takes long.
const SLOW_COUNTERS: usize = 20_000;

/// Gives the calling thread less of the processor than the threads that decide and apply, if all
/// compete for it.
fn lower_thread_priority() {
    const NICE: i32 = 10;
    // On Linux this concerns one thread. Lowering the priority is always permitted; otherwise it is
    // unchanged.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

/// Frees memory on a thread of its own: freeing the memory of many rules takes as long as changing
/// them.
fn drop_in_background<T: Send + 'static>(value: T) {
    // If no thread can be started, the value is dropped here, with the closure.
    let _ = std::thread::Builder::new().name("free".to_owned()).spawn(move || drop(value));
}

impl From<CommitError> for DataplaneError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Stale => CONTENDED,
            CommitError::Kernel { errno: Errno::PERM, .. } => {
                DataplaneError::Unavailable("changing nftables needs the capability CAP_NET_ADMIN".to_owned())
            }
            CommitError::Kernel { errno, words, .. } => {
                let error = std::io::Error::from(errno);
                DataplaneError::Refused(format!("nftables: {words}: {error}"))
            }
            CommitError::Io(Errno::MSGSIZE) => DataplaneError::Unavailable(
                "the transaction is larger than the socket buffer allows; run with CAP_NET_ADMIN in the initial user namespace, or raise \
                 net.core.wmem_max"
                    .to_owned(),
            ),
            CommitError::Io(errno) => io("talking to nftables", errno),
        }
    }
}

const CONTENDED: DataplaneError = DataplaneError::Contended("nftables");
