//! A full table on a session with blackholes: 1,000,000 unicast routes of BIRD, of which 1,000 are
//! tagged, beside FRR's bgpd taking the same.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use api::PeerView;
use lab::peers::{Bird, Family, Frr, PeerDaemon as _, Session};
use lab::scenario::{CONTROLLER_AS, SWITCH_AS};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, Site};

use crate::report::{Figure, Group};
use crate::wire::resident;

const COUNT: u32 = 1_000_000;
const TAGGED: u32 = 1000;
const PORT: u16 = 1180;
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a receiver is asked how far it is: the error of the measured time.
const LOOK: Duration = Duration::from_millis(50);
const MB: f64 = 1e6;

/// Memory and time of both receivers.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut group = Group::new(
        "table",
        format!(
            "BIRD sends {COUNT} unicast routes, of which {TAGGED} are tagged as blackholes: from the start of the receiver, which \
             connects, until it has them all; and its resident memory beside the same with the {TAGGED} tagged routes alone. \
             Floodgate with back end none, and FRR's bgpd without zebra."
        ),
    );
    let few = floodgate(TAGGED)?;
    let full = floodgate(COUNT)?;
    group.add(Figure::median("floodgate, all routes", "s", None, &[full.seconds]));
    group.add(Figure::median("floodgate, resident with the tagged routes alone", "MB", None, &[few.octets / MB]));
    group.add(Figure::median("floodgate, resident with all routes", "MB", None, &[full.octets / MB]));
    let more = (full.octets - few.octets) / MB;
    group.add(Figure::median("floodgate, resident, more than with the tagged alone", "MB", Some(40.0), &[more]));
    if lab::require_program(Frr::PROGRAM) && lab::require_program("vtysh") {
        let other = bgpd()?;
        group.add(Figure::median("bgpd, all routes", "s", None, &[other.seconds]));
        group.add(Figure::median("bgpd, resident with all routes", "MB", None, &[other.octets / MB]));
        let ratio = full.seconds / other.seconds;
        group.add(Figure::median("floodgate's time beside bgpd's", "ratio", Some(1.0), &[ratio]));
    }
    Ok(vec![group])
}

/// What taking the routes cost.
struct Taken {
    seconds: f64,
    /// Resident memory.
    octets: f64,
}

fn session() -> Result<Session> {
    let session = Session::new(PEER.parse()?, CONTROLLER_AS, SWITCH.parse()?, SWITCH_AS);
    Ok(session.families(&[Family::Ipv4Unicast]).port(PORT).passive())
}

/// Routes to `count` different prefixes; the last of them are tagged, so that all have come when
/// these have.
fn routes(count: u32) -> impl Iterator<Item = String> {
    let untagged = (0..count - TAGGED).map(|number| {
        let [a, b, c, _] = (0x1400_0000 + number * 256).to_be_bytes();
        format!("{a}.{b}.{c}.0/24 blackhole")
    });
    let tagged = (0..TAGGED).map(|number| {
        let [a, b, c, d] = (0xc612_0000 + number).to_be_bytes();
        format!("{a}.{b}.{c}.{d}/32 blackhole {{ bgp_community.add((65535,666)); }}")
    });
    untagged.chain(tagged)
}

fn bird(site: &Site, count: u32) -> Result<Bird<'_>> {
    let mut bird = Bird::start(&site.peers, session()?, &[])?;
    bird.announce_all(routes(count))?;
    let begin = Instant::now();
    while !bird.control("show route count table master4")?.contains(&format!("{count} of {count}")) {
        ensure!(begin.elapsed() < PATIENCE, "BIRD has not taken its own routes after {PATIENCE:?}");
        thread::sleep(LOOK);
    }
    Ok(bird)
}

fn floodgate(count: u32) -> Result<Taken> {
    let site = Site::new()?;
    let mut bird = bird(&site, count)?;
    let configuration = format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\nlisten = []\n[[peer]]\nname = \"bird\"\naddress = \"{PEER}\"\nport = {PORT}\n\
         as = {CONTROLLER_AS}\nfamilies = [\"ipv4\", \"ipv4-unicast\"]\nmax-rules = 1000000\n[peer.allow]\ndestinations = [\"198.18.0.0/15\"]\n\
         [peer.blackhole]\ndestination = [\"blackhole\"]\n[dataplane]\nbackend = \"none\"\n"
    );
    let begin = Instant::now();
    let mut daemon = Daemon::start(&site.switch, &configuration)?;
    let has_all = |peer: &PeerView| peer.rules == u64::from(TAGGED);
    while !daemon.peer("bird").is_ok_and(|peer| has_all(&peer)) {
        ensure!(begin.elapsed() < PATIENCE, "not all routes after {PATIENCE:?}\n{}", daemon.explain());
        thread::sleep(LOOK);
    }
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(daemon.peer("bird")?.established_count == 1, "the session was lost\n{}", daemon.explain());
    let octets = resident(daemon.process()?.pid())?.0 as f64;
    daemon.stop()?;
    bird.stop()?;
    Ok(Taken { seconds, octets })
}

fn bgpd() -> Result<Taken> {
    let site = Site::new()?;
    let mut bird = bird(&site, COUNT)?;
    let session = Session::new(SWITCH.parse()?, SWITCH_AS, PEER.parse()?, CONTROLLER_AS)
        .families(&[Family::Ipv4Unicast])
        .port(PORT);
    let begin = Instant::now();
    let mut frr = Frr::start(&site.switch, &[session])?;
    while prefixes(&frr)? < u64::from(COUNT) {
        if begin.elapsed() > PATIENCE {
            bail!("bgpd has not taken all routes after {PATIENCE:?}");
        }
        thread::sleep(LOOK);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let pid = frr.process().map(|process| process.pid()).unwrap_or_default();
    let octets = resident(pid)?.0 as f64;
    frr.stop()?;
    bird.stop()?;
    Ok(Taken { seconds, octets })
}

/// How many prefixes bgpd has from BIRD.
fn prefixes(frr: &Frr<'_>) -> Result<u64> {
    let summary = frr.control("show bgp ipv4 unicast summary json")?;
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap_or_default();
    Ok(summary["peers"][PEER]["pfxRcd"].as_u64().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_routes_are_as_many_as_they_say_and_differ() {
        let all: HashSet<String> = routes(5000).collect();
        assert_eq!(all.len(), 5000);
        assert_eq!(all.iter().filter(|route| route.contains("65535,666")).count(), TAGGED as usize);
        assert!(routes(COUNT).nth(999_999 - TAGGED as usize).unwrap().starts_with("35.62.87."));
    }
}
