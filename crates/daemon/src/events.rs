//! Events: `floodgate watch` streams them, `floodgate history` shows the latest.

use api::{Event, EventKind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// The subject of an event.
#[derive(Clone, Debug, Default)]
pub struct EventSubject {
    /// The peer.
    pub peer: Option<String>,
    /// The rule's id.
    pub id: Option<String>,
    /// The rule's text.
    pub rule: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
    /// The message, for people.
    pub message: Option<String>,
}

impl EventSubject {
    /// Something that somebody asked for.
    pub fn asked_by(by: Option<String>) -> Self {
        EventSubject { by, ..EventSubject::default() }
    }

    /// A peer.
    pub fn peer(name: &str) -> Self {
        EventSubject { peer: Some(name.to_owned()), ..EventSubject::default() }
    }

    /// A message.
    pub fn words(message: impl Into<String>) -> Self {
        EventSubject { message: Some(message.into()), ..EventSubject::default() }
    }

    /// Adds a message.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// Most octets of events in memory, whatever number the configuration asks for.
pub(crate) const MAX_OCTETS: usize = 8 << 20;

/// Most octets of a rule's text or of a message in one event: a peer may send rules whose text is
/// 60 KiB.
pub(crate) const LONGEST_TEXT: usize = 4096;

/// Octets of an event without its texts, approximately.
const EVENT_OVERHEAD: usize = 256;

/// Most events that a watcher may be behind.
const LISTENER_BACKLOG: usize = 4096;

/// Keeps the latest events and sends them to watchers. Limited in number, as configured, and in
/// octets.
#[derive(Debug)]
pub struct History {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
    octets: usize,
    last: u64,
    watchers: broadcast::Sender<Arc<Event>>,
}

impl History {
    /// With a capacity of this many events.
    pub fn new(capacity: usize) -> Self {
        History {
            events: VecDeque::new(),
            capacity,
            octets: 0,
            last: 0,
            watchers: broadcast::channel(LISTENER_BACKLOG).0,
        }
    }

    /// Changes the capacity.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.forget();
        self.events.shrink_to_fit();
    }

    /// Records an event at the current time.
    pub fn record(&mut self, kind: EventKind, about: EventSubject) {
        self.last += 1;
        let EventSubject { peer, id, rule, by, message } = about;
        let (rule, message) = (rule.map(shortened), message.map(shortened));
        let (number, time) = (self.last, timestamp(SystemTime::now()));
        let event = Arc::new(Event { number, time, event: kind.into(), peer, id, rule, by, message });
        // Without a watcher, sending fails; that is not an error.
        let _ = self.watchers.send(Arc::clone(&event));
        self.octets += octets(&event);
        self.events.push_back(event);
        self.forget();
    }

    fn forget(&mut self) {
        while self.events.len() > self.capacity || self.octets > MAX_OCTETS {
            let Some(event) = self.events.pop_front() else { return };
            self.octets -= octets(&event);
        }
    }

    /// The latest `count` events, oldest first.
    pub fn latest(&self, count: usize) -> Vec<Arc<Event>> {
        self.events.iter().skip(self.events.len().saturating_sub(count)).cloned().collect()
    }

    /// Events from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Event>> {
        self.watchers.subscribe()
    }
}

/// Octets of memory of an event, approximately.
fn octets(event: &Event) -> usize {
    let texts = [&event.peer, &event.id, &event.rule, &event.by, &event.message];
    EVENT_OVERHEAD + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// The beginning of a long text, and the number of octets left out.
fn shortened(text: String) -> String {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let end = text.floor_char_boundary(LONGEST_TEXT);
    format!("{} ... ({} octets more)", &text[..end], text.len() - end)
}

/// The last second of the year 9999: RFC 3339 cannot express later ones.
const LAST_SECOND: u64 = 253_402_300_799;

/// RFC 3339 in UTC with milliseconds. Times that it cannot express become the nearest that it can.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// The moment this many seconds after 1970, or the last one that can be expressed.
pub fn unix_time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_has_a_form() {
        assert_eq!(timestamp(unix_time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(unix_time(u64::MAX)), "9999-12-31T23:59:59.000Z");
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn the_latest_are_remembered_and_the_watchers_told() {
        let mut history = History::new(2);
        let mut watcher = history.watch();
        for name in ["a", "b", "c"] {
            history.record(EventKind::PeerUp, EventSubject::peer(name));
        }
        let names = |events: Vec<Arc<Event>>| events.iter().filter_map(|e| e.peer.clone()).collect::<Vec<_>>();
        assert_eq!(names(history.latest(10)), ["b", "c"]);
        assert_eq!(names(history.latest(1)), ["c"]);
        assert_eq!(watcher.try_recv().unwrap().peer.as_deref(), Some("a"));
        history.resize(1);
        assert_eq!(names(history.latest(10)), ["c"]);
    }
    #[test]
    fn long_texts_take_no_more_than_the_room() {
        let mut history = History::new(1_000_000);
        let rule = "dport 65535,".repeat(5000);
        for number in 0..10_000 {
            let about = EventSubject { rule: Some(rule.clone()), ..EventSubject::words(format!("{number}")) };
            history.record(EventKind::Announced, about);
        }
        let held = history.latest(usize::MAX);
        let octets: usize = held.iter().map(|event| octets(event)).sum();
        assert_eq!(octets, history.octets);
        assert!((MAX_OCTETS / 2..=MAX_OCTETS).contains(&octets), "{octets}");
        let last = held.last().unwrap();
        assert_eq!(last.message.as_deref(), Some("9999"));
        assert!(last.rule.as_ref().unwrap().ends_with("... (55904 octets more)"), "{:?}", last.rule);
        history.resize(0);
        assert_eq!((history.latest(10).len(), history.octets), (0, 0));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "ä".repeat(LONGEST_TEXT);
        assert!(shortened(format!("x{text}")).ends_with(&format!("({} octets more)", LONGEST_TEXT + 2)));
        assert_eq!(shortened("ä".repeat(LONGEST_TEXT / 2)).len(), LONGEST_TEXT);
    }
}
