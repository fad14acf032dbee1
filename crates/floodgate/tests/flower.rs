//! `backend = "flower"` with the real daemon, in the kernel's own classifier: the demo's scenario,
//! a crash, changes under traffic, limits, interfaces that disappear.

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use lab::scenario::{CONTROLLER_AS, NTP, SWITCH_AS, check_dropped, connecting_peer, controller_config, reflected, udp};
use lab::site::{PEER, SWITCH, VICTIM, Wire};
use lab::{Daemon, PATIENCE, PacketSocket, Site, Speaker, TokenBucket, needs, packet, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

fn configuration(block: u32) -> String {
    format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n[[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {CONTROLLER_AS}\n\
         passive = true\n\n[dataplane]\nbackend = \"flower\"\ninterfaces = [\"swp*\"]\n\n\
         [dataplane.flower]\ndriver = \"software\"\nblock = {block}\n"
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

/// A daemon with one rule in force.
fn protected(site: &Site) -> Result<(Daemon<'_>, Speaker)> {
    let daemon = Daemon::start(&site.switch, &configuration(3970))?;
    let controller = connecting_peer(site, controller_config()?)?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    Ok((daemon, controller))
}

/// The attack, all the time.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Flood {
    fn start(site: &Site) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let frame = packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &reflected(123, VICTIM));
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        // The only processor of an emulated machine is not to be busy with this alone.
        let pace = Duration::from_micros(if lab::is_emulated() { 5000 } else { 200 });
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    socket.send(&frame)?;
                    sent += 1;
                    thread::sleep(pace);
                }
                Ok(sent)
            }
        });
        Ok(Flood { stop, thread })
    }

    /// Ends it; how many packets were sent. None may have come through.
    fn end(self, wire: &mut Wire) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().ok().context("the flood panicked")??;
        let through = of_the_attack(&wire.seen()?);
        ensure!(sent > 0 && through == 0, "{through} of {sent} came through");
        Ok(sent)
    }
}

/// How many of these packets are UDP from port 123.
fn of_the_attack(packets: &[Vec<u8>]) -> usize {
    packets.iter().filter(|ip| ip[0] >> 4 == 4 && ip[9] == 17 && ip[20..22] == [0, 123]).count()
}

#[test]
fn flower_the_story_of_the_demo() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let mut wire = site.wire()?;
    let (mut daemon, controller) = protected(&site)?;
    check_dropped(&mut wire, true)?;
    let counted = |rule: &RuleView| rule.packets == Some(2) && rule.dropped == Some(2);
    let rules = daemon.wait_rules("counted packets", PATIENCE, |rules| counted(&rules[0]))?;
    ensure!(rules[0].limits.len() == 1, "what it misses is told: {:?}", rules[0].limits);
    let said = daemon.cli(&["rules"])?;
    ensure!(said.contains("limit: first fragments are not matched"), "{said}");
    let status = daemon.status()?;
    let modes: Vec<_> = status.attachments.iter().map(|there| (&*there.interface, there.mode.name())).collect();
    ensure!(modes == [("swp1", "generic"), ("swp2", "generic"), ("swp3", "generic")], "{modes:?}");

    controller.announce_text("dst 192.0.2.1/32 length 100 then discard")?;
    daemon.wait_rules("a refusal", PATIENCE, |rules| rules.iter().any(|rule| rule.state == RuleState::Refused))?;
    controller.withdraw_text(NTP)?;
    daemon.wait_rules("the refused rule alone", PATIENCE, |rules| rules.len() == 1)?;
    wait_until("all to pass", PATIENCE, || check_dropped(&mut wire, false).ok())?;

    controller.announce_text(NTP)?;
    daemon.wait_rules("the rule in force", PATIENCE, |rules| {
        rules.iter().any(|rule| rule.state == RuleState::Installed)
    })?;
    check_dropped(&mut wire, true)?;
    controller.forget();
    controller.cut();
    drop(controller);
    wait_until("all to pass", PATIENCE, || check_dropped(&mut wire, false).ok())?;
    daemon.stop()?;
    let left = site.switch.exec("tc", &["qdisc", "show"])?;
    ensure!(!left.contains("clsact"), "it left behind: {left}");
    Ok(())
}

#[test]
fn flower_filters_stay_over_a_crash_without_a_gap() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let mut wire = site.wire()?;
    let (mut daemon, _controller) = protected(&site)?;
    wire.seen()?;
    let filters = || site.switch.exec("tc", &["filter", "show", "block", "3970", "chain", "0"]);
    let before = filters()?;
    let flood = Flood::start(&site)?;
    for _ in 0..3 {
        daemon.kill()?;
        // Some packets meet the filters while nobody is there.
        thread::sleep(Duration::from_millis(200));
        daemon.launch()?;
        daemon.wait_installed(1)?;
    }
    let sent = flood.end(&mut wire)?;
    // What was counted by four runs of the daemon, none forgotten.
    daemon
        .wait_rules("all packets counted", PATIENCE, |rules| rules[0].packets == Some(sent))
        .with_context(|| format!("{sent} were sent"))?;
    ensure!(filters()? == before, "the filters were taken over as they are: {before} {}", filters()?);
    check_dropped(&mut wire, true)
}

/// Small changes and a full one: each packet is dropped by the rules before or by those after.
#[test]
fn flower_rules_change_under_traffic_without_a_gap() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let mut wire = site.wire()?;
    let (daemon, controller) = protected(&site)?;
    wire.seen()?;
    let flood = Flood::start(&site)?;
    // Rules that drop the same packets come before and behind, and the first one goes.
    controller.announce_text("dst 192.0.2.1/32 src 198.51.100.1/32 proto udp then discard")?;
    controller.announce_text("dst 192.0.2.0/24 proto udp then discard")?;
    daemon.wait_installed(3)?;
    controller.withdraw_text(NTP)?;
    daemon.wait_rules("two rules", PATIENCE, |rules| rules.len() == 2)?;
    // A full one, since somebody adds a filter.
    let tc = |words: &str| site.switch.exec("tc", &words.split(' ').collect::<Vec<_>>());
    for _ in 0..3 {
        tc("filter add block 3970 chain 0 prio 7 protocol ip flower ip_proto tcp action drop")?;
        wait_until("the repair", PATIENCE, || {
            tc("filter show block 3970 chain 0 prio 7").ok().filter(|listing| listing.trim().is_empty())
        })?;
    }
    daemon.wait_installed(2)?;
    flood.end(&mut wire)?;
    Ok(())
}

/// The block of a port's qdisc cannot be changed: the reload that asks for another one is refused,
/// and all goes on as it was.
#[test]
fn flower_a_reload_with_another_block_is_refused() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let mut wire = site.wire()?;
    let (daemon, _controller) = protected(&site)?;
    daemon.configure(&configuration(3971))?;
    let refused = daemon.cli(&["reload"]).err().context("it was taken")?.to_string();
    ensure!(refused.contains("block"), "{refused}");
    check_dropped(&mut wire, true)?;
    ensure!(daemon.rules()?[0].state == RuleState::Installed, "{:?}", daemon.rules()?);
    Ok(())
}

#[test]
fn flower_interfaces_vanish_and_come() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(site) = site()? else { return Ok(()) };
    let (daemon, _controller) = protected(&site)?;
    check_dropped(&mut site.wire()?, true)?;
    site.switch.ip(&["link", "del", "swp1"])?;
    lab::veth(
        lab::End::new(&site.attacker, "eth0", &["198.51.100.1/24", "2001:db8:1::1/64"]),
        lab::End::new(&site.switch, "swp1", &["198.51.100.254/24", "2001:db8:1::fe/64"]),
    )?;
    let mut wire = site.wire()?;
    wait_until("the new interface to be filtered", PATIENCE, || {
        wire.passes(&reflected(123, VICTIM)).ok().filter(|passes| !passes)
    })?;
    ensure!(daemon.rules()?[0].state == RuleState::Installed, "{:?}", daemon.rules()?);
    Ok(())
}

/// Of twice the traffic that a limit allows, half passes: within 2 % of what a token bucket lets
/// through that sees the packets at the moments when they are sent.
fn limits_what_it_says(action: &str, octets: usize, burst: f64, rate: f64) -> Result<()> {
    let Some(site) = site()? else { return Ok(()) };
    let daemon = Daemon::start(&site.switch, &configuration(3970))?;
    let controller = connecting_peer(&site, controller_config()?)?;
    // Two filters, which share the limit.
    controller.announce_text(&format!("dst 192.0.2.1/32 proto udp port 123 {action}"))?;
    daemon.wait_installed(1)?;
    let mut wire = site.wire()?;
    wire.seen()?;
    let packets = [udp(123, VICTIM, 4000, octets), udp(4000, VICTIM, 123, octets)];
    let whole = packets[0].len() as f64;
    let units = if octets == 0 { 1.0 } else { whole };
    let mut bucket = TokenBucket::new(rate, burst);
    let pause = bucket.time_for(units) / 2;
    let (mut sent, mut expected, started) = (0u64, 0u64, Instant::now());
    while started.elapsed() < Duration::from_secs(12) {
        for packet in &packets {
            expected += u64::from(bucket.lets_through(units));
            wire.send(packet)?;
            sent += 1;
            thread::sleep(pause);
        }
    }
    let rules = daemon.wait_rules("all counted", PATIENCE, |rules| rules[0].packets == Some(sent))?;
    let of_the_rule =
        |ip: &&Vec<u8>| ip[0] >> 4 == 4 && ip[9] == 17 && (ip[20..22] == [0, 123] || ip[22..24] == [0, 123]);
    let passed = wire.seen()?.iter().filter(of_the_rule).count() as u64;
    ensure!(rules[0].dropped == Some(sent - passed), "{passed} of {sent} came through, and {:?}", rules[0]);
    let enough = expected > 400 && sent - expected > 100;
    ensure!(enough, "{sent} packets, of which {expected} were to pass, are too few to tell");
    let ratio = passed as f64 / expected as f64;
    println!("{action}: {passed} of {sent} packets passed, {expected} were to: {ratio:.4}");
    ensure!((0.98..=1.02).contains(&ratio), "{passed} of {sent} packets passed, and {expected} were to");
    Ok(())
}

#[test]
fn flower_limits_of_packets_are_kept() -> Result<()> {
    needs!(root, "ip", "tc");
    limits_what_it_says("then rate 100pps", 0, 25.0, 100.0)
}

#[test]
fn flower_limits_of_bytes_are_kept() -> Result<()> {
    needs!(root, "ip", "tc");
    // 100,000 octets a second; at once as much as the longest packet that the kernel puts together.
    limits_what_it_says("then rate 800kbps", 972, 65_536.0, 100_000.0)
}
