//! The losses of a peer's session since which some of its routes of one family have not been sent again, and until when those routes stay.
//!
//! Each stale path belongs to one loss, by number. A second loss before End-of-RIB leaves the first one's deadline as it is (RFC 8538 §4.1,
//! RFC 9494 §4.2), so paths of one family may have several deadlines.

use super::stale::Retention;
use crate::route::Timestamp;

/// A peer that flaps faster than this many times within its retention shares a loss: the deadline of the latest.
const MOST: usize = 64;

/// The losses of one peer and family.
#[derive(Debug, Default)]
pub(super) struct Losses {
    list: Vec<Loss>,
    next: u16,
    /// The session is up: until when the peer is to have sent everything.
    synchronized_by: Option<Timestamp>,
}

#[derive(Debug)]
struct Loss {
    number: u16,
    until: Option<Timestamp>,
    long_lived_until: Option<Timestamp>,
    /// The peer was back once: its deadline moves no more.
    extended: bool,
}

/// What became due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// The peer did not send everything in time: all stale paths go.
    pub(super) all: bool,
    /// The paths of these losses go.
    pub(super) gone: Vec<u16>,
    /// The paths of these losses are a last resort from now on.
    pub(super) long_lived: Vec<u16>,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.gone.is_empty() && self.long_lived.is_empty()
    }
}

impl Losses {
    /// Notes a loss; the number for the paths that become stale by it.
    pub(super) fn add(&mut self, retention: &Retention) -> u16 {
        self.synchronized_by = None;
        if retention.renews {
            self.list.clear();
        }
        let Retention { until, long_lived_until, .. } = *retention;
        let same = |loss: &&mut Loss| loss.until == until && loss.long_lived_until == long_lived_until;
        if let Some(loss) = self.list.iter_mut().find(same) {
            return loss.number;
        }
        let full = self.list.len() >= MOST;
        if let Some(latest) = self.list.last_mut().filter(|_| full) {
            (latest.until, latest.long_lived_until) = (until, long_lived_until);
            return latest.number;
        }
        self.next = self.next.wrapping_add(1);
        self.list.push(Loss { number: self.next, until, long_lived_until, extended: false });
        self.next
    }

    /// Forgets losses that no path belongs to.
    pub(super) fn retain(&mut self, used: impl Fn(u16) -> bool) {
        self.list.retain(|loss| used(loss.number));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The session is up again; by then the peer is to have sent everything. From now on it is not the time to come back that counts.
    pub(super) fn back(&mut self, by: Timestamp) {
        self.synchronized_by = Some(by);
        for loss in self.list.iter_mut().filter(|loss| !loss.extended) {
            loss.until = loss.until.map(|until| until.max(by));
            loss.extended = true;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let losses = self.list.iter().filter_map(|loss| loss.until.or(loss.long_lived_until));
        losses.chain(self.synchronized_by).min()
    }

    /// Whether the peer is back and has not sent everything in time.
    pub(super) fn is_unsynchronized(&self, now: Timestamp) -> bool {
        self.synchronized_by.is_some_and(|time| time <= now)
    }

    /// What is due at `now`.
    pub(super) fn expire(&mut self, now: Timestamp) -> Due {
        let over = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        let mut due = Due { all: over(self.synchronized_by), ..Due::default() };
        for loss in &mut self.list {
            if over(loss.until) && loss.long_lived_until.is_some_and(|time| time > now) {
                loss.until = None;
                due.long_lived.push(loss.number);
            } else if over(loss.until) || (loss.until.is_none() && over(loss.long_lived_until)) {
                due.gone.push(loss.number);
            }
        }
        self.list.retain(|loss| !due.gone.contains(&loss.number));
        due
    }
}
