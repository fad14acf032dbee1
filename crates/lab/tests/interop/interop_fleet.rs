//! One Floodgate announces rules, and a reflector that knows nothing of Floodgate carries them to
//! five others, which enforce them in their kernels.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use api::{RuleState, RuleView};
use lab::peers::{Frr, Reflector, ReflectorProgram};
use lab::{Daemon, End, Netns, needs, veth, wait_until};

use crate::{OURS, PATIENCE};

const REFLECTOR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The machine on which rules are announced, and the fleet.
const CONTROLLER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const FLEET: usize = 5;

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const NTP_SLOWED: &str = "dst 192.0.2.1/32 proto udp sport 123 then rate 1mbps";
const SIX: &str = "ipv6 dst 2001:db8:2::1/128 proto udp sport 123 then discard";

/// The namespaces, joined by a bridge in that of the reflector.
struct Place {
    reflector: Netns,
    machines: Vec<Netns>,
}

impl Place {
    fn new() -> Result<Self> {
        let reflector = Netns::new("reflector")?;
        reflector.ip(&["link", "add", "br0", "type", "bridge"])?;
        reflector.ip(&["address", "add", &format!("{REFLECTOR}/24"), "dev", "br0"])?;
        reflector.ip(&["link", "set", "br0", "up"])?;
        let mut machines = Vec::new();
        for number in 0..=FLEET {
            let machine = Netns::new(&format!("fleet{number}"))?;
            let (port, address) = (format!("to{number}"), format!("{}/24", address(number)));
            veth(End::new(&machine, "eth0", &[&address]), End::new(&reflector, &port, &[]))?;
            reflector.ip(&["link", "set", &port, "master", "br0"])?;
            machines.push(machine);
        }
        Ok(Place { reflector, machines })
    }
}

/// Of the controller, which is number 0, and of the fleet.
fn address(number: usize) -> Ipv4Addr {
    let [a, b, c, d] = CONTROLLER.octets();
    Ipv4Addr::new(a, b, c, d + number as u8)
}

fn configuration(number: usize) -> String {
    // The machine of the controller may have no filters of its own.
    let (backend, advertise) = if number == 0 { ("none", "advertise = [\"local\"]\n") } else { ("nftables", "") };
    format!(
        "[router]\nas = {OURS}\nid = \"{}\"\nlisten = []\n[[peer]]\nname = \"reflector\"\naddress = \"{REFLECTOR}\"\n\
         as = {OURS}\nrestart-time = \"60s\"\n{advertise}\n[dataplane]\nbackend = \"{backend}\"\ninterfaces = [\"eth0\"]\n",
        address(number)
    )
}

struct Fleet<'a> {
    reflector: Reflector<'a>,
    controller: Daemon<'a>,
    members: Vec<Daemon<'a>>,
}

impl<'a> Fleet<'a> {
    fn start(place: &'a Place, program: ReflectorProgram) -> Result<Self> {
        let clients: Vec<Ipv4Addr> = (0..=FLEET).map(address).collect();
        let reflector = Reflector::start(&place.reflector, program, OURS, REFLECTOR, &clients)?;
        let start = |number: usize| Daemon::start(&place.machines[number], &configuration(number));
        let controller = start(0)?;
        let members = (1..=FLEET).map(start).collect::<Result<Vec<_>>>()?;
        let fleet = Fleet { reflector, controller, members };
        for daemon in fleet.members.iter().chain([&fleet.controller]) {
            daemon.wait_established("reflector", PATIENCE).with_context(|| fleet.reflector.log())?;
        }
        Ok(fleet)
    }

    fn announce(&self, rule: &str, more: &[&str]) -> Result<()> {
        self.controller.cli(&[&["announce", rule], more].concat()).map(drop)
    }

    /// Waits until each member has exactly these rules, all in force.
    fn enforces(&self, rules: &[&str]) -> Result<()> {
        let mut wanted: Vec<String> = rules.iter().map(|rule| shown(rule)).collect();
        wanted.sort();
        let such = |found: &[RuleView]| {
            let mut texts: Vec<&str> = found.iter().map(|rule| rule.text.as_str()).collect();
            texts.sort_unstable();
            texts == wanted && found.iter().all(|rule| rule.state == RuleState::Installed && !rule.origins[0].stale)
        };
        for (number, member) in self.members.iter().enumerate() {
            member.wait_rules(&format!("{rules:?} on machine {number}"), PATIENCE, such).with_context(|| {
                let rib = self.reflector.rules().unwrap_or_default();
                format!("the reflector has\n{rib}\nthe controller is\n{}", self.controller.explain())
            })?;
        }
        Ok(())
    }

    /// The rules that a member has seen withdrawn so far.
    fn withdrawals(&self) -> Result<usize> {
        let mut count = 0;
        for member in &self.members {
            let history = member.cli(&["history", "--json", "-n", "10000"])?;
            count += history.lines().filter(|line| line.contains("\"withdrawn\"")).count();
        }
        Ok(count)
    }
}

fn shown(rule: &str) -> String {
    rule.parse::<flowspec::Rule>().expect("a rule").to_string()
}

fn story(program: ReflectorProgram) -> Result<()> {
    let place = Place::new()?;
    let mut fleet = Fleet::start(&place, program)?;
    fleet.announce(NTP, &[])?;
    fleet.announce(SIX, &[])?;
    fleet.enforces(&[NTP, SIX])?;
    let peer = fleet.controller.peer("reflector")?;
    ensure!(peer.advertised == Some(2), "{peer:?}");
    for rule in fleet.controller.rules()? {
        ensure!(rule.advertised_to == ["reflector"], "{rule:?}");
        // If the reflector sends it back, it is a loop.
        ensure!(rule.origins.iter().all(|origin| origin.best == (origin.peer == "local")), "{rule:?}");
    }

    // The reflector asks for the routes again. Nobody loses one.
    let before = fleet.withdrawals()?;
    fleet.reflector.refresh(CONTROLLER)?;
    // Other actions reach each.
    fleet.announce(NTP_SLOWED, &[])?;
    fleet.enforces(&[NTP_SLOWED, SIX])?;
    ensure!(fleet.withdrawals()? == before, "a route refresh withdrew rules");

    // A rule with a lifetime, and one that is withdrawn.
    let short = "dst 192.0.2.3/32 then discard";
    fleet.announce(short, &["--for", "10s"])?;
    fleet.enforces(&[NTP_SLOWED, short, SIX])?;
    fleet.enforces(&[NTP_SLOWED, SIX])?;
    fleet.controller.cli(&["withdraw", &shown(NTP_SLOWED)])?;
    fleet.enforces(&[SIX])?;

    // The controller crashes and comes back. Where the reflector keeps its rules meanwhile, the
    // fleet sees nothing of it.
    let before = fleet.withdrawals()?;
    let sessions = fleet.controller.peer("reflector")?.established_count;
    ensure!(sessions >= 1, "no session");
    fleet.controller.kill()?;
    fleet.controller.launch()?;
    fleet.controller.wait_established("reflector", PATIENCE)?;
    fleet.announce(NTP, &[])?;
    fleet.enforces(&[NTP, SIX])?;
    if program != ReflectorProgram::Frr {
        ensure!(fleet.withdrawals()? == before, "{program:?} withdrew rules during a graceful restart");
    }

    // It is stopped: its rules go.
    fleet.controller.stop()?;
    fleet.enforces(&[])?;
    for machine in &place.machines[1..] {
        let mut last = String::new();
        wait_until("a kernel without filters", PATIENCE, || {
            last = machine.exec("nft", &["list", "ruleset"]).unwrap_or_default();
            (!last.contains("192.0.2.1") && !last.contains("2001:db8:2::1")).then_some(())
        })
        .with_context(|| last)?;
    }
    Ok(())
}

#[test]
fn interop_fleet_through_bird() -> Result<()> {
    needs!(root, "nft", "bird", "birdc");
    story(ReflectorProgram::Bird)
}

#[test]
fn interop_fleet_through_gobgp() -> Result<()> {
    needs!(root, "nft", "gobgpd", "gobgp");
    story(ReflectorProgram::Gobgp)
}

#[test]
fn interop_fleet_through_frr() -> Result<()> {
    needs!(root, "nft", Frr::PROGRAM, "vtysh");
    story(ReflectorProgram::Frr)
}
