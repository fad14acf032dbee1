//! What happened: the events that `floodgate watch` streams and `floodgate history` remembers.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::SystemTime;
use tokio::sync::broadcast;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Counts up from 1 since the daemon started.
    pub number: u64,
    /// When, RFC 3339, UTC, milliseconds.
    pub time: String,
    /// What kind.
    pub event: Kind,
    /// The peer that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The rule's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rule's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The rest, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The daemon started.
    Started,
    /// The daemon is stopping.
    Stopping,
    /// A session came up.
    PeerUp,
    /// A session went down.
    PeerDown,
    /// A peer sent something malformed.
    Malformed,
    /// A peer has sent all its rules.
    EndOfRib,
    /// A rule was announced, or announced differently.
    Announced,
    /// A rule was withdrawn.
    Withdrawn,
    /// A rule ran out of time.
    Expired,
    /// Many rules changed at once; the message says how many.
    Bulk,
    /// The data plane did not take a change.
    ApplyFailed,
    /// The data plane was changed by somebody else, and is being put right.
    Damaged,
    /// All filtering was taken out.
    Paused,
    /// It was put back.
    Resumed,
    /// All local rules were taken out.
    Cleared,
    /// A changed configuration is in force.
    Reloaded,
    /// A changed configuration was refused.
    ReloadFailed,
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The peer.
    pub peer: Option<String>,
    /// The rule's id.
    pub id: Option<String>,
    /// The rule's text.
    pub rule: Option<String>,
    /// The rest, in words.
    pub message: Option<String>,
}

impl About {
    /// A peer.
    pub fn peer(name: &str) -> Self {
        About { peer: Some(name.to_owned()), ..About::default() }
    }

    /// Words.
    pub fn words(message: impl Into<String>) -> Self {
        About { message: Some(message.into()), ..About::default() }
    }

    /// The same, with words.
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// Remembers the latest events and tells those who watch.
#[derive(Debug)]
pub struct History {
    events: VecDeque<Event>,
    capacity: usize,
    last: u64,
    watchers: broadcast::Sender<Event>,
}

impl History {
    /// Room for so many events.
    pub fn new(capacity: usize) -> Self {
        History { events: VecDeque::new(), capacity, last: 0, watchers: broadcast::channel(4096).0 }
    }

    /// Changes the room.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        let excess = self.events.len().saturating_sub(capacity);
        self.events.drain(..excess);
    }

    /// Something happened now.
    pub fn record(&mut self, kind: Kind, about: About) {
        self.last += 1;
        let About { peer, id, rule, message } = about;
        let event =
            Event { number: self.last, time: timestamp(SystemTime::now()), event: kind, peer, id, rule, message };
        // Nobody watching is no error.
        let _ = self.watchers.send(event.clone());
        if self.capacity > 0 {
            if self.events.len() >= self.capacity {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    /// The latest `count` events, oldest first.
    pub fn latest(&self, count: usize) -> Vec<Event> {
        self.events.iter().skip(self.events.len().saturating_sub(count)).cloned().collect()
    }

    /// Events from now on.
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.watchers.subscribe()
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_the_watchers_told() {
        let mut history = History::new(2);
        let mut watcher = history.watch();
        for name in ["a", "b", "c"] {
            history.record(Kind::PeerUp, About::peer(name));
        }
        let names = |events: Vec<Event>| events.into_iter().filter_map(|e| e.peer).collect::<Vec<_>>();
        assert_eq!(names(history.latest(10)), ["b", "c"]);
        assert_eq!(names(history.latest(1)), ["c"]);
        assert_eq!(watcher.try_recv().unwrap().peer.as_deref(), Some("a"));
        history.resize(1);
        assert_eq!(names(history.latest(10)), ["c"]);
    }
}
