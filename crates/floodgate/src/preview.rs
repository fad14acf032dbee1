//! What a data plane would be given, and what has room in it.

use dataplane::{Fact, RuleFailure};
use flowspec::Nlri;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// What a data plane would make of the rules that it can enforce.
#[derive(Default)]
pub(crate) struct Preview {
    /// In the data plane's own language.
    pub(crate) program: String,
    /// How full its table is, where it has one.
    pub(crate) room: Option<TcamUsage>,
    /// Rules without a place in it, and why.
    pub(crate) failures: HashMap<Arc<Nlri>, String>,
    /// What is known of the switch.
    pub(crate) profile: Vec<Fact>,
    /// What the sources of that are.
    pub(crate) profile_sources: &'static str,
    /// What is never filtered, as the daemon would have it.
    pub(crate) protected: Vec<Protected>,
}

impl Preview {
    /// What a switch would be given. `discovery`: what its entries for neighbour discovery let through.
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

/// Entries of a switch's TCAM that the rules take.
#[derive(Serialize)]
pub(crate) struct TcamUsage {
    pub(crate) asic: &'static str,
    pub(crate) ipv4: TcamShare,
    pub(crate) ipv6: TcamShare,
    /// Both are one budget: what one takes of its part, the other one lacks of its own.
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

/// Something that is never filtered.
#[derive(Serialize)]
pub(crate) struct Protected {
    /// What it is.
    pub(crate) what: String,
    /// Entries of the table that it takes: none where no rule would touch it.
    pub(crate) entries: u64,
    /// Why it cannot be protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}
