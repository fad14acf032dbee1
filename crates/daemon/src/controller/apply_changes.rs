//! From the engine to the data plane and back: what changes are sent, and what comes of them.

use super::Controller;
use crate::apply::{Order, Report};
use crate::events::{About, Kind};
use dataplane::DataplaneError;
use std::time::Instant;

impl Controller {
    /// Sends the next change, if there is one and its time has come.
    pub(super) fn apply_pending(&mut self) {
        let now = Instant::now();
        if self.leftovers.is_some() || !self.driver.is_ready(now) {
            return;
        }
        if self.driver.is_retry_of_rules_due(self.engine.has_failures(), now) {
            self.engine.retry();
        }
        if !self.driver.is_change_due(self.engine.has_pending_changes(), now) {
            return;
        }
        self.show_before();
        let change = self.engine.next_transaction();
        self.tell_rejected();
        // What the kernel filters, the state file knows.
        self.state.save_changes(&mut self.engine, self.sessions.table());
        if let Some(ticket) = self.state.latest() {
            self.driver.wait_for_state(ticket);
        }
        let order = match change {
            Some(engine::Transaction::Full(rules)) => Order::Replace(rules),
            Some(engine::Transaction::Plan(plan)) => {
                for nlri in plan.remove.iter().filter(|nlri| self.engine.rule(nlri).is_none()) {
                    self.driver.forget_counts(nlri);
                }
                Order::Update(plan)
            }
            // Something changed and changed back.
            None => return,
        };
        self.driver.start(order);
    }

    /// Takes in what the data plane's thread says; true at its end.
    pub(super) fn report(&mut self, report: Report) -> bool {
        match report {
            Report::Applied { outcome: Ok(outcome), took } => {
                // What is tried again and again is told once.
                let news = outcome.failures.iter().map(|(nlri, _)| nlri).filter(|nlri| !self.is_known_trouble(nlri));
                let news: Vec<_> = news.cloned().collect();
                self.engine.applied(&outcome);
                for nlri in news {
                    self.tell_unenforced(&nlri);
                }
                let driver = &mut self.driver;
                if driver.error.take().is_some() {
                    tracing::info!("the data plane takes changes again");
                }
                driver.succeeded(took);
            }
            Report::Applied { outcome: Err(error), .. } if self.fall_back(&error) => {}
            Report::Applied { outcome: Err(error), took } => {
                tracing::error!(%error, "the data plane did not take a change; what was in force stays, and it is tried again");
                self.events.record(Kind::ApplyFailed, About::words(error.to_string()));
                self.engine.apply_failed(&error.to_string());
                self.driver.failed(error.to_string(), took);
            }
            Report::Unfiltered { why, condition } => {
                self.driver.condition = condition;
                match &why {
                    Some(why) => tracing::error!("NOTHING IS FILTERED: {why}"),
                    None => tracing::info!("packets are filtered again"),
                }
                self.engine.set_unfiltered(why);
            }
            Report::ExternalChange(how) if self.driver.is_settled() => {
                tracing::warn!(%how, "somebody changed our filters; they are put back");
                self.events.record(Kind::Damaged, About::words(how));
                self.driver.damages += 1;
                self.engine.reload();
            }
            // A change is under way or about to be: if it does not help, the next look tells.
            Report::ExternalChange(_) => {}
            Report::ConditionChanged(what) => {
                tracing::info!(%what, "this changed: all rules are looked at again");
                self.engine.reload();
            }
            Report::HealthCheckFailed(error) => {
                tracing::warn!(%error, "cannot see whether our filters are still there")
            }
            Report::Looked { usage, condition, epoch } => {
                self.driver.looked(usage, condition, epoch);
                if !self.driver.are_counters_near() {
                    self.answer_what_waits();
                }
            }
            Report::Measured { counters, last, epoch } => {
                if last {
                    self.driver.retain_counts(|nlri| self.engine.rule(nlri).is_some());
                }
                self.driver.measured(counters, last, epoch);
                if !last {
                    self.answer_what_waits();
                }
            }
            Report::Stopped(outcome) => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "filters could not be taken out");
                }
                return true;
            }
        }
        false
    }

    /// When the back end found out, with the first rules, that it cannot be used here: takes what the configuration names in its place.
    /// False if it names none, or that cannot be used either.
    fn fall_back(&mut self, error: &DataplaneError) -> bool {
        let DataplaneError::Unavailable(why) = error else { return false };
        let Some(instead) = self.driver.fallback_for(&self.config, &self.environment) else { return false };
        let dataplane = match instead.build() {
            Ok(dataplane) => dataplane,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the fallback cannot be used either");
                return false;
            }
        };
        self.events.record(Kind::ApplyFailed, About::words(format!("{} filters instead: {why}", instead.name())));
        self.driver.fall_back(instead, dataplane, why);
        self.engine.apply_failed(why);
        self.engine.reload();
        self.engine.reconfigure(self.engine_config());
        true
    }
}
