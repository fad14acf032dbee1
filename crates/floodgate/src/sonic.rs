//! `floodgate compile --target sonic`: which switch, and what would be installed on it.

use crate::command_line::SwitchArgs;
use crate::preview::{Preview, Protected, TcamShare, TcamUsage};
use crate::switch;
use anyhow::{Context, Result, ensure};
use dataplane::sonic;
use engine::compile::{Refusal, split_into_entries};
use engine::plan::Ruleset;
use engine::protection::Protection;
use flowspec::Space;
use std::sync::Arc;

/// The switch that rules are compiled for.
pub(super) struct Sonic {
    pub(super) settings: sonic::Settings,
    protection: Protection,
}

impl Sonic {
    /// The switch of the configuration file, modified by the other arguments.
    pub(super) fn new(args: &SwitchArgs) -> Result<Self> {
        ensure!(args.asic.is_none() && !args.non_atomic, "--asic and --non-atomic are for --target cumulus");
        let (mut dataplane, protection) = switch::configured(args)?;
        if let Some(release) = &args.release {
            dataplane.sonic.release = release.parse().context("--release")?;
        }
        let settings = dataplane.sonic.settings(&dataplane.interfaces);
        if let Some(why) = sonic::unfit(&settings) {
            anyhow::bail!(why);
        }
        Ok(Sonic { settings, protection })
    }

    /// What the daemon would install.
    pub(super) fn outcome(&self, mut rules: Ruleset) -> Preview {
        let settings = &self.settings;
        let capabilities = sonic::capabilities(settings);
        rules.protected = Arc::new(self.protection.items().iter().map(|item| item.space.clone()).collect());
        let preview = sonic::preview(&rules, settings);
        let entries = |space: &Space| preview.protected.iter().find(|(other, _)| other == space).map_or(0, |(_, n)| *n);
        let protected = self.protection.items().iter().map(|item| Protected {
            what: item.what.clone(),
            entries: entries(&item.space),
            // There will be no IPv6 rule that it would need protection from.
            reason: match split_into_entries(item.space.clone(), &capabilities) {
                Err(kind) if capabilities.ipv6 || item.space.version() == flowspec::IpVersion::V4 => {
                    Some(Refusal::new(kind, &capabilities).to_string())
                }
                Ok(_) | Err(_) => None,
            },
        });
        let protected = protected.collect();
        let budget = settings.budget();
        let room = TcamUsage {
            asic: "sonic",
            ipv4: TcamShare { entries: preview.entries.0, budget },
            ipv6: TcamShare { entries: preview.entries.1, budget: if capabilities.ipv6 { budget } else { 0 } },
            shared: false,
        };
        Preview {
            profile: sonic::facts(settings),
            profile_sources: "the change of SONiC and the day from which on it is there",
            ..Preview::of_switch(preview, room, protected, "IPv6 neighbour discovery, whatever its hop limit")
        }
    }
}
