//! The daemon on a switch with SONiC: BGP sessions on one side, a real Redis server and the stand-in for orchagent on the other, packets through
//! the middle.

use anyhow::{Context, Result, ensure};
use api::RuleState;
use bgp::{PeerAs, PeerConfig};
use lab::orchagent::SonicSwitch;
use lab::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, VICTIM6, Wire};
use lab::{Daemon, PATIENCE, Site, Speaker, needs, packet, wait_until};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const OURS: u32 = 65140;
const THEIRS: u32 = 65070;

/// The rule that the project began with.
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

struct Bench {
    site: Site,
    switch: SonicSwitch,
}

impl Bench {
    fn new() -> Result<Self> {
        let site = Site::new()?;
        let switch = SonicSwitch::new(Some(&site.switch))?;
        Ok(Bench { site, switch })
    }

    fn configuration(&self) -> String {
        format!(
            "[router]\nas = {OURS}\nid = \"{SWITCH}\"\nlisten = []\n\n\
             [[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nport = 1179\nas = {THEIRS}\n\n\
             [dataplane]\nbackend = \"sonic\"\non-exit = \"keep\"\n\n\
             [dataplane.sonic]\nredis = \"unix:{}\"\ntimeout = \"5s\"\n",
            self.switch.socket().display()
        )
    }

    fn controller(&self) -> Result<Speaker> {
        let address: Ipv4Addr = PEER.parse()?;
        let config = PeerConfig::new(THEIRS, address, PeerAs::Exactly(OURS));
        Speaker::listen(&self.site.peers, SocketAddr::new(address.into(), 1179), config)
    }

    /// Waits until so many ACL rules are in force.
    fn wait_active(&self, count: usize, daemon: &Daemon<'_>) -> Result<()> {
        wait_until("ACL rules", PATIENCE, || (self.switch.active().len() == count).then_some(()))
            .with_context(|| format!("{:?}; {}", self.switch.active(), daemon.explain()))
    }
}

fn udp(from_port: u16, to: &str) -> Vec<u8> {
    let from: IpAddr = if to.contains(':') { "2001:db8:1::1" } else { "198.51.100.1" }.parse().unwrap();
    packet::udp((from, from_port).into(), SocketAddr::new(to.parse().unwrap(), 50_000), &[0x17; 440])
}

/// The reflected packets are dropped, or not; what looks like them never is.
fn look(wire: &mut Wire, dropped: bool) -> Result<()> {
    let packets = [udp(123, VICTIM), udp(124, VICTIM), udp(123, NEIGHBOUR), udp(123, VICTIM6)];
    let arrived = wire.arrivals(&packets)?;
    ensure!(arrived == [!dropped, true, true, true], "dropped: {dropped}; arrived: {arrived:?}");
    Ok(())
}

fn wait_installed(daemon: &Daemon<'_>, count: usize) -> Result<()> {
    daemon
        .wait_rules("installed rules", PATIENCE, |rules| {
            rules.len() == count && rules.iter().all(|rule| rule.state == RuleState::Installed)
        })
        .map(drop)
}

#[test]
fn a_controllers_message_becomes_an_acl_rule_and_goes_with_its_withdrawal_or_its_session() -> Result<()> {
    needs!(root, "ip", "nft", "redis-server");
    let bench = Bench::new()?;
    let controller = bench.controller()?;
    let mut wire = bench.site.wire()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration())?;
    daemon.wait_established("controller", PATIENCE)?;
    look(&mut wire, false)?;

    controller.announce_text(NTP)?;
    wait_installed(&daemon, 1)?;
    look(&mut wire, true)?;
    daemon.wait_rules("the counters", PATIENCE, |rules| rules[0].dropped == Some(1) && rules[0].packets == Some(1))?;

    controller.withdraw_text(NTP)?;
    bench.wait_active(0, &daemon)?;
    look(&mut wire, false)?;

    controller.announce_text(NTP)?;
    controller.announce_text("dst 192.0.2.1/32 length 100 then discard")?;
    daemon.wait_rules("a refusal", PATIENCE, |rules| {
        let has = |state: RuleState| rules.iter().any(|rule| rule.state == state);
        rules.len() == 2 && has(RuleState::Installed) && has(RuleState::Refused)
    })?;
    look(&mut wire, true)?;
    controller.forget();
    controller.cut();
    drop(controller);
    bench.wait_active(0, &daemon)?;
    look(&mut wire, false)
}

#[test]
fn filters_outlive_the_daemon_and_come_back_when_the_switch_restarts() -> Result<()> {
    needs!(root, "ip", "nft", "redis-server");
    let mut bench = Bench::new()?;
    let configuration = bench.configuration();
    let controller = bench.controller()?;
    let mut wire = bench.site.wire()?;
    {
        let daemon = Daemon::start(&bench.site.switch, &configuration)?;
        daemon.wait_established("controller", PATIENCE)?;
        controller.announce_text(NTP)?;
        wait_installed(&daemon, 1)?;
        look(&mut wire, true)?;
    }
    // The daemon is gone, its filters are not.
    look(&mut wire, true)?;
    let before = bench.switch.active();
    let Bench { site, switch } = &mut bench;
    let daemon = Daemon::start(&site.switch, &configuration)?;
    daemon.wait_established("controller", PATIENCE)?;
    wait_installed(&daemon, 1)?;
    ensure!(switch.active() == before && switch.rewrites() == 0, "it was taken over");
    // `config reload`, and Redis itself.
    switch.restart()?;
    wait_until("the rule", PATIENCE, || (switch.active() == before).then_some(())).with_context(|| daemon.explain())?;
    wait_installed(&daemon, 1)?;
    look(&mut wire, true)?;
    switch.stop_redis()?;
    switch.start_redis()?;
    wait_until("the rule", PATIENCE, || (switch.active() == before).then_some(())).with_context(|| daemon.explain())?;
    look(&mut wire, true)
}
