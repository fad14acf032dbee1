//! Where the tests happen: a daemon on the switch with a peer, an attack, and a browser beside it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lab::scenario::{self, CONTROLLER_PORT, NTP, router_and_controller};
use lab::site::VICTIM;
use lab::{Browser, Daemon, PATIENCE, PacketSocket, Site, Speaker, packet};

pub(crate) const ADDRESS: &str = "http://127.0.0.1:8179/";
pub(crate) const TOKEN: &str = "a-token-of-the-tests";
/// A rule with a redirect that nftables refuses.
pub(crate) const REFUSED: &str = "dst 192.0.2.9/32 proto tcp then redirect 65000:1";
pub(crate) const LIMIT: &str = "dst 192.0.2.1/32 proto udp sport 53 then rate 1mbps";

/// The views, by what comes after the `#` of their address.
pub(crate) const VIEWS: [&str; 8] = ["", "rules", "peers", "packet", "paste", "samples", "events", "history"];

/// `[api]` of a daemon with a page.
pub(crate) fn api() -> String {
    format!("listen = [\"127.0.0.1:8179\"]\ntoken = \"{TOKEN}\"")
}

pub(crate) fn configuration() -> String {
    let head = router_and_controller(CONTROLLER_PORT);
    format!(
        r#"{head}
[[peer]]
name = "elsewhere"
address = "203.0.113.2"
as = 65071
passive = true

[dataplane]
backend = "nftables"
interfaces = ["swp*"]
"#
    )
}

/// A daemon with a session, and a peer that has announced some rules.
pub(crate) fn attacked(site: &Site) -> Result<(Daemon<'_>, Speaker)> {
    let controller = scenario::listening_peer(site, scenario::controller_config()?)?;
    for rule in [NTP, LIMIT, REFUSED] {
        controller.announce_text(rule)?;
    }
    let daemon = Daemon::start_with_api(&site.switch, &configuration(), &api())?;
    daemon.wait_established("controller", PATIENCE)?;
    daemon.wait_rules("all rules", PATIENCE, |rules| rules.len() == 3)?;
    Ok((daemon, controller))
}

/// A browser that shows the daemon's page.
pub(crate) fn opened(site: &Site) -> Result<Browser> {
    let mut browser = Browser::start(&site.switch)?;
    browser.open(ADDRESS)?;
    browser.wait("the state", "document.querySelector('#tile-state .value')?.textContent.length > 1")?;
    Ok(browser)
}

/// Gives the page the token.
pub(crate) fn sign_in(browser: &mut Browser) -> Result<()> {
    browser.click("#token")?;
    browser.write("#token-input", TOKEN)?;
    browser.press("Enter")?;
    browser.wait(
        "the token",
        "!document.querySelector('dialog') && document.querySelector('#token').textContent === 'Forget token'",
    )?;
    Ok(())
}

/// Goes to a view.
pub(crate) fn go(browser: &mut Browser, place: &str) -> Result<()> {
    browser.evaluate(&format!("location.hash = '#/{place}'"))?;
    browser.wait("the view", "document.querySelector('#content h1') !== null")?;
    Ok(())
}

/// Packets of the attack, until it is dropped.
pub(crate) struct Attack {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<()>>>,
}

impl Attack {
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let (from, to) = (site.attacker.mac("eth0")?, site.switch.mac("swp1")?);
        let victim: IpAddr = VICTIM.parse()?;
        let frames: Vec<Vec<u8>> = (1..=50)
            .map(|host| {
                let port = if host % 5 == 0 { 53 } else { 123 };
                packet::ethernet(
                    from,
                    to,
                    &packet::udp(([198, 51, 100, host], port).into(), (victim, 4000).into(), &[0; 440]),
                )
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                frames.iter().try_for_each(|frame| socket.send(frame))?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        Ok(Attack { stop, sender: Some(sender) })
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(sender) = self.sender.take() else { return Ok(()) };
        sender.join().map_err(|_| anyhow!("the sender panicked"))?
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Pictures that the manual has.
const IN_THE_MANUAL: [&str; 9] =
    ["overview", "overview-dark", "rules-phone", "gone", "rules", "rule", "packet", "paste", "asked-again"];

/// Where a picture goes: into the manual, if those of it are to be made anew.
pub(crate) fn picture(name: &str) -> Result<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let update = std::env::var_os("UPDATE").is_some() && IN_THE_MANUAL.contains(&name);
    let directory = root.join(if update { "docs/manual/page" } else { "target/page" });
    std::fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("{name}.png")))
}

/// No script failed, and the browser refused nothing that the page did. That a request was answered
/// with an error is none of that: the page shows it.
pub(crate) fn no_complaints(browser: &mut Browser) -> Result<()> {
    let mut complaints = browser.complaints();
    complaints.retain(|complaint| !complaint.contains("\"source\":\"network\""));
    anyhow::ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
