//! The back end that enforces nothing: to look at rules, and to test a live session.

use crate::kernel::DesiredState;
use crate::{Applied, BackendSettings, Counter, Dataplane, DataplaneError, EnforcementPoint, Health, Usage};
use engine::capability::Capabilities;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Nlri;
use std::sync::Arc;

/// It has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoSettings;

impl BackendSettings for NoSettings {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        Ok(Box::new(NoDataplane::new()))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::Nowhere
    }
}

/// Accepts every rule, installs none, and keeps them.
#[derive(Debug, Default)]
pub struct NoDataplane {
    desired: DesiredState,
}

impl NoDataplane {
    /// Without a rule.
    pub fn new() -> Self {
        NoDataplane::default()
    }

    /// The rules that another data plane would enforce, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<CompiledRule>> {
        self.desired.rules.values()
    }
}

impl Dataplane for NoDataplane {
    fn name(&self) -> &'static str {
        "none"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::everything(self.name())
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.desired = DesiredState::from(rules);
        Ok(Applied::default())
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        self.desired.change(plan);
        Ok(Applied::default())
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        Ok(Health::Intact)
    }

    /// None: nothing is matched, so nothing is counted.
    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        Ok(Vec::new())
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let entries = self.desired.rules.values().map(|rule| rule.entries.len() as u64).sum();
        Ok(Usage { entries, ..Usage::default() })
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        self.desired = DesiredState::default();
        Ok(())
    }
}
