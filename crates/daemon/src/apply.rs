//! The data plane thread. Its calls block (seconds on some hardware), so it runs beside the
//! sessions and the engine: it executes one order at a time and sends reports back. Between orders
//! it checks every second that what was applied is still in force.

use crate::state_file::Ticket;
use dataplane::{Condition, Counter, Counts, Dataplane, DataplaneError, Health, Usage};
use engine::plan::{Applied, Plan, Ruleset};
use flowspec::Nlri;
use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Interval between two health checks of the data plane.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time that a change waits for the state file. It waits once, then not again until the
/// file has caught up: filtering matters more than knowing after a crash what was filtered.
const STATE_FILE_TIMEOUT: Duration = Duration::from_millis(500);

/// A change that takes this long leaves much freed memory in the allocator.
const LONG_CHANGE: Duration = Duration::from_millis(100);

/// An order to the thread.
pub(crate) enum Order {
    /// Wait, for a limited time, until the state file contains what is about to be applied.
    Await(Ticket),
    /// Put exactly these rules in force, whatever is in force now.
    Replace(Ruleset),
    /// Apply a difference to what was applied before.
    Update(Plan),
    /// Read usage, condition and counters.
    Measure {
        /// Whether to read counters, too.
        counters: bool,
        /// Filters are about to be removed, and their counters with them.
        last: bool,
        /// Returned with the answer.
        epoch: u64,
    },
    /// Use this data plane from now on.
    Exchange {
        /// The new data plane.
        dataplane: Box<dyn Dataplane>,
        /// The new data plane does not take over what the old one enforces: that is removed once
        /// the new one has rules in force.
        retire: bool,
    },
    /// Stop; remove our filters first, or leave them.
    Stop {
        /// Whether the filters are removed.
        remove: bool,
    },
}

/// A report of the thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// The outcome of a [`Order::Replace`] or [`Order::Update`].
    Applied {
        /// What is in force now; on failure, what was in force before still is.
        outcome: Result<Applied, DataplaneError>,
        /// How long it took.
        took: Duration,
    },
    /// Why no packet reaches the rules although they are in force; `None`: packets do. Sent when it
    /// changes, and before the outcome of a change.
    Unfiltered {
        /// The reason, for people.
        why: Option<String>,
        /// The condition of the data plane now, so that everything shown agrees.
        condition: Condition,
    },
    /// Another program changed or removed what we applied; how, for people.
    ExternalChange(String),
    /// Different rules can be in force than before; what has changed, for people.
    ConditionChanged(String),
    /// The health check of the data plane failed; why, for people.
    HealthCheckFailed(String),
    /// The first part of the answer to [`Order::Measure`]; also sent before the first change that
    /// is applied.
    Looked {
        /// Entries and memory.
        usage: Usage,
        /// The data plane's condition, apart from the rules.
        condition: Condition,
        /// The epoch of the order; `None` without an order.
        epoch: Option<u64>,
    },
    /// The counters that [`Order::Measure`] asked for.
    Measured {
        /// The counters.
        counters: Counters,
        /// The value of the order.
        last: bool,
        /// The value of the order.
        epoch: u64,
        /// When they were read: the middle of that time.
        at: Instant,
    },
    /// The thread ends; the error says why not everything could be removed.
    Stopped(Result<(), DataplaneError>),
}

/// Counters in the form that a data plane returns.
#[derive(Clone, Debug)]
pub(crate) enum Counters {
    /// By rule in force.
    Rules(Arc<HashMap<Arc<Nlri>, Counter>>),
    /// By the short names of counters.
    Names(Arc<Counts>),
}

impl Default for Counters {
    fn default() -> Self {
        Counters::Rules(Arc::default())
    }
}

/// Starts the thread. `report` is called on it, or on the thread that reads counters, and must not
/// block.
pub(crate) fn spawn(
    dataplane: Box<dyn Dataplane>,
    report: impl Fn(Report) + Clone + Send + 'static,
) -> std::io::Result<mpsc::Sender<Order>> {
    let (orders, inbox) = mpsc::channel();
    std::thread::Builder::new()
        .name("dataplane".to_owned())
        .spawn(move || Worker::new(dataplane, report).run(&inbox))?;
    Ok(orders)
}

struct Worker<F> {
    dataplane: Box<dyn Dataplane>,
    retired: Option<Box<dyn Dataplane>>,
    report: F,
    /// Some of our rules are in force, so that their absence is an error.
    in_force: bool,
    health_check_failing: bool,
    /// The last value that was reported.
    unfiltered: Option<String>,
    /// A large change was applied since memory was last trimmed.
    trim_due: bool,
    /// The last change was applied before the state file had it.
    ahead: bool,
    /// The last values that were read outside of changes.
    counts: Arc<Mutex<Arc<Counts>>>,
}

impl<F: Fn(Report) + Clone + Send + 'static> Worker<F> {
    fn new(dataplane: Box<dyn Dataplane>, report: F) -> Self {
        Worker {
            dataplane,
            retired: None,
            report,
            in_force: false,
            health_check_failing: false,
            unfiltered: None,
            trim_due: false,
            ahead: false,
            counts: Arc::default(),
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        let mut next_look = Instant::now() + HEALTH_INTERVAL;
        loop {
            match inbox.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(Order::Stop { remove }) => {
                    let outcome = if remove { self.dataplane.clear() } else { Ok(()) };
                    (self.report)(Report::Stopped(outcome));
                    return;
                }
                Ok(Order::Exchange { dataplane, retire }) => self.exchange(dataplane, retire),
                Ok(order) => self.execute(order),
                Err(RecvTimeoutError::Timeout) => {
                    self.check_health();
                    if std::mem::take(&mut self.trim_due) {
                        trim_memory();
                    }
                    next_look = Instant::now() + HEALTH_INTERVAL;
                }
                // The sender was dropped without an order to stop: what is in force stays in force.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn exchange(&mut self, dataplane: Box<dyn Dataplane>, retire: bool) {
        let old = std::mem::replace(&mut self.dataplane, dataplane);
        if retire {
            self.retired = Some(old);
        }
        self.in_force = false;
        self.counts = Arc::default();
    }

    fn execute(&mut self, order: Order) {
        let began = Instant::now();
        let outcome = match &order {
            Order::Replace(rules) => self.dataplane.replace(rules),
            Order::Update(plan) => self.dataplane.update(plan),
            Order::Await(ticket) => return self.wait_for(ticket),
            Order::Measure { counters, last, epoch } => {
                // The condition of a data plane that is about to be removed is of no interest.
                if !*last {
                    self.report_condition(Some(*epoch));
                }
                if *counters {
                    self.measure(*last, *epoch);
                }
                return;
            }
            Order::Exchange { .. } | Order::Stop { .. } => return,
        };
        let is_first = outcome.is_ok() && !self.in_force;
        self.in_force |= outcome.is_ok();
        if outcome.is_ok()
            && let Some(mut old) = self.retired.take()
            && let Err(error) = old.clear()
        {
            tracing::error!(backend = old.name(), %error, "filters of the former data plane could not be removed");
        }
        let took = began.elapsed();
        self.trim_due |= took > LONG_CHANGE;
        if is_first {
            self.report_condition(None);
        }
        self.check_interfaces();
        (self.report)(Report::Applied { outcome, took });
        // Freeing the memory of many rules takes as long as some changes take to apply: it must not
        // delay the next one.
        if took > LONG_CHANGE {
            // If no thread can be started, the memory is freed here, with the closure.
            let _ = std::thread::Builder::new().name("free".to_owned()).spawn(move || drop(order));
        }
    }

    fn wait_for(&mut self, ticket: &Ticket) {
        // After a timeout, do not wait again until the disk has caught up.
        let timeout = if self.ahead { Duration::ZERO } else { STATE_FILE_TIMEOUT };
        let behind = !ticket.wait(timeout);
        if behind && !self.ahead {
            tracing::warn!("the state file is slower than the data plane: changes are applied before they are in it");
        }
        self.ahead = behind;
    }

    fn report_condition(&mut self, epoch: Option<u64>) {
        let usage = self.dataplane.usage().unwrap_or_default();
        let condition = self.dataplane.condition();
        (self.report)(Report::Looked { usage, condition, epoch });
    }

    fn measure(&mut self, last: bool, epoch: u64) {
        let reading = if last { None } else { self.dataplane.reading() };
        if let Some(reading) = reading {
            let (report, known) = (self.report.clone(), Arc::clone(&self.counts));
            let read = move || {
                let began = Instant::now();
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                match reading() {
                    Ok(mut counts) => {
                        counts.not_before(&known);
                        *known = Arc::new(counts);
                    }
                    Err(error) => tracing::warn!(%error, "cannot read counters"),
                }
                let counters = Counters::Names(Arc::clone(&known));
                report(Report::Measured { counters, last, epoch, at: began + began.elapsed() / 2 });
            };
            // Reading many counters takes seconds; changes must not wait for it.
            if std::thread::Builder::new().name("counters".to_owned()).spawn(read).is_ok() {
                return;
            }
        }
        let began = Instant::now();
        let counters = self.dataplane.counters().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read counters");
            Vec::new()
        });
        let counters = Counters::Rules(Arc::new(counters.into_iter().collect()));
        (self.report)(Report::Measured { counters, last, epoch, at: began + began.elapsed() / 2 });
    }

    fn check_interfaces(&mut self) {
        let unfiltered = if self.in_force { self.dataplane.unfiltered() } else { None };
        if unfiltered != self.unfiltered {
            self.unfiltered.clone_from(&unfiltered);
            let condition = self.dataplane.condition();
            (self.report)(Report::Unfiltered { why: unfiltered, condition });
        }
    }

    fn check_health(&mut self) {
        if !self.in_force {
            return;
        }
        self.check_interfaces();
        match self.dataplane.health() {
            Ok(Health::Intact) => self.health_check_failing = false,
            Ok(Health::ExternalChange(how)) => (self.report)(Report::ExternalChange(how)),
            Ok(Health::ConditionChanged(what)) => (self.report)(Report::ConditionChanged(what)),
            // Report it once, not every second.
            Err(error) if !self.health_check_failing => {
                self.health_check_failing = true;
                (self.report)(Report::HealthCheckFailed(error.to_string()));
            }
            Err(_) => {}
        }
    }
}

/// Returns free memory to the system; by default the allocator keeps its peak.
fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes a number, and locks the data that it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::capability::Capabilities;

    /// A back end that panics.
    struct Broken;

    impl Dataplane for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::everything("broken")
        }
        fn replace(&mut self, _: &Ruleset) -> Result<Applied, DataplaneError> {
            panic!("a bug")
        }
        fn update(&mut self, _: &Plan) -> Result<Applied, DataplaneError> {
            panic!("a bug")
        }
        fn health(&mut self) -> Result<Health, DataplaneError> {
            Ok(Health::Intact)
        }
        fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
            Ok(Vec::new())
        }
        fn usage(&mut self) -> Result<Usage, DataplaneError> {
            Ok(Usage::default())
        }
        fn clear(&mut self) -> Result<(), DataplaneError> {
            Ok(())
        }
    }

    #[test]
    fn a_bug_in_a_back_end_ends_the_reports() {
        let (sender, reports) = mpsc::channel();
        let orders = spawn(Box::new(Broken), move |report| drop(sender.send(report))).expect("a thread");
        orders.send(Order::Replace(Ruleset::default())).expect("it listens");
        let heard = reports.recv_timeout(Duration::from_secs(10));
        assert!(matches!(heard, Err(RecvTimeoutError::Disconnected)), "{heard:?}");
    }
}
