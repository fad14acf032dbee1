//! What peers can cause as often as they like is told a few times a second, in the log and in the history, and else counted.

use super::{Controller, LOCAL};
use crate::events::{About, Kind};
use crate::logging::Throttle;
use crate::net::PeerId;
use std::collections::HashMap;
use std::time::Instant;

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

/// Of each peer and subject.
#[derive(Debug, Default)]
pub(super) struct Quiet(HashMap<(PeerId, Subject), Throttle>);

impl Controller {
    /// Whether this is to be told now; if not, it is counted, and the number is told.
    pub(super) fn admit(&mut self, peer: PeerId, subject: Subject, what: &'static str) -> bool {
        self.quiet.0.entry((peer, subject)).or_default().admit(what, Instant::now())
    }

    /// The numbers of what was not told one by one.
    pub(super) fn tell_what_was_left_out(&mut self) {
        let now = Instant::now();
        for ((peer, subject), throttle) in &mut self.quiet.0 {
            let Some(summary) = throttle.summary(now) else { continue };
            let name = match self.peers.get(*peer) {
                Some(entry) => entry.config.name.as_str(),
                None if peer.0 == LOCAL.0 => "local",
                None => continue,
            };
            let kind = match subject {
                Subject::Malformed => {
                    tracing::warn!(peer = name, "malformed: {summary}");
                    Kind::Malformed
                }
                Subject::Session => {
                    tracing::warn!(peer = name, "session: {summary}");
                    Kind::PeerDown
                }
                Subject::Expired => {
                    tracing::info!(peer = name, "time over: {summary}");
                    Kind::Expired
                }
                Subject::Attempt => {
                    tracing::info!(peer = name, "no session: {summary}");
                    Kind::SessionFailed
                }
                Subject::NotInForce => {
                    tracing::warn!(peer = name, "not enforced: {summary}");
                    Kind::NotEnforced
                }
            };
            self.history.record(kind, About::peer(name).saying(summary));
        }
        self.quiet.0.retain(|_, throttle| !throttle.is_idle(now));
    }
}
