//! `floodgate compile --target sonic`: which switch, what is known of it, what is protected on it.

use crate::command_line::SwitchArgs;
use crate::preview::{Preview, Protected, TcamShare, TcamUsage};
use crate::switch::addresses;
use anyhow::{Context, Result, ensure};
use config::Config;
use dataplane::{RuleFailure, sonic};
use engine::compile::{Refusal, split_into_entries};
use engine::plan::Ruleset;
use engine::protection::Protection;
use flowspec::Space;
use std::sync::Arc;

/// A switch that rules are compiled for.
pub(super) struct Sonic {
    pub(super) settings: sonic::Settings,
    protection: Protection,
}

impl Sonic {
    /// The switch of the configuration file, changed by the other arguments.
    pub(super) fn new(args: &SwitchArgs) -> Result<Self> {
        let SwitchArgs { config, release, asic, interfaces, non_atomic } = args;
        ensure!(asic.is_none() && !non_atomic, "--asic and --non-atomic are for --target cumulus");
        let config = config.as_ref().map(|path| Config::load(path)).transpose()?;
        let protection = match &config {
            Some(config) => daemon::protection(config, &addresses(config)?),
            None => Protection::default(),
        };
        let mut dataplane = config.map(|config| config.dataplane).unwrap_or_default();
        if !interfaces.is_empty() {
            dataplane.interfaces.clone_from(interfaces);
        }
        if let Some(release) = release {
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
            // No IPv6 rule will be there from which it would need protection.
            reason: match split_into_entries(item.space.clone(), &capabilities) {
                Err(kind) if capabilities.ipv6 || item.space.version() == flowspec::IpVersion::V4 => {
                    Some(Refusal::new(kind, &capabilities).to_string())
                }
                Ok(_) | Err(_) => None,
            },
        });
        let discovery = Protected {
            what: "IPv6 neighbour discovery, whatever its hop limit".to_owned(),
            entries: preview.neighbor_discovery,
            reason: None,
        };
        let discovery = (preview.neighbor_discovery > 0).then_some(discovery);
        let protected = protected.chain(discovery).collect();
        let budget = settings.budget();
        let room = TcamUsage {
            asic: "sonic",
            ipv4: TcamShare { entries: preview.entries.0, budget },
            ipv6: TcamShare { entries: preview.entries.1, budget: if capabilities.ipv6 { budget } else { 0 } },
            shared: false,
        };
        let words = |failure| match failure {
            RuleFailure::OverCapacity(words) | RuleFailure::Failed(words) => words,
        };
        let failures = preview.failures.into_iter().map(|(nlri, failure)| (nlri, words(failure))).collect();
        Preview {
            program: preview.text,
            room: Some(room),
            failures,
            profile: sonic::facts(settings),
            profile_sources: "the change of SONiC and the day from which on it is there",
            protected,
        }
    }
}
