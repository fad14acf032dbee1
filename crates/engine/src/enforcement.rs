//! What the data plane has of one rule, and what failed: the rule's part of the reconciler.

use crate::compile;
use crate::plan::RuleFailure;
use crate::route::Route;
use flowspec::Effect;
use std::sync::Arc;

/// How a rule is enforced.
#[derive(Clone, Debug)]
pub(crate) struct Enforcement {
    /// The route whose actions are enforced.
    pub(crate) route: Arc<Route>,
    /// Packets are only counted.
    pub(crate) monitor: bool,
}

impl Enforcement {
    /// The effect on a packet.
    pub(crate) fn effect(&self) -> Effect {
        let effect = compile::enforced(self.route.effect());
        if self.monitor { Effect { continues: effect.continues, ..Effect::ACCEPT } } else { effect }
    }

    /// Whether the data plane would do the same for the other.
    pub(crate) fn is_equivalent(&self, other: &Self) -> bool {
        (self.monitor == other.monitor && Arc::ptr_eq(&self.route, &other.route)) || self.effect() == other.effect()
    }
}

/// The data plane's side of one rule.
#[derive(Debug, Default)]
pub(crate) struct RuleInstallation {
    in_force: Option<Enforcement>,
    failures: Option<Box<InstallFailures>>,
}

/// The routes by which the data plane could not install a rule.
#[derive(Debug)]
struct InstallFailures {
    /// The route by which it was to be in force, and why it is not. Only of routes that are still
    /// announced.
    failures: Vec<(Arc<Route>, RuleFailure)>,
    /// The selected route is one of them, so that the rule is not in force. Otherwise another path
    /// was selected instead.
    active: bool,
    /// The rule is to be tried again with the next transaction.
    retry: bool,
}

impl RuleInstallation {
    /// What the data plane has, or was sent last.
    pub(crate) const fn in_force(&self) -> Option<&Enforcement> {
        self.in_force.as_ref()
    }

    pub(crate) const fn take_in_force(&mut self) -> Option<Enforcement> {
        self.in_force.take()
    }

    /// Records what is put in force; returns what was in force before.
    pub(crate) const fn put_in_force(&mut self, enforcement: Option<Enforcement>) -> Option<Enforcement> {
        std::mem::replace(&mut self.in_force, enforcement)
    }

    /// The transaction that sent it failed: the previous state is still in force.
    pub(crate) fn restore(&mut self, before: Option<Enforcement>) {
        self.in_force = before;
    }

    /// Whether the data plane could not install the rule by the selected route.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures.as_deref().is_some_and(|failures| failures.active)
    }

    /// Whether it failed and is not to be tried with the next transaction.
    pub(crate) fn is_held_by_failure(&self) -> bool {
        self.failures.as_deref().is_some_and(|failures| failures.active && !failures.retry)
    }

    /// Whether a better route failed, and another one is selected instead.
    pub(crate) fn is_substitute(&self) -> bool {
        self.failures.as_deref().is_some_and(|failures| !failures.active)
    }

    /// Why the data plane could not install the rule by this route.
    pub(crate) fn failure(&self, route: &Arc<Route>) -> Option<&RuleFailure> {
        let mut failures = self.failures.iter().flat_map(|failures| &failures.failures);
        failures.find(|(failed, _)| Arc::ptr_eq(failed, route)).map(|(_, failure)| failure)
    }

    /// Whether any other path is preferred to one of this route: it failed, and it is not due for a
    /// retry.
    pub(crate) fn avoids(&self, route: &Arc<Route>) -> bool {
        let retried = self.failures.as_deref().is_some_and(|failures| failures.active && failures.retry);
        !retried && matches!(self.failure(route), Some(RuleFailure::Failed(_)))
    }

    /// The data plane could not install the rule by this route.
    pub(crate) fn fail(&mut self, route: Arc<Route>, failure: RuleFailure) {
        let failures = self
            .failures
            .get_or_insert_with(|| Box::new(InstallFailures { failures: Vec::new(), active: true, retry: false }));
        (failures.active, failures.retry) = (true, false);
        failures.failures.retain(|(failed, _)| !Arc::ptr_eq(failed, &route));
        failures.failures.push((route, failure));
    }

    /// The rule is to be tried with the next transaction, by the route that is selected then.
    pub(crate) fn retry(&mut self) {
        if let Some(failures) = &mut self.failures {
            failures.retry = true;
        }
    }

    /// The rule is to be tried with the next transaction: by the best path first, then by the
    /// others. `selected` is the route that failed last.
    pub(crate) fn retry_every_path(&mut self, selected: Option<&Arc<Route>>) {
        if let Some(failures) = &mut self.failures {
            failures.retry = true;
            failures.failures.retain(|(route, _)| selected.is_some_and(|selected| Arc::ptr_eq(selected, route)));
        }
    }

    /// The rule is to be tried again where something about its paths changed.
    pub(crate) fn retry_if(&mut self, changed: bool) {
        if let Some(failures) = &mut self.failures {
            failures.retry |= changed;
        }
    }

    /// Drops failures; true if there were any.
    pub(crate) fn clear_failures(&mut self) -> bool {
        self.failures.take().is_some()
    }

    /// After best-path selection: drops failures of routes that are no longer announced.
    pub(crate) fn update_failures(
        &mut self,
        selected: Option<&Arc<Route>>,
        is_announced: impl Fn(&Arc<Route>) -> bool,
    ) {
        let Some(mut failures) = self.failures.take() else { return };
        let Some(selected) = selected else { return };
        failures.failures.retain(|(route, _)| is_announced(route) || Arc::ptr_eq(route, selected));
        let active = failures.failures.iter().any(|(route, _)| Arc::ptr_eq(route, selected));
        // Another path was selected instead of it, and it is the only one left: it is tried again.
        failures.retry |= active && !failures.active;
        failures.active = active;
        self.failures = (!failures.failures.is_empty()).then_some(failures);
    }
}
