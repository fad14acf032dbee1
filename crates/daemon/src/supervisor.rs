//! The main task: configuration, signals, start and shutdown.

use crate::clock;
use crate::command::Command;
use crate::controller::Controller;
use crate::controller::messages::{Queues, SessionRequest, Setup, SupervisorMessage};
use crate::exabgp_input::{self, Request};
use crate::host_environment::HostEnvironment;
use crate::http::{self, ApiListeners, ApiState, Inspector, ListenError};
use crate::interfaces;
use crate::locks::Locks;
use crate::logging;
use crate::net::Originated;
use crate::peers::Peers;
use crate::reload::{Reload, ReloadError, Reloaded};
use crate::route_source::{self, RouteSource, Source};
use crate::state_file::{self, Loaded};
use anyhow::{Context, Result, anyhow};
use config::{Config, OnExit};
use engine::PeerId;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

/// How often interfaces and addresses are read again.
pub(crate) const RESCAN: Duration = Duration::from_secs(2);

/// How long a start waits for a daemon that is about to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The same for `floodgate exabgp`, where the next start asks the process before it to end.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(20);

/// While a file of this name is in the runtime directory of the service, a stop keeps the filters
/// whatever `on-exit` says: whoever made the file starts the daemon again at once, as the upgrade
/// of a package does. systemd removes the directory at the stop.
const KEEP_FILTERS: &str = "keep-filters";

/// The program that the daemon is a part of.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The commit that it was built from.
    pub commit: &'static str,
    /// Reads rules and octets as its commands do, for `POST /v1/inspect`.
    pub inspector: Inspector,
}

/// Runs the daemon until it is stopped.
///
/// # Errors
/// The daemon could not start: the configuration has errors, an address is in use, a permission is
/// missing.
pub fn run(path: &Path, program: Program) -> Result<()> {
    let config = Config::load_to_start(path)?;
    logging::start(&config.log).context("cannot log")?;
    for peer in &config.peers {
        if let Some(why) = &peer.md5_error {
            tracing::error!(
                peer = peer.name,
                why,
                "no session until its md5-file has a secret and the configuration is reloaded"
            );
        }
    }
    ended(runtime()?.block_on(async {
        let mut supervisor = Supervisor::start(Source::File(path.to_owned()), config, false, program).await?;
        supervisor.serve().await
    }))
}

/// Runs as a process of ExaBGP, until ExaBGP ends or we are stopped. Without a file, built-in
/// defaults are used.
///
/// # Errors
/// As [`run`].
pub fn run_exabgp(path: Option<&Path>, program: Program) -> Result<()> {
    STARTED_BY_EXABGP.store(true, Ordering::Relaxed);
    let began = std::time::Instant::now();
    let outcome = try_exabgp(path, program);
    if let Err(error) = &outcome
        && began.elapsed() < exabgp_input::HOLD_OFF
    {
        exabgp_input::hold_off(error);
    }
    outcome
}

fn try_exabgp(path: Option<&Path>, program: Program) -> Result<()> {
    let source = path.map_or(Source::Usual, |path| Source::File(path.to_owned()));
    let config = source.load()?;
    logging::start(&config.log).context("cannot log")?;
    ended(runtime()?.block_on(async {
        exabgp_input::wait_for_predecessor(&config.api.socket).await?;
        let mut supervisor = Supervisor::start(source, config, true, program).await?;
        supervisor.serve().await
    }))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    crate::descriptors::raise();
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")
}

/// The outcome, once the log is written. A log that nobody reads does not prevent the end.
fn ended(outcome: Result<()>) -> Result<()> {
    if let Err(error) = &outcome
        && !logging::finish()
    {
        tracing::error!("{error:#}");
        // The error would be printed where the log is blocked.
        std::process::exit(1);
    }
    logging::finish();
    outcome
}

struct Supervisor {
    source: Source,
    /// The configuration as loaded.
    fresh: Config,
    /// The text of the file that was loaded.
    text: String,
    /// The configuration with additions of the route source.
    config: Arc<Config>,
    environment: HostEnvironment,
    /// The host environment could not be read the last time.
    environment_unknown: bool,
    core: mpsc::Sender<SupervisorMessage>,
    core_ended: oneshot::Receiver<()>,
    api_state: ApiState,
    api: ApiListeners,
    reloads: mpsc::Receiver<Reload>,
    session_requests: mpsc::Receiver<SessionRequest>,
    route_source: RouteSource,
    locks: Locks,
}

impl Supervisor {
    async fn start(source: Source, config: Config, exabgp: bool, program: Program) -> Result<Self> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %source, "starting");
        // Neighbours of ExaBGP need not be configured.
        for advice in config.advice().iter().filter(|_| !exabgp || !config.peers.is_empty()) {
            tracing::warn!("{advice}");
        }
        if exabgp && config.peers.iter().any(|peer| !peer.advertise.is_empty()) {
            tracing::warn!("nothing is advertised: the sessions are ExaBGP's, and `advertise` is for `floodgate run`");
        }
        // Locks are taken before anything is read, opened or changed.
        make_state_directory(&config);
        let mut locks = Locks::default();
        locks.take(&config, if exabgp { PREDECESSOR_TIMEOUT } else { LOCK_PATIENCE })?;
        let environment = HostEnvironment::probe(&config)?;
        warn_unmatched_patterns(&config);
        let loaded = load_state_file(&config);
        clock::start(loaded.restored.clock);
        let preserved = loaded.restored.rules() > 0;

        let (from_peers, peer_outputs) = mpsc::channel(64);
        let (commands, command_queue) = mpsc::channel(64);
        let (changes, change_queue) = mpsc::channel(16);
        let (session_request, session_requests) = mpsc::channel(64);
        let (shown, with_published) = watch::channel(None);
        let originated = Originated::default();
        let mut route_source = match exabgp {
            true => route_source::exabgp(from_peers, &loaded.restored.saved_rules, &config)?,
            false => RouteSource::Bgp(Box::new(Peers::new(from_peers, preserved, originated.clone()))),
        };
        let fresh = config;
        let config = Arc::new(route_source.complete(fresh.clone()));
        let ids = route_source.ids(&config);
        // Everything that can fail comes before the first change of a filter. Peers that connect
        // already are answered when the controller runs.
        route_source.listen(&config)?;
        let (reload, reloads) = mpsc::channel(4);
        let api_state = ApiState::new(commands, reload)
            .with_published(with_published)
            .built_from(program.commit)
            .inspected_by(program.inspector);
        api_state.configure(Arc::clone(&config));
        let mut api = ApiListeners::default();
        open_api(&mut api, &config, &api_state).await?;
        let core_ended = Controller::spawn(
            Setup {
                config: Arc::clone(&config),
                ids: ids.clone(),
                environment: environment.clone(),
                loaded,
                originated,
            },
            Queues {
                peers: peer_outputs,
                commands: command_queue,
                changes: change_queue,
                session_requests: session_request,
                shown,
            },
        )?;
        route_source.apply(&config, &ids).await;
        let _ = changes.send(SupervisorMessage::Listening(route_source.addresses())).await;
        Ok(Supervisor {
            text: source.text(),
            source,
            fresh,
            config,
            environment,
            environment_unknown: false,
            core: changes,
            core_ended,
            api_state,
            api,
            reloads,
            session_requests,
            route_source,
            locks,
        })
    }

    async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        let mut hangup = signal(SignalKind::hangup()).context("signals")?;
        let mut rescan = tokio::time::interval(RESCAN);
        rescan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let alive = watchdog_interval();
        let mut watchdog = tokio::time::interval(alive.unwrap_or(Duration::from_secs(3600)));
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => drop(self.reload(None).await),
                Some(Reload { by, done }) = self.reloads.recv() => {
                    let outcome = self.reload(Some(by)).await;
                    let _ = done.send(outcome);
                }
                Some(session_request) = self.session_requests.recv() => match session_request {
                    SessionRequest::Reset(peer, subcode) => self.route_source.reset(peer, subcode).await,
                },
                request = self.route_source.request() => match request {
                    Some(Request::Register(neighbor, answer)) => {
                        if let Some(who) = self.register_neighbor(&neighbor).await {
                            let _ = answer.send(who);
                        }
                    }
                    Some(Request::ParseError(what)) => drop(self.core.send(SupervisorMessage::ParseError(what)).await),
                    Some(Request::Ended { successor: true }) => {
                        tracing::info!("the next start takes over");
                        self.stop(true).await;
                        return Ok(());
                    }
                    Some(Request::Ended { successor: false }) => break,
                    None => return Err(anyhow!("the reader of ExaBGP's lines stopped unexpectedly; the filters in force stay")),
                },
                _ = rescan.tick() => self.rescan().await,
                _ = watchdog.tick(), if alive.is_some() => self.watchdog(),
                _ = &mut self.core_ended => return Err(anyhow!("the engine stopped unexpectedly; the filters in force stay")),
            }
        }
        self.stop(self.config.dataplane.on_exit == OnExit::Keep || is_being_replaced()).await;
        Ok(())
    }

    /// Registers a neighbour of ExaBGP with the controller. `None` if that has ended.
    async fn register_neighbor(&mut self, neighbor: &exabgp::Neighbor) -> Option<exabgp_input::RegisteredNeighbor> {
        let RouteSource::Exabgp(neighbors) = &mut self.route_source else { return None };
        if neighbors.learn(neighbor, &self.fresh) {
            let config = Arc::new(neighbors.complete(self.fresh.clone()));
            let ids = neighbors.ids(&config).into_iter().map(route_source::peer_of).collect();
            let known = self.config.advice();
            for advice in config.advice().iter().filter(|advice| !known.contains(advice)) {
                tracing::warn!("{advice}");
            }
            let (told, heard) = oneshot::channel();
            let change = SupervisorMessage::Peers { config: Arc::clone(&config), ids, done: told };
            self.core.send(change).await.ok()?;
            heard.await.ok()?;
            self.config = config;
        }
        neighbors.register_neighbor(neighbor, &self.config)
    }

    /// Applies a changed file. A file with errors changes nothing.
    async fn reload(&mut self, by: Option<String>) -> Result<Reloaded, ReloadError> {
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        let outcome = self.try_reload(by.clone()).await;
        match &outcome {
            Ok(reloaded) => tracing::info!("{reloaded}"),
            Err(error) => {
                self.locks.release_unneeded(&self.config);
                tracing::error!("reload: {error}; nothing was changed");
                let _ = self.core.send(SupervisorMessage::ReloadFailed { why: error.to_string(), by }).await;
            }
        }
        notify(&[sd_notify::NotifyState::Ready]);
        outcome
    }

    async fn try_reload(&mut self, by: Option<String>) -> Result<Reloaded, ReloadError> {
        let text = self.source.text();
        let fresh = self.source.load()?;
        let config = self.route_source.complete(fresh.clone());
        if config == *self.config {
            return Ok(Reloaded::Nothing);
        }
        // What can fail comes first, and is undone on failure.
        make_state_directory(&config);
        self.locks.take(&config, Duration::ZERO).map_err(ReloadError::Locked)?;
        let environment = HostEnvironment::probe(&config).map_err(ReloadError::Environment)?;
        let opened = match self.route_source.listen(&config) {
            Ok(()) => open_api(&mut self.api, &config, &self.api_state).await.map_err(ReloadError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = opened {
            let _ = self.route_source.listen(&self.config);
            let _ = open_api(&mut self.api, &self.config, &self.api_state).await;
            return Err(error);
        }
        for advice in config.advice() {
            tracing::warn!("{advice}");
        }
        warn_unmatched_patterns(&config);
        self.environment = environment;
        let config = Arc::new(config);
        let ids: Vec<PeerId> = self.route_source.ids(&config);
        // The controller learns of new peers before their first event, and of policies before they
        // are needed.
        let (told, heard) = oneshot::channel();
        let change = SupervisorMessage::Configure {
            config: Arc::clone(&config),
            ids: ids.clone(),
            environment: self.environment.clone(),
            by,
            done: told,
        };
        self.core.send(change).await.map_err(|_| ReloadError::Stopped)?;
        heard.await.map_err(|_| ReloadError::Stopped)?.map_err(ReloadError::Dataplane)?;
        let sessions = self.route_source.apply(&config, &ids).await;
        let _ = self.core.send(SupervisorMessage::Listening(self.route_source.addresses())).await;
        logging::configure(&config.log);
        self.api_state.configure(Arc::clone(&config));
        (self.fresh, self.config) = (fresh, config);
        self.locks.release_unneeded(&self.config);
        self.route_source.changed();
        let text = std::mem::replace(&mut self.text, text);
        Ok(Reloaded::Changed { differences: config::differences(&text, &self.text), sessions })
    }

    async fn rescan(&mut self) {
        self.route_source.restart_ended().await;
        let now = match HostEnvironment::probe(&self.config) {
            Ok(now) => now,
            Err(error) => {
                // Logged once; the last known values stay in use.
                if !std::mem::replace(&mut self.environment_unknown, true) {
                    tracing::warn!("{error:#}; the last known state is used");
                }
                return;
            }
        };
        self.environment_unknown = false;
        if now != self.environment {
            if now.interfaces != self.environment.interfaces {
                let interfaces = now.interfaces.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
                tracing::info!(interfaces, "filtered interfaces changed");
            }
            self.environment = now.clone();
            let _ = self.core.send(SupervisorMessage::HostEnvironment(now)).await;
        }
    }

    /// Sends the systemd watchdog notification, if the controller answers.
    fn watchdog(&self) {
        let commands = self.api_state.commands.clone();
        tokio::spawn(async move {
            let (answer, reply) = oneshot::channel();
            if commands.send(Command::Status(answer)).await.is_ok() && reply.await.is_ok() {
                notify(&[sd_notify::NotifyState::Watchdog]);
            }
        });
    }

    async fn stop(&mut self, keep: bool) {
        tracing::info!(filters = if keep { "stay" } else { "are removed" }, "stopping");
        notify(&[sd_notify::NotifyState::Stopping]);
        // From here on lost sessions change nothing, so that rules are kept or removed as
        // configured for the shutdown.
        let _ = self.core.send(SupervisorMessage::Stop { keep }).await;
        self.route_source.stop(keep).await;
        if tokio::time::timeout(Duration::from_secs(20), &mut self.core_ended).await.is_err() {
            tracing::error!("the data plane did not finish in time");
        }
        self.api.close();
    }
}

async fn open_api(listeners: &mut ApiListeners, config: &Config, state: &ApiState) -> Result<(), ListenError> {
    listeners.set(config, |transport| http::router(state.clone(), transport)).await
}

fn warn_unmatched_patterns(config: &Config) {
    let Ok(links) = interfaces::links() else { return };
    for pattern in interfaces::resolve(&config.dataplane.interfaces, &links).absent {
        tracing::warn!(pattern, "no interface has this name yet; nothing is filtered there");
    }
}

/// The default directory of the state file is created; any other path is the operator's choice, or
/// a typing mistake.
fn make_state_directory(config: &Config) {
    let directory = Path::new(config::STATE_DIRECTORY);
    if config.state.file.parent() == Some(directory)
        && let Err(error) = DirBuilder::new().mode(0o750).create(directory)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        tracing::error!(%error, "cannot make {}", directory.display());
    }
}

/// Loads the state file of an earlier run.
fn load_state_file(config: &Config) -> Loaded {
    let path = &config.state.file;
    if path.as_os_str().is_empty() {
        return Loaded::default();
    }
    let loaded = state_file::load(path);
    for what in &loaded.wrong {
        tracing::warn!("{}: {what}", path.display());
    }
    loaded
}

/// Whether whoever stops the daemon starts it again at once.
fn is_being_replaced() -> bool {
    std::env::var_os("RUNTIME_DIRECTORY").is_some_and(|directory| Path::new(&directory).join(KEEP_FILTERS).exists())
}

/// Under ExaBGP, systemd, if there is one, started ExaBGP and not us: we must not notify it.
static STARTED_BY_EXABGP: AtomicBool = AtomicBool::new(false);

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if STARTED_BY_EXABGP.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

/// Half of systemd's watchdog interval.
fn watchdog_interval() -> Option<Duration> {
    let patience = sd_notify::watchdog_enabled().filter(|_| !STARTED_BY_EXABGP.load(Ordering::Relaxed))?;
    (!patience.is_zero()).then(|| patience / 2)
}
