//! `backend = "flower"` with the real daemon, in the kernel's own classifier: the demo's scenario,
//! a crash without a gap, limits.

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use bgp::{PeerAs, PeerConfig};
use lab::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, Wire};
use lab::{Daemon, PATIENCE, PacketSocket, Site, Speaker, needs, packet, wait_until};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OURS: u32 = 65140;
const THEIRS: u32 = 65070;
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

fn configuration() -> String {
    format!(
        "[router]\nas = {OURS}\nid = \"{SWITCH}\"\n\n[[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {THEIRS}\npassive = true\n\n\
         [dataplane]\nbackend = \"flower\"\ninterfaces = [\"swp*\"]\n\n[dataplane.flower]\ndriver = \"software\"\n"
    )
}

/// A site, unless this kernel has no flower.
fn site() -> Result<Option<Site>> {
    let site = Site::new()?;
    let tc = |words: &str| site.switch.exec("tc", &words.split(' ').collect::<Vec<_>>());
    if tc("qdisc add dev swp3 clsact").is_err()
        || tc("filter add dev swp3 ingress prio 1 protocol ip flower ip_proto udp action pass").is_err()
    {
        lab::skip_for_kernel("this kernel has no cls_flower");
        return Ok(None);
    }
    tc("qdisc del dev swp3 clsact")?;
    Ok(Some(site))
}

fn controller(site: &Site) -> Result<Speaker> {
    let address: Ipv4Addr = PEER.parse()?;
    let config = PeerConfig::new(THEIRS, address, PeerAs::Exactly(OURS));
    Speaker::connect(&site.peers, address.into(), SocketAddr::new(SWITCH.parse()?, 179), config)
}

fn udp(port: u16, to: &str) -> Result<Vec<u8>> {
    let to: IpAddr = to.parse()?;
    Ok(packet::udp(([198, 51, 100, 7], port).into(), (to, 4000).into(), b"attack"))
}

fn check(wire: &mut Wire, what: &str) -> Result<()> {
    let arrived = wire.arrivals(&[udp(123, VICTIM)?, udp(124, VICTIM)?, udp(123, NEIGHBOUR)?])?;
    ensure!(arrived == [false, true, true], "{what}: {arrived:?}");
    Ok(())
}

#[test]
fn flower_the_story_of_the_demo() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration())?;
    let controller = controller(&site)?;
    controller.announce_text(NTP)?;
    let rules = daemon.wait_rules("the rule in force", PATIENCE, |rules| {
        rules.len() == 1 && rules[0].state == RuleState::Installed
    })?;
    ensure!(rules[0].limits.len() == 1, "what it misses is told: {:?}", rules[0].limits);
    check(&mut wire, "announced")?;
    let counted = |rule: &RuleView| rule.packets == Some(1) && rule.dropped == Some(1);
    daemon.wait_rules("a counted packet", PATIENCE, |rules| counted(&rules[0]))?;
    let said = daemon.cli(&["rules"])?;
    ensure!(said.contains("limit: first fragments are not matched"), "{said}");

    // Killed and started again, packets meet the rule all the time, and it counts on.
    wire.seen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let frame = packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &udp(123, VICTIM)?);
    let socket = PacketSocket::open(&site.attacker, "eth0")?;
    let flood = thread::spawn({
        let stop = stop.clone();
        move || -> Result<u64> {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                socket.send(&frame)?;
                sent += 1;
                thread::sleep(Duration::from_millis(5));
            }
            Ok(sent)
        }
    });
    daemon.kill()?;
    daemon.launch()?;
    daemon.wait_rules("the rule in force", PATIENCE, |rules| {
        rules.len() == 1 && rules[0].state == RuleState::Installed
    })?;
    // Small changes under the same traffic: rules that drop its packets, too, come before and
    // behind, and the first one goes.
    controller.announce_text("dst 192.0.2.1/32 src 198.51.100.7/32 proto udp then discard")?;
    controller.announce_text("dst 192.0.2.0/24 proto udp then discard")?;
    daemon.wait_rules("three rules", PATIENCE, |rules| {
        rules.len() == 3 && rules.iter().all(|rule| rule.state == RuleState::Installed)
    })?;
    controller.withdraw_text(NTP)?;
    daemon.wait_rules("two rules", PATIENCE, |rules| rules.len() == 2)?;
    // And a full one, since somebody adds a filter.
    site.switch
        .exec("tc", &["filter", "add", "block", "3970", "chain", "0", "prio", "7", "protocol", "ip", "flower"])?;
    let intruder = || site.switch.exec("tc", &["filter", "show", "block", "3970", "chain", "0", "prio", "7"]).ok();
    wait_until("the repair", PATIENCE, || intruder().filter(|listing| listing.trim().is_empty()))?;
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().ok().context("the flood panicked")??;
    let through = wire.seen()?.iter().filter(|ip| ip[0] >> 4 == 4 && ip[9] == 17 && ip[20..22] == [0, 123]).count();
    ensure!(through == 0, "{through} of {sent} came through");
    ensure!(sent > 0, "there was no traffic");
    drop(controller);
    daemon.stop()?;
    let left = site.switch.exec("tc", &["qdisc", "show"])?;
    ensure!(!left.contains("clsact"), "it left behind: {left}");
    Ok(())
}

/// Of twice the traffic that a limit allows, half passes.
#[test]
fn flower_limits_let_through_what_they_say() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let daemon = Daemon::start(&site.switch, &configuration())?;
    let controller = controller(&site)?;
    const RATE: u64 = 50;
    controller.announce_text(&format!("dst 192.0.2.1/32 proto udp sport 123 then rate {RATE}pps"))?;
    daemon.wait_rules("the rule in force", PATIENCE, |rules| {
        rules.len() == 1 && rules[0].state == RuleState::Installed
    })?;
    let mut wire = site.wire()?;
    let (mut sent, started) = (0u64, Instant::now());
    while started.elapsed() < Duration::from_secs(20) {
        wire.send(&udp(123, VICTIM)?)?;
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = started.elapsed().as_secs_f64();
    wait_until("the last packet", PATIENCE, || wire.passes(&udp(124, VICTIM).ok()?).ok().filter(|passes| *passes))?;
    let rules = daemon.wait_rules("all counted", PATIENCE, |rules| rules[0].packets == Some(sent))?;
    let passed = sent - rules[0].dropped.context("a policer counts what it drops")?;
    // At the beginning a quarter of a second's packets pass at once.
    let allowed = RATE as f64 * (seconds + 0.25);
    ensure!(sent as f64 > allowed * 1.3, "{sent} packets in {seconds} s are too few to be limited");
    let ratio = passed as f64 / allowed;
    ensure!((0.98..=1.02).contains(&ratio), "{passed} of {sent} passed in {seconds} s, and {allowed} were allowed");
    Ok(())
}
