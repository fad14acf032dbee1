//! What the FSMs of one session share: the configuration, the outputs, and state that outlives a
//! connection.

use crate::message::{CeaseSubcode, Message, Notification};
use crate::session::backoff::BackOff;
use crate::session::config::PeerConfig;
use crate::session::event::ConnId;
use crate::session::jitter::Jitter;
use crate::session::output::Output;
use crate::session::statistics::Statistics;
use crate::session::timer::{Timer, TimerTable};
use crate::update::AttributeCache;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Shared {
    config: PeerConfig,
    outputs: VecDeque<Output>,
    statistics: Statistics,
    jitter: Jitter,
    back_off: BackOff,
    /// Only the RestartTimer: it belongs to the speaker, not to a connection.
    timers: TimerTable,
    cache: AttributeCache,
}

impl Shared {
    pub(crate) fn new(config: PeerConfig) -> Self {
        Shared {
            jitter: Jitter::new(config.seed),
            config,
            outputs: VecDeque::new(),
            statistics: Statistics::default(),
            back_off: BackOff::default(),
            timers: TimerTable::default(),
            cache: AttributeCache::default(),
        }
    }

    pub(crate) fn config(&self) -> &PeerConfig {
        &self.config
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(crate) fn statistics_mut(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    pub(crate) fn jitter(&mut self) -> &mut Jitter {
        &mut self.jitter
    }

    /// For decoding an UPDATE: the cache of attributes that its routes share.
    pub(crate) fn cache(&mut self) -> &mut AttributeCache {
        &mut self.cache
    }

    /// The operator starts the session: counters of failures are reset, and the RestartTimer
    /// starts.
    pub(crate) fn start(&mut self, now: Instant) {
        self.back_off.reset();
        if let Some(restart) = &self.config.graceful_restart {
            self.timers.start(Timer::Restart, now + Duration::from_secs(restart.restart_time.into()));
        }
    }

    /// The first session since the start is established, or the restart time is over: OPENs have no
    /// R bit any more.
    pub(crate) fn end_restart(&mut self) {
        self.timers.stop(Timer::Restart);
    }

    pub(crate) fn is_restarting(&self, now: Instant) -> bool {
        self.timers.is_running(Timer::Restart) && !self.timers.is_due(Timer::Restart, now)
    }

    pub(crate) fn timers(&self) -> &TimerTable {
        &self.timers
    }

    /// A session lasted: the peer is stable.
    pub(crate) fn forgive(&mut self) {
        self.back_off.reset();
    }

    /// When the next connection attempt is due after a failed one.
    pub(crate) fn next_connect(&mut self, retained: bool, now: Instant) -> Instant {
        now + self.jitter.shorten(self.back_off.next_connect(&self.config, retained))
    }

    /// A session was lost soon: whether that has no consequence yet.
    pub(crate) fn is_free_short_session(&mut self) -> bool {
        self.back_off.is_free_short_session()
    }

    /// Until when connections are refused after a short session.
    pub(crate) fn next_idle_hold(&mut self, now: Instant) -> Instant {
        now + self.jitter.shorten(self.back_off.next_idle_hold(&self.config))
    }

    /// Closes a connection that there is no FSM for, in Idle: with a NOTIFICATION (RFC 4486 §4), or
    /// without.
    pub(crate) fn refuse(&mut self, conn: ConnId, notify: bool) {
        let mut final_octets = Vec::new();
        if notify {
            Message::Notification(Notification::new(CeaseSubcode::ConnectionRejected)).encode_to(&mut final_octets);
            self.statistics.sent.notifications += 1;
        }
        self.emit(Output::Close { conn, final_octets });
    }
}
