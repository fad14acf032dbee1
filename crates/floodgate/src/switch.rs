//! `floodgate compile` for switches: settings from the configuration, known facts, and protected
//! packets.

use crate::command_line::SwitchArgs;
use crate::preview::Preview;
use anyhow::{Context, Result};
use config::{Config, Dataplane};
use daemon::interfaces;
use dataplane::Fact;
use engine::protection::Protection;
use serde::Serialize;
use std::collections::BTreeSet;

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

/// `[dataplane]` of the configuration file, if one is named, with the interfaces of the command
/// line; and what that configuration protects.
pub(super) fn configured(args: &SwitchArgs) -> Result<(Dataplane, Protection)> {
    let config = args.config.as_ref().map(|path| Config::load(path)).transpose()?;
    let protection = match &config {
        Some(config) => daemon::protection(config, &addresses(config)?),
        None => Protection::default(),
    };
    let mut dataplane = config.map(|config| config.dataplane).unwrap_or_default();
    if !args.interfaces.is_empty() {
        dataplane.interfaces.clone_from(&args.interfaces);
    }
    Ok((dataplane, protection))
}

/// Addresses of this machine, from the configuration or from its interfaces.
pub(super) fn addresses(config: &Config) -> Result<BTreeSet<std::net::IpAddr>> {
    match &config.protect.addresses {
        Some(addresses) => Ok(addresses.iter().copied().collect()),
        None => interfaces::addresses().context("cannot list the addresses of this machine"),
    }
}

/// Known facts and protected packets, for people.
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
