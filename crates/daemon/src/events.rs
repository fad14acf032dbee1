//! What happened: the events that `floodgate watch` streams and `floodgate history` remembers.

use api::{Event, EventKind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The peer.
    pub peer: Option<String>,
    /// The rule's id.
    pub id: Option<String>,
    /// The rule's text.
    pub rule: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
    /// The rest, in words.
    pub message: Option<String>,
}

impl About {
    /// Something that somebody asked for.
    pub fn asked_by(by: Option<String>) -> Self {
        About { by, ..About::default() }
    }

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

/// Octets of events that are remembered, however many the configuration wants.
const ROOM: usize = 8 << 20;

/// Octets of a rule's text, or of a message, that an event keeps: a peer may send rules whose text is 60 KiB.
const LONGEST_TEXT: usize = 4096;

/// Octets that an event takes beside its texts, or a little more.
const BESIDE: usize = 256;

/// Events that a watcher may be behind.
const LISTENER_BACKLOG: usize = 4096;

/// Remembers the latest events and tells those who watch. Bounded in number, as configured, and in octets.
#[derive(Debug)]
pub struct History {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
    octets: usize,
    last: u64,
    watchers: broadcast::Sender<Arc<Event>>,
}

impl History {
    /// Room for so many events.
    pub fn new(capacity: usize) -> Self {
        History {
            events: VecDeque::new(),
            capacity,
            octets: 0,
            last: 0,
            watchers: broadcast::channel(LISTENER_BACKLOG).0,
        }
    }

    /// Changes the room.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.forget();
        self.events.shrink_to_fit();
    }

    /// Something happened now.
    pub fn record(&mut self, kind: EventKind, about: About) {
        self.last += 1;
        let About { peer, id, rule, by, message } = about;
        let (rule, message) = (rule.map(shortened), message.map(shortened));
        let (number, time) = (self.last, timestamp(SystemTime::now()));
        let event = Arc::new(Event { number, time, event: kind.into(), peer, id, rule, by, message });
        // Nobody watching is no error.
        let _ = self.watchers.send(Arc::clone(&event));
        self.octets += octets(&event);
        self.events.push_back(event);
        self.forget();
    }

    fn forget(&mut self) {
        while self.events.len() > self.capacity || self.octets > ROOM {
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

/// Octets of memory that an event takes, or a little more.
fn octets(event: &Event) -> usize {
    let texts = [&event.peer, &event.id, &event.rule, &event.by, &event.message];
    BESIDE + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// The beginning of a long text, and how much more there was.
fn shortened(text: String) -> String {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let end = text.floor_char_boundary(LONGEST_TEXT);
    format!("{} ... ({} octets more)", &text[..end], text.len() - end)
}

/// The last second of the year 9999: RFC 3339 has no form for later ones.
const LAST_SECOND: u64 = 253_402_300_799;

/// RFC 3339 in UTC with milliseconds. Times that it has no form for are shown as the nearest that it has.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// The moment so many seconds after 1970, or the last one that can be told.
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
            history.record(EventKind::PeerUp, About::peer(name));
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
            let about = About { rule: Some(rule.clone()), ..About::words(format!("{number}")) };
            history.record(EventKind::Announced, about);
        }
        let held = history.latest(usize::MAX);
        let octets: usize = held.iter().map(|event| octets(event)).sum();
        assert_eq!(octets, history.octets);
        assert!((ROOM / 2..=ROOM).contains(&octets), "{octets}");
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
