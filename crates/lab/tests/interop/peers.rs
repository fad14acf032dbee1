//! The programs, each with its syntax for the rules of [`rules`](crate::rules).

use anyhow::{Context, Result, bail};
use lab::peers::{Bird, Exabgp, Family, Frr, Gobgp, PeerDaemon};

use crate::rules::Case;

/// The interface of each for the tests.
pub(crate) trait Peer: PeerDaemon {
    /// Announces the rule.
    fn announce(&mut self, case: &Case) -> Result<()>;
    /// Withdraws it.
    fn withdraw(&mut self, case: &Case) -> Result<()>;
}

fn look_up(words: &[(&str, &'static str)], case: &Case) -> Result<&'static str> {
    let found = words.iter().find(|(name, _)| *name == case.name);
    found.map(|(_, text)| *text).with_context(|| format!("no words for {}", case.name))
}

impl Peer for Bird<'_> {
    fn announce(&mut self, case: &Case) -> Result<()> {
        Bird::announce(self, look_up(&BIRD, case)?)
    }

    fn withdraw(&mut self, case: &Case) -> Result<()> {
        Bird::withdraw(self, look_up(&BIRD, case)?)
    }
}

const BIRD: [(&str, &str); 4] = [
    (
        "ntp4",
        "flow4 { dst 192.0.2.1/32; proto = 17; sport = 123; } { bgp_ext_community.add((generic, 0x80060000, 0x0)); }",
    ),
    (
        "ntp6",
        "flow6 { dst 2001:db8:2::1/128; next header = 17; sport = 123; } { bgp_ext_community.add((generic, 0x80060000, 0x0)); }",
    ),
    (
        "web",
        "flow4 { dst 192.0.2.1/32; proto = 6; dport 80,443,8000..8080; } { bgp_ext_community.add((generic, 0x80060000, 0x0)); }",
    ),
    (
        "syn",
        "flow4 { dst 192.0.2.1/32; proto = 6; sport = 7777; tcp flags 0x02/0x12; } { bgp_ext_community.add((generic, 0x80060000, \
         0x0)); }",
    ),
];

impl Peer for Gobgp<'_> {
    fn announce(&mut self, case: &Case) -> Result<()> {
        Gobgp::announce(self, family(case), look_up(&GOBGP, case)?)
    }

    fn withdraw(&mut self, case: &Case) -> Result<()> {
        Gobgp::withdraw(self, family(case), look_up(&GOBGP, case)?)
    }
}

fn family(case: &Case) -> Family {
    if case.name == "ntp6" { Family::Ipv6Flow } else { Family::Ipv4Flow }
}

const GOBGP: [(&str, &str); 4] = [
    ("ntp4", "match destination 192.0.2.1/32 protocol udp source-port ==123 then discard"),
    ("ntp6", "match destination 2001:db8:2::1/128 protocol udp source-port ==123 then discard"),
    ("web", "match destination 192.0.2.1/32 protocol tcp destination-port ==80 ==443 >=8000&<=8080 then discard"),
    ("syn", "match destination 192.0.2.1/32 protocol tcp source-port ==7777 tcp-flags =S&!A then discard"),
];

impl Peer for Exabgp<'_> {
    fn announce(&mut self, case: &Case) -> Result<()> {
        Exabgp::announce(self, look_up(&EXABGP, case)?)
    }

    fn withdraw(&mut self, case: &Case) -> Result<()> {
        Exabgp::withdraw(self, look_up(&EXABGP, case)?)
    }
}

const EXABGP: [(&str, &str); 4] = [
    ("ntp4", "match { destination 192.0.2.1/32; protocol udp; source-port =123; } then { discard; }"),
    ("ntp6", "match { destination 2001:db8:2::1/128/0; next-header udp; source-port =123; } then { discard; }"),
    (
        "web",
        "match { destination 192.0.2.1/32; protocol tcp; destination-port [ =80 =443 >=8000&<=8080 ]; } then { discard; }",
    ),
    (
        "syn",
        "match { destination 192.0.2.1/32; protocol tcp; source-port =7777; tcp-flags [ syn&!ack ]; } then { discard; }",
    ),
];

/// FRR, which originates no rules: it passes on those of an ExaBGP behind it.
pub(crate) struct Reflected<'a> {
    pub source: Exabgp<'a>,
    pub frr: Frr<'a>,
}

impl Peer for Reflected<'_> {
    fn announce(&mut self, case: &Case) -> Result<()> {
        Exabgp::announce(&mut self.source, look_up(&EXABGP, case)?)
    }

    fn withdraw(&mut self, case: &Case) -> Result<()> {
        Exabgp::withdraw(&mut self.source, look_up(&EXABGP, case)?)
    }
}

impl PeerDaemon for Reflected<'_> {
    fn launch(&mut self) -> Result<()> {
        self.frr.launch()?;
        // It connects again by itself, but not at once.
        if self.source.process().is_none() {
            bail!("ExaBGP is stopped");
        }
        Ok(())
    }

    fn process_slot(&mut self) -> &mut Option<lab::Process> {
        self.frr.process_slot()
    }
}
