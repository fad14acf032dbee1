//! Rules that are announced and not enforced: reported in the log and the history when that begins,
//! and by `status` as long as it lasts.

use super::event_log::{EventLog, Subject};
use super::peer_sessions::PeerSessions;
use super::tally::Counted;
use crate::convert::rule_state;
use crate::events::EventSubject;
use api::{EventKind, OrUnknown, RuleState};
use engine::Engine;
use flowspec::Nlri;
use std::sync::Arc;
use std::time::Instant;

/// Reports the rules that the latest decisions rejected.
pub(super) fn record_newly_rejected(engine: &mut Engine, events: &mut EventLog, sessions: &PeerSessions, now: Instant) {
    let engine::NewlyRejected { rules, more } = engine.take_newly_rejected();
    for nlri in &rules {
        record_unenforced(nlri, engine, events, sessions, now);
    }
    if more > 0 {
        let rules = rules.len() as u64 + more;
        tracing::warn!(rules, "many rules are not enforced; `floodgate status` counts them");
        events.record(EventKind::NotEnforced, EventSubject::words(format!("{rules} rules at once are not enforced")));
    }
}

/// Reports that a rule is not enforced, and why, up to a rate limit.
pub(super) fn record_unenforced(
    nlri: &Arc<Nlri>,
    engine: &Engine,
    events: &mut EventLog,
    sessions: &PeerSessions,
    now: Instant,
) {
    let Some(rule) = engine.rule(nlri) else { return };
    let state = rule.state();
    let Some(reason) = state.reason().filter(|_| rule_state(&state).is_unenforced()) else { return };
    let peer =
        rule.paths().find(|path| Arc::ptr_eq(path.route, rule.route())).map_or(crate::convert::LOCAL, |path| path.peer);
    let text = rule.rule().to_string();
    if !events.admit(peer, Subject::NotInForce, state.name(), now) {
        return;
    }
    let (peer, id) = (sessions.origin(peer), nlri.id().to_string());
    tracing::info!(peer, id, rule = text, reason, "{}", state.name());
    let message = Some(format!("{}: {reason}", state.name()));
    events.record(
        EventKind::NotEnforced,
        EventSubject { peer: Some(peer), id: Some(id), rule: Some(text), by: None, message },
    );
}

/// The warnings of `status`.
pub(super) fn warning(counted: &Counted) -> Option<String> {
    let unenforced = |state: &OrUnknown<RuleState>| state.known().is_some_and(RuleState::is_unenforced);
    let counts: Vec<_> = counted.states().iter().filter(|(state, count)| **count > 0 && unenforced(state)).collect();
    let (first, _) = counts.first()?;
    let total: u64 = counts.iter().map(|(_, count)| *count).sum();
    let kinds: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let rules = if total == 1 { "rule is" } else { "rules are" };
    let kinds = kinds.join(", ");
    Some(format!("{total} {rules} announced and not enforced: {kinds}; `floodgate rules {first}` says why"))
}
