//! Bringing the data plane to what is wanted: one change at a time, gathered while another is under way, tried again when it failed.

use super::backend_spec::{BackendSpec, announce_fallback, build_or_fallback, fallback_of};
use crate::apply::{self, Counters, Order, Report};
use crate::host_environment::HostEnvironment;
use crate::samples::Samples;
use crate::state_file::Ticket;
use anyhow::{Context, Result};
use config::{Backend, Config, release_of_this_machine};
use dataplane::{Condition, Counter, Dataplane, Usage};
use engine::capability::Capabilities;
use flowspec::{Nlri, RuleId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Wait after a first failure; doubled after each further one.
const RETRY: Duration = Duration::from_millis(250);

/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How old condition, usage and counters may be that are shown; counters only where they are read quickly.
const FRESH: Duration = Duration::from_millis(900);

/// Between two readings of the counters pass so many times what the last one took: of 300,000 it takes seconds.
const READING_PAUSE: u32 = 4;

/// A reading that takes longer is not waited for.
pub(super) const READING_PATIENCE: Duration = Duration::from_millis(500);

/// What is known of the data plane's thread.
pub(super) struct DataplaneDriver {
    orders: std::sync::mpsc::Sender<Order>,
    capabilities: Capabilities,
    debounce: Duration,
    /// What the configuration asks for.
    configured: BackendSpec,
    /// What is used: the same, or what takes its place.
    in_use: BackendSpec,
    /// Why something else than what is configured is used.
    pub(super) fallback: Option<String>,
    phase: Phase,
    gather_until: Option<Instant>,
    retry_at: Option<Instant>,
    /// When rules that the data plane could not take are tried again.
    trouble_at: Option<Instant>,
    attempts: u32,
    pub(super) error: Option<String>,
    pub(super) applied: u64,
    pub(super) failures: u64,
    pub(super) damages: u64,
    pub(super) took: Duration,
    counters: Counters,
    /// Of these, what was counted before filters were taken out for a while, or given to another back end.
    carried: HashMap<Arc<Nlri>, Counter>,
    pub(super) usage: Usage,
    pub(super) condition: Condition,
    /// Those of the data plane in use.
    pub(super) samples: Result<Samples, String>,
    measured: Option<Instant>,
    /// Since when new counters are on their way.
    measuring: Option<Instant>,
    /// When condition and usage were looked at.
    looked: Option<Instant>,
    /// Both are on their way.
    looking: bool,
    /// How long the last reading took.
    reading: Duration,
    /// Counts up when what was counted is put aside: readings from before count nothing new.
    epoch: u64,
    waiting: Vec<oneshot::Sender<Result<bool, String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Running,
    Stopping,
}

impl DataplaneDriver {
    /// Starts the thread; with it the rules that an earlier run left in force.
    pub(super) fn spawn(
        config: &Config,
        environment: &HostEnvironment,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<(Self, BTreeSet<RuleId>)> {
        let configured = BackendSpec::new(config, environment)?;
        let (in_use, mut dataplane, fallback) = build_or_fallback(&configured, config, environment)?;
        let left = dataplane.leftovers().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot see what an earlier run left in force");
            BTreeSet::new()
        });
        let capabilities = dataplane.capabilities();
        let samples = dataplane.samples().map(Samples::new).map_err(|error| error.to_string());
        let report = move |report| drop(reports.send(report));
        let orders = apply::spawn(dataplane, report).context("cannot start a thread")?;
        let applying = DataplaneDriver {
            orders,
            capabilities,
            debounce: debounce(config),
            configured,
            in_use,
            fallback,
            phase: Phase::Idle,
            gather_until: None,
            retry_at: None,
            trouble_at: None,
            attempts: 0,
            error: None,
            applied: 0,
            failures: 0,
            damages: 0,
            took: Duration::ZERO,
            counters: Counters::Rules(HashMap::new()),
            carried: HashMap::new(),
            usage: Usage::default(),
            condition: Condition::default(),
            samples,
            measured: None,
            measuring: None,
            looked: None,
            looking: false,
            reading: Duration::ZERO,
            epoch: 0,
            waiting: Vec::new(),
        };
        Ok((applying, left))
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Uses another data plane where the settings or the interfaces changed; then all must be put in force anew.
    pub(super) fn exchange(&mut self, config: &Config, environment: &HostEnvironment) -> Result<bool> {
        let configured = BackendSpec::new(config, environment)?;
        let in_use = self.spec_to_use(&configured, config, environment);
        if in_use == self.in_use {
            self.configured = configured;
            self.debounce = debounce(config);
            return Ok(false);
        }
        let (in_use, dataplane, fallback) = if in_use == configured {
            build_or_fallback(&configured, config, environment)?
        } else {
            let dataplane = in_use.build()?;
            (in_use, dataplane, self.fallback.take())
        };
        self.configured = configured;
        self.fallback = fallback;
        self.debounce = debounce(config);
        self.switch_to(in_use, dataplane);
        Ok(true)
    }

    /// Uses this data plane from now on.
    fn switch_to(&mut self, in_use: BackendSpec, dataplane: Box<dyn Dataplane>) {
        self.capabilities = dataplane.capabilities();
        self.samples = dataplane.samples().map(Samples::new).map_err(|error| error.to_string());
        self.condition = Condition::default();
        (self.measured, self.looked) = (None, None);
        let retire = !in_use.takes_over(&self.in_use);
        if retire {
            self.keep_counts();
        }
        self.in_use = in_use;
        self.send(Order::Exchange { dataplane, retire });
        self.retry_at = None;
    }

    /// The name of the back end in use.
    pub(super) fn backend(&self) -> &'static str {
        self.in_use.name()
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self, remove: bool) {
        self.phase = Phase::Stopping;
        self.send(Order::Stop { remove });
    }

    /// Tells when what is wanted now is in force, or the try failed.
    pub(super) fn when_applied(&mut self) -> oneshot::Receiver<Result<bool, String>> {
        let (answer, applied) = oneshot::channel();
        self.waiting.push(answer);
        applied
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.gather_until, self.retry_at].into_iter().flatten().min()
    }

    /// Looks again, and reads the counters again, if what is known is old; true if something new is on its way and soon there.
    pub(super) fn measure(&mut self) -> bool {
        if self.phase != Phase::Idle {
            return false;
        }
        let is_old = |at: Option<Instant>, age: Duration| at.is_none_or(|at| at.elapsed() >= age);
        let pause = FRESH.max(self.reading * READING_PAUSE);
        let counters = self.measuring.is_none() && is_old(self.measured, pause);
        if counters || (!self.looking && is_old(self.looked, FRESH)) {
            self.looking = true;
            if counters {
                self.measuring = Some(Instant::now());
            }
            self.send(Order::Measure { counters, last: false, epoch: self.epoch });
        }
        self.looking || self.are_counters_near()
    }

    /// Whether counters are on their way and worth waiting for.
    pub(super) fn are_counters_near(&self) -> bool {
        self.measuring.is_some() && self.reading < READING_PATIENCE
    }

    /// Seconds since counters were read.
    pub(super) fn counters_age(&self) -> Option<f64> {
        self.measured.map(|at| at.elapsed().as_secs_f64())
    }

    /// What counts is about to be taken out: rules that come back go on counting from here.
    pub(super) fn keep_counts(&mut self) {
        self.epoch += 1;
        self.send(Order::Measure { counters: true, last: true, epoch: self.epoch });
    }

    /// Whether a change can be sent now: none is under way, and the pause after a failure is over.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        if self.phase != Phase::Idle || self.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        self.retry_at = None;
        true
    }

    /// Whether rules that the data plane could not take are to be tried again now.
    pub(super) fn is_retry_of_rules_due(&mut self, has_failures: bool, now: Instant) -> bool {
        if !has_failures {
            self.trouble_at = None;
            return false;
        }
        let due = *self.trouble_at.get_or_insert(now + RETRY_MAX) <= now;
        if due {
            self.trouble_at = Some(now + RETRY_MAX);
        }
        due
    }

    /// Whether what has changed was gathered for long enough. Where nothing has changed, those who wait are told so.
    pub(super) fn is_change_due(&mut self, has_changes: bool, now: Instant) -> bool {
        if !has_changes {
            self.gather_until = None;
            self.answer_waiting(&Ok(true));
            return false;
        }
        let due = *self.gather_until.get_or_insert(now + self.debounce) <= now;
        if due {
            self.gather_until = None;
        }
        due
    }

    /// Has the data plane wait for the state file, not for ever.
    pub(super) fn wait_for_state(&self, ticket: Ticket) {
        self.send(Order::Await(ticket));
    }

    /// Sends a change.
    pub(super) fn start(&mut self, change: Order) {
        self.phase = Phase::Running;
        self.send(change);
    }

    /// What was counted of a rule that is gone counts no more.
    pub(super) fn forget_counts(&mut self, nlri: &Nlri) {
        self.carried.remove(nlri);
    }

    /// What was counted of rules that are gone counts no more.
    pub(super) fn retain_counts(&mut self, is_there: impl Fn(&Arc<Nlri>) -> bool) {
        self.carried.retain(|nlri, _| is_there(nlri));
    }

    /// Nothing is under way, and nothing is about to be tried again.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Idle && self.retry_at.is_none()
    }

    /// What takes the place of the configured back end, once that has said that it cannot be used here. `None` where something does already,
    /// or where the configuration names nothing.
    pub(super) fn fallback_for(&self, config: &Config, environment: &HostEnvironment) -> Option<BackendSpec> {
        (self.in_use == self.configured).then(|| fallback_of(&self.configured, config, environment)).flatten()
    }

    /// Uses what takes the place of the configured back end.
    pub(super) fn fall_back(&mut self, instead: BackendSpec, dataplane: Box<dyn Dataplane>, why: &str) {
        announce_fallback(&self.configured, &instead, why);
        self.failures += 1;
        self.fallback = Some(why.to_owned());
        self.idle();
        self.switch_to(instead, dataplane);
    }

    /// That something else than what is configured filters, in words.
    pub(super) fn fallback_warning(&self) -> Option<String> {
        let why = self.fallback.as_ref()?;
        Some(format!("{} filters, and not {} as configured: {why}", self.in_use.name(), self.configured.name()))
    }

    /// What is to be used under this configuration: what takes the place of the configured back end goes on doing so until the settings of
    /// that back end change.
    fn spec_to_use(&self, configured: &BackendSpec, config: &Config, environment: &HostEnvironment) -> BackendSpec {
        let instead = || fallback_of(configured, config, environment);
        let stays = self.fallback.is_some() && *configured == self.configured;
        stays.then(instead).flatten().unwrap_or_else(|| configured.clone())
    }

    fn send(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the data plane's thread is gone");
        }
    }
}

/// How long changes are gathered unless the file says otherwise.
fn debounce(config: &Config) -> Duration {
    let usual = match config.dataplane.backend {
        Backend::Nftables | Backend::Xdp | Backend::None => Duration::ZERO,
        Backend::Cumulus => config.dataplane.cumulus.settings(&[], release_of_this_machine()).usual_debounce(),
    };
    config.dataplane.debounce.map_or(usual, |age| age.0)
}

impl DataplaneDriver {
    /// Takes in how the data plane is doing.
    pub(super) fn looked(&mut self, usage: Usage, condition: Condition, epoch: Option<u64>) {
        self.looking &= epoch.is_none();
        // It may be of a data plane that is not used any more.
        if epoch.is_none_or(|epoch| epoch == self.epoch) {
            self.usage = usage;
            self.condition = condition;
            self.looked = Some(Instant::now());
        }
    }

    /// Takes in counters.
    pub(super) fn measured(&mut self, counters: Counters, last: bool, epoch: u64) {
        self.measured = (!last).then(Instant::now);
        if !last {
            self.reading = self.measuring.take().map_or(Duration::ZERO, |since| since.elapsed());
            if epoch == self.epoch {
                self.counters = counters;
            }
            return;
        }
        // From here on they stand still, whatever was measured meanwhile.
        if let Counters::Rules(counters) = counters {
            for (nlri, counter) in counters {
                let carried = self.carried.entry(nlri).or_default();
                let before = std::mem::replace(carried, counter);
                carried.add(&before);
            }
        }
        self.counters = Counters::Rules(HashMap::new());
    }

    /// The counts of a rule, if it has some.
    pub(super) fn counter(&self, rule: &engine::RuleRef<'_>) -> Option<Counter> {
        let counter = match &self.counters {
            Counters::Rules(counters) => counters.get(rule.nlri()).copied(),
            Counters::Names(counts) => rule.enforced().map(|effect| counts.of(rule.id(), &effect.policing)),
        };
        let Some(before) = self.carried.get(rule.nlri()) else { return counter };
        let mut counter = counter.unwrap_or_default();
        counter.add(before);
        Some(counter)
    }

    /// A change is in force.
    pub(super) fn succeeded(&mut self, took: Duration) {
        self.applied += 1;
        self.attempts = 0;
        self.retry_at = None;
        self.took = took;
        self.idle();
        tracing::debug!(?took, "applied");
    }

    /// A change was not taken.
    pub(super) fn failed(&mut self, error: String, took: Duration) {
        self.answer_waiting(&Err(error.clone()));
        self.error = Some(error);
        self.failures += 1;
        self.took = took;
        let wait = RETRY.saturating_mul(1 << self.attempts.min(16)).min(RETRY_MAX);
        self.attempts += 1;
        self.retry_at = Some(Instant::now() + wait);
        self.idle();
    }

    fn answer_waiting(&mut self, answer: &Result<bool, String>) {
        for waiting in self.waiting.drain(..) {
            // Who asked may have gone.
            let _ = waiting.send(answer.clone());
        }
    }

    fn idle(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Idle;
        }
    }
}
