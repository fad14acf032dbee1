//! The Cumulus back end: the desired rules, and how it changes from the rules in force to them.

use super::capabilities;
use super::installation::Installation;
use super::refusals::Refusals;
use super::search;
use super::settings::Settings;
use super::switch::Switch;
use crate::kernel::DesiredState;
use crate::{
    Applied, BackendSettings, Condition, Counter, Dataplane, DataplaneError, EnforcementPoint, Health, RuleFailure,
    Usage,
};
use engine::capability::Capabilities;
use engine::compile::split_into_entries;
use engine::plan::{Plan, Ruleset};
use flowspec::{Nlri, Space};
use std::sync::Arc;
use std::time::Duration;

impl BackendSettings for Settings {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let (v4, v6) = self.budget();
        let (release, asic) = (self.release, self.asic.name());
        tracing::info!(%release, asic, v4, v6, directory = %self.policy_directory.display(), "hardware ACLs");
        Ok(Box::new(Cumulus::new(self.clone())))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::Path(self.policy_directory.clone())
    }

    /// A run takes seconds, so a whole message is worth gathering. If it may stop traffic, longer.
    fn usual_debounce(&self) -> Duration {
        match (self.non_atomic, self.stops_traffic_always()) {
            (false, _) => Duration::from_millis(20),
            (true, false) => Duration::from_secs(1),
            (true, true) => Duration::from_secs(5),
        }
    }
}

/// The back end. `wanted` is the desired state of the last change that did not fail as a whole; the
/// switch has it in force, except for rules that have no room, that it refuses or that could not be
/// written.
#[derive(Debug)]
pub struct Cumulus {
    wanted: DesiredState,
    /// Of these, the rules that the last change could not put in force and reported. They may be
    /// withdrawn without a removal, so the next change leaves them out unless it contains them
    /// again.
    failed: Vec<Arc<Nlri>>,
    switch: Switch,
    refusals: Refusals,
}

impl Cumulus {
    /// With these settings. Changes nothing yet.
    pub fn new(settings: Settings) -> Self {
        Cumulus {
            wanted: DesiredState::default(),
            failed: Vec::new(),
            switch: Switch::new(settings),
            refusals: Refusals::new(),
        }
    }

    fn apply(&mut self, wanted: DesiredState) -> Result<Applied, DataplaneError> {
        self.refusals.expire(&wanted.rules);
        let outcome = search::fit(Installation::new(&mut self.switch, &mut self.refusals, &wanted));
        self.refusals.after_change();
        if let Ok(applied) = &outcome {
            self.wanted = wanted;
            self.failed = applied.failures.iter().map(|(nlri, _)| Arc::clone(nlri)).collect();
        }
        outcome
    }

    /// The protected packets, split into parts that can be written.
    fn protectable(&self, spaces: &[Space]) -> Result<Arc<Vec<Space>>, DataplaneError> {
        let capabilities = capabilities(self.switch.settings());
        let mut parts = Vec::new();
        for space in spaces {
            if space.version() == flowspec::IpVersion::V6 && !capabilities.ipv6 {
                // There will be no IPv6 rule that it would need protection from.
                continue;
            }
            let cut = split_into_entries(space.clone(), &capabilities).map_err(|kind| {
                DataplaneError::Refused(format!("protected packets cannot be matched by the switch ({})", kind.name()))
            })?;
            parts.extend(cut);
        }
        Ok(Arc::new(parts))
    }
}

impl Dataplane for Cumulus {
    fn name(&self) -> &'static str {
        "cumulus"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(self.switch.settings())
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        let protected = self.protectable(&rules.protected)?;
        let rules = rules.rules.iter().map(|rule| (Arc::clone(&rule.nlri), Arc::clone(rule))).collect();
        self.apply(DesiredState { rules, protected })
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let mut wanted = self.wanted.clone();
        for nlri in &self.failed {
            wanted.rules.remove(nlri);
        }
        wanted.change(plan);
        if let Some(protected) = &plan.protected {
            wanted.protected = self.protectable(protected)?;
        }
        self.apply(wanted)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        self.switch.health()
    }

    /// switchd adds what the ASIC counted some seconds late.
    fn counter_delay(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        self.switch.counters()
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        Ok(self.switch.usage(self.refusals.ceiling()))
    }

    fn condition(&mut self) -> Condition {
        self.switch.condition()
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        let applied = self.apply(DesiredState::default())?;
        debug_assert!(applied.failures.iter().all(|(_, failure)| !matches!(failure, RuleFailure::Failed(_))));
        Ok(())
    }
}
