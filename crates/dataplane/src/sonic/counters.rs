//! Counters of ACL rules from COUNTERS_DB: some seconds late.

use super::databases::{Databases, Db};
use super::entry::Kind;
use super::rows::RowKey;
use super::settings::Settings;
use super::tables::table_name;
use crate::{Counter, DataplaneError};
use std::collections::BTreeMap;

/// The counters of these ACL rules, in their order.
pub(super) fn read(
    databases: &mut Databases,
    rows: &[(&RowKey, Kind)],
    settings: &Settings,
) -> Result<Vec<Counter>, DataplaneError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let map: BTreeMap<String, String> = databases
        .with(Db::Counters, |connection| redis::cmd("HGETALL").arg("ACL_COUNTER_RULE_MAP").query(connection))?;
    let oid = |(version, key): &RowKey| {
        let name = format!("{}:{key}", table_name(*version, settings));
        map.get(&name).map_or_else(String::new, |oid| format!("COUNTERS:{oid}"))
    };
    let keys: Vec<String> = rows.iter().map(|(row, _)| oid(row)).collect();
    let number = |value: Option<String>| value.and_then(|value| value.parse().ok()).unwrap_or(0u64);
    let packets = databases.fields(Db::Counters, &keys, "SAI_ACL_COUNTER_ATTR_PACKETS")?;
    let bytes = databases.fields(Db::Counters, &keys, "SAI_ACL_COUNTER_ATTR_BYTES")?;
    let counts = packets.into_iter().zip(bytes).zip(rows).map(|((packets, bytes), (_, kind))| {
        let packets = number(packets);
        let dropped_packets = match kind {
            Kind::Drop => Some(packets),
            Kind::Forward => Some(0),
            // A policer does not report what it drops.
            Kind::Limit => None,
        };
        Counter::of_packets(packets, number(bytes), dropped_packets)
    });
    Ok(counts.collect())
}

/// Whether the switch counts at all.
pub(super) fn are_on(databases: &mut Databases) -> Result<bool, DataplaneError> {
    let status = databases.field(Db::Config, "FLEX_COUNTER_TABLE|ACL", "FLEX_COUNTER_STATUS")?;
    Ok(status.is_some_and(|status| status == "enable"))
}
