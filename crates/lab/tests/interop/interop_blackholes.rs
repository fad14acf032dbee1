//! Blackholes: unicast routes with a mark, from the programs of detectors and customers.

use anyhow::Result;
use lab::peers::{Bird, Exabgp, Family, Gobgp, PeerDaemon, Session, Version};
use lab::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, Wire};
use lab::{Daemon, Site, needs};

use crate::rules::NTP4;
use crate::{OURS, PATIENCE, configuration, nothing};

/// What the session of the daemon's side is like.
fn peer_table(asn: u32, more: &str) -> String {
    configuration(&format!(
        "[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = {asn}\nfamilies = [\"ipv4\", \"ipv4-unicast\"]\n{more}\n\
         [peer.allow]\ndestinations = [\"{VICTIM}/32\"]\n\
         [peer.blackhole]\ndestination = [\"blackhole\", \"65070:666:0\"]\n"
    ))
}

fn session(asn: u32) -> Session {
    let mut session = Session::new(PEER.parse().unwrap(), asn, SWITCH.parse().unwrap(), OURS);
    session.families = vec![Family::Ipv4Unicast, Family::Ipv4Flow];
    session
}

/// What the tests ask of a program: to announce or withdraw a route to a host, with the mark or
/// without.
trait Announcer: PeerDaemon {
    fn announce(&mut self, host: &str, mark: bool) -> Result<()>;
    fn withdraw(&mut self, host: &str, mark: bool) -> Result<()>;
}

fn bird_route(host: &str, mark: bool) -> String {
    let community = if mark { " { bgp_community.add((65535,666)); }" } else { "" };
    format!("{host}/32 blackhole{community}")
}

impl Announcer for Bird<'_> {
    fn announce(&mut self, host: &str, mark: bool) -> Result<()> {
        Bird::announce(self, &bird_route(host, mark))
    }

    fn withdraw(&mut self, host: &str, mark: bool) -> Result<()> {
        Bird::withdraw(self, &bird_route(host, mark))
    }
}

fn gobgp_route(host: &str, mark: bool) -> String {
    let community = if mark { " community 65535:666" } else { "" };
    format!("{host}/32 nexthop {PEER}{community}")
}

impl Announcer for Gobgp<'_> {
    fn announce(&mut self, host: &str, mark: bool) -> Result<()> {
        Gobgp::announce(self, Family::Ipv4Unicast, &gobgp_route(host, mark))
    }

    fn withdraw(&mut self, host: &str, mark: bool) -> Result<()> {
        Gobgp::withdraw(self, Family::Ipv4Unicast, &gobgp_route(host, mark))
    }
}

impl Announcer for Exabgp<'_> {
    fn announce(&mut self, host: &str, mark: bool) -> Result<()> {
        let community = if mark { " large-community [65070:666:0]" } else { "" };
        self.command(&format!("announce route {host}/32 next-hop {PEER}{community}"))
    }

    fn withdraw(&mut self, host: &str, _mark: bool) -> Result<()> {
        self.command(&format!("withdraw route {host}/32 next-hop {PEER}"))
    }
}

/// Waits until the victim is dropped and nothing else is.
fn blackholed(daemon: &Daemon<'_>, wire: &mut Wire) -> Result<()> {
    daemon.wait_rules("the blackhole, installed", PATIENCE, |rules| {
        rules.len() == 1
            && rules[0].state == api::RuleState::Installed
            && rules[0].text == format!("dst {VICTIM}/32 then discard")
            && rules[0].notes.iter().any(|note| note.contains("it is a blackhole"))
    })?;
    for packet in NTP4.hits().iter().chain(&NTP4.misses()) {
        let to_victim = packet[16..20] == VICTIM.parse::<std::net::Ipv4Addr>()?.octets();
        anyhow::ensure!(wire.passes(packet)? != to_victim, "{packet:02x?}\n{}", daemon.explain());
    }
    Ok(())
}

fn story(site: &Site, configuration: &str, peer: &mut dyn Announcer) -> Result<()> {
    let mut wire = site.wire()?;
    let daemon = Daemon::start(&site.switch, configuration)?;
    daemon.wait_established("peer", PATIENCE)?;
    // A route without the mark is none, and one for another host is not allowed.
    peer.announce(NEIGHBOUR, false)?;
    peer.announce(VICTIM, true)?;
    blackholed(&daemon, &mut wire)?;
    peer.withdraw(VICTIM, true)?;
    nothing(&daemon, site)?;
    peer.announce(VICTIM, true)?;
    blackholed(&daemon, &mut wire)?;
    peer.withdraw(NEIGHBOUR, false)?;
    peer.announce(NEIGHBOUR, true)?;
    daemon.wait_rules("the other host, guarded", PATIENCE, |rules| {
        rules.len() == 2 && rules.iter().any(|rule| rule.state == api::RuleState::RejectedByPolicy)
    })?;
    peer.withdraw(NEIGHBOUR, true)?;
    blackholed(&daemon, &mut wire)?;
    peer.stop()?;
    nothing(&daemon, site)
}

#[test]
fn interop_blackholes_of_bird() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let mut bird = Bird::start(&site.peers, session(65001), &[])?;
    story(&site, &peer_table(65001, ""), &mut bird)
}

#[test]
fn interop_blackholes_of_gobgp() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    let mut gobgp = Gobgp::start(&site.peers, session(65002).port(1790).passive())?;
    story(&site, &peer_table(65002, "port = 1790\n"), &mut gobgp)
}

#[test]
fn interop_blackholes_of_exabgp4() -> Result<()> {
    needs!(root, "nft");
    if !Version::V4.required() {
        return Ok(());
    }
    let site = Site::new()?;
    let mut exabgp = Exabgp::start(&site.peers, Version::V4, session(65003), "")?;
    story(&site, &peer_table(65003, "passive = true\n"), &mut exabgp)
}

/// The same prefix, announced again without the mark: protection ends with it.
#[test]
fn interop_blackholes_end_when_the_mark_goes() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    let mut gobgp = Gobgp::start(&site.peers, session(65002).port(1790).passive())?;
    let mut wire = site.wire()?;
    let daemon = Daemon::start(&site.switch, &peer_table(65002, "port = 1790\n"))?;
    daemon.wait_established("peer", PATIENCE)?;
    Announcer::announce(&mut gobgp, VICTIM, true)?;
    blackholed(&daemon, &mut wire)?;
    Announcer::announce(&mut gobgp, VICTIM, false)?;
    nothing(&daemon, &site)
}
