//! Prometheus metrics, made from a snapshot at each scrape; one table declares all names.

mod exposition;
mod traffic;

pub use crate::busiest::{Busiest, BusyRule};
pub use exposition::Exposition;

use api::{Named, PeerView, RuleState, SessionState, StatusView, TrafficView};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// What metrics are made of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// How things are.
    pub status: StatusView,
    /// The peers.
    pub peers: Vec<PeerView>,
    /// What rules matched together.
    pub traffic: Vec<TrafficView>,
    /// Single rules, where the configuration wants them.
    pub rules: Option<Busiest>,
    /// The commit that the program was built from.
    pub commit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: String,
    commit: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attached {
    interface: String,
    mode: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Peer {
    peer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerKind {
    peer: String,
    kind: String,
}

type Float = Gauge<f64, AtomicU64>;
type Count = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;

/// The exposition text.
///
/// # Errors
/// None in practice: the target is a string.
pub fn render(snapshot: &Snapshot, exposition: Exposition) -> Result<String, std::fmt::Error> {
    let Snapshot { status, peers, traffic, rules: single, commit } = snapshot;
    let mut registry = Registry::with_prefix("floodgate");
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: status.version.clone(), commit: (*commit).to_owned() }).set(1);
    registry.register("build_info", "1; the labels say which program this is", build);
    let mut gauge = |name: &str, help: &str, value: u64| {
        let metric = Gauge::<i64>::default();
        metric.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, metric);
    };
    gauge("peers", "Configured peers", status.peers);
    gauge("peers_established", "Peers whose session is established", status.established);
    gauge("dataplane_entries", "Entries in use in the data plane", status.entries);
    gauge("paused", "1 while filtering is paused", u64::from(status.paused));
    gauge(
        "dataplane_filtering",
        "0 while nothing is filtered: paused, or no configured interface exists",
        u64::from(!status.paused && status.unfiltered.is_none()),
    );
    gauge("dataplane_up", "1 unless the latest change failed", u64::from(status.dataplane_error.is_none()));
    gauge(
        "state_saved",
        "0 while changes cannot be saved, so that a restart would lose them",
        u64::from(status.state_error.is_none()),
    );
    let fallback = "1 while a fallback filters instead of the configured back end";
    gauge("dataplane_fallback", fallback, u64::from(status.fallback.is_some()));
    if let Some(capacity) = status.capacity {
        gauge("dataplane_capacity", "Entries that fit into the data plane", capacity);
    }
    if let Some(memory) = status.dataplane_memory {
        gauge("dataplane_memory_bytes", "Memory that the data plane takes", memory);
    }
    let mut counter = |name: &str, help: &str, value: u64| {
        let metric = Count::default();
        metric.inc_by(value);
        registry.register(name, help, metric);
    };
    counter("applied", "Changes applied to the data plane", status.applied);
    counter("apply_failures", "Changes that the data plane refused", status.failures);
    counter("damages", "Times that another program changed what was applied", status.damages);
    counter(
        "log_lines_lost",
        "Lines of the log that were lost, because they were not read in time",
        status.log_lines_lost,
    );
    let took = Float::default();
    took.set(status.apply_ms / 1000.0);
    registry.register("apply_seconds", "How long the latest change took", took);
    let rules = Family::<State, Gauge>::default();
    for state in RuleState::ALL {
        let count = i64::try_from(status.rules_in(*state)).unwrap_or(i64::MAX);
        rules.get_or_create(&State { state: state.name().to_owned() }).set(count);
    }
    registry.register("rules", "Rules by state", rules);
    let uncounted = Gauge::<i64>::default();
    uncounted.set(i64::try_from(status.rules_uncounted).unwrap_or(i64::MAX));
    registry.register("rules_uncounted", "About how many rules are not counted by state yet", uncounted);
    register_dataplane(&mut registry, status);
    register_peers(&mut registry, peers);
    traffic::register_sums(&mut registry, traffic);
    if let Some(Busiest { rules, left_out }) = single {
        traffic::register_rules(&mut registry, rules, *left_out);
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(exposition.of_open_metrics(text))
}

fn register_dataplane(registry: &mut Registry, status: &StatusView) {
    if !status.attachments.is_empty() {
        let interfaces = Family::<Attached, Gauge>::default();
        for there in &status.attachments {
            let label = Attached { interface: there.interface.clone(), mode: there.mode.name().to_owned() };
            interfaces.get_or_create(&label).set(i64::from(there.reason.is_none()));
        }
        registry.register("dataplane_interface", "1 where packets are filtered, 0 where they should be", interfaces);
    }
    if !status.statistics.is_empty() {
        let packets = Family::<What, Count>::default();
        for (what, count) in &status.statistics {
            packets.get_or_create(&What { what: what.clone() }).inc_by(*count);
        }
        registry.register("dataplane_packets", "Packets that no rule counts, by what happened to them", packets);
    }
    let warnings = Gauge::<i64>::default();
    warnings.set(i64::try_from(status.warnings.len()).unwrap_or(i64::MAX));
    registry.register("dataplane_warnings", "Warnings that `floodgate status` shows", warnings);
}

fn register_peers(registry: &mut Registry, peers: &[PeerView]) {
    let up = Family::<Peer, Gauge>::default();
    let rules = Family::<Peer, Gauge>::default();
    let stale = Family::<Peer, Gauge>::default();
    let updates = Family::<Peer, Count>::default();
    let sessions = Family::<Peer, Count>::default();
    let malformed = Family::<PeerKind, Count>::default();
    let errors = Family::<Peer, Count>::default();
    let framing = Family::<Peer, Count>::default();
    let advertised = Family::<Peer, Gauge>::default();
    for view in peers {
        let peer = Peer { peer: view.name.clone() };
        up.get_or_create(&peer).set(i64::from(view.state == SessionState::Established));
        rules.get_or_create(&peer).set(i64::try_from(view.rules).unwrap_or(i64::MAX));
        stale.get_or_create(&peer).set(i64::try_from(view.stale).unwrap_or(i64::MAX));
        updates.get_or_create(&peer).inc_by(view.updates);
        sessions.get_or_create(&peer).inc_by(view.established_count);
        framing.get_or_create(&peer).inc_by(view.framing_resets);
        errors.get_or_create(&peer).inc_by(view.malformed.values().sum());
        if let Some(count) = view.advertised {
            advertised.get_or_create(&peer).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (kind, count) in &view.malformed {
            malformed.get_or_create(&PeerKind { peer: view.name.clone(), kind: kind.clone() }).inc_by(*count);
        }
    }
    registry.register("peer_up", "1 while the session is established", up);
    registry.register("peer_rules", "Rules that the peer announces", rules);
    registry.register("peer_stale_rules", "Rules kept although the session is lost", stale);
    if peers.iter().any(|view| view.advertised.is_some()) {
        registry.register("peer_advertised_rules", "Rules of this machine that are advertised to the peer", advertised);
    }
    registry.register("peer_updates", "UPDATE messages received", updates);
    registry.register("peer_sessions", "Sessions that were established", sessions);
    registry.register(
        "peer_framing_resets",
        "Sessions restarted because the boundaries of the peer's rules were lost",
        framing,
    );
    registry.register("peer_errors", "Malformed messages, attributes and rules received, of all kinds", errors);
    registry.register("peer_malformed", "Malformed messages, attributes and rules received, by kind", malformed);
}

#[cfg(test)]
mod tests;
