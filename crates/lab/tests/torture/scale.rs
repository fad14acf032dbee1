//! Many rules: readers do not delay decisions, status answers meanwhile, and a lost session or a
//! stop is handled soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flowspec::Rule;
use lab::scenario::NTP;
use lab::site::PEER;
use lab::site::Wire;
use lab::{Daemon, Site, Speaker, needs, wait_until};

use crate::place::{DNS, SECOND, attack, configuration, other_attack, speaker};
use crate::{PATIENCE, amount, ask, get, limit, long, post};

fn rules(count: u32) -> impl Iterator<Item = Rule> {
    (0..count).filter_map(|number| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("dst 10.{a}.{b}.{c}/32 proto udp sport 123 then discard").parse().ok()
    })
}

/// Waits until the attack passes.
fn until_it_passes(wire: &mut Wire) -> Result<()> {
    let attack = attack();
    wait_until("the end of the rule", PATIENCE, || wire.passes(&attack).ok().filter(|passes| *passes))?;
    Ok(())
}

/// How long it takes until the attack passes no more: up to when the first packet was sent that did
/// not come.
fn until_it_is_dropped(wire: &mut Wire, since: Instant) -> Result<Duration> {
    let attack = attack();
    loop {
        let sent = since.elapsed();
        if !wire.passes(&attack)? {
            return Ok(sent);
        }
        ensure!(sent < PATIENCE, "after {sent:?} the rule does not drop");
    }
}

/// How long it takes until a rule of another peer drops packets; the longest of some.
fn reaction(wire: &mut Wire, one: &Speaker, times: usize) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        one.announce_text(NTP)?;
        longest = longest.max(until_it_is_dropped(wire, Instant::now())?);
        one.withdraw_text(NTP)?;
        until_it_passes(wire)?;
    }
    Ok(longest)
}

/// How long it takes until the last rule of a peer whose session is lost drops no more. What
/// another has announced goes on dropping.
fn loss(wire: &mut Wire, many: &Speaker, other: Option<&[u8]>) -> Result<Duration> {
    let last = attack();
    many.announce_text(NTP)?;
    until_it_is_dropped(wire, Instant::now())?;
    many.forget();
    many.cut();
    let cut = Instant::now();
    loop {
        let sent = cut.elapsed();
        let packets: Vec<_> = [Some(last.as_slice()), other].into_iter().flatten().map(<[u8]>::to_vec).collect();
        let arrived = wire.arrivals(&packets)?;
        ensure!(!arrived[1..].contains(&true), "what another peer filters passed");
        if arrived[0] {
            return Ok(sent);
        }
        ensure!(sent < PATIENCE, "after {sent:?} the rules of a lost session still drop");
    }
}

/// Loads rules, beside so many of another peer, and asks for the status all the time; the slowest
/// answer, and how long it took.
fn load(daemon: &Daemon<'_>, many: &Speaker, count: u32, others: u32) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    many.announce(rules(count));
    let (mut slowest, mut some) = (Duration::ZERO, false);
    loop {
        let (answer, took) = ask(daemon, &get("/v1/status"))?;
        slowest = slowest.max(took);
        let (_, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        let status: api::StatusView = serde_json::from_str(body)?;
        let known = status.rules.values().sum::<u64>() + status.rules_uncounted;
        ensure!(known > 0 || !some, "there were rules before, and now none: {answer}");
        some |= known > 0;
        if answer.contains(&format!("\"installed\":{}", count + others)) {
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
    let (status, loaded) = load(&daemon, &many, count, 0)?;
    println!("{count} rules loaded in {loaded:?}; the slowest status meanwhile {status:?}");
    let times = if long() { 20 } else { 2 };
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
    // A lost session: of a peer whose rules are alone, and of one whose rules stand among those of
    // another.
    let alone = loss(&mut wire, &many, None)?;
    println!("a lost session is followed within {alone:?}");
    one.announce_text(DNS)?;
    many.wait_established(PATIENCE)?;
    load(&daemon, &many, count, 1)?;
    let lost = loss(&mut wire, &many, Some(&other_attack()))?;
    println!("beside a rule of another peer within {lost:?}");
    many.wait_established(PATIENCE)?;
    load(&daemon, &many, count, 1)?;
    let began = Instant::now();
    let pid = daemon.process()?.pid();
    // SAFETY: kill takes plain numbers; the process is ours and not waited for yet.
    ensure!(unsafe { libc::kill(i32::try_from(pid)?, libc::SIGTERM) } == 0);
    wait_until("the end", PATIENCE, || daemon.process().ok()?.check_running().is_err().then_some(()))?;
    let stop = began.elapsed();
    println!("SIGTERM ends within {stop:?}");
    ensure!(daemon.ruleset()?.is_empty(), "filters are left");
    let most = quiet + limit(Duration::from_millis(50), PATIENCE);
    ensure!(delayed <= most, "readers delayed a rule: {delayed:?}, without them {quiet:?}");
    let most = limit(Duration::from_secs(2), PATIENCE);
    ensure!(alone <= most && lost <= most && stop <= most, "{alone:?} {lost:?} {stop:?}");
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
    let (slowest, loaded) = load(&daemon, &many, count, 0)?;
    let pid = daemon.process()?.pid();
    let resident = crate::resident(pid).context("memory")? >> 20;
    println!("{count} rules decided on in {loaded:?}, {resident} MiB; the slowest status meanwhile {slowest:?}");
    let most = limit(Duration::from_millis(100), PATIENCE);
    ensure!(slowest <= most, "a status took {slowest:?}");
    // What goes through many rules goes through them in parts, and finds the last of them.
    let last = rules(count).last().context("rules")?;
    let Some(flowspec::Prefix::V4(to)) = last.nlri.destination() else { anyhow::bail!("{last}") };
    let packet =
        lab::packet::udp(([198, 51, 100, 7], 123).into(), (std::net::IpAddr::V4(to.addr()), 9).into(), b"attack");
    let hex: String = packet.iter().map(|octet| format!("{octet:02x}")).collect();
    let (answer, took) = ask(&daemon, &post("/v1/explain", &format!("{{\"packet\":\"{hex}\"}}")))?;
    println!("explained in {took:?}");
    let (id, number) = (last.nlri.id().to_string(), format!("\"rule\":{},", count - 1));
    ensure!(answer.contains(&id) && answer.contains(&number) && answer.contains("discard"), "{answer}");
    let (answer, took) = ask(&daemon, &post("/v1/withdraw", &format!("{{\"rule\":\"{id}\"}}")))?;
    println!("a peer's rule found by its id in {took:?}");
    ensure!(answer.contains("is announced by many, not here"), "{answer}");
    Ok(())
}
