//! What an event of one FSM means for the session and its other FSMs.

use crate::session::established::Established;
use crate::session::event::Direction;
use crate::session::negotiated::Negotiated;
use crate::session::output::DownReason;
use crate::session::state::State;

/// The effect of an event of one FSM on the session and its other FSMs.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The OPEN is acceptable: collision detection decides whether the FSM goes to OpenConfirm.
    OpenAcceptable(Box<Negotiated>),
    /// It is in Established.
    Established,
    /// Its connection is closed. The FSM is in Active, with no timer running.
    Closed(Closed),
}

/// A connection that ended for another reason than a stop or a collision.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) direction: Direction,
    pub(crate) from: State,
    pub(crate) reason: DownReason,
    /// The session, if it was that.
    pub(crate) established: Option<Box<Established>>,
}
