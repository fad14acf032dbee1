//! The thread that owns the data plane. Its calls block (seconds on some hardware), so it runs beside the sessions and the decisions: one
//! order at a time goes in, reports come back, and between orders it looks every second whether what was applied is still there.

use crate::state_file::Ticket;
use dataplane::{Condition, Counter, Counts, Dataplane, DataplaneError, Health, Usage};
use engine::plan::{Applied, Plan, Ruleset};
use flowspec::Nlri;
use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the data plane is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// A change waits so long for the state file at most, once until that has caught up: filtering is worth more than knowing after a crash what was filtered.
const STATE_PATIENCE: Duration = Duration::from_millis(500);

/// A change that takes so long leaves much memory behind that is free, but not given back.
const LARGE: Duration = Duration::from_millis(100);

/// What the thread is told to do.
pub(crate) enum Order {
    /// Wait until the state file has what is about to be applied; not for ever.
    Await(Ticket),
    /// Put exactly these rules in force, whatever is there.
    Replace(Ruleset),
    /// Apply a difference to what was applied before.
    Update(Plan),
    /// Look at usage and condition, and read counters.
    Measure {
        /// Counters, too.
        counters: bool,
        /// What counts is about to be taken out.
        last: bool,
        /// Comes back with the answer.
        epoch: u64,
    },
    /// Use this data plane from now on.
    Exchange {
        /// The new one.
        dataplane: Box<dyn Dataplane>,
        /// What the old one enforces is not in the new one's hands: it is taken out once the new one has rules in force.
        retire: bool,
    },
    /// End; take out all that is ours first, or leave it.
    Stop {
        /// Whether the filters go.
        remove: bool,
    },
}

/// What it reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// The outcome of a [`Order::Replace`] or [`Order::Update`].
    Applied {
        /// What is in force now; on failure, what was in force before still is.
        outcome: Result<Applied, DataplaneError>,
        /// How long it took.
        took: Duration,
    },
    /// Why no packet meets the rules although they are in force; `None`: packets do. Told when it changes, and before the outcome of a change.
    Unfiltered {
        /// In words.
        why: Option<String>,
        /// How it is doing now, so that all that is shown agrees.
        condition: Condition,
    },
    /// Somebody else changed or removed what we applied; in words.
    ExternalChange(String),
    /// Other rules than before can be in force; in words, what is otherwise.
    ConditionChanged(String),
    /// The look at the data plane failed; in words.
    HealthCheckFailed(String),
    /// The first part of the answer to [`Order::Measure`], and told ahead of the first change that is applied.
    Looked {
        /// Entries and memory.
        usage: Usage,
        /// How it is doing beside the rules.
        condition: Condition,
        /// As in the order; `None` without an order.
        epoch: Option<u64>,
    },
    /// The counters that [`Order::Measure`] asked for.
    Measured {
        /// What was counted.
        counters: Counters,
        /// As in the order.
        last: bool,
        /// As in the order.
        epoch: u64,
    },
    /// The thread ends; why not all could be taken out.
    Stopped(Result<(), DataplaneError>),
}

/// Counters as a data plane tells them.
#[derive(Clone, Debug)]
pub(crate) enum Counters {
    /// Of each rule in force.
    Rules(HashMap<Arc<Nlri>, Counter>),
    /// By short names.
    Names(Arc<Counts>),
}

/// Starts the thread. `report` is called on it, or on one that reads counters, and must not block.
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
    /// Something of ours is in force, so that its absence means something.
    in_force: bool,
    health_check_failing: bool,
    /// As told.
    unfiltered: Option<String>,
    /// A large change was applied since memory was given back.
    trim_due: bool,
    /// The last change was applied before the state file had it.
    ahead: bool,
    /// As last read beside the changes.
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
                    self.look();
                    if std::mem::take(&mut self.trim_due) {
                        give_memory_back();
                    }
                    next_look = Instant::now() + HEALTH_INTERVAL;
                }
                // The rest of the program is gone without a word: what is in force stays in force.
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
                // What is about to be taken out has no condition worth telling.
                if !*last {
                    self.tell_condition(Some(*epoch));
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
            tracing::error!(backend = old.name(), %error, "filters of the former data plane could not be taken out");
        }
        let took = began.elapsed();
        self.trim_due |= took > LARGE;
        if is_first {
            self.tell_condition(None);
        }
        self.look_at_interfaces();
        (self.report)(Report::Applied { outcome, took });
        // The memory of many rules takes as long to give back as some changes take to apply: the next one does not wait for it.
        if took > LARGE {
            // Without another thread it is given back here, with the closure.
            let _ = std::thread::Builder::new().name("free".to_owned()).spawn(move || drop(order));
        }
    }

    fn wait_for(&mut self, ticket: &Ticket) {
        // A disk that was waited for in vain is not waited for again until it has caught up.
        let patience = if self.ahead { Duration::ZERO } else { STATE_PATIENCE };
        let behind = !ticket.wait(patience);
        if behind && !self.ahead {
            tracing::warn!("the state file is slower than the data plane: changes are applied before they are in it");
        }
        self.ahead = behind;
    }

    fn tell_condition(&mut self, epoch: Option<u64>) {
        let usage = self.dataplane.usage().unwrap_or_default();
        let condition = self.dataplane.condition();
        (self.report)(Report::Looked { usage, condition, epoch });
    }

    fn measure(&mut self, last: bool, epoch: u64) {
        let reading = if last { None } else { self.dataplane.reading() };
        if let Some(reading) = reading {
            let (report, known) = (self.report.clone(), Arc::clone(&self.counts));
            let read = move || {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                match reading() {
                    Ok(mut counts) => {
                        counts.not_before(&known);
                        *known = Arc::new(counts);
                    }
                    Err(error) => tracing::warn!(%error, "cannot read counters"),
                }
                let counters = Counters::Names(Arc::clone(&known));
                report(Report::Measured { counters, last, epoch });
            };
            // Many counters take seconds, and changes do not wait for them.
            if std::thread::Builder::new().name("counters".to_owned()).spawn(read).is_ok() {
                return;
            }
        }
        let counters = self.dataplane.counters().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read counters");
            Vec::new()
        });
        let counters = Counters::Rules(counters.into_iter().collect());
        (self.report)(Report::Measured { counters, last, epoch });
    }

    fn look_at_interfaces(&mut self) {
        let unfiltered = if self.in_force { self.dataplane.unfiltered() } else { None };
        if unfiltered != self.unfiltered {
            self.unfiltered.clone_from(&unfiltered);
            let condition = self.dataplane.condition();
            (self.report)(Report::Unfiltered { why: unfiltered, condition });
        }
    }

    fn look(&mut self) {
        if !self.in_force {
            return;
        }
        self.look_at_interfaces();
        match self.dataplane.health() {
            Ok(Health::Intact) => self.health_check_failing = false,
            Ok(Health::ExternalChange(how)) => (self.report)(Report::ExternalChange(how)),
            Ok(Health::ConditionChanged(what)) => (self.report)(Report::ConditionChanged(what)),
            // Said once, not every second.
            Err(error) if !self.health_check_failing => {
                self.health_check_failing = true;
                (self.report)(Report::HealthCheckFailed(error.to_string()));
            }
            Err(_) => {}
        }
    }
}

/// Free memory goes back to the system; by itself the allocator keeps what it had at the highest.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::capability::Capabilities;

    /// A back end with a bug.
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
