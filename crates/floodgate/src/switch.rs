//! `floodgate compile --target cumulus`: which switch, what is known of it, what is protected on it.

use crate::command_line::SwitchArgs;
use crate::preview::{Preview, Protected, TcamShare, TcamUsage};
use anyhow::{Context, Result};
use config::Config;
use daemon::interfaces;
use dataplane::{Fact, RuleFailure, cumulus};
use engine::compile::{Refusal, split_into_entries};
use engine::plan::Ruleset;
use engine::protection::Protection;
use flowspec::{IpVersion, Space};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A switch that rules are compiled for.
pub(super) struct Switch {
    pub(super) settings: cumulus::Settings,
    protection: Protection,
}

/// A fact as JSON.
#[derive(Serialize)]
pub(super) struct FactView<'a> {
    name: &'a str,
    value: &'a str,
    /// The releases whose document says so; `null` for unknown.
    document: Option<&'a str>,
}

impl<'a> From<&'a Fact> for FactView<'a> {
    fn from(fact: &'a Fact) -> Self {
        FactView { name: &fact.name, value: &fact.value, document: fact.document.as_deref() }
    }
}

impl Switch {
    /// The switch of the configuration file, changed by the other arguments.
    pub(super) fn new(args: &SwitchArgs) -> Result<Self> {
        let SwitchArgs { config, release, asic, interfaces, non_atomic } = args;
        let config = config.as_ref().map(|path| Config::load(path)).transpose()?;
        let protection = match &config {
            Some(config) => daemon::protection(config, &addresses(config)?),
            None => Protection::default(),
        };
        let mut dataplane = config.map(|config| config.dataplane).unwrap_or_default();
        if !interfaces.is_empty() {
            dataplane.interfaces.clone_from(interfaces);
        }
        for pattern in &dataplane.interfaces {
            if let Some(message) = config::unfit_interface(pattern) {
                anyhow::bail!(message);
            }
        }
        let switch = &mut dataplane.cumulus;
        if let Some(release) = release {
            switch.release = Some(release.parse().context("--release")?);
        }
        switch.asic = asic.or(switch.asic);
        switch.non_atomic |= non_atomic;
        let settings = switch.settings(&dataplane.interfaces, config::release_of_this_machine());
        Ok(Switch { settings, protection })
    }

    /// What the daemon would install.
    pub(super) fn outcome(&self, mut rules: Ruleset) -> Result<Preview> {
        let settings = &self.settings;
        let capabilities = cumulus::capabilities(settings);
        let mut parts: Vec<Result<Vec<Space>, Refusal>> = Vec::new();
        for item in self.protection.items() {
            // No IPv6 rule will be there from which it would need protection.
            let needless = item.space.version() == IpVersion::V6 && !capabilities.ipv6;
            let cut = if needless { Ok(Vec::new()) } else { split_into_entries(item.space.clone(), &capabilities) };
            parts.push(cut.map_err(|kind| Refusal::new(kind, &capabilities)));
        }
        rules.protected = Arc::new(parts.iter().flatten().flatten().cloned().collect());
        let preview = cumulus::preview(&rules, settings);
        let cost = |spaces: &Vec<Space>| {
            let taken = preview.protected.iter().filter(|(space, _)| spaces.contains(space));
            taken.map(|(_, entries)| entries).sum()
        };
        let protected = self.protection.items().iter().zip(&parts).map(|(item, parts)| Protected {
            what: item.what.clone(),
            entries: parts.as_ref().map(cost).unwrap_or(0),
            reason: parts.as_ref().err().map(ToString::to_string),
        });
        let discovery = Protected {
            what: "IPv6 neighbour discovery".to_owned(),
            entries: preview.neighbor_discovery,
            reason: None,
        };
        let discovery = (preview.neighbor_discovery > 0).then_some(discovery);
        let protected = protected.chain(discovery).collect();
        let budget = settings.budget();
        let room = TcamUsage {
            asic: settings.asic.name(),
            ipv4: TcamShare { entries: preview.entries.0, budget: budget.0 },
            ipv6: TcamShare { entries: preview.entries.1, budget: budget.1 },
            shared: settings.shares_table(),
        };
        let words = |failure| match failure {
            RuleFailure::OverCapacity(words) | RuleFailure::Failed(words) => words,
        };
        let failures = preview.failures.into_iter().map(|(nlri, failure)| (nlri, words(failure))).collect();
        Ok(Preview {
            program: preview.text,
            room: Some(room),
            failures,
            profile: cumulus::facts(settings),
            profile_sources: "the release of Cumulus Linux whose document says so",
            protected,
        })
    }
}

/// Addresses of this machine, as the configuration says or as they are.
pub(super) fn addresses(config: &Config) -> Result<BTreeSet<std::net::IpAddr>> {
    match &config.protect.addresses {
        Some(addresses) => Ok(addresses.iter().copied().collect()),
        None => interfaces::addresses().context("cannot list the addresses of this machine"),
    }
}

/// What is known and what is protected, for people.
pub(super) fn lines(outcome: &Preview) -> Vec<String> {
    let Preview { profile, profile_sources, protected, .. } = outcome;
    let mut lines = Vec::new();
    for item in protected {
        lines.push(match (&item.reason, item.entries) {
            (Some(reason), _) => format!("NOT protected: {}: {reason}", item.what),
            (None, 0) => format!("never filtered: {} (no rule would touch it)", item.what),
            (None, entries) => format!("never filtered: {}, {entries} entries", item.what),
        });
    }
    if !profile.is_empty() {
        lines.push(format!("profile of the switch, with {profile_sources}:"));
    }
    for fact in profile {
        let document = fact.document.as_deref().unwrap_or("UNKNOWN");
        lines.push(format!("  {}: {} ({document})", fact.name, fact.value));
    }
    lines
}
