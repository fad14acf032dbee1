//! Inputs of a session: orders of the operator, and events of its TCP connections.

use crate::message::CeaseSubcode;

/// Identifies a TCP connection; chosen by the owner of the socket, unique within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct ConnId(pub u64);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum Direction {
    /// The peer connected to us.
    Incoming,
    /// We connected to the peer.
    Outgoing,
}

/// Why the operator or the program ends a session: a Cease subcode and a text for the peer's
/// operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct Cease {
    /// Subcode, such as [`CeaseSubcode::AdministrativeShutdown`].
    pub subcode: CeaseSubcode,
    /// Shutdown communication (RFC 9003); may be empty.
    pub communication: String,
}

/// What happens to a session, with the numbers of RFC 4271 §8.1. The events of timers come from
/// [`Session::handle_timeout`](crate::Session::handle_timeout).
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The operator wants the session established (event 1; 4 to 7 as configured).
    ManualStart,
    /// The operator wants it closed, until the next [`Event::ManualStart`] (event 2).
    ManualStop(Cease),
    /// Close it and start again after the idle hold time (event 8, then 13).
    Reset(Cease),
    /// A TCP connection is established: the one requested by
    /// [`Output::Connect`](crate::Output::Connect) (event 16), or one that the peer opened (event
    /// 17).
    Connected(ConnId, Direction),
    /// The connection requested by [`Output::Connect`](crate::Output::Connect) failed (event 18).
    ConnectFailed,
    /// Octets arrived, in any pieces (events 19 to 28).
    Received(ConnId, &'a [u8]),
    /// A connection was closed by the peer or broke (event 18). Not for those that
    /// [`Output::Close`](crate::Output::Close) closed.
    Closed(ConnId),
}

/// Octets to write to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Transmit {
    /// Which one.
    pub conn: ConnId,
    /// Whole messages.
    pub octets: Vec<u8>,
}
