//! Connection collision detection: which of two connections with one peer stays (RFC 4271 §6.8, RFC
//! 6286 §2.3, RFC 4724 §5).

use crate::session::event::Direction;
use crate::session::state::State;
use std::time::Duration;

/// A connection without an OPEN for this long does not collide any more.
pub(crate) const OPEN_EXPECTED: Duration = Duration::from_secs(10);
/// How long a connection that would be closed waits for the OPEN of the other one. A host that
/// opens connections and sends nothing delays the session by this time and cannot prevent it.
pub(crate) const OPEN_WAIT: Duration = Duration::from_secs(3);

/// A connection that may collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) direction: Direction,
    pub(crate) state: State,
    /// Since the connection was opened.
    pub(crate) age: Duration,
}

impl Candidate {
    /// Whether an OPEN may still come on it.
    pub(crate) fn awaits_open(&self) -> bool {
        self.state == State::OpenSent && self.age < OPEN_EXPECTED
    }
}

/// The result for two connections when an acceptable OPEN has been received on the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The other one is closed.
    CloseOther,
    /// The one with the OPEN is closed.
    CloseThis,
    /// The other one is the old session of a peer that has restarted: it has ended.
    PeerRestarted,
    /// The one with the OPEN is closed if an OPEN comes on the other one, too.
    AwaitOpen,
}

/// `ours_wins`: the connections that this speaker opened stay, because its identifier, or else its
/// AS number, is the higher one. `restarts`: the established session negotiated graceful restart,
/// so that a new connection means a restart.
pub(crate) fn resolve(this: Candidate, other: Candidate, ours_wins: bool, restarts: bool) -> Resolution {
    if other.state == State::Established {
        return if restarts { Resolution::PeerRestarted } else { Resolution::CloseThis };
    }
    // From the same side: the other end has started again, or the earlier connection is not the
    // peer's.
    if this.direction == other.direction {
        return Resolution::CloseOther;
    }
    let this_wins = (this.direction == Direction::Outgoing) == ours_wins;
    // Decided as soon as the first of the two OPENs has arrived: both speakers come to the same
    // result, in whatever order the second arrives.
    match other.state {
        _ if this_wins => Resolution::CloseOther,
        State::OpenConfirm => Resolution::CloseThis,
        _ if other.awaits_open() => Resolution::AwaitOpen,
        _ => Resolution::CloseOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Incoming, Outgoing};

    #[test]
    fn every_pair_has_its_resolution() {
        let at = |direction, state, seconds| Candidate { direction, state, age: Duration::from_secs(seconds) };
        for (this, other, ours_wins, restarts, expected) in [
            (Incoming, at(Outgoing, State::Established, 0), false, false, Resolution::CloseThis),
            (Incoming, at(Incoming, State::Established, 0), true, false, Resolution::CloseThis),
            (Incoming, at(Outgoing, State::Established, 0), true, true, Resolution::PeerRestarted),
            (Incoming, at(Incoming, State::OpenSent, 0), true, false, Resolution::CloseOther),
            (Incoming, at(Incoming, State::OpenConfirm, 0), true, false, Resolution::CloseOther),
            (Outgoing, at(Incoming, State::OpenSent, 0), true, false, Resolution::CloseOther),
            (Outgoing, at(Incoming, State::OpenSent, 0), false, false, Resolution::AwaitOpen),
            (Outgoing, at(Incoming, State::OpenSent, 10), false, false, Resolution::CloseOther),
            (Outgoing, at(Incoming, State::OpenConfirm, 0), true, false, Resolution::CloseOther),
            (Outgoing, at(Incoming, State::OpenConfirm, 10), false, false, Resolution::CloseThis),
            (Incoming, at(Outgoing, State::OpenSent, 0), true, false, Resolution::AwaitOpen),
            (Incoming, at(Outgoing, State::OpenSent, 0), false, false, Resolution::CloseOther),
            (Incoming, at(Outgoing, State::OpenConfirm, 0), true, false, Resolution::CloseThis),
        ] {
            let this = at(this, State::OpenSent, 0);
            assert_eq!(resolve(this, other, ours_wins, restarts), expected, "{this:?} {other:?}");
        }
    }
}
