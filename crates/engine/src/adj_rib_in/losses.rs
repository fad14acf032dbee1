//! The losses of a peer's session after which some of its routes of one family have not been sent
//! again, and how long those are retained.
//!
//! Each stale path belongs to one loss, by number. A second loss before End-of-RIB leaves the first
//! one's deadline as it is (RFC 8538 §4.1, RFC 9494 §4.2), so paths of one family may have several
//! deadlines.

use crate::route::{RouteFamily, Timestamp};

/// How long a peer's routes of one family outlive the session. A family without an entry is deleted
/// at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The family.
    pub family: RouteFamily,
    /// They are retained unchanged until then: graceful restart, or hold on loss.
    pub until: Option<Timestamp>,
    /// After that, or at once, they are retained as a last resort until that time: long-lived
    /// graceful restart.
    pub long_lived_until: Option<Timestamp>,
    /// Paths that were stale already belong to this loss, too (hold on loss). Otherwise they keep
    /// their deadline (RFC 8538 §4.1, RFC 9494 §4.2).
    pub renews: bool,
}

/// Most losses that are kept separately. Of a peer that flaps more often within its retention,
/// further losses share the deadline of the latest.
const MOST: usize = 64;

/// The losses of one peer and family.
#[derive(Debug, Default)]
pub(super) struct Losses {
    list: Vec<Loss>,
    next: u16,
    /// The session is established: End-of-RIB is due by then.
    end_of_rib_by: Option<Timestamp>,
}

#[derive(Debug)]
struct Loss {
    number: u16,
    until: Option<Timestamp>,
    long_lived_until: Option<Timestamp>,
    /// The session was established again once: the deadline does not move any more.
    extended: bool,
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// End-of-RIB did not come in time: all stale paths are deleted.
    pub(super) all: bool,
    /// The paths of these losses are deleted.
    pub(super) expired: Vec<u16>,
    /// The paths of these losses are long-lived stale from now on (RFC 9494).
    pub(super) long_lived: Vec<u16>,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.expired.is_empty() && self.long_lived.is_empty()
    }
}

impl Losses {
    /// Records a loss; returns the number for the paths that become stale by it.
    pub(super) fn add(&mut self, retention: &Retention) -> u16 {
        self.end_of_rib_by = None;
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

    /// Drops losses that no path belongs to.
    pub(super) fn retain(&mut self, used: impl Fn(u16) -> bool) {
        self.list.retain(|loss| used(loss.number));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The session is established again, and End-of-RIB is due by then: this deadline replaces the
    /// restart timer.
    pub(super) fn start_end_of_rib_timer(&mut self, by: Timestamp) {
        self.end_of_rib_by = Some(by);
        for loss in self.list.iter_mut().filter(|loss| !loss.extended) {
            loss.until = loss.until.map(|until| until.max(by));
            loss.extended = true;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let losses = self.list.iter().filter_map(|loss| loss.until.or(loss.long_lived_until));
        losses.chain(self.end_of_rib_by).min()
    }

    /// Whether End-of-RIB is overdue.
    pub(super) fn is_end_of_rib_overdue(&self, now: Timestamp) -> bool {
        self.end_of_rib_by.is_some_and(|time| time <= now)
    }

    /// What is due at `now`.
    pub(super) fn expire(&mut self, now: Timestamp) -> Due {
        let over = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        let mut due = Due { all: over(self.end_of_rib_by), ..Due::default() };
        for loss in &mut self.list {
            if over(loss.until) && loss.long_lived_until.is_some_and(|time| time > now) {
                loss.until = None;
                due.long_lived.push(loss.number);
            } else if over(loss.until) || (loss.until.is_none() && over(loss.long_lived_until)) {
                due.expired.push(loss.number);
            }
        }
        self.list.retain(|loss| !due.expired.contains(&loss.number));
        due
    }
}
