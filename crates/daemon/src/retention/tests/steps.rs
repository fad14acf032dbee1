//! The words in which scenarios are written: what the peer offers, what happens, and what must be
//! so.

use bgp::CeaseSubcode;
use std::ops::Range;

/// The capabilities that the peer sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offer {
    /// No graceful restart.
    Nothing,
    /// The capability without families, as BIRD sends it by default: it does not restart
    /// gracefully, and helps others.
    Aware,
    /// Graceful restart, with these N and F bits.
    Graceful { n: bool, f: bool },
    /// The same without N and F bits, and long-lived graceful restart; both times in seconds.
    LongLived { restart_time: u16, stale_time: u32 },
}

/// As BIRD and GoBGP do.
pub(super) const PLAIN: Offer = Offer::Graceful { n: false, f: false };
/// As in RFC 8538.
pub(super) const WITH_N: Offer = Offer::Graceful { n: true, f: false };

/// One step of a scenario, or what has to be so at that moment.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The peer announces these rules.
    Feed(Range<u32>),
    EndOfRib,
    /// The peer sends BoRR or EoRR.
    Begin,
    End,
    /// The TCP connection breaks, and no other can be made.
    Cut,
    /// Connections can be made again; runs until the session is established.
    Back,
    /// All packets are lost until our hold timer has expired.
    Choke,
    /// The peer ends the session with this NOTIFICATION.
    Theirs(CeaseSubcode),
    /// We end it.
    Ours(CeaseSubcode),
    /// These octets are received as the body of an UPDATE.
    Raw(&'static [u8]),
    /// The peer's program is killed and restarts, unnoticed until it connects.
    Reborn,
    /// The same; only its new connection is noticed.
    Knock,
    Wait(u64),
    /// Another peer announces these rules, with another action.
    Other(Range<u32>),
    /// The path of the other peer is selected for this many rules.
    OtherDecides(usize),
    /// This many rules are in force, and this many of them are stale.
    Dropped(usize, usize),
}
