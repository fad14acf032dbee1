//! A rule set as the lines of SONiC's database, for people.

use super::entry::Fields;
use super::place::Placement;
use super::settings::{Database, Settings};
use super::tables::{table, table_name, table_type};
use crate::kernel::VERSIONS;
use std::fmt::Write;

/// The keys of the database and their fields. In CONFIG_DB the names of lists end in `@`.
pub(super) fn hash_of(fields: &Fields, database: Database) -> Fields {
    let name = |name: &str| match (database, name) {
        (Database::Config, "MATCHES" | "ACTIONS" | "BIND_POINTS" | "ports") => format!("{name}@"),
        _ => name.to_owned(),
    };
    fields.iter().map(|(field, value)| (name(field), value.clone())).collect()
}

/// The keys and fields for a placement: types and tables that have rules, then the rules.
pub(super) fn text(placement: &Placement, ports: &[String], settings: &Settings) -> String {
    let mut text = String::new();
    for version in VERSIONS {
        if *placement.used.of(version) == 0 {
            continue;
        }
        let name = table_name(version, settings);
        let ports = if ports.is_empty() { &["(all ports)".to_owned()] } else { ports };
        line(&mut text, &key(Object::Type, &[&name], settings.database), &table_type(version, settings), settings);
        line(&mut text, &key(Object::Table, &[&name], settings.database), &table(version, ports, settings), settings);
        for placed in placement.entries.iter().filter(|placed| placed.entry.version == version) {
            let rule = placed.entry.key(placed.priority, 0);
            let fields = placed.entry.with_priority(placed.priority);
            line(&mut text, &key(Object::Rule, &[&name, &rule], settings.database), &fields, settings);
        }
    }
    for policer in placement.policers() {
        line(&mut text, &format!("POLICER|{}", policer.name), &policer.fields, settings);
    }
    text
}

fn line(text: &mut String, key: &str, fields: &Fields, settings: &Settings) {
    text.push_str(key);
    for (name, value) in hash_of(fields, settings.database) {
        // Writing to a string does not fail.
        let _ = if value.contains(' ') { write!(text, " {name}=\"{value}\"") } else { write!(text, " {name}={value}") };
    }
    text.push('\n');
}

/// The object of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Type,
    Table,
    Rule,
}

impl Object {
    /// The name of the database table for such objects.
    pub(super) fn of(self, database: Database) -> &'static str {
        match (database, self) {
            (Database::Appl, Object::Type) => "ACL_TABLE_TYPE_TABLE",
            (Database::Appl, Object::Table) => "ACL_TABLE_TABLE",
            (Database::Appl, Object::Rule) => "ACL_RULE_TABLE",
            (Database::Config, Object::Type) => "ACL_TABLE_TYPE",
            (Database::Config, Object::Table) => "ACL_TABLE",
            (Database::Config, Object::Rule) => "ACL_RULE",
        }
    }
}

/// The key of an object.
pub(super) fn key(object: Object, names: &[&str], database: Database) -> String {
    let separator = match database {
        Database::Appl => ":",
        Database::Config => "|",
    };
    std::iter::once(object.of(database)).chain(names.iter().copied()).collect::<Vec<_>>().join(separator)
}
