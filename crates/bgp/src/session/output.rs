//! Outputs of a session: what to do with sockets, and what happened.

use crate::afi_safi::AfiSafi;
use crate::message::{Notification, OpenSubcode, RefreshKind, RouteRefresh};
use crate::route::RouteKey;
use crate::session::config::{PeerAs, PeerConfig};
use crate::session::event::ConnId;
use crate::session::negotiated::Negotiated;
use crate::session::state::State;
use crate::update::Update;
use std::net::Ipv4Addr;
use std::time::Instant;

/// A request to the owner of the sockets, or a report. A program has to handle each of them, so the
/// enum is exhaustive.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a TCP connection to the peer; answer with [`Event::Connected`](crate::Event::Connected)
    /// or [`Event::ConnectFailed`](crate::Event::ConnectFailed).
    Connect,
    /// Give up a [`Output::Connect`] that has not been answered. A late answer is handled.
    AbortConnect,
    /// Write `final_octets` after what [`Session::poll_transmit`](crate::Session::poll_transmit)
    /// gave before, as far as the socket takes it without waiting, and close the connection.
    Close {
        /// Which one.
        conn: ConnId,
        /// The NOTIFICATION, if there is one, and what had to go before it.
        final_octets: Vec<u8>,
    },
    /// The session is established.
    Established(Box<Negotiated>),
    /// The session is down; its routes are to be removed, or retained as stale paths according to
    /// `graceful` and the policy. Once for each [`Output::Established`].
    Down(Box<Down>),
    /// A connection attempt failed before the session was established.
    Failed(DownReason),
    /// A short session ended, and not for the first time: connections are refused until then, with
    /// a NOTIFICATION of Cease, Connection Rejected (RFC 4271 §8.1.1 DampPeerOscillations, RFC
    /// 4486).
    Damped {
        /// When they are accepted again.
        until: Instant,
    },
    /// When we connect next, or accept connections again; `None`: now, or when the peer connects.
    NextTry(Option<Instant>),
    /// The displayed state changed.
    State(State),
    /// Routes were announced or withdrawn, or parts of an UPDATE were malformed.
    Update(Box<Update>),
    /// The peer has sent all its routes of this family.
    EndOfRib(AfiSafi),
    /// The peer asks for our routes, or marks begin and end of its own (RFC 7313).
    RouteRefresh {
        /// Family.
        family: AfiSafi,
        /// Request, begin or end.
        kind: RefreshKind,
    },
    /// The peer sent a ROUTE-REFRESH of a subtype that is not assigned: it was ignored (RFC 7313
    /// §5). Reported once a session and subtype.
    UnknownRefresh(RouteRefresh),
    /// This queued route does not fit into any message that the peer accepts: it was left out.
    TooLong(RouteKey),
}

/// Why a session or a connection attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum DownReason {
    /// We sent this NOTIFICATION.
    #[error("we sent NOTIFICATION: {0}")]
    Sent(Notification),
    /// An iBGP peer has our own BGP identifier (RFC 6286 §2.2): one side refused the OPEN of the
    /// other.
    #[error("both have the id {0}; in iBGP they must differ")]
    SameIdentifier(Ipv4Addr),
    /// The peer sent this NOTIFICATION.
    #[error("the peer sent NOTIFICATION: {0}")]
    Received(Notification),
    /// No connection could be opened, with the error of the owner of the sockets; the session
    /// itself never reports this.
    #[error("{0}")]
    NoConnection(String),
    /// The TCP connection closed or broke.
    #[error("connection lost")]
    ConnectionLost,
    /// The peer opened a new connection while this one seemed established; with graceful restart
    /// that means that it restarted (RFC 4724 §4.2).
    #[error("the peer restarted")]
    PeerRestarted,
}

/// Error code 2 (RFC 4271 §6.2).
const OPEN_MESSAGE_ERROR: u8 = 2;

impl DownReason {
    /// What the peer's NOTIFICATION means; `is_up`: in Established. Our identifier is a valid one,
    /// so what an iBGP peer has against it is that it is its own, too (RFC 6286 §2.2).
    pub(crate) fn of_notification(notification: Notification, config: &PeerConfig, is_up: bool) -> Self {
        let is_internal = config.peer_as == PeerAs::Exactly(config.local_as);
        match notification.code == OpenSubcode::BadIdentifier.into() && is_internal && !is_up {
            true => DownReason::SameIdentifier(config.router_id),
            false => DownReason::Received(notification),
        }
    }

    /// The NOTIFICATION that was sent or received, if that was the reason and it is known.
    #[must_use]
    pub const fn notification(&self) -> Option<&Notification> {
        match self {
            DownReason::Sent(notification) | DownReason::Received(notification) => Some(notification),
            _ => None,
        }
    }

    /// Whether the cause is the configuration of the two sides: it will happen again until somebody
    /// changes that. An event that merely ends a connection is not counted.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            DownReason::SameIdentifier(_) => true,
            DownReason::Sent(notification) | DownReason::Received(notification) => {
                notification.code.numbers().0 == OPEN_MESSAGE_ERROR
            }
            DownReason::NoConnection(_) | DownReason::ConnectionLost | DownReason::PeerRestarted => false,
        }
    }
}

/// The end of an established session.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct Down {
    /// Why.
    pub reason: DownReason,
    /// The families whose routes the peer asked to be kept (RFC 4724, RFC 8538, RFC 9494), with the
    /// time; empty if none.
    pub graceful: Vec<StaleFamily>,
}

/// How long routes of a family outlive the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct StaleFamily {
    /// Family.
    pub family: AfiSafi,
    /// Seconds to keep them under graceful restart: until then the session must be back.
    pub restart_time: u16,
    /// Seconds for which the peer asks to keep them after that, as long-lived stale (RFC 9494);
    /// `None` if it was not negotiated.
    pub long_lived: Option<u32>,
}
