//! Linux nftables (`nf_tables`): two tables of our own, `ip floodgate` and `ip6 floodgate`, which
//! the kernel evaluates for every received packet.
//!
//! # Where packets are seen
//! One base chain each at `prerouting`, priority -450: forwarded and local traffic, IPv4 and IPv6,
//! on every interface except loopback (or on those of [`Options::interfaces`]), before connection
//! tracking reassembles fragments (-400). Packets between two ports of one bridge do not traverse
//! this hook, unless `br_netfilter` is used.
//!
//! # Differences from the packets on the wire
//! - A network card or the kernel may merge the segments of a TCP stream (GRO, LRO) before the
//!   hook; rules on packet length then see the merged length. `ethtool -K IFACE gro off lro off`
//!   turns that off.
//! - The kernel's walk of IPv6 extension headers ends at authentication, mobility, HIP and Shim6
//!   headers: such a packet matches no rule on its protocol or on what follows. (Linux itself
//!   accepts no datagram after one without a state for it.) In a malformed packet, whose extension
//!   headers go beyond its end, it may see a protocol.
//!
//! # Actions
//! - Discard, accept, rate in bytes and packets (`limit.rs`), mark, sample (to
//!   [`Options::sample_group`] of the packet log).
//! - Continue: a rule with the T bit acts at once, and evaluation continues with the next rule.
//!   Packets that are discarded or over a limit are dropped at once, so later rules neither count
//!   nor sample them. A mark together with continue is refused, since later rules would see the new
//!   DSCP.
//! - Accept ends the evaluation in our tables only: other tables still filter.
//! - Redirects are refused: before the routing decision the kernel can redirect a packet only by
//!   overwriting marks that others use.
//!
//! # How it changes
//! A change is one netlink transaction: packets see all of it or nothing, and the kernel refuses it
//! if another program changed nf_tables since our last check; then we check whether our tables are
//! unchanged. A full load creates a new generation of chains and sets beside the old one and
//! replaces it in the same transaction, including everything that an earlier run left. The tables
//! stay when the program ends.

mod backend;
mod batch;
mod capabilities;
mod capacity;
mod chains;
mod changes;
mod conjunction;
mod counts;
mod dump;
mod field;
mod groups;
mod inventory;
mod limit;
mod names;
mod nf_tables;
mod options;
mod program;
mod prologue;
mod removal;
mod render;
mod socket;
mod statement;
mod table;
mod template;
mod wire;

pub use backend::Nftables;
pub use capabilities::capabilities;
pub use options::{MAX_CHAIN_RULES, NO_INTERFACE, Options};
pub use render::render;
