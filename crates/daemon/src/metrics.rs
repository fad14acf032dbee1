//! Prometheus metrics, made from a snapshot at each scrape; one table declares all names.

use api::{PeerView, SessionState, StatusView};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// The content type of the exposition format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
pub fn render(status: &StatusView, peers: &[PeerView]) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("floodgate");
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
    for (state, count) in &status.rules {
        rules.get_or_create(&State { state: state.name().to_owned() }).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    registry.register("rules", "Rules by state", rules);
    register_dataplane(&mut registry, status);
    register_peers(&mut registry, peers);
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
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
    let framing = Family::<Peer, Count>::default();
    for view in peers {
        let peer = Peer { peer: view.name.clone() };
        up.get_or_create(&peer).set(i64::from(view.state == SessionState::Established));
        rules.get_or_create(&peer).set(i64::try_from(view.rules).unwrap_or(i64::MAX));
        stale.get_or_create(&peer).set(i64::try_from(view.stale).unwrap_or(i64::MAX));
        updates.get_or_create(&peer).inc_by(view.updates);
        sessions.get_or_create(&peer).inc_by(view.established_count);
        framing.get_or_create(&peer).inc_by(view.framing_resets);
        for (kind, count) in &view.malformed {
            malformed.get_or_create(&PeerKind { peer: view.name.clone(), kind: kind.clone() }).inc_by(*count);
        }
    }
    registry.register("peer_up", "1 while the session is established", up);
    registry.register("peer_rules", "Rules that the peer announces", rules);
    registry.register("peer_stale_rules", "Rules kept although the session is lost", stale);
    registry.register("peer_updates", "UPDATE messages received", updates);
    registry.register("peer_sessions", "Sessions that were established", sessions);
    registry.register(
        "peer_framing_resets",
        "Sessions restarted because the boundaries of the peer's rules were lost",
        framing,
    );
    registry.register("peer_malformed", "Malformed messages, attributes and rules received, by kind", malformed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{AttachmentMode, RuleState};

    #[test]
    fn names_and_labels() {
        let attachment = |interface: &str, mode: AttachmentMode, reason: Option<&str>| api::AttachmentView {
            interface: interface.to_owned(),
            mode: mode.into(),
            reason: reason.map(str::to_owned),
        };
        let status = StatusView {
            rules: [(RuleState::Installed.into(), 3)].into(),
            applied: 7,
            attachments: vec![
                attachment("eth0", AttachmentMode::Generic, None),
                attachment("eth1", AttachmentMode::None, Some("gone")),
            ],
            statistics: [("truncated".to_owned(), 5)].into(),
            ..StatusView::default()
        };
        let peer =
            PeerView { name: "a".into(), state: SessionState::Established.into(), rules: 3, ..PeerView::default() };
        let text = render(&status, &[peer]).unwrap();
        for line in [
            "floodgate_rules{state=\"installed\"} 3",
            "floodgate_applied_total 7",
            "floodgate_peer_up{peer=\"a\"} 1",
            "floodgate_dataplane_up 1",
            "floodgate_state_saved 1",
            "floodgate_dataplane_interface{interface=\"eth0\",mode=\"generic\"} 1",
            "floodgate_dataplane_interface{interface=\"eth1\",mode=\"none\"} 0",
            "floodgate_dataplane_packets_total{what=\"truncated\"} 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
