//! Filters in the data plane that the state file does not know: it was lost, is older, or could not be read. The first full load would take
//! them out before their peers have sent them again, so it waits; what was in force goes on filtering until then.

use super::Controller;
use bgp::AfiSafi;
use flowspec::RuleId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a rule that is not in force yet waits for peers that are in the middle of sending theirs.
const NEW_RULE_PATIENCE: Duration = Duration::from_secs(5);

/// What an earlier run left in force.
#[derive(Debug)]
pub(super) struct Leftovers {
    ids: BTreeSet<RuleId>,
    /// Of these, so many are not among what was remembered.
    unknown: usize,
    /// They stay until then at most.
    until: Instant,
    /// A rule waits that is not among them.
    waiting_since: Option<Instant>,
}

impl Leftovers {
    /// What is told of them.
    pub(super) fn warning(&self) -> String {
        let rest = self.until.saturating_duration_since(Instant::now()).as_secs();
        format!(
            "{} filters of an earlier run are in force that the state file does not know; they stay until all peers have sent their rules, \
             {rest} s at most, and changes wait",
            self.unknown
        )
    }
}

impl Controller {
    /// Compares what is in force with what is remembered.
    pub(super) fn find_leftovers(&mut self, ids: BTreeSet<RuleId>) {
        let known = self.engine.rules().filter(|rule| ids.contains(&rule.id())).count();
        if known >= ids.len() || self.pause.is_some() {
            return;
        }
        let until = Instant::now() + self.config.state.stale_time.0;
        let left = Leftovers { unknown: ids.len() - known, ids, until, waiting_since: None };
        tracing::warn!("{}", left.warning());
        self.leftovers = Some(left);
    }

    /// Whether the time of what an earlier run left is over: all peers have sent their rules, they had the time to, or a new rule is more
    /// important than old ones that perhaps nobody wants any longer.
    pub(super) fn look_at_leftovers(&mut self) {
        let Some(left) = &mut self.leftovers else { return };
        let now = Instant::now();
        let synchronized = |entry: &crate::peer_table::PeerEntry| {
            let families = entry.negotiated.as_ref().map(|negotiated| negotiated.families);
            families.is_some_and(|families| {
                let mut flow = families.iter().filter(|family| matches!(family, AfiSafi::Flow(_)));
                flow.all(|family| entry.synchronized.contains(family))
            })
        };
        let established = |entry: &&crate::peer_table::PeerEntry| entry.negotiated.is_some();
        let is_new = left.waiting_since.is_some() || self.engine.rules().any(|rule| !left.ids.contains(&rule.id()));
        let why = if self.pause.is_some() {
            "filtering is paused"
        } else if self.peers.iter().all(synchronized) {
            "all peers have sent their rules"
        } else if left.until <= now {
            "the peers did not send their rules in time"
        } else if is_new
            && (self.peers.iter().filter(established).all(synchronized)
                || *left.waiting_since.get_or_insert(now) + NEW_RULE_PATIENCE <= now)
        {
            "a new rule waits"
        } else {
            return;
        };
        tracing::info!("{why}: filters of an earlier run that nobody has asked for go");
        self.leftovers = None;
    }
}
