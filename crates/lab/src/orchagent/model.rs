//! Orchagent's types, tables and rules in memory.

use super::fields::Fields;
use std::collections::BTreeMap;

/// A rule of a table.
pub(super) type RuleName = (String, String);

/// A type of tables.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableType {
    pub(super) matches: Vec<String>,
    pub(super) actions: Vec<String>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) kind: String,
    pub(super) ports: Vec<String>,
    pub(super) oid: u64,
}

/// A rule in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) fields: Fields,
    pub(super) priority: u32,
    /// The object id of its counter.
    pub(super) oid: u64,
}

/// All objects. Plain data: the parts of the emulator add and remove them.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) types: BTreeMap<String, TableType>,
    pub(super) tables: BTreeMap<String, Table>,
    /// Tables that wait for their type.
    pub(super) waiting_tables: BTreeMap<String, Fields>,
    /// Rules in force.
    pub(super) rules: BTreeMap<RuleName, Rule>,
    /// Rules that wait, without a status, for their table or policer.
    pub(super) waiting: BTreeMap<RuleName, Fields>,
    /// Rules without room in the table.
    pub(super) parked: BTreeMap<RuleName, Fields>,
    last_oid: u64,
}

impl Model {
    /// An id for a new object.
    pub(super) fn oid(&mut self) -> u64 {
        self.last_oid += 1;
        self.last_oid
    }

    /// Rules in force of a table.
    pub(super) fn of_table<'a>(&'a self, table: &'a str) -> impl Iterator<Item = (&'a RuleName, &'a Rule)> {
        self.rules.iter().filter(move |((of, _), _)| of == table)
    }

    /// Distinct ranges of ports of the rules in force.
    pub(super) fn ranges(&self) -> Vec<(String, String)> {
        let of = |rule: &Rule| {
            rule.fields
                .iter()
                .filter(|(name, _)| name.ends_with("_RANGE"))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect::<Vec<_>>()
        };
        let mut all: Vec<(String, String)> = self.rules.values().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
