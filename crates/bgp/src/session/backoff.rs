//! Back-off times that double: ConnectRetryCounter and DampPeerOscillations of RFC 4271 §8.1.1.
//!
//! Two counters, because an attempt that fails before a session is established only delays this
//! side's own connection attempts (garbage that another host sends from the peer's address must not
//! lock the peer out), while a session that is lost soon after it was established is the fault of
//! the peer.

use crate::session::config::PeerConfig;
use std::time::Duration;

/// Sessions in a row that may be lost soon without a consequence: a router that is started twice
/// does not flap, and some stay away for a minute when they are refused.
const FREE_SHORT_SESSIONS: u32 = 2;

/// How often something failed in a row.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    /// ConnectRetryCounter: outgoing connections that did not become a session.
    connect_retries: u32,
    /// Sessions that were lost soon after they were established, without a consequence.
    free_short_sessions: u32,
    /// Those for which connections were refused.
    short_sessions: u32,
}

impl BackOff {
    /// The peer is stable, or the operator starts the session.
    pub(crate) fn reset(&mut self) {
        *self = BackOff::default();
    }

    /// Time until the next connection attempt. While routes of the peer are retained it does not
    /// grow beyond the ConnectRetryTime.
    pub(crate) fn next_connect(&mut self, config: &PeerConfig, retained: bool) -> Duration {
        let most = if retained { config.connect_retry } else { config.connect_back_off_max };
        doubled(config.idle_hold, &mut self.connect_retries).min(most)
    }

    /// Counts a session that was lost soon; whether that has no consequence yet.
    pub(crate) fn is_free_short_session(&mut self) -> bool {
        let free = self.free_short_sessions < FREE_SHORT_SESSIONS;
        self.free_short_sessions += u32::from(free);
        free
    }

    /// How long connections are refused after a short session, or after one in which the peer sent
    /// too much; none is free any more.
    pub(crate) fn next_idle_hold(&mut self, config: &PeerConfig) -> Duration {
        self.free_short_sessions = FREE_SHORT_SESSIONS;
        doubled(config.idle_hold, &mut self.short_sessions).min(config.idle_hold_max)
    }
}

/// `first`, doubled `count` times; increments `count`.
fn doubled(first: Duration, count: &mut u32) -> Duration {
    let time = first.saturating_mul(1 << (*count).min(16));
    *count = count.saturating_add(1);
    time
}
