//! Reading the file while it is written.

use crate::buckets::{ALL_RULES, LEVELS, table};
use crate::{HistoryError, Incident, IncidentFilter, RateBucket, StateChange, Time, schema};
use rusqlite::{Connection, InterruptHandle, OpenFlags, Row, params};
use std::path::Path;
use std::time::Duration;

/// The file, open for reading. Each answer is of one moment; the writer goes on meanwhile.
#[derive(Debug)]
pub struct Reader(Connection);

/// Stops what a [`Reader`] is doing.
pub struct Interrupt(InterruptHandle);

impl Interrupt {
    /// The answer that is being looked for becomes an error.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

/// A rule that was in force at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAt {
    /// The number of the incident.
    pub incident: i64,
    /// The family's name.
    pub family: String,
    /// The NLRI with its length.
    pub nlri: Vec<u8>,
    /// What it asked for then.
    pub actions: String,
}

const COLUMNS: &str = "number, rule, family, nlri, text, actions, verdict, peer, by, as_path, communities, began, ended, end, ended_by, \
                       state, reason, packets, bytes, dropped, dropped_bytes, peak_packets, peak_packets_time, peak_bits, \
                       peak_bits_time, last_hit";

/// Incidents of one answer at most.
const MOST: u32 = 10_000;

impl Reader {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is not of this format.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.pragma_update(None, "cache_size", -2048)?;
        schema::check(&connection, path)?;
        Ok(Reader(connection))
    }

    /// What stops it from another thread.
    pub fn interrupt(&self) -> Interrupt {
        Interrupt(self.0.get_interrupt_handle())
    }

    /// Incidents, the latest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>, HistoryError> {
        let IncidentFilter { since, until, rule, destination, peer, state, before, most } = filter;
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM incidents WHERE (?1 IS NULL OR ended IS NULL OR ended >= ?1) AND (?2 IS NULL OR began < ?2) \
             AND (?3 IS NULL OR substr(printf('%012x', rule), 1, length(?3)) = ?3 OR instr(text, ?3) > 0) AND (?4 IS NULL OR peer = ?4) \
             AND (?5 IS NULL OR EXISTS (SELECT 1 FROM states WHERE incident = number AND states.state = ?5)) \
             AND number < ?6 \
             AND (?7 IS NULL OR ((family LIKE '%4') = ?9 AND (first_address IS NULL OR (first_address <= ?8 AND last_address >= ?7)))) \
             ORDER BY number DESC LIMIT ?10"
        ))?;
        let most = most.unwrap_or(MOST).min(MOST);
        let (first, last) = (destination.map(|range| range.first), destination.map(|range| range.last));
        let is_ipv4 = destination.is_some_and(|range| range.first[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
        let rows = statement.query_map(
            params![
                since,
                until,
                rule,
                peer,
                state,
                before.unwrap_or(i64::MAX),
                first.as_ref().map(<[u8; 16]>::as_slice),
                last.as_ref().map(<[u8; 16]>::as_slice),
                is_ipv4,
                most
            ],
            incident,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One incident.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incident(&self, number: i64) -> Result<Option<Incident>, HistoryError> {
        self.one(&format!("SELECT {COLUMNS} FROM incidents WHERE number = ?1"), number)
    }

    /// The latest incident of a rule.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn latest_of(&self, rule: u64) -> Result<Option<Incident>, HistoryError> {
        let sql = format!("SELECT {COLUMNS} FROM incidents WHERE rule = ?1 ORDER BY number DESC LIMIT 1");
        self.one(&sql, rule.cast_signed())
    }

    fn one(&self, sql: &str, value: i64) -> Result<Option<Incident>, HistoryError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query_map([value], incident)?;
        Ok(rows.next().transpose()?)
    }

    /// The states that an incident had, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn states(&self, number: i64) -> Result<Vec<StateChange>, HistoryError> {
        let sql = "SELECT time, state, reason, by FROM states WHERE incident = ?1 ORDER BY place";
        let mut statement = self.0.prepare_cached(sql)?;
        let change = |row: &Row<'_>| {
            Ok(StateChange { time: row.get(0)?, state: row.get(1)?, reason: row.get(2)?, by: row.get(3)? })
        };
        Ok(statement.query_map([number], change)?.collect::<Result<_, _>>()?)
    }

    /// What an incident matched, oldest first; the longer ago, the longer the buckets.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rates(&self, number: i64) -> Result<Vec<RateBucket>, HistoryError> {
        self.rates_between(number, i64::MIN, i64::MAX)
    }

    /// What all rules matched from one second to another.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rates_of_all(&self, since: i64, until: i64) -> Result<Vec<RateBucket>, HistoryError> {
        self.rates_between(ALL_RULES, since, until)
    }

    fn rates_between(&self, number: i64, since: i64, until: i64) -> Result<Vec<RateBucket>, HistoryError> {
        let parts = LEVELS.map(|level| {
            let (name, width) = (table(level), level.width);
            format!(
                "SELECT start, {width}, packets, bytes, dropped FROM {name} WHERE incident = ?1 AND start > ?2 - {width} AND start < ?3"
            )
        });
        let mut statement = self.0.prepare_cached(&format!("{} ORDER BY start", parts.join(" UNION ALL ")))?;
        let bucket = |row: &Row<'_>| {
            Ok(RateBucket {
                start: row.get(0)?,
                seconds: row.get(1)?,
                packets: unsigned(row.get(2)?),
                bytes: unsigned(row.get(3)?),
                dropped: unsigned(row.get(4)?),
            })
        };
        // Far from the ends of what SQLite can subtract from.
        let far = i64::MAX / 2;
        let rows = statement.query_map([number, since.clamp(-far, far), until.clamp(-far, far)], bucket)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Calls `each` with the rules that had one of these states at this time, in no order, each
    /// with the actions that it had then, until it says that it wants no more; false then.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn in_state_at(
        &self,
        time: Time,
        states: &[&str],
        mut each: impl FnMut(RuleAt) -> bool,
    ) -> Result<bool, HistoryError> {
        let mut candidates = self.0.prepare_cached(
            "SELECT number, family, nlri, actions FROM incidents WHERE began <= ?1 AND (ended IS NULL OR ended > ?1)",
        )?;
        let mut state = self.0.prepare_cached(
            "SELECT state FROM states WHERE incident = ?1 AND time <= ?2 AND state <> 'changed' ORDER BY place DESC LIMIT 1",
        )?;
        let mut later = self.0.prepare_cached(
            "SELECT before FROM states WHERE incident = ?1 AND time > ?2 AND before IS NOT NULL ORDER BY place LIMIT 1",
        )?;
        let rule = |row: &Row<'_>| {
            Ok(RuleAt { incident: row.get(0)?, family: row.get(1)?, nlri: row.get(2)?, actions: row.get(3)? })
        };
        for candidate in candidates.query_map([time], rule)? {
            let mut candidate = candidate?;
            let text = |row: &Row<'_>| row.get::<_, String>(0);
            let then = state.query_map([candidate.incident, time], text)?.next().transpose()?;
            if !then.is_some_and(|state| states.contains(&state.as_str())) {
                continue;
            }
            if let Some(before) = later.query_map([candidate.incident, time], text)?.next().transpose()? {
                candidate.actions = before;
            }
            if !each(candidate) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    Ok(Incident {
        number: row.get("number")?,
        rule: row.get::<_, i64>("rule")?.cast_unsigned(),
        family: row.get("family")?,
        nlri: row.get("nlri")?,
        text: row.get("text")?,
        actions: row.get("actions")?,
        verdict: row.get("verdict")?,
        peer: row.get("peer")?,
        by: row.get("by")?,
        as_path: row.get("as_path")?,
        communities: row.get("communities")?,
        began: row.get("began")?,
        ended: row.get("ended")?,
        end: row.get("end")?,
        ended_by: row.get("ended_by")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        packets: unsigned(row.get("packets")?),
        bytes: unsigned(row.get("bytes")?),
        dropped: row.get::<_, Option<i64>>("dropped")?.map(unsigned),
        dropped_bytes: row.get::<_, Option<i64>>("dropped_bytes")?.map(unsigned),
        peak_packets: row.get("peak_packets")?,
        peak_packets_time: row.get("peak_packets_time")?,
        peak_bits: row.get("peak_bits")?,
        peak_bits_time: row.get("peak_bits_time")?,
        last_hit: row.get("last_hit")?,
    })
}
