//! Filters in the data plane that the state file does not know: it was lost, is older, or could not
//! be read. The first full load would remove them before their peers have announced them again, so
//! it waits; what was in force stays in force until then.

use crate::peer_table::{PeerEntry, PeerTable};
use bgp::AfiSafi;
use engine::Engine;
use flowspec::RuleId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a rule that is not in force yet waits for peers that have not sent everything.
const NEW_RULE_TIMEOUT: Duration = Duration::from_secs(5);

/// Rules that an earlier run left in force.
#[derive(Debug)]
pub(super) struct Leftovers {
    ids: BTreeSet<RuleId>,
    /// Number of these that are not in the state file.
    unknown: usize,
    /// They stay until then at most.
    until: Instant,
    /// Since when a rule that is not among them waits.
    waiting_since: Option<Instant>,
}

impl Leftovers {
    /// What is logged of them.
    pub(super) fn warning(&self) -> String {
        let rest = self.until.saturating_duration_since(Instant::now()).as_secs();
        format!(
            "{} filters of an earlier run are in force that the state file does not know; they stay until all peers have sent their rules, \
             {rest} s at most, and changes wait",
            self.unknown
        )
    }

    /// The rules in force, `known` of which are in the state file. `None` if the state file has
    /// all.
    pub(super) fn new(ids: BTreeSet<RuleId>, known: usize, until: Instant) -> Option<Self> {
        (known < ids.len()).then(|| Leftovers { unknown: ids.len() - known, ids, until, waiting_since: None })
    }

    /// Why they are no longer kept, if so: all peers have sent their rules, or had the time to, or
    /// a new rule is more important than old ones that may be obsolete.
    pub(super) fn end(
        &mut self,
        now: Instant,
        paused: bool,
        peers: &PeerTable,
        engine: &Engine,
    ) -> Option<&'static str> {
        let synchronized = |entry: &PeerEntry| {
            let families = entry.negotiated().map(|negotiated| negotiated.families);
            families.is_some_and(|families| {
                let mut flow = families.iter().filter(|family| matches!(family, AfiSafi::Flow(_)));
                flow.all(|family| entry.is_synchronized(family))
            })
        };
        let established = |entry: &&PeerEntry| entry.negotiated().is_some();
        let is_new = self.waiting_since.is_some() || engine.rules().any(|rule| !self.ids.contains(&rule.id()));
        if paused {
            Some("filtering is paused")
        } else if peers.iter().all(synchronized) {
            Some("all peers have sent their rules")
        } else if self.until <= now {
            Some("the peers did not send their rules in time")
        } else if is_new
            && (peers.iter().filter(established).all(synchronized)
                || *self.waiting_since.get_or_insert(now) + NEW_RULE_TIMEOUT <= now)
        {
            Some("a new rule waits")
        } else {
            None
        }
    }
}
