//! The same scenario with each program: announcement, withdrawal, and the restart of either side.

use std::net::IpAddr;

use anyhow::Result;
use lab::peers::{Bird, Exabgp, Frr, Gobgp, Session, Version};
use lab::site::{PEER, PEER6, SWITCH, SWITCH6};
use lab::{Daemon, Site, needs};

use crate::peers::{Peer, Reflected};
use crate::rules::{Case, NTP4, NTP6, SYN, WEB};
use crate::{OURS, PATIENCE, configuration, enforced, nothing};

/// What the session of the daemon's side is like.
fn peer_table(asn: u32, more: &str) -> String {
    configuration(&format!("[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = {asn}\n{more}"))
}

fn session(asn: u32) -> Session {
    Session::new(PEER.parse().unwrap(), asn, SWITCH.parse().unwrap(), OURS)
}

fn story(site: &Site, configuration: &str, peer: &mut dyn Peer, flags: &Case) -> Result<()> {
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, configuration)?;
    daemon.wait_established("peer", PATIENCE)?;
    nothing(&daemon, site)?;

    peer.announce(&NTP4)?;
    enforced(&daemon, &mut wire, &[&NTP4], &[&NTP6, &WEB, flags])?;
    peer.announce(&NTP6)?;
    peer.announce(&WEB)?;
    peer.announce(flags)?;
    enforced(&daemon, &mut wire, &[&NTP4, &NTP6, &WEB, flags], &[])?;
    peer.withdraw(&NTP4)?;
    peer.withdraw(flags)?;
    enforced(&daemon, &mut wire, &[&NTP6, &WEB], &[&NTP4, flags])?;

    peer.stop()?;
    nothing(&daemon, site)?;
    enforced(&daemon, &mut wire, &[], &[&NTP6, &WEB])?;
    peer.restart()?;
    enforced(&daemon, &mut wire, &[&NTP6, &WEB], &[&NTP4, flags])?;

    let status = daemon.stop()?;
    anyhow::ensure!(status.success(), "{status}");
    anyhow::ensure!(daemon.ruleset()?.is_empty(), "left behind: {}", daemon.ruleset()?);
    daemon.launch()?;
    enforced(&daemon, &mut wire, &[&NTP6, &WEB], &[&NTP4, flags])?;
    peer.withdraw(&NTP6)?;
    peer.withdraw(&WEB)?;
    nothing(&daemon, site)?;
    enforced(&daemon, &mut wire, &[], &[&NTP4, &NTP6, &WEB, flags])
}

#[test]
fn interop_bird() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let mut bird = Bird::start(&site.peers, session(65001), &[])?;
    story(&site, &peer_table(65001, ""), &mut bird, &SYN)
}

#[test]
fn interop_bird_over_ipv6() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let (theirs, ours): (IpAddr, IpAddr) = (PEER6.parse()?, SWITCH6.parse()?);
    let mut bird = Bird::start(&site.peers, Session::new(theirs, 65001, ours, OURS), &[])?;
    let peer = format!("[[peer]]\nname = \"peer\"\naddress = \"{PEER6}\"\nas = 65001\n");
    story(&site, &configuration(&peer), &mut bird, &SYN)
}

#[test]
fn interop_gobgp() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    // GoBGP waits seconds before it connects; so Floodgate does.
    let mut gobgp = Gobgp::start(&site.peers, session(65002).port(1790).passive())?;
    story(&site, &peer_table(65002, "port = 1790\n"), &mut gobgp, &SYN)
}

fn exabgp(version: Version) -> Result<()> {
    needs!(root, "nft");
    if !version.required() {
        return Ok(());
    }
    let site = Site::new()?;
    let mut exabgp = Exabgp::start(&site.peers, version, session(65003), "")?;
    story(&site, &peer_table(65003, "passive = true\n"), &mut exabgp, &SYN)
}

#[test]
fn interop_exabgp4() -> Result<()> {
    exabgp(Version::V4)
}

#[test]
fn interop_exabgp5() -> Result<()> {
    exabgp(Version::V5)
}

#[test]
fn interop_frr_passing_on_exabgp() -> Result<()> {
    needs!(root, "nft", Frr::PROGRAM, "vtysh");
    if !Version::V4.required() {
        return Ok(());
    }
    let site = Site::new()?;
    let behind: IpAddr = "203.0.113.2".parse()?;
    let from_source = Session::new(PEER.parse()?, 65004, behind, 65003).passive();
    let frr = Frr::start(&site.peers, &[session(65004), from_source])?;
    let source = Exabgp::start(&site.peers, Version::V4, Session::new(behind, 65003, PEER.parse()?, 65004), "")?;
    story(&site, &peer_table(65004, ""), &mut Reflected { source, frr }, &SYN)
}
