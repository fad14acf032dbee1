//! TCP for BGP: sockets with their options, and one task a peer that drives a [`bgp::Session`] over
//! them.
//!
//! ```text
//!   listeners ──stream──▶ peer task ──(peer, output)──▶ engine        bounded: a full queue stops reading, never keepalives
//!                          │   ▲
//!                   octets ▼   │ octets
//!                          kernel
//! ```

mod closing;
mod listen;
mod md5;
mod session;
mod socket;

pub(crate) use closing::{CLOSE_TIMEOUT, MAX_CLOSING};
pub use listen::{Listeners, Routes};
pub use session::{Control, PeerEvent, PeerMessage, SessionSetup, run as run_session};
pub use socket::{Endpoint, SocketError};
