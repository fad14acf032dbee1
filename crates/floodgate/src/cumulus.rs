//! `floodgate compile --target cumulus`: which switch, and what would be installed on it.

use crate::command_line::SwitchArgs;
use crate::preview::{Preview, Protected, TcamShare, TcamUsage};
use crate::switch;
use anyhow::{Context, Result};
use dataplane::cumulus;
use engine::compile::{Refusal, split_into_entries};
use engine::plan::Ruleset;
use engine::protection::Protection;
use flowspec::{IpVersion, Space};
use std::sync::Arc;

/// The switch that rules are compiled for.
pub(super) struct Cumulus {
    pub(super) settings: cumulus::Settings,
    protection: Protection,
}

impl Cumulus {
    /// The switch of the configuration file, modified by the other arguments.
    pub(super) fn new(args: &SwitchArgs) -> Result<Self> {
        let (mut dataplane, protection) = switch::configured(args)?;
        for pattern in &dataplane.interfaces {
            if let Some(message) = config::unfit_interface(pattern) {
                anyhow::bail!(message);
            }
        }
        let switch = &mut dataplane.cumulus;
        if let Some(release) = &args.release {
            switch.release = Some(release.parse().context("--release")?);
        }
        switch.asic = args.asic.or(switch.asic);
        switch.non_atomic |= args.non_atomic;
        let settings = switch.settings(&dataplane.interfaces, config::release_of_this_machine());
        Ok(Cumulus { settings, protection })
    }

    /// What the daemon would install.
    pub(super) fn outcome(&self, mut rules: Ruleset) -> Preview {
        let settings = &self.settings;
        let capabilities = cumulus::capabilities(settings);
        let mut parts: Vec<Result<Vec<Space>, Refusal>> = Vec::new();
        for item in self.protection.items() {
            // There will be no IPv6 rule that it would need protection from.
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
        let protected = protected.collect();
        let budget = settings.budget();
        let room = TcamUsage {
            asic: settings.asic.name(),
            ipv4: TcamShare { entries: preview.entries.0, budget: budget.0 },
            ipv6: TcamShare { entries: preview.entries.1, budget: budget.1 },
            shared: settings.shares_table(),
        };
        Preview {
            profile: cumulus::facts(settings),
            profile_sources: "the release of Cumulus Linux whose document says so",
            ..Preview::of_switch(preview, room, protected, "IPv6 neighbour discovery")
        }
    }
}
