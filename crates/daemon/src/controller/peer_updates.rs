//! UPDATE messages of peers: routes to the engine, and what was wrong with the message to the log.

use super::event_log::{EventLog, Subject};
use super::malformed::{Evidence, evidence};
use super::session_context::SessionContext;
use crate::convert;
use crate::events::About;
use crate::peer_table::PeerEntry;
use api::EventKind;
use bgp::{Destination, RouteKey, Update};
use engine::import_policy::OnExcess;
use engine::{AnnounceOutcome, UnicastChange};
use flowspec::Nlri;
use std::sync::Arc;

/// Changes of rules in one UPDATE that are told one by one; more are told as a number.
const TOLD: usize = 16;

/// Brings the routes of an UPDATE to the engine. What is to be done about more rules than `max-rules`, the first time in a session.
pub(super) fn take(entry: &mut PeerEntry, update: Update, context: &mut SessionContext<'_>) -> Option<OnExcess> {
    entry.count(&update);
    log_errors(entry, &update, context);
    let peer = engine::PeerId(entry.id().0);
    let name = entry.config().name.clone();
    // Of a full table on such a session, each message would be worth a line: only what may be a rule counts.
    let unicast_counts = entry.config().blackhole.is_none();
    let counts = |route: &&RouteKey| unicast_counts || matches!(route.destination, Destination::Flow(_));
    let announced = update.announced.iter().flat_map(|group| &group.routes);
    let count = update.withdrawn.iter().chain(announced).filter(counts).count();
    let told = count <= TOLD;
    let mut excess = None;
    let SessionContext { engine, events, time, .. } = context;
    for RouteKey { destination, path_id } in update.withdrawn {
        match destination {
            Destination::Flow(nlri) => {
                let nlri = Arc::new(nlri);
                if engine.withdraw(peer, Arc::clone(&nlri), path_id) && told {
                    tell(events, EventKind::Withdrawn, &name, &nlri, nlri.to_string());
                }
            }
            Destination::Unicast(net) => {
                let change = engine.withdraw_unicast(peer, net, path_id);
                tell_blackholes(entry, &name, &change, events);
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
                    excess = excess.or(tell_blackholes(entry, &name, &change, events));
                    continue;
                }
            };
            match engine.announce(peer, Arc::clone(&nlri), path_id, Arc::clone(&route), *time, None) {
                AnnounceOutcome::Changed if told => {
                    let text = api::rule_text::show(&nlri, &route.actions, route.next_hop);
                    tell(events, EventKind::Announced, &name, &nlri, text);
                }
                AnnounceOutcome::OverLimit(policy) => excess = excess.or(tell_excess(entry, policy, events)),
                AnnounceOutcome::Changed
                | AnnounceOutcome::Unchanged
                | AnnounceOutcome::Dropped
                | AnnounceOutcome::UnknownPeer => {}
            }
        }
    }
    if !told {
        events.record(EventKind::Bulk, About::peer(&name).saying(format!("{count} routes in one update")));
    }
    excess
}

/// Every announcement and withdrawal of a blackhole is told (RFC 7999 §3.3), also one that changes nothing.
fn tell_blackholes(
    entry: &mut PeerEntry,
    name: &str,
    change: &UnicastChange,
    events: &mut EventLog,
) -> Option<OnExcess> {
    let mut excess = None;
    for nlri in &change.withdrawn {
        tell(events, EventKind::Withdrawn, name, nlri, nlri.to_string());
    }
    for (nlri, route, outcome) in &change.announced {
        if let AnnounceOutcome::OverLimit(policy) = outcome {
            excess = excess.or(tell_excess(entry, *policy, events));
        }
        if *outcome != AnnounceOutcome::Dropped {
            let text = api::rule_text::show(nlri, &route.actions, route.next_hop);
            tell(events, EventKind::Announced, name, nlri, text);
        }
    }
    excess
}

/// Each error of a malformed UPDATE, and with the first that is told what the message was (RFC 7606 §8).
fn log_errors(entry: &PeerEntry, update: &Update, context: &mut SessionContext<'_>) {
    let mut evidence_due = !update.octets.is_empty();
    for error in &update.errors {
        if !context.events.admit(entry.id(), Subject::Malformed, error.kind.name(), context.now) {
            continue;
        }
        let peer = &entry.config().name;
        if std::mem::take(&mut evidence_due) {
            let Evidence { nlri, octets } = evidence(&update.octets, entry.negotiated());
            tracing::warn!(peer, %error, nlri, octets, "malformed");
        } else {
            tracing::warn!(peer, %error, "malformed");
        }
        context.events.record(EventKind::Malformed, About::peer(peer).saying(error.to_string()));
    }
}

fn tell(events: &mut EventLog, kind: EventKind, peer: &str, nlri: &Nlri, text: String) {
    tracing::debug!(peer, id = %nlri.id(), rule = text, "{kind:?}");
    let about = About { rule: Some(text), id: Some(nlri.id().to_string()), ..About::peer(peer) };
    events.record(kind, about);
}

/// Tells of more rules than `max-rules`, once a session.
fn tell_excess(entry: &mut PeerEntry, policy: OnExcess, events: &mut EventLog) -> Option<OnExcess> {
    if !entry.is_first_excess() {
        return None;
    }
    let (peer, limit) = (&entry.config().name, entry.config().max_rules);
    let what = match policy {
        OnExcess::Warn => "they are taken all the same",
        OnExcess::Ignore => "the rest is not enforced",
        OnExcess::Close => "the session is closed",
    };
    tracing::warn!(peer, limit, "more rules than max-rules; {what}");
    events.record(EventKind::Bulk, About::peer(peer).saying(format!("more than {limit} rules: {what}")));
    Some(policy)
}
