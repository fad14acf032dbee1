//! `floodgate compile --target flower`: with which driver, and what is protected.

use crate::command_line::FlowerArgs;
use crate::preview::{Preview, Protected};
use crate::switch::addresses;
use anyhow::Result;
use config::Config;
use dataplane::{RuleFailure, flower};
use engine::compile::{Refusal, split_into_entries};
use engine::plan::Ruleset;
use engine::protection::Protection;
use flowspec::IpVersion;
use std::path::Path;
use std::sync::Arc;

/// The filters that rules are compiled to.
pub(super) struct Filters {
    pub(super) settings: flower::Settings,
    protection: Protection,
}

impl Filters {
    /// Those of the configuration file, changed by the other arguments.
    pub(super) fn new(config: Option<&Path>, args: &FlowerArgs) -> Result<Self> {
        let config = config.map(Config::load).transpose()?;
        let protection = match &config {
            Some(config) => daemon::protection(config, &addresses(config)?),
            None => Protection::default(),
        };
        let mut dataplane = config.map(|config| config.dataplane).unwrap_or_default();
        dataplane.flower.driver = args.driver.or(dataplane.flower.driver);
        dataplane.flower.strict |= args.strict;
        Ok(Filters { settings: dataplane.flower.settings(&dataplane.interfaces), protection })
    }

    /// What the daemon would install.
    pub(super) fn outcome(&self, mut rules: Ruleset) -> Preview {
        let capabilities = flower::protection_capabilities(&self.settings);
        let mut protected = Vec::new();
        let mut spaces = Vec::new();
        for item in self.protection.items() {
            // No IPv6 rule will be there from which it would need protection.
            let needless = item.space.version() == IpVersion::V6 && !capabilities.ipv6;
            let cut = if needless { Ok(Vec::new()) } else { split_into_entries(item.space.clone(), &capabilities) };
            let (entries, reason) = match &cut {
                Ok(parts) => (parts.len() as u64, None),
                Err(kind) => (0, Some(Refusal::new(kind.clone(), &capabilities).to_string())),
            };
            spaces.extend(cut.unwrap_or_default());
            protected.push(Protected { what: item.what.clone(), entries, reason });
        }
        rules.protected = Arc::new(spaces);
        let preview = flower::preview(&rules, &self.settings);
        let words = |failure| match failure {
            RuleFailure::OverCapacity(words) | RuleFailure::Failed(words) => words,
        };
        let failures = preview.failures.into_iter().map(|(nlri, failure)| (nlri, words(failure))).collect();
        let unknown = flower::unknown(self.settings.driver).to_vec();
        Preview { program: preview.text, failures, protected, unknown, ..Preview::default() }
    }
}
