//! UPDATE messages of peers: passes routes to the engine and errors to the log.

use super::event_log::{EventLog, Subject};
use super::malformed::{MalformedUpdate, malformed_update};
use super::session_context::SessionContext;
use crate::convert;
use crate::events::EventSubject;
use crate::peer_table::PeerEntry;
use api::EventKind;
use bgp::{Destination, RouteKey, Update};
use engine::import_policy::OnExcess;
use engine::{AnnounceOutcome, UnicastChange};
use flowspec::Nlri;
use std::sync::Arc;

/// Most changes of rules in one UPDATE that are reported one by one; more are reported as a number.
const MAX_EVENTS: usize = 16;

/// Passes the routes of an UPDATE to the engine. Returns what to do about more rules than
/// `max-rules`, the first time in a session.
pub(super) fn take(entry: &mut PeerEntry, update: Update, context: &mut SessionContext<'_>) -> Option<OnExcess> {
    entry.count(&update);
    log_errors(entry, &update, context);
    let peer = entry.id();
    let name = entry.config().name.clone();
    // On a session with a full table, every message would cause a line: only unicast routes that
    // may become a rule count.
    let unicast_counts = entry.config().blackhole.is_none();
    let counts = |route: &&RouteKey| unicast_counts || matches!(route.destination, Destination::Flow(_));
    let announced = update.announced.iter().flat_map(|group| &group.routes);
    let count = update.withdrawn.iter().chain(announced).filter(counts).count();
    let one_by_one = count <= MAX_EVENTS;
    let mut excess = None;
    let SessionContext { engine, events, time, .. } = context;
    for RouteKey { destination, path_id } in update.withdrawn {
        match destination {
            Destination::Flow(nlri) => {
                let nlri = Arc::new(nlri);
                if engine.withdraw(peer, Arc::clone(&nlri), path_id) && one_by_one {
                    record_event(events, EventKind::Withdrawn, &name, &nlri, nlri.to_string());
                }
            }
            Destination::Unicast(net) => {
                let change = engine.withdraw_unicast(peer, net, path_id);
                record_blackhole_events(entry, &name, &change, events);
            }
        }
    }
    for group in update.announced {
        let Some(route) = convert::route(&group) else { continue };
        for RouteKey { destination, path_id } in group.routes {
            let nlri = match destination {
                Destination::Flow(nlri) => Arc::new(nlri),
                Destination::Unicast(net) => {
                    let change = engine.announce_unicast(peer, net, path_id, Arc::clone(&route), *time);
                    excess = excess.or(record_blackhole_events(entry, &name, &change, events));
                    continue;
                }
            };
            match engine.announce(peer, Arc::clone(&nlri), path_id, Arc::clone(&route), *time, None) {
                AnnounceOutcome::Changed if one_by_one => {
                    let text = api::rule_text::show(&nlri, &route.actions, route.next_hop);
                    record_event(events, EventKind::Announced, &name, &nlri, text);
                }
                AnnounceOutcome::OverLimit(policy) => excess = excess.or(record_excess(entry, policy, events)),
                AnnounceOutcome::Changed
                | AnnounceOutcome::Unchanged
                | AnnounceOutcome::Dropped
                | AnnounceOutcome::UnknownPeer => {}
            }
        }
    }
    if !one_by_one {
        events.record(EventKind::Bulk, EventSubject::peer(&name).with_message(format!("{count} routes in one update")));
    }
    excess
}

/// Reports every announcement and withdrawal of a blackhole (RFC 7999 §3.3), also if it changes
/// nothing.
fn record_blackhole_events(
    entry: &mut PeerEntry,
    name: &str,
    change: &UnicastChange,
    events: &mut EventLog,
) -> Option<OnExcess> {
    let mut excess = None;
    for nlri in &change.withdrawn {
        record_event(events, EventKind::Withdrawn, name, nlri, nlri.to_string());
    }
    for (nlri, route, outcome) in &change.announced {
        if let AnnounceOutcome::OverLimit(policy) = outcome {
            excess = excess.or(record_excess(entry, *policy, events));
        }
        if *outcome != AnnounceOutcome::Dropped {
            let text = api::rule_text::show(nlri, &route.actions, route.next_hop);
            record_event(events, EventKind::Announced, name, nlri, text);
        }
    }
    excess
}

/// Reports each error of a malformed UPDATE, and the message with the first of them (RFC 7606 §8).
fn log_errors(entry: &PeerEntry, update: &Update, context: &mut SessionContext<'_>) {
    let mut evidence_due = !update.octets.is_empty();
    for error in &update.errors {
        if !context.events.admit(entry.id(), Subject::Malformed, error.kind.name(), context.now) {
            continue;
        }
        let peer = &entry.config().name;
        if std::mem::take(&mut evidence_due) {
            let MalformedUpdate { nlri, octets } = malformed_update(&update.octets, entry.negotiated());
            tracing::warn!(peer, %error, nlri, octets, "malformed");
        } else {
            tracing::warn!(peer, %error, "malformed");
        }
        context.events.record(EventKind::Malformed, EventSubject::peer(peer).with_message(error.to_string()));
    }
}

fn record_event(events: &mut EventLog, kind: EventKind, peer: &str, nlri: &Nlri, text: String) {
    tracing::debug!(peer, id = %nlri.id(), rule = text, "{kind:?}");
    let about = EventSubject { rule: Some(text), id: Some(nlri.id().to_string()), ..EventSubject::peer(peer) };
    events.record(kind, about);
}

/// Reports that there are more rules than `max-rules`, once a session.
fn record_excess(entry: &mut PeerEntry, policy: OnExcess, events: &mut EventLog) -> Option<OnExcess> {
    if !entry.is_first_excess() {
        return None;
    }
    let (peer, limit) = (&entry.config().name, entry.config().max_rules);
    let what = match policy {
        OnExcess::Warn => "they are accepted nevertheless",
        OnExcess::Ignore => "the rest is not enforced",
        OnExcess::Close => "the session is closed",
    };
    tracing::warn!(peer, limit, "more rules than max-rules; {what}");
    events.record(EventKind::Bulk, EventSubject::peer(peer).with_message(format!("more than {limit} rules: {what}")));
    Some(policy)
}
