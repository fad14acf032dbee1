//! Writes ACL types, tables and rules, and policers.
//!
//! To APPL_DB by the protocol of SONiC's `ProducerStateTable`: a change is written beside the table
//! and announced, and its consumer, orchagent, moves it into the table. To CONFIG_DB by writing the
//! key. Each object is one `HSET`: a reader at the first event must not see an incomplete rule,
//! which would match more.

use super::databases::{Databases, Db};
use super::entry::{Fields, Policer};
use super::render::{self, Object, hash_of};
use super::settings::Database;
use crate::DataplaneError;

/// Objects that are written in one transaction.
const BATCH: usize = 500;

/// Writes to one of the databases that orchagent reads ACLs from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Producer {
    database: Database,
}

impl Producer {
    pub(super) fn new(database: Database) -> Self {
        Producer { database }
    }

    /// The database that is written to.
    pub(super) fn db(self) -> Db {
        match self.database {
            Database::Appl => Db::Appl,
            Database::Config => Db::Config,
        }
    }

    /// The key of an object once orchagent has processed it.
    pub(super) fn key(self, object: Object, names: &[&str]) -> String {
        render::key(object, names, self.database)
    }

    /// Its fields.
    pub(super) fn hash(self, fields: &Fields) -> Fields {
        let mut hash = hash_of(fields, self.database);
        hash.sort_unstable();
        hash
    }

    /// Writes new objects, in this order. `names` are those of the table, and of the rule.
    pub(super) fn set(
        self,
        databases: &mut Databases,
        object: Object,
        objects: &[(Vec<&str>, &Fields)],
    ) -> Result<(), DataplaneError> {
        for objects in objects.chunks(BATCH) {
            let mut pipe = redis::pipe();
            pipe.atomic();
            for (names, fields) in objects {
                let key = match self.database {
                    Database::Appl => {
                        let set = format!("{}_KEY_SET", object.of(self.database));
                        pipe.cmd("SADD").arg(set).arg(names.join(":")).ignore();
                        format!("_{}", self.key(object, names))
                    }
                    Database::Config => self.key(object, names),
                };
                let command = pipe.cmd("HSET").arg(key);
                for (name, value) in self.hash(fields) {
                    command.arg(name).arg(value);
                }
                command.ignore();
            }
            self.announce(&mut pipe, object);
            databases.with(self.db(), |connection| pipe.exec(connection))?;
        }
        Ok(())
    }

    /// Deletes objects.
    pub(super) fn delete(
        self,
        databases: &mut Databases,
        object: Object,
        objects: &[Vec<&str>],
    ) -> Result<(), DataplaneError> {
        for objects in objects.chunks(BATCH) {
            let mut pipe = redis::pipe();
            pipe.atomic();
            for names in objects {
                let key = self.key(object, names);
                match self.database {
                    Database::Appl => {
                        let (table, name) = (object.of(self.database), names.join(":"));
                        pipe.cmd("SADD").arg(format!("{table}_KEY_SET")).arg(&name).ignore();
                        pipe.cmd("SADD").arg(format!("{table}_DEL_SET")).arg(&name).ignore();
                        pipe.cmd("DEL").arg(format!("_{key}")).ignore();
                    }
                    Database::Config => drop(pipe.cmd("DEL").arg(key).ignore()),
                }
            }
            self.announce(&mut pipe, object);
            databases.with(self.db(), |connection| pipe.exec(connection))?;
        }
        Ok(())
    }

    /// Which of these objects orchagent has not processed yet; none if that cannot be determined.
    pub(super) fn not_taken(
        self,
        databases: &mut Databases,
        object: Object,
        objects: &[Vec<&str>],
    ) -> Result<usize, DataplaneError> {
        if self.database == Database::Config || objects.is_empty() {
            return Ok(0);
        }
        let mut pipe = redis::pipe();
        for names in objects {
            pipe.cmd("SISMEMBER").arg(format!("{}_KEY_SET", object.of(self.database))).arg(names.join(":"));
        }
        let waiting: Vec<bool> = databases.with(self.db(), |connection| pipe.query(connection))?;
        Ok(waiting.into_iter().filter(|waits| *waits).count())
    }

    fn announce(self, pipe: &mut redis::Pipeline, object: Object) {
        if self.database == Database::Appl {
            let channel = format!("{}_CHANNEL@{}", object.of(self.database), self.db() as i64);
            pipe.cmd("PUBLISH").arg(channel).arg("G").ignore();
        }
    }
}

/// Writes a policer, which only CONFIG_DB has.
pub(super) fn set_policer(databases: &mut Databases, policer: &Policer) -> Result<(), DataplaneError> {
    let mut command = redis::cmd("HSET");
    command.arg(policer_key(&policer.name));
    for (name, value) in &policer.fields {
        command.arg(name).arg(value);
    }
    databases.with(Db::Config, |connection| command.exec(connection))
}

/// Deletes a policer.
pub(super) fn delete_policer(databases: &mut Databases, name: &str) -> Result<(), DataplaneError> {
    databases.with(Db::Config, |connection| redis::cmd("DEL").arg(policer_key(name)).exec(connection))
}

/// The key of a policer.
pub(super) fn policer_key(name: &str) -> String {
    format!("POLICER|{name}")
}
