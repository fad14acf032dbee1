//! What an earlier run left: rules in the state file, filters that the state file does not know,
//! and rules that were feasible by unicast routes, which are not saved and have to be received
//! again.

use super::leftovers::Leftovers;
use super::local_rules::LocalRules;
use super::peer_sessions::PeerSessions;
use crate::clock;
use crate::convert::LOCAL;
use crate::peer_table::PeerTable;
use crate::state_file::{Loaded, Origin, Pause, RetainedFamily, SavedRules};
use bgp::AfiSafi;
use config::FamilyName;
use engine::{Engine, Retention, RouteFamily, Timestamp};
use flowspec::{Family, IpVersion, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What has been in force since an earlier run. While there are leftovers, no change goes to the
/// data plane; rules that were in force count as feasible until the unicast routes that decide have
/// been received. Both end when the peers have sent everything, or at the time set at the start.
#[derive(Debug)]
pub(super) struct EarlierRun {
    leftovers: Option<Leftovers>,
    /// Rules are presumed feasible until then at most.
    presumed_until: Option<Instant>,
}

impl EarlierRun {
    /// Compares what is in force with the saved rules. `until`: when the peers have had enough time
    /// to send theirs.
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

    /// A warning that changes wait, and why.
    pub(super) fn warning(&self) -> Option<String> {
        self.leftovers.as_ref().map(Leftovers::warning)
    }

    /// Whether changes no longer have to wait.
    pub(super) fn end_leftovers_if_due(&mut self, now: Instant, paused: bool, peers: &PeerTable, engine: &Engine) {
        let Some(left) = &mut self.leftovers else { return };
        let Some(why) = left.end(now, paused, peers, engine) else { return };
        tracing::info!("{why}: filters of an earlier run that nobody announces are removed");
        self.leftovers = None;
    }

    /// Once every peer that sends unicast routes has sent all of them, or the time is over, the
    /// routes decide.
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

/// The state file's contents besides the rules.
pub(super) struct Restored {
    /// A pause that continues.
    pub(super) pause: Option<Pause>,
    /// Rules of peers that are no longer configured were dropped: the file has to be rewritten
    /// without them.
    pub(super) dropped: bool,
}

/// For how long the rules of a peer from an earlier run are retained: until `confirmed_by`, and if
/// the session was lost in that run, at least as long as they were to be retained then.
fn retention(retained: &[RetainedFamily], confirmed_by: Timestamp) -> Vec<Retention> {
    let unicast = [IpVersion::V4, IpVersion::V6].map(RouteFamily::Unicast);
    let families = Family::ALL.map(RouteFamily::Flow).into_iter().chain(unicast);
    let retention = families.map(|family| {
        let lost = retained.iter().find(|retained| retained.family == family);
        let until = lost.and_then(|lost| lost.until).map_or(confirmed_by, |until| until.max(confirmed_by));
        let long_lived_until = lost.and_then(|lost| lost.long_lived_until).filter(|end| *end > until);
        Retention { family, until: Some(until), long_lived_until, renews: true }
    });
    retention.collect()
}

/// Restores the rules of an earlier run as stale, until their peers confirm them, or `stale_time`
/// or `hold-on-loss` of the peer is over. If the session of a peer was lost in that run, the
/// deadline of that loss counts, if it is later.
pub(super) fn restore_rules(
    loaded: Loaded,
    stale_time: Duration,
    engine: &mut Engine,
    sessions: &mut PeerSessions,
    local: &mut LocalRules,
) -> Restored {
    let Loaded { restored, append_at, .. } = loaded;
    let now = clock::now();
    let (mut taken, mut left) = (0, 0);
    for SavedRules { origin, mut paths } in restored.saved_rules {
        let mut retained = match origin {
            Origin::Local => Vec::new(),
            Origin::Peer(address) => restored.retained.get(&address).cloned().unwrap_or_default(),
        };
        if append_at.is_none() {
            // From a file without a clock: no lifetime gets longer than it was meant to be,
            // whatever the clock says.
            let at_most = |end: Timestamp, since: Timestamp| end.min(now.plus(end.0.saturating_sub(since.0)));
            for path in &mut paths {
                path.deadline = path.deadline.map(|end| at_most(end, path.received));
            }
            for RetainedFamily { since, until, long_lived_until, .. } in &mut retained {
                *until = until.map(|end| at_most(end, *since));
                *long_lived_until = long_lived_until.map(|end| at_most(end, *since));
            }
        }
        let (source, hold) = match origin {
            Origin::Local => (Some(LOCAL), 0),
            Origin::Peer(address) => {
                let hold = sessions.table().by_address(address).map(|peer| peer.config().hold_on_loss.0.as_secs());
                (sessions.restore(address, &retained), hold.unwrap_or(0))
            }
        };
        // The restart is a loss of the session, too.
        let retain = retention(&retained, now.plus(hold.max(stale_time.as_secs())));
        // A path without a source has a peer that is no longer configured: it is withdrawn.
        match source {
            Some(source) => {
                taken += paths.len();
                if source == LOCAL {
                    local.restore(paths.iter().map(|path| (Arc::clone(&path.nlri), path.path_id)));
                }
                engine.restore(source, paths, &retain);
            }
            None => left += paths.len(),
        }
    }
    if append_at.is_some() {
        engine.mark_all_saved();
    }
    engine.expire(clock::last_full_second());
    if taken + left > 0 {
        tracing::info!(taken, left, "rules of the last run");
    }
    Restored { pause: restored.pause, dropped: left > 0 }
}
