//! The back end: what is wanted, brought into the kernel and looked after.

use super::batch::{
    Batch, CHAIN_TYPE, Carried, Count, DROPPED, HOOK_PREROUTING, Inventory, Leftovers, MATCHED, POLICY, PRIORITY, Part,
    SetInventory, TABLE, batch, fingerprint, rule_of_comment,
};
use super::changes::{Carry, Changes};
use super::families::{Families, VERSIONS, family_name};
use super::program::{BASE, Program};
use super::socket::{CommitError, Socket, io};
use super::statement::OBJECT_COUNTER;
use super::wire::{Attributes, Writer, msg};
use super::{Options, capabilities};
use crate::{Applied, Counter, Dataplane, DataplaneError, Health, RuleFailure, SampleSource, Usage};
use engine::capability::Capabilities;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::Space;
use flowspec::{IpVersion, Nlri, Policing, RuleId};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a transaction is tried again because somebody else changed nf_tables meanwhile.
const ATTEMPTS: usize = 16;

/// The nftables back end. It acts in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Nftables {
    options: Options,
    socket: Socket,
    /// The kernel's generation in which all was as `state` says.
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was applied yet, or it was cleared: what an earlier run left may be in force.
    Unknown,
    /// This is in force.
    Applied { programs: Box<Families<Program>>, inventories: Families<Inventory>, failures: Failures },
    /// This is in force as far as we know, but we have no program of it: a transaction failed. A full load is next.
    Lost(Wanted),
}

type Failures = BTreeMap<Arc<Nlri>, RuleFailure>;

/// A rule set as values.
#[derive(Clone, Debug, Default)]
struct Wanted {
    protected: Arc<Vec<Space>>,
    rules: BTreeMap<Arc<Nlri>, Arc<CompiledRule>>,
}

impl Wanted {
    fn change(&mut self, plan: &Plan) {
        if let Some(protected) = &plan.protected {
            self.protected = protected.clone();
        }
        for nlri in &plan.remove {
            self.rules.remove(nlri);
        }
        self.rules.extend(plan.upsert.iter().map(|rule| (rule.nlri.clone(), rule.clone())));
    }

    fn ruleset(&self) -> Ruleset {
        Ruleset { protected: self.protected.clone(), rules: self.rules.values().cloned().collect() }
    }
}

impl Nftables {
    /// Opens the kernel's tables; changes nothing yet.
    ///
    /// # Errors
    /// The kernel has no nf_tables.
    pub fn open(options: Options) -> Result<Self, DataplaneError> {
        if let Some(name) = options.interfaces.iter().find(|name| name.is_empty() || name.len() > 15) {
            return Err(DataplaneError::Refused(format!("`{name}` is no interface name: it has 1 to 15 octets")));
        }
        let socket = Socket::open()?;
        Ok(Nftables { options, socket, generation: 0, state: State::Unknown })
    }

    /// Other interfaces from the next [`Dataplane::replace`] on.
    pub fn set_interfaces(&mut self, interfaces: Vec<String>) {
        self.options.interfaces = interfaces;
    }

    fn load(&mut self, ruleset: &Ruleset) -> Result<Applied, DataplaneError> {
        for _ in 0..ATTEMPTS {
            let generation = self.socket.generation()?;
            let leftovers = Families::try_new(|version| self.leftovers(version))?;
            let newest = leftovers.iter().map(|(_, newest)| *newest).max().unwrap_or_default();
            let built = Families::new(|version| Program::build(version, self.options.clone(), newest + 1, ruleset));
            let mut carried = Carried::default();
            for version in VERSIONS {
                let counts = |name: &&String| name.contains(MATCHED) || name.contains(DROPPED);
                let sets = leftovers.of(version).0.sets.iter().filter(counts);
                self.kept_counts(version, sets, &mut carried)?;
            }
            let before = Inventory::default();
            let parts = Families::new(|version| {
                let (program, changes, _) = built.of(version);
                Part { program, changes, leftovers: Some(&leftovers.of(version).0), before: &before }
            });
            let batch = batch(generation, &parts, &mut carried);
            match self.socket.commit(&batch.writer, batch.acknowledged) {
                Ok(()) => {
                    self.generation = generation.wrapping_add(1);
                    let mut inventories = Families::<Inventory>::default();
                    let mut failures = Failures::new();
                    let Families { v4, v6 } = built;
                    let programs = [(v4, batch.rewritten.v4), (v6, batch.rewritten.v6)];
                    let [v4, v6] = programs.map(|((program, changes, failed), rewritten)| {
                        inventories.of_mut(program.version).apply(&changes, rewritten);
                        failures.extend(failed);
                        program
                    });
                    let applied = applied(&failures);
                    let programs = Box::new(Families { v4, v6 });
                    self.state = State::Applied { programs, inventories, failures };
                    return Ok(applied);
                }
                Err(CommitError::Stale) => {}
                Err(error) => return Err(said(error)),
            }
        }
        Err(busy())
    }

    /// Commits a change of what is in force.
    fn commit(
        &mut self,
        programs: &Families<Program>,
        changes: &Families<Changes>,
        inventories: &mut Families<Inventory>,
    ) -> Result<(), DataplaneError> {
        for _ in 0..ATTEMPTS {
            let mut carried = Carried::default();
            for version in VERSIONS {
                self.carried(version, &changes.of(version).carry, &mut carried)?;
            }
            let parts = Families::new(|version| Part {
                program: programs.of(version),
                changes: changes.of(version),
                leftovers: None,
                before: inventories.of(version),
            });
            let Batch { writer, acknowledged, rewritten } = batch(self.generation, &parts, &mut carried);
            match self.socket.commit(&writer, acknowledged) {
                Ok(()) => {
                    self.generation = self.generation.wrapping_add(1);
                    inventories.v4.apply(&changes.v4, rewritten.v4);
                    inventories.v6.apply(&changes.v6, rewritten.v6);
                    return Ok(());
                }
                Err(CommitError::Stale) => {
                    let generation = self.socket.generation()?;
                    if let Some(damage) = self.damage(inventories)? {
                        return Err(DataplaneError::Refused(damage));
                    }
                    self.generation = generation;
                }
                Err(error) => return Err(said(error)),
            }
        }
        Err(busy())
    }

    /// What is not as we left it.
    fn damage(&mut self, inventories: &Families<Inventory>) -> Result<Option<String>, DataplaneError> {
        for version in VERSIONS {
            if let Some(damage) = self.damage_of(version, inventories.of(version))? {
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }

    fn damage_of(&mut self, version: IpVersion, inventory: &Inventory) -> Result<Option<String>, DataplaneError> {
        let ours = format!("table {} {TABLE}", family_name(version));
        let found = self.leftovers(version)?.0;
        if !found.table {
            return Ok(Some(format!("the {ours} is gone")));
        }
        if found.dormant {
            return Ok(Some(format!("somebody switched the {ours} off (dormant)")));
        }
        if !found.base {
            return Ok(Some(format!("the chain {BASE} of the {ours} is gone or hooked elsewhere")));
        }
        let mut rules: BTreeMap<String, usize> = found.chains.iter().map(|name| (name.clone(), 0)).collect();
        rules.insert(BASE.to_owned(), 0);
        let in_table = |w: &mut Writer| w.str(1, TABLE);
        self.socket.dump(version, msg::GETRULE, in_table, |_, rule| {
            if let Some(chain) = rule.str(2).filter(|_| rule.str(1).as_deref() == Some(TABLE)) {
                *rules.entry(chain).or_default() += 1;
            }
        })?;
        if rules != inventory.chains {
            return Ok(Some(format!("somebody changed the rules of the {ours}")));
        }
        if found.counters.len() != inventory.counters || !found.others.is_empty() {
            return Ok(Some(format!("somebody changed the counters of the {ours}")));
        }
        let mut sets = found.sets;
        sets.sort_unstable();
        if !sets.iter().eq(inventory.sets.keys()) {
            return Ok(Some(format!("somebody changed the sets of the {ours}")));
        }
        for (set, SetInventory { elements: expected, keys: known, .. }) in &inventory.sets {
            let (mut elements, mut keys) = (0, 0u64);
            self.each_element(version, set, |element| {
                elements += 1;
                let key = element.inside(1).and_then(|key| key.find(1)).unwrap_or_default();
                keys = keys.wrapping_add(fingerprint(key));
            })?;
            if elements != *expected {
                return Ok(Some(format!("the set {set} of the {ours} has {elements} elements, not {expected}")));
            }
            if keys != *known {
                return Ok(Some(format!("somebody replaced elements of the set {set} of the {ours}")));
            }
        }
        Ok(None)
    }

    /// What is in our table, and the highest generation among its names.
    fn leftovers(&mut self, version: IpVersion) -> Result<(Leftovers, u32), DataplaneError> {
        const DORMANT: u32 = 1;
        let mut flags = 0;
        let table = self.socket.ask(
            version,
            msg::GETTABLE,
            0,
            |w| w.str(1, TABLE),
            |_, table| flags = table.u32(2).unwrap_or_default(),
        )?;
        let mut found = Leftovers { table, dormant: flags & DORMANT != 0, ..Leftovers::default() };
        if !found.table {
            return Ok((found, 0));
        }
        let ours = |attributes: Attributes<'_>| attributes.str(1).as_deref() == Some(TABLE);
        let in_table = |w: &mut Writer| w.str(1, TABLE);
        self.socket.dump(version, msg::GETCHAIN, in_table, |_, chain| {
            let Some(name) = chain.str(3).filter(|_| ours(chain)) else { return };
            if name == BASE && is_our_base(chain) {
                found.base = true;
            } else {
                found.chains.push(name);
            }
        })?;
        self.socket.dump(version, msg::GETSET, in_table, |_, set| {
            found.sets.extend(set.str(2).filter(|_| ours(set) && !is_anonymous(set)));
        })?;
        self.socket.dump(version, msg::GETOBJ, in_table, |_, object| {
            let Some((name, kind)) = object.str(2).zip(object.u32(3)).filter(|_| ours(object)) else { return };
            match kind {
                OBJECT_COUNTER => found.counters.push(name),
                kind => found.others.push((kind, name)),
            }
        })?;
        let names = found.chains.iter().chain(&found.sets).chain(&found.counters);
        let newest = names.filter_map(|name| name.strip_prefix('g')?.split_once('_')?.0.parse().ok()).max();
        Ok((found, newest.unwrap_or(0)))
    }

    /// Adds all counts of these sets and of the table's counters, whoever made it.
    fn kept_counts<'a>(
        &mut self,
        version: IpVersion,
        sets: impl Iterator<Item = &'a String>,
        kept: &mut Carried,
    ) -> Result<(), DataplaneError> {
        for set in sets {
            let is_dropped = set.contains(DROPPED);
            self.each_element(version, set, |element| {
                if let Some((rule, count)) = rule_of(element).zip(count_of(element)) {
                    kept.matched.entry(rule).or_default().add(count);
                    if is_dropped {
                        kept.dropped.entry(rule).or_default().add(count);
                    }
                }
            })?;
        }
        self.named_counts(version, |name, count| {
            let Some(rule) = name.rsplit_once('_').and_then(|(_, id)| id.parse().ok()) else { return };
            let counts = if name.contains(DROPPED) { &mut kept.dropped } else { &mut kept.matched };
            counts.entry(rule).or_default().add(count);
        })
    }

    /// Adds the counts of elements and counters that are about to go.
    fn carried(
        &mut self,
        version: IpVersion,
        carry: &[(RuleId, Carry)],
        carried: &mut Carried,
    ) -> Result<(), DataplaneError> {
        for (rule, place) in carry {
            let mut found = None;
            match place {
                Carry::Element { set, key } | Carry::Dropped { set, key } => self.socket.ask(
                    version,
                    msg::GETSETELEM,
                    0,
                    |w| {
                        w.str(1, TABLE);
                        w.str(2, set);
                        w.nest(3, |w| w.nest(1, |w| w.nest(1, |w| w.bytes(1, key))));
                    },
                    |_, answer| found = answer.inside(3).and_then(|list| list.inside(1)).and_then(count_of),
                )?,
                Carry::Counter(name) | Carry::DroppedCounter(name) => self.socket.ask(
                    version,
                    msg::GETOBJ,
                    0,
                    |w| {
                        w.str(1, TABLE);
                        w.str(2, name);
                        w.u32(3, OBJECT_COUNTER);
                    },
                    |_, answer| found = answer.inside(4).and_then(count),
                )?,
            };
            if let Some(count) = found {
                let (matched, dropped) = match place {
                    Carry::Element { .. } | Carry::Counter(_) => (true, false),
                    Carry::DroppedCounter(_) => (false, true),
                    Carry::Dropped { .. } => (true, true),
                };
                if matched {
                    carried.matched.entry(*rule).or_default().add(count);
                }
                if dropped {
                    carried.dropped.entry(*rule).or_default().add(count);
                }
            }
        }
        Ok(())
    }

    fn each_element(
        &mut self,
        version: IpVersion,
        set: &str,
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<(), DataplaneError> {
        let body = |w: &mut Writer| {
            w.str(1, TABLE);
            w.str(2, set);
        };
        self.socket.dump(version, msg::GETSETELEM, body, |_, answer| {
            for (_, element) in answer.inside(3).into_iter().flatten() {
                each(Attributes(element));
            }
        })?;
        Ok(())
    }

    fn named_counts(&mut self, version: IpVersion, mut each: impl FnMut(&str, Count)) -> Result<(), DataplaneError> {
        self.socket.dump(
            version,
            msg::GETOBJ,
            |w| w.str(1, TABLE),
            |_, object| {
                let count = object.inside(4).and_then(count);
                if let (Some(TABLE), Some(OBJECT_COUNTER), Some(name), Some(count)) =
                    (object.str(1).as_deref(), object.u32(3), object.str(2), count)
                {
                    each(&name, count);
                }
            },
        )?;
        Ok(())
    }
}

impl Dataplane for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.load(rules)
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let (mut programs, mut inventories, mut failures) = match std::mem::replace(&mut self.state, State::Unknown) {
            State::Applied { programs, inventories, failures } => (programs, inventories, failures),
            State::Unknown => {
                self.state = State::Unknown;
                return Err(DataplaneError::Refused("nothing was applied yet that could be changed".to_owned()));
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
        let mut undo = Undo::new(&programs);
        let mut changes = Families::<Changes>::default();
        if let Some(protected) = &plan.protected {
            programs.v4.protect(protected.clone(), &mut changes.v4);
            programs.v6.protect(protected.clone(), &mut changes.v6);
        }
        for nlri in &plan.remove {
            let version = nlri.family().version();
            let program = programs.of_mut(version);
            undo.note(nlri, program.compiled(nlri));
            program.remove(nlri, changes.of_mut(version));
            failures.remove(nlri);
        }
        for rule in &plan.upsert {
            let version = rule.nlri.family().version();
            let program = programs.of_mut(version);
            undo.note(&rule.nlri, program.compiled(&rule.nlri));
            failures.remove(&rule.nlri);
            if let Err(failure) = program.add(rule, changes.of_mut(version)) {
                failures.insert(rule.nlri.clone(), failure);
            }
        }
        match self.commit(&programs, &changes, &mut inventories) {
            Ok(()) => {
                let applied = applied(&failures);
                self.state = State::Applied { programs, inventories, failures };
                Ok(applied)
            }
            Err(error) => {
                let before = undo.restore(&programs);
                self.state = State::Lost(before);
                Err(error)
            }
        }
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        match &self.state {
            State::Applied { .. } => {}
            State::Unknown => return Ok(Health::Damaged("nothing was applied yet".to_owned())),
            State::Lost(_) => return Ok(Health::Damaged("the last change failed".to_owned())),
        }
        let generation = self.socket.generation()?;
        if generation == self.generation {
            return Ok(Health::Intact);
        }
        let state = std::mem::replace(&mut self.state, State::Unknown);
        let damage = match &state {
            State::Applied { inventories, .. } => self.damage(inventories),
            State::Unknown | State::Lost(_) => Ok(None),
        };
        self.state = state;
        match damage? {
            Some(damage) => Ok(Health::Damaged(damage)),
            None => {
                self.generation = generation;
                Ok(Health::Intact)
            }
        }
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        let State::Applied { inventories, .. } = &self.state else { return Ok(Vec::new()) };
        let counted = Families::new(|version| {
            let sets = inventories.of(version).sets.iter().filter(|(_, set)| set.counts);
            sets.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        let mut counts = Carried::default();
        for version in VERSIONS {
            self.kept_counts(version, counted.of(version).iter(), &mut counts)?;
        }
        let State::Applied { programs, .. } = &self.state else { return Ok(Vec::new()) };
        let counter = |rule: &Arc<CompiledRule>| {
            let Count { packets, bytes } = counts.matched.get(&rule.id).copied().unwrap_or_default();
            let dropped = match rule.effect.policing {
                Policing::Discard => packets,
                Policing::Limit { .. } => counts.dropped.get(&rule.id).copied().unwrap_or_default().packets,
                Policing::None => 0,
            };
            (rule.nlri.clone(), Counter { packets, bytes, dropped_packets: Some(dropped) })
        };
        Ok(programs.iter().flat_map(Program::rules).map(counter).collect())
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let State::Applied { inventories, .. } = &self.state else { return Ok(Usage::default()) };
        let rules: usize = inventories.iter().flat_map(|inventory| inventory.chains.values()).sum();
        let elements: usize =
            inventories.iter().flat_map(|inventory| &inventory.sets).map(|(_, set)| set.elements).sum();
        Ok(Usage { entries: (rules + elements) as u64, capacity: None, memory: None })
    }

    fn samples(&self) -> Result<Box<dyn SampleSource>, String> {
        let group = self.options.sample_group;
        Err(format!(
            "nftables gives samples to the packet log's group {group}; read them with `tcpdump -i nflog:{group}`"
        ))
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        self.state = State::Unknown;
        for _ in 0..ATTEMPTS {
            let generation = self.socket.generation()?;
            let there = Families::try_new(|version| {
                self.socket.ask(version, msg::GETTABLE, 0, |w| w.str(1, TABLE), |_, _| {})
            })?;
            let mut writer = Writer::new();
            writer.begin(generation);
            let mut acknowledged = None;
            for version in VERSIONS.into_iter().filter(|version| *there.of(*version)) {
                writer.table_of(version);
                let flags = if acknowledged.is_none() { super::wire::NLM_F_ACK } else { 0 };
                let sequence = writer.message(msg::DELTABLE, flags, |w| w.str(1, TABLE));
                acknowledged.get_or_insert(sequence);
            }
            let Some(acknowledged) = acknowledged else { return Ok(()) };
            writer.end();
            match self.socket.commit(&writer, acknowledged) {
                Ok(()) => return Ok(()),
                Err(CommitError::Stale) => {}
                Err(error) => return Err(said(error)),
            }
        }
        Err(busy())
    }
}

/// What a plan changed, to know what was before.
struct Undo {
    protected: Arc<Vec<Space>>,
    /// In the order of the changes; one rule may be changed twice.
    before: Vec<(Arc<Nlri>, Option<Arc<CompiledRule>>)>,
}

impl Undo {
    fn new(programs: &Families<Program>) -> Self {
        Undo { protected: programs.v4.protected().clone(), before: Vec::new() }
    }

    fn note(&mut self, nlri: &Arc<Nlri>, rule: Option<&Arc<CompiledRule>>) {
        self.before.push((nlri.clone(), rule.cloned()));
    }

    fn restore(self, after: &Families<Program>) -> Wanted {
        let rules = after.iter().flat_map(Program::rules);
        let mut rules: BTreeMap<_, _> = rules.map(|rule| (rule.nlri.clone(), rule.clone())).collect();
        for (nlri, rule) in self.before.into_iter().rev() {
            match rule {
                Some(rule) => rules.insert(nlri, rule),
                None => rules.remove(&nlri),
            };
        }
        Wanted { protected: self.protected, rules }
    }
}

fn applied(failures: &Failures) -> Applied {
    Applied { failures: failures.iter().map(|(nlri, failure)| (nlri.clone(), failure.clone())).collect() }
}

fn is_our_base(chain: Attributes<'_>) -> bool {
    let hook = chain.inside(4);
    hook.and_then(|hook| hook.u32(1)) == Some(HOOK_PREROUTING)
        && hook.and_then(|hook| hook.u32(2)) == Some(PRIORITY as u32)
        && chain.u32(5) == Some(POLICY)
        && chain.str(7).as_deref() == Some(CHAIN_TYPE)
}

fn is_anonymous(set: Attributes<'_>) -> bool {
    set.u32(3).is_some_and(|flags| flags & 1 != 0)
}

fn rule_of(element: Attributes<'_>) -> Option<RuleId> {
    element.find(6).and_then(rule_of_comment)
}

fn count_of(element: Attributes<'_>) -> Option<Count> {
    element.inside(7)?.inside(2).and_then(count)
}

fn count(counter: Attributes<'_>) -> Option<Count> {
    counter.u64(2).zip(counter.u64(1)).map(|(packets, bytes)| Count { packets, bytes })
}

fn said(error: CommitError) -> DataplaneError {
    match error {
        CommitError::Stale => busy(),
        CommitError::Kernel { errno: Errno::PERM, .. } => {
            DataplaneError::Unavailable("changing nftables needs the right CAP_NET_ADMIN".to_owned())
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

fn busy() -> DataplaneError {
    DataplaneError::Refused("somebody else changes nftables without a pause".to_owned())
}
