//! The timers of a session, by the names of RFC 4271 §8.1.3 and §10, RFC 9687 and RFC 4724.

use std::time::Instant;

/// A timer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Timer {
    /// ConnectRetryTimer: the next connection attempt (event 9).
    ConnectRetry,
    /// HoldTimer: the peer has to send a message before it expires (event 10).
    Hold,
    /// KeepaliveTimer: the next KEEPALIVE is due (event 11).
    Keepalive,
    /// IdleHoldTimer: how long Idle lasts, with DampPeerOscillations (event 13).
    IdleHold,
    /// SendHoldTimer: the peer has to accept octets before it expires (RFC 9687; event 29).
    SendHold,
    /// RestartTimer: how long OPENs carry the R bit of RFC 4724 §3 after a restart of this speaker.
    Restart,
    /// Not a timer of an RFC: how long a connection that would be closed waits for the OPEN of the
    /// connection that it collides with.
    CollisionWait,
}

const TIMERS: usize = 7;

/// The deadlines of one FSM. A timer that is not running has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Instant>; TIMERS],
}

impl TimerTable {
    /// Starts a timer, or starts it anew.
    pub(crate) fn start(&mut self, timer: Timer, deadline: Instant) {
        self.deadlines[timer as usize] = Some(deadline);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = TimerTable::default();
    }

    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.deadlines[timer as usize]
    }

    pub(crate) fn is_running(&self, timer: Timer) -> bool {
        self.deadline(timer).is_some()
    }

    pub(crate) fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.deadline(timer).is_some_and(|deadline| deadline <= now)
    }

    /// The deadline that comes first.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }
}
