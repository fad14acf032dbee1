//! What most tests play: answers of NTP servers, which the victim never asked for, come to it, and
//! a controller announces the rule against them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use bgp::{PeerAs, PeerConfig};

use crate::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, VICTIM6, Wire};
use crate::{Site, Speaker, packet};

/// The rule against the attack.
pub const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
/// The AS number of the switch.
pub const SWITCH_AS: u32 = 65140;
/// The AS number of the controller.
pub const CONTROLLER_AS: u32 = 65070;
/// The TCP port on which a controller waits that is connected to.
pub const CONTROLLER_PORT: u16 = 1179;

/// The beginning of the switch's configuration: itself, and the controller that waits on this port.
/// More keys of the peer may follow.
#[must_use]
pub fn router_and_controller(port: u16) -> String {
    format!(
        r#"[router]
as = {SWITCH_AS}
id = "{SWITCH}"
listen = []

[[peer]]
name = "controller"
address = "{PEER}"
port = {port}
as = {CONTROLLER_AS}
"#
    )
}

/// The controller's side of the session.
///
/// # Errors
/// None: the address is one.
pub fn controller_config() -> Result<PeerConfig> {
    let identifier: Ipv4Addr = PEER.parse()?;
    Ok(PeerConfig::new(CONTROLLER_AS, identifier, PeerAs::Exactly(SWITCH_AS)))
}

/// A peer that waits for the switch on [`CONTROLLER_PORT`] of the address which is its identifier.
///
/// # Errors
/// When the port is taken.
pub fn listening_peer(site: &Site, config: PeerConfig) -> Result<Speaker> {
    Speaker::listen(&site.peers, (config.router_id, CONTROLLER_PORT).into(), config)
}

/// A peer that connects to the switch from the address which is its identifier.
///
/// # Errors
/// When there is no further thread.
pub fn connecting_peer(site: &Site, config: PeerConfig) -> Result<Speaker> {
    Speaker::connect(&site.peers, config.router_id.into(), SocketAddr::new(SWITCH.parse()?, 179), config)
}

/// A datagram from the attacker to this host, with so many octets of payload.
///
/// # Panics
/// When the text is no address.
#[must_use]
pub fn udp(from_port: u16, to: &str, to_port: u16, octets: usize) -> Vec<u8> {
    let to: IpAddr = to.parse().expect("an address");
    let from: IpAddr = if to.is_ipv4() { [198, 51, 100, 1].into() } else { [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into() };
    packet::udp((from, from_port).into(), (to, to_port).into(), &vec![0x17; octets])
}

/// The same, as large as the answers of the attack, to a port where nobody listens.
///
/// # Panics
/// When the text is no address.
#[must_use]
pub fn reflected(from_port: u16, to: &str) -> Vec<u8> {
    udp(from_port, to, 50_000, 440)
}

/// What [`NTP`] takes is dropped, or not; what differs from it in one point never is.
///
/// # Errors
/// When another packet than expected arrives or is missing.
pub fn check_dropped(wire: &mut Wire, dropped: bool) -> Result<()> {
    let packets = [
        reflected(123, VICTIM),
        udp(123, VICTIM, 123, 8),
        udp(124, VICTIM, 123, 440),
        udp(50_000, VICTIM, 123, 440),
        reflected(123, NEIGHBOUR),
        reflected(123, VICTIM6),
        packet::tcp("198.51.100.1:123".parse()?, "192.0.2.1:80".parse()?, packet::tcp_flags::SYN, b""),
    ];
    let arrived = wire.arrivals(&packets)?;
    ensure!(arrived == [!dropped, !dropped, true, true, true, true, true], "dropped: {dropped}; arrived: {arrived:?}");
    Ok(())
}
