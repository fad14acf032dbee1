//! Makes octets only when the socket asks for them.

use crate::session::Session;
use crate::session::conn::Phase;
use crate::session::event::{Output, Transmit};
use crate::session::queue::Encoded;
use std::time::Instant;

/// Octets from which on a transmission is full.
const ENOUGH: usize = 64 * 1024;

impl Session {
    pub(super) fn next_transmit(&mut self, now: Instant) -> Option<Transmit> {
        for conn in &mut self.conns {
            let mut octets = std::mem::take(&mut conn.control);
            conn.keepalive_waits = false;
            let mut more = false;
            if let (Phase::Established, Some(up)) = (&conn.phase, &mut self.up) {
                while octets.len() < ENOUGH {
                    match up.queue.encode(&up.encoding, &mut octets) {
                        Some(Encoded::Update) => self.statistics.sent.updates += 1,
                        Some(Encoded::Refresh) => self.statistics.sent.refreshes += 1,
                        Some(Encoded::TooLong(route)) => self.outputs.push_back(Output::TooLong(route)),
                        None => break,
                    }
                }
                more = !up.queue.is_empty();
            }
            conn.blocked_since = more.then_some(now);
            if !octets.is_empty() {
                self.statistics.sent.octets += octets.len() as u64;
                return Some(Transmit { conn: conn.id, octets });
            }
        }
        None
    }
}
