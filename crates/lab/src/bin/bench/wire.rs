//! From the first octet of an UPDATE sent to the rules in the kernel: many at once, and one by one.

use api::{DataplaneState, RuleState};
use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::scenario::{self, CONTROLLER_PORT, router_and_controller};
use lab::site::VICTIM;
use lab::{Daemon, Netns, Site, Speaker, packet};

use crate::baseline::{iptables_rules, nft_rules};
use crate::kernel::{Tables, memory};
use crate::report::{Figure, Group, ms};
use crate::workload::{self, announcement, withdrawal};

/// Timeout for everything.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the kernel is asked for its generation during a load: the error of the measured end.
const LOOK: Duration = Duration::from_micros(500);
/// A load may have ended if nothing changed for this long.
const QUIET: Duration = Duration::from_millis(250);
/// Single changes of each kind.
const SINGLES: u32 = 400;
/// Pause between two of them: longer than any should take.
const PAUSE: Duration = Duration::from_millis(12);
/// Pause before the daemon's memory is measured.
const REST: Duration = Duration::from_secs(3);
const MB: f64 = 1e6;

/// The daemon's configuration; the peer is at `PEER` and speaks as `peer_as`.
pub(crate) fn configuration(port: u16, hold_time: u16) -> String {
    let head = router_and_controller(port);
    format!(
        r#"{head}hold-time = {hold_time}
max-rules = 1000000

[peer.allow]
without-destination = true

[dataplane]
backend = "nftables"
"#
    )
}

/// A controller that waits for the daemon of this site.
pub(crate) fn controller(site: &Site) -> Result<Speaker> {
    scenario::listening_peer(site, scenario::controller_config()?)
}

/// The daemon of this site with a session to its controller.
pub(crate) fn daemon<'a>(site: &'a Site, controller: &Speaker) -> Result<Daemon<'a>> {
    let daemon = Daemon::start(&site.switch, &configuration(CONTROLLER_PORT, 90))?;
    controller.wait_established(PATIENCE).with_context(|| daemon.explain())?;
    daemon.wait_established("controller", PATIENCE)?;
    Ok(daemon)
}

/// When the kernel got the last of `count` rules, which were announced just before.
pub(crate) fn enforced(tables: &mut Tables, daemon: &Daemon<'_>, before: u32, count: usize) -> Result<Instant> {
    let begin = Instant::now();
    let (mut known, mut changed) = (before, None);
    loop {
        thread::sleep(LOOK);
        let generation = tables.generation()?;
        let now = Instant::now();
        if generation != known {
            known = generation;
            changed = Some(now);
        }
        if let Some(at) = changed
            && now - at > QUIET
        {
            let status = daemon.status()?;
            let installed = status.rules_in(RuleState::Installed) as usize;
            if installed == count && status.dataplane == DataplaneState::Applied && tables.generation()? == known {
                return Ok(at);
            }
            thread::sleep(QUIET);
        }
        if begin.elapsed() > PATIENCE {
            bail!("not all of {count} rules are installed after {PATIENCE:?}\n{}", daemon.explain());
        }
    }
}

/// The number of different rules in our table, from the output of `nft`: comments of elements and
/// names of counters end in their ids.
pub(crate) fn rules_in_kernel(daemon: &Daemon<'_>) -> Result<usize> {
    let text = daemon.ruleset()?;
    let comments = text.split("comment \"").skip(1).filter_map(|rest| rest.split('"').next());
    let counters =
        text.lines().filter_map(|line| line.trim().strip_prefix("counter ")?.strip_suffix(" {")?.rsplit('_').next());
    Ok(comments.chain(counters).collect::<HashSet<_>>().len())
}

/// Loads of 10,000 and 100,000 rules, their memory, and single changes while the 100,000 are in
/// force.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut load = Group::new(
        "load",
        "Rules from the wire to the kernel: from before their first UPDATE octet is written to its TCP connection until the transaction \
         with the last of them is committed.",
    );
    let mut change = Group::new(
        "change",
        "One rule, with 100,000 others installed: from before its UPDATE is written to its TCP connection until the kernel's event of the \
         committed transaction is read.",
    );
    let mut space = Group::new("memory", "Memory with 100,000 rules.");
    let site = Site::new()?;
    site.switch.default_route(VICTIM.parse()?)?;
    for (count, tries, aim) in [(10_000, 7, 0.3), (100_000, 5, 2.0)] {
        let loads = loads(&site, count, tries)?;
        let column = |of: fn(&Load) -> f64| loads.iter().map(of).collect::<Vec<f64>>();
        let words = if count == 10_000 { "10,000 rules" } else { "100,000 rules" };
        load.add(Figure::median(format!("{words}, wire to kernel"), "s", Some(aim), &column(|load| load.seconds)));
        load.add(Figure::median(
            format!("  processor time of the daemon ({words})"),
            "s",
            None,
            &column(|load| load.spent),
        ));
    }
    singles(&site, &mut change, &mut space)?;
    baselines(&mut load, &mut change)?;
    Ok(vec![load, change, space])
}

/// The measurements of a load.
struct Load {
    /// From wire to kernel.
    seconds: f64,
    /// Processor seconds of the daemon, the kernel's work for it included.
    spent: f64,
}

/// Loads, each into a new daemon.
fn loads(site: &Site, count: u32, tries: usize) -> Result<Vec<Load>> {
    let rules = workload::rules(count)?;
    let octets = announcement(&rules);
    let mut tables = Tables::open(&site.switch)?;
    let mut loads = Vec::new();
    for _ in 0..tries {
        // A new controller, too: one that has just lost a session waits before it reconnects.
        let controller = controller(site)?;
        let mut daemon = daemon(site, &controller)?;
        loads.push(load(&mut tables, &mut daemon, &controller, &octets, count as usize)?);
        check(site, &daemon, count as usize)?;
        daemon.stop()?;
    }
    Ok(loads)
}

/// Announces rules and waits for them.
fn load(
    tables: &mut Tables,
    daemon: &mut Daemon<'_>,
    controller: &Speaker,
    octets: &[u8],
    count: usize,
) -> Result<Load> {
    let pid = daemon.process()?.pid();
    let before = tables.generation()?;
    let octets = octets.to_vec();
    let spent = processor_time(pid)?;
    let start = Instant::now();
    controller.send_raw(octets);
    let seconds = (enforced(tables, daemon, before, count)? - start).as_secs_f64();
    let spent = processor_time(pid)? - spent;
    println!("  ({count} rules: {seconds:.3} s, of the processor {spent:.2} s)");
    Ok(Load { seconds, spent })
}

/// The kernel has all the rules, drops what one of them matches, and nothing else.
fn check(site: &Site, daemon: &Daemon<'_>, count: usize) -> Result<()> {
    let there = rules_in_kernel(daemon)?;
    ensure!(there == count, "the kernel has {there} rules, not {count}");
    let mut wire = site.wire()?;
    // Rule number 13 of the workload: UDP from port 1900 to 10.0.0.18.
    let to = ("10.0.0.18".parse::<IpAddr>()?, 7).into();
    let from: IpAddr = "198.51.100.1".parse()?;
    let packets = [packet::udp((from, 1900).into(), to, b"attack"), packet::udp((from, 1901).into(), to, b"none")];
    let arrived = wire.arrivals(&packets)?;
    ensure!(arrived == [false, true], "of an attack's packet and another, {arrived:?} arrived");
    Ok(())
}

/// Single changes with 100,000 rules installed, and the memory that they take.
fn singles(site: &Site, change: &mut Group, space: &mut Group) -> Result<()> {
    const COUNT: u32 = 100_000;
    let octets = announcement(&workload::rules(COUNT)?);
    let kernel_before = memory()?;
    let controller = controller(site)?;
    let mut daemon = daemon(site, &controller)?;
    let mut tables = Tables::open(&site.switch)?;
    load(&mut tables, &mut daemon, &controller, &octets, COUNT as usize)?;
    let kernel = memory()?.saturating_sub(kernel_before);
    let pid = daemon.process()?.pid();
    check(site, &daemon, COUNT as usize)?;
    // Memory that the load needed and has freed is returned within a second or two.
    thread::sleep(REST);
    let (resident, peak) = resident(pid)?;

    for (name, times) in one_by_one(site, &daemon, &controller, COUNT as usize)? {
        change.add(Figure::quantile(format!("{name}, median"), "ms", Some(2.0), &times, 0.5));
        change.add(Figure::quantile(format!("{name}, 99th percentile"), "ms", Some(10.0), &times, 0.99));
    }
    let (later, later_peak) = self::resident(pid)?;
    space.add(Figure::median("resident, three seconds after the load", "MB", Some(150.0), &[resident as f64 / MB]));
    space.add(Figure::median("resident, highest until then", "MB", None, &[peak as f64 / MB]));
    space.add(Figure::median("resident, after 800 changes and some commands", "MB", Some(150.0), &[later as f64 / MB]));
    space.add(Figure::median(
        "resident, highest until then, with the rules once listed",
        "MB",
        None,
        &[later_peak as f64 / MB],
    ));
    space.add(Figure::median("kernel, whole machine, difference (estimate)", "MB", None, &[kernel as f64 / MB]));
    daemon.stop()?;
    Ok(())
}

/// Announces single rules and withdraws them again, with this many installed: the duration of each
/// change, in ms.
fn one_by_one(
    site: &Site,
    daemon: &Daemon<'_>,
    controller: &Speaker,
    installed: usize,
) -> Result<[(&'static str, Vec<f64>); 2]> {
    let mut events = Tables::listen(&site.switch)?;
    let rules = (0..SINGLES).map(workload::single).collect::<Result<Vec<_>>>()?;
    let mut changes = |octets: Vec<Vec<u8>>, now: usize| -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for octets in octets {
            let start = Instant::now();
            controller.send_raw(octets);
            let event = events.committed(PATIENCE)?;
            times.push(ms(start.elapsed()));
            if event.is_none() {
                bail!("no change in the kernel after {PATIENCE:?}, change {}\n{}", times.len(), daemon.explain());
            }
            thread::sleep(PAUSE);
        }
        ensure!(events.committed(QUIET)?.is_none(), "the kernel changed more often than rules did");
        ensure!(rules_in_kernel(daemon)? == now, "the kernel does not have {now} rules");
        Ok(times)
    };
    let announcements = rules.iter().map(|rule| announcement(std::slice::from_ref(rule))).collect();
    let withdrawals = rules.iter().map(|rule| withdrawal(std::slice::from_ref(rule))).collect();
    Ok([("announce", changes(announcements, installed + rules.len())?), ("withdraw", changes(withdrawals, installed)?)])
}

/// The cost of writing each change to the state file before the data plane gets it: the same with
/// and without a state file.
pub(crate) fn measure_journal() -> Result<Vec<Group>> {
    const COUNT: u32 = 100_000;
    let mut group = Group::new(
        "journal",
        "What the state file costs: 100,000 rules, and one rule with those installed, measured as above, with a state file and without.",
    );
    let site = Site::new()?;
    let octets = announcement(&workload::rules(COUNT)?);
    let mut tables = Tables::open(&site.switch)?;
    for _ in 0..2 {
        for with in [true, false] {
            let controller = controller(&site)?;
            let configuration = configuration(CONTROLLER_PORT, 90);
            let mut daemon = match with {
                true => Daemon::start(&site.switch, &configuration)?,
                false => Daemon::start_without_state(&site.switch, &configuration)?,
            };
            controller.wait_established(PATIENCE).with_context(|| daemon.explain())?;
            daemon.wait_established("controller", PATIENCE)?;
            let words = if with { "with" } else { "without" };
            let load = load(&mut tables, &mut daemon, &controller, &octets, COUNT as usize)?;
            group.add(Figure::median(format!("100,000 rules, {words}"), "s", None, &[load.seconds]));
            group.add(Figure::median(format!("  processor time ({words})"), "s", None, &[load.spent]));
            for (name, times) in one_by_one(&site, &daemon, &controller, COUNT as usize)? {
                group.add(Figure::median(format!("{name}, {words}"), "ms", None, &times));
            }
            daemon.stop()?;
        }
    }
    Ok(vec![group])
}

/// Processor seconds of a process so far, in user and kernel mode.
pub(crate) fn processor_time(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may contain anything but ends with the last parenthesis: utime and
    // stime are fields 14 and 15.
    let fields: Vec<&str> = text.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks =
        fields.get(11..13).context("no times")?.iter().map(|field| field.parse::<f64>()).sum::<Result<f64, _>>()?;
    // SAFETY: it takes a number and changes nothing.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks / ticks_per_second as f64)
}

/// Resident octets of a process, now and at the peak.
pub(crate) fn resident(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).with_context(|| name.to_owned())
    };
    Ok((field("VmRSS:")? * 1024, field("VmHWM:")? * 1024))
}

/// The same with other tools: a whole file at once, and a process for each rule.
fn baselines(load: &mut Group, change: &mut Group) -> Result<()> {
    const FORKS: u32 = 40;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("rules");
    let path = file.to_str().context("a path in words")?;
    for count in [10_000, 100_000] {
        let netns = Netns::new("linear")?;
        fs::write(&file, nft_rules(count))?;
        let start = Instant::now();
        netns.exec("nft", &["-f", path])?;
        let name = format!("baseline: nft -f, {count} linear rules, from a ready file");
        load.add(Figure::median(name, "s", None, &[start.elapsed().as_secs_f64()]));
        if count == 10_000 {
            forks(&netns, change, "one `nft add rule`, 10,000 linear rules", FORKS, |netns, number| {
                let mut command = netns.command("nft")?;
                command.args(["add", "rule", "inet", "linear", "prerouting", "ip", "daddr"]);
                command.args([&format!("11.0.0.{number}"), "udp", "sport", "19", "counter", "drop"]);
                Ok(command)
            })?;
        }
    }
    let netns = Netns::new("linear")?;
    fs::write(&file, iptables_rules(10_000))?;
    let start = Instant::now();
    netns.exec("iptables-legacy-restore", &[path])?;
    load.add(Figure::median(
        "baseline: iptables-legacy-restore, 10000 rules, from a ready file",
        "s",
        None,
        &[start.elapsed().as_secs_f64()],
    ));
    forks(&netns, change, "one `iptables-legacy -A`, 10,000 rules", FORKS, |netns, number| {
        let mut command = netns.command("iptables-legacy")?;
        command.args(["-t", "raw", "-A", "PREROUTING", "-d", &format!("11.0.0.{number}"), "-p", "udp"]);
        command.args(["--sport", "19", "-j", "DROP"]);
        Ok(command)
    })
}

/// Duration with a process for each rule.
fn forks(
    netns: &Netns,
    change: &mut Group,
    name: &str,
    count: u32,
    command: impl Fn(&Netns, u32) -> Result<Command>,
) -> Result<()> {
    let mut times = Vec::new();
    for number in 0..count {
        let mut command = command(netns, number)?;
        let start = Instant::now();
        let output = command.output()?;
        times.push(ms(start.elapsed()));
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let figure = Figure::median(format!("baseline: {name}, median"), "ms", None, &times);
    let ours = change.value("announce, median").unwrap_or(f64::NAN);
    let ratio = figure.value / ours;
    change.add(figure);
    change.add(Figure::median(format!("  times ours with 100,000 rules ({name})"), "x", None, &[ratio]));
    Ok(())
}
