//! `[dataplane.sonic]`: where the databases of SONiC are, and what its ACL tables are to have.

use crate::values::{Pattern, from_text};
use api::HumanDuration;
use dataplane::sonic::{self, Address, Release, Settings};

/// `[dataplane.sonic]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sonic {
    /// Where Redis answers.
    #[serde(deserialize_with = "from_text")]
    pub redis: Address,
    /// The database that rules are written to.
    pub database: Database,
    /// The release of SONiC.
    #[serde(deserialize_with = "from_text")]
    pub release: Release,
    /// Whether IPv6 is filtered, in a table of its own.
    pub ipv6: bool,
    /// Whether the tables have ranges of ports.
    pub ranges: bool,
    /// Whether the tables have the DSCP.
    pub dscp: bool,
    /// Whether the tables have policers.
    pub policers: bool,
    /// Entries of each table. `None`: as many as the switch says.
    pub max_entries: Option<u64>,
    /// Of a hundred entries that the switch says there are, so many are left free.
    pub reserve: u8,
    /// Most entries that one rule may take.
    pub max_entries_per_rule: u64,
    /// How long the status of a rule is waited for after the last one that came.
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
            max_entries,
            reserve,
            max_entries_per_rule,
            timeout: HumanDuration(timeout),
        }
    }
}

impl Sonic {
    /// What the back end is told, for these `interfaces` of `[dataplane]`.
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
