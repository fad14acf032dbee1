//! BGP without I/O: octets and connections in; octets, timers and route changes out. No sockets, no
//! clock, no unsafe code.
//!
//! # Tour
//! - [`Session`] is one peer: feed it [`Event`]s, then take [`Output`]s and octets to send, and
//!   wake it at [`Session::poll_timeout`]. It also sends: [`Session::announce`],
//!   [`Session::withdraw`], [`Session::end_of_rib`]. [`transitions`] has its states and events.
//! - [`AdjRibOut`] has the routes for one peer, over all sessions with it.
//! - [`Message`] and [`Framer`] are the wire; [`Capability`] and [`Open`] are for negotiation;
//!   [`Notification`] says why a session ends.
//! - [`Update`] is the result of an UPDATE under RFC 7606; [`PathAttributes`] apply to its routes;
//!   [`RouteKey`] identifies a route.

#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::must_use_candidate)]

mod afi_safi;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod attribute;
mod message;
mod route;
#[cfg(feature = "serde")]
mod serialize;
mod session;
mod update;

#[doc = include_str!("session/transitions.md")]
pub mod transitions {}

pub use afi_safi::{AfiSafi, FamilySet, UnknownAfiSafi};
pub use attribute::{
    AS_TRANS, AsPath, AsPathError, LocalSpeaker, Origin, PathAttributes, RawAttribute, RouteLoop, Segment, SegmentKind,
    StandardCommunity,
};
pub use message::{
    AddPath, Capability, CeaseSubcode, FamilyNumbers, Frame, Framer, FsmSubcode, GracefulRestart, HEADER_LEN,
    HeaderSubcode, LongLivedFamily, MAX_COMMUNICATION, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, MessageType,
    Notification, NotificationCode, Open, OpenSubcode, RefreshKind, Role, RouteRefresh, RouteRefreshSubcode,
    UnknownRole, UpdateSubcode,
};
pub use route::{Destination, RouteKey};
pub use session::{
    AdjRibOut, Cease, ConnId, Direction, Down, DownReason, Event, LongLived, MessageCounts, Negotiated, Output, PeerAs,
    PeerConfig, SendError, Session, StaleFamily, State, Statistics, Timer, Transmit,
};
pub use update::{
    Announced, DecodeOptions, DecodedNlri, DecodedUpdate, NotAnUpdate, Update, UpdateError, UpdateErrorKind,
    decode_update,
};
