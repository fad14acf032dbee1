//! Another back end in the place of the configured one, where this machine does not have what that needs: only if the configuration names one,
//! and never silently.

use super::{Applying, Blueprint};
use crate::controller::{Controller, Surroundings};
use crate::events::{About, Kind};
use anyhow::Result;
use config::{Config, XdpFallback};
use dataplane::{Dataplane, DataplaneError};

/// A data plane that can be used, what it was built from, and why it is not the configured one.
pub(super) type Built = (Blueprint, Box<dyn Dataplane>, Option<String>);

/// Builds what is configured, or what takes its place when that cannot be.
pub(super) fn build(configured: &Blueprint, config: &Config, surroundings: &Surroundings) -> Result<Built> {
    let error = match configured.build() {
        Ok(dataplane) => return Ok((configured.clone(), dataplane, None)),
        Err(error) => error,
    };
    let Some(DataplaneError::Unavailable(why)) = error.downcast_ref() else { return Err(error) };
    let Some(instead) = instead_of(configured, config, surroundings) else { return Err(error) };
    let dataplane = instead.build()?;
    announce(configured, &instead, why);
    Ok((instead, dataplane, Some(why.clone())))
}

/// What the configuration wants in the place of this.
fn instead_of(configured: &Blueprint, config: &Config, surroundings: &Surroundings) -> Option<Blueprint> {
    match (configured, config.dataplane.xdp.fallback?) {
        (Blueprint::Xdp(_), XdpFallback::Nftables) => Some(Blueprint::nftables(config, surroundings)),
        (Blueprint::None | Blueprint::Nftables(_) | Blueprint::Cumulus(_), _) => None,
    }
}

fn announce(configured: &Blueprint, instead: &Blueprint, why: &str) {
    let (configured, used) = (configured.name(), instead.name());
    tracing::warn!(configured, used, why, "the configured back end cannot be used: its fallback filters instead");
}

impl Applying {
    /// That something else than what is configured filters, in words.
    pub(in crate::controller) fn fallback_warning(&self) -> Option<String> {
        let why = self.fallback.as_ref()?;
        Some(format!("{} filters, and not {} as configured: {why}", self.blueprint.name(), self.configured.name()))
    }

    /// What is to be used under this configuration: what takes the place of the configured back end goes on doing so until the settings of
    /// that back end change.
    pub(super) fn in_use(&self, configured: &Blueprint, config: &Config, surroundings: &Surroundings) -> Blueprint {
        let instead = || instead_of(configured, config, surroundings);
        let stays = self.fallback.is_some() && *configured == self.configured;
        stays.then(instead).flatten().unwrap_or_else(|| configured.clone())
    }
}

impl Controller {
    /// When the back end found out, with the first rules, that it cannot be used here: takes what the configuration names in its place.
    /// False if it names none, or that cannot be used either.
    pub(super) fn fall_back(&mut self, error: &DataplaneError) -> bool {
        let DataplaneError::Unavailable(why) = error else { return false };
        let applying = &mut self.applying;
        if applying.blueprint != applying.configured {
            return false;
        }
        let Some(instead) = instead_of(&applying.configured, &self.config, &self.surroundings) else { return false };
        let dataplane = match instead.build() {
            Ok(dataplane) => dataplane,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the fallback cannot be used either");
                return false;
            }
        };
        announce(&applying.configured, &instead, why);
        self.history.record(Kind::ApplyFailed, About::words(format!("{} filters instead: {why}", instead.name())));
        applying.failures += 1;
        applying.fallback = Some(why.clone());
        applying.idle();
        applying.switch_to(instead, dataplane);
        self.engine.apply_failed(why);
        self.engine.reload();
        self.engine.reconfigure(self.engine_config());
        true
    }
}
