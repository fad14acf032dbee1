//! What a data plane would install, and what there is room for.

use dataplane::{Fact, RuleFailure};
use flowspec::Nlri;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// What a data plane would install for the rules that it can enforce.
#[derive(Default)]
pub(crate) struct Preview {
    /// In the data plane's own language.
    pub(crate) program: String,
    /// Usage of its table, if it has one.
    pub(crate) room: Option<TcamUsage>,
    /// Rules without room, and why.
    pub(crate) failures: HashMap<Arc<Nlri>, String>,
    /// What is known of the switch.
    pub(crate) profile: Vec<Fact>,
    /// What the sources of that are.
    pub(crate) profile_sources: &'static str,
    /// Protected packets, as the daemon would accept them.
    pub(crate) protected: Vec<Protected>,
    /// What nobody knows of the hardware.
    pub(crate) unknown: Vec<&'static str>,
}

impl Preview {
    /// What a switch would install. `discovery`: what its entries for neighbour discovery accept.
    pub(crate) fn of_switch(
        made: dataplane::Preview,
        room: TcamUsage,
        mut protected: Vec<Protected>,
        discovery: &str,
    ) -> Self {
        if made.neighbor_discovery > 0 {
            let (what, entries) = (discovery.to_owned(), made.neighbor_discovery);
            protected.push(Protected { what, entries, reason: None });
        }
        let words = |failure| match failure {
            RuleFailure::OverCapacity(words) | RuleFailure::Failed(words) => words,
        };
        let failures = made.failures.into_iter().map(|(nlri, failure)| (nlri, words(failure))).collect();
        Preview { program: made.text, room: Some(room), failures, protected, ..Preview::default() }
    }
}

/// TCAM entries that the rules take.
#[derive(Serialize)]
pub(crate) struct TcamUsage {
    pub(crate) asic: &'static str,
    pub(crate) ipv4: TcamShare,
    pub(crate) ipv6: TcamShare,
    /// Both share one budget: entries of one reduce those of the other.
    pub(crate) shared: bool,
}

#[derive(Serialize)]
pub(crate) struct TcamShare {
    pub(crate) entries: u64,
    pub(crate) budget: u64,
}

impl std::fmt::Display for TcamUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TcamUsage { asic, ipv4, ipv6, shared } = self;
        let (v4, v6) = (ipv4.budget, ipv6.budget);
        write!(f, "{asic}: {} of {v4} IPv4 entries, {} of {v6} IPv6 entries", ipv4.entries, ipv6.entries)?;
        if !shared {
            return Ok(());
        }
        let part = |share: &TcamShare| share.entries as f64 / share.budget.max(1) as f64;
        write!(f, "; one budget for both, {:.0} % of it taken", 100.0 * (part(ipv4) + part(ipv6)))
    }
}

/// A protected space.
#[derive(Serialize)]
pub(crate) struct Protected {
    /// What it is.
    pub(crate) what: String,
    /// Entries of the table that it takes: none if no rule would act on it.
    pub(crate) entries: u64,
    /// Why it cannot be protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}
