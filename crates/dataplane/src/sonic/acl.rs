//! ACL rules on the switch: written and deleted, each with a wait until they are active or gone.

use super::databases::{Databases, Db};
use super::entry::{Fields, Policer};
use super::producer::{self, Producer};
use super::render::Object;
use super::rows::{RowKey, Rows};
use super::settings::{Database, Settings};
use super::switch::{self, Progress};
use super::tables::{PREFIX, table_name};
use crate::DataplaneError;
use flowspec::IpVersion;
use std::collections::{BTreeMap, BTreeSet};

/// Why an ACL rule is not active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotActive {
    /// The table is full.
    Full,
    /// The switch refused it, or publishes no status; a sentence.
    Refused(String),
}

/// Our ACL rules in the database that they are written to.
#[derive(Debug)]
pub(super) struct Acl {
    databases: Databases,
    producer: Producer,
    settings: Settings,
}

impl Acl {
    pub(super) fn new(settings: &Settings) -> Self {
        Acl {
            databases: Databases::new(settings.redis.clone()),
            producer: Producer::new(settings.database),
            settings: settings.clone(),
        }
    }

    /// The databases, for everything but rules.
    pub(super) const fn databases(&mut self) -> &mut Databases {
        &mut self.databases
    }

    /// The producer of the database in use.
    pub(super) const fn producer(&self) -> Producer {
        self.producer
    }

    /// The name of the table of an IP version.
    pub(super) fn table(&self, version: IpVersion) -> String {
        table_name(version, &self.settings)
    }

    /// The status of ACL rules.
    pub(super) fn statuses(&mut self, rows: &[&RowKey]) -> Result<Vec<Option<String>>, DataplaneError> {
        let tables = self.tables();
        let keys: Vec<String> =
            rows.iter().map(|(version, key)| format!("ACL_RULE_TABLE|{}|{key}", tables[version])).collect();
        self.databases.fields(Db::State, &keys, "status")
    }

    /// The contents of the database under these names.
    pub(super) fn contents(&mut self, rows: &[&RowKey]) -> Result<Vec<Fields>, DataplaneError> {
        let tables = self.tables();
        let key = |(version, key): &&RowKey| self.producer.key(Object::Rule, &[&tables[version], key]);
        let keys: Vec<String> = rows.iter().map(key).collect();
        self.databases.hashes(self.producer.db(), &keys)
    }

    /// Writes ACL rules and waits until each is active. Returns those that are not; these are
    /// deleted again.
    ///
    /// # Errors
    /// Orchagent does not process them, or the table does not exist. What was written may be there.
    pub(super) fn add(
        &mut self,
        rows: &[(RowKey, Fields, Option<Policer>)],
    ) -> Result<BTreeMap<RowKey, NotActive>, DataplaneError> {
        let policers: BTreeSet<&Policer> = rows.iter().filter_map(|(_, _, policer)| policer.as_ref()).collect();
        for policer in policers {
            producer::set_policer(&mut self.databases, policer)?;
        }
        self.forget(&rows.iter().map(|(key, _, _)| key).collect::<Vec<_>>())?;
        let tables = self.tables();
        let objects: Vec<_> = rows
            .iter()
            .map(|((version, key), fields, _)| (vec![tables[version].as_str(), key.as_str()], fields))
            .collect();
        self.producer.set(&mut self.databases, Object::Rule, &objects)?;
        let mut waiting: Vec<&RowKey> = rows.iter().map(|(key, _, _)| key).collect();
        let mut not_active = BTreeMap::new();
        let mut progress = Progress::new(self.settings.timeout);
        while !waiting.is_empty() {
            let statuses = self.statuses(&waiting)?;
            let before = waiting.len();
            let mut left = Vec::new();
            let mut failed = Vec::new();
            for (row, status) in waiting.into_iter().zip(statuses) {
                match status.as_deref() {
                    Some("Active") => continue,
                    Some("Inactive") => {
                        let words = "the switch refuses an entry of it (Inactive); the syslog of swss has the reason";
                        not_active.insert(row.clone(), NotActive::Refused(words.to_owned()));
                    }
                    // Never left there: the switch would retry it at each change of the table.
                    Some("Pending creation") => drop(not_active.insert(row.clone(), NotActive::Full)),
                    Some(_) | None => {
                        left.push(row);
                        continue;
                    }
                }
                failed.push(row);
            }
            waiting = left;
            self.withdraw(&failed)?;
            if waiting.len() < before {
                progress.made();
            } else if !progress.wait() {
                let timeout = self.settings.timeout;
                if self.are_not_taken(&waiting)? {
                    return Err(DataplaneError::Refused(format!(
                        "orchagent has not taken {} ACL rules within {timeout:?}",
                        waiting.len()
                    )));
                }
                self.check_tables(&waiting)?;
                let words = format!("the switch has published no status of an entry of it for {timeout:?}");
                not_active.extend(waiting.iter().map(|row| ((*row).clone(), NotActive::Refused(words.clone()))));
                self.withdraw(&waiting)?;
                break;
            } else {
                self.check_tables(&waiting)?;
            }
        }
        if !not_active.is_empty() {
            self.await_removal(&not_active.keys().collect::<Vec<_>>())?;
        }
        Ok(not_active)
    }

    /// Makes orchagent delete what it still has under these names, although their keys are gone, as
    /// when somebody flushes the database: otherwise its status would be taken for that of the ACL
    /// rule that is written next.
    fn forget(&mut self, rows: &[&RowKey]) -> Result<(), DataplaneError> {
        let statuses = self.statuses(rows)?;
        let held: Vec<&RowKey> =
            rows.iter().zip(statuses).filter(|(_, status)| status.is_some()).map(|(row, _)| *row).collect();
        if held.is_empty() { Ok(()) } else { self.delete(&held) }
    }

    /// Deletes ACL rules and waits until they are gone.
    ///
    /// # Errors
    /// Some are still there.
    pub(super) fn delete(&mut self, rows: &[&RowKey]) -> Result<(), DataplaneError> {
        self.withdraw(rows)?;
        self.await_removal(rows)
    }

    /// Writes and deletes without waiting: to restore the previous state after a failed change.
    pub(super) fn restore(&mut self, missing: &[(RowKey, Fields)], extra: &[&RowKey]) -> Result<(), DataplaneError> {
        self.withdraw(extra)?;
        let tables = self.tables();
        let objects: Vec<_> = missing
            .iter()
            .map(|((version, key), fields)| (vec![tables[version].as_str(), key.as_str()], fields))
            .collect();
        self.producer.set(&mut self.databases, Object::Rule, &objects)
    }

    /// All ACL rules of our tables in this database, including those of tables that are not in use.
    pub(super) fn read_all(&mut self) -> Result<(Rows, Vec<(String, String)>), DataplaneError> {
        self.await_taken()?;
        let prefix = self.producer.key(Object::Rule, &[PREFIX]);
        let keys = self.databases.keys(self.producer.db(), &format!("{prefix}*"))?;
        let hashes = self.databases.hashes(self.producer.db(), &keys)?;
        let tables = self.tables();
        let (mut rows, mut stale) = (Rows::new(), Vec::new());
        for (key, fields) in keys.iter().zip(hashes) {
            let Some((table, rule)) = key.strip_prefix(&prefix).and_then(|rest| rest.split_once([':', '|'])) else {
                continue;
            };
            let table = format!("{PREFIX}{table}");
            match tables.iter().find(|(_, name)| **name == table) {
                Some((version, _)) => drop(rows.insert((*version, rule.to_owned()), fields)),
                None => stale.push((table, rule.to_owned())),
            }
        }
        Ok((rows, stale))
    }

    /// The database that rules are not written to.
    pub(super) fn other_database(&self) -> Producer {
        Producer::new(match self.settings.database {
            Database::Appl => Database::Config,
            Database::Config => Database::Appl,
        })
    }

    /// Deletes ACL rules of our tables that are not in use: in the database in use, those of other
    /// tables; in the other one all.
    pub(super) fn remove_rules_of_others(&mut self, of: Producer, keep: bool) -> Result<(), DataplaneError> {
        let prefix = of.key(Object::Rule, &[PREFIX]);
        let wanted = self.tables();
        let keys = self.databases.keys(of.db(), &format!("{prefix}*"))?;
        let useless: Vec<(String, &str)> = keys
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix)?.split_once([':', '|']))
            .map(|(table, rule)| (format!("{PREFIX}{table}"), rule))
            .filter(|(table, _)| !keep || !wanted.values().any(|name| name == table))
            .collect();
        let names: Vec<_> = useless.iter().map(|(table, rule)| vec![table.as_str(), *rule]).collect();
        of.delete(&mut self.databases, Object::Rule, &names)
    }

    /// Waits until orchagent has processed what was written to our tables, perhaps by an earlier
    /// run.
    fn await_taken(&mut self) -> Result<(), DataplaneError> {
        if self.producer.db() != Db::Appl {
            return Ok(());
        }
        let mut progress = Progress::new(self.settings.timeout);
        loop {
            let waiting: Vec<String> = self
                .databases
                .with(Db::Appl, |connection| redis::cmd("SMEMBERS").arg("ACL_RULE_TABLE_KEY_SET").query(connection))?;
            if !waiting.iter().any(|name| name.starts_with(PREFIX)) {
                return Ok(());
            }
            if !progress.wait() {
                let timeout = self.settings.timeout;
                return Err(DataplaneError::Refused(format!("orchagent has not taken ACL rules within {timeout:?}")));
            }
        }
    }

    fn withdraw(&mut self, rows: &[&RowKey]) -> Result<(), DataplaneError> {
        if rows.is_empty() {
            return Ok(());
        }
        let tables = self.tables();
        let names: Vec<_> = rows.iter().map(|(version, key)| vec![tables[version].as_str(), key.as_str()]).collect();
        self.producer.delete(&mut self.databases, Object::Rule, &names)
    }

    fn await_removal(&mut self, rows: &[&RowKey]) -> Result<(), DataplaneError> {
        let tables = self.tables();
        let mut waiting: Vec<(String, String)> = rows
            .iter()
            .map(|(version, key)| {
                let key = key.as_str();
                let state = format!("ACL_RULE_TABLE|{}|{key}", tables[version]);
                (state, self.producer.key(Object::Rule, &[&tables[version], key]))
            })
            .collect();
        let mut progress = Progress::new(self.settings.timeout);
        loop {
            let (states, keys): (Vec<String>, Vec<String>) = waiting.iter().cloned().unzip();
            let told = self.databases.exist(Db::State, &states)?;
            let written = self.databases.exist(self.producer.db(), &keys)?;
            let before = waiting.len();
            let mut there = told.into_iter().zip(written).map(|(told, written)| told || written);
            waiting.retain(|_| there.next().unwrap_or(false));
            if waiting.is_empty() {
                return Ok(());
            }
            if waiting.len() < before {
                progress.made();
            } else if !progress.wait() {
                return Err(DataplaneError::Refused(format!(
                    "the switch has not removed {} ACL rules within {:?}",
                    waiting.len(),
                    self.settings.timeout
                )));
            }
        }
    }

    fn are_not_taken(&mut self, rows: &[&RowKey]) -> Result<bool, DataplaneError> {
        let tables = self.tables();
        let names: Vec<_> = rows.iter().map(|(version, key)| vec![tables[version].as_str(), key.as_str()]).collect();
        Ok(self.producer.not_taken(&mut self.databases, Object::Rule, &names)? > 0)
    }

    /// The wait for rules of a missing table would be in vain.
    fn check_tables(&mut self, rows: &[&RowKey]) -> Result<(), DataplaneError> {
        let versions: BTreeSet<IpVersion> = rows.iter().map(|(version, _)| *version).collect();
        for version in versions {
            let name = self.table(version);
            let status = switch::table_status(&mut self.databases, &name)?;
            if status.as_deref() != Some("Active") {
                let status = status.as_deref().unwrap_or("gone");
                return Err(DataplaneError::ExternalChange(format!(
                    "the table {name} is {status}: SONiC has restarted"
                )));
            }
        }
        Ok(())
    }

    fn tables(&self) -> BTreeMap<IpVersion, String> {
        [IpVersion::V4, IpVersion::V6].map(|version| (version, self.table(version))).into()
    }
}
