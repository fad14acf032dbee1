//! The host environment: interfaces and addresses of this machine, which change at any time.

use crate::interfaces;
use anyhow::{Context, Result};
use config::Config;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Interfaces and addresses of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostEnvironment {
    /// Names of the interfaces that are filtered; `None` means all.
    pub(crate) interfaces: Option<Vec<String>>,
    /// Patterns that match no interface now.
    pub(crate) unmatched: Vec<String>,
    /// Addresses of this machine.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl HostEnvironment {
    /// Reads the current state.
    ///
    /// # Errors
    /// The kernel did not answer. To treat that as "none" would mean to protect nothing, or to
    /// filter nowhere.
    pub(crate) fn probe(config: &Config) -> Result<Self> {
        let patterns = &config.dataplane.interfaces;
        let matched = match patterns.as_slice() {
            [] => None,
            patterns => Some(interfaces::resolve(patterns, &interfaces::links().context("cannot list interfaces")?)),
        };
        // Plain names are among the names, too; the back end looks for them.
        let unmatched = |matched: &interfaces::MatchedInterfaces| {
            matched.absent.iter().filter(|absent| !matched.names.contains(absent)).cloned().collect()
        };
        let unmatched = matched.as_ref().map(unmatched).unwrap_or_default();
        let interfaces = matched.map(|matched| matched.names);
        let addresses = match &config.protect.addresses {
            Some(addresses) => addresses.iter().copied().collect(),
            None => interfaces::addresses().context("cannot list the addresses of this machine")?,
        };
        Ok(HostEnvironment { interfaces, unmatched, addresses })
    }
}
