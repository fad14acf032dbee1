//! The changes of one transaction.

use crate::buckets::{ALL_RULES, level_for, start, table};
use crate::{Counted, Description, HistoryError, Time};
use rusqlite::{Transaction, params};
use std::collections::HashMap;

/// States and changes of one incident that are kept: the first and the last ones.
pub const MOST_STATES: u64 = 200;

/// A transaction under way.
pub(crate) struct Batch<'a> {
    transaction: Transaction<'a>,
    /// The open incidents before it.
    open: &'a HashMap<u64, i64>,
    /// What it changes in that; `None`: ended.
    opened: HashMap<u64, Option<i64>>,
    /// What all rules counted, by the width and the start of the bucket.
    sums: HashMap<(i64, i64), Counted>,
}

impl<'a> Batch<'a> {
    pub(crate) fn begin(transaction: Transaction<'a>, open: &'a HashMap<u64, i64>) -> Self {
        Batch { transaction, open, opened: HashMap::new(), sums: HashMap::new() }
    }

    /// What it changed in the open incidents.
    pub(crate) fn commit(mut self) -> Result<HashMap<u64, Option<i64>>, HistoryError> {
        for ((width, second), counted) in std::mem::take(&mut self.sums) {
            self.add_rate(ALL_RULES, width, second, &counted)?;
        }
        self.transaction.commit()?;
        Ok(self.opened)
    }

    fn incident(&self, rule: u64) -> Option<i64> {
        self.opened.get(&rule).copied().unwrap_or_else(|| self.open.get(&rule).copied())
    }

    pub(crate) fn began(
        &mut self,
        rule: u64,
        time: Time,
        what: &Description,
        state: &str,
        reason: Option<&str>,
        state_time: Time,
    ) -> Result<(), HistoryError> {
        if let Some(incident) = self.incident(rule) {
            let (actions, peer, before): (String, String, String) = self
                .transaction
                .prepare_cached("SELECT actions, peer, state FROM incidents WHERE number = ?1")?
                .query_row([incident], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if (actions.as_str(), peer.as_str()) != (what.actions.as_str(), what.peer.as_str()) {
                self.changed(rule, state_time, what)?;
            }
            if before != state {
                self.state(rule, state_time, state, reason)?;
            }
            return Ok(());
        }
        let Description { family, nlri, text, actions, verdict, peer, by, as_path, communities, destination } = what;
        let (first, last) = (destination.map(|range| range.first), destination.map(|range| range.last));
        self.transaction
            .prepare_cached(
                "INSERT INTO incidents (rule, family, nlri, text, actions, verdict, peer, by, as_path, communities, \
                 first_address, last_address, began, state, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                rule.cast_signed(),
                family,
                nlri,
                text,
                actions,
                verdict,
                peer,
                by,
                as_path,
                communities,
                first.as_ref().map(<[u8; 16]>::as_slice),
                last.as_ref().map(<[u8; 16]>::as_slice),
                time,
                state,
                reason
            ])?;
        let incident = self.transaction.last_insert_rowid();
        self.opened.insert(rule, Some(incident));
        self.add_state(incident, state_time, state, reason, None, None)
    }

    pub(crate) fn changed(&mut self, rule: u64, time: Time, what: &Description) -> Result<(), HistoryError> {
        let Some(incident) = self.incident(rule) else { return Ok(()) };
        let Description { text, actions, verdict, peer, by, as_path, communities, .. } = what;
        let before: String = self
            .transaction
            .prepare_cached("SELECT actions FROM incidents WHERE number = ?1")?
            .query_row([incident], |row| row.get(0))?;
        self.transaction
            .prepare_cached(
                "UPDATE incidents SET text = ?2, actions = ?3, verdict = ?4, peer = ?5, as_path = ?6, communities = ?7 \
                 WHERE number = ?1",
            )?
            .execute(params![incident, text, actions, verdict, peer, as_path, communities])?;
        let asks = text.rsplit_once(" then ").map_or(text.as_str(), |(_, actions)| actions);
        self.add_state(incident, time, "changed", Some(&format!("{peer}: {asks}")), by.as_deref(), Some(&before))
    }

    pub(crate) fn state(
        &mut self,
        rule: u64,
        time: Time,
        state: &str,
        reason: Option<&str>,
    ) -> Result<(), HistoryError> {
        let Some(incident) = self.incident(rule) else { return Ok(()) };
        self.transaction
            .prepare_cached("UPDATE incidents SET state = ?2, reason = ?3 WHERE number = ?1")?
            .execute(params![incident, state, reason])?;
        self.add_state(incident, time, state, reason, None, None)
    }

    fn add_state(
        &mut self,
        incident: i64,
        time: Time,
        state: &str,
        reason: Option<&str>,
        by: Option<&str>,
        before: Option<&str>,
    ) -> Result<(), HistoryError> {
        const MOST: i64 = MOST_STATES.cast_signed();
        let place: i64 = self
            .transaction
            .prepare_cached("SELECT coalesce(max(place), -1) + 1 FROM states WHERE incident = ?1")?
            .query_row([incident], |row| row.get(0))?;
        if place >= MOST {
            self.transaction
                .prepare_cached("DELETE FROM states WHERE incident = ?1 AND place = ?2")?
                .execute([incident, place - MOST / 2])?;
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO states (incident, place, time, state, reason, by, before) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![incident, place, time, state, reason, by, before])?;
        Ok(())
    }

    pub(crate) fn counted(
        &mut self,
        rule: u64,
        time: Time,
        seconds: i64,
        counted: &Counted,
    ) -> Result<(), HistoryError> {
        let width = level_for(seconds).width;
        let second = start(time.div_euclid(1000), width);
        let sum = self.sums.entry((width, second)).or_default();
        sum.packets = sum.packets.saturating_add(counted.packets);
        sum.bytes = sum.bytes.saturating_add(counted.bytes);
        sum.dropped = Some(sum.dropped.unwrap_or(0).saturating_add(counted.dropped.unwrap_or(0)));
        let Some(incident) = self.incident(rule) else { return Ok(()) };
        let Counted { packets, bytes, dropped, dropped_bytes, peak, last_hit } = *counted;
        // What is not told of some packets is not told of the sum: NULL and a number are NULL.
        self.transaction
            .prepare_cached(
                "UPDATE incidents SET packets = packets + ?2, bytes = bytes + ?3, dropped = dropped + ?4, \
                 dropped_bytes = dropped_bytes + ?5, last_hit = ?6, \
                 peak_packets_time = CASE WHEN ?7 > peak_packets THEN ?8 ELSE peak_packets_time END, \
                 peak_packets = max(peak_packets, ?7), \
                 peak_bits_time = CASE WHEN ?9 > peak_bits THEN ?10 ELSE peak_bits_time END, \
                 peak_bits = max(peak_bits, ?9) WHERE number = ?1",
            )?
            .execute(params![
                incident,
                signed(packets),
                signed(bytes),
                dropped.map(signed),
                dropped_bytes.map(signed),
                last_hit,
                peak.packets,
                peak.packets_time,
                peak.bits,
                peak.bits_time
            ])?;
        self.add_rate(incident, width, second, counted)
    }

    fn add_rate(&mut self, incident: i64, width: i64, second: i64, counted: &Counted) -> Result<(), HistoryError> {
        self.transaction
            .prepare_cached(&format!(
                "INSERT INTO {} (incident, start, packets, bytes, dropped) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (incident, start) DO UPDATE SET packets = packets + excluded.packets, \
                 bytes = bytes + excluded.bytes, dropped = dropped + excluded.dropped",
                table(level_for(width))
            ))?
            .execute(params![
                incident,
                second,
                signed(counted.packets),
                signed(counted.bytes),
                signed(counted.dropped.unwrap_or(0))
            ])?;
        Ok(())
    }

    pub(crate) fn ended(&mut self, rule: u64, time: Time, why: &str, by: Option<&str>) -> Result<(), HistoryError> {
        let Some(incident) = self.incident(rule) else { return Ok(()) };
        self.transaction
            .prepare_cached("UPDATE incidents SET ended = max(?2, began), end = ?3, ended_by = ?4 WHERE number = ?1")?
            .execute(params![incident, time, why, by])?;
        self.opened.insert(rule, None);
        Ok(())
    }
}

/// SQLite's numbers have a sign.
fn signed(number: u64) -> i64 {
    // A sum of two such numbers fits still.
    i64::try_from(number).unwrap_or(i64::MAX).min(i64::MAX / 1024)
}
