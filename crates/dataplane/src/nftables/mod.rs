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
//! - Continue: a rule with the T bit acts at once and the search goes on. What is discarded or over a limit is dropped at once, so later rules
//!   neither count nor sample it. A mark together with continue is refused, since the rules that follow would see the new DSCP.
//! - Accept ends our search and no more: other tables still filter.
//! - Redirects are refused: before the routing decision the kernel can send a packet elsewhere only by overwriting marks that others use.
//!
//! # How it changes
//! A change is one transaction over netlink: packets see all of it or nothing, and the kernel refuses it when someone else changed
//! nf_tables since we last looked; then we look whether our tables are still as we left them. A full load makes a new generation of
//! chains and sets beside the old one and swaps them in the same transaction, whatever an earlier run left. The program may end; the
//! tables stay.

use crate::RuleFailure;
use engine::capability::{Ability, ActionAbility, Capabilities};

use flowspec::ComponentType;

use statement::Statement;

mod batch;
mod capacity;
mod chains;
mod changes;
mod conjunction;
mod families;
mod field;
mod inventory;
mod kernel;
mod limit;
mod look;
mod nf_tables;
mod program;
mod removal;
mod render;
mod shield;
mod socket;
mod statement;
mod template;
mod wire;

pub use kernel::Nftables;
pub use render::render;

/// In the place of an interface's name: none at all is filtered, where an empty list would mean all. It is a name that nobody gives.
pub const NO_INTERFACE: &str = "floodgate-none";

/// Settings of this back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the interfaces whose incoming packets are filtered; empty for all but loopback and VRF devices, whose packets were filtered
    /// where they came in.
    pub interfaces: Vec<String>,
    /// Patterns of the configuration that mean no interface now, to be shown.
    pub unmatched: Vec<String>,
    /// The group of the kernel's packet log (nflog) that sampled packets go to.
    pub sample_group: u16,
    /// Octets of a sampled packet that are logged, from the IP header on.
    pub sample_octets: u32,
    /// Most rules that a packet is compared with one after the other, in one chain.
    pub max_chain_rules: usize,
}

/// The default of [`Options::max_chain_rules`].
pub const MAX_CHAIN_RULES: usize = 500;

impl Default for Options {
    fn default() -> Self {
        Options {
            interfaces: Vec::new(),
            unmatched: Vec::new(),
            sample_group: 3970,
            sample_octets: 128,
            max_chain_rules: MAX_CHAIN_RULES,
        }
    }
}

impl Options {
    fn log(&self) -> Statement {
        Statement::Log { group: self.sample_group, octets: self.sample_octets }
    }
}

/// What nftables can match and do.
pub fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::everything("nftables");
    capabilities.fields = [Ability::Range; 13];
    capabilities.max_entries_per_rule = program::MAX_MEMBERS as u64;
    capabilities.limitations.highest_rates = Some((limit::MAX_BYTES, limit::MAX_PACKETS));
    capabilities.actions = ActionAbility {
        redirect_address: false,
        copy_address: false,
        redirect_vrf: false,
        // The rules that follow would see the new DSCP.
        mark_continues: false,
        ..capabilities.actions
    };
    capabilities
        .with_field(ComponentType::Destination, Ability::Masked)
        .with_field(ComponentType::Source, Ability::Masked)
        .with_field(ComponentType::TcpFlags, Ability::Masked)
        .with_field(ComponentType::Fragment, Ability::Set)
}
