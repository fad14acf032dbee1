//! A peer that ends its own session with a malformed message: the filters stay.

use api::{RuleState, SessionState};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use bgp::{AfiSafi, FamilyNumbers, GracefulRestart, PeerAs, PeerConfig};
use flowspec::Family;
use lab::site::{PEER, SWITCH};
use lab::{Daemon, Probe, Site, Speaker, needs, wait_until};

use crate::{
    CONTROLLER_AS, NTP, PATIENCE, SWITCH_AS, configuration, controller, installed, numbered_rules, speaker, update,
};

/// A speaker with graceful restart, as BIRD and GoBGP offer it: neither the N bit nor the F bit.
fn graceful(site: &Site) -> Result<Speaker> {
    let address: Ipv4Addr = PEER.parse()?;
    let families = [Family::Ipv4, Family::Ipv6].map(|family| (FamilyNumbers::from(AfiSafi::Flow(family)), false));
    let restart =
        GracefulRestart { restarted: false, notification: false, restart_time: 120, families: families.to_vec() };
    let config = PeerConfig {
        graceful_restart: Some(restart),
        ..PeerConfig::new(CONTROLLER_AS, address, PeerAs::Exactly(SWITCH_AS))
    };
    Speaker::connect(&site.peers, address.into(), SocketAddr::new(SWITCH.parse()?, 179), config)
}

#[test]
fn faults_lost_boundaries_do_not_open_the_filters() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let daemon = Daemon::start(&site.switch, &configuration(&[("controller", PEER, CONTROLLER_AS, "")]))?;
    let controller = graceful(&site)?;
    controller.announce(numbered_rules(0..300));
    controller.announce_text(NTP)?;
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 301 && installed(rules))?;
    let mut probe = Probe::start(&site)?;
    for round in 1..=3 {
        // An NLRI of 9 octets in an attribute that ends behind the first.
        controller.send_raw(update(1, &[9, 1]));
        let peer = wait_until("another session", PATIENCE, || {
            let peer = daemon.peer("controller").ok()?;
            (peer.established_count == round + 1 && peer.state == SessionState::Established).then_some(peer)
        })
        .map_err(|error| error.context(daemon.explain()))?;
        ensure!(peer.framing_resets == round, "{peer:?}");
        let why = peer.last_error.unwrap_or_default();
        ensure!(why.contains("boundaries of its rules") && why.contains("3/9"), "{why}");
    }
    daemon.wait_rules("all rules, confirmed", PATIENCE, |rules| rules.len() == 301 && installed(rules))?;
    let history = daemon.cli(&["history"])?;
    ensure!(history.contains("boundaries of its rules were lost"), "{history}");
    let (sent, arrived) = probe.counts()?;
    ensure!(sent > 200 && arrived == 0, "{arrived} of {sent} packets got through\n{}", daemon.explain());
    Ok(())
}

#[test]
fn faults_another_peers_refused_action_takes_no_filter_away() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let peers = [("controller", PEER, CONTROLLER_AS, ""), ("second", "203.0.113.2", SWITCH_AS, "")];
    let daemon = Daemon::start(&site.switch, &configuration(&peers))?;
    let controller = controller(&site)?;
    controller.announce_text(NTP)?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && installed(rules))?;
    let mut probe = Probe::start(&site)?;
    // The same match part from our own AS, so the better path, with an action that nftables
    // refuses.
    let second = speaker(&site, "203.0.113.2", SWITCH_AS, 90)?;
    second.announce_text(&NTP.replace("discard", "redirect 65000:100"))?;
    let rules = daemon.wait_rules("both paths", PATIENCE, |rules| rules[0].origins.len() == 2)?;
    ensure!(rules[0].state == RuleState::Installed && rules[0].text.ends_with("discard"), "{rules:?}");
    let best: Vec<&str> =
        rules[0].origins.iter().filter(|origin| origin.best).map(|origin| origin.peer.as_str()).collect();
    ensure!(best == ["controller"], "{rules:?}");
    let shown = daemon.cli(&["rules"])?;
    ensure!(shown.contains("what second asks for does not count: "), "{shown}");
    wait_until("packets", PATIENCE, || probe.counts().ok().filter(|(sent, _)| *sent > 200))?;
    let (sent, arrived) = probe.stop()?;
    ensure!(arrived == 0, "{arrived} of {sent} packets got through\n{}", daemon.explain());
    Ok(())
}
