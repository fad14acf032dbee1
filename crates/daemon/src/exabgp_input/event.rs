//! Events of ExaBGP's neighbours, for the consumer of their routes.

use bgp::{AfiSafi, FamilySet, Negotiated, State, Update};
use exabgp::Neighbor;
use tokio::sync::oneshot;

/// Number of a neighbour, from 1 on, valid for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NeighborId(pub(crate) u32);

impl NeighborId {
    /// All neighbours together.
    pub(super) const ALL: NeighborId = NeighborId(0);
}

/// An event of a neighbour.
#[derive(Debug)]
pub(crate) struct NeighborMessage {
    /// The neighbour; [`NeighborEvent::Held`] belongs to none.
    pub(crate) neighbor: NeighborId,
    /// The event.
    pub(crate) event: NeighborEvent,
}

/// What happened to a neighbour.
#[derive(Debug)]
pub(crate) enum NeighborEvent {
    /// Its session changed its state.
    State(State),
    /// Its session is established, with these parameters.
    Established(Box<Negotiated>),
    /// An update with routes.
    Update(Box<Update>),
    /// It has sent all routes of a family.
    EndOfRib(AfiSafi),
    /// Its session is lost, or was never established; the reason as ExaBGP gives it.
    Lost(String),
    /// Something that it sent could not be parsed; the error, for people.
    ParseError(String),
    /// Asks how many rules of lost sessions are retained, after all events before this one.
    Held(oneshot::Sender<u64>),
}

/// A request to the owner of the configuration.
#[derive(Debug)]
pub(crate) enum Request {
    /// Register this neighbour; one that is not configured becomes a peer of its own.
    Register(Box<Neighbor>, oneshot::Sender<RegisteredNeighbor>),
    /// A line that belongs to no neighbour could not be parsed.
    ParseError(String),
    /// ExaBGP has ended. `successor`: the next process waits to take over, and the filters stay for
    /// it.
    Ended {
        /// Whether a process waits.
        successor: bool,
    },
}

/// A registered neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisteredNeighbor {
    /// Its number.
    pub(crate) id: NeighborId,
    /// Families that are accepted from it.
    pub(crate) families: FamilySet,
}
