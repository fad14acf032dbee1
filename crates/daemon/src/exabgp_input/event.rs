//! What the neighbours of ExaBGP are and do, for whoever takes their routes.

use bgp::{AfiSafi, FamilySet, Negotiated, State, Update};
use exabgp::Neighbor;
use tokio::sync::oneshot;

/// Numbers a neighbour, from 1 on, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NeighborId(pub(crate) u32);

impl NeighborId {
    /// Stands for all of them.
    pub(super) const ALL: NeighborId = NeighborId(0);
}

/// Something that happened to a neighbour.
#[derive(Debug)]
pub(crate) struct NeighborMessage {
    /// Which; [`NeighborEvent::Held`] is of none in particular.
    pub(crate) neighbor: NeighborId,
    /// What.
    pub(crate) event: NeighborEvent,
}

/// What happens to a neighbour.
#[derive(Debug)]
pub(crate) enum NeighborEvent {
    /// Its session is in another state.
    State(State),
    /// Its session is up; what is known of it.
    Established(Box<Negotiated>),
    /// Routes.
    Update(Box<Update>),
    /// It has sent all routes of a family.
    EndOfRib(AfiSafi),
    /// Its session is lost, or was never up; in ExaBGP's words.
    Lost(String),
    /// Something of it could not be read; in words.
    ParseError(String),
    /// Asks how many rules of lost sessions are held, behind all that was told before.
    Held(oneshot::Sender<u64>),
}

/// What is asked of whoever knows the configuration.
#[derive(Debug)]
pub(crate) enum Request {
    /// What this neighbour is to be called; one that nobody configured becomes a peer of its own.
    Introduce(Box<Neighbor>, oneshot::Sender<Introduced>),
    /// A line of nobody in particular could not be read.
    ParseError(String),
    /// ExaBGP is gone. `successor`: the next of us waits to take over, and the filters stay for it.
    Ended {
        /// Whether one waits.
        successor: bool,
    },
}

/// What a neighbour is to be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduced {
    /// Its number.
    pub(crate) id: NeighborId,
    /// Families that are taken from it.
    pub(crate) families: FamilySet,
}
