//! Bringing the data plane to what is wanted: one change at a time, gathered while another is under way, tried again when it failed.

mod fallback;

use super::{Controller, Surroundings};
use crate::apply::{self, Counters, Order, Report};
use crate::events::{About, Kind};
use crate::samples::Samples;
use anyhow::{Context, Result};
use config::{Backend, Config, release_of_this_machine};
use dataplane::cumulus::{self, Cumulus};
use dataplane::{Condition, Counter, Dataplane, NoDataplane, Usage, nftables, xdp};
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
pub(super) struct Applying {
    orders: std::sync::mpsc::Sender<Order>,
    capabilities: Capabilities,
    debounce: Duration,
    /// What the configuration asks for.
    configured: Blueprint,
    /// What is used: the same, or what takes its place.
    blueprint: Blueprint,
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

impl Applying {
    /// Starts the thread; with it the rules that an earlier run left in force.
    pub(super) fn start(
        config: &Config,
        surroundings: &Surroundings,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<(Self, BTreeSet<RuleId>)> {
        let configured = Blueprint::new(config, surroundings)?;
        let (blueprint, mut dataplane, fallback) = fallback::build(&configured, config, surroundings)?;
        let left = dataplane.leftovers().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot see what an earlier run left in force");
            BTreeSet::new()
        });
        let capabilities = dataplane.capabilities();
        let samples = dataplane.samples().map(Samples::new);
        let report = move |report| drop(reports.send(report));
        let orders = apply::spawn(dataplane, report).context("cannot start a thread")?;
        let applying = Applying {
            orders,
            capabilities,
            debounce: debounce(config),
            configured,
            blueprint,
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
    pub(super) fn exchange(&mut self, config: &Config, surroundings: &Surroundings) -> Result<bool> {
        let configured = Blueprint::new(config, surroundings)?;
        let in_use = self.in_use(&configured, config, surroundings);
        if in_use == self.blueprint {
            self.configured = configured;
            self.debounce = debounce(config);
            return Ok(false);
        }
        let (blueprint, dataplane, fallback) = if in_use == configured {
            fallback::build(&configured, config, surroundings)?
        } else {
            let dataplane = in_use.build()?;
            (in_use, dataplane, self.fallback.take())
        };
        self.configured = configured;
        self.fallback = fallback;
        self.debounce = debounce(config);
        self.switch_to(blueprint, dataplane);
        Ok(true)
    }

    /// Uses this data plane from now on.
    fn switch_to(&mut self, blueprint: Blueprint, dataplane: Box<dyn Dataplane>) {
        self.capabilities = dataplane.capabilities();
        self.samples = dataplane.samples().map(Samples::new);
        self.condition = Condition::default();
        (self.measured, self.looked) = (None, None);
        let retire = !blueprint.takes_over(&self.blueprint);
        if retire {
            self.keep_counts();
        }
        self.blueprint = blueprint;
        self.send(Order::Exchange { dataplane, retire });
        self.retry_at = None;
    }

    /// The name of the back end in use.
    pub(super) fn backend(&self) -> &'static str {
        self.blueprint.name()
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

    fn send(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the data plane's thread is gone");
        }
    }
}

/// What the data plane is built from: two that are equal make the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Blueprint {
    None,
    Nftables(nftables::Options),
    Cumulus(Box<cumulus::Settings>),
    Xdp(xdp::Options),
}

impl Blueprint {
    fn new(config: &Config, surroundings: &Surroundings) -> Result<Self> {
        match config.dataplane.backend {
            Backend::None => Ok(Blueprint::None),
            Backend::Nftables => Ok(Blueprint::nftables(config, surroundings)),
            Backend::Cumulus => {
                let settings = &config.dataplane.cumulus;
                let release = release_of_this_machine();
                // Rules in a chain that the switch's release does not look at would filter nothing.
                anyhow::ensure!(
                    settings.release.or(release).is_some(),
                    "/etc/os-release names no release of Cumulus Linux; say which it is with release in [dataplane.cumulus]"
                );
                Ok(Blueprint::Cumulus(Box::new(settings.settings(&config.dataplane.interfaces, release))))
            }
            // It follows interfaces that come and go by itself.
            Backend::Xdp => Ok(Blueprint::Xdp(config.dataplane.xdp.options(&config.dataplane.interfaces))),
        }
    }

    fn nftables(config: &Config, surroundings: &Surroundings) -> Self {
        let interfaces = match &surroundings.interfaces {
            None => Vec::new(),
            // None of the patterns means anything yet: filtering everywhere instead would be the opposite of what was asked.
            Some(names) if names.is_empty() => vec![nftables::NO_INTERFACE.to_owned()],
            Some(names) => names.clone(),
        };
        let settings = &config.dataplane.nftables;
        Blueprint::Nftables(nftables::Options {
            interfaces,
            unmatched: surroundings.unmatched.clone(),
            sample_group: settings.sample_group,
            sample_octets: settings.sample_octets,
            max_chain_rules: settings.max_chain_rules as usize,
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Blueprint::None => Backend::None.name(),
            Blueprint::Nftables(_) => Backend::Nftables.name(),
            Blueprint::Cumulus(_) => Backend::Cumulus.name(),
            Blueprint::Xdp(_) => Backend::Xdp.name(),
        }
    }

    fn build(&self) -> Result<Box<dyn Dataplane>> {
        match self {
            Blueprint::None => Ok(Box::new(NoDataplane::new())),
            Blueprint::Nftables(options) => {
                Ok(Box::new(nftables::Nftables::open(options.clone()).context("nftables")?))
            }
            Blueprint::Cumulus(settings) => {
                let (v4, v6) = settings.budget();
                let (release, asic) = (settings.release, settings.asic.name());
                tracing::info!(%release, asic, v4, v6, directory = %settings.policy_directory.display(), "hardware ACLs");
                Ok(Box::new(Cumulus::new(settings.as_ref().clone())))
            }
            Blueprint::Xdp(options) => Ok(Box::new(xdp::Xdp::open(options.clone()).context("xdp")?)),
        }
    }

    /// Whether what is built finds and replaces what `old` has in force; what another has is to be taken out.
    fn takes_over(&self, old: &Blueprint) -> bool {
        match (self, old) {
            (Blueprint::None, Blueprint::None) | (Blueprint::Nftables(_), Blueprint::Nftables(_)) => true,
            (Blueprint::Cumulus(new), Blueprint::Cumulus(old)) => new.policy_directory == old.policy_directory,
            (Blueprint::Xdp(new), Blueprint::Xdp(old)) => new.directory == old.directory,
            (Blueprint::None | Blueprint::Nftables(_) | Blueprint::Cumulus(_) | Blueprint::Xdp(_), _) => false,
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

impl Controller {
    /// Sends the next change, if there is one and its time has come.
    pub(super) fn apply_what_is_due(&mut self) {
        let applying = &mut self.applying;
        let now = Instant::now();
        if applying.phase != Phase::Idle || applying.retry_at.is_some_and(|at| at > now) || self.leftovers.is_some() {
            return;
        }
        applying.retry_at = None;
        if !self.engine.has_failures() {
            applying.trouble_at = None;
        } else if *applying.trouble_at.get_or_insert(now + RETRY_MAX) <= now {
            applying.trouble_at = Some(now + RETRY_MAX);
            self.engine.retry();
        }
        if !self.engine.has_pending_changes() {
            applying.gather_until = None;
            applying.answer_waiting(&Ok(true));
            return;
        }
        let due = *applying.gather_until.get_or_insert(now + applying.debounce);
        if due > now {
            return;
        }
        applying.gather_until = None;
        self.show_before();
        let change = self.engine.next_transaction();
        self.tell_rejected();
        // What the kernel filters, the state file knows.
        self.save_changes();
        if let Some(ticket) = self.state.latest() {
            self.applying.send(Order::Await(ticket));
        }
        let order = match change {
            Some(engine::Transaction::Full(rules)) => Order::Replace(rules),
            Some(engine::Transaction::Plan(plan)) => {
                for nlri in plan.remove.iter().filter(|nlri| self.engine.rule(nlri).is_none()) {
                    self.applying.carried.remove(nlri);
                }
                Order::Update(plan)
            }
            // Something changed and changed back.
            None => return,
        };
        self.applying.phase = Phase::Running;
        self.applying.send(order);
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
                let applying = &mut self.applying;
                if applying.error.take().is_some() {
                    tracing::info!("the data plane takes changes again");
                }
                applying.succeeded(took);
            }
            Report::Applied { outcome: Err(error), .. } if self.fall_back(&error) => {}
            Report::Applied { outcome: Err(error), took } => {
                tracing::error!(%error, "the data plane did not take a change; what was in force stays, and it is tried again");
                self.history.record(Kind::ApplyFailed, About::words(error.to_string()));
                self.engine.apply_failed(&error.to_string());
                self.applying.failed(error.to_string(), took);
            }
            Report::Unfiltered { why, condition } => {
                self.applying.condition = condition;
                match &why {
                    Some(why) => tracing::error!("NOTHING IS FILTERED: {why}"),
                    None => tracing::info!("packets are filtered again"),
                }
                self.engine.set_unfiltered(why);
            }
            Report::Damaged(how) if self.applying.phase == Phase::Idle && self.applying.retry_at.is_none() => {
                tracing::warn!(%how, "somebody changed our filters; they are put back");
                self.history.record(Kind::Damaged, About::words(how));
                self.applying.damages += 1;
                self.engine.reload();
            }
            // A change is under way or about to be: if it does not help, the next look tells.
            Report::Damaged(_) => {}
            Report::Changed(what) => {
                tracing::info!(%what, "this changed: all rules are looked at again");
                self.engine.reload();
            }
            Report::Blind(error) => tracing::warn!(%error, "cannot see whether our filters are still there"),
            Report::Looked { usage, condition, epoch } => {
                self.applying.looked(usage, condition, epoch);
                if !self.applying.are_counters_near() {
                    self.answer_what_waits();
                }
            }
            Report::Measured { counters, last, epoch } => {
                if last {
                    self.applying.carried.retain(|nlri, _| self.engine.rule(nlri).is_some());
                }
                self.applying.measured(counters, last, epoch);
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
}

impl Applying {
    fn looked(&mut self, usage: Usage, condition: Condition, epoch: Option<u64>) {
        self.looking &= epoch.is_none();
        // It may be of a data plane that is not used any more.
        if epoch.is_none_or(|epoch| epoch == self.epoch) {
            self.usage = usage;
            self.condition = condition;
            self.looked = Some(Instant::now());
        }
    }

    fn measured(&mut self, counters: Counters, last: bool, epoch: u64) {
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

    fn succeeded(&mut self, took: Duration) {
        self.applied += 1;
        self.attempts = 0;
        self.retry_at = None;
        self.took = took;
        self.idle();
        tracing::debug!(?took, "applied");
    }

    fn failed(&mut self, error: String, took: Duration) {
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
