//! The controller. It owns the engine and runs on a thread of its own: decisions on 100,000 rules
//! must not delay a keepalive.
//!
//! Every event arrives as a message. After each batch of messages, the difference between the
//! desired and the applied state goes to the data plane thread, one change at a time; further
//! changes gather meanwhile. [`Controller`] passes each event to the type that handles it. Each
//! type documents its invariant and keeps its fields private:
//!
//! ```text
//!   PeerMessage ───────▶ PeerSessions ───────────────┐
//!   Command ──changes──▶ LocalRules, FilterPause ────┼──▶ Engine ──Transaction──▶ DataplaneDriver ──Order──▶ apply
//!      └──────looks────▶ Answers ◀── Requests        │       │                     Pacing, Measurements       │
//!   SupervisorMessage ─▶ config, environment ────────┘       └──changed rules──▶ StateWriter          ◀──Report
//!   time ──────────────▶ all of them, EarlierRun, StatusBoard
//! ```
//!
//! Each type reports events through [`EventLog`].

mod answers;
mod dataplane_driver;
mod earlier_run;
mod event_log;
mod explanations;
mod filter_pause;
mod incidents;
mod leftovers;
mod local_rules;
mod malformed;
mod measurements;
pub(crate) mod messages;
mod pacing;
mod peer_sessions;
mod peer_updates;
mod requests;
mod session_context;
mod state_writer;
mod status_board;
mod tally;
mod traffic;
mod unenforced;

/// Limits that the manual lists.
pub(crate) mod limits {
    pub(crate) use super::malformed::{NLRIS, OCTETS};
    pub(crate) use super::tally::MAX_COUNTED_AT_ONCE;
}

use crate::apply::Report;
use crate::clock;
use crate::command::Command;
use crate::convert::{self, LOCAL};
use crate::events::EventSubject;

use crate::host_environment::HostEnvironment;
use crate::http::PublishedOverview;
use crate::net::PeerMessage;
use crate::policy_trace::{self, PolicyQuestionError, explain_policy};
use answers::Answers;
use anyhow::{Context, Result};
use api::{EventKind, PolicyExplanation, PolicyQuestion};
use config::{Config, Mode};
use dataplane_driver::{Consequence, DataplaneDriver};
use earlier_run::{EarlierRun, restore_rules};
use engine::{Engine, EngineConfig, PeerId, Transaction};
use event_log::{EventLog, Subject};
use filter_pause::{FilterPause, PauseContext};
use incidents::Incidents;
use local_rules::{LocalContext, LocalRules};
use measurements::READ_TIMEOUT;
use messages::{Queues, SessionRequest, Setup, SupervisorMessage};
use peer_sessions::PeerSessions;
use requests::Requests;
use session_context::SessionContext;
use state_writer::StateWriter;
use status_board::StatusBoard;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use traffic::Traffic;

/// Most updates handled before other messages are checked.
const BATCH: usize = 64;

/// Longest time for the same.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// Interval of the timer for lifetimes of rules and session deadlines, which are whole seconds.
const TICK: Duration = Duration::from_millis(250);

/// The controller: passes each event to the types that handle it, and their results to those that
/// need them. Each type keeps its own invariant; the controller keeps those between them: what is
/// in force has been passed to the state file first, and nothing is answered before it is true.
pub(crate) struct Controller {
    config: Arc<Config>,
    environment: HostEnvironment,
    engine: Engine,
    sessions: PeerSessions,
    requests: Requests,
    local: LocalRules,
    pause: FilterPause,
    driver: DataplaneDriver,
    traffic: Traffic,
    incidents: Incidents,
    state: StateWriter,
    events: EventLog,
    board: StatusBoard,
    earlier_run: EarlierRun,
    listening: Vec<SocketAddr>,
    next_tick: Instant,
    started: SystemTime,
}

impl Controller {
    /// Starts the thread; the receiver is answered when it has ended.
    pub(crate) fn spawn(setup: Setup, queues: Queues) -> Result<oneshot::Receiver<()>> {
        let (ended, end) = oneshot::channel();
        let (reports, report_queue) = mpsc::unbounded_channel();
        let core = Controller::new(setup, queues.session_requests.clone(), queues.shown.clone(), reports)?;
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                let mut core = core;
                match runtime {
                    Ok(runtime) => runtime.block_on(core.run(queues, report_queue)),
                    Err(error) => tracing::error!(%error, "cannot start the engine"),
                }
                // Send the answer before the memory of all rules is freed; the end of the process
                // frees it at once.
                let _ = ended.send(());
                drop(core);
            })
            .context("cannot start a thread")?;
        Ok(end)
    }

    fn new(
        setup: Setup,
        session_requests: mpsc::Sender<SessionRequest>,
        shown: watch::Sender<PublishedOverview>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self> {
        let Setup { config, ids, environment, loaded, originated } = setup;
        let (driver, in_force) = DataplaneDriver::spawn(&config, &environment, reports)?;
        let mut sessions = PeerSessions::new(&config, &ids, session_requests);
        let mut engine = Engine::new(engine_config(&config, &environment, &sessions, &driver));
        let (mut local, mut pause) = (LocalRules::new(originated), FilterPause::default());
        let mut state = StateWriter::open(&config, &loaded);
        let mut events = EventLog::new(config.api.history);
        events.record(EventKind::Started, EventSubject::default());
        let stale_time = config.state.stale_time.0;
        let restored = restore_rules(loaded, stale_time, &mut engine, &mut sessions, &mut local);
        local.restored(&engine);
        if restored.dropped {
            state.request_rewrite();
        }
        if let Some(of_earlier_run) = restored.pause {
            pause.restore(of_earlier_run, &mut engine);
        }
        state.mark_time();
        let now = Instant::now();
        let traffic = Traffic::new(in_force.clone(), now);
        let incidents = Incidents::new(&config, now);
        let earlier_run = EarlierRun::new(in_force, pause.is_on(), now + stale_time, &mut engine);
        Ok(Controller {
            config,
            environment,
            engine,
            sessions,
            requests: Requests::new(READ_TIMEOUT),
            local,
            pause,
            driver,
            traffic,
            incidents,
            state,
            events,
            board: StatusBoard::new(shown, now),
            earlier_run,
            listening: Vec::new(),
            next_tick: now + TICK,
            started: SystemTime::now(),
        })
    }

    async fn run(&mut self, mut queues: Queues, mut reports: mpsc::UnboundedReceiver<Report>) {
        loop {
            // Before anybody is shown that rules are retained.
            self.state.save_retention(self.sessions.take_unsaved_retention());
            self.apply_pending();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                report = reports.recv() => {
                    let Some(report) = report else {
                        // The data plane thread panicked. Continuing would mean to decide and never
                        // enforce; a restart takes the filters over.
                        tracing::error!("the data plane thread has ended");
                        return;
                    };
                    self.board.changed();
                    if self.on_report(report) {
                        return;
                    }
                }
                Some(change) = queues.changes.recv() => {
                    self.board.changed();
                    self.incidents.changed(Instant::now());
                    self.change(change);
                }
                Some(command) = queues.commands.recv() => {
                    if !command.is_look() {
                        self.board.changed();
                        self.incidents.changed(Instant::now());
                    }
                    self.on_command(command);
                    // However many requests there are, messages of peers are handled, too.
                    self.drain_peer_events(&mut queues.peers);
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.tick();
                    self.drain_peer_events(&mut queues.peers);
                }
                Some(from) = queues.peers.recv() => {
                    self.board.changed();
                    self.on_peer_event(from);
                    self.drain_peer_events(&mut queues.peers);
                }
            }
        }
    }

    fn drain_peer_events(&mut self, peers: &mut mpsc::Receiver<PeerMessage>) {
        let began = Instant::now();
        for _ in 0..BATCH {
            let Ok(from) = peers.try_recv() else { return };
            self.board.changed();
            self.on_peer_event(from);
            if began.elapsed() >= BATCH_TIME {
                return;
            }
        }
    }

    /// Sends the next change, if there is one and it is due.
    fn apply_pending(&mut self) {
        let now = Instant::now();
        if self.earlier_run.holds_changes_back() || !self.driver.is_change_due(&mut self.engine, now) {
            return;
        }
        self.publish_if_due();
        let change = self.engine.next_transaction();
        unenforced::record_newly_rejected(&mut self.engine, &mut self.events, &self.sessions, now);
        if let Some(Transaction::Plan(plan)) = &change {
            let gone = plan.remove.iter().filter(|nlri| self.engine.rule(nlri).is_none());
            gone.for_each(|nlri| self.traffic.forget(nlri.id(), now));
        }
        // The state file contains what the kernel filters.
        let Controller { state, engine, sessions, incidents, .. } = self;
        state.save_changes(engine, sessions.table(), |nlri, paths| incidents.note(nlri, paths));
        self.driver.start(change, self.state.latest(), &self.engine);
    }

    /// Handles a report of the data plane thread; true at its end.
    fn on_report(&mut self, report: Report) -> bool {
        let now = Instant::now();
        match &report {
            Report::Applied { .. } | Report::Unfiltered { .. } => self.incidents.applied(now),
            Report::ExternalChange(_) | Report::ConditionChanged(_) => self.incidents.changed(now),
            Report::HealthCheckFailed(_) | Report::Looked { .. } | Report::Measured { .. } | Report::Stopped(_) => {}
        }
        match self.driver.on_report(report, &mut self.engine, &mut self.events, now) {
            Consequence::None => {}
            Consequence::NotInForce(rules) => {
                for nlri in &rules {
                    unenforced::record_unenforced(nlri, &self.engine, &mut self.events, &self.sessions, now);
                }
            }
            Consequence::BackendChanged => self.engine.reconfigure(self.engine_config()),
            Consequence::CountersKnown => {
                let whole = self.traffic.take(self.driver.known(), &self.engine, &mut self.incidents, now);
                self.board.counters_changed(whole);
                self.answer_waiting();
            }
            Consequence::Ended => {
                self.incidents.close(now);
                return true;
            }
        }
        false
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        if command.shows_counters() && self.driver.measure(now) {
            self.requests.wait(command, now);
        } else {
            self.answer(command);
        }
    }

    /// The counters that were asked for have come.
    fn answer_waiting(&mut self) {
        for command in self.requests.take_all() {
            self.answer(command);
        }
    }

    fn answer(&mut self, command: Command) {
        // The receiver may have been dropped: a failed send is not an error.
        match command {
            Command::Status(answer) => drop(answer.send(self.answers().status_alone())),
            Command::Busiest(most, answer) => drop(answer.send(self.traffic.busiest(most))),
            Command::Overview(answer) => drop(answer.send(self.answers().overview())),
            Command::Rules { filter, after, answer } => drop(answer.send(self.answers().rules_page(&filter, after))),
            Command::Find { id, after, answer } => drop(answer.send(self.answers().find(id, after))),
            Command::Rule(nlri, answer) => {
                let answers = self.answers();
                drop(answer.send(self.engine.rule(&nlri).map(|rule| answers.view(&rule))));
            }
            Command::Select { selection, after, answer } => drop(answer.send(self.answers().select(&selection, after))),
            Command::RulesOf(nlris, answer) => drop(answer.send(self.answers().rules_of(&nlris))),
            Command::Explain { packet, search, answer } => {
                drop(answer.send(explanations::explain(&self.engine, &packet, search)))
            }
            Command::Policy(question, answer) => drop(answer.send(self.explain_policy(&question))),
            Command::History(count, answer) => drop(answer.send(self.events.latest(count))),
            Command::HistoryFile(answer) => drop(answer.send(self.incidents.file())),
            Command::Samples(answer) => drop(answer.send(self.driver.samples())),
            Command::Watch(answer) => drop(answer.send(self.events.watch())),
            Command::Applied(answer) => drop(answer.send(self.driver.when_applied())),
            Command::Announce { rule, lifetime, by, grant, answer } => {
                let (local, context) = self.local_rules();
                drop(answer.send(local.announce(*rule, lifetime, by, grant.as_deref(), context)));
            }
            Command::Withdraw { rule, by, grant, answer } => {
                let (local, context) = self.local_rules();
                drop(answer.send(local.withdraw(&rule, by, grant.as_deref(), context)));
            }
            Command::Clear(by, answer) => {
                let (local, context) = self.local_rules();
                drop(answer.send(local.clear(by, context)));
            }
            Command::Pause { lifetime, by, answer } => {
                let (pause, context) = self.filter_pause();
                let paused = pause.begin(lifetime, by, context);
                self.end_leftovers_if_due();
                drop(answer.send(paused));
            }
            Command::Resume(by, answer) => {
                let (pause, context) = self.filter_pause();
                drop(answer.send(pause.end(Some(by), context)));
            }
        }
    }

    fn answers(&self) -> Answers<'_> {
        Answers {
            config: &self.config,
            environment: &self.environment,
            engine: &self.engine,
            sessions: &self.sessions,
            driver: &self.driver,
            traffic: &self.traffic,
            state: &self.state,
            incidents: &self.incidents,
            board: &self.board,
            earlier_run: &self.earlier_run,
            local: &self.local,
            pause: self.pause.get(),
            listening: &self.listening,
            started: self.started,
        }
    }

    fn local_rules(&mut self) -> (&mut LocalRules, LocalContext<'_>) {
        let Controller { local, engine, events, state, sessions, incidents, .. } = self;
        (local, LocalContext { engine, events, state, peers: sessions.table(), incidents })
    }

    fn filter_pause(&mut self) -> (&mut FilterPause, PauseContext<'_>) {
        let Controller { pause, engine, driver, events, state, .. } = self;
        (pause, PauseContext { engine, driver, events, state })
    }

    fn end_leftovers_if_due(&mut self) {
        let (paused, peers) = (self.pause.is_on(), self.sessions.table());
        self.earlier_run.end_leftovers_if_due(Instant::now(), paused, peers, &self.engine);
    }

    /// Publishes the status for those who do not wait for an answer: before something that may take
    /// long, unless it is known already.
    fn publish_if_due(&mut self) {
        let now = Instant::now();
        if self.board.is_due(now, &self.engine) {
            let overview = self.answers().overview();
            self.board.show(overview, now);
        }
    }

    fn on_peer_event(&mut self, message: PeerMessage) {
        self.incidents.changed(Instant::now());
        let (engine, events) = (&mut self.engine, &mut self.events);
        let mut context = SessionContext { engine, events, time: clock::now(), now: Instant::now() };
        self.sessions.on_event(message, &mut context);
    }

    fn change(&mut self, change: SupervisorMessage) {
        match change {
            SupervisorMessage::Configure { config, ids, environment, by, done } => {
                let exchange = self.exchange(&config, &environment);
                if exchange.is_ok() {
                    self.configure(config, environment, &ids);
                    self.events.record(EventKind::Reloaded, EventSubject::asked_by(by));
                }
                let _ = done.send(exchange);
            }
            SupervisorMessage::Peers { config, ids, done } => {
                self.configure(config, self.environment.clone(), &ids);
                let _ = done.send(());
            }
            SupervisorMessage::ParseError(what) => self.events.record(EventKind::Malformed, EventSubject::words(what)),
            SupervisorMessage::HostEnvironment(environment) => {
                let config = Arc::clone(&self.config);
                if let Err(error) = self.exchange(&config, &environment) {
                    tracing::error!(%error, "cannot filter on the changed interfaces");
                }
                self.environment = environment;
                self.engine.reconfigure(self.engine_config());
            }
            SupervisorMessage::ReloadFailed { why, by } => {
                self.events.record(EventKind::ReloadFailed, EventSubject::asked_by(by).with_message(why));
            }
            SupervisorMessage::Listening(addresses) => self.listening = addresses,
            SupervisorMessage::Stop { keep } => {
                self.sessions.stop();
                self.events.record(EventKind::Stopping, EventSubject::default());
                self.driver.stop(!keep);
                self.state.close(&mut self.engine, self.sessions.table(), self.pause.get(), keep);
            }
        }
    }

    fn exchange(&mut self, config: &Config, environment: &HostEnvironment) -> Result<()> {
        if self.driver.exchange(config, environment)? {
            self.engine.reload();
        }
        Ok(())
    }

    fn configure(&mut self, config: Arc<Config>, environment: HostEnvironment, ids: &[PeerId]) {
        self.sessions.configure(&config, ids);
        self.events.resize(config.api.history);
        self.state.configure(&config);
        self.incidents.configure(&config, Instant::now());
        self.config = config;
        self.environment = environment;
        self.engine.reconfigure(self.engine_config());
        for (protected, why) in self.engine.unprotected() {
            tracing::warn!("not protected: {}: {why}", protected.what);
        }
    }

    /// What the import policy does with a route; for a rule that the peer announces, with the
    /// attributes of that announcement.
    fn explain_policy(&self, question: &PolicyQuestion) -> Result<PolicyExplanation, PolicyQuestionError> {
        let rule = policy_trace::rule(&question.rule).ok().and_then(|rule| self.engine.rule(&Arc::new(rule.nlri)));
        let table = self.sessions.table();
        let named = |peer: PeerId| table.name(peer).is_some_and(|name| name == question.peer);
        let path = rule.and_then(|rule| rule.paths().find(|path| !path.blackhole && named(path.peer)));
        let announced = path.as_ref().map(|path| &**path.announced);
        explain_policy(&self.config, &self.environment.addresses, question, announced)
    }

    fn engine_config(&self) -> EngineConfig {
        engine_config(&self.config, &self.environment, &self.sessions, &self.driver)
    }

    /// When to wake up if nothing happens.
    fn deadline(&self) -> Instant {
        let (requests, count) = (self.requests.deadline(), self.board.deadline(&self.engine));
        let timers = [
            self.driver.deadline(),
            self.traffic.deadline(),
            self.state.deadline(),
            requests,
            count,
            self.incidents.deadline(),
        ];
        timers.into_iter().flatten().fold(self.next_tick, Instant::min)
    }

    /// Handles everything that is due by time alone.
    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        let now = Instant::now();
        self.sessions.expire_end_of_rib_timers(&self.engine, clock::last_full_second());
        for (peer, nlri) in self.engine.expire(clock::last_full_second()) {
            self.incidents.expired(nlri.id());
            if peer == LOCAL {
                self.local.forget(&nlri);
            }
            if !self.events.admit(peer, Subject::Expired, "rules", now) {
                continue;
            }
            let peer = self.sessions.table().name(peer).unwrap_or("local");
            tracing::info!(peer, id = %nlri.id(), rule = %nlri, "rule expired");
            let (id, rule) = (Some(nlri.id().to_string()), Some(nlri.to_string()));
            self.events.record(EventKind::Expired, EventSubject { id, rule, ..EventSubject::peer(peer) });
        }
        self.events.log_summaries(now, |peer| self.sessions.table().name(peer));
        if self.requests.is_overdue(now) {
            self.answer_waiting();
        }
        if self.pause.is_over(clock::last_full_second()) {
            tracing::warn!("the pause has ended");
            let (pause, context) = self.filter_pause();
            pause.end(None, context);
        }
        self.end_leftovers_if_due();
        self.earlier_run.validate_if_due(now, self.sessions.table(), &mut self.engine);
        self.state.rewrite_if_due(&self.engine, self.sessions.table(), self.pause.get());
        self.board.count(&self.engine);
        let whole = self.traffic.step(self.driver.known(), &self.engine, &mut self.incidents, now);
        self.board.counters_changed(whole);
        let is_idle = !self.driver.is_busy() && !self.engine.has_pending_changes();
        self.incidents.step(&self.engine, self.sessions.table(), is_idle, now);
        if self.engine.rule_count() > 0 {
            self.driver.measure_in_background(now);
        }
        self.publish_if_due();
    }
}

fn engine_config(
    config: &Config,
    environment: &HostEnvironment,
    sessions: &PeerSessions,
    driver: &DataplaneDriver,
) -> EngineConfig {
    EngineConfig {
        capabilities: driver.capabilities(),
        protection: convert::protection(config, &environment.addresses),
        peers: sessions
            .engine_peers(config, &environment.addresses)
            .chain([(LOCAL, engine::PeerConfig::local())])
            .collect(),
        monitor: config.dataplane.mode == Mode::Monitor,
    }
}
