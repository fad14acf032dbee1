//! The routers, started with a configuration as it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bgp::{PeerAs, PeerConfig};
use lab::peers::Frr;
use lab::scenario::NTP;
use lab::{Netns, PATIENCE, Process, Speaker, wait_until};

/// The manual page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/beside-a-router.md");

/// The block of the page whose first line has this.
pub(crate) fn page(what: &str) -> Result<String> {
    let text = fs::read_to_string(Path::new(PAGE))?;
    let block = text.split("\n```").find(|block| block.lines().nth(1).is_some_and(|line| line.ends_with(what)));
    let block = block.with_context(|| format!("no block about {what}"))?;
    // The first line is the language.
    Ok(block.split_once('\n').map(|(_, rest)| rest.to_owned() + "\n").unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Bird,
    Frr,
    Gobgp,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Program::Bird => "BIRD",
            Program::Frr => "FRR",
            Program::Gobgp => "GoBGP",
        }
    }

    /// How the first line of its block ends.
    pub(crate) const fn block(self) -> &'static str {
        match self {
            Program::Bird => "bird.conf",
            Program::Frr => "frr.conf",
            Program::Gobgp => "gobgpd.toml",
        }
    }

    /// What its process is called.
    pub(crate) const fn process(self) -> &'static str {
        match self {
            Program::Bird => "bird",
            Program::Frr => "bgpd",
            Program::Gobgp => "gobgpd",
        }
    }
}

/// A running router.
pub(crate) struct Router<'a> {
    netns: &'a Netns,
    program: Program,
    text: String,
    process: Option<Process>,
    directory: tempfile::TempDir,
    source: std::cell::RefCell<Option<Speaker>>,
}

impl<'a> Router<'a> {
    pub(crate) fn start(netns: &'a Netns, program: Program, text: &str) -> Result<Self> {
        // What the page leaves out: where the rules come from.
        let text = match program {
            Program::Frr => text.replacen(
                " address-family ipv4 flowspec\n",
                " no bgp ebgp-requires-policy\n neighbor 127.0.0.70 remote-as 65070\n neighbor 127.0.0.70 ebgp-multihop 2\n \
                 neighbor 127.0.0.70 update-source 127.0.0.1\n neighbor 127.0.0.70 passive\n neighbor 127.0.0.70 \
                 advertisement-interval 0\n address-family ipv4 flowspec\n  neighbor 127.0.0.70 activate\n",
                1,
            ),
            Program::Bird | Program::Gobgp => text.to_owned(),
        };
        let directory = tempfile::tempdir()?;
        let mut router =
            Router { netns, program, text, process: None, directory, source: std::cell::RefCell::default() };
        router.launch()?;
        Ok(router)
    }

    /// What has to live as long as the rules are to come.
    pub(crate) fn source(&self) -> Result<()> {
        if self.program == Program::Frr {
            *self.source.borrow_mut() = Some(upstream(self.netns)?);
        }
        Ok(())
    }

    pub(crate) fn launch(&mut self) -> Result<()> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        fs::write(path("conf"), &self.text)?;
        let mut command = self.netns.command(match self.program {
            Program::Bird => "bird",
            Program::Frr => Frr::PROGRAM,
            Program::Gobgp => "gobgpd",
        })?;
        match self.program {
            Program::Bird => command.args(["-f", "-c", &path("conf"), "-s", &path("control"), "-P", &path("pid")]),
            // Without zebra, and as root: its own user could not write here.
            Program::Frr => command
                .args(["-f", &path("conf"), "-i", &path("pid"), "-z", &path("zserv"), "-p", "179", "-P", "0"])
                .args(["--vty_socket", &self.directory.path().display().to_string()])
                .args(["-n", "-Z", "-S", "--log", "stdout", "--log-level", "info"]),
            Program::Gobgp => command.args(["-f", &path("conf"), "-p", "--pprof-disable"]),
        };
        let mut process = Process::spawn(self.program.process(), command)?;
        let ready = wait_until("the router's port 179", Duration::from_secs(20), || {
            let listens = listeners(self.netns).is_ok_and(|found| found.contains(self.program.process()));
            (process.check_running().is_err() || listens).then_some(())
        });
        process.check_running()?;
        ready.with_context(|| process.log())?;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop().map(drop))
    }

    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Announces the one rule of these tests in the router's own words.
    pub(crate) fn announce(&self, rule: &str) -> Result<()> {
        assert_eq!(rule, NTP, "the words below are for this rule");
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        match self.program {
            Program::Bird => {
                let route = "protocol static rules { flow4 { table flowtab4; };\n route flow4 { dst 192.0.2.1/32; proto = 17; \
                             sport = 123; } { bgp_ext_community.add((generic, 0x80060000, 0x0)); };\n}\n";
                fs::write(path("conf"), format!("{}{route}", self.text))?;
                let control = || self.netns.exec("birdc", &["-s", &path("control"), "configure"]);
                wait_text("BIRD's new configuration", control, "Reconfig")
            }
            Program::Gobgp => {
                let words = "global rib add -a ipv4-flowspec match destination 192.0.2.1/32 protocol udp source-port ==123 then discard";
                let words: Vec<&str> = words.split(' ').collect();
                wait_until("GoBGP's command line", PATIENCE, || self.netns.exec("gobgp", &words).ok().map(drop))
            }
            Program::Frr => {
                let source = self.source.borrow();
                let source = source.as_ref().context("FRR has no rules of its own: no source")?;
                source.announce_text(rule)
            }
        }
    }
}

/// Rules of the page's FRR come from a neighbour, as FRR has none of its own.
fn upstream(netns: &Netns) -> Result<Speaker> {
    let config = PeerConfig::new(65070, [192, 0, 2, 70].into(), PeerAs::Exactly(65140));
    Speaker::connect(netns, "127.0.0.70".parse()?, "127.0.0.1:179".parse()?, config)
}

fn wait_text(what: &str, mut ask: impl FnMut() -> Result<String>, text: &str) -> Result<()> {
    let mut last = String::new();
    wait_until(what, PATIENCE, || {
        last = ask().unwrap_or_else(|error| error.to_string());
        last.contains(text).then_some(())
    })
    .with_context(|| last)
}

/// Whether somebody listens on port 179, and who.
pub(crate) fn listeners(netns: &Netns) -> Result<String> {
    netns.exec("ss", &["-Hltnp", "sport = :179"])
}
