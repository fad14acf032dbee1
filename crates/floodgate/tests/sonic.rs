//! The daemon on a switch with SONiC: BGP sessions on one side, a real Redis server and the
//! stand-in for orchagent on the other, packets through the middle.

use anyhow::{Context, Result, ensure};
use api::RuleState;
use lab::orchagent::SonicSwitch;
use lab::scenario::{self, CONTROLLER_AS, NTP, SWITCH_AS, check_dropped, udp};
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Daemon, PATIENCE, Site, Speaker, TokenBucket, needs, wait_until};
use std::thread;
use std::time::{Duration, Instant};

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
            "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\nlisten = []\n\n\
             [[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nport = 1179\nas = {CONTROLLER_AS}\n\n\
             [dataplane]\nbackend = \"sonic\"\non-exit = \"keep\"\n\n\
             [dataplane.sonic]\nredis = \"unix:{}\"\ntimeout = \"5s\"\n",
            self.switch.socket().display()
        )
    }

    fn controller(&self) -> Result<Speaker> {
        scenario::listening_peer(&self.site, scenario::controller_config()?)
    }

    /// Waits until so many ACL rules are in force.
    fn wait_active(&self, count: usize, daemon: &Daemon<'_>) -> Result<()> {
        wait_until("ACL rules", PATIENCE, || (self.switch.active().len() == count).then_some(()))
            .with_context(|| format!("{:?}; {}", self.switch.active(), daemon.explain()))
    }
}

#[test]
fn a_controllers_message_becomes_an_acl_rule_and_goes_with_its_withdrawal_or_its_session() -> Result<()> {
    needs!(root, "ip", "nft", "redis-server");
    let bench = Bench::new()?;
    let controller = bench.controller()?;
    let mut wire = bench.site.wire()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration())?;
    daemon.wait_established("controller", PATIENCE)?;
    check_dropped(&mut wire, false)?;

    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    check_dropped(&mut wire, true)?;
    daemon.wait_rules("the counters", PATIENCE, |rules| rules[0].dropped == Some(2) && rules[0].packets == Some(2))?;

    controller.withdraw_text(NTP)?;
    bench.wait_active(0, &daemon)?;
    check_dropped(&mut wire, false)?;

    controller.announce_text(NTP)?;
    controller.announce_text("dst 192.0.2.1/32 length 100 then discard")?;
    daemon.wait_rules("a refusal", PATIENCE, |rules| {
        let has = |state: RuleState| rules.iter().any(|rule| rule.state == state);
        rules.len() == 2 && has(RuleState::Installed) && has(RuleState::Refused)
    })?;
    check_dropped(&mut wire, true)?;
    controller.forget();
    controller.cut();
    drop(controller);
    bench.wait_active(0, &daemon)?;
    check_dropped(&mut wire, false)
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
        daemon.wait_installed(1)?;
        check_dropped(&mut wire, true)?;
    }
    // The daemon is gone, its filters are not.
    check_dropped(&mut wire, true)?;
    let before = bench.switch.active();
    let Bench { site, switch } = &mut bench;
    let daemon = Daemon::start(&site.switch, &configuration)?;
    daemon.wait_established("controller", PATIENCE)?;
    daemon.wait_installed(1)?;
    ensure!(switch.active() == before && switch.rewrites() == 0, "it was taken over");
    // `config reload`, and Redis itself.
    switch.restart()?;
    wait_until("the rule", PATIENCE, || (switch.active() == before).then_some(())).with_context(|| daemon.explain())?;
    daemon.wait_installed(1)?;
    check_dropped(&mut wire, true)?;
    switch.stop_redis()?;
    switch.start_redis()?;
    wait_until("the rule", PATIENCE, || (switch.active() == before).then_some(())).with_context(|| daemon.explain())?;
    check_dropped(&mut wire, true)
}

/// A policer of the switch limits what its rule matches, and is gone with it.
#[test]
fn a_policer_limits_the_packets_of_its_rule() -> Result<()> {
    const RATE: f64 = 100.0;
    needs!(root, "ip", "nft", "redis-server");
    let bench = Bench::new()?;
    let controller = bench.controller()?;
    let configuration = format!("{}policers = true\nrelease = \"2026-08-01\"\n", bench.configuration());
    let daemon = Daemon::start(&bench.site.switch, &configuration)?;
    daemon.wait_established("controller", PATIENCE)?;
    let rule = format!("dst 192.0.2.1/32 proto udp sport 123 then rate {RATE}pps");
    controller.announce_text(&rule)?;
    daemon.wait_installed(1)?;
    let mut wire = bench.site.wire()?;
    wire.seen()?;
    let (limited, other) = (udp(123, VICTIM, 4000, 8), udp(124, VICTIM, 4000, 8));
    // The back end asks for a burst of one second.
    let mut bucket = TokenBucket::new(RATE, RATE);
    let pause = bucket.time_for(1.0) / 3;
    let (mut sent, mut expected, started) = (0u64, 0u64, Instant::now());
    while started.elapsed() < Duration::from_secs(6) {
        expected += u64::from(bucket.lets_through(1.0));
        wire.send(&limited)?;
        wire.send(&other)?;
        sent += 1;
        thread::sleep(pause);
    }
    // Behind all of them.
    let mut seen = wire.seen()?;
    wait_until("the last packet", PATIENCE, || {
        seen.extend(wire.seen().ok()?);
        let others = seen.iter().filter(|ip| ip[0] >> 4 == 4 && ip[9] == 17 && ip[20..22] == [0, 124]).count();
        (others as u64 == sent).then_some(())
    })?;
    let passed = seen.iter().filter(|ip| ip[0] >> 4 == 4 && ip[9] == 17 && ip[20..22] == [0, 123]).count() as u64;
    ensure!(expected > 300 && sent - expected > 100, "{sent} packets, of which {expected} were to pass, are too few");
    let ratio = passed as f64 / expected as f64;
    ensure!((0.95..=1.05).contains(&ratio), "{passed} of {sent} packets passed, and {expected} were to");
    controller.withdraw_text(&rule)?;
    bench.wait_active(0, &daemon)?;
    let left = bench.site.switch.exec("nft", &["list", "table", "inet", "sonic"])?;
    ensure!(!left.contains("limit rate"), "{left}");
    Ok(())
}
