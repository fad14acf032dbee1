//! What the data plane is built from, and the fallback that is used if this machine lacks what it
//! needs: only if the configuration names one, and with a warning.

use crate::host_environment::HostEnvironment;
use anyhow::{Context, Result};
use config::{Backend, Config, XdpFallback, release_of_this_machine};
use dataplane::{
    BackendSettings, Dataplane, DataplaneError, EnforcementPoint, NoSettings, cumulus, flower, nftables, sonic, xdp,
};
use std::time::Duration;

/// Makes [`BackendSpec`] from a list: the name of a back end in [`Backend`] and [`api::Backend`],
/// and its settings.
macro_rules! backends {
    ($($backend:ident($settings:ty),)*) => {
        /// What the data plane is built from. Equal values build equal data planes.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum BackendSpec {
            $($backend($settings),)*
        }

        /// All back ends.
        #[cfg(test)]
        pub(crate) const BACKENDS: &[Backend] = &[$(Backend::$backend,)*];

        /// A back end, as its API name.
        pub(crate) const fn backend_view(backend: Backend) -> api::Backend {
            match backend {
                $(Backend::$backend => api::Backend::$backend,)*
            }
        }

        impl BackendSpec {
            /// The back end.
            pub(crate) const fn backend(&self) -> Backend {
                match self {
                    $(BackendSpec::$backend(_) => Backend::$backend,)*
                }
            }

            /// The name of the back end.
            pub(crate) const fn name(&self) -> &'static str {
                self.backend().name()
            }

            /// Opens the back end.
            pub(crate) fn build(&self) -> Result<Box<dyn Dataplane>> {
                let opened = match self {
                    $(BackendSpec::$backend(settings) => settings.open(),)*
                };
                opened.context(self.name())
            }

            /// The place where it enforces rules, which only one daemon may use.
            pub(crate) fn enforcement_point(&self) -> EnforcementPoint {
                match self {
                    $(BackendSpec::$backend(settings) => settings.enforcement_point(),)*
                }
            }

            /// Whether the data plane built from this takes over what `old` has in force; otherwise
            /// that has to be removed.
            pub(crate) fn takes_over(&self, old: &BackendSpec) -> bool {
                match (self, old) {
                    $((BackendSpec::$backend(new), BackendSpec::$backend(old)) => new.takes_over(old),)*
                    _ => false,
                }
            }

            /// Whether a running daemon can go over from `old` to this.
            ///
            /// # Errors
            /// Why it has to be started anew for that.
            pub(crate) fn can_follow(&self, old: &BackendSpec) -> Result<()> {
                match (self, old) {
                    $((BackendSpec::$backend(new), BackendSpec::$backend(old)) => Ok(new.can_follow(old)?),)*
                    _ => Ok(()),
                }
            }

            /// How long changes are gathered, unless the configuration says otherwise.
            pub(crate) fn usual_debounce(&self) -> Duration {
                match self {
                    $(BackendSpec::$backend(settings) => settings.usual_debounce(),)*
                }
            }
        }
    };
}

// The list of back ends.
backends! {
    None(NoSettings),
    Nftables(nftables::Options),
    Cumulus(Box<cumulus::Settings>),
    Sonic(Box<sonic::Settings>),
    Xdp(xdp::Options),
    Flower(Box<flower::Settings>),
}

impl BackendSpec {
    /// The back end of the configuration.
    ///
    /// # Errors
    /// The switch's release is not known.
    pub(crate) fn new(config: &Config, environment: &HostEnvironment) -> Result<Self> {
        match config.dataplane.backend {
            Backend::None => Ok(BackendSpec::None(NoSettings)),
            Backend::Nftables => Ok(BackendSpec::nftables(config, environment)),
            Backend::Cumulus => {
                let settings = &config.dataplane.cumulus;
                let release = release_of_this_machine();
                // Rules in a chain that the switch's release ignores would filter nothing.
                anyhow::ensure!(
                    settings.release.or(release).is_some(),
                    "/etc/os-release names no release of Cumulus Linux; say which it is with release in [dataplane.cumulus]"
                );
                Ok(BackendSpec::Cumulus(Box::new(settings.settings(&config.dataplane.interfaces, release))))
            }
            Backend::Sonic => {
                Ok(BackendSpec::Sonic(Box::new(config.dataplane.sonic.settings(&config.dataplane.interfaces))))
            }
            // The back end follows interfaces that come and go by itself.
            Backend::Xdp => Ok(BackendSpec::Xdp(config.dataplane.xdp.options(&config.dataplane.interfaces))),
            Backend::Flower => {
                let settings = config.dataplane.flower.settings(&config.dataplane.interfaces);
                Ok(BackendSpec::Flower(Box::new(settings)))
            }
        }
    }

    pub(crate) fn nftables(config: &Config, environment: &HostEnvironment) -> Self {
        let interfaces = match &environment.interfaces {
            None => Vec::new(),
            // No pattern matches an interface yet. Filtering on all interfaces would be the
            // opposite of the configuration.
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
}

/// A data plane that can be used, what it was built from, and why it is not the configured one.
pub(crate) type Built = (BackendSpec, Box<dyn Dataplane>, Option<String>);

/// Builds the configured data plane, or its fallback if that fails.
pub(crate) fn build_or_fallback(configured: &BackendSpec, substitute: Option<&BackendSpec>) -> Result<Built> {
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

/// The fallback that the configuration names for this.
pub(crate) fn fallback_of(
    configured: &BackendSpec,
    config: &Config,
    environment: &HostEnvironment,
) -> Option<BackendSpec> {
    match (configured, config.dataplane.xdp.fallback?) {
        (BackendSpec::Xdp(_), XdpFallback::Nftables) => Some(BackendSpec::nftables(config, environment)),
        (_, XdpFallback::Nftables) => None,
    }
}

pub(crate) fn announce_fallback(configured: &BackendSpec, instead: &BackendSpec, why: &str) {
    let (configured, used) = (configured.name(), instead.name());
    tracing::warn!(configured, used, why, "the configured back end cannot be used: its fallback filters instead");
}
