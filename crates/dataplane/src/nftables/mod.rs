//! Linux's nftables (`nf_tables`): two tables of our own, `ip floodgate` and `ip6 floodgate`, read by the kernel for every packet that comes in.
//!
//! # Where packets are seen
//! One base chain each at `prerouting`, priority -450: forwarded and local traffic, IPv4 and IPv6, on every interface but loopback (or on those
//! of [`Options::interfaces`]), before connection tracking puts fragments together (-400). Packets between two ports of one bridge do not
//! come there, unless `br_netfilter` sends them.
//!
//! # What is not as on the wire
//! - A network card or the kernel may join the segments of a TCP stream (GRO, LRO) before anyone can look at them; rules on packet length
//!   then see the joined length. `ethtool -K IFACE gro off lro off` shows each packet as it came.
//! - The kernel's walk along IPv6 extension headers ends at authentication, mobility, HIP and Shim6 headers: such a packet matches no rule
//!   that asks for its protocol or what is behind it. (Linux itself takes no datagram behind one that it has no state for.) In a malformed packet, whose extension headers go beyond its end, it may see a protocol.
//!
//! # Actions
//! - Discard, accept, rate in bytes and packets (`limit.rs`), mark, sample (to [`Options::sample_group`] of the packet log).
//! - Continue: a rule with the T bit acts at once, and evaluation continues with the next rule. What is discarded or over a limit is dropped at once, so later rules
//!   neither count nor sample it. A mark together with continue is refused, since the rules that follow would see the new DSCP.
//! - Accept ends the evaluation in our tables only: other tables still filter.
//! - Redirects are refused: before the routing decision the kernel can send a packet elsewhere only by overwriting marks that others use.
//!
//! # How it changes
//! A change is one transaction over netlink: packets see all of it or nothing, and the kernel refuses it when someone else changed
//! nf_tables since we last looked; then we check whether our tables are still as we left them. A full load makes a new generation of
//! chains and sets beside the old one and swaps them in the same transaction, whatever an earlier run left. The program may end; the
//! tables stay.

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
