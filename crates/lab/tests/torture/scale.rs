//! Many rules: those who look do not hold up those who decide, status answers meanwhile, and a lost session or a stop is followed soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flowspec::Rule;
use lab::site::PEER;
use lab::site::Wire;
use lab::{Daemon, Site, Speaker, needs, wait_until};

use crate::place::{NTP, SECOND, attack, configuration, speaker};
use crate::{PATIENCE, amount, ask, get, long};

fn rules(count: u32) -> impl Iterator<Item = Rule> {
    (0..count).filter_map(|number| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("dst 10.{a}.{b}.{c}/32 proto udp sport 123 then discard").parse().ok()
    })
}

/// Waits until the attack passes, or does not.
fn until(wire: &mut Wire, passes: bool) -> Result<Duration> {
    let (began, attack) = (Instant::now(), attack()?);
    wait_until("the wire", PATIENCE, || wire.passes(&attack).ok().filter(|now| *now == passes).map(|_| began.elapsed()))
}

/// How long it takes until a rule of another peer drops packets, and until its withdrawal lets them pass; the longest of some.
fn reaction(wire: &mut Wire, one: &Speaker, times: usize) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        one.announce_text(NTP)?;
        longest = longest.max(until(wire, false)?);
        one.withdraw_text(NTP)?;
        longest = longest.max(until(wire, true)?);
    }
    Ok(longest)
}

/// Loads rules and asks for the status all the time; the slowest answer.
fn load(daemon: &Daemon<'_>, many: &Speaker, count: u32) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    many.announce(rules(count));
    let mut slowest = Duration::ZERO;
    loop {
        let (answer, took) = ask(daemon, &get("/v1/status"))?;
        slowest = slowest.max(took);
        if answer.contains(&format!("\"installed\":{count}")) {
            return Ok((slowest, began.elapsed()));
        }
        ensure!(began.elapsed() < PATIENCE * 3, "{answer}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn torture_many_rules_in_nftables() -> Result<()> {
    needs!(root, "nft");
    let count = amount(25_000, 300_000);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("nftables"))?;
    let (many, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
    for peer in ["many", "one"] {
        daemon.wait_established(peer, PATIENCE)?;
    }
    let (status, loaded) = load(&daemon, &many, count)?;
    println!("{count} rules loaded in {loaded:?}; the slowest status meanwhile {status:?}");
    let times = if long() { 5 } else { 2 };
    let quiet = reaction(&mut wire, &one, times)?;
    println!("a new rule is in force within {quiet:?}");
    let mut delayed = Duration::ZERO;
    for path in ["/v1/status", "/metrics", "/v1/rules"] {
        let done = AtomicBool::new(false);
        let taken = std::thread::scope(|scope| -> Result<Duration> {
            let reader = scope.spawn(|| -> Result<usize> {
                let mut answers = 0;
                while !done.load(Ordering::Relaxed) {
                    ask(&daemon, &get(path))?;
                    answers += 1;
                }
                Ok(answers)
            });
            // The reader is at it.
            std::thread::sleep(Duration::from_millis(200));
            let taken = reaction(&mut wire, &one, times);
            done.store(true, Ordering::Relaxed);
            let answers = reader.join().map_err(|_| anyhow::anyhow!("the reader"))??;
            println!("with a reader of {path}, which got {answers} answers: {taken:?}");
            taken
        })?;
        delayed = delayed.max(taken);
    }
    // Lost sessions: the last of many rules, and so all of the change, is gone.
    let last = attack()?;
    many.announce_text(NTP)?;
    until(&mut wire, false)?;
    many.forget();
    many.cut();
    let cut = Instant::now();
    wait_until("the end of its rules", PATIENCE, || wire.passes(&last).ok().filter(|passes| *passes))?;
    let lost = cut.elapsed();
    println!("a lost session is followed within {lost:?}");
    many.wait_established(PATIENCE)?;
    load(&daemon, &many, count)?;
    let began = Instant::now();
    let pid = daemon.process()?.pid();
    // SAFETY: kill takes plain numbers; the process is ours and not waited for yet.
    ensure!(unsafe { libc::kill(i32::try_from(pid)?, libc::SIGTERM) } == 0);
    wait_until("the end", PATIENCE, || daemon.process().ok()?.check_running().is_err().then_some(()))?;
    let stop = began.elapsed();
    println!("SIGTERM ends within {stop:?}");
    ensure!(daemon.ruleset()?.is_empty(), "filters are left");
    // Generous: the machine may be busy, and the build one for tests. One after the other it was seconds for each reader.
    let most = quiet + Duration::from_millis(if long() { 250 } else { 1000 });
    ensure!(delayed <= most, "readers delayed a rule: {delayed:?}, without them {quiet:?}");
    ensure!(lost < Duration::from_secs(10) && stop < Duration::from_secs(10), "{lost:?} {stop:?}");
    Ok(())
}

#[test]
fn torture_status_while_many_rules_are_decided_on() -> Result<()> {
    needs!(root, "nft");
    let count = amount(50_000, 1_000_000);
    let site = Site::new()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("none"))?;
    let many = speaker(&site, PEER)?;
    daemon.wait_established("many", PATIENCE)?;
    let (slowest, loaded) = load(&daemon, &many, count)?;
    let pid = daemon.process()?.pid();
    let resident = crate::resident(pid).context("memory")? >> 20;
    println!("{count} rules decided on in {loaded:?}, {resident} MiB; the slowest status meanwhile {slowest:?}");
    // On a machine at rest it is far less than a tenth of a second; this one may be busy.
    ensure!(slowest < Duration::from_secs(if long() { 1 } else { 10 }), "a status took {slowest:?}");
    Ok(())
}
