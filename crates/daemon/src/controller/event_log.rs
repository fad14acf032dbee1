//! Events for the history and the log. What peers can cause at any rate is limited to a few events
//! a second; the rest is counted.

use crate::convert::LOCAL;
use crate::events::{EventSubject, History};
use crate::logging::Throttle;
use api::{Event, EventKind};
use engine::PeerId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::broadcast;

/// A kind of event of a peer. Each has its own limit, so that a flood of one does not suppress the
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// It sent something malformed.
    Malformed,
    /// Its session came up or went down.
    Session,
    /// Its connections are refused for a time; apart from its sessions, whose coming and going is
    /// what leads there.
    Refused,
    /// A connection attempt failed.
    Attempt,
    /// The lifetime of one of its rules ended.
    Expired,
    /// One of its rules is not in force.
    NotInForce,
}

/// The history, and the counts of what was left out of it. For each peer and subject a few events a
/// second are admitted; the others are counted, and the counts are reported before the next event
/// of that peer and subject.
#[derive(Debug)]
pub(super) struct EventLog {
    history: History,
    throttles: HashMap<(PeerId, Subject), Throttle>,
}

impl EventLog {
    /// With a capacity of this many events.
    pub(super) fn new(capacity: usize) -> Self {
        EventLog { history: History::new(capacity), throttles: HashMap::new() }
    }

    /// Changes the capacity.
    pub(super) fn resize(&mut self, capacity: usize) {
        self.history.resize(capacity);
    }

    /// Records an event at the current time.
    pub(super) fn record(&mut self, kind: EventKind, about: EventSubject) {
        self.history.record(kind, about);
    }

    /// Whether to report this now. If not, it is counted as `what`, and the count is reported
    /// later.
    pub(super) fn admit(&mut self, peer: PeerId, subject: Subject, what: &'static str, now: Instant) -> bool {
        self.throttles.entry((peer, subject)).or_default().admit(what, now)
    }

    /// Reports the counts of events that were not admitted; those of a peer that no longer has a
    /// name are dropped.
    pub(super) fn log_summaries<'a>(&mut self, now: Instant, name: impl Fn(PeerId) -> Option<&'a str>) {
        let history = &mut self.history;
        for ((peer, subject), throttle) in &mut self.throttles {
            let Some(summary) = throttle.summary(now) else { continue };
            let name = if peer.0 == LOCAL.0 { Some("local") } else { name(*peer) };
            let Some(name) = name else { continue };
            let kind = subject.log(name, &summary);
            history.record(kind, EventSubject::peer(name).with_message(summary));
        }
        self.throttles.retain(|_, throttle| !throttle.is_idle(now));
    }

    /// The latest `count` events, oldest first.
    pub(super) fn latest(&self, count: usize) -> Vec<Arc<Event>> {
        self.history.latest(count)
    }

    /// Events from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Arc<Event>> {
        self.history.watch()
    }
}

impl Subject {
    /// The log line and the kind of event for a count.
    fn log(self, peer: &str, summary: &str) -> EventKind {
        match self {
            Subject::Malformed => {
                tracing::warn!(peer, "malformed: {summary}");
                EventKind::Malformed
            }
            Subject::Session => {
                tracing::warn!(peer, "session: {summary}");
                EventKind::PeerDown
            }
            Subject::Refused => {
                tracing::warn!(peer, "refused: {summary}");
                EventKind::PeerDown
            }
            Subject::Expired => {
                tracing::info!(peer, "rules expired: {summary}");
                EventKind::Expired
            }
            Subject::Attempt => {
                tracing::info!(peer, "no session: {summary}");
                EventKind::SessionFailed
            }
            Subject::NotInForce => {
                tracing::warn!(peer, "not enforced: {summary}");
                EventKind::NotEnforced
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn messages(events: &EventLog) -> Vec<(Option<String>, String)> {
        let latest = events.latest(100).into_iter();
        latest.map(|event| (event.peer.clone(), event.message.clone().unwrap_or_default())).collect()
    }

    #[test]
    fn one_peers_flood_silences_neither_another_peer_nor_another_subject() {
        let (mut events, start) = (EventLog::new(100), Instant::now());
        let admitted = (0..1000).filter(|_| events.admit(PeerId(1), Subject::Malformed, "length", start)).count();
        assert!((1..20).contains(&admitted), "{admitted}");
        assert!(events.admit(PeerId(2), Subject::Malformed, "length", start));
        assert!(events.admit(PeerId(1), Subject::Session, "down", start));
        let later = start + Duration::from_secs(2);
        events.log_summaries(later, |peer| (peer == PeerId(1)).then_some("a"));
        let told = messages(&events);
        let [(Some(peer), message)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(peer, "a");
        assert!(message.starts_with(&format!("{} more in ", 1000 - admitted)), "{message}");
        assert!(events.admit(PeerId(1), Subject::Malformed, "length", later), "and it may be told again");
    }

    #[test]
    fn a_peer_that_is_gone_has_no_summary_and_leaves_nothing_behind() {
        let (mut events, start) = (EventLog::new(100), Instant::now());
        for _ in 0..100 {
            events.admit(PeerId(7), Subject::Attempt, "attempts", start);
        }
        events.log_summaries(start + Duration::from_secs(2), |_| None);
        assert!(messages(&events).is_empty() && events.throttles.is_empty());
    }
}
