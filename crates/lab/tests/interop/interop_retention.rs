//! Sessions that are lost during an attack: not one packet that a rule blocks passes.

use api::RuleState;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::peers::{Bird, Family, Gobgp, PeerDaemon as _, Session};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, Probe, Site, needs, wait_until};

use crate::{OURS, PATIENCE, configuration};

/// Rules beside the one that is probed: a feed that takes its time.
const OTHERS: usize = 300;
/// Longer than the shortest hold time, 3 s: both sides give up.
const CUT: Duration = Duration::from_secs(8);

fn session(asn: u32) -> Session {
    Session::new(PEER.parse().unwrap(), asn, SWITCH.parse().unwrap(), OURS).hold_time(3).graceful_restart(120)
}

fn daemon<'a>(site: &'a Site, asn: u32, more: &str) -> Result<Daemon<'a>> {
    let peer = format!("[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = {asn}\n{more}");
    let daemon = Daemon::start(&site.switch, &configuration(&peer))?;
    daemon.wait_established("peer", PATIENCE)?;
    Ok(daemon)
}

fn confirmed(daemon: &Daemon<'_>) -> Result<()> {
    let such = |rules: &[api::RuleView]| {
        rules.len() == 1 + OTHERS
            && rules.iter().all(|rule| rule.state == RuleState::Installed && !rule.origins[0].stale)
    };
    daemon.wait_rules("all rules, confirmed", PATIENCE * 2, such).map(drop)
}

/// The link to the peer is cut and comes back, twice, the second time before the peer can have sent
/// everything again.
fn cut_the_link(site: &Site, daemon: &Daemon<'_>) -> Result<()> {
    for round in 0..2 {
        let sessions = daemon.peer("peer")?.established_count;
        site.peers.ip(&["link", "set", "eth0", "down"])?;
        daemon.wait_status("the loss", PATIENCE, |status| status.established == 0)?;
        let stale = daemon
            .wait_rules("stale rules", PATIENCE, |rules| rules.iter().all(|rule| rule.state == RuleState::Stale))?;
        ensure!(stale.len() == 1 + OTHERS, "round {round}: {} rules", stale.len());
        thread::sleep(CUT);
        site.peers.ip(&["link", "set", "eth0", "up"])?;
        daemon.wait_another_session("peer", sessions, PATIENCE * 2)?;
    }
    confirmed(daemon)
}

fn nothing_got_through(mut probe: Probe, daemon: &Daemon<'_>) -> Result<()> {
    let (sent, arrived) = probe.counts()?;
    ensure!(sent > 300, "only {sent} packets were sent");
    ensure!(arrived == 0, "{arrived} of {sent} packets got through\n{}", daemon.explain());
    let (sent, arrived) = probe.stop()?;
    ensure!(arrived == 0, "{arrived} of {sent} packets got through\n{}", daemon.explain());
    eprintln!("{sent} packets were sent, none got through");
    Ok(())
}

/// Without the rule they do get through: the probe can fail.
fn unfiltered(site: &Site) -> Result<()> {
    let mut probe = Probe::start(site)?;
    wait_until("packets that arrive", PATIENCE, || probe.counts().ok().filter(|(_, arrived)| *arrived > 10)).map(drop)
}

const BIRD_ACTION: &str = "{ bgp_ext_community.add((generic, 0x80060000, 0x0)); }";

/// BIRD announces the rule that is probed, and the others.
fn feed_by_bird(bird: &mut Bird<'_>) -> Result<()> {
    let other =
        |number| format!("flow4 {{ dst 10.9.{}.{}/32; proto = 17; }} {BIRD_ACTION}", number / 256, number % 256);
    let ntp = format!("flow4 {{ dst 192.0.2.1/32; proto = 17; sport = 123; }} {BIRD_ACTION}");
    bird.announce_all((0..OTHERS).map(other).chain([ntp]))
}

/// GoBGP does.
fn feed_by_gobgp(gobgp: &mut Gobgp<'_>) -> Result<()> {
    for number in 0..OTHERS {
        let rule = format!("match destination 10.9.{}.{}/32 protocol udp then discard", number / 256, number % 256);
        gobgp.announce(Family::Ipv4Flow, &rule)?;
    }
    gobgp.announce(Family::Ipv4Flow, "match destination 192.0.2.1/32 protocol udp source-port ==123 then discard")
}

#[test]
fn interop_bird_lost_and_back_under_attack() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let mut bird = Bird::start(&site.peers, session(65001), &[])?;
    let daemon = daemon(&site, 65001, "")?;
    unfiltered(&site)?;
    feed_by_bird(&mut bird)?;
    confirmed(&daemon)?;
    let probe = Probe::start(&site)?;
    cut_the_link(&site, &daemon)?;

    // It crashes, and its successor says that it has kept nothing (the F bit is clear).
    bird.kill()?;
    daemon.wait_status("the loss", PATIENCE, |status| status.established == 0)?;
    bird.restart()?;
    confirmed(&daemon)?;

    // We end the session since a setting changed.
    let peer = format!("[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = 65001\nhold-time = 30\n");
    daemon.configure(&configuration(&peer))?;
    let sessions = daemon.peer("peer")?.established_count;
    daemon.cli(&["reload"])?;
    daemon.wait_another_session("peer", sessions, PATIENCE)?;
    confirmed(&daemon)?;
    nothing_got_through(probe, &daemon)
}

#[test]
fn interop_gobgp_lost_and_back_under_attack() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    let mut gobgp = Gobgp::start(&site.peers, session(65002).port(1790).passive())?;
    let daemon = daemon(&site, 65002, "port = 1790\n")?;
    unfiltered(&site)?;
    feed_by_gobgp(&mut gobgp)?;
    confirmed(&daemon)?;
    let probe = Probe::start(&site)?;
    cut_the_link(&site, &daemon)?;
    nothing_got_through(probe, &daemon)
}

/// The restart time is over long before the link is back; the long-lived stale time is not.
const SHORT_RESTART: u16 = 2;

/// The link to the peer is cut for longer than the restart time, and comes back; the daemon is
/// killed meanwhile, and starts again.
fn long_outage(site: &Site, daemon: &mut Daemon<'_>) -> Result<()> {
    let long_lived = |rules: &[api::RuleView]| {
        rules.len() == 1 + OTHERS && rules.iter().all(|rule| rule.origins[0].stale && rule.origins[0].long_lived)
    };
    for is_killed in [false, true] {
        site.peers.ip(&["link", "set", "eth0", "down"])?;
        daemon.wait_status("the loss", PATIENCE, |status| status.established == 0)?;
        daemon.wait_rules("long-lived stale rules", PATIENCE, long_lived)?;
        if is_killed {
            daemon.kill()?;
            daemon.launch()?;
            let stale = |rules: &[api::RuleView]| {
                rules.len() == 1 + OTHERS && rules.iter().all(|rule| rule.state == RuleState::Stale)
            };
            daemon.wait_rules("stale rules", PATIENCE, stale)?;
            // Longer than stale-time: what the file says of the loss counts.
            daemon.wait_rules("long-lived stale rules after the restart", PATIENCE, long_lived)?;
        }
        thread::sleep(CUT);
        let stale = daemon.rules()?;
        ensure!(long_lived(&stale), "{} rules, {:?}", stale.len(), stale.first());
        let sessions = daemon.peer("peer")?.established_count;
        site.peers.ip(&["link", "set", "eth0", "up"])?;
        daemon.wait_another_session("peer", sessions, PATIENCE * 2)?;
        confirmed(daemon)?;
    }
    Ok(())
}

/// Shorter than the outage.
const STALE_TIME: &str = "stale-time = \"15s\"";

fn long_lived_daemon<'a>(site: &'a Site, asn: u32, more: &str) -> Result<Daemon<'a>> {
    let peer = format!(
        "[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = {asn}\n{more}[peer.long-lived]\nmax-stale-time = \"5m\"\n"
    );
    let daemon = Daemon::start_with_state(&site.switch, &configuration(&peer), STALE_TIME)?;
    daemon.wait_established("peer", PATIENCE)?;
    Ok(daemon)
}

#[test]
fn interop_bird_long_lived_under_attack() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let offer = session(65001).graceful_restart(SHORT_RESTART).long_lived(600);
    let mut bird = Bird::start(&site.peers, offer, &[])?;
    let mut daemon = long_lived_daemon(&site, 65001, "")?;
    unfiltered(&site)?;
    feed_by_bird(&mut bird)?;
    confirmed(&daemon)?;
    let probe = Probe::start(&site)?;
    long_outage(&site, &mut daemon)?;
    nothing_got_through(probe, &daemon)
}

#[test]
fn interop_gobgp_long_lived_under_attack() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    let site = Site::new()?;
    let offer = session(65002).graceful_restart(SHORT_RESTART).long_lived(600);
    let mut gobgp = Gobgp::start(&site.peers, offer.port(1790).passive())?;
    let mut daemon = long_lived_daemon(&site, 65002, "port = 1790\n")?;
    unfiltered(&site)?;
    feed_by_gobgp(&mut gobgp)?;
    confirmed(&daemon)?;
    let probe = Probe::start(&site)?;
    long_outage(&site, &mut daemon)?;
    nothing_got_through(probe, &daemon)
}

/// Its rules are validated against its unicast routes, which nobody remembers: what was in force
/// stays until they have come again.
#[test]
fn interop_a_killed_daemon_with_validation_under_attack() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    let site = Site::new()?;
    let families = [Family::Ipv4Flow, Family::Ipv4Unicast];
    let ntp = format!("flow4 {{ dst 192.0.2.1/32; proto = 17; sport = 123; }} {BIRD_ACTION}");
    let _bird = Bird::start(&site.peers, session(65001).families(&families), &["192.0.2.0/24 blackhole", &ntp])?;
    let validated = "families = [\"ipv4\", \"ipv4-unicast\"]\nallow.validation = \"rfc9117\"\n";
    let mut daemon = daemon(&site, 65001, validated)?;
    let confirmed = |rules: &[api::RuleView]| {
        rules.len() == 1 && rules[0].state == RuleState::Installed && !rules[0].origins[0].stale
    };
    daemon.wait_rules("the rule", PATIENCE, confirmed)?;
    let probe = Probe::start(&site)?;
    for _ in 0..3 {
        daemon.kill()?;
        daemon.launch()?;
        daemon.wait_established("peer", PATIENCE)?;
        daemon.wait_rules("the rule, confirmed", PATIENCE, confirmed)?;
    }
    nothing_got_through(probe, &daemon)
}
