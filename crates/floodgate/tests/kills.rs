//! Repeated `kill -9` under traffic: what was shown as installed or acknowledged is in force from
//! the next start on, and no packet passes meanwhile; with nftables and with XDP.
//!
//! `FLOODGATE_KILLS=1000` sets the number of kills with each back end; `make torture` does.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::scenario::{CONTROLLER_AS, NTP, SWITCH_AS, connecting_peer, controller_config, reflected};
use lab::site::{PEER, SWITCH, VICTIM, Wire};
use lab::{Daemon, PATIENCE, PacketSocket, Site, needs, packet, wait_until};

/// In force all the time: the peer's, and one that was announced by hand.
const LASTING: [(&str, u16); 2] = [(NTP, 123), ("dst 192.0.2.1/32 proto udp sport 53 then discard", 53)];

fn configuration(backend: &str) -> String {
    format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n\
         [[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {CONTROLLER_AS}\npassive = true\n\n\
         [dataplane]\nbackend = \"{backend}\"\ninterfaces = [\"swp*\"]\n"
    )
}

fn rule(port: u16) -> String {
    format!("dst {VICTIM}/32 proto udp sport {port} then discard")
}

/// Packets of the lasting rules, without pause.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Flood {
    fn start(site: &Site) -> Result<Self> {
        let frame = |port| -> Result<Vec<u8>> {
            Ok(packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &reflected(port, VICTIM)))
        };
        let frames = LASTING.map(|(_, port)| frame(port)).into_iter().collect::<Result<Vec<_>>>()?;
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    for frame in &frames {
                        socket.send(frame)?;
                        sent += 1;
                    }
                    thread::sleep(Duration::from_micros(200));
                }
                Ok(sent)
            }
        });
        Ok(Flood { stop, thread })
    }

    /// How many were sent.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the flood panicked")?
    }
}

/// Packets of the lasting rules among those that reached the victim.
fn leaks(wire: &mut Wire) -> Result<usize> {
    let lasting =
        |ip: &[u8]| ip[0] >> 4 == 4 && ip[9] == 17 && LASTING.iter().any(|(_, port)| ip[20..22] == port.to_be_bytes());
    Ok(wire.seen()?.iter().filter(|ip| lasting(ip)).count())
}

fn enforced(daemon: &Daemon<'_>, text: &str) -> bool {
    let found = |rules: &[api::RuleView]| {
        rules.iter().any(|rule| rule.text == text && rule.state.known().is_some_and(api::RuleState::is_in_force))
    };
    daemon.rules().is_ok_and(|rules| found(&rules))
}

fn known(daemon: &Daemon<'_>, text: &str) -> Result<bool> {
    Ok(daemon.rules()?.iter().any(|rule| rule.text == text))
}

fn kills(backend: &str) -> Result<()> {
    let count: u16 = match std::env::var("FLOODGATE_KILLS") {
        Ok(count) => count.parse().context("FLOODGATE_KILLS")?,
        Err(_) => 20,
    };
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration(backend))?;
    let controller = connecting_peer(&site, controller_config()?)?;
    controller.announce_text(LASTING[0].0)?;
    daemon.cli(&["announce", LASTING[1].0])?;
    let both = || LASTING.iter().all(|(text, _)| enforced(&daemon, text)).then_some(());
    wait_until("the lasting rules", PATIENCE, both).with_context(|| daemon.explain())?;
    wire.seen()?;
    let flood = Flood::start(&site)?;
    let (began, mut leaked, mut lost) = (Instant::now(), 0, Vec::new());
    for n in 0..count {
        // By hand and by the peer in turn; what was withdrawn by hand a moment ago is not to come
        // back.
        let (port, text) = (1000 + n, rule(1000 + n));
        let by_hand = n % 2 == 0;
        let in_force = |daemon: &Daemon<'_>| {
            wait_until("the rule", PATIENCE, || enforced(daemon, &text).then_some(())).with_context(|| daemon.explain())
        };
        if by_hand {
            daemon.cli(&["announce", &text])?;
            // On a busy machine the answer may be that it is pending: then it is saved, and in
            // force only later.
            in_force(&daemon)?;
            let gone = rule(40_000 + n);
            daemon.cli(&["announce", &gone])?;
            daemon.cli(&["withdraw", &gone])?;
        } else {
            controller.announce_text(&text)?;
            in_force(&daemon)?;
        }
        daemon.kill()?;
        if !kept(&daemon, &text)? {
            lost.push(text.clone());
        }
        if !by_hand {
            // While nobody is there.
            controller.withdraw_text(&text)?;
        }
        daemon.launch()?;
        if by_hand {
            ensure!(!known(&daemon, &rule(40_000 + n))?, "kill {n}: a withdrawn rule came back\n{}", daemon.explain());
            if !known(&daemon, &text)? || wire.passes(&reflected(port, VICTIM))? {
                lost.push(text.clone());
            }
            daemon.cli(&["withdraw", &text])?;
        }
        // Every tenth time the peer comes back first.
        if n % 10 == 9 {
            daemon.wait_established("controller", PATIENCE)?;
        }
        leaked += leaks(&mut wire)?;
        ensure!(leaked == 0 && lost.is_empty(), "kill {n}: {leaked} leaks, lost {lost:?}\n{}", daemon.explain());
    }
    let took = began.elapsed();
    let sent = flood.stop()?;
    leaked += leaks(&mut wire)?;
    println!(
        "{backend}: {count} kills in {took:.0?}: {leaked} of {sent} packets leaked, {} recent rules lost",
        lost.len()
    );
    ensure!(leaked == 0, "{leaked} of {sent} packets came through");
    daemon.stop()?;
    Ok(())
}

#[test]
fn kills_with_nftables() -> Result<()> {
    needs!(root, "nft");
    kills("nftables")
}

#[test]
fn kills_with_xdp() -> Result<()> {
    needs!(root, "ip");
    kills("xdp")
}

fn state_file(daemon: &Daemon<'_>) -> PathBuf {
    daemon.configuration().with_file_name("state")
}

/// Whether the state file has this rule.
fn kept(daemon: &Daemon<'_>, text: &str) -> Result<bool> {
    let rule: flowspec::Rule = text.parse()?;
    let loaded = daemon::state_file::load(&state_file(daemon));
    ensure!(!loaded.damaged, "{:?}", loaded.wrong);
    Ok(loaded.restored.saved_rules.iter().flat_map(|of_one| &of_one.paths).any(|path| *path.nlri == rule.nlri))
}

/// The state file is gone: what the kernel filters stays until the peer has sent its rules again.
fn without_its_state(backend: &str) -> Result<()> {
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let state = "stale-time = \"1h\"";
    let mut daemon = Daemon::start_with_state(&site.switch, &configuration(backend), state)?;
    let peer = connecting_peer(&site, controller_config()?)?;
    peer.announce_text(LASTING[0].0)?;
    peer.announce_text(LASTING[1].0)?;
    peer.announce_text(&rule(1000))?;
    let all = [LASTING[0].0.to_owned(), LASTING[1].0.to_owned(), rule(1000)];
    let enforced_all = |daemon: &Daemon<'_>, rules: &[String]| rules.iter().all(|text| enforced(daemon, text));
    wait_until("the rules", PATIENCE, || enforced_all(&daemon, &all).then_some(()))
        .with_context(|| daemon.explain())?;
    wire.seen()?;
    let flood = Flood::start(&site)?;
    daemon.kill()?;
    peer.shutdown();
    fs::remove_file(state_file(&daemon))?;
    daemon.launch()?;
    ensure!(daemon.status()?.warnings.iter().any(|warning| warning.contains("3 filters of an earlier run")));
    for _ in 0..10 {
        ensure!(!wire.passes(&reflected(1000, VICTIM))?, "what the kernel filtered went with the state file");
        thread::sleep(Duration::from_millis(100));
    }
    // The peer comes back, with one rule less and one more.
    let peer = connecting_peer(&site, controller_config()?)?;
    peer.announce_text(LASTING[0].0)?;
    peer.announce_text(LASTING[1].0)?;
    peer.announce_text(&rule(1001))?;
    let now = [LASTING[0].0.to_owned(), LASTING[1].0.to_owned(), rule(1001)];
    wait_until("the rules", PATIENCE, || enforced_all(&daemon, &now).then_some(()))
        .with_context(|| daemon.explain())?;
    wait_until("the end of the old one", PATIENCE, || {
        wire.passes(&reflected(1000, VICTIM)).ok().filter(|passes| *passes)
    })?;
    daemon.wait_status("the end of the warning", PATIENCE, |status| {
        !status.warnings.iter().any(|warning| warning.contains("of an earlier run"))
    })?;
    let leaked = leaks(&mut wire)?;
    let sent = flood.stop()?;
    ensure!(leaked == 0, "{leaked} of {sent} packets came through");

    // Once more, and the peer stays away: a rule that somebody wants now is worth more than old
    // ones that perhaps nobody does.
    daemon.kill()?;
    peer.shutdown();
    fs::remove_file(state_file(&daemon))?;
    daemon.launch()?;
    ensure!(!wire.passes(&reflected(LASTING[0].1, VICTIM))?, "what the kernel filtered went with the state file");
    daemon.cli(&["announce", &rule(2000)])?;
    wait_until("the new rule", PATIENCE, || enforced(&daemon, &rule(2000)).then_some(()))
        .with_context(|| daemon.explain())?;
    ensure!(!wire.passes(&reflected(2000, VICTIM))?, "the new rule is not in force");
    daemon.stop()?;
    Ok(())
}

#[test]
fn a_start_without_its_state_takes_over_what_nftables_filters() -> Result<()> {
    needs!(root, "nft");
    without_its_state("nftables")
}

#[test]
fn a_start_without_its_state_takes_over_what_xdp_filters() -> Result<()> {
    needs!(root, "ip");
    without_its_state("xdp")
}

/// Another daemon with files and sockets of its own, in the same network namespace.
fn second_start(backend: &str) -> Result<()> {
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration(backend))?;
    daemon.cli(&["announce", LASTING[0].0])?;
    daemon.cli(&["announce", LASTING[1].0])?;
    let pid = daemon.process()?.pid();
    wire.seen()?;
    let flood = Flood::start(&site)?;
    for _ in 0..3 {
        let other =
            configuration(backend).replace(&format!("id = \"{SWITCH}\""), &format!("id = \"{SWITCH}\"\nlisten = []"));
        let refusal = match Daemon::start(&site.switch, &other) {
            Ok(_) => anyhow::bail!("a second daemon filters beside the first"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(refusal.contains(&format!("another floodgate (pid {pid})")), "{refusal}");
    }
    ensure!(leaks(&mut wire)? == 0, "the second start touched the filters of the first");
    flood.stop()?;
    ensure!(LASTING.iter().all(|(text, _)| enforced(&daemon, text)), "{}", daemon.explain());
    daemon.stop()?;
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_by_nftables() -> Result<()> {
    needs!(root, "nft");
    second_start("nftables")
}

#[test]
fn a_second_daemon_is_refused_by_xdp() -> Result<()> {
    needs!(root, "ip");
    second_start("xdp")
}
