//! The rules in the program's tables, and how they change.

use super::commit::{Commit, FilterCounts, begin};
use super::extras::{ExtraPlace, Extras};
use super::full::Full;
use super::index::{Index, IndexContext, Pools};
use super::labels::Labels;
use super::layout::{
    CounterLine, IdLine, MATCHES, META_DROP, META_EXTRA, META_RULE, NODES_FIXED, RuleLine, Target, node_protected,
    node_wide,
};
use super::list::Item;
use super::numbers::Numbers;
use super::pool::Runs;
use super::program::Tables;
use super::record;
use super::slots::Slots;
use super::targets::Targets;
use super::{counters, effect, sys};
use crate::kernel::{DesiredState, PerVersion, Undo, Unenforced};
use crate::{Applied, Counter, Usage};
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::space::Space;
use flowspec::{IpVersion, Nlri, RuleId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

/// A rule in force.
#[derive(Debug)]
struct Installed {
    compiled: Arc<CompiledRule>,
    /// `None` for a rule that can never match, which needs no entries.
    number: Option<u32>,
    /// What it counted under earlier numbers.
    base: CounterLine,
    extra: Option<ExtraPlace>,
    target: Option<u32>,
}

/// The rules in force and the tables that they are in.
#[derive(Debug)]
pub(super) struct Classifier {
    tables: Tables,
    pools: Pools,
    extras: Extras,
    targets: Targets,
    numbers: Numbers,
    filter: FilterCounts,
    indexes: PerVersion<Index>,
    generation: u32,
    rules: BTreeMap<Arc<Nlri>, Installed>,
    labels: Labels,
    /// By rule number.
    meta: Vec<u32>,
    /// Rules with the continue action, by IP version.
    continuing: PerVersion<usize>,
    protected: Arc<Vec<Space>>,
    protected_places: Vec<(u32, Option<ExtraPlace>)>,
    /// What an earlier run counted, by rule id, for rules that are announced (again).
    inherited: HashMap<u64, CounterLine>,
    unenforced: Unenforced,
    in_use: usize,
}

/// The tables can no longer be changed.
#[derive(Debug)]
pub(super) struct Lost {
    /// The table that is full.
    pub(super) why: Full,
    /// The previous rules, which packets still see.
    pub(super) before: DesiredState,
}

/// A rule that cannot be in force, however much room there is; and why.
pub(super) type Unenforceable<'a> = (&'a Arc<CompiledRule>, RuleFailure);

/// The changes of one transaction besides those of lists.
#[derive(Default)]
struct Transaction {
    relabelled: bool,
    retired: Vec<u32>,
    freed_extras: Vec<ExtraPlace>,
    freed_targets: Vec<u32>,
}

impl Classifier {
    pub(super) fn new(tables: Tables) -> Self {
        let sizes = tables.sizes;
        Classifier {
            pools: Pools {
                slots: Slots::new(sizes.slots),
                chunks: Runs::new(0, sizes.chunks),
                nodes: Runs::new(NODES_FIXED, sizes.nodes),
            },
            extras: Extras::new(&sizes),
            targets: Targets::new(sizes.targets),
            numbers: Numbers::new(sizes.numbers),
            filter: FilterCounts::new(),
            indexes: PerVersion::new(|version| Index::new(version == IpVersion::V6)),
            generation: 0,
            rules: BTreeMap::new(),
            labels: Labels::new(sizes.numbers),
            meta: vec![0; sizes.numbers as usize],
            continuing: PerVersion::default(),
            protected: Arc::default(),
            protected_places: Vec::new(),
            inherited: HashMap::new(),
            unenforced: Unenforced::default(),
            in_use: 0,
            tables,
        }
    }

    /// Applies a change, for every packet at once: removes the rules of `remove`, adds those of
    /// `upsert` or replaces the ones with the same key, and protects `protected` if that is given.
    /// The rules of `unenforceable` are wanted and cannot be in force.
    ///
    /// # Errors
    /// The tables are too full to be changed. Packets see the previous rules; this value must not
    /// be used any more, and has to be replaced by a new one.
    pub(super) fn apply<'a>(
        &mut self,
        upsert: impl IntoIterator<Item = &'a Arc<CompiledRule>>,
        unenforceable: impl IntoIterator<Item = Unenforceable<'a>>,
        remove: impl IntoIterator<Item = &'a Arc<Nlri>>,
        protected: Option<&Arc<Vec<Space>>>,
    ) -> Result<(), Lost> {
        let mut undo = Undo::new(self.protected.clone());
        let outcome = self.change(upsert, unenforceable, remove, protected, &mut undo);
        outcome.map_err(|why| Lost { why, before: undo.restore(self.rules.values().map(|rule| &rule.compiled)) })
    }

    /// Implements [`Classifier::apply`].
    fn change<'a>(
        &mut self,
        upsert: impl IntoIterator<Item = &'a Arc<CompiledRule>>,
        unenforceable: impl IntoIterator<Item = Unenforceable<'a>>,
        remove: impl IntoIterator<Item = &'a Arc<Nlri>>,
        protected: Option<&Arc<Vec<Space>>>,
        undo: &mut Undo,
    ) -> Result<(), Full> {
        begin(&self.tables, self.generation);
        let mut transaction = Transaction::default();
        self.unenforced.begin_change();
        for nlri in remove {
            undo.note(nlri, self.in_force(nlri));
            self.unenforced.forget(nlri);
            self.remove(nlri, &mut transaction)?;
        }
        if let Some(protected) = protected {
            self.protect(protected, &mut transaction)?;
        }
        for (rule, failure) in unenforceable {
            undo.note(&rule.nlri, self.in_force(&rule.nlri));
            self.unenforced.forget(&rule.nlri);
            self.remove(&rule.nlri, &mut transaction)?;
            self.unenforced.insert(rule, failure);
        }
        let mut upsert = upsert.into_iter().peekable();
        if self.rules.is_empty() {
            let mut loader = Loader::new(self, &mut transaction);
            while let Some(rule) = upsert.next_if(|rule| loader.takes(rule)) {
                undo.note(&rule.nlri, None);
                loader.push(rule)?;
            }
            loader.finish();
        }
        for rule in upsert {
            self.add(rule, &mut transaction, undo)?;
        }
        self.remove_blocked(&mut transaction, undo)?;
        self.commit(transaction);
        Ok(())
    }

    /// Adds a rule, or replaces the one with its key; or records why it is not in force.
    fn add(&mut self, rule: &Arc<CompiledRule>, transaction: &mut Transaction, undo: &mut Undo) -> Result<(), Full> {
        let there = self.rules.get(&rule.nlri).map(|there| there.compiled.clone());
        let (is_new, is_unchanged) = (there.is_none(), there.as_ref() == Some(rule));
        if !is_unchanged {
            undo.note(&rule.nlri, there);
            self.unenforced.forget(&rule.nlri);
        }
        if let Some(failure) = self.unenforced.blocks(rule) {
            self.remove(&rule.nlri, transaction)?;
            self.unenforced.insert(rule, failure);
            return Ok(());
        }
        if is_unchanged {
            return Ok(());
        }
        let base = if is_new { CounterLine::ZERO } else { self.remove(&rule.nlri, transaction)? };
        let label = self.label(&rule.nlri, transaction);
        match self.install(rule, base, label, transaction)? {
            Ok(installed) => drop(self.rules.insert(rule.nlri.clone(), installed)),
            Err(why) => self.unenforced.insert(rule, RuleFailure::OverCapacity(why.to_string())),
        }
        Ok(())
    }

    /// The rule in force with this key.
    fn in_force(&self, nlri: &Nlri) -> Option<Arc<CompiledRule>> {
        self.rules.get(nlri).map(|rule| rule.compiled.clone())
    }

    /// Removes rules that would act on packets which an exempting rule that is not in force
    /// exempts.
    fn remove_blocked(&mut self, transaction: &mut Transaction, undo: &mut Undo) -> Result<(), Full> {
        loop {
            let blocked = self.unenforced.newly_blocked(self.rules.values().map(|rule| &rule.compiled));
            if blocked.is_empty() {
                return Ok(());
            }
            for (rule, failure) in blocked {
                undo.note(&rule.nlri, Some(rule.clone()));
                self.remove(&rule.nlri, transaction)?;
                self.unenforced.insert(&rule, failure);
            }
        }
    }

    fn commit(&mut self, transaction: Transaction) {
        let relabelled: Vec<(u32, u64)> = if transaction.relabelled {
            self.rules.values().filter_map(|rule| rule.number).map(|n| (n, self.labels.of(n))).collect()
        } else {
            Vec::new()
        };
        let commit = Commit {
            tables: &self.tables,
            pools: &mut self.pools,
            filter: &mut self.filter,
            generation: &mut self.generation,
            relabelled: &relabelled,
            meta: &self.meta,
        };
        commit.run(&mut self.indexes);
        self.numbers.release(transaction.retired);
        transaction.freed_extras.into_iter().for_each(|place| self.extras.release(place));
        transaction.freed_targets.into_iter().for_each(|target| self.targets.release(target));
    }

    /// Removes a rule. Returns what it counted.
    fn remove(&mut self, nlri: &Arc<Nlri>, transaction: &mut Transaction) -> Result<CounterLine, Full> {
        let Some(rule) = self.rules.get(nlri) else { return Ok(CounterLine::ZERO) };
        if let Some(number) = rule.number {
            let compiled = rule.compiled.clone();
            if let Some(space) = record::space(&compiled) {
                self.remove_records(&space, Some(&compiled.nlri), number)?;
            }
        }
        let Some(rule) = self.rules.remove(nlri) else { return Ok(CounterLine::ZERO) };
        Ok(self.retire(&rule, transaction))
    }

    /// Releases what a rule has besides its records. Returns what it counted.
    fn retire(&mut self, rule: &Installed, transaction: &mut Transaction) -> CounterLine {
        let mut base = rule.base;
        if let Some(number) = rule.number {
            base.add(&self.count(number));
            self.tables.ids.write(number as usize, IdLine::ZERO);
            transaction.retired.push(number);
            self.in_use -= 1;
            if rule.compiled.effect.continues {
                *self.continuing.of_mut(version(&rule.compiled.nlri)) -= 1;
            }
        }
        transaction.freed_extras.extend(rule.extra);
        transaction.freed_targets.extend(rule.target);
        base
    }

    /// Removes the records of a rule, or of protected packets.
    fn remove_records(&mut self, space: &Space, rule: Option<&Nlri>, number: u32) -> Result<(), Full> {
        let parts = record::records(space, rule.is_none());
        let ipv6 = space.version() == IpVersion::V6;
        let index = self.indexes.of_mut(space.version());
        let mut context =
            IndexContext { labels: self.labels.as_slice(), pools: &mut self.pools, hash: self.tables.hash };
        let fixed = if rule.is_none() { node_protected(ipv6) } else { node_wide(ipv6) };
        let early = rule.is_some_and(|rule| parts.is_early(rule));
        for record in parts.records {
            let item = Item { number, record, early };
            index.remove(parts.bucket, fixed, item, &mut context)?;
        }
        Ok(())
    }

    /// Inserts a new rule into the tables, at a position in the order; the caller adds it to the
    /// rules. The inner error is why it does not fit; nothing of it is left then.
    fn install(
        &mut self,
        rule: &Arc<CompiledRule>,
        base: CounterLine,
        label: u64,
        transaction: &mut Transaction,
    ) -> Result<Result<Installed, Full>, Full> {
        let mut placed = Vec::new();
        let failed = match self.try_install(rule, base, label, &mut placed) {
            Ok(installed) => return Ok(Ok(installed)),
            Err(failed) => failed,
        };
        if let Some(installed) = placed.pop() {
            if let (Some(number), Some(space)) = (installed.number, record::space(rule)) {
                self.remove_records(&space, Some(&rule.nlri), number)?;
            }
            self.retire(&installed, transaction);
        }
        Ok(Err(failed))
    }

    /// Implements that. On failure `placed` is the part of the rule that is in the tables.
    fn try_install(
        &mut self,
        rule: &Arc<CompiledRule>,
        mut base: CounterLine,
        label: u64,
        placed: &mut Vec<Installed>,
    ) -> Result<Installed, Full> {
        if base == CounterLine::ZERO && !self.inherited.is_empty() {
            base = self.inherited.remove(&rule.id.as_u64()).unwrap_or(base);
        }
        let mut installed = Installed { compiled: rule.clone(), number: None, base, extra: None, target: None };
        let Some(space) = record::space(rule) else { return Ok(installed) };
        let version = version(&rule.nlri);
        if self.in_use >= self.tables.sizes.rules as usize {
            return Err(Full::Rules(self.tables.sizes.rules));
        }
        if rule.effect.continues && *self.continuing.of(version) + 1 >= MATCHES {
            return Err(Full::ContinuingRules);
        }
        let parts = record::records(&space, false);
        let number = self.numbers.take().ok_or(Full::RuleNumbers)?;
        let extra = parts.extra.as_ref();
        let target = effect::target(&rule.effect);
        let places = self.take_places(extra, target);
        let (extra_place, target_place) = match places {
            Ok(places) => places,
            Err(why) => {
                self.numbers.release_unused(number);
                return Err(why);
            }
        };
        (installed.number, installed.extra, installed.target) = (Some(number), extra_place, target_place);
        let mut line = effect::line(&rule.effect);
        let meta = number
            | if extra.is_some() { META_EXTRA } else { 0 }
            | if effect::only_drops(&line) { META_DROP } else { 0 };
        self.in_use += 1;
        *self.continuing.of_mut(version) += usize::from(rule.effect.continues);
        self.labels.set(number, label);
        self.meta[number as usize] = meta;

        let index = self.indexes.of_mut(version);
        let mut context =
            IndexContext { labels: self.labels.as_slice(), pools: &mut self.pools, hash: self.tables.hash };
        let early = parts.is_early(&rule.nlri);
        let added = parts.records.iter().try_for_each(|&record| {
            let item = Item { number, record, early };
            match parts.bucket {
                Some(network) => index.add_to_bucket(network, item, &mut context),
                None => index.add_to_node(node_wide(version == IpVersion::V6), item, &mut context),
            }
        });
        if let Err(why) = added {
            placed.push(installed);
            return Err(why);
        }
        line.target = target_place.unwrap_or(0);
        self.write_rule(number, line, label, id_line(rule.id, &base), extra.zip(extra_place));
        Ok(installed)
    }

    fn write_rule(
        &self,
        number: u32,
        mut line: RuleLine,
        label: u64,
        id: IdLine,
        extra: Option<(&record::Extra, ExtraPlace)>,
    ) {
        line.label = [label; 2];
        let now = sys::monotonic_ticks();
        (line.byte_full, line.packet_full) = (now, now);
        if let Some((extra, place)) = extra {
            line.extra = place.entry();
            place.write(extra, &self.tables);
        }
        self.tables.rules.write(number as usize, line);
        self.tables.ids.write(number as usize, id);
        for set in 0..self.tables.sizes.counter_sets {
            self.tables.counters.write((set * self.tables.sizes.numbers + number) as usize, CounterLine::ZERO);
        }
    }

    /// Allocates what a rule needs besides its records.
    fn take_places(
        &mut self,
        extra: Option<&record::Extra>,
        target: Option<Target>,
    ) -> Result<(Option<ExtraPlace>, Option<u32>), Full> {
        let extra = extra.map(|extra| self.extras.take(extra)).transpose()?;
        match target.map(|target| self.targets.take(target, &self.tables.targets)).transpose() {
            Ok(target) => Ok((extra, target)),
            Err(why) => {
                if let Some(place) = extra {
                    self.extras.release(place);
                }
                Err(why)
            }
        }
    }

    /// A label between those of the neighbours of a new rule.
    fn label(&mut self, nlri: &Arc<Nlri>, transaction: &mut Transaction) -> u64 {
        let number = |(_, rule): (&Arc<Nlri>, &Installed)| rule.number;
        let before = self.rules.range::<Arc<Nlri>, _>((Bound::Unbounded, Bound::Excluded(nlri))).filter_map(number);
        let after = self.rules.range::<Arc<Nlri>, _>((Bound::Excluded(nlri), Bound::Unbounded)).filter_map(number);
        if let Some(label) = self.labels.between(before.clone().next_back(), after.clone().next()) {
            return label;
        }
        transaction.relabelled = true;
        self.labels.spread(before, after, self.rules.len())
    }

    /// Protects exactly these packets.
    fn protect(&mut self, protected: &Arc<Vec<Space>>, transaction: &mut Transaction) -> Result<(), Full> {
        if *protected == self.protected {
            return Ok(());
        }
        let old = std::mem::replace(&mut self.protected, protected.clone());
        for (space, (number, extra)) in
            old.iter().filter(|s| !s.is_empty()).zip(std::mem::take(&mut self.protected_places))
        {
            self.remove_records(space, None, number)?;
            transaction.retired.push(number);
            transaction.freed_extras.extend(extra);
        }
        for (n, space) in protected.iter().filter(|space| !space.is_empty()).enumerate() {
            let parts = record::records(space, true);
            let number = self.numbers.take().ok_or(Full::RuleNumbers)?;
            let extra = parts.extra.as_ref().map(|extra| self.extras.take(extra)).transpose()?;
            self.labels.set(number, n as u64 + 1);
            self.meta[number as usize] = number | if extra.is_some() { META_EXTRA } else { 0 };
            self.protected_places.push((number, extra));
            let ipv6 = space.version() == IpVersion::V6;
            let index = self.indexes.of_mut(space.version());
            let mut context =
                IndexContext { labels: self.labels.as_slice(), pools: &mut self.pools, hash: self.tables.hash };
            for record in parts.records {
                let item = Item { number, record, early: false };
                index.add_to_node(node_protected(ipv6), item, &mut context)?;
            }
            self.write_rule(number, RuleLine::ZERO, n as u64 + 1, IdLine::ZERO, parts.extra.as_ref().zip(extra));
        }
        Ok(())
    }

    /// What is in force.
    pub(super) fn applied(&self) -> Applied {
        self.unenforced.applied()
    }

    /// The rules in force, and those that failed, that are not among these.
    pub(super) fn others<'a>(&self, wanted: impl IntoIterator<Item = &'a Arc<CompiledRule>>) -> Vec<Arc<Nlri>> {
        if self.rules.is_empty() && self.unenforced.is_empty() {
            return Vec::new();
        }
        let wanted: HashSet<&Nlri> = wanted.into_iter().map(|rule| &*rule.nlri).collect();
        self.rules.keys().chain(self.unenforced.keys()).filter(|nlri| !wanted.contains(&***nlri)).cloned().collect()
    }

    fn count(&self, number: u32) -> CounterLine {
        counters::of_number(&self.tables.counters, number, self.tables.sizes.numbers, self.tables.sizes.counter_sets)
    }

    /// What a rule counted under this and all earlier numbers.
    fn total(&self, rule: &Installed) -> CounterLine {
        let mut line = rule.base;
        if let Some(number) = rule.number {
            line.add(&self.count(number));
        }
        line
    }

    /// Counters of all rules in force.
    pub(super) fn counters(&self) -> Vec<(Arc<Nlri>, Counter)> {
        let counter = |rule: &Installed| {
            let line = self.total(rule);
            Counter::of_packets(line.packets, line.bytes, Some(line.dropped))
        };
        self.rules.iter().map(|(nlri, rule)| (nlri.clone(), counter(rule))).collect()
    }

    /// The same by rule id, for the tables that replace these.
    pub(super) fn counted(&self) -> HashMap<u64, CounterLine> {
        self.rules.values().map(|rule| (rule.compiled.id.as_u64(), self.total(rule))).collect()
    }

    /// Adds counts of other tables to rules that are here or come later.
    pub(super) fn inherit(&mut self, mut counted: HashMap<u64, CounterLine>) {
        for rule in self.rules.values_mut() {
            let Some(line) = counted.remove(&rule.compiled.id.as_u64()) else { continue };
            rule.base.add(&line);
            if let Some(number) = rule.number {
                self.tables.ids.write(number as usize, id_line(rule.compiled.id, &rule.base));
            }
        }
        self.inherited = counted;
    }

    /// Rules in force, how many fit, and the tables' memory.
    pub(super) fn usage(&self) -> Usage {
        let sizes = self.tables.sizes;
        Usage { entries: self.in_use as u64, capacity: Some(u64::from(sizes.rules)), memory: Some(sizes.memory()) }
    }

    /// Usage of the tables, for logs and capacity tests: name, used, size.
    pub(super) fn table_usage(&self) -> Vec<(&'static str, u32, u32)> {
        let [extras, intervals] = self.extras.table_usage();
        vec![
            ("slots", self.pools.slots.taken(), self.tables.sizes.slots),
            ("chunks", self.pools.chunks.used(), self.pools.chunks.total()),
            ("nodes", self.pools.nodes.used(), self.pools.nodes.total()),
            extras,
            intervals,
            ("rule numbers", self.numbers.used(), self.numbers.total()),
        ]
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The rule that has this number now.
    pub(super) fn rule_of(&self, number: u32) -> Option<&Arc<Nlri>> {
        let number = number & META_RULE;
        self.rules.iter().find(|(_, rule)| rule.number == Some(number)).map(|(nlri, _)| nlri)
    }
}

/// Fills an empty classifier, in order: each rule comes after all that were added, so no position
/// has to be searched for, and the map of rules is built at once. Nothing else sees the classifier
/// until [`Loader::finish`].
struct Loader<'a> {
    classifier: &'a mut Classifier,
    transaction: &'a mut Transaction,
    loaded: Vec<(Arc<Nlri>, Installed)>,
    last_label: u64,
}

impl<'a> Loader<'a> {
    fn new(classifier: &'a mut Classifier, transaction: &'a mut Transaction) -> Self {
        debug_assert!(classifier.rules.is_empty());
        Loader { classifier, transaction, loaded: Vec::new(), last_label: 0 }
    }

    /// Whether a rule comes after all that were added.
    fn takes(&self, rule: &CompiledRule) -> bool {
        Labels::behind(self.last_label).is_some() && self.loaded.last().is_none_or(|(last, _)| **last < *rule.nlri)
    }

    /// Adds a rule, or records why it does not fit.
    fn push(&mut self, rule: &Arc<CompiledRule>) -> Result<(), Full> {
        let label = Labels::behind(self.last_label).ok_or(Full::RuleNumbers)?;
        self.classifier.unenforced.forget(&rule.nlri);
        if let Some(failure) = self.classifier.unenforced.blocks(rule) {
            self.classifier.unenforced.insert(rule, failure);
            return Ok(());
        }
        match self.classifier.install(rule, CounterLine::ZERO, label, self.transaction)? {
            Ok(installed) => {
                self.last_label = label;
                self.loaded.push((rule.nlri.clone(), installed));
            }
            Err(why) => self.classifier.unenforced.insert(rule, RuleFailure::OverCapacity(why.to_string())),
        }
        Ok(())
    }

    /// All rules are added.
    fn finish(self) {
        self.classifier.rules = self.loaded.into_iter().collect();
    }
}

fn version(nlri: &Nlri) -> IpVersion {
    nlri.family().version()
}

fn id_line(id: RuleId, base: &CounterLine) -> IdLine {
    IdLine { id: id.as_u64(), packets: base.packets, bytes: base.bytes, dropped: base.dropped }
}
