//! What happened, told in the history and, where peers can cause it as often as they like, a few times a second in the log and else counted.

use crate::convert::LOCAL;
use crate::events::{About, History};
use crate::logging::Throttle;
use crate::net::PeerId;
use api::{Event, EventKind};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::broadcast;

/// What is told of a peer; a flood of one does not silence the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Something that it sent is malformed.
    Malformed,
    /// Its session came up or went down.
    Session,
    /// An attempt did not become a session.
    Attempt,
    /// The time of one of its rules was over.
    Expired,
    /// One of its rules is not in force.
    NotInForce,
}

/// The history, and what was left out of it. Of each peer and subject a few events a second are admitted; each of the others is counted, and
/// the counts are told before anything more of that peer and subject is.
#[derive(Debug)]
pub(super) struct EventLog {
    history: History,
    throttles: HashMap<(PeerId, Subject), Throttle>,
}

impl EventLog {
    /// With room for so many events.
    pub(super) fn new(capacity: usize) -> Self {
        EventLog { history: History::new(capacity), throttles: HashMap::new() }
    }

    /// Changes the room.
    pub(super) fn resize(&mut self, capacity: usize) {
        self.history.resize(capacity);
    }

    /// Something happened now.
    pub(super) fn record(&mut self, kind: EventKind, about: About) {
        self.history.record(kind, about);
    }

    /// Whether this is to be told now; if not, it is counted as `what`, and the number is told.
    pub(super) fn admit(&mut self, peer: PeerId, subject: Subject, what: &'static str, now: Instant) -> bool {
        self.throttles.entry((peer, subject)).or_default().admit(what, now)
    }

    /// Tells the numbers of what was not admitted; those of a peer that has no name any more are dropped.
    pub(super) fn log_summaries<'a>(&mut self, now: Instant, name: impl Fn(PeerId) -> Option<&'a str>) {
        let history = &mut self.history;
        for ((peer, subject), throttle) in &mut self.throttles {
            let Some(summary) = throttle.summary(now) else { continue };
            let name = if peer.0 == LOCAL.0 { Some("local") } else { name(*peer) };
            let Some(name) = name else { continue };
            let kind = subject.log(name, &summary);
            history.record(kind, About::peer(name).saying(summary));
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
    /// The line of the log for what was counted, and the kind of event that it is.
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
            Subject::Expired => {
                tracing::info!(peer, "time over: {summary}");
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
