//! Reads SONiC's databases. Each is a numbered database of one Redis server.

use super::entry::Fields;
use super::settings::Address;
use crate::DataplaneError;
use redis::{Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use std::collections::BTreeMap;
use std::time::Duration;

/// Timeout of an answer of Redis.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys in one request.
const BATCH: usize = 1000;

/// A database, with its number in `database_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Db {
    Appl = 0,
    Asic = 1,
    Counters = 2,
    Config = 4,
    State = 6,
}

/// Connections to the databases, opened when they are needed and closed after an error.
pub(super) struct Databases {
    address: Address,
    connections: BTreeMap<Db, Connection>,
}

impl std::fmt::Debug for Databases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Databases({})", self.address)
    }
}

impl Databases {
    pub(super) fn new(address: Address) -> Self {
        Databases { address, connections: BTreeMap::new() }
    }

    /// Uses the connection to a database; repeats it with a new one if the connection has broken,
    /// as after a restart of Redis. All requests are idempotent.
    pub(super) fn with<T>(
        &mut self,
        db: Db,
        work: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, DataplaneError> {
        if let Some(connection) = self.connections.get_mut(&db) {
            match work(connection) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    // What broke this one has broken the others.
                    self.connections.clear();
                    if !error.is_io_error() && !error.is_connection_dropped() {
                        return Err(self.refused(&error));
                    }
                }
            }
        }
        let mut connection = connect(&self.address, db).map_err(|error| {
            DataplaneError::Unavailable(format!("Redis does not answer at {}: {error}", self.address))
        })?;
        let value = work(&mut connection).map_err(|error| self.refused(&error))?;
        self.connections.insert(db, connection);
        Ok(value)
    }

    fn refused(&self, error: &redis::RedisError) -> DataplaneError {
        DataplaneError::Refused(format!("Redis at {}: {error}", self.address))
    }

    /// All fields of a hash; none where there is no such key.
    pub(super) fn hash(&mut self, db: Db, key: &str) -> Result<Fields, DataplaneError> {
        Ok(self.hashes(db, &[key.to_owned()])?.pop().unwrap_or_default())
    }

    /// All fields of each of these hashes, sorted by name.
    pub(super) fn hashes(&mut self, db: Db, keys: &[String]) -> Result<Vec<Fields>, DataplaneError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for key in keys {
                pipe.cmd("HGETALL").arg(key);
            }
            let hashes: Vec<BTreeMap<String, String>> = self.with(db, |connection| pipe.query(connection))?;
            all.extend(hashes.into_iter().map(|hash| hash.into_iter().collect()));
        }
        Ok(all)
    }

    /// One field of a hash.
    pub(super) fn field(&mut self, db: Db, key: &str, field: &str) -> Result<Option<String>, DataplaneError> {
        Ok(self.fields(db, &[key.to_owned()], field)?.pop().flatten())
    }

    /// One field of each of these hashes.
    pub(super) fn fields(
        &mut self,
        db: Db,
        keys: &[String],
        field: &str,
    ) -> Result<Vec<Option<String>>, DataplaneError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for key in keys {
                pipe.cmd("HGET").arg(key).arg(field);
            }
            let values: Vec<Option<String>> = self.with(db, |connection| pipe.query(connection))?;
            all.extend(values);
        }
        Ok(all)
    }

    /// Whether each of these keys is there.
    pub(super) fn exist(&mut self, db: Db, keys: &[String]) -> Result<Vec<bool>, DataplaneError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for key in keys {
                pipe.cmd("EXISTS").arg(key);
            }
            let there: Vec<bool> = self.with(db, |connection| pipe.query(connection))?;
            all.extend(there);
        }
        Ok(all)
    }

    /// The keys that match a pattern of Redis's.
    pub(super) fn keys(&mut self, db: Db, pattern: &str) -> Result<Vec<String>, DataplaneError> {
        self.with(db, |connection| {
            let (mut cursor, mut all) = (0u64, Vec::new());
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(BATCH);
                let (next, keys): (u64, Vec<String>) = scan.query(connection)?;
                all.extend(keys);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            // The scan may return a key twice.
            all.sort_unstable();
            all.dedup();
            Ok(all)
        })
    }
}

fn connect(address: &Address, db: Db) -> RedisResult<Connection> {
    let address = match address {
        Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
        Address::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
    };
    let settings = RedisConnectionInfo::default().set_db(db as i64);
    let client = redis::Client::open(address.into_connection_info()?.set_redis_settings(settings))?;
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}
