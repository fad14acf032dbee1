//! Floodgate and a router on one machine, in one network namespace, with the configurations of
//! `docs/manual/beside-a-router.md`: they are read from the page.

mod router;

use anyhow::{Context, Result, ensure};
use api::{RuleState, SessionState};
use bgp::{PeerAs, PeerConfig};
use lab::scenario::NTP;
use lab::{Daemon, Netns, PATIENCE, Speaker, needs};

use router::{Program, Router, listeners, page};

fn wait_rule(daemon: &Daemon<'_>, rule: &str, state: RuleState) -> Result<()> {
    let such = |rules: &[api::RuleView]| matches!(rules, [only] if only.text == rule && only.state == state);
    daemon.wait_rules(rule, PATIENCE, such).map(drop)
}

/// Floodgate first, as in a race at boot: the router gets its port; then a reload while the router
/// is away; then the router again.
fn story(program: Program) -> Result<()> {
    let netns = Netns::new("beside")?;
    let (router_text, own_text) = (page(program.block())?, page(&format!("beside {}", program.name()))?);
    let mut daemon = Daemon::start(&netns, &own_text)?;
    let name = program.name().to_lowercase();
    daemon.wait_peer(&name, "a try in vain", PATIENCE, |peer| peer.next_try.is_some())?;
    ensure!(listeners(&netns)?.is_empty(), "Floodgate took port 179: {}", listeners(&netns)?);

    let mut router = Router::start(&netns, program, &router_text)?;
    router.source()?;
    daemon.wait_established(&name, PATIENCE).with_context(|| router.log())?;
    ensure!(listeners(&netns)?.contains(program.process()), "{}", listeners(&netns)?);
    router.announce(NTP).with_context(|| router.log())?;
    wait_rule(&daemon, NTP, RuleState::Installed).with_context(|| router.log())?;

    router.stop()?;
    daemon.wait_peer(&name, "the loss", PATIENCE, |peer| peer.state != SessionState::Established)?;
    daemon.configure(&format!("{own_text}\ndebounce = \"30ms\"\n"))?;
    daemon.cli(&["reload"])?;
    ensure!(listeners(&netns)?.is_empty(), "Floodgate took port 179 by a reload: {}", listeners(&netns)?);
    // It is hold-on-loss that keeps the rule: routers that are stopped in order say so.
    wait_rule(&daemon, NTP, RuleState::Stale)?;

    router.launch()?;
    router.announce(NTP)?;
    wait_rule(&daemon, NTP, RuleState::Installed).with_context(|| router.log())?;
    daemon.stop()?;
    Ok(())
}

#[test]
fn beside_bird() -> Result<()> {
    needs!(root, "nft", "ss", "bird", "birdc");
    story(Program::Bird)
}

#[test]
fn beside_gobgp() -> Result<()> {
    needs!(root, "nft", "ss", "gobgpd", "gobgp");
    story(Program::Gobgp)
}

#[test]
fn beside_frr() -> Result<()> {
    needs!(root, "nft", "ss", lab::peers::Frr::PROGRAM, "vtysh");
    story(Program::Frr)
}

#[test]
fn bird_takes_what_the_page_says_of_validation() -> Result<()> {
    needs!("bird");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bird.conf");
    std::fs::write(&path, page(Program::Bird.block())? + &page("validation to /etc/bird/bird.conf")?)?;
    let output = std::process::Command::new("bird").arg("-p").arg("-c").arg(&path).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Nobody else is there: Floodgate does not take itself for the router.
#[test]
fn it_does_not_connect_to_itself() -> Result<()> {
    needs!(root, "nft");
    let netns = Netns::new("itself")?;
    netns.ip(&["address", "add", "192.0.2.10/32", "dev", "lo"])?;
    for address in ["127.0.0.1", "192.0.2.10"] {
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = [\"0.0.0.0\", \"::\"]\n[[peer]]\nname = \"router\"\n\
             address = \"{address}\"\nas = 65140\n[dataplane]\nbackend = \"none\"\n"
        );
        let mut daemon = Daemon::start(&netns, &text)?;
        let told = |peer: &api::PeerView| {
            peer.last_error
                .as_deref()
                .is_some_and(|error| error.contains("is where Floodgate itself takes connections"))
        };
        daemon.wait_peer("router", "that it knows itself", PATIENCE, told)?;
        // The peer may come all the same.
        let config = PeerConfig::new(65140, [192, 0, 2, 1].into(), PeerAs::Exactly(65140));
        let peer = Speaker::connect(&netns, address.parse()?, "127.0.0.1:179".parse()?, config)?;
        daemon.wait_established("router", PATIENCE)?;
        drop(peer);
        daemon.stop()?;
    }
    Ok(())
}
