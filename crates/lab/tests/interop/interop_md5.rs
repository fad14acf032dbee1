//! Sessions with TCP-MD5 (RFC 2385), with each program; unsigned connections are rejected.

use anyhow::{Context, Result};
use api::SessionState;
use lab::peers::{Bird, Exabgp, Frr, Gobgp, Session, Version};
use lab::site::{PEER, PEER6, SWITCH, SWITCH6};
use lab::{Daemon, Netns, Site, needs, wait_until};

use crate::peers::Peer;
use crate::rules::NTP4;
use crate::{OURS, PATIENCE, configuration, enforced};

const SECRET: &str = "under-the-flood";

fn configured(address: &str, asn: u32, secret: &str) -> String {
    configuration(&format!("[[peer]]\nname = \"peer\"\naddress = \"{address}\"\nas = {asn}\nmd5 = \"{secret}\"\n"))
}

fn session(asn: u32) -> Session {
    Session::new(PEER.parse().unwrap(), asn, SWITCH.parse().unwrap(), OURS).password(SECRET)
}

fn works(site: &Site, configuration: &str, peer: &mut dyn Peer) -> Result<()> {
    let daemon = Daemon::start(&site.switch, configuration)?;
    daemon.wait_established("peer", PATIENCE)?;
    peer.announce(&NTP4)?;
    enforced(&daemon, &mut site.wire()?, &[&NTP4], &[])
}

#[test]
fn interop_md5_bird_connects() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let mut bird = Bird::start(&site.peers, session(65001), &[])?;
    works(&site, &configured(PEER, 65001, SECRET), &mut bird)
}

#[test]
fn interop_md5_bird_over_ipv6() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let session = Session::new(PEER6.parse()?, 65001, SWITCH6.parse()?, OURS).password(SECRET);
    let mut bird = Bird::start(&site.peers, session, &[])?;
    works(&site, &configured(PEER6, 65001, SECRET), &mut bird)
}

#[test]
fn interop_md5_gobgp_is_connected_to() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    let mut gobgp = Gobgp::start(&site.peers, session(65002).passive())?;
    works(&site, &configured(PEER, 65002, SECRET), &mut gobgp)
}

#[test]
fn interop_md5_exabgp() -> Result<()> {
    needs!(root, "nft");
    for version in [Version::V4, Version::V5] {
        if version.required() {
            let site = Site::new()?;
            let mut exabgp = Exabgp::start(&site.peers, version, session(65003), "")?;
            works(&site, &configured(PEER, 65003, SECRET), &mut exabgp)?;
        }
    }
    Ok(())
}

#[test]
fn interop_md5_frr() -> Result<()> {
    needs!(root, "nft", Frr::PROGRAM, "vtysh");
    let site = Site::new()?;
    let _frr = Frr::start(&site.peers, &[session(65004)])?;
    Daemon::start(&site.switch, &configured(PEER, 65004, SECRET))?.wait_established("peer", PATIENCE)
}

/// How many segments either side's kernel has dropped because their signature is of another secret.
fn misfits(site: &Site) -> Result<u64> {
    let dropped = |netns: &Netns| -> Result<u64> {
        let text = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))?;
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let column = |pair: &[Vec<&str>]| {
            let at = pair.first()?.iter().position(|name| *name == "TCPMD5Failure")?;
            pair.get(1)?.get(at)?.parse().ok()
        };
        rows.chunks(2).find_map(column).context("no TCPMD5Failure in netstat")
    };
    Ok(dropped(&site.switch)? + dropped(&site.peers)?)
}

#[test]
fn interop_md5_another_secret_stays_out() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let mut bird = Bird::start(&site.peers, session(65001), &[])?;
    let daemon = Daemon::start(&site.switch, &configured(PEER, 65001, "another"))?;
    wait_until("segments with another signature", PATIENCE, || (misfits(&site).ok()? >= 2).then_some(()))?;
    let peer = daemon.peer("peer")?;
    anyhow::ensure!(peer.state != SessionState::Established && peer.established_count == 0, "{peer:?}");
    // With the right one it comes up without a restart.
    daemon.configure(&configured(PEER, 65001, SECRET))?;
    daemon.cli(&["reload"])?;
    daemon.wait_established("peer", PATIENCE)?;
    Peer::announce(&mut bird, &NTP4)?;
    enforced(&daemon, &mut site.wire()?, &[&NTP4], &[])
}
