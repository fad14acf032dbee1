//! The maximum number of entries of our tables, from the switch's reports.
//!
//! The switch's resource monitor (CRM) reports what each table uses and what is left, minutes late,
//! and only for tables with rules. What is left may shrink faster than what is used grows, and
//! other tables share the same memory, so a part stays free.

use super::databases::{Databases, Db};
use super::entry::Fields;
use super::place::HIGHEST_PRIORITY;
use super::settings::Settings;
use crate::DataplaneError;

/// The switch's report on a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resources {
    /// Entries in use.
    pub(super) used: u64,
    /// Maximum number of entries.
    pub(super) entries: u64,
}

/// The switch's report on the table that contains the rule `rule` of `table`, if there is one.
pub(super) fn resources(
    databases: &mut Databases,
    table: &str,
    rule: &str,
) -> Result<Option<Resources>, DataplaneError> {
    let counter = databases.field(Db::Counters, "ACL_COUNTER_RULE_MAP", &format!("{table}:{rule}"))?;
    let Some(counter) = counter else { return Ok(None) };
    let key = format!("ASIC_STATE:SAI_OBJECT_TYPE_ACL_COUNTER:{counter}");
    let Some(table) = databases.field(Db::Asic, &key, "SAI_ACL_COUNTER_ATTR_TABLE_ID")? else { return Ok(None) };
    let oid = table.strip_prefix("oid:").unwrap_or(&table);
    let stats = databases.hash(Db::Counters, &format!("CRM:ACL_TABLE_STATS:{oid}"))?;
    Ok(parse(&stats))
}

fn parse(stats: &Fields) -> Option<Resources> {
    let value = |wanted: &str| stats.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.parse().ok());
    let of = |what: &str| -> Option<(u64, u64)> {
        let used: u64 = value(&format!("crm_stats_acl_{what}_used"))?;
        Some((used, used.saturating_add(value(&format!("crm_stats_acl_{what}_available"))?)))
    };
    let (used, entries) = of("entry")?;
    // Each rule has a counter, too.
    let counters = of("counter").map_or(entries, |(_, counters)| counters);
    Some(Resources { used, entries: entries.min(counters) })
}

/// Maximum entries of a table, and the reason for it.
pub(super) fn limit(settings: &Settings, resources: Option<Resources>) -> (u64, String) {
    let Some(Resources { entries, .. }) = resources else { return (settings.budget(), settings.why_budget()) };
    let reserve = (entries * u64::from(settings.reserve)).div_ceil(100);
    let usable = entries.saturating_sub(reserve).min(u64::from(HIGHEST_PRIORITY));
    match settings.max_entries {
        Some(most) if most <= usable => (most.min(u64::from(HIGHEST_PRIORITY)), settings.why_budget()),
        _ => (usable, format!("the switch reports {entries}, of which {reserve} stay free")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(entry: (u64, u64), counter: Option<(u64, u64)>) -> Fields {
        let both = [("entry", Some(entry)), ("counter", counter)].into_iter();
        both.filter_map(|(what, numbers)| Some((what, numbers?)))
            .flat_map(|(what, (used, available))| {
                [("used", used), ("available", available)]
                    .map(|(which, number)| (format!("crm_stats_acl_{what}_{which}"), number.to_string()))
            })
            .collect()
    }

    #[test]
    fn a_part_of_what_the_switch_has_stays_free() {
        let settings = Settings::default();
        assert_eq!(limit(&settings, None).0, 256);
        let resources = parse(&stats((12, 500), None));
        assert_eq!(resources, Some(Resources { used: 12, entries: 512 }));
        assert_eq!(limit(&settings, resources).0, 512 - 26);
        assert_eq!(limit(&Settings { max_entries: Some(100), ..settings.clone() }, resources).0, 100);
        assert_eq!(limit(&Settings { max_entries: Some(1000), ..settings.clone() }, resources).0, 486);
        assert_eq!(limit(&Settings { reserve: 0, ..settings.clone() }, resources).0, 512);
        let few_counters = parse(&stats((12, 500), Some((12, 88))));
        assert_eq!(limit(&settings, few_counters).0, 95);
        assert_eq!(limit(&settings, Some(Resources { used: 0, entries: 100_000 })).0, 16_000);
        assert_eq!(parse(&Fields::new()), None);
    }
}
