//! Traffic that a machine depends on passes whatever the rules are: sessions of other daemons, in
//! both directions, and what `[protect]` names.

use api::{DataplaneState, RuleState};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Daemon, Netns, Site, needs, packet};

/// Long enough for three handshakes on a loaded machine, and waited in full only where a packet is
/// filtered.
const PATIENCE: Duration = Duration::from_secs(4);

fn configuration(backend: &str, protect: &str) -> String {
    format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\nlisten = []\n\n{protect}\n\n\
         [dataplane]\nbackend = \"{backend}\"\ninterfaces = [\"swp*\"]\nxdp.capacity = 1024\n"
    )
}

/// Whether a TCP connection from one to the other, where somebody listens, comes about.
fn connects(from: &Netns, to: &Netns, address: &str, port: u16) -> Result<bool> {
    let address = SocketAddr::new(address.parse()?, port);
    let _listener = to.run(|| TcpListener::bind(address))?;
    Ok(from.run(|| TcpStream::connect_timeout(&address, PATIENCE)).is_ok())
}

#[test]
fn sessions_of_other_daemons_and_protected_sources_pass() -> Result<()> {
    needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let from = |host: &str| -> Result<Vec<u8>> {
        let (from, to): (IpAddr, IpAddr) = (host.parse()?, VICTIM.parse()?);
        Ok(packet::udp((from, 123).into(), (to, 4000).into(), b"to the victim"))
    };
    for backend in ["nftables", "xdp"] {
        let daemon = Daemon::start(&site.switch, &configuration(backend, ""))?;
        ensure!(daemon.status()?.advice.iter().any(|advice| advice.contains("[protect]")), "nothing is proposed");
        daemon.cli(&["announce", &format!("dst {SWITCH}/32 proto tcp then discard")])?;
        daemon.cli(&["announce", &format!("dst {VICTIM}/32 then discard")])?;
        ensure!(!connects(&site.switch, &site.peers, PEER, 179)?, "{backend}: our own session was not filtered");
        ensure!(wire.arrivals(&[from("198.51.100.53")?])? == [false], "{backend}: without protection");

        let protect = "[protect]\npresets = [\"bgp\"]\nsources = [\"198.51.100.53/32\"]";
        daemon.configure(&configuration(backend, protect))?;
        daemon.cli(&["reload"])?;
        daemon.wait_status("the protection", Duration::from_secs(30), |status| {
            status.dataplane == DataplaneState::Applied
                && !status.advice.iter().any(|advice| advice.contains("[protect]"))
        })?;
        let protected = daemon.status()?.protected.join("\n");
        let told = ["neighbour discovery", "bgp: BGP sessions of other daemons", "packets from 198.51.100.53/32"];
        ensure!(told.iter().all(|text| protected.contains(text)), "{protected}");
        ensure!(connects(&site.switch, &site.peers, PEER, 179)?, "{backend}: a session that we open");
        ensure!(connects(&site.peers, &site.switch, SWITCH, 179)?, "{backend}: a session that they open");
        ensure!(!connects(&site.switch, &site.peers, PEER, 8080)?, "{backend}: another session");
        ensure!(!connects(&site.peers, &site.switch, SWITCH, 8080)?, "{backend}: another service");
        let arrived = wire.arrivals(&[from("198.51.100.53")?, from("198.51.100.7")?])?;
        ensure!(arrived == [true, false], "{backend}: {arrived:?}");
        // A rule that only aims at what is protected is not let in.
        let _ = daemon.cli(&["announce", "src 198.51.100.53/32 proto udp then discard"]);
        daemon.wait_rules("the guard", Duration::from_secs(30), |rules| {
            rules
                .iter()
                .any(|rule| rule.state == RuleState::RejectedByPolicy && rule.text.starts_with("src 198.51.100.53/32"))
        })?;
        daemon.cli(&["clear"])?;
        drop(daemon);
        site.switch.exec("nft", &["flush", "ruleset"])?;
    }
    Ok(())
}
