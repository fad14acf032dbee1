//! `[dataplane.sonic]`: the databases of SONiC, and the properties of its ACL tables.
//!
//! The keys are those of the back end's settings, and still a struct of their own: their names and
//! forms are part of the stable face, while the back end may rename and regroup its settings, and
//! knows nothing of files. Both are written out field by field, so that the compiler finds one that
//! is missing; a test compares the defaults.

use crate::values::{Pattern, from_text};
use api::HumanDuration;
use dataplane::sonic::{self, Address, Release, Settings};

/// `[dataplane.sonic]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sonic {
    /// The socket of Redis.
    #[serde(deserialize_with = "from_text")]
    pub redis: Address,
    /// The database that rules are written to.
    pub database: Database,
    /// The release of SONiC.
    #[serde(deserialize_with = "from_text")]
    pub release: Release,
    /// Whether IPv6 is filtered, with a table of its own.
    pub ipv6: bool,
    /// Whether the tables match ranges of ports.
    pub ranges: bool,
    /// Whether the tables match the DSCP.
    pub dscp: bool,
    /// Whether the tables have policers.
    pub policers: bool,
    /// A rule of whose packets some are let through is refused.
    pub strict: bool,
    /// Entries of each table. `None`: as many as the switch reports.
    pub max_entries: Option<u64>,
    /// Percentage of the reported entries that is left free.
    pub reserve: u8,
    /// Most entries that one rule may take.
    pub max_entries_per_rule: u64,
    /// How long to wait for the status of a rule after the last one that arrived.
    pub timeout: HumanDuration,
}

/// Databases that rules can be written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Database {
    /// APPL_DB.
    #[default]
    Appl,
    /// CONFIG_DB.
    Config,
}

impl Default for Sonic {
    fn default() -> Self {
        let Settings {
            redis,
            database: _,
            interfaces: _,
            release,
            ipv6,
            ranges,
            dscp,
            policers,
            strict,
            max_entries,
            reserve,
            max_entries_per_rule,
            timeout,
        } = Settings::default();
        Sonic {
            redis,
            database: Database::Appl,
            release,
            ipv6,
            ranges,
            dscp,
            policers,
            strict,
            max_entries,
            reserve,
            max_entries_per_rule,
            timeout: HumanDuration(timeout),
        }
    }
}

impl Sonic {
    /// The back end's settings, for these `interfaces` of `[dataplane]`.
    pub fn settings(&self, interfaces: &[Pattern]) -> Settings {
        Settings {
            redis: self.redis.clone(),
            database: match self.database {
                Database::Appl => sonic::Database::Appl,
                Database::Config => sonic::Database::Config,
            },
            interfaces: interfaces.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            release: self.release,
            ipv6: self.ipv6,
            ranges: self.ranges,
            dscp: self.dscp,
            policers: self.policers,
            strict: self.strict,
            max_entries: self.max_entries,
            reserve: self.reserve,
            max_entries_per_rule: self.max_entries_per_rule,
            timeout: self.timeout.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_back_end() {
        assert_eq!(Sonic::default().settings(&[]), Settings::default());
    }
}
