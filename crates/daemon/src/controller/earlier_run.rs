//! What an earlier run left: rules that the state file has, filters that it does not know, and rules that were feasible by unicast routes,
//! which are not kept and have to come again.

use super::Controller;
use super::leftovers::Leftovers;
use crate::clock;
use crate::convert::LOCAL;
use crate::state_file::{Loaded, Origin, Remembered};
use bgp::AfiSafi;
use config::FamilyName;
use engine::{Retention, RouteFamily};
use flowspec::{Family, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Controller {
    /// What the data plane has in force since an earlier run was feasible then.
    pub(super) fn presume_feasible(&mut self, in_force: &BTreeSet<RuleId>) {
        self.engine.presume_feasible(in_force);
        self.presumed_until = Some(Instant::now() + self.config.state.stale_time.0);
    }

    /// Once every peer that sends unicast routes has sent them all, or the time is over, they decide.
    pub(super) fn look_at_presumed(&mut self) {
        let Some(until) = self.presumed_until else { return };
        let unicast = |family: &FamilyName| matches!(family, FamilyName::Ipv4Unicast | FamilyName::Ipv6Unicast);
        let mut sources = self.sessions.table().iter().filter(|entry| entry.config().families.iter().any(unicast));
        let synchronized = sources.all(|entry| {
            entry.negotiated().is_some_and(|negotiated| {
                let mut families = negotiated.families.iter().filter(|family| !matches!(family, AfiSafi::Flow(_)));
                families.all(|family| entry.is_synchronized(family))
            })
        });
        if synchronized || until <= Instant::now() {
            self.presumed_until = None;
            self.engine.validate_presumed();
        }
    }

    /// Rules of an earlier run come back as stale, until their peers confirm them or the time is over; and a pause goes on.
    pub(super) fn take_over(&mut self, loaded: Loaded) {
        let Loaded { restored, append_at, .. } = loaded;
        let now = clock::now();
        let until = Some(now.plus(self.config.state.stale_time.0.as_secs()));
        let retain = Family::ALL.map(|family| Retention {
            family: RouteFamily::Flow(family),
            until,
            long_lived_until: None,
            renews: true,
        });
        let (mut taken, mut left) = (0, 0);
        for Remembered { origin, mut paths } in restored.remembered {
            let source = match origin {
                Origin::Local => Some(LOCAL),
                Origin::Peer(address) => self.sessions.restore(address).map(|peer| engine::PeerId(peer.0)),
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
                        let ids = paths.iter().map(|path| (path.nlri.id(), Arc::clone(&path.nlri)));
                        self.local_ids.extend(ids);
                    }
                    self.engine.restore(source, paths, &retain);
                }
                None => left += paths.len(),
            }
        }
        if append_at.is_some() {
            self.engine.mark_all_saved();
        }
        self.engine.expire(clock::passed());
        if taken + left > 0 {
            tracing::info!(taken, left, "rules of the last run");
        }
        if left > 0 {
            self.state.request_rewrite();
        }
        if let Some(pause) = restored.pause {
            tracing::warn!("paused since the last run: nothing is filtered");
            self.engine.pause();
            self.pause = Some(pause);
        }
        self.state.mark_time();
    }

    /// Compares what is in force with what is remembered.
    pub(super) fn find_leftovers(&mut self, ids: BTreeSet<RuleId>) {
        if self.pause.is_some() {
            return;
        }
        let known = self.engine.rules().filter(|rule| ids.contains(&rule.id())).count();
        self.leftovers = Leftovers::new(ids, known, Instant::now() + self.config.state.stale_time.0);
        if let Some(left) = &self.leftovers {
            tracing::warn!("{}", left.warning());
        }
    }

    /// Whether the time of what an earlier run left is over.
    pub(super) fn look_at_leftovers(&mut self) {
        let Some(left) = &mut self.leftovers else { return };
        let Some(why) = left.end(Instant::now(), self.pause.is_some(), self.sessions.table(), &self.engine) else {
            return;
        };
        tracing::info!("{why}: filters of an earlier run that nobody has asked for go");
        self.leftovers = None;
    }
}
