//! Redirect to an address, with real packets: a scrubber on its own cable, native and generic mode.
#![cfg(xdp_program)]

#[path = "xdp/live.rs"]
mod live;

use anyhow::{Context, Result, ensure};
use dataplane::xdp::{Attach, Options, Xdp};
use dataplane::{Dataplane, Health, RuleFailure};
use engine::plan::{CompiledRule, Plan, Ruleset};
use lab::site::{VICTIM, VICTIM6};
use lab::{End, Netns, PATIENCE, PacketSocket, Site, packet, veth, wait_until};
use live::{options, rule, ruleset};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SCRUBBER: &str = "10.9.9.1";
const SCRUBBER6: &str = "2001:db8:9::1";

/// The usual site with one more cable, to a scrubber.
struct Scene {
    site: Site,
    scrubber: Netns,
    /// What comes to the scrubber.
    clean: Mutex<PacketSocket>,
}

impl Scene {
    fn new() -> Result<Self> {
        let (site, scrubber) = (Site::new()?, Netns::new("scrubber")?);
        // Neighbour discovery asks from a link-local address.
        veth(
            End::new(&site.switch, "scrub0", &["10.9.9.254/24", "2001:db8:9::fe/64", "fe80::fe/64"]),
            End::new(&scrubber, "eth0", &["10.9.9.1/24", "2001:db8:9::1/64"]),
        )?;
        // New interfaces forward, too.
        site.switch.forward()?;
        let clean = Mutex::new(PacketSocket::open(&scrubber, "eth0")?);
        Ok(Scene { site, scrubber, clean })
    }

    /// Puts an XDP program that passes everything on the scrubber's interface: now the other end of
    /// its cable can send XDP frames.
    fn receive_xdp_frames(&self) -> Result<Xdp> {
        self.scrubber.run(|| -> Result<Xdp> {
            let mut receiver = Xdp::open(options(&self.scrubber, &["eth0"]))?;
            receiver.replace(&Ruleset::default())?;
            Ok(receiver)
        })
    }

    /// A frame from the attacker to the switch.
    fn frame(&self, ip: &[u8]) -> Result<Vec<u8>> {
        Ok(packet::ethernet(self.site.attacker.mac("eth0")?, self.site.switch.mac("swp1")?, ip))
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        Ok(PacketSocket::open(&self.site.attacker, "eth0")?.send(frame)?)
    }

    /// The frames with UDP that came to the scrubber.
    fn scrubbed(&self) -> Result<Vec<Vec<u8>>> {
        std::thread::sleep(Duration::from_millis(30));
        let is_udp = |frame: &Vec<u8>| match frame[12..14] {
            [8, 0] => frame[23] == 17,
            [0x86, 0xdd] => frame[20] == 17,
            _ => false,
        };
        let frames = self.clean.lock().unwrap().drain()?;
        Ok(frames.into_iter().filter(is_udp).collect())
    }

    /// Whether a packet is redirected rather than passed: exactly one of both it must be.
    fn is_redirected(&self, ip: &[u8]) -> Result<bool> {
        let mut wire = self.site.wire()?;
        self.scrubbed()?;
        let passed = wire.passes(ip)?;
        let scrubbed = self.scrubbed()?.len();
        ensure!(scrubbed == usize::from(!passed), "passed {passed}, scrubbed {scrubbed}");
        Ok(!passed)
    }

    fn wait_until_redirected(&self, ip: &[u8]) -> Result<()> {
        wait_until("the neighbour's address", PATIENCE, || self.is_redirected(ip).unwrap_or(false).then_some(()))
    }
}

fn udp(port: u16, to: &str) -> Result<Vec<u8>> {
    let to: IpAddr = to.parse()?;
    let from: IpAddr = if to.is_ipv4() { "198.51.100.1" } else { "2001:db8:1::1" }.parse()?;
    Ok(packet::udp(SocketAddr::new(from, port), SocketAddr::new(to, 7), &[7; 60]))
}

fn statistic(plane: &mut Xdp, name: &str) -> u64 {
    plane.condition().statistics.iter().find(|(there, _)| *there == name).map_or(0, |(_, count)| *count)
}

fn rules() -> [Arc<CompiledRule>; 2] {
    [
        rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect {SCRUBBER}")),
        rule(&format!("ipv6 dst {VICTIM6}/128 proto udp sport 53 then redirect {SCRUBBER6}")),
    ]
}

/// The reasons of the rules that are not in force.
fn reasons(failures: &[(Arc<flowspec::Nlri>, RuleFailure)]) -> Vec<String> {
    let words = |(_, failure): &(_, RuleFailure)| match failure {
        RuleFailure::Failed(words) | RuleFailure::OverCapacity(words) => words.clone(),
    };
    failures.iter().map(words).collect()
}

/// Looks until something changed, then applies the rules again, as the daemon does; the reasons of
/// those that are not in force.
fn after_the_change(plane: &mut Xdp, rules: &[Arc<CompiledRule>]) -> Result<Vec<String>> {
    let changed = wait_until("a change", PATIENCE, || match plane.health() {
        Ok(Health::ConditionChanged(_)) => Some(()),
        _ => None,
    });
    changed?;
    Ok(reasons(&plane.replace(&ruleset(rules))?.failures))
}

/// What a router does to an IPv4 header: one hop less, the checksum right.
fn check_routed(frame: &[u8], sent: &[u8], to: [u8; 6], from: [u8; 6]) -> Result<()> {
    ensure!(frame[..6] == to && frame[6..12] == from, "addresses {:02x?}", &frame[..12]);
    let (ip, is_v4) = (&frame[14..14 + sent.len()], sent[0] >> 4 == 4);
    let hops = if is_v4 { 8 } else { 7 };
    ensure!(ip[hops] == sent[hops] - 1, "{} hops", ip[hops]);
    if is_v4 {
        let sum: u32 = ip[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        ensure!((sum & 0xffff) + (sum >> 16) == 0xffff, "checksum");
    }
    ensure!(ip[20..] == sent[20..], "the rest is as it was");
    Ok(())
}

#[test]
fn native_mode_redirects_where_the_interface_can_send_and_refuses_otherwise() -> Result<()> {
    lab::needs!(root, "ip");
    let scene = Scene::new()?;
    let site = &scene.site;
    let mac = (scene.scrubber.mac("eth0")?, site.switch.mac("scrub0")?);
    let (v4, v6) = (udp(53, VICTIM)?, udp(53, VICTIM6)?);
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(Options { attach: Attach::Native, ..options(&site.switch, &["swp1"]) })?;
        // Nothing takes XDP frames at the other end.
        let why = reasons(&plane.replace(&ruleset(&rules()))?.failures);
        ensure!(why.len() == 2 && why[0].contains("scrub0") && why[0].contains("cannot send"), "{why:?}");
        ensure!(!scene.is_redirected(&v4)?, "the rule is not in force");
        ensure!(plane.health()? == Health::Intact, "nothing changed");

        let mut receiver = scene.receive_xdp_frames()?;
        ensure!(after_the_change(&mut plane, &rules())?.is_empty());
        // Nobody ever asked for the scrubber's address: the rule makes the kernel ask.
        scene.wait_until_redirected(&v4)?;
        scene.wait_until_redirected(&v6)?;
        for ip in [&v4, &v6] {
            scene.send(&scene.frame(ip)?)?;
            let frames = scene.scrubbed()?;
            check_routed(frames.first().context("it did not come")?, ip, mac.0, mac.1)?;
        }
        ensure!(!scene.is_redirected(&udp(54, VICTIM)?)?, "no rule for it");

        // A frame with two VLAN tags comes without them; its last hop is never taken; what is too
        // large for the way is passed.
        let plain = scene.frame(&v4)?;
        let tagged = [&plain[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 9], &plain[12..]].concat();
        scene.send(&tagged)?;
        let frames = scene.scrubbed()?;
        check_routed(frames.first().context("it did not come")?, &v4, mac.0, mac.1)?;
        let before = statistic(&mut plane, "not_redirected");
        let mut last_hop = scene.frame(&v4)?;
        last_hop[14 + 8] = 1;
        scene.send(&last_hop)?;
        ensure!(scene.scrubbed()?.is_empty());
        ensure!(statistic(&mut plane, "not_redirected") == before + 1);
        site.switch.ip(&["link", "set", "scrub0", "mtu", "1280"])?;
        let from = SocketAddr::new("198.51.100.1".parse()?, 53);
        let large = packet::udp(from, SocketAddr::new(VICTIM.parse()?, 7), &[7; 1300]);
        ensure!(!scene.is_redirected(&large)? && scene.is_redirected(&v4)?);
        site.switch.ip(&["link", "set", "scrub0", "mtu", "1500"])?;

        // The other end stops to take frames: until the rule is out of force its packets are
        // passed, not dropped.
        scene.scrubber.run(|| receiver.clear())?;
        wait_until("the table to follow", Duration::from_millis(900), || {
            (!scene.is_redirected(&v4).ok()?).then_some(())
        })?;
        let why = after_the_change(&mut plane, &rules())?;
        ensure!(why.len() == 2 && why[0].contains("cannot send"), "{why:?}");
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn generic_mode_redirects_to_any_ethernet() -> Result<()> {
    lab::needs!(root, "ip");
    let scene = Scene::new()?;
    let site = &scene.site;
    let (v4, v6) = (udp(53, VICTIM)?, udp(53, VICTIM6)?);
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(Options { attach: Attach::Generic, ..options(&site.switch, &["swp1"]) })?;
        ensure!(plane.replace(&ruleset(&rules()))?.failures.is_empty());
        scene.wait_until_redirected(&v4)?;
        scene.wait_until_redirected(&v6)?;
        let tagged = scene.frame(&v4)?;
        let tagged = [&tagged[..12], &[0x81, 0, 0, 9], &tagged[12..]].concat();
        scene.send(&tagged)?;
        let frames = scene.scrubbed()?;
        let (to, from) = (scene.scrubber.mac("eth0")?, site.switch.mac("scrub0")?);
        check_routed(frames.first().context("it did not come")?, &v4, to, from)?;
        plane.clear()?;
        ensure!(!scene.is_redirected(&v4)?);
        Ok(())
    })
}

#[test]
fn the_route_may_change_and_unused_neighbours_are_released() -> Result<()> {
    lab::needs!(root, "ip");
    let scene = Scene::new()?;
    let site = &scene.site;
    let v4 = udp(53, VICTIM)?;
    let managed = || -> Result<usize> {
        let said = site.switch.command("ip")?.args(["neigh", "show", "dev", "scrub0"]).output()?;
        Ok(String::from_utf8_lossy(&said.stdout).lines().filter(|line| line.contains("managed")).count())
    };
    site.switch.run(|| -> Result<()> {
        let generic = Options { attach: Attach::Generic, ..options(&site.switch, &["swp1"]) };
        let far = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect 10.77.0.1"));
        let mut plane = Xdp::open(generic.clone())?;
        // By a default route there is a way to everywhere; not to addresses of this machine.
        for (target, words) in [("10.77.0.1", "no route"), ("10.9.9.254", "no route")] {
            let rule = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect {target}"));
            let why = reasons(&plane.replace(&ruleset(&[rule]))?.failures);
            ensure!(why.len() == 1 && why[0].contains(words), "{why:?}");
        }
        plane.replace(&ruleset(std::slice::from_ref(&far)))?;
        site.switch.ip(&["route", "add", "10.77.0.0/16", "via", SCRUBBER])?;
        ensure!(after_the_change(&mut plane, std::slice::from_ref(&far))?.is_empty());
        scene.wait_until_redirected(&v4)?;
        ensure!(managed()? == 1, "the next hop, not the target");

        // One rule more, as a change; the same next hop.
        let near = rules()[0].clone();
        let second = rule(&format!("dst {VICTIM}/32 proto udp sport 54 then redirect {SCRUBBER}"));
        let plan = Plan { upsert: vec![second.clone()], ..Plan::default() };
        ensure!(plane.update(&plan)?.failures.is_empty());
        ensure!(scene.is_redirected(&udp(54, VICTIM)?)?);
        // The first rule with another target, to which there is no way: out of force at once.
        let lost = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect 10.78.0.1"));
        let plan = Plan { upsert: vec![lost], ..Plan::default() };
        ensure!(reasons(&plane.update(&plan)?.failures).len() == 1);
        ensure!(!scene.is_redirected(&v4)? && scene.is_redirected(&udp(54, VICTIM)?)?);
        let plan = Plan { upsert: vec![near.clone()], remove: vec![second.nlri.clone()], ..Plan::default() };
        ensure!(plane.update(&plan)?.failures.is_empty());
        ensure!(scene.is_redirected(&v4)? && !scene.is_redirected(&udp(54, VICTIM)?)?);

        for (command, undo, words) in [
            (["route", "replace", "blackhole", SCRUBBER], ["route", "del", "blackhole", SCRUBBER], "blackhole"),
            (["link", "set", "scrub0", "down"], ["link", "set", "scrub0", "up"], "no route"),
        ] {
            site.switch.ip(&command)?;
            let why = after_the_change(&mut plane, std::slice::from_ref(&near))?;
            ensure!(why.len() == 1 && why[0].contains(words), "{why:?}");
            ensure!(!scene.is_redirected(&v4)?, "{words}");
            site.switch.ip(&undo)?;
            ensure!(after_the_change(&mut plane, std::slice::from_ref(&near))?.is_empty());
            scene.wait_until_redirected(&v4)?;
        }
        site.switch.sysctl("net/ipv4/conf/swp1/forwarding", "0")?;
        let why = after_the_change(&mut plane, std::slice::from_ref(&near))?;
        ensure!(why.len() == 1 && why[0].contains("swp1 does not forward"), "{why:?}");
        site.switch.sysctl("net/ipv4/conf/swp1/forwarding", "1")?;
        ensure!(after_the_change(&mut plane, std::slice::from_ref(&near))?.is_empty());

        // The next run finds the neighbour kept, and lets go of it when its own rules do not need
        // it.
        ensure!(managed()? == 1);
        drop(plane);
        ensure!(managed()? == 1 && scene.is_redirected(&v4)?, "it outlives the daemon");
        let mut plane = Xdp::open(generic)?;
        ensure!(plane.replace(&ruleset(std::slice::from_ref(&near)))?.failures.is_empty());
        ensure!(managed()? == 1 && scene.is_redirected(&v4)?);
        let plan = Plan { remove: vec![near.nlri.clone()], ..Plan::default() };
        plane.update(&plan)?;
        ensure!(managed()? == 0 && !scene.is_redirected(&v4)?);

        // A neighbour that does not answer: the rule stands, its packets are passed, and that is
        // told.
        let silent = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect 10.9.9.99"));
        ensure!(plane.replace(&ruleset(&[silent]))?.failures.is_empty());
        ensure!(!scene.is_redirected(&v4)?);
        let began = Instant::now();
        let warning = wait_until("a warning", PATIENCE, || {
            plane.health().ok()?;
            plane.condition().warnings.into_iter().find(|words| words.contains("10.9.9.99"))
        })?;
        ensure!(warning.contains("scrub0 does not answer") && began.elapsed() > Duration::from_secs(2), "{warning}");
        plane.clear()?;
        ensure!(managed()? == 0);
        Ok(())
    })
}

#[test]
fn a_scrubber_may_be_where_the_packets_come_from() -> Result<()> {
    lab::needs!(root, "ip");
    let scene = Scene::new()?;
    let site = &scene.site;
    let back = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then redirect 198.51.100.53"));
    let mut seen = PacketSocket::open(&site.attacker, "eth0")?;
    let mut receiver = site.attacker.run(|| -> Result<Xdp> {
        let mut receiver = Xdp::open(options(&site.attacker, &["eth0"]))?;
        receiver.replace(&Ruleset::default())?;
        Ok(receiver)
    })?;
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(Options { attach: Attach::Native, ..options(&site.switch, &["swp1"]) })?;
        let why = reasons(&plane.replace(&ruleset(&[back]))?.failures);
        ensure!(why.is_empty(), "{why:?}");
        let mut came_back = || -> Option<Vec<u8>> {
            seen.drain().ok()?;
            scene.send(&scene.frame(&udp(53, VICTIM).ok()?).ok()?).ok()?;
            std::thread::sleep(Duration::from_millis(30));
            let mine = site.switch.mac("swp1").ok()?;
            seen.drain().ok()?.into_iter().find(|frame| frame[6..12] == mine && frame[23] == 17)
        };
        let frame = wait_until("the packet", PATIENCE, &mut came_back)?;
        check_routed(&frame, &udp(53, VICTIM)?, site.attacker.mac("eth0")?, site.switch.mac("swp1")?)?;
        plane.clear()?;
        Ok(())
    })?;
    site.attacker.run(|| receiver.clear())?;
    Ok(())
}
