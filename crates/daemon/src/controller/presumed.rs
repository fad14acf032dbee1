//! Rules of an earlier run that are validated against unicast routes, which are not remembered: they stay in force until the routes have come
//! again.

use super::Controller;
use bgp::AfiSafi;
use config::FamilyName;
use flowspec::RuleId;
use std::collections::BTreeSet;
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
        let mut sources = self.peers.iter().filter(|entry| entry.config.families.iter().any(unicast));
        let synchronized = sources.all(|entry| {
            entry.negotiated.as_ref().is_some_and(|negotiated| {
                let mut families = negotiated.families.iter().filter(|family| !matches!(family, AfiSafi::Flow(_)));
                families.all(|family| entry.synchronized.contains(family))
            })
        });
        if synchronized || until <= Instant::now() {
            self.presumed_until = None;
            self.engine.validate_presumed();
        }
    }
}
