//! A start of the daemon with rules that it remembers: from before the process is made until all of
//! them are in the kernel again.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{DataplaneState, RuleState, StatusView};
use lab::scenario::CONTROLLER_PORT;
use lab::site::Wire;
use lab::{Daemon, Site, packet, wait_until};

use crate::report::{Figure, Group};
use crate::wire::{configuration, controller, processor_time};
use crate::workload::{self, announcement};

const COUNT: u32 = 10_000;
const TRIES: usize = 7;
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts with nftables and with XDP, nothing in the kernel and no peer that answers.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut group = Group::new(
        "start",
        "A cold start with 10,000 remembered rules of a peer that is not there: from before the process is made until the daemon says that \
         all are installed and the last change is applied; the kernel had none of them. Packets are sent after each.",
    );
    for backend in ["nftables", "xdp"] {
        let starts = starts(backend).context(backend)?;
        let column = |of: fn(&Start) -> f64| starts.iter().map(of).collect::<Vec<f64>>();
        group.add(Figure::median(
            format!("10,000 rules in force, {backend}"),
            "s",
            Some(0.5),
            &column(|start| start.seconds),
        ));
        group.add(Figure::median(
            format!("  processor time of the daemon ({backend})"),
            "s",
            None,
            &column(|start| start.spent),
        ));
    }
    Ok(vec![group])
}

/// The measurements of a start.
struct Start {
    seconds: f64,
    /// Processor seconds of the daemon, the kernel's work for it included.
    spent: f64,
}

fn starts(backend: &str) -> Result<Vec<Start>> {
    let site = Site::new()?;
    let mut wire = site.wire()?;
    // Without it the kernel drops packets to the addresses of the rules for want of a route.
    site.switch.default_route(lab::site::VICTIM.parse()?)?;
    let configuration = configuration(CONTROLLER_PORT, 90)
        .replace("backend = \"nftables\"", &format!("backend = \"{backend}\"\ninterfaces = [\"swp*\"]"));
    let controller = controller(&site)?;
    let mut daemon = Daemon::start(&site.switch, &configuration)?;
    controller.wait_established(PATIENCE).with_context(|| daemon.explain())?;
    daemon.wait_established("controller", PATIENCE)?;
    controller.send_raw(announcement(&workload::rules(COUNT)?));
    wait_until("the rules", PATIENCE, || is_in_force(&daemon).then_some(())).with_context(|| daemon.explain())?;
    let mut starts = Vec::new();
    let mut controller = Some(controller);
    for _ in 0..TRIES {
        // As after a failure of power: no word to the peer, and nothing in the kernel.
        daemon.kill()?;
        controller.take();
        site.switch.exec("nft", &["flush", "ruleset"])?;
        let _ = std::fs::remove_dir_all(site.switch.bpf_directory().join("floodgate"));
        wait_until("the kernel to pass all", PATIENCE, || {
            passes(&mut wire).ok().filter(|passes| passes == &[true, true])
        })?;
        let start = Instant::now();
        daemon.launch()?;
        // By packets first: the daemon counts all rules for each answer.
        wait_until("a rule", PATIENCE, || passes(&mut wire).ok().filter(|passes| passes == &[false, true]))
            .with_context(|| daemon.explain())?;
        wait_until("the rules", PATIENCE, || is_in_force(&daemon).then_some(())).with_context(|| daemon.explain())?;
        let seconds = start.elapsed().as_secs_f64();
        let spent = processor_time(daemon.process()?.pid())?;
        starts.push(Start { seconds, spent });
        ensure!(
            passes(&mut wire)? == [false, true],
            "the rules are not in force, or not they alone: {}",
            daemon.explain()
        );
    }
    daemon.stop()?;
    Ok(starts)
}

fn is_in_force(daemon: &Daemon<'_>) -> bool {
    let status = daemon.get("/v1/status").ok().and_then(|(_, body)| serde_json::from_str::<StatusView>(&body).ok());
    status.is_some_and(|status| {
        // Stale ones are in force: their peer has not confirmed them yet.
        let in_force = status.rules_in(RuleState::Installed) + status.rules_in(RuleState::Stale);
        in_force == u64::from(COUNT) && status.dataplane == DataplaneState::Applied
    })
}

/// Whether a packet that rule 13 of the workload drops passes, UDP from port 1900 to 10.0.0.18, and
/// one that none drops.
fn passes(wire: &mut Wire) -> Result<Vec<bool>> {
    let (from, to): (IpAddr, IpAddr) = ("198.51.100.1".parse()?, "10.0.0.18".parse()?);
    let udp = |port: u16| packet::udp((from, port).into(), (to, 7).into(), b"data");
    wire.arrivals(&[udp(1900), udp(1901)])
}
