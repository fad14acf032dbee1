//! What an earlier run left: rules that the state file has, filters that it does not know, and rules that were feasible by unicast routes,
//! which are not kept and have to come again.

use super::leftovers::Leftovers;
use super::local_rules::LocalRules;
use super::peer_sessions::PeerSessions;
use crate::clock;
use crate::convert::LOCAL;
use crate::peer_table::PeerTable;
use crate::state_file::{Loaded, Origin, Pause, Remembered};
use bgp::AfiSafi;
use config::FamilyName;
use engine::{Engine, Retention, RouteFamily};
use flowspec::{Family, IpVersion, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is in force since an earlier run. While there are leftovers, no change goes to the data plane; rules that were in force then count as
/// feasible until the unicast routes that decide have come. Both end when the peers have sent what they have, or by the time that was set at
/// the start.
#[derive(Debug)]
pub(super) struct EarlierRun {
    leftovers: Option<Leftovers>,
    /// Rules count as feasible until then at most.
    presumed_until: Option<Instant>,
}

impl EarlierRun {
    /// Compares what is in force with the rules that are remembered. `until`: when the peers have had time to send theirs.
    pub(super) fn new(in_force: BTreeSet<RuleId>, paused: bool, until: Instant, engine: &mut Engine) -> Self {
        engine.presume_feasible(&in_force);
        let known = engine.rules().filter(|rule| in_force.contains(&rule.id())).count();
        let leftovers = if paused { None } else { Leftovers::new(in_force, known, until) };
        if let Some(left) = &leftovers {
            tracing::warn!("{}", left.warning());
        }
        EarlierRun { leftovers, presumed_until: Some(until) }
    }

    /// Whether changes wait: there are filters that the state file does not know.
    pub(super) const fn holds_changes_back(&self) -> bool {
        self.leftovers.is_some()
    }

    /// That changes wait, and why.
    pub(super) fn warning(&self) -> Option<String> {
        self.leftovers.as_ref().map(Leftovers::warning)
    }

    /// Whether the time of what an earlier run left is over.
    pub(super) fn end_leftovers_if_due(&mut self, now: Instant, paused: bool, peers: &PeerTable, engine: &Engine) {
        let Some(left) = &mut self.leftovers else { return };
        let Some(why) = left.end(now, paused, peers, engine) else { return };
        tracing::info!("{why}: filters of an earlier run that nobody has asked for go");
        self.leftovers = None;
    }

    /// Once every peer that sends unicast routes has sent them all, or the time is over, they decide.
    pub(super) fn validate_if_due(&mut self, now: Instant, peers: &PeerTable, engine: &mut Engine) {
        let Some(until) = self.presumed_until else { return };
        let unicast = |family: &FamilyName| matches!(family, FamilyName::Ipv4Unicast | FamilyName::Ipv6Unicast);
        let mut sources = peers.iter().filter(|entry| entry.config().families.iter().any(unicast));
        let synchronized = sources.all(|entry| {
            entry.negotiated().is_some_and(|negotiated| {
                let mut families = negotiated.families.iter().filter(|family| !matches!(family, AfiSafi::Flow(_)));
                families.all(|family| entry.is_synchronized(family))
            })
        });
        if synchronized || until <= now {
            self.presumed_until = None;
            engine.validate_presumed();
        }
    }
}

/// What the state file had beside the rules.
pub(super) struct Restored {
    /// A pause that goes on.
    pub(super) pause: Option<Pause>,
    /// Rules of peers that are configured no more: the file is to be written anew without them.
    pub(super) dropped: bool,
}

/// Rules of an earlier run come back as stale, until their peers confirm them or `stale_time` is over.
pub(super) fn restore_rules(
    loaded: Loaded,
    stale_time: Duration,
    engine: &mut Engine,
    sessions: &mut PeerSessions,
    local: &mut LocalRules,
) -> Restored {
    let Loaded { restored, append_at, .. } = loaded;
    let now = clock::now();
    let until = Some(now.plus(stale_time.as_secs()));
    let unicast = [IpVersion::V4, IpVersion::V6].map(RouteFamily::Unicast);
    let families = Family::ALL.map(RouteFamily::Flow).into_iter().chain(unicast);
    let retain: Vec<_> =
        families.map(|family| Retention { family, until, long_lived_until: None, renews: true }).collect();
    let (mut taken, mut left) = (0, 0);
    for Remembered { origin, mut paths } in restored.remembered {
        let source = match origin {
            Origin::Local => Some(LOCAL),
            Origin::Peer(address) => sessions.restore(address).map(|peer| engine::PeerId(peer.0)),
        };
        if append_at.is_none() {
            // Of a file without a clock: no life is longer than it was to be, whatever the clock says.
            for path in &mut paths {
                let whole = |end: engine::Timestamp| end.0.saturating_sub(path.received.0);
                path.deadline = path.deadline.map(|end| end.min(now.plus(whole(end))));
            }
        }
        // Without a source its peer is configured no more: so they are withdrawn.
        match source {
            Some(source) => {
                taken += paths.len();
                if source == LOCAL {
                    local.restore(paths.iter().map(|path| Arc::clone(&path.nlri)));
                }
                engine.restore(source, paths, &retain);
            }
            None => left += paths.len(),
        }
    }
    if append_at.is_some() {
        engine.mark_all_saved();
    }
    engine.expire(clock::passed());
    if taken + left > 0 {
        tracing::info!(taken, left, "rules of the last run");
    }
    Restored { pause: restored.pause, dropped: left > 0 }
}
