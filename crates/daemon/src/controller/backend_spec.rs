//! What the data plane is built from, and what takes its place where this machine does not have what that needs: only if the configuration
//! names something, and never silently.

use crate::host_environment::HostEnvironment;
use anyhow::{Context, Result};
use config::{Backend, Config, XdpFallback, release_of_this_machine};
use dataplane::cumulus::{self, Cumulus};
use dataplane::{Dataplane, DataplaneError, NoDataplane, nftables, xdp};

/// What the data plane is built from: two that are equal make the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BackendSpec {
    None,
    Nftables(nftables::Options),
    Cumulus(Box<cumulus::Settings>),
    Xdp(xdp::Options),
}

impl BackendSpec {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// The switch's release is not known.
    pub(super) fn new(config: &Config, environment: &HostEnvironment) -> Result<Self> {
        match config.dataplane.backend {
            Backend::None => Ok(BackendSpec::None),
            Backend::Nftables => Ok(BackendSpec::nftables(config, environment)),
            Backend::Cumulus => {
                let settings = &config.dataplane.cumulus;
                let release = release_of_this_machine();
                // Rules in a chain that the switch's release does not look at would filter nothing.
                anyhow::ensure!(
                    settings.release.or(release).is_some(),
                    "/etc/os-release names no release of Cumulus Linux; say which it is with release in [dataplane.cumulus]"
                );
                Ok(BackendSpec::Cumulus(Box::new(settings.settings(&config.dataplane.interfaces, release))))
            }
            // It follows interfaces that come and go by itself.
            Backend::Xdp => Ok(BackendSpec::Xdp(config.dataplane.xdp.options(&config.dataplane.interfaces))),
        }
    }

    pub(super) fn nftables(config: &Config, environment: &HostEnvironment) -> Self {
        let interfaces = match &environment.interfaces {
            None => Vec::new(),
            // None of the patterns means anything yet: filtering everywhere instead would be the opposite of what was asked.
            Some(names) if names.is_empty() => vec![nftables::NO_INTERFACE.to_owned()],
            Some(names) => names.clone(),
        };
        let settings = &config.dataplane.nftables;
        BackendSpec::Nftables(nftables::Options {
            interfaces,
            unmatched: environment.unmatched.clone(),
            sample_group: settings.sample_group,
            sample_octets: settings.sample_octets,
            max_chain_rules: settings.max_chain_rules as usize,
        })
    }

    /// The name of the back end.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            BackendSpec::None => Backend::None.name(),
            BackendSpec::Nftables(_) => Backend::Nftables.name(),
            BackendSpec::Cumulus(_) => Backend::Cumulus.name(),
            BackendSpec::Xdp(_) => Backend::Xdp.name(),
        }
    }

    /// Opens the back end.
    pub(super) fn build(&self) -> Result<Box<dyn Dataplane>> {
        match self {
            BackendSpec::None => Ok(Box::new(NoDataplane::new())),
            BackendSpec::Nftables(options) => {
                Ok(Box::new(nftables::Nftables::open(options.clone()).context("nftables")?))
            }
            BackendSpec::Cumulus(settings) => {
                let (v4, v6) = settings.budget();
                let (release, asic) = (settings.release, settings.asic.name());
                tracing::info!(%release, asic, v4, v6, directory = %settings.policy_directory.display(), "hardware ACLs");
                Ok(Box::new(Cumulus::new(settings.as_ref().clone())))
            }
            BackendSpec::Xdp(options) => Ok(Box::new(xdp::Xdp::open(options.clone()).context("xdp")?)),
        }
    }

    /// Whether what is built finds and replaces what `old` has in force; what another has is to be taken out.
    pub(super) fn takes_over(&self, old: &BackendSpec) -> bool {
        match (self, old) {
            (BackendSpec::None, BackendSpec::None) | (BackendSpec::Nftables(_), BackendSpec::Nftables(_)) => true,
            (BackendSpec::Cumulus(new), BackendSpec::Cumulus(old)) => new.policy_directory == old.policy_directory,
            (BackendSpec::Xdp(new), BackendSpec::Xdp(old)) => new.directory == old.directory,
            (BackendSpec::None | BackendSpec::Nftables(_) | BackendSpec::Cumulus(_) | BackendSpec::Xdp(_), _) => false,
        }
    }
}

/// A data plane that can be used, what it was built from, and why it is not the configured one.
pub(super) type Built = (BackendSpec, Box<dyn Dataplane>, Option<String>);

/// Builds what is configured, or what takes its place when that cannot be.
pub(super) fn build_or_fallback(configured: &BackendSpec, substitute: Option<&BackendSpec>) -> Result<Built> {
    let error = match configured.build() {
        Ok(dataplane) => return Ok((configured.clone(), dataplane, None)),
        Err(error) => error,
    };
    let Some(DataplaneError::Unavailable(why)) = error.downcast_ref() else { return Err(error) };
    let Some(instead) = substitute else { return Err(error) };
    let dataplane = instead.build()?;
    announce_fallback(configured, instead, why);
    Ok((instead.clone(), dataplane, Some(why.clone())))
}

/// What the configuration wants in the place of this.
pub(super) fn fallback_of(
    configured: &BackendSpec,
    config: &Config,
    environment: &HostEnvironment,
) -> Option<BackendSpec> {
    match (configured, config.dataplane.xdp.fallback?) {
        (BackendSpec::Xdp(_), XdpFallback::Nftables) => Some(BackendSpec::nftables(config, environment)),
        (BackendSpec::None | BackendSpec::Nftables(_) | BackendSpec::Cumulus(_), _) => None,
    }
}

pub(super) fn announce_fallback(configured: &BackendSpec, instead: &BackendSpec, why: &str) {
    let (configured, used) = (configured.name(), instead.name());
    tracing::warn!(configured, used, why, "the configured back end cannot be used: its fallback filters instead");
}
