//! `floodgate exabgp` as a process of real ExaBGPs, 4 and 5, which have a session with a
//! controller: the article's set-up, with Floodgate instead of its script.

mod cumulus;
mod endings;
mod story;

use anyhow::{Context, Result};
use api::RuleView;
use bgp::{AfiSafi, PeerConfig};
use lab::peers::{Exabgp, PeerDaemon as _, Receiver, Session, Version};
use lab::scenario::{self, CONTROLLER_AS, CONTROLLER_PORT, SWITCH_AS};
use lab::site::{PEER, SWITCH, VICTIM, VICTIM6, Wire};
use lab::{Daemon, PATIENCE, Site, Speaker, peers, wait_until};

const VERSIONS: [Version; 2] = [Version::V4, Version::V5];

/// The versions of ExaBGP that are installed.
fn versions() -> impl Iterator<Item = Version> {
    VERSIONS.into_iter().filter(|version| version.required())
}

/// The configuration of the daemon, with these `[[peer]]` tables or none.
fn configuration(peers: &str) -> String {
    format!(
        "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n{peers}\n[dataplane]\nbackend = \"nftables\"\ninterfaces = [\"swp*\"]\n"
    )
}

/// The controller, which waits for the switch on port 1179.
fn controller(site: &Site) -> Result<Speaker> {
    let families = AfiSafi::ALL.into_iter().filter(|family| matches!(family, AfiSafi::Flow(_)));
    let config = PeerConfig { families: families.collect(), ..scenario::controller_config()? };
    scenario::listening_peer(site, config)
}

/// ExaBGP on the switch, connecting to the controller, with Floodgate as its process. `octets`: its
/// JSON has the octets of the messages as well.
fn exabgp<'a>(site: &'a Site, version: Version, daemon: &Daemon<'_>, octets: bool) -> Result<Exabgp<'a>> {
    let session = Session::new(SWITCH.parse()?, SWITCH_AS, PEER.parse()?, CONTROLLER_AS)
        .port(CONTROLLER_PORT)
        .families(&[peers::Family::Ipv4Flow, peers::Family::Ipv6Flow, peers::Family::Vpn4Flow]);
    let command = daemon.exabgp_command()?;
    Exabgp::start_with_process(&site.switch, version, session, "", Some(Receiver { command: &command, octets }))
}

/// The switch with Floodgate as a process of ExaBGP, which has a session with the controller.
struct Scene<'a> {
    exabgp: Exabgp<'a>,
    daemon: Daemon<'a>,
    controller: Speaker,
    wire: Wire,
    site: &'a Site,
}

/// Plays this with each version of ExaBGP that is installed. `octets`: its JSON has the octets of
/// the messages as well.
fn with_each_version(configuration: &str, octets: bool, play: impl Fn(Scene<'_>) -> Result<()>) -> Result<()> {
    for version in versions() {
        let site = Site::new()?;
        let wire = site.wire()?;
        let controller = controller(&site)?;
        let daemon = Daemon::prepare(&site.switch, configuration)?;
        let exabgp = exabgp(&site, version, &daemon, octets)?;
        controller.wait_established(PATIENCE)?;
        play(Scene { exabgp, daemon, controller, wire, site: &site })?;
    }
    Ok(())
}

/// Waits until there are so many rules, all installed; what ExaBGP said, if not.
fn wait_installed(daemon: &Daemon<'_>, exabgp: &mut Exabgp<'_>, count: usize) -> Result<Vec<RuleView>> {
    daemon.wait_installed(count).with_context(|| exabgp.process().map(|process| process.log()).unwrap_or_default())
}

/// Waits until the kernel has no filters.
fn wait_clean(site: &Site) -> Result<()> {
    let mut last = String::new();
    wait_until("a kernel without filters", PATIENCE, || {
        last = site.switch.exec("nft", &["list", "ruleset"]).unwrap_or_default();
        (!last.contains(VICTIM) && !last.contains(VICTIM6)).then_some(())
    })
    .with_context(|| last)
}
