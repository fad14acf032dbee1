//! The task that decides. It owns the engine, on a thread of its own: what it computes for 100,000 rules delays no keepalive.
//!
//! Everything that happens comes in as a message; after each batch of messages the difference between what is wanted and what is applied
//! goes to the data plane's thread, one change at a time. While one is under way, further changes gather.

mod answers;
mod backend_spec;
mod dataplane_driver;
mod earlier_run;
mod event_log;
mod leftovers;
mod malformed;
mod measurements;
pub(crate) mod messages;
mod pacing;
mod peer_sessions;
mod peer_updates;
mod session_context;
mod state_writer;
mod tally;
mod unenforced;

use crate::apply::Report;
use crate::clock;
use crate::command::Command;
use crate::convert::{self, LOCAL};
use crate::events::{About, Kind};
use crate::host_environment::HostEnvironment;
use crate::http::Shown;
use crate::net::{PeerId, PeerMessage};
use crate::state_file::Pause;
use anyhow::{Context, Result};
use config::{Config, Mode};
use dataplane_driver::{Consequence, DataplaneDriver};
use engine::{Engine, EngineConfig};
use event_log::{EventLog, Subject};
use flowspec::{Nlri, RuleId};
use messages::{Queues, SessionRequest, Setup, SupervisorMessage};
use peer_sessions::PeerSessions;
use session_context::SessionContext;
use state_writer::StateWriter;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// Updates taken in before the next look at everything else.
const BATCH: usize = 64;

/// The same in time.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// How often time alone is looked at: lives of rules and deadlines of sessions are whole seconds.
const TICK: Duration = Duration::from_millis(250);

/// The task.
pub(crate) struct Controller {
    config: Arc<Config>,
    environment: HostEnvironment,
    engine: Engine,
    sessions: PeerSessions,
    events: EventLog,
    tally: tally::Tally,
    shown: watch::Sender<Shown>,
    next_show: Instant,
    driver: DataplaneDriver,
    state: StateWriter,
    /// Filtering is paused.
    pause: Option<Pause>,
    /// Nothing is changed yet: there are filters that the state file does not know.
    leftovers: Option<leftovers::Leftovers>,
    /// Rules of an earlier run count as feasible until then at most.
    presumed_until: Option<Instant>,
    /// Requests that wait for new counters, and until when.
    waiting: Vec<(Instant, Command)>,
    listening: Vec<SocketAddr>,
    next_tick: Instant,
    started: SystemTime,
    /// Rules that are announced on this machine, to be found by id; some of them may be there no more.
    local_ids: HashMap<RuleId, Arc<Nlri>>,
}

impl Controller {
    /// Starts the thread; the answer comes when it has ended.
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
                // Before the memory of all rules is given back, which the end of the process does at once.
                let _ = ended.send(());
                drop(core);
            })
            .context("cannot start a thread")?;
        Ok(end)
    }

    fn new(
        setup: Setup,
        session_requests: mpsc::Sender<SessionRequest>,
        shown: watch::Sender<Shown>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self> {
        let Setup { config, ids, environment, loaded } = setup;
        let (driver, left) = DataplaneDriver::spawn(&config, &environment, reports)?;
        let sessions = PeerSessions::new(&config, &ids, session_requests);
        let mut core = Controller {
            engine: Engine::new(engine_config(&config, &environment, &sessions, &driver)),
            sessions,
            events: EventLog::new(config.api.history),
            tally: tally::Tally::default(),
            shown,
            next_show: Instant::now(),
            driver,
            state: StateWriter::open(&config, &loaded),
            pause: None,
            leftovers: None,
            presumed_until: None,
            waiting: Vec::new(),
            listening: Vec::new(),
            next_tick: Instant::now() + TICK,
            started: SystemTime::now(),
            local_ids: HashMap::new(),
            config,
            environment,
        };
        core.events.record(Kind::Started, About::default());
        core.take_over(loaded);
        core.presume_feasible(&left);
        core.find_leftovers(left);
        Ok(core)
    }

    async fn run(&mut self, mut queues: Queues, mut reports: mpsc::UnboundedReceiver<Report>) {
        loop {
            self.apply_pending();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                report = reports.recv() => {
                    let Some(report) = report else {
                        // It panicked. To go on would be to decide and never enforce; a restart takes the filters over.
                        tracing::error!("the data plane's thread is gone");
                        return;
                    };
                    self.tally.changed();
                    if self.report(report) {
                        return;
                    }
                }
                Some(change) = queues.changes.recv() => {
                    self.tally.changed();
                    self.change(change);
                }
                Some(command) = queues.commands.recv() => {
                    if !command.is_look() {
                        self.tally.changed();
                    }
                    self.command(command);
                    // However many look, peers are heard.
                    self.drain_peer_events(&mut queues.peers);
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    self.tick();
                    self.drain_peer_events(&mut queues.peers);
                }
                Some(from) = queues.peers.recv() => {
                    self.tally.changed();
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
            self.tally.changed();
            self.on_peer_event(from);
            if began.elapsed() >= BATCH_TIME {
                return;
            }
        }
    }

    /// Sends the next change, if there is one and its time has come.
    fn apply_pending(&mut self) {
        if self.leftovers.is_some() || !self.driver.is_change_due(&mut self.engine, Instant::now()) {
            return;
        }
        self.show_before();
        let change = self.engine.next_transaction();
        self.tell_rejected();
        // What the kernel filters, the state file knows.
        self.state.save_changes(&mut self.engine, self.sessions.table());
        self.driver.start(change, self.state.latest(), &self.engine);
    }

    /// Takes in what the data plane's thread says; true at its end.
    fn report(&mut self, report: Report) -> bool {
        match self.driver.on_report(report, &mut self.engine, &mut self.events, Instant::now()) {
            Consequence::None => {}
            Consequence::NotInForce(rules) => rules.iter().for_each(|nlri| self.tell_unenforced(nlri)),
            Consequence::BackendChanged => self.engine.reconfigure(self.engine_config()),
            Consequence::CountersKnown => self.answer_what_waits(),
            Consequence::Ended => return true,
        }
        false
    }

    fn on_peer_event(&mut self, message: PeerMessage) {
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
                    self.events.record(Kind::Reloaded, About::asked_by(by));
                }
                let _ = done.send(exchange.map_err(|error| error.to_string()));
            }
            SupervisorMessage::Peers { config, ids, done } => {
                self.configure(config, self.environment.clone(), &ids);
                let _ = done.send(());
            }
            SupervisorMessage::ParseError(what) => self.events.record(Kind::Malformed, About::words(what)),
            SupervisorMessage::HostEnvironment(environment) => {
                let config = Arc::clone(&self.config);
                if let Err(error) = self.exchange(&config, &environment) {
                    tracing::error!(%error, "cannot filter on the changed interfaces");
                }
                self.environment = environment;
                self.engine.reconfigure(self.engine_config());
            }
            SupervisorMessage::ReloadFailed { why, by } => {
                self.events.record(Kind::ReloadFailed, About::asked_by(by).saying(why));
            }
            SupervisorMessage::Listening(addresses) => self.listening = addresses,
            SupervisorMessage::Stop { keep } => {
                self.sessions.stop();
                self.events.record(Kind::Stopping, About::default());
                self.driver.stop(!keep);
                self.state.close(&mut self.engine, self.sessions.table(), self.pause, keep);
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
        self.config = config;
        self.environment = environment;
        self.engine.reconfigure(self.engine_config());
        for (protected, why) in self.engine.unprotected() {
            tracing::warn!("not protected: {}: {why}", protected.what);
        }
    }

    fn engine_config(&self) -> EngineConfig {
        engine_config(&self.config, &self.environment, &self.sessions, &self.driver)
    }

    /// When to look again if nothing happens.
    fn deadline(&self) -> Instant {
        let impatient = self.waiting.first().map(|(until, _)| *until);
        let timers = [self.driver.deadline(), self.state.deadline(), impatient, self.tally.deadline(&self.engine)];
        timers.into_iter().flatten().fold(self.next_tick, Instant::min)
    }

    /// What time alone brings about.
    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        let now = Instant::now();
        self.sessions.expire_end_of_rib_timers(&self.engine, clock::passed());
        for (peer, nlri) in self.engine.expire(clock::passed()) {
            if peer == LOCAL {
                self.local_ids.remove(&nlri.id());
            }
            let peer = PeerId(peer.0);
            if !self.events.admit(peer, Subject::Expired, "rules", now) {
                continue;
            }
            let peer = self.sessions.table().name(peer).unwrap_or("local");
            tracing::info!(peer, id = %nlri.id(), rule = %nlri, "its time is over");
            let (id, rule) = (Some(nlri.id().to_string()), Some(nlri.to_string()));
            self.events.record(Kind::Expired, About { id, rule, ..About::peer(peer) });
        }
        self.events.log_summaries(now, |peer| self.sessions.table().name(peer));
        self.expire_waiters();
        self.end_pause_if_due();
        self.look_at_leftovers();
        self.look_at_presumed();
        self.state.rewrite_if_due(&self.engine, self.sessions.table(), self.pause);
        self.tally.step(&self.engine);
        self.show_before();
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
        peers: sessions.engine_peers().chain([(LOCAL, engine::PeerConfig::local())]).collect(),
        monitor: config.dataplane.mode == Mode::Monitor,
    }
}
