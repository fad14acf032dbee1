//! What peers can cause as often as they like is told a few times a second, in the log and in the history, and else counted.

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

impl Quiet {
    /// Whether this is to be told now; if not, it is counted.
    pub(super) fn admit(&mut self, peer: PeerId, subject: Subject, what: &'static str) -> bool {
        self.0.entry((peer, subject)).or_default().admit(what, Instant::now())
    }

    /// The numbers of what was not told one by one, in words.
    pub(super) fn summaries(&mut self) -> Vec<(PeerId, Subject, String)> {
        let now = Instant::now();
        let of_one = |((peer, subject), throttle): (&(PeerId, Subject), &mut Throttle)| {
            throttle.summary(now).map(|summary| (*peer, *subject, summary))
        };
        let summaries = self.0.iter_mut().filter_map(of_one).collect();
        self.0.retain(|_, throttle| !throttle.is_idle(now));
        summaries
    }
}
