//! A peer that announces and withdraws as fast as it can: the sessions stay established, another
//! peer's rule is not delayed, and at the end the kernel has exactly the last state.

use api::SessionState;
use std::time::Instant;

use anyhow::{Result, ensure};
use flowspec::Rule;
use lab::site::PEER;
use lab::{Daemon, Site, needs, wait_until};

use crate::{
    CONTROLLER_AS, NTP, PATIENCE, SWITCH_AS, attack, configuration, controller, in_the_kernel, kernel_has,
    numbered_rules, speaker, update, wire as octets, withdrawal,
};

const FLOODER: &str = "203.0.113.2";
/// Rules that come and go.
const RULES: u32 = 100;

fn rounds() -> u32 {
    if lab::is_emulated() { 40 } else { 400 }
}

#[test]
fn faults_a_flood_of_announce_and_withdraw() -> Result<()> {
    needs!(root, "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    // Nine seconds without a keepalive would end either session.
    let short = "hold-time = 9\n";
    let peers = [("controller", PEER, CONTROLLER_AS, short), ("flooder", FLOODER, SWITCH_AS, short)];
    let daemon = Daemon::start(&site.switch, &configuration(&peers))?;
    let controller = controller(&site)?;
    let flooder = speaker(&site, FLOODER, SWITCH_AS, 9)?;
    for peer in ["controller", "flooder"] {
        daemon.wait_established(peer, PATIENCE)?;
    }
    let rules = numbered_rules(0..RULES);
    let round: Vec<u8> =
        rules.iter().flat_map(|rule| [update(1, &octets(rule)), withdrawal(1, &octets(rule))]).flatten().collect();
    for _ in 0..rounds() {
        flooder.send_raw(round.clone());
    }
    // At last every second rule stays.
    let (mut last, mut stay) = (Vec::new(), Vec::<Rule>::new());
    for (index, rule) in rules.iter().enumerate() {
        last.extend(update(1, &octets(rule)));
        if index % 2 == 0 {
            stay.push(rule.clone());
        } else {
            last.extend(withdrawal(1, &octets(rule)));
        }
    }
    flooder.send_raw(last);

    // In the middle of it another peer asks for help.
    let asked = Instant::now();
    controller.announce_text(NTP)?;
    let waited = wait_until("the other peer's rule", PATIENCE, || {
        wire.passes(&attack()).ok().filter(|passes| !passes).map(|_| asked.elapsed())
    })?;
    let updates = daemon.peer("flooder")?.updates;
    let all = u64::from(RULES * (2 * rounds() + 1) + RULES / 2);
    println!(
        "enforced {waited:?} after it was asked for; by then {updates} of {all} updates of the flood had been taken in"
    );

    stay.push(NTP.parse()?);
    daemon.wait_status("the end of the flood", PATIENCE, |_| {
        daemon.peer("flooder").is_ok_and(|peer| peer.updates >= all)
    })?;
    daemon.wait_rules("what was said last", PATIENCE, |rules| rules.len() == stay.len())?;
    wait_until("the kernel to follow", PATIENCE, || kernel_has(&daemon, &stay).ok()).map_err(|error| {
        error.context(format!("{} rules in the kernel", in_the_kernel(&daemon).map_or(0, |r| r.len())))
    })?;
    for peer in ["controller", "flooder"] {
        let peer = daemon.peer(peer)?;
        ensure!(peer.established_count == 1 && peer.state == SessionState::Established, "{peer:?}");
        ensure!(peer.malformed.is_empty(), "{peer:?}");
    }
    // It did not have to wait for the end of the flood, unless all of that took no time.
    ensure!(updates < all || waited < PATIENCE / 4, "the other peer waited {waited:?}, for all {all} updates");
    Ok(())
}
