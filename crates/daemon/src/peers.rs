//! The peers' tasks: started, stopped and replaced as the configuration says. A peer whose session
//! settings did not change keeps its session.

use crate::convert;
use crate::net::{
    Control, Endpoint, Listeners, Originated, PeerEvent, PeerMessage, Routes, SessionSetup, SocketError, run_session,
};
use bgp::{Cease, CeaseSubcode, FamilySet, GracefulRestart, LongLived, PeerAs, PeerConfig};
use config::{Config, TriggerText, Validation};
use engine::PeerId;
use engine::import_policy::Trigger;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Most connections from a peer's address that wait to be accepted.
const INCOMING: usize = 8;

/// Longest restart time, in seconds, that we ask of a peer, unless configured. The RFC suggests no
/// more than the hold time (RFC 4724 §3).
const RESTART_TIME: u16 = 120;

/// The peers' tasks and the listening sockets.
#[derive(Debug)]
pub(crate) struct Peers {
    tasks: Vec<Task>,
    routes: Routes,
    listeners: Listeners,
    engine: mpsc::Sender<PeerMessage>,
    next_id: u32,
    /// The filters of an earlier run are still in force, and this is the first start of sessions:
    /// the OPENs say so.
    restarting: bool,
    /// The routes to advertise to those peers that are to get them.
    originated: Originated,
}

#[derive(Debug)]
struct Task {
    id: PeerId,
    settings: Settings,
    control: mpsc::Sender<Control>,
    task: JoinHandle<()>,
}

/// The settings that a session depends on; other changes leave it established.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    session: PeerConfig,
    endpoint: Endpoint,
    /// For a peer with blackholes, what decides which of its unicast routes are kept. After a
    /// change they have to be sent again.
    blackholes: Option<KeptUnicast>,
    /// Locally originated rules are advertised to the peer.
    advertises_local: bool,
}

/// Which unicast routes of a peer with blackholes are kept.
#[derive(Clone, Debug, PartialEq)]
struct KeptUnicast {
    destination: Vec<Trigger>,
    source: Vec<TriggerText>,
    both: Vec<TriggerText>,
    /// Rules are validated against unicast routes: all are kept.
    validates: bool,
}

/// The effect of a changed configuration on the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// New peers.
    pub added: usize,
    /// Peers that are gone.
    pub removed: usize,
    /// Peers whose session had to be restarted.
    pub restarted: usize,
}

impl Peers {
    /// Without peers yet; `engine` receives the events of their sessions.
    pub(crate) fn new(engine: mpsc::Sender<PeerMessage>, preserved: bool, originated: Originated) -> Self {
        Peers {
            tasks: Vec::new(),
            routes: Routes::default(),
            listeners: Listeners::default(),
            engine,
            next_id: 0,
            restarting: preserved,
            originated,
        }
    }

    /// The id of each configured peer, in the order of the configuration: the current or the future
    /// one.
    pub(crate) fn ids(&mut self, config: &Config) -> Vec<PeerId> {
        let mut next = self.next_id;
        let ids = config.peers.iter().map(|peer| {
            self.tasks.iter().find(|task| task.settings.endpoint.remote.ip() == peer.address).map_or_else(
                || {
                    next += 1;
                    PeerId(next)
                },
                |task| task.id,
            )
        });
        let ids = ids.collect();
        self.next_id = next;
        ids
    }

    /// Opens the listening sockets of the configuration.
    ///
    /// # Errors
    /// One could not be opened.
    pub(crate) fn listen(&mut self, config: &Config) -> Result<(), SocketError> {
        let secret = |peer: &config::Peer| secret(peer).map(|secret| (peer.address, secret));
        let secrets: HashMap<IpAddr, String> = config.peers.iter().filter_map(secret).collect();
        self.listeners.secrets(secrets)?;
        self.listeners.ttl_requirements(config.peers.iter().map(|peer| (peer.address, peer.ttl_security.0)))?;
        match &config.router.listen {
            Some(listen) => {
                let wanted: Vec<SocketAddr> = listen.iter().map(|listen| listen.bgp()).collect();
                self.listeners.set(&wanted, &[], &self.routes)
            }
            None => self.listeners.set(&[], &needed_addresses(&config.peers), &self.routes),
        }?;
        let own = crate::interfaces::addresses().unwrap_or_default();
        for advice in config.advice_beside_a_router(&own) {
            tracing::warn!("{advice}");
        }
        if self.addresses().is_empty() && !config.peers.is_empty() {
            tracing::info!("not listening for BGP connections: no peer is passive, and router.listen is not set");
        }
        Ok(())
    }

    /// The addresses of the BGP listeners.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Starts, stops and restarts sessions; `ids` comes from [`ids`](Self::ids).
    pub(crate) async fn apply(&mut self, config: &Config, ids: &[PeerId]) -> Changes {
        let mut changes = Changes::default();
        let wanted: Vec<(PeerId, Settings)> =
            config.peers.iter().zip(ids).map(|(peer, id)| (*id, Self::settings(config, peer))).collect();
        let mut kept = Vec::new();
        let mut leaving = Vec::new();
        for task in self.tasks.drain(..) {
            match wanted.iter().find(|(id, _)| *id == task.id) {
                Some((_, settings)) if *settings == task.settings => kept.push(task),
                Some(_) => {
                    changes.restarted += 1;
                    leaving.push((task, CeaseSubcode::ConfigurationChange));
                }
                None => {
                    changes.removed += 1;
                    leaving.push((task, CeaseSubcode::PeerDeconfigured));
                }
            }
        }
        self.tasks = kept;
        // In parallel: one that does not close takes half a second.
        let mut stopping = tokio::task::JoinSet::new();
        for (task, subcode) in leaving {
            self.routes.remove(task.settings.endpoint.remote.ip());
            stopping.spawn(stop(task, Cease { subcode, communication: String::new() }));
        }
        while stopping.join_next().await.is_some() {}
        for (id, settings) in wanted {
            if !self.tasks.iter().any(|task| task.id == id) {
                self.start(id, settings);
                changes.added += 1;
            }
        }
        changes.added -= changes.restarted;
        // A session that is started later is not a restarted one.
        self.restarting = false;
        changes
    }

    /// Ends one session with a NOTIFICATION; it reconnects later.
    pub(crate) async fn reset(&self, peer: PeerId, subcode: CeaseSubcode) {
        if let Some(task) = self.tasks.iter().find(|task| task.id == peer) {
            let _ = task.control.send(Control::Reset(Cease { subcode, communication: String::new() })).await;
        }
    }

    /// Restarts tasks that ended unexpectedly. That is a bug; it must cost one session, not the
    /// peer.
    pub(crate) async fn restart_ended(&mut self) {
        let (ended, alive): (Vec<_>, Vec<_>) = self.tasks.drain(..).partition(|task| task.task.is_finished());
        self.tasks = alive;
        for Task { id, settings, task, .. } in ended {
            let remote = settings.endpoint.remote.ip();
            let why = task.await.map_or_else(|error| error.to_string(), |()| "it returned".to_owned());
            tracing::error!(peer = %remote, why, "a session ended because of a bug in floodgate, please report it; the session is started again");
            self.routes.remove(remote);
            // Sent before any event of the new session. If nobody listens any more, the daemon is
            // ending anyway.
            let news = PeerEvent::Restarted(format!("internal error: {why}"));
            let _ = self.engine.send(PeerMessage { peer: id, news }).await;
            self.start(id, settings);
        }
    }

    /// Ends all sessions. `keep`: the filters stay and we come back, so peers with graceful restart
    /// get no NOTIFICATION that would make them drop our routes.
    pub(crate) async fn stop(&mut self, keep: bool) {
        let mut leaving = tokio::task::JoinSet::new();
        for task in self.tasks.drain(..) {
            self.routes.remove(task.settings.endpoint.remote.ip());
            if keep && task.settings.session.graceful_restart.is_some() {
                leaving.spawn(async move {
                    let _ = task.control.send(Control::Vanish).await;
                    let _ = task.task.await;
                });
            } else {
                let communication = "floodgate is being stopped".to_owned();
                leaving.spawn(stop(task, Cease { subcode: CeaseSubcode::AdministrativeShutdown, communication }));
            }
        }
        while leaving.join_next().await.is_some() {}
    }

    fn start(&mut self, id: PeerId, settings: Settings) {
        let (control, orders) = mpsc::channel(4);
        let (connections, incoming) = mpsc::channel(INCOMING);
        self.routes.insert(&settings.endpoint, connections);
        let mut config = settings.session.clone();
        if let Some(restart) = config.graceful_restart.as_mut().filter(|_| self.restarting) {
            // R and F bits of the first OPEN; the session clears them in later ones.
            restart.restarted = true;
            restart.families.iter_mut().for_each(|(_, preserved)| *preserved = true);
        }
        let task = tokio::spawn(run_session(SessionSetup {
            peer: id,
            config,
            endpoint: settings.endpoint.clone(),
            engine: self.engine.clone(),
            routes: self.routes.clone(),
            incoming,
            control: orders,
            originated: settings.advertises_local.then(|| self.originated.clone()),
        }));
        self.tasks.push(Task { id, settings, control, task });
    }

    fn settings(config: &Config, peer: &config::Peer) -> Settings {
        let local_as = peer.local_as.unwrap_or(config.router.asn);
        let families: FamilySet = peer.families.iter().map(|name| convert::afi_safi(*name)).collect();
        let mut session = PeerConfig::new(local_as, config.router.id, PeerAs::Exactly(peer.asn));
        // At most 65535: the configuration is checked.
        session.hold_time = u16::try_from(peer.hold_time.0.as_secs()).unwrap_or(u16::MAX);
        session.families = families;
        session.passive = peer.passive;
        session.idle_hold_max = peer.idle_hold_max.0;
        session.retained_on_loss = !peer.hold_on_loss.0.is_zero();
        // If the peer is in the router's own AS, the number is the peer's and no loop.
        session.router_as = Some(config.router.asn).filter(|asn| *asn != local_as && *asn != peer.asn);
        if peer.add_path {
            session.add_path_receive = peer.rule_families().map(convert::afi_safi).collect();
        }
        session.allow_own_as = usize::from(peer.allow_own_as);
        if peer.graceful_restart {
            let retained = peer.retained_families().map(convert::afi_safi);
            session.graceful_restart = Some(GracefulRestart {
                restarted: false,
                notification: true,
                restart_time: restart_time(peer),
                families: retained.map(|family| (family.into(), false)).collect(),
            });
        }
        if let Some(long_lived) = &peer.long_lived {
            session.long_lived = Some(LongLived {
                families: peer.long_lived_families().into_iter().map(convert::afi_safi).collect(),
                // At most 24 bits: the configuration is checked.
                stale_time: u32::try_from(long_lived.max_stale_time.0.as_secs()).unwrap_or(u32::MAX),
            });
        }
        session.seed = seed(peer.address);
        let endpoint = Endpoint {
            remote: SocketAddr::new(peer.address, peer.port),
            source: peer.source,
            md5: secret(peer),
            hops: peer.ttl_security.0,
            interface: peer.bind_interface.clone(),
        };
        let validates = config.peers.iter().any(|peer| peer.allow.validation == Validation::Rfc9117);
        let blackholes = peer.blackhole.as_ref().map(|blackhole| KeptUnicast {
            destination: blackhole.destination_triggers(),
            source: blackhole.source.clone(),
            both: blackhole.both.clone(),
            validates,
        });
        Settings { session, endpoint, blackholes, advertises_local: peer.advertises_local() }
    }
}

/// The TCP-MD5 secret of a peer. If it should have one and has none, a random one: no segment of
/// such a peer is accepted.
fn secret(peer: &config::Peer) -> Option<String> {
    static UNKNOWN: LazyLock<String> = LazyLock::new(|| {
        // Each hasher has random keys.
        let number = || RandomState::new().hash_one(0_u8);
        format!("{:016x}{:016x}{:016x}", number(), number(), number())
    });
    if peer.md5_error.is_some() { Some(UNKNOWN.clone()) } else { peer.md5.clone() }
}

/// The listen addresses, unless configured: only if a passive peer needs one. Port 179 is the
/// router's, if there is one on this machine.
fn needed_addresses(peers: &[config::Peer]) -> Vec<SocketAddr> {
    let everywhere = |peer: &config::Peer| match peer.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for peer in peers.iter().filter(|peer| peer.passive) {
        let address = peer.source.unwrap_or_else(|| everywhere(peer));
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let all = |version: IpAddr| addresses.iter().any(|a| a.is_unspecified() && a.is_ipv4() == version.is_ipv4());
    let needed = addresses.iter().filter(|address| address.is_unspecified() || !all(**address));
    needed.map(|address| SocketAddr::new(*address, config::BGP_PORT)).collect()
}

/// Seconds; 12 bits, checked by the configuration.
fn restart_time(peer: &config::Peer) -> u16 {
    let hold = match peer.hold_time.0.as_secs() {
        0 => RESTART_TIME,
        seconds => u16::try_from(seconds).unwrap_or(u16::MAX).min(RESTART_TIME),
    };
    peer.restart_time.map_or(hold, |time| u16::try_from(time.0.as_secs()).unwrap_or(u16::MAX))
}

async fn stop(task: Task, cease: Cease) {
    let (done, told) = oneshot::channel();
    let _ = task.control.send(Control::Stop(cease, done)).await;
    // A task that does not answer in time is blocked on the engine's queue; it must not delay the
    // rest.
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
    task.task.abort();
}

/// The jitter seed must differ between peers and machines, but not between two loads of one
/// configuration.
fn seed(peer: IpAddr) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static STATE: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
    STATE.get_or_init(RandomState::new).hash_one(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(peer: &str) -> Config {
        let text = format!(
            "[router]\nas = 65001\nid = \"192.0.2.1\"\n[[peer]]\nname = \"a\"\naddress = \"127.0.0.99\"\nas = 65002\npassive = true\n{peer}\n"
        );
        Config::parse(&text, std::path::Path::new("test")).expect("a right file")
    }

    #[test]
    fn the_restart_time_is_the_hold_time_unless_it_is_configured() {
        for (peer, seconds) in [
            ("", 90),
            ("hold-time = 3", 3),
            ("hold-time = 0", 120),
            ("hold-time = 600", 120),
            ("restart-time = \"10m\"", 600),
            ("hold-time = 0\nrestart-time = 7", 7),
        ] {
            assert_eq!(restart_time(&parsed(peer).peers[0]), seconds, "{peer}");
        }
    }

    #[test]
    fn it_listens_only_where_a_passive_peer_needs_it() {
        let needed = |peers: &[(&str, &str)]| {
            let table = |(address, more): &(&str, &str)| {
                format!("[[peer]]\nname = \"{address}\"\naddress = \"{address}\"\nas = 65002\n{more}\n")
            };
            let text =
                "[router]\nas = 65001\nid = \"192.0.2.1\"\n".to_owned() + &peers.iter().map(table).collect::<String>();
            let config = Config::parse(&text, std::path::Path::new("test")).expect("a right file");
            needed_addresses(&config.peers).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        const V4: &str = "passive = true\nsource = \"192.0.2.1\"";
        assert_eq!(needed(&[("192.0.2.2", ""), ("2001:db8::2", "")]), [""; 0]);
        assert_eq!(needed(&[("192.0.2.2", V4), ("192.0.2.3", V4)]), ["192.0.2.1:179"]);
        assert_eq!(needed(&[("192.0.2.2", V4), ("192.0.2.3", "passive = true")]), ["0.0.0.0:179"]);
        assert_eq!(
            needed(&[("192.0.2.2", V4), ("2001:db8::2", "passive = true"), ("192.0.2.3", "")]),
            ["192.0.2.1:179", "[::]:179"]
        );
    }

    #[test]
    fn with_local_as_the_routers_own_as_makes_a_loop_too() {
        let of = |peer| Peers::settings(&parsed(peer), &parsed(peer).peers[0]).session;
        assert_eq!((of("").local_as, of("").router_as), (65001, None));
        let shown = of("local-as = 65009");
        assert_eq!((shown.local_as, shown.router_as), (65009, Some(65001)));
    }

    #[tokio::test]
    async fn a_session_that_panics_is_reported_and_started_again() {
        let (engine, mut heard) = mpsc::channel(64);
        let mut peers = Peers::new(engine, false, Originated::default());
        let config = parsed("");
        let ids = peers.ids(&config);
        peers.apply(&config, &ids).await;
        peers.restart_ended().await;
        assert!(!peers.tasks[0].task.is_finished());
        peers.tasks[0].task.abort();
        peers.tasks[0].task = tokio::spawn(async { panic!("a bug") });
        while !peers.tasks[0].task.is_finished() {
            tokio::task::yield_now().await;
        }
        peers.restart_ended().await;
        assert!(!peers.tasks[0].task.is_finished());
        let lost = loop {
            let PeerMessage { peer, news } = heard.recv().await.expect("it is told");
            if let PeerEvent::Restarted(why) = news {
                break (peer, why);
            }
        };
        assert_eq!(lost.0, ids[0]);
        assert!(lost.1.contains("panicked"), "{}", lost.1);
    }
}
