//! What this machine has: interfaces and addresses, which change without being asked.

use crate::interfaces;
use anyhow::{Context, Result};
use config::Config;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What this machine has: it changes without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostEnvironment {
    /// Interfaces that are filtered, by name; `None` means all.
    pub(crate) interfaces: Option<Vec<String>>,
    /// Patterns that mean no interface now.
    pub(crate) unmatched: Vec<String>,
    /// Addresses of this machine.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl HostEnvironment {
    /// As they are now.
    ///
    /// # Errors
    /// The kernel did not tell. To take that for "nothing" would be to protect nothing, or to filter nowhere.
    pub(crate) fn probe(config: &Config) -> Result<Self> {
        let patterns = &config.dataplane.interfaces;
        let meant = match patterns.as_slice() {
            [] => None,
            patterns => Some(interfaces::resolve(patterns, &interfaces::links().context("cannot list interfaces")?)),
        };
        // Plain names are among the names, too, and are looked for by the back end.
        let unmatched = |meant: &interfaces::Meant| {
            meant.absent.iter().filter(|absent| !meant.names.contains(absent)).cloned().collect()
        };
        let unmatched = meant.as_ref().map(unmatched).unwrap_or_default();
        let interfaces = meant.map(|meant| meant.names);
        let addresses = match &config.protect.addresses {
            Some(addresses) => addresses.iter().copied().collect(),
            None => interfaces::addresses().context("cannot list the addresses of this machine")?,
        };
        Ok(HostEnvironment { interfaces, unmatched, addresses })
    }
}
