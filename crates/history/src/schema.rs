//! The tables.

use crate::HistoryError;
use crate::buckets::{LEVELS, table};
use rusqlite::Connection;
use std::path::Path;

/// Counts up with each change of the tables.
const FORMAT: i64 = 1;

/// Tells that a database is ours: `Flog`.
const APPLICATION: i64 = 0x466c_6f67;

const TABLES: &str = "
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rule INTEGER NOT NULL,
    family TEXT NOT NULL,
    nlri BLOB NOT NULL,
    text TEXT NOT NULL,
    actions TEXT NOT NULL,
    verdict TEXT NOT NULL,
    peer TEXT NOT NULL,
    by TEXT,
    as_path TEXT NOT NULL,
    communities TEXT NOT NULL,
    first_address BLOB,
    last_address BLOB,
    began INTEGER NOT NULL,
    ended INTEGER,
    end TEXT,
    ended_by TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    packets INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER DEFAULT 0,
    dropped_bytes INTEGER DEFAULT 0,
    peak_packets REAL NOT NULL DEFAULT 0,
    peak_packets_time INTEGER,
    peak_bits REAL NOT NULL DEFAULT 0,
    peak_bits_time INTEGER,
    last_hit INTEGER
) STRICT;
CREATE INDEX incidents_rule ON incidents (rule);
CREATE INDEX incidents_ended ON incidents (ended);
CREATE TABLE states (
    incident INTEGER NOT NULL,
    place INTEGER NOT NULL,
    time INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    by TEXT,
    before TEXT,
    PRIMARY KEY (incident, place)
) STRICT, WITHOUT ROWID;
";

/// Makes the tables of a new file; refuses one that is not ours, or of a later format.
pub(crate) fn prepare(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    match identity(connection)? {
        (APPLICATION, FORMAT, _) => Ok(()),
        (APPLICATION, found, _) if found > FORMAT => {
            Err(HistoryError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        (0, 0, 0) => {
            let mut all = format!("BEGIN IMMEDIATE;{TABLES}");
            for level in LEVELS {
                let name = table(level);
                all += &format!(
                    "CREATE TABLE {name} (incident INTEGER NOT NULL, start INTEGER NOT NULL, packets INTEGER NOT NULL, \
                     bytes INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (incident, start)) STRICT, WITHOUT ROWID;"
                );
                if level.kept < i64::MAX {
                    all += &format!("CREATE INDEX {name}_start ON {name} (start);");
                }
            }
            all += &format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;");
            connection.execute_batch(&all)?;
            Ok(())
        }
        _ => Err(HistoryError::Foreign(path.to_owned())),
    }
}

/// That a reader knows these tables.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    match identity(connection)? {
        (APPLICATION, FORMAT, _) => Ok(()),
        (APPLICATION, found, _) => Err(HistoryError::Newer { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(HistoryError::Foreign(path.to_owned())),
    }
}

/// Whose database it is, its format, and the number of its tables.
fn identity(connection: &Connection) -> Result<(i64, i64, i64), HistoryError> {
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, tables))
}
