//! `backend = "xdp"`: the demo's scenario, a crash, a restart, interfaces that disappear, and
//! shutdown, with the real daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use dataplane::Dataplane;
use dataplane::xdp::{Options, Xdp};
use engine::plan::Ruleset;
use lab::scenario::{CONTROLLER_AS, NTP, SWITCH_AS, connecting_peer, controller_config, reflected};
use lab::site::{NEIGHBOUR, PEER, SWITCH, VICTIM, Wire};
use lab::{Daemon, PATIENCE, PacketSocket, Site, Speaker, needs, packet, wait_until};

fn configuration(interfaces: &str) -> String {
    format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n[[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {CONTROLLER_AS}\npassive = true\n\n\
         [dataplane]\nbackend = \"xdp\"\ninterfaces = [{interfaces}]\nxdp.capacity = 4096\n"
    )
}

/// A daemon with one rule in force.
fn protected(site: &Site) -> Result<(Daemon<'_>, Speaker)> {
    let daemon = Daemon::start(&site.switch, &configuration("\"swp*\""))?;
    let controller = connecting_peer(site, controller_config()?)?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    Ok((daemon, controller))
}

fn check(wire: &mut Wire, what: &str) -> Result<()> {
    let arrived = wire.arrivals(&[reflected(123, VICTIM), reflected(124, VICTIM), reflected(123, NEIGHBOUR)])?;
    ensure!(arrived == [false, true, true], "{what}: {arrived:?}");
    Ok(())
}

#[test]
fn xdp_the_story_of_the_demo() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let (mut daemon, controller) = protected(&site)?;
    check(&mut wire, "announced")?;
    let counted = |rule: &RuleView| rule.packets == Some(1) && rule.dropped == Some(1);
    daemon.wait_rules("a counted packet", PATIENCE, |rules| counted(&rules[0]))?;
    let status = daemon.status()?;
    ensure!(status.capacity == Some(4096), "{:?}", status.capacity);
    ensure!(status.dataplane_memory.is_some_and(|octets| octets > 1 << 20), "{:?}", status.dataplane_memory);
    let modes: Vec<_> = status.attachments.iter().map(|there| (&*there.interface, there.mode.name())).collect();
    ensure!(modes == [("swp1", "native"), ("swp2", "native"), ("swp3", "native")], "{modes:?}");
    let said = daemon.cli(&["status"])?;
    ensure!(said.contains("swp1 native, swp2 native") && said.contains("1 of 4096, 4095 left; "), "{said}");
    controller.withdraw_text(NTP)?;
    daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
    wait_until("all to pass", PATIENCE, || wire.passes(&reflected(123, VICTIM)).ok().filter(|passes| *passes))?;
    daemon.stop()?;
    ensure!(!site.switch.bpf_directory().join("floodgate").exists(), "links or tables are left behind");
    Ok(())
}

#[test]
fn xdp_filters_stay_over_a_crash_without_a_gap() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let (mut daemon, _controller) = protected(&site)?;
    wire.seen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let frame = packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &reflected(123, VICTIM));
    let socket = PacketSocket::open(&site.attacker, "eth0")?;
    // The only processor of an emulated machine is not to be busy with this alone.
    let pace = Duration::from_micros(if lab::is_emulated() { 5000 } else { 100 });
    let flood = thread::spawn({
        let stop = stop.clone();
        move || -> Result<u64> {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                socket.send(&frame)?;
                sent += 1;
                thread::sleep(pace);
            }
            Ok(sent)
        }
    });
    for _ in 0..3 {
        daemon.kill()?;
        thread::sleep(Duration::from_millis(200));
        daemon.launch()?;
        daemon.wait_installed(1)?;
        thread::sleep(Duration::from_millis(300));
    }
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().ok().context("the flood panicked")??;
    let through = wire.seen()?.iter().filter(|ip| ip[0] >> 4 == 4 && ip[9] == 17 && ip[20..22] == [0, 123]).count();
    ensure!(through == 0, "{through} of {sent} came through");
    // What was counted by four runs of the daemon, none forgotten.
    daemon.wait_rules("all packets counted", PATIENCE, |rules| rules[0].packets == Some(sent))?;
    check(&mut wire, "afterwards")
}

#[test]
fn xdp_interfaces_vanish_and_come() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let (daemon, _controller) = protected(&site)?;
    check(&mut wire, "before")?;
    drop(wire);
    site.switch.ip(&["link", "del", "swp1"])?;
    let (attacker, switch) = (&site.attacker, &site.switch);
    lab::veth(
        lab::End::new(attacker, "eth0", &["198.51.100.1/24"]),
        lab::End::new(switch, "swp1", &["198.51.100.254/24"]),
    )?;
    let mut wire = site.wire()?;
    wait_until("the new interface to be filtered", PATIENCE, || check(&mut wire, "new interface").ok())?;
    ensure!(daemon.rules()?[0].state == RuleState::Installed, "{:?}", daemon.rules()?);
    Ok(())
}

#[test]
fn xdp_samples_are_shown_to_all_who_ask() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let daemon = Daemon::start(&site.switch, &configuration("\"swp1\""))?;
    let controller = connecting_peer(&site, controller_config()?)?;
    let rule = "dst 192.0.2.1/32 proto udp sport 123 then sample discard";
    controller.announce_text(rule)?;
    let rules = daemon.wait_installed(1)?;
    let directory = tempfile::tempdir()?;
    let (file, rules_file) = (directory.path().join("samples.pcap"), directory.path().join("rules"));
    std::fs::write(&rules_file, rule)?;
    let wire = site.wire()?;
    let stop = AtomicBool::new(false);
    let file = file.to_str().context("a path")?;
    let (json, text, captured) = thread::scope(|scope| -> Result<_> {
        let json = scope.spawn(|| daemon.cli(&["samples", "--json", "--count", "3", "--for", "20s"]));
        let text = scope.spawn(|| daemon.cli(&["samples", "-n", "2", "--for", "20s"]));
        let captured = scope.spawn(|| daemon.cli(&["samples", "-w", file, "--for", "1s"]));
        scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                wire.send(&reflected(123, VICTIM))?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        let ended = [json, text, captured].map(|command| command.join().map_err(|_| anyhow::anyhow!("it panicked")));
        stop.store(true, Ordering::Relaxed);
        let [json, text, captured] = ended;
        Ok((json??, text??, captured??))
    })?;
    let lines: Vec<api::SampleView> =
        json.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("JSON")?;
    ensure!(lines.len() == 3, "{json}");
    ensure!(lines.iter().all(|line| line.interface == "swp1" && line.rule.as_ref() == Some(&rules[0].id)), "{json}");
    ensure!(text.lines().count() == 2 && text.contains("198.51.100.1:123") && text.contains(&rules[0].id), "{text}");
    ensure!(captured.is_empty(), "{captured}");
    let rules_file = rules_file.to_str().context("a path")?;
    let explained = daemon.cli(&["explain", "--rules", rules_file, "--pcap", file, "--json"])?;
    let discarded = explained.lines().filter(|line| line.contains("\"discard\"")).count();
    ensure!(discarded > 10, "{explained}");
    Ok(())
}

#[test]
fn xdp_a_redirect_follows_the_routes() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let generic = format!("{}xdp.attach = \"generic\"\n", configuration("\"swp1\""));
    let allowed = generic.replacen("passive = true\n", "passive = true\nallow.redirect-to = [\"10.77.0.0/16\"]\n", 1);
    let daemon = Daemon::start(&site.switch, &allowed)?;
    let controller = connecting_peer(&site, controller_config()?)?;
    controller.announce_text("dst 192.0.2.1/32 proto udp sport 123 then redirect 10.77.0.1")?;
    let failed = |rules: &[RuleView]| {
        rules.len() == 1
            && rules[0].state == RuleState::Failed
            && rules[0].reason.as_ref().is_some_and(|why| why.contains("no route from swp1 to 10.77.0.1"))
    };
    daemon.wait_rules("the reason", PATIENCE, failed)?;
    site.switch.ip(&["route", "add", "10.77.0.0/16", "via", PEER])?;
    daemon.wait_rules("the rule in force", PATIENCE, |rules| rules[0].state == RuleState::Installed)?;
    let mut wire = site.wire()?;
    wait_until("packets to go", PATIENCE, || (!wire.passes(&reflected(123, VICTIM)).ok()?).then_some(()))?;
    wait_until("the count", PATIENCE, || (daemon.status().ok()?.statistics["redirected"] > 0).then_some(()))?;
    site.switch.ip(&["route", "del", "10.77.0.0/16"])?;
    daemon.wait_rules("the reason again", PATIENCE, failed)?;
    check(&mut wire, "no rule is in force").map_or(Ok(()), |()| anyhow::bail!("it filters"))
}

#[test]
fn xdp_another_program_is_refused_and_reported() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let options = Options {
        interfaces: vec!["swp1".to_owned()],
        capacity: 1024,
        directory: site.switch.bpf_directory().join("other"),
        ..Options::default()
    };
    let mut other = site.switch.run(|| -> Result<Xdp> {
        let mut other = Xdp::open(options)?;
        other.replace(&Ruleset::default())?;
        Ok(other)
    })?;
    let daemon = Daemon::start(&site.switch, &configuration("\"swp*\""))?;
    let error = wait_until("the refusal", PATIENCE, || daemon.status().ok()?.dataplane_error)?;
    ensure!(error.contains("swp1") && error.contains("another XDP program"), "{error}");
    site.switch.run(|| other.clear())?;
    let controller = connecting_peer(&site, controller_config()?)?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    check(&mut site.wire()?, "without the other")
}
