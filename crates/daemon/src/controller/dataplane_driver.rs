//! Brings the data plane to the desired state: one change at a time; further changes gather
//! meanwhile; failed changes are retried.

use super::event_log::EventLog;
use super::measurements::Measurements;
use super::pacing::Pacing;
use crate::apply::{self, Order, Report};
use crate::backend_spec::{BackendSpec, announce_fallback, backend_view, build_or_fallback, fallback_of};
use crate::command::ApplyOutcome;
use crate::events::EventSubject;
use crate::host_environment::HostEnvironment;
use crate::samples::Samples;
use crate::state_file::Ticket;
use anyhow::{Context, Result};
use api::EventKind;
use config::Config;
use dataplane::{Dataplane, DataplaneError, NoSamples};
use engine::capability::Capabilities;
use engine::plan::Applied;
use engine::state::RuleState;
use engine::{Engine, Transaction};
use flowspec::{Nlri, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The controller's side of the data plane thread. A transaction of the engine is either in
/// progress there or has been answered to the engine by [`on_report`](Self::on_report). Whoever
/// waits for the desired state of now to be in force is answered exactly once: when nothing is left
/// to be changed, or an attempt has failed.
pub(super) struct DataplaneDriver {
    orders: std::sync::mpsc::Sender<Order>,
    capabilities: Capabilities,
    /// The configured back end.
    configured: BackendSpec,
    /// The fallback, if the configuration names one.
    substitute: Option<BackendSpec>,
    /// The back end in use: one of the two.
    in_use: BackendSpec,
    /// Why the back end in use is not the configured one.
    fallback: Option<String>,
    pacing: Pacing,
    known: Measurements,
    outcomes: Outcomes,
    /// Samples of the data plane in use.
    samples: Result<Samples, NoSamples>,
    waiting: Vec<oneshot::Sender<ApplyOutcome>>,
}

/// Statistics of the changes so far.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Why the last change is not in force, if it is not.
    pub(super) error: Option<Arc<DataplaneError>>,
    /// Changes applied.
    pub(super) applied: u64,
    /// Changes that failed.
    pub(super) failures: u64,
    /// How often another program changed what was in force.
    pub(super) damages: u64,
    /// Duration of the last change.
    pub(super) took: Duration,
}

/// What the controller has to do after a report.
#[derive(Debug)]
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// The data plane could not apply these rules; not reported before.
    NotInForce(Vec<Arc<Nlri>>),
    /// Another back end is in use: capabilities have to be read again.
    BackendChanged,
    /// The counters that were asked for have come.
    CountersKnown,
    /// The thread has ended.
    Ended,
}

impl DataplaneDriver {
    /// Starts the thread; also returns the rules that an earlier run left in force.
    pub(super) fn spawn(
        config: &Config,
        environment: &HostEnvironment,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<(Self, BTreeSet<RuleId>)> {
        let configured = BackendSpec::new(config, environment)?;
        let substitute = fallback_of(&configured, config, environment);
        let (in_use, mut dataplane, fallback) = build_or_fallback(&configured, substitute.as_ref())?;
        let left = dataplane.leftovers().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read what an earlier run left in force");
            BTreeSet::new()
        });
        let capabilities = dataplane.capabilities();
        let samples = dataplane.samples().map(Samples::new);
        let mut known = Measurements::default();
        known.exchanged(dataplane.counter_delay());
        let report = move |report| drop(reports.send(report));
        let orders = apply::spawn(dataplane, report).context("cannot start a thread")?;
        let driver = DataplaneDriver {
            orders,
            capabilities,
            pacing: Pacing::new(debounce(config, &configured)),
            configured,
            substitute,
            in_use,
            fallback,
            known,
            outcomes: Outcomes::default(),
            samples,
            waiting: Vec::new(),
        };
        Ok((driver, left))
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    /// Whether a change is in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.pacing.is_running()
    }

    /// The name of the back end in use.
    pub(super) fn backend(&self) -> api::Backend {
        backend_view(self.in_use.backend())
    }

    /// Why something else than what is configured is used.
    pub(super) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// A warning for people that the fallback is in use.
    pub(super) fn fallback_warning(&self) -> Option<String> {
        let why = self.fallback.as_ref()?;
        Some(format!("{} filters, and not {} as configured: {why}", self.in_use.name(), self.configured.name()))
    }

    /// Statistics of the changes so far.
    pub(super) const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Usage, condition and counters as last read.
    pub(super) const fn known(&self) -> &Measurements {
        &self.known
    }

    /// Sampled packets; or why the data plane has none.
    pub(super) fn samples(&self) -> Result<Samples, NoSamples> {
        self.samples.clone()
    }

    /// Uses another data plane if the settings or the interfaces changed; then everything has to be
    /// applied anew.
    pub(super) fn exchange(&mut self, config: &Config, environment: &HostEnvironment) -> Result<bool> {
        let configured = BackendSpec::new(config, environment)?;
        let substitute = fallback_of(&configured, config, environment);
        let in_use = self.spec_to_use(&configured, substitute.as_ref());
        let changes = in_use != self.in_use;
        if changes {
            in_use.can_follow(&self.in_use)?;
            let (in_use, dataplane, fallback) = if in_use == configured {
                build_or_fallback(&configured, substitute.as_ref())?
            } else {
                let dataplane = in_use.build()?;
                (in_use, dataplane, self.fallback.take())
            };
            self.fallback = fallback;
            self.switch_to(in_use, dataplane);
        }
        self.pacing.set_debounce(debounce(config, &configured));
        (self.configured, self.substitute) = (configured, substitute);
        Ok(changes)
    }

    /// The back end to use under this configuration: a fallback stays in use until the settings of
    /// the configured back end change.
    fn spec_to_use(&self, configured: &BackendSpec, substitute: Option<&BackendSpec>) -> BackendSpec {
        let stays = self.fallback.is_some() && *configured == self.configured;
        substitute.filter(|_| stays).unwrap_or(configured).clone()
    }

    /// Uses this data plane from now on.
    fn switch_to(&mut self, in_use: BackendSpec, dataplane: Box<dyn Dataplane>) {
        self.capabilities = dataplane.capabilities();
        self.samples = dataplane.samples().map(Samples::new);
        self.known.exchanged(dataplane.counter_delay());
        let retire = !in_use.takes_over(&self.in_use);
        if retire {
            self.keep_counts();
        }
        self.in_use = in_use;
        self.send(Order::Exchange { dataplane, retire });
        self.pacing.exchanged();
    }

    /// Stops the thread.
    pub(super) fn stop(&mut self, remove: bool) {
        self.pacing.stop();
        self.send(Order::Stop { remove });
    }

    /// Answers when the desired state of now is in force, or the attempt failed.
    pub(super) fn when_applied(&mut self) -> oneshot::Receiver<ApplyOutcome> {
        let (answer, applied) = oneshot::channel();
        self.waiting.push(answer);
        applied
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pacing.deadline()
    }

    /// Orders a new measurement if the last one is too old; true if a result will come soon.
    pub(super) fn measure(&mut self, now: Instant) -> bool {
        if !self.pacing.is_idle() {
            return false;
        }
        if let Some(order) = self.known.order(now) {
            self.send(order);
        }
        self.known.is_measuring()
    }

    /// Reads the counters although nobody asks for them, if it is time.
    pub(super) fn measure_in_background(&mut self, now: Instant) {
        if self.pacing.is_idle()
            && let Some(order) = self.known.background_order(now)
        {
            self.send(order);
        }
    }

    /// Filters are about to be removed: saves their counters, which the rules continue from when
    /// they return.
    pub(super) fn keep_counts(&mut self) {
        let order = self.known.last_order();
        self.send(order);
    }

    /// Whether to ask for the next transaction and to [send](Self::start) it now. Retries failed
    /// rules from time to time. If nothing has changed, those who wait are answered that everything
    /// is in force.
    pub(super) fn is_change_due(&mut self, engine: &mut Engine, now: Instant) -> bool {
        if !self.pacing.is_ready(now) {
            return false;
        }
        if self.pacing.is_retry_of_rules_due(engine.has_failures(), now) {
            engine.retry();
        }
        let has_changes = engine.has_pending_changes();
        if !has_changes {
            self.answer_waiting(&Ok(()));
        }
        self.pacing.is_change_due(has_changes, now)
    }

    /// Sends a transaction, if there is one: changes may have cancelled each other out. It waits
    /// for the state file for a limited time.
    pub(super) fn start(&mut self, change: Option<Transaction>, saved: Option<Ticket>, engine: &Engine) {
        if let Some(ticket) = saved {
            self.send(Order::Await(ticket));
        }
        let order = match change {
            Some(Transaction::Full(rules)) => Order::Replace(rules),
            Some(Transaction::Plan(plan)) => {
                plan.remove.iter().filter(|nlri| engine.rule(nlri).is_none()).for_each(|nlri| self.known.forget(nlri));
                Order::Update(plan)
            }
            None => return,
        };
        self.pacing.started();
        self.send(order);
    }

    /// Handles a report of the data plane thread.
    pub(super) fn on_report(
        &mut self,
        report: Report,
        engine: &mut Engine,
        events: &mut EventLog,
        now: Instant,
    ) -> Consequence {
        match report {
            Report::Applied { outcome: Ok(outcome), took } => return self.succeeded(&outcome, took, engine),
            Report::Applied { outcome: Err(error), took } => return self.failed(error, took, engine, events, now),
            Report::Unfiltered { why, condition } => {
                self.known.set_condition(condition);
                match &why {
                    Some(why) => tracing::error!("NOTHING IS FILTERED: {why}"),
                    None => tracing::info!("packets are filtered again"),
                }
                engine.set_unfiltered(why);
            }
            Report::ExternalChange(how) if self.pacing.is_settled() => {
                tracing::warn!(%how, "another program changed our filters; they are restored");
                events.record(EventKind::Damaged, EventSubject::words(how));
                self.outcomes.damages += 1;
                engine.reload();
            }
            // A change is in progress or about to be: if it does not repair this, the next health
            // check reports it.
            Report::ExternalChange(_) => {}
            Report::ConditionChanged(what) => {
                tracing::info!(%what, "conditions changed: all rules are applied again");
                engine.reload();
            }
            Report::HealthCheckFailed(error) => {
                tracing::warn!(%error, "cannot check whether our filters are in force")
            }
            Report::Looked { usage, condition, epoch } => {
                self.known.looked(usage, condition, epoch, now);
                if !self.known.is_reading_quick_counters() {
                    return Consequence::CountersKnown;
                }
            }
            Report::Measured { counters, last: false, epoch, at } => {
                self.known.measured(counters, epoch, at, now);
                return Consequence::CountersKnown;
            }
            Report::Measured { counters, last: true, .. } => {
                self.known.measured_last(counters, |nlri| engine.rule(nlri).is_some())
            }
            Report::Stopped(outcome) => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "filters could not be removed");
                }
                return Consequence::Ended;
            }
        }
        Consequence::None
    }

    /// A change is in force, except for some rules.
    fn succeeded(&mut self, outcome: &Applied, took: Duration, engine: &mut Engine) -> Consequence {
        // Report a repeated failure once.
        let is_news = |nlri: &&Arc<Nlri>| {
            let state = engine.rule(nlri).map(|rule| rule.state());
            !matches!(state, Some(RuleState::OverCapacity(_) | RuleState::Failed(_)))
        };
        let news = outcome.failures.iter().map(|(nlri, _)| nlri).filter(is_news).cloned().collect();
        engine.applied(outcome);
        if self.outcomes.error.take().is_some() {
            tracing::info!("the data plane applies changes again");
        }
        self.outcomes.applied += 1;
        self.outcomes.took = took;
        self.pacing.succeeded();
        tracing::debug!(?took, "applied");
        Consequence::NotInForce(news)
    }

    /// A change failed.
    fn failed(
        &mut self,
        error: DataplaneError,
        took: Duration,
        engine: &mut Engine,
        events: &mut EventLog,
        now: Instant,
    ) -> Consequence {
        if self.fall_back(&error, engine, events) {
            return Consequence::BackendChanged;
        }
        tracing::error!(%error, "the data plane did not apply a change; the previous rules stay in force; retrying");
        events.record(EventKind::ApplyFailed, EventSubject::words(error.to_string()));
        engine.apply_failed(&error.to_string());
        let error = Arc::new(error);
        self.answer_waiting(&Err(Arc::clone(&error)));
        self.outcomes.error = Some(error);
        self.outcomes.failures += 1;
        self.outcomes.took = took;
        self.pacing.failed(now);
        Consequence::None
    }

    /// If the configured back end finds out with the first rules that it cannot be used here: uses
    /// the fallback of the configuration. False if there is none, or it cannot be used either.
    fn fall_back(&mut self, error: &DataplaneError, engine: &mut Engine, events: &mut EventLog) -> bool {
        let DataplaneError::Unavailable(why) = error else { return false };
        let Some(instead) = self.substitute.clone().filter(|_| self.in_use == self.configured) else { return false };
        let dataplane = match instead.build() {
            Ok(dataplane) => dataplane,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the fallback cannot be used either");
                return false;
            }
        };
        events
            .record(EventKind::ApplyFailed, EventSubject::words(format!("{} filters instead: {why}", instead.name())));
        announce_fallback(&self.configured, &instead, why);
        self.outcomes.failures += 1;
        self.fallback = Some(why.to_owned());
        self.pacing.idle();
        self.switch_to(instead, dataplane);
        engine.apply_failed(why);
        engine.reload();
        true
    }

    fn send(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the data plane thread has ended");
        }
    }

    fn answer_waiting(&mut self, answer: &ApplyOutcome) {
        for waiting in self.waiting.drain(..) {
            // The receiver may have been dropped.
            let _ = waiting.send(answer.clone());
        }
    }
}

/// How long changes are gathered.
fn debounce(config: &Config, configured: &BackendSpec) -> Duration {
    config.dataplane.debounce.map_or_else(|| configured.usual_debounce(), |time| time.0)
}

#[cfg(test)]
mod tests;
