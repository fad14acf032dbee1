//! The example that the project began with, end to end: a controller's FlowSpec message becomes a
//! hardware ACL, and is removed with its withdrawal or its session.

use crate::{Bench, NTP, PATIENCE};
use anyhow::{Result, ensure};
use lab::peers::{Exabgp, PeerDaemon as _, Session, Version};
use lab::scenario::{CONTROLLER_AS, SWITCH_AS, check_dropped};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, needs};

/// The controller, whatever program it is.
trait Controller {
    fn announce(&mut self) -> Result<()>;
    fn withdraw(&mut self) -> Result<()>;
    /// The session is lost.
    fn go_away(&mut self) -> Result<()>;
}

struct Own(Option<lab::Speaker>);

impl Own {
    fn speaker(&self) -> &lab::Speaker {
        self.0.as_ref().expect("it has not gone away")
    }
}

impl Controller for Own {
    fn announce(&mut self) -> Result<()> {
        self.speaker().announce_text(NTP)
    }

    fn withdraw(&mut self) -> Result<()> {
        self.speaker().withdraw_text(NTP)
    }

    fn go_away(&mut self) -> Result<()> {
        let speaker = self.0.take().expect("once");
        speaker.forget();
        speaker.cut();
        drop(speaker);
        Ok(())
    }
}

const EXABGP: &str = "match { destination 192.0.2.1/32; protocol =udp; source-port =123; } then { discard; }";

impl Controller for Exabgp<'_> {
    fn announce(&mut self) -> Result<()> {
        Exabgp::announce(self, EXABGP)
    }

    fn withdraw(&mut self) -> Result<()> {
        Exabgp::withdraw(self, EXABGP)
    }

    fn go_away(&mut self) -> Result<()> {
        let process = self.process().expect("it runs");
        process.kill().map(drop)
    }
}

fn story(bench: &Bench, controller: &mut dyn Controller) -> Result<()> {
    let mut wire = bench.site.wire()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    daemon.wait_established("controller", PATIENCE)?;
    check_dropped(&mut wire, false)?;
    ensure!(bench.policy().is_none(), "nothing is asked for, so there is no file");

    controller.announce()?;
    daemon.wait_installed(1)?;
    check_dropped(&mut wire, true)?;
    let policy = bench.policy().unwrap_or_default();
    let rule = if bench.settings.release.major < 5 {
        let shown = bench.site.switch.exec("iptables-legacy", &["-n", "--list", "FORWARD"])?;
        ensure!(
            shown
                .lines()
                .any(|line| line.starts_with("DROP") && line.contains("192.0.2.1") && line.ends_with("udp spt:123")),
            "{shown}"
        );
        "\n-A FORWARD --in-interface swp+ -p udp -d 192.0.2.1/32 --sport 123 -j DROP\n"
    } else {
        "-p udp -d 192.0.2.1/32 --sport 123 -j DROP\n"
    };
    ensure!(
        policy.contains(rule) && policy.matches("-j ").count() == 1 + policy.matches("-j ACCEPT").count(),
        "{policy}"
    );
    daemon.wait_rules("the counters", PATIENCE, |rules| rules[0].dropped == Some(2) && rules[0].packets == Some(2))?;

    controller.withdraw()?;
    bench.wait_clean(&daemon)?;
    check_dropped(&mut wire, false)?;

    controller.announce()?;
    daemon.wait_installed(1)?;
    check_dropped(&mut wire, true)?;
    controller.go_away()?;
    bench.wait_clean(&daemon)?;
    check_dropped(&mut wire, false)
}

#[test]
fn the_articles_example_with_a_controller_of_our_own() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for release in ["3.7", "4.4", "5.4", "5.9", "5.14", "5.17"] {
        let bench = Bench::new(release)?;
        story(&bench, &mut Own(Some(bench.controller()?)))?;
    }
    Ok(())
}

fn with_exabgp(version: Version) -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    if !version.required() {
        return Ok(());
    }
    let bench = Bench::new("4.4")?;
    let session = Session::new(PEER.parse()?, CONTROLLER_AS, SWITCH.parse()?, SWITCH_AS).port(1179).passive();
    let mut exabgp = Exabgp::start(&bench.site.peers, version, session, "")?;
    story(&bench, &mut exabgp)
}

#[test]
fn the_articles_example_with_exabgp4_as_the_controller() -> Result<()> {
    with_exabgp(Version::V4)
}

#[test]
fn the_articles_example_with_exabgp5_as_the_controller() -> Result<()> {
    with_exabgp(Version::V5)
}
