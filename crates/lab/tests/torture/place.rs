//! Shared by the campaigns: a daemon with two peers, one of which is hostile while the other has a
//! rule that must stay.

use anyhow::Result;
use bgp::{PeerAs, PeerConfig};
use lab::scenario::{SWITCH_AS, connecting_peer, reflected};
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Site, Speaker};

/// Where the second peer is.
pub(crate) const SECOND: &str = "203.0.113.2";

/// Two peers, `many` and `one`.
pub(crate) fn configuration(backend: &str) -> String {
    configuration_with(backend, "idle-hold-max = \"1s\"")
}

/// The same with more lines for `many`.
pub(crate) fn configuration_with(backend: &str, more: &str) -> String {
    let peer = |name: &str, address: &str, more: &str| {
        format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nas = 65140\npassive = true\nmax-rules = 2000000\n{more}\n\n"
        )
    };
    let peers = peer("many", PEER, more) + &peer("one", SECOND, "");
    format!("[router]\nas = 65140\nid = \"{SWITCH}\"\n\n{peers}[dataplane]\nbackend = \"{backend}\"\n")
}

/// A rule of the second peer that stands among those of the first, and what it drops.
pub(crate) const DNS: &str = "dst 192.0.2.1/32 proto udp sport 53 then discard";

/// What [`DNS`] drops.
pub(crate) fn other_attack() -> Vec<u8> {
    reflected(53, VICTIM)
}

/// The peer at this address.
///
/// # Errors
/// When there is no further thread.
pub(crate) fn speaker(site: &Site, address: &str) -> Result<Speaker> {
    connecting_peer(site, PeerConfig::new(SWITCH_AS, address.parse()?, PeerAs::Exactly(SWITCH_AS)))
}

/// What [`NTP`](lab::scenario::NTP), the rule of the second peer, drops.
pub(crate) fn attack() -> Vec<u8> {
    reflected(123, VICTIM)
}
