//! TCP for BGP: sockets with their options, and one task a peer that drives a [`bgp::Session`] over
//! them.
//!
//! ```text
//!   listeners ──stream──▶ peer task ──(peer, output)──▶ engine        bounded: a full queue stops reading, never keepalives
//!                          │   ▲
//!                   octets ▼   │ octets
//!                          kernel
//! ```
//!
//! What is advertised goes the other way: the controller changes [`Originated`], and each peer's
//! task that advertises has an Adj-RIB-Out of its own.

mod closing;
mod listen;
mod md5;
mod originated;
mod session;
mod socket;

pub(crate) use closing::{CLOSE_TIMEOUT, MAX_CLOSING};
pub use listen::{Listeners, Routes};
pub use originated::{Originated, OriginatedChange, OriginatedRoute};
pub use session::{Control, PeerEvent, PeerMessage, SessionSetup, run as run_session};
pub use socket::{Endpoint, SocketError};
