//! `make demo`: an attack and its filter, with real packets, a real BGP session and a real kernel.
//!
//! Every step is checked; the program fails and names the step if the result differs from the text.
//! Whatever happens, also on Ctrl-C, everything that it made on this machine is removed.

mod services;

use api::RuleState;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bgp::PathAttributes;
use flowspec::Rule;
use lab::scenario::{self, CONTROLLER_AS, CONTROLLER_PORT, NTP, SWITCH_AS, router_and_controller};
use lab::site::{VICTIM, Wire};
use lab::{Daemon, Forward, Site, packet, wait_until};

use services::{NAMES, Score, Services};

/// Packets of one wave of the attack, in bursts.
const BURSTS: u32 = 20;
const PACKETS_IN_BURST: u32 = 100;
const BETWEEN_BURSTS: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(15);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(signal, interrupted as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
    let Some((backend, page)) = options() else {
        eprintln!("usage: demo [--backend nftables|none] [--page]");
        return ExitCode::from(2);
    };
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("demo: it makes network namespaces, which only root may: `make demo`, or run it with sudo");
        return ExitCode::from(2);
    }
    match tell(&backend, page) {
        Ok(()) => {
            println!("All of this was as told.");
            ExitCode::SUCCESS
        }
        Err(_) if INTERRUPTED.load(Ordering::Relaxed) => {
            println!("\nInterrupted. Everything that was made here is removed.");
            ExitCode::from(130)
        }
        Err(error) => {
            println!("\nNOT AS TOLD: {error:#}");
            ExitCode::FAILURE
        }
    }
}

extern "C" fn interrupted(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// The back end, and whether the story is shown on the page, too.
fn options() -> Option<(String, bool)> {
    let (mut backend, mut page) = ("nftables".to_owned(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--backend" => backend = arguments.next()?,
            "--page" => page = true,
            _ => return None,
        }
    }
    Some((backend, page))
}

fn tell(backend: &str, page: bool) -> Result<()> {
    println!(
        "\
Floodgate, the demo: an NTP reflection attack, stopped by an announcement over BGP.

    attacker ----- switch ----- victim 192.0.2.1 and its neighbour 192.0.2.2
                     |
                 controller

The four are network namespaces of this machine. The packets, the BGP session and the filter in the kernel are real.
"
    );
    let site = Site::new()?;
    let services = Services::start(&site)?;
    let mut attack = Attack { wire: site.wire()? };

    println!("1. The switch runs Floodgate (AS {SWITCH_AS}), which connects to the controller (AS {CONTROLLER_AS}):\n");
    let configuration = configuration(backend);
    show(&configuration);
    let controller = scenario::listening_peer(&site, scenario::controller_config()?)?;
    let mut daemon = match page {
        true => Daemon::start_with_api(&site.switch, &configuration, PAGE_API)?,
        false => Daemon::start(&site.switch, &configuration)?,
    };
    let page = page.then(|| Page::open(&site)).transpose()?;
    patiently("the BGP session", || controller.status().established.then_some(())).with_context(|| daemon.explain())?;
    println!("   The BGP session is established. Nobody has announced anything:\n");
    ensure!(command(&daemon, &["rules"])?.trim() == "no rules", "there are rules before the first announcement");

    follow(page.as_ref())?;
    println!("2. The attack: misused NTP servers send the victim what it never asked for.\n");
    let (arrived, score) = services.during(|| attack.wave())?;
    report(arrived, &score)?;
    ensure!(arrived == Attack::WAVE, "without a filter all packets should arrive");
    follow(page.as_ref())?;

    let rule: Rule = NTP.parse()?;
    println!("3. The controller announces a filter by BGP FlowSpec (RFC 8955):\n\n     {rule}\n");
    let announced = Instant::now();
    controller.announce([rule.clone()]);
    patiently("the rule", || {
        daemon.rules().ok().filter(|rules| rules.len() == 1 && rules[0].state == RuleState::Installed)
    })
    .with_context(|| daemon.explain())?;
    let (nlri, communities) = on_the_wire(&rule);
    println!("   On the wire that is {nlri}, with the action {communities}.");
    println!("   {} ms later Floodgate shows it as installed.\n", announced.elapsed().as_millis());
    follow(page.as_ref())?;

    println!(
        "4. The attack goes on, but the kernel of the switch drops it. All else passes, also from port 123 to the neighbour.\n"
    );
    let (arrived, score) = services.during(|| attack.wave())?;
    report(arrived, &score)?;
    ensure!(arrived == 0, "with the filter no packet of the attack should arrive");
    // Floodgate reads the kernel's counters once a second at most.
    let counted = patiently("the counter", || {
        let packets = daemon.rules().ok()?.first()?.packets?;
        (packets >= u64::from(Attack::WAVE)).then_some(packets)
    })?;
    ensure!(counted == u64::from(Attack::WAVE), "the rule counted {counted} packets, the attack had {}", Attack::WAVE);
    command(&daemon, &["rules"])?;
    follow(page.as_ref())?;

    println!(
        "5. The attack is over, thinks the controller, and withdraws the filter. Floodgate removes it, and traffic returns.\n"
    );
    controller.withdraw([rule.nlri]);
    patiently("the rule to go", || daemon.rules().ok().filter(Vec::is_empty)).with_context(|| daemon.explain())?;
    let (arrived, score) = services.during(|| attack.wave())?;
    report(arrived, &score)?;
    ensure!(arrived == Attack::WAVE, "after the withdrawal all packets should arrive");
    ensure!(command(&daemon, &["rules"])?.trim() == "no rules", "there is a rule after the withdrawal");

    follow(page.as_ref())?;
    println!("6. Floodgate is stopped; it leaves nothing behind in the kernel.\n");
    let status = daemon.stop()?;
    ensure!(status.success(), "floodgate ended with {status}");
    let left = daemon.ruleset()?;
    ensure!(left.is_empty(), "it left behind:\n{left}");
    ensure!(services.score().iter().all(|(_, failed)| *failed == 0), "a legitimate exchange failed between two steps");
    check_interrupted()
}

/// `[api]` of a daemon whose page is looked at. Whoever sees the page sees the token beside it: the
/// demo's rules are nobody's.
const PAGE_API: &str = "listen = [\"127.0.0.1:8179\"]\ntoken = \"the-token-of-the-demo\"";

/// The page of the daemon, which is in a namespace, at an address of this machine.
struct Page(#[expect(dead_code, reason = "it forwards while it lives")] Forward);

impl Page {
    fn open(site: &Site) -> Result<Self> {
        let forward = Forward::start(8179, &site.switch, (Ipv4Addr::LOCALHOST, 8179).into())?;
        println!("   The page: http://{}/   (its token: the-token-of-the-demo)\n", forward.address());
        Ok(Page(forward))
    }
}

/// Who follows the story on the page says when it goes on, if somebody is at a terminal.
fn follow(page: Option<&Page>) -> Result<()> {
    if page.is_some() && std::io::stdin().is_terminal() {
        println!("   Look at the page; Enter goes on.");
        std::io::stdin().read_line(&mut String::new())?;
    }
    check_interrupted()
}

/// The attack: reflected answers from many NTP servers to requests with the victim's address.
struct Attack {
    wire: Wire,
}

impl Attack {
    /// Packets of a wave.
    const WAVE: u32 = BURSTS * PACKETS_IN_BURST;

    /// Sends a wave; returns how many packets of it reached the victim.
    fn wave(&mut self) -> Result<u32> {
        let victim: IpAddr = VICTIM.parse()?;
        // The head of an answer to "monlist", a request of 8 octets with a large answer.
        let mut answer = [0; 440];
        answer[..8].copy_from_slice(&[0xd7, 0x00, 0x03, 0x2a, 0x00, 0x06, 0x00, 0x48]);
        self.wire.seen()?;
        for burst in 0..BURSTS {
            for number in 0..PACKETS_IN_BURST {
                let [.., last] = (100 + number).to_be_bytes();
                let server = IpAddr::from([198, 51, 100, last]);
                let port = u16::try_from(1024 + burst * PACKETS_IN_BURST + number)?;
                self.wire.send(&packet::udp((server, 123).into(), (victim, port).into(), &answer))?;
            }
            check_interrupted()?;
            thread::sleep(BETWEEN_BURSTS);
        }
        let victim_octets = Ipv4Addr::from([192, 0, 2, 1]).octets();
        let is_attack = |packet: &Vec<u8>| {
            packet[0] == 0x45 && packet[9] == 17 && packet[16..20] == victim_octets && packet[20..22] == [0, 123]
        };
        Ok(u32::try_from(self.wire.seen()?.iter().filter(|packet| is_attack(packet)).count())?)
    }
}

fn configuration(backend: &str) -> String {
    let head = router_and_controller(CONTROLLER_PORT);
    format!(
        r#"{head}
[dataplane]
backend = "{backend}"
interfaces = ["swp*"]
"#
    )
}

/// Packets that came through in one step; fails if the legitimate traffic did not.
fn report(arrived: u32, score: &Score) -> Result<()> {
    println!("     {:<46} {:>5} sent   {arrived:>5} arrived", "attack: UDP from port 123 to 192.0.2.1", Attack::WAVE);
    for (name, (answered, failed)) in NAMES.iter().zip(score) {
        println!("     {name:<46} {:>5} asked  {answered:>5} answered", answered + failed);
    }
    println!();
    for (name, (answered, failed)) in NAMES.iter().zip(score) {
        ensure!(*failed == 0, "legitimate traffic was hurt: {failed} of {} {name}", answered + failed);
        ensure!(*answered > 0, "there was no legitimate traffic: {name}");
    }
    Ok(())
}

/// Runs a Floodgate command, prints it with its output, and returns the output.
fn command(daemon: &Daemon<'_>, arguments: &[&str]) -> Result<String> {
    let printed = daemon.cli(arguments)?;
    show(&format!("$ floodgate {}\n{printed}", arguments.join(" ")));
    Ok(printed)
}

fn show(text: &str) {
    for line in text.lines() {
        println!("{}", format!("     {line}").trim_end());
    }
    println!();
}

fn on_the_wire(rule: &Rule) -> (String, String) {
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let mut nlri = Vec::new();
    rule.nlri.encode_to(&mut nlri);
    let communities = PathAttributes::originate(&rule.actions).extended_communities;
    (hex(&nlri), communities.iter().map(|community| hex(community)).collect::<Vec<_>>().join(" "))
}

/// Waits, until interrupted by the user.
fn patiently<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> Result<T> {
    wait_until(what, PATIENCE, || match check_interrupted() {
        Ok(()) => check().map(Ok),
        Err(error) => Some(Err(error)),
    })?
}

fn check_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
