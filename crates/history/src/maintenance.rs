//! What is old grows coarser and goes, and what takes more than the room goes.

use crate::buckets::{ALL_RULES, LEVELS, start, table};
use crate::{HistoryError, Store, Time};
use rusqlite::Connection;

/// Incidents that go in one transaction.
const AT_ONCE: i64 = 500;

impl Store {
    /// Adds up old rates in coarser buckets.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn coarsen(&mut self, now: Time) -> Result<(), HistoryError> {
        let second = now.div_euclid(1000);
        for pair in LEVELS.windows(2) {
            let (fine, coarse) = (table(pair[0]), table(pair[1]));
            let (width, end) = (pair[1].width, start(second - pair[0].kept, pair[1].width));
            let transaction = self.connection_mut().transaction()?;
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO {coarse} SELECT incident, start - start % {width}, sum(packets), sum(bytes), sum(dropped) \
                     FROM {fine} WHERE start < ?1 GROUP BY 1, 2 ON CONFLICT (incident, start) DO UPDATE SET \
                     packets = packets + excluded.packets, bytes = bytes + excluded.bytes, dropped = dropped + excluded.dropped"
                ))?
                .execute([end])?;
            transaction.prepare_cached(&format!("DELETE FROM {fine} WHERE start < ?1"))?.execute([end])?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Forgets incidents that ended before this time.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn forget_before(&mut self, time: Time) -> Result<(), HistoryError> {
        while self.forget_some("ended < ?1", time)? {}
        for name in LEVELS.map(table) {
            self.connection()
                .prepare_cached(&format!("DELETE FROM {name} WHERE incident = {ALL_RULES} AND start < ?1"))?
                .execute([time.div_euclid(1000)])?;
        }
        Ok(())
    }

    /// Forgets incidents that have ended, those that ended first before others, until the content
    /// takes no more than so many octets. What becomes free in the file is used again before the
    /// file grows.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn forget_over(&mut self, octets: u64) -> Result<(), HistoryError> {
        while self.octets()? > octets && self.forget_some("ended < ?1", i64::MAX)? {}
        Ok(())
    }

    /// Octets that the content takes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn octets(&self) -> Result<u64, HistoryError> {
        let [pages, free, size] =
            ["page_count", "freelist_count", "page_size"].map(|name| pragma(self.connection(), name));
        Ok(u64::try_from((pages? - free?) * size?).unwrap_or(0))
    }

    /// True if there may be more.
    fn forget_some(&mut self, which: &str, value: i64) -> Result<bool, HistoryError> {
        let transaction = self.connection_mut().transaction()?;
        let numbers: Vec<i64> = transaction
            .prepare_cached(&format!("SELECT number FROM incidents WHERE {which} ORDER BY ended LIMIT {AT_ONCE}"))?
            .query_map([value], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for number in &numbers {
            for name in LEVELS.map(table).iter().map(String::as_str).chain(["states"]) {
                transaction.prepare_cached(&format!("DELETE FROM {name} WHERE incident = ?1"))?.execute([number])?;
            }
            transaction.prepare_cached("DELETE FROM incidents WHERE number = ?1")?.execute([number])?;
        }
        transaction.commit()?;
        Ok(!numbers.is_empty())
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, HistoryError> {
    Ok(connection.query_row(&format!("PRAGMA {name}"), (), |row| row.get(0))?)
}
