//! 300,000 rules of one peer in force, and one rule of another: measures the delay of a lost
//! session and of the daemon's shutdown.

use api::RuleState;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bgp::{PeerAs, PeerConfig};
use lab::scenario::{self, CONTROLLER_AS, CONTROLLER_PORT, SWITCH_AS};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, Site, Speaker};

use crate::kernel::Tables;
use crate::report::{Figure, Group};
use crate::wire::enforced;
use crate::workload::{self, announcement};

/// Rules of the peer whose session is lost.
const CROWD: u32 = 300_000;
const TRIES: usize = 3;
const SECOND: &str = "203.0.113.2";
const PATIENCE: Duration = Duration::from_secs(120);

/// Timeout.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut group = Group::new(
        "crowd",
        "300,000 rules of one peer, and one of another that stays: from the end of the TCP connection until the kernel has committed the \
         last change, and from SIGTERM until the process has ended and no filter is left.",
    );
    let site = Site::new()?;
    let octets = announcement(&workload::rules(CROWD)?);
    let mut tables = Tables::open(&site.switch)?;
    let (mut loads, mut losses, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TRIES {
        let (many, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
        let mut daemon = Daemon::start(&site.switch, &configuration())?;
        many.wait_established(PATIENCE).with_context(|| daemon.explain())?;
        one.wait_established(PATIENCE).with_context(|| daemon.explain())?;
        for peer in ["many", "one"] {
            daemon.wait_established(peer, PATIENCE)?;
        }
        one.announce([workload::single(0)?]);
        daemon.wait_status("the other peer's rule", PATIENCE, |status| status.rules_in(RuleState::Installed) == 1)?;
        loads.push(load(&mut tables, &daemon, &many, &octets)?);
        let before = tables.generation()?;
        let start = Instant::now();
        many.cut();
        losses.push((enforced(&mut tables, &daemon, before, 1)? - start).as_secs_f64());
        many.wait_established(PATIENCE)?;
        daemon.wait_established("many", PATIENCE)?;
        loads.push(load(&mut tables, &daemon, &many, &octets)?);
        let start = Instant::now();
        daemon.stop()?;
        stops.push(start.elapsed().as_secs_f64());
        ensure!(daemon.ruleset()?.is_empty(), "filters are left");
    }
    group.add(Figure::median("300,000 rules, wire to kernel", "s", None, &loads));
    group.add(Figure::median("a session is lost, until its rules are out of the kernel", "s", Some(2.0), &losses));
    group.add(Figure::median("SIGTERM, until the process has ended", "s", Some(2.0), &stops));
    Ok(vec![group])
}

/// Announces them all and waits.
fn load(tables: &mut Tables, daemon: &Daemon<'_>, many: &Speaker, octets: &[u8]) -> Result<f64> {
    let before = tables.generation()?;
    let octets = octets.to_vec();
    let start = Instant::now();
    many.send_raw(octets);
    Ok((enforced(tables, daemon, before, CROWD as usize + 1)? - start).as_secs_f64())
}

fn speaker(site: &Site, address: &str) -> Result<Speaker> {
    scenario::listening_peer(site, PeerConfig::new(CONTROLLER_AS, address.parse()?, PeerAs::Exactly(SWITCH_AS)))
}

/// Both peers; lost sessions are re-established at once.
fn configuration() -> String {
    let peer = |name: &str, address: &str| {
        format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nport = {CONTROLLER_PORT}\nas = {CONTROLLER_AS}\nmax-rules = 1000000\n\
             idle-hold-max = \"1s\"\n\n[peer.allow]\nwithout-destination = true\n\n"
        )
    };
    let peers = peer("many", PEER) + &peer("one", SECOND);
    format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\nlisten = []\n\n{peers}[dataplane]\nbackend = \"nftables\"\n"
    )
}
