//! What the campaigns have in common: a daemon with two peers, of which one is hostile and the other has a rule that must stay.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use bgp::{PeerAs, PeerConfig};
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Site, Speaker, packet};

/// Where the second peer is.
pub(crate) const SECOND: &str = "203.0.113.2";
/// Its rule.
pub(crate) const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

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
///
/// # Errors
/// None: the address is one.
pub(crate) fn other_attack() -> Result<Vec<u8>> {
    let victim: IpAddr = VICTIM.parse()?;
    Ok(packet::udp(([198, 51, 100, 7], 53).into(), (victim, 4000).into(), b"attack"))
}

/// The peer at this address.
///
/// # Errors
/// When there is no further thread.
pub(crate) fn speaker(site: &Site, address: &str) -> Result<Speaker> {
    let config = PeerConfig::new(65140, address.parse()?, PeerAs::Exactly(65140));
    Speaker::connect(&site.peers, address.parse()?, SocketAddr::new(SWITCH.parse()?, 179), config)
}

/// What [`NTP`] drops.
///
/// # Errors
/// None: the address is one.
pub(crate) fn attack() -> Result<Vec<u8>> {
    let victim: IpAddr = VICTIM.parse()?;
    Ok(packet::udp(([198, 51, 100, 7], 123).into(), (victim, 4000).into(), b"attack"))
}
