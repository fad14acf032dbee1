//! Numbers of what was not told one by one.

use super::Controller;
use super::quiet::Subject;
use crate::convert::LOCAL;
use crate::events::{About, Kind};
use crate::net::PeerId;

impl Controller {
    /// Whether this is to be told now; if not, it is counted, and the number is told.
    pub(super) fn admit(&mut self, peer: PeerId, subject: Subject, what: &'static str) -> bool {
        self.quiet.admit(peer, subject, what)
    }

    /// The numbers of what was not told one by one.
    pub(super) fn log_summaries(&mut self) {
        for (peer, subject, summary) in self.quiet.summaries() {
            let name = match self.peers.get(peer) {
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
    }
}
