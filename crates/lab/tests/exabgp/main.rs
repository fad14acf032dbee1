//! `floodgate exabgp` as a process of real ExaBGPs, 4 and 5, which have a session with a controller: the article's set-up, with
//! Floodgate in the place of its script.

mod cumulus;
mod endings;
mod story;

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use bgp::{AfiSafi, PeerAs, PeerConfig};
use lab::peers::{Exabgp, Receiver, Session, Version};
use lab::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, VICTIM6, Wire};
use lab::{Daemon, PATIENCE, Site, Speaker, packet, peers, wait_until};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The article's rule.
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
/// The AS numbers of the article: the switch's and the controller's.
const OURS: u32 = 65140;
const THEIRS: u32 = 65070;

const VERSIONS: [Version; 2] = [Version::V4, Version::V5];

/// The versions of ExaBGP that are installed.
fn versions() -> impl Iterator<Item = Version> {
    VERSIONS.into_iter().filter(|version| version.required())
}

/// The configuration of the daemon, with these `[[peer]]` tables or none.
fn configuration(peers: &str) -> String {
    format!(
        "[router]\nas = {OURS}\nid = \"{SWITCH}\"\n\n{peers}\n[dataplane]\nbackend = \"nftables\"\ninterfaces = [\"swp*\"]\n"
    )
}

/// The controller, which waits for the switch on port 1179.
fn controller(site: &Site) -> Result<Speaker> {
    let address: Ipv4Addr = PEER.parse()?;
    let families = AfiSafi::ALL.into_iter().filter(|family| matches!(family, AfiSafi::Flow(_)));
    let config = PeerConfig { families: families.collect(), ..PeerConfig::new(THEIRS, address, PeerAs::Exactly(OURS)) };
    Speaker::listen(&site.peers, SocketAddr::new(address.into(), 1179), config)
}

/// ExaBGP on the switch, connecting to the controller, with Floodgate as its process.
fn exabgp<'a>(site: &'a Site, version: Version, daemon: &Daemon<'_>) -> Result<Exabgp<'a>> {
    exabgp_with(site, version, daemon, false)
}

/// The same; `octets`: its JSON has the octets of the messages as well.
fn exabgp_with<'a>(site: &'a Site, version: Version, daemon: &Daemon<'_>, octets: bool) -> Result<Exabgp<'a>> {
    let session = Session::new(SWITCH.parse()?, OURS, PEER.parse()?, THEIRS).port(1179).families(&[
        peers::Family::Ipv4Flow,
        peers::Family::Ipv6Flow,
        peers::Family::Vpn4Flow,
    ]);
    let command = daemon.exabgp_command()?;
    Exabgp::start_with_process(&site.switch, version, session, "", Some(Receiver { command: &command, octets }))
}

/// Waits until there are so many rules, all installed and none of them stale.
fn wait_installed(daemon: &Daemon<'_>, exabgp: &mut Exabgp<'_>, count: usize) -> Result<Vec<RuleView>> {
    let such = |rules: &[RuleView]| {
        rules.len() == count && rules.iter().all(|rule| rule.state == RuleState::Installed && !rule.origins[0].stale)
    };
    daemon
        .wait_rules(&format!("{count} rules, all installed"), PATIENCE, such)
        .with_context(|| exabgp.process().map(|process| process.log()).unwrap_or_default())
}

/// Waits until the kernel has no filters.
fn wait_clean(site: &Site) -> Result<()> {
    let mut last = String::new();
    wait_until("a kernel without filters", PATIENCE, || {
        last = site.switch.exec("nft", &["list", "ruleset"]).unwrap_or_default();
        (!last.contains(VICTIM) && !last.contains(VICTIM6)).then_some(())
    })
    .with_context(|| last)
}

fn udp(from_port: u16, to: &str, to_port: u16, octets: usize) -> Vec<u8> {
    let from: IpAddr = if to.contains(':') { "2001:db8:1::1" } else { "198.51.100.1" }.parse().unwrap();
    packet::udp((from, from_port).into(), SocketAddr::new(to.parse().unwrap(), to_port), &vec![0x17; octets])
}

/// The reflected packets are dropped, or not; what looks like them never is.
fn look(wire: &mut Wire, dropped: bool) -> Result<()> {
    let packets = [
        udp(123, VICTIM, 50_000, 440),
        udp(123, VICTIM, 123, 8),
        udp(124, VICTIM, 123, 440),
        udp(50_000, VICTIM, 123, 440),
        udp(123, NEIGHBOUR, 50_000, 440),
        udp(123, VICTIM6, 50_000, 440),
        packet::tcp("198.51.100.1:123".parse()?, "192.0.2.1:80".parse()?, packet::tcp_flags::SYN, b""),
    ];
    let arrived = wire.arrivals(&packets)?;
    ensure!(arrived == [!dropped, !dropped, true, true, true, true, true], "dropped: {dropped}; arrived: {arrived:?}");
    Ok(())
}
