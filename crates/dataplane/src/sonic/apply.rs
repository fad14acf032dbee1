//! The SONiC back end: the desired rules, the ACL rules on the switch, and how it changes one to
//! the other.

use super::acl::{Acl, NotActive};
use super::capabilities::capabilities;
use super::capacity::{self, Resources};
use super::counters;
use super::databases::Db;
use super::entry::{self, Fields, Kind, Policer};
use super::place::{Limits, PlacedOwner, Placement, place};
use super::producer;
use super::rendered::Rendered;
use super::rows::{self, RowKey, Rows};
use super::schedule::{Planned, Step, steps};
use super::settings::{Address, Settings};
use super::{profile, switch};
use crate::kernel::{self, CounterLedger, DesiredState, PerVersion, VERSIONS};
use crate::{
    Applied, BackendSettings, Condition, Counter, Dataplane, DataplaneError, EnforcementPoint, Health, RuleFailure,
    Usage,
};
use engine::capability::Capabilities;
use engine::plan::{Plan, Ruleset};
use flowspec::{IpVersion, Nlri, RuleId, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is remembered that a table was full.
const CEILING_AGE: Duration = Duration::from_secs(60);

/// How often the switch's table usage is read, its ports are compared, and our tables are searched
/// for ACL rules of other programs.
const SWEEP: Duration = Duration::from_secs(15);

/// ACL rules that are compared with the database in one check; with more of them, checks are less
/// frequent.
const ROWS_A_LOOK: u32 = 2000;

/// Most attempts of one change: each leaves out at least one rule that the switch refuses.
const MOST_ATTEMPTS: usize = 50;

impl BackendSettings for Settings {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let (release, redis) = (self.release, &self.redis);
        tracing::info!(%release, %redis, database = ?self.database, "ACL tables");
        Ok(Box::new(Sonic::new(self.clone())))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::Path(match &self.redis {
            Address::Unix(path) => path.clone(),
            Address::Tcp(..) => PathBuf::from(self.redis.to_string()),
        })
    }
}

/// The back end.
#[derive(Debug)]
pub struct Sonic {
    settings: Settings,
    acl: Acl,
    wanted: DesiredState,
    /// Of these, the rules that the last change could not put in force and reported. They may be
    /// withdrawn without a removal, so the next change leaves them out unless it contains them
    /// again.
    failed: Vec<Arc<Nlri>>,
    /// The owners of the ACL rules on the switch.
    owners: BTreeMap<RowKey, PlacedOwner>,
    /// The ACL rules on the switch, all of them active.
    rows: Rows,
    /// Whether `rows` is what is there: not at the start, nor after a failed change.
    verified: bool,
    /// Something was applied.
    applied: bool,
    rendered: Rendered,
    ports: Vec<String>,
    /// Number of entries beyond which the switch refused, and when.
    ceilings: PerVersion<Option<(u64, Instant)>>,
    resources: PerVersion<Option<Resources>>,
    ended_counters: CounterLedger,
    counters_on: bool,
    swept: Option<Instant>,
    looked: Option<Instant>,
}

/// ACL rules that the switch did not accept.
type Refused = BTreeMap<RowKey, NotActive>;

impl Sonic {
    /// With these settings. Changes nothing yet.
    pub fn new(settings: Settings) -> Self {
        Sonic {
            acl: Acl::new(&settings),
            settings,
            wanted: DesiredState::default(),
            failed: Vec::new(),
            owners: BTreeMap::new(),
            rows: Rows::new(),
            verified: false,
            applied: false,
            rendered: Rendered::default(),
            ports: Vec::new(),
            ceilings: PerVersion::default(),
            resources: PerVersion::default(),
            ended_counters: CounterLedger::default(),
            counters_on: true,
            swept: None,
            looked: None,
        }
    }

    fn apply(&mut self, wanted: DesiredState) -> Result<Applied, DataplaneError> {
        if let Some(why) = profile::unfit(&self.settings) {
            return Err(DataplaneError::InvalidSetting(why));
        }
        if !self.verified {
            switch::check(self.acl.databases())?;
            self.take_over()?;
        }
        let before = self.rows.clone();
        match self.change(&wanted) {
            Ok(placement) => {
                self.remove_unused_policers(&placement)?;
                self.rendered.retain(&wanted.rules);
                let in_force: BTreeSet<&Nlri> = placement.rules.iter().map(|rule| rule.nlri.as_ref()).collect();
                self.ended_counters.retain(|nlri| in_force.contains(nlri));
                self.failed = placement.failures.iter().map(|(nlri, _)| Arc::clone(nlri)).collect();
                self.wanted = wanted;
                self.applied = true;
                self.looked = None;
                Ok(Applied { failures: placement.failures })
            }
            Err(error) => {
                self.undo(&before);
                Err(error)
            }
        }
    }

    /// Reads what is on the switch, perhaps from an earlier run; removes what is not active or not
    /// ours to keep.
    fn take_over(&mut self) -> Result<(), DataplaneError> {
        self.ports = switch::ports(self.acl.databases(), &self.settings)?;
        self.remove_other_tables()?;
        let (there, _) = self.acl.read_all()?;
        let keys: Vec<&RowKey> = there.keys().collect();
        let statuses = self.acl.statuses(&keys)?;
        let is_active = |status: &Option<String>| status.as_deref() == Some("Active");
        let useless: Vec<&RowKey> =
            keys.iter().zip(&statuses).filter(|(_, status)| !is_active(status)).map(|(key, _)| *key).collect();
        if !useless.is_empty() {
            self.acl.delete(&useless)?;
        }
        let useless: BTreeSet<RowKey> = useless.into_iter().cloned().collect();
        self.rows = there.into_iter().filter(|(key, _)| !useless.contains(key)).collect();
        self.counters_on = counters::are_on(self.acl.databases())?;
        self.verified = true;
        Ok(())
    }

    /// Removes tables of ours that these settings do not use: a second one on the same ports would
    /// be evaluated in parallel with ours.
    fn remove_other_tables(&mut self) -> Result<(), DataplaneError> {
        let producer = self.acl.producer();
        let others = self.acl.other_database();
        let wanted: BTreeSet<String> = VERSIONS.map(|version| self.acl.table(version)).into();
        for (of, keep) in [(producer, true), (others, false)] {
            let tables = switch::tables_there(self.acl.databases(), of)?;
            let useless: Vec<String> = tables.into_iter().filter(|name| !keep || !wanted.contains(name)).collect();
            self.acl.remove_rules_of_others(of, keep)?;
            for name in &useless {
                switch::remove_table(self.acl.databases(), of, name)?;
            }
            for name in &useless {
                switch::await_removal(self.acl.databases(), name, self.settings.timeout)?;
            }
        }
        Ok(())
    }

    /// Leaves out rules that the switch refuses until it accepts the rest.
    fn change(&mut self, wanted: &DesiredState) -> Result<Placement, DataplaneError> {
        let mut limits = Limits::default();
        for _ in 0..MOST_ATTEMPTS {
            for version in VERSIONS {
                *limits.entries.of_mut(version) = self.limit(version)?;
            }
            let known = rows::priorities(&self.rows);
            let placement = place(wanted, &limits, &known, &mut self.rendered, &self.settings);
            let refused = self.install(&placement)?;
            if refused.is_empty() {
                return Ok(placement);
            }
            for (row, why) in refused {
                let full = why == NotActive::Full;
                if full {
                    let active = self.rows.keys().filter(|(version, _)| *version == row.0).count() as u64;
                    *self.ceilings.of_mut(row.0) = Some((active, Instant::now()));
                }
                let words = match why {
                    NotActive::Full => "the switch's table is full (Pending creation)".to_owned(),
                    NotActive::Refused(words) => words,
                };
                match self.owners.remove(&row) {
                    Some(PlacedOwner::Rule(nlri)) => {
                        tracing::warn!(id = %nlri.id(), words, "the switch did not accept a rule");
                        let failure = if full { RuleFailure::OverCapacity(words) } else { RuleFailure::Failed(words) };
                        limits.refused.insert(nlri, failure);
                    }
                    Some(PlacedOwner::Protected(space)) => {
                        limits.unprotectable.push((Space::clone(&space), words));
                    }
                    None => {}
                }
            }
        }
        Err(DataplaneError::Refused(format!("the switch refused rules of this change {MOST_ATTEMPTS} times")))
    }

    /// Changes from the current state to this placement, until the switch refuses something.
    fn install(&mut self, placement: &Placement) -> Result<Refused, DataplaneError> {
        for version in VERSIONS {
            if *placement.used.of(version) > 0 {
                let acl = &mut self.acl;
                let producer = acl.producer();
                switch::ensure_table(acl.databases(), producer, version, &self.ports, &self.settings)?;
            }
        }
        let target = rows::target(&placement.entries, &self.rows);
        let mut wanted: BTreeMap<RowKey, (Fields, Option<Policer>)> = BTreeMap::new();
        for (row, at) in target {
            let placed = &placement.entries[at];
            self.owners.insert(row.clone(), placed.owner.clone());
            wanted.insert(row, (placed.entry.with_priority(placed.priority), placed.entry.policer.clone()));
        }
        for version in VERSIONS {
            let planned = |fields: &Fields| {
                let (kind, priority) = rows::kind_and_priority(fields);
                Planned { kind, priority }
            };
            let of_version = |row: &RowKey| row.0 == version;
            let old: BTreeMap<RowKey, Planned> = self
                .rows
                .iter()
                .filter(|(row, _)| of_version(row))
                .map(|(row, fields)| (row.clone(), planned(fields)))
                .collect();
            let new: BTreeMap<RowKey, Planned> = wanted
                .iter()
                .filter(|(row, _)| of_version(row))
                .map(|(row, (fields, _))| (row.clone(), planned(fields)))
                .collect();
            let capacity = self.limit(version)?.0.max(new.len() as u64);
            let (steps, lifted) = steps(&old, &new, capacity);
            if lifted > 0 {
                tracing::warn!(
                    rules = lifted,
                    capacity,
                    "old and new ACL rules do not fit at the same time: some are removed for a moment"
                );
            }
            for step in steps {
                let refused = match step {
                    Step::Add(keys) => self.add(&keys, &wanted)?,
                    Step::Delete(keys) => self.delete(&keys).map(|()| Refused::new())?,
                };
                if !refused.is_empty() {
                    return Ok(refused);
                }
            }
        }
        self.owners.retain(|row, _| self.rows.contains_key(row));
        Ok(Refused::new())
    }

    fn add(
        &mut self,
        keys: &[RowKey],
        wanted: &BTreeMap<RowKey, (Fields, Option<Policer>)>,
    ) -> Result<Refused, DataplaneError> {
        let new: Vec<(RowKey, Fields, Option<Policer>)> = keys
            .iter()
            .filter_map(|key| wanted.get(key).map(|(fields, policer)| (key.clone(), fields.clone(), policer.clone())))
            .collect();
        // If this fails, all of them may be there.
        self.rows.extend(new.iter().map(|(key, fields, _)| (key.clone(), fields.clone())));
        let refused = self.acl.add(&new)?;
        for row in refused.keys() {
            self.rows.remove(row);
        }
        Ok(refused)
    }

    fn delete(&mut self, keys: &[RowKey]) -> Result<(), DataplaneError> {
        self.carry_counts(keys);
        self.acl.delete(&keys.iter().collect::<Vec<_>>())?;
        for key in keys {
            self.rows.remove(key);
        }
        Ok(())
    }

    /// Keeps the counts of ACL rules that are deleted, for their rules.
    fn carry_counts(&mut self, keys: &[RowKey]) {
        let of_rules: Vec<(&RowKey, Kind, &Arc<Nlri>)> = keys
            .iter()
            .filter_map(|key| match (self.owners.get(key)?, self.rows.get(key)?) {
                (PlacedOwner::Rule(nlri), fields) => Some((key, entry::kind_of(fields), nlri)),
                (PlacedOwner::Protected(_), _) => None,
            })
            .collect();
        let rows: Vec<(&RowKey, Kind)> = of_rules.iter().map(|(key, kind, _)| (*key, *kind)).collect();
        match counters::read(self.acl.databases(), &rows, &self.settings) {
            Ok(counts) => {
                of_rules
                    .iter()
                    .zip(counts)
                    .for_each(|((_, _, nlri), counter)| self.ended_counters.end_entry(nlri, &counter));
            }
            Err(error) => tracing::debug!(%error, "counters of rules that change are lost"),
        }
    }

    /// After a failed change: restores the previous state, as far as possible without waiting.
    fn undo(&mut self, before: &Rows) {
        self.verified = false;
        let extra: Vec<&RowKey> = self.rows.keys().filter(|key| !before.contains_key(*key)).collect();
        let missing = before.iter().filter(|(key, _)| !self.rows.contains_key(*key));
        let missing: Vec<(RowKey, Fields)> = missing.map(|(key, fields)| (key.clone(), fields.clone())).collect();
        if let Err(error) = self.acl.restore(&missing, &extra) {
            tracing::warn!(%error, "what a failed change has left could not be removed");
        }
        self.rows.clone_from(before);
    }

    fn remove_unused_policers(&mut self, placement: &Placement) -> Result<(), DataplaneError> {
        if !self.settings.has_policers() {
            return Ok(());
        }
        let used: BTreeSet<&str> = placement.policers().into_iter().map(|policer| policer.name.as_str()).collect();
        let prefix = producer::policer_key(entry::POLICER_PREFIX);
        let there = self.acl.databases().keys(Db::Config, &format!("{prefix}*"))?;
        for name in there.iter().filter_map(|key| key.strip_prefix("POLICER|")).filter(|name| !used.contains(name)) {
            producer::delete_policer(self.acl.databases(), name)?;
        }
        Ok(())
    }

    /// Maximum entries of the table of an IP version, and the reason for it.
    fn limit(&mut self, version: IpVersion) -> Result<(u64, String), DataplaneError> {
        if self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            self.read_resources()?;
            self.swept = Some(Instant::now());
        }
        let limit = capacity::limit(&self.settings, *self.resources.of(version));
        let ceiling = self.ceilings.of_mut(version);
        ceiling.take_if(|(_, since)| since.elapsed() >= CEILING_AGE);
        Ok(match *ceiling {
            Some((ceiling, _)) if ceiling < limit.0 => (ceiling, "the switch took no more".to_owned()),
            _ => limit,
        })
    }

    fn read_resources(&mut self) -> Result<(), DataplaneError> {
        for version in VERSIONS {
            let Some((_, key)) = self.rows.keys().find(|(of, _)| *of == version).cloned() else { continue };
            let table = self.acl.table(version);
            if let Some(resources) = capacity::resources(self.acl.databases(), &table, &key)? {
                *self.resources.of_mut(version) = Some(resources);
            }
        }
        Ok(())
    }

    /// What differs from what was left, if anything; a sentence.
    fn difference(&mut self) -> Result<Option<String>, DataplaneError> {
        for version in VERSIONS {
            let name = self.acl.table(version);
            let has_rules = self.rows.keys().any(|(of, _)| *of == version);
            let status = switch::table_status(self.acl.databases(), &name)?;
            if has_rules && status.as_deref() != Some("Active") {
                return Ok(Some(format!("the table {name} is {}", status.as_deref().unwrap_or("gone"))));
            }
        }
        let interval = Duration::from_secs(u64::try_from(self.rows.len()).unwrap_or(u64::MAX) / u64::from(ROWS_A_LOOK));
        if self.looked.is_some_and(|looked| looked.elapsed() < interval) {
            return Ok(None);
        }
        let keys: Vec<&RowKey> = self.rows.keys().collect();
        let contents = self.acl.contents(&keys)?;
        let gone = contents.iter().filter(|fields| fields.is_empty()).count();
        let changed = contents.iter().zip(self.rows.values()).filter(|(is, was)| !is.is_empty() && is != was).count();
        let statuses = self.acl.statuses(&keys)?;
        let inactive = statuses.iter().filter(|status| status.as_deref() != Some("Active")).count();
        self.looked = Some(Instant::now());
        Ok(match (gone, changed, inactive) {
            (0, 0, 0) => None,
            (0, 0, inactive) => Some(format!("{inactive} ACL rules are not active any more")),
            (0, changed, _) => Some(format!("{changed} ACL rules were changed")),
            (gone, _, _) => Some(format!("{gone} ACL rules were deleted")),
        })
    }
}

impl Dataplane for Sonic {
    fn name(&self) -> &'static str {
        "sonic"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.settings)
    }

    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        if self.applied {
            return Ok(BTreeSet::new());
        }
        let (rows, stale) = self.acl.read_all()?;
        let names = rows.keys().map(|(_, key)| key).chain(stale.iter().map(|(_, key)| key));
        Ok(names.filter_map(|key| entry::rule_of(key)).collect())
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.verified = false;
        self.apply(DesiredState::from(rules))
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        if !self.applied {
            return Err(DataplaneError::NothingApplied);
        }
        let mut wanted = self.wanted.clone();
        for nlri in &self.failed {
            wanted.rules.remove(nlri);
        }
        wanted.change(plan);
        self.apply(wanted)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        if !self.verified {
            return Ok(Health::ExternalChange("a change of the ACL rules failed".to_owned()));
        }
        if let Some(how) = self.difference()? {
            self.verified = false;
            return Ok(Health::ExternalChange(how));
        }
        if self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            self.swept = Some(Instant::now());
            self.read_resources()?;
            self.counters_on = counters::are_on(self.acl.databases())?;
            if !self.rows.is_empty() && switch::ports(self.acl.databases(), &self.settings)? != self.ports {
                self.verified = false;
                return Ok(Health::ExternalChange("the switch's ports are others now".to_owned()));
            }
            if self.acl.read_all()?.0 != self.rows {
                self.verified = false;
                return Ok(Health::ExternalChange("another program has written ACL rules to our tables".to_owned()));
            }
        }
        Ok(Health::Intact)
    }

    /// The switch reads its ACL counters every 10 s, unless it is told otherwise.
    fn counter_delay(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        let of_rules: Vec<(&RowKey, Kind, &Arc<Nlri>)> = self
            .rows
            .iter()
            .filter_map(|(key, fields)| match self.owners.get(key)? {
                PlacedOwner::Rule(nlri) => Some((key, entry::kind_of(fields), nlri)),
                PlacedOwner::Protected(_) => None,
            })
            .collect();
        let rows: Vec<(&RowKey, Kind)> = of_rules.iter().map(|(key, kind, _)| (*key, *kind)).collect();
        let counts = counters::read(self.acl.databases(), &rows, &self.settings)?;
        let mut all: BTreeMap<Arc<Nlri>, Counter> = BTreeMap::new();
        for nlri in self.wanted.rules.keys().filter(|nlri| !self.failed.contains(nlri)) {
            all.insert(Arc::clone(nlri), self.ended_counters.total(nlri));
        }
        for ((_, _, nlri), counter) in of_rules.iter().zip(counts) {
            if let Some(sum) = all.get_mut(*nlri) {
                *sum = kernel::sum(sum, &counter);
            }
        }
        Ok(all.into_iter().collect())
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let mut capacity = 0;
        for version in VERSIONS {
            if version == IpVersion::V4 || capabilities(&self.settings).ipv6 {
                capacity += self.limit(version)?.0;
            }
        }
        Ok(Usage { entries: self.rows.len() as u64, capacity: Some(capacity), memory: None })
    }

    fn condition(&mut self) -> Condition {
        let mut condition = Condition { warnings: profile::warnings(&self.settings), ..Condition::default() };
        if !self.counters_on {
            condition.warnings.push(
                "the switch does not count what ACL rules match: `counterpoll acl enable` has it do so".to_owned(),
            );
        }
        let of = |version| self.rows.keys().filter(|(of, _)| *of == version).count() as u64;
        condition.statistics.extend([
            ("table_entries_ipv4", of(IpVersion::V4)),
            ("table_entries_ipv4_max", capacity::limit(&self.settings, self.resources.v4).0),
            ("table_entries_ipv6", of(IpVersion::V6)),
            ("table_entries_ipv6_max", capacity::limit(&self.settings, self.resources.v6).0),
        ]);
        condition
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        if !self.verified {
            self.take_over()?;
        }
        let before = self.rows.clone();
        if let Err(error) = self.change(&DesiredState::default()) {
            self.undo(&before);
            return Err(error);
        }
        self.remove_unused_policers(&Placement::default())?;
        let producer = self.acl.producer();
        for name in switch::tables_there(self.acl.databases(), producer)? {
            switch::remove_table(self.acl.databases(), producer, &name)?;
            switch::await_removal(self.acl.databases(), &name, self.settings.timeout)?;
        }
        self.wanted = DesiredState::default();
        self.failed.clear();
        self.verified = false;
        Ok(())
    }
}
