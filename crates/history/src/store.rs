//! The file: changes go in, each batch in one transaction.

use crate::batch::Batch;
use crate::{Change, HistoryError, Time, schema};
use rusqlite::{Connection, OptionalExtension};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The file, open for writing.
///
/// A batch is in the file as a whole or not at all, also if the program is killed meanwhile. If the
/// machine loses power, the last seconds may be missing.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// The open incident of each rule that has one.
    open: HashMap<u64, i64>,
    /// Of those, the rules that were not told of since the file was opened.
    unconfirmed: HashSet<u64>,
    /// When something was written last before the file was opened.
    last_alive: Option<Time>,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or not ours.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        // What it remembers is not for everybody. SQLite gives its other files the same mode.
        std::fs::File::options().create(true).append(true).mode(0o600).open(path)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        schema::prepare(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // KiB of memory, however large the file is.
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        connection.set_prepared_statement_cache_capacity(64);
        let mut store = Store { connection, open: HashMap::new(), unconfirmed: HashSet::new(), last_alive: None };
        store.load_open()?;
        Ok(store)
    }

    fn load_open(&mut self) -> Result<(), HistoryError> {
        let mut statement = self.connection.prepare("SELECT rule, number FROM incidents WHERE ended IS NULL")?;
        let rows = statement.query_map((), |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?)))?;
        self.open = rows.collect::<Result<_, _>>()?;
        drop(statement);
        self.unconfirmed = self.open.keys().copied().collect();
        let latest = "SELECT max(t) FROM (SELECT max(last_hit) AS t FROM incidents WHERE ended IS NULL \
                      UNION ALL SELECT max(time) FROM states WHERE incident IN (SELECT number FROM incidents WHERE ended IS NULL))";
        self.last_alive = self.connection.query_row(latest, (), |row| row.get(0)).optional()?.flatten();
        Ok(())
    }

    /// Takes in what happened, all of it or nothing.
    ///
    /// # Errors
    /// It is not in the file: the disk is full, or broken.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), HistoryError> {
        let Store { connection, open, unconfirmed, last_alive } = self;
        // What is known changes with the file, or not at all.
        let mut batch = Batch::begin(connection.transaction()?, open);
        let mut confirmed = HashSet::new();
        for change in changes {
            match change {
                Change::Began { rule, time, what, state, reason, state_time } => {
                    confirmed.insert(*rule);
                    batch.began(*rule, *time, what, state, reason.as_deref(), *state_time)?;
                }
                Change::Changed { rule, time, what } => batch.changed(*rule, *time, what)?,
                Change::State { rule, time, state, reason } => batch.state(*rule, *time, state, reason.as_deref())?,
                Change::Counted { rule, time, seconds, counted } => batch.counted(*rule, *time, *seconds, counted)?,
                Change::Ended { rule, time, why, by } => {
                    confirmed.insert(*rule);
                    batch.ended(*rule, *time, why, by.as_deref())?;
                }
                Change::AllTold { time } => {
                    let gone: Vec<u64> = unconfirmed.iter().filter(|rule| !confirmed.contains(rule)).copied().collect();
                    let ended = last_alive.unwrap_or(*time).min(*time);
                    for rule in gone {
                        batch.ended(rule, ended, "gone while nothing was recorded", None)?;
                        confirmed.insert(rule);
                    }
                }
            }
        }
        for (rule, incident) in batch.commit()? {
            match incident {
                Some(incident) => drop(open.insert(rule, incident)),
                None => drop(open.remove(&rule)),
            }
        }
        unconfirmed.retain(|rule| !confirmed.contains(rule));
        Ok(())
    }

    /// The open file.
    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same for transactions.
    pub(crate) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// How many incidents are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}
