//! The cases. Each is run with each back end; its [`Bench`] says what a back end cannot do.

use super::bench::{Bench, Change, NearlyFull};
use super::scenario::Scenario;
use anyhow::{Context, Result, ensure};
use dataplane::{Counter, Health};
use lab::site::VICTIM;
use std::collections::BTreeSet;

pub(crate) type Case<B> = fn(&mut Scenario<'_, B>) -> Result<()>;

/// All cases, by name.
pub(crate) fn all<B: Bench>() -> Vec<(&'static str, Case<B>)> {
    vec![
        ("replace", replace),
        ("update", update),
        ("no_rules", no_rules),
        ("refused_rule", refused_rule),
        ("failed_change", failed_change),
        ("restart", restart),
        ("damage", damage),
        ("counters", counters),
        ("capacity", capacity),
    ]
}

const FROM_53: &str = "dst 192.0.2.1/32 proto udp sport 53 then discard";
const FROM_53_ACCEPTED: &str = "dst 192.0.2.1/32 proto udp sport 53 then accept";
const FROM_54: &str = "dst 192.0.2.1/32 proto udp sport 54 then discard";
const FROM_53_V6: &str = "ipv6 dst 2001:db8:2::1/128 proto udp sport 53 then discard";
const ALL_UDP_V6: &str = "ipv6 dst 2001:db8:2::/48 proto udp then discard";
const OTHER_HOST: &str = "dst 192.0.2.2/32 proto udp sport 7 then discard";
/// The victim's, and not its neighbour's, to which the packet goes that ends each test of others.
const ALL_UDP: &str = "dst 192.0.2.0/31 proto udp then discard";

/// A full load is exactly what is in force afterwards.
fn replace<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    ensure!(s.plane.name() == B::NAME && s.plane.capabilities().name == B::NAME, "{}", s.plane.name());
    s.replace(&[FROM_53, FROM_53_V6, OTHER_HOST])?;
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    let entries = s.plane.usage()?.entries;
    ensure!(entries >= 3, "{entries} entries");
    // An exception, and what it is one of.
    s.replace(&[FROM_53_ACCEPTED, ALL_UDP, ALL_UDP_V6])?;
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    // Unchanged.
    s.replace(&[FROM_53_ACCEPTED, ALL_UDP, ALL_UDP_V6])?;
    s.intact()?;
    s.replace(&[FROM_54])?;
    s.counters_are_those_of_the_rules()?;
    s.intact()
}

/// Differences lead to the same as full loads.
fn update<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    s.replace(&[FROM_53])?;
    s.update(&[ALL_UDP, FROM_53_V6], &[])?;
    s.update(&[FROM_53_ACCEPTED, OTHER_HOST], &[FROM_53_V6])?;
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    s.update(&[], &[])?;
    s.protect(Some("dst 192.0.2.1/32 proto udp sport 54,123 then accept"))?;
    s.protect(Some("dst 192.0.2.1/32 proto udp sport 123 then accept"))?;
    s.update(&[ALL_UDP_V6], &[OTHER_HOST, FROM_53_ACCEPTED])?;
    s.protect(None)?;
    s.update(&[FROM_54], &[ALL_UDP, ALL_UDP_V6])?;
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    // As if it were loaded anew.
    s.replace(&[FROM_54])?;
    s.intact()
}

/// Without rules everything passes; what is cleared is gone, and what belongs to others is not
/// touched.
fn no_rules<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    let others = s.bench.of_others()?;
    let leftovers = s.plane.leftovers()?;
    ensure!(leftovers.is_empty(), "rules of an earlier run where there was none: {leftovers:?}");
    s.plane.clear().context("clear what was never there")?;
    s.replace(&[])?;
    s.intact()?;
    s.counters_are_those_of_the_rules()?;
    let entries = s.plane.usage()?.entries;
    ensure!(entries == 0, "{entries} entries without a rule");
    s.update(&[FROM_53, ALL_UDP_V6], &[])?;
    s.update(&[], &[FROM_53, ALL_UDP_V6])?;
    s.intact()?;
    let entries = s.plane.usage()?.entries;
    ensure!(entries == 0, "{entries} entries without a rule");
    s.update(&[FROM_53, ALL_UDP_V6], &[])?;
    s.plane.clear()?;
    s.restart()?;
    let leftovers = s.plane.leftovers()?;
    ensure!(leftovers.is_empty(), "rules of an earlier run that was cleared: {leftovers:?}");
    ensure!(s.bench.of_others()? == others, "was {others}, is {}", s.bench.of_others()?);
    s.replace(&[])
}

/// A rule that cannot be put in force is named, and costs only rules that would drop what it lets
/// pass.
fn refused_rule<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    let Some(refused) = s.bench.refused_rule()? else { return Ok(()) };
    // A discard of the same packets that does not need it.
    let discard = FROM_54;
    s.replace(&[refused, OTHER_HOST, ALL_UDP, ALL_UDP_V6])?;
    s.has_failed(refused)?;
    s.has_failed(ALL_UDP)?;
    s.is_in_force(OTHER_HOST)?;
    s.is_in_force(ALL_UDP_V6)?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    s.update(&[ALL_UDP], &[refused])?;
    s.all_in_force()?;
    s.update(&[refused], &[])?;
    s.has_failed(refused)?;
    s.has_failed(ALL_UDP)?;
    // Asked for otherwise under the same key, it is neither refused nor an exception any more.
    s.update(&[discard, ALL_UDP], &[])?;
    s.all_in_force()?;
    s.replace(&[FROM_53, refused])?;
    s.is_in_force(FROM_53)?;
    s.has_failed(refused)?;
    s.intact()
}

/// A change that fails leaves what was in force, and can be done later.
fn failed_change<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    let refused = s.bench.refused_rule()?;
    s.replace(&[FROM_53, ALL_UDP_V6])?;
    if let Some(refused) = refused {
        s.update(&[refused], &[])?;
    }
    let Some(change) = s.bench.set_failing(true)? else { return Ok(()) };
    let (upsert, remove): (&[&str], &[&str]) = match change {
        Change::Replace => (&[FROM_53_ACCEPTED, FROM_53_V6, OTHER_HOST], &[]),
        Change::Update => (&[FROM_53_ACCEPTED, FROM_53_V6, OTHER_HOST], &[ALL_UDP_V6]),
    };
    ensure!(s.try_change(change, upsert, remove).is_err(), "it was made to fail");
    s.verify()?;
    s.bench.set_failing(false)?;
    s.try_change(change, upsert, remove)?;
    s.verify()?;
    // What could not be in force before may be told again, or not.
    match refused {
        Some(refused) if change == Change::Update => s.update(&[], &[refused])?,
        Some(_) | None => {}
    }
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    s.intact()
}

/// Filters outlive the program, and the next run takes them over.
fn restart<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    s.replace(&[FROM_53, FROM_54, FROM_53_V6])?;
    if !s.enforces() {
        return Ok(());
    }
    s.send(3, 53, VICTIM)?;
    let before = s.counter(FROM_53)?;
    s.restart()?;
    s.verify().context("between two runs")?;
    let ids = [FROM_53, FROM_54, FROM_53_V6].map(|text| Ok(text.parse::<flowspec::Rule>()?.nlri.id()));
    let ids = ids.into_iter().collect::<Result<BTreeSet<_>>>()?;
    let leftovers = s.plane.leftovers()?;
    let expected = if B::KNOWS_EARLIER_RUNS { ids } else { BTreeSet::new() };
    ensure!(leftovers == expected, "rules of the earlier run: {leftovers:?}, expected {expected:?}");
    s.replace(&[FROM_53, ALL_UDP_V6])?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    let leftovers = s.plane.leftovers()?;
    ensure!(leftovers.is_empty(), "something was applied, and of the earlier run are told {leftovers:?}");
    if B::KNOWS_EARLIER_RUNS {
        // One probe between the runs and one after them.
        let after = s.counter(FROM_53)?;
        ensure!(after.packets == before.packets + 2, "it counts on over a restart: {before:?}, and then {after:?}");
    }
    Ok(())
}

/// What others do to the filters is noticed and put right, and counters are kept where they are
/// still there.
fn damage<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    let rules = [FROM_53_ACCEPTED, ALL_UDP, ALL_UDP_V6];
    s.replace(&rules)?;
    for (what, damage) in B::DAMAGE {
        s.intact().with_context(|| format!("before: {what}"))?;
        damage(s.bench).with_context(|| (*what).to_owned())?;
        let health = s.plane.health()?;
        ensure!(matches!(health, Health::ExternalChange(_)), "not noticed: {what}: {health:?}");
        s.replace(&rules).with_context(|| format!("after: {what}"))?;
        s.all_in_force()?;
        s.intact().with_context(|| format!("after: {what}"))?;
    }
    Ok(())
}

/// A rule counts on over changes of others and of itself.
fn counters<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    if !s.enforces() {
        return s.counters_are_those_of_the_rules();
    }
    const OCTETS: u64 = 68; // of a probe, from the IP header on
    let exactly = |packets: u64, dropped: u64| Counter {
        packets,
        bytes: packets * OCTETS,
        dropped_packets: Some(dropped),
        dropped_bytes: Some(dropped * OCTETS),
    };
    s.replace(&[FROM_53])?; // sends one of each probe
    s.send(4, 53, VICTIM)?;
    ensure!(s.counter(FROM_53)? == exactly(5, 5), "{:?}", s.counter(FROM_53)?);
    s.update(&[FROM_54, ALL_UDP], &[])?;
    ensure!(s.counter(FROM_53)?.packets == 6, "another rule came: {:?}", s.counter(FROM_53)?);
    // The victim's probes but those of the earlier rules.
    ensure!(s.counter(ALL_UDP)? == exactly(3, 3), "{:?}", s.counter(ALL_UDP)?);
    s.update(&[FROM_53_ACCEPTED], &[FROM_54])?;
    ensure!(s.counter(FROM_53)?.packets == 7, "its action changed: {:?}", s.counter(FROM_53)?);
    s.replace(&[FROM_53_ACCEPTED, ALL_UDP])?;
    s.update(&[], &[ALL_UDP])?;
    let counter = s.counter(FROM_53)?;
    ensure!((counter.packets, counter.bytes) == (9, 9 * OCTETS), "over a full load: {counter:?}");
    s.counters_are_those_of_the_rules()
}

/// What does not fit is named; and no packet is dropped that a rule without room lets pass.
fn capacity<B: Bench>(s: &mut Scenario<'_, B>) -> Result<()> {
    let Some(NearlyFull { plane, fillers, exemption }) = s.bench.nearly_full()? else { return Ok(()) };
    s.plane = plane;
    let with = |more: &[&'static str]| -> Vec<&str> {
        fillers.iter().map(String::as_str).chain(more.iter().copied()).collect()
    };
    s.replace(&with(&[OTHER_HOST, ALL_UDP]))?;
    s.all_in_force()?;
    // The exception comes later, and those in force keep their place although it precedes them. The
    // rule that it is an exception to goes in the same change.
    s.update(&[exemption], &[])?;
    s.has_no_room(exemption)?;
    s.has_no_room(ALL_UDP)?;
    s.is_in_force(OTHER_HOST).context("it has nothing to do with that")?;
    s.counters_are_those_of_the_rules()?;
    s.intact()?;
    // Both are not in force still.
    s.update(&[FROM_53_V6], &[])?;
    s.intact()?;
    s.update(&[exemption, ALL_UDP], &[FROM_53_V6])?;
    s.is_not_in_force(ALL_UDP).context("its exception is not in force yet")?;
    // All at once: which of them find room depends on the back end.
    s.replace(&with(&[exemption, OTHER_HOST, ALL_UDP]))?;
    s.intact()?;
    // Without the exception, or with room for it, there is no reason any more.
    s.update(&[OTHER_HOST, ALL_UDP], &[exemption])?;
    s.all_in_force()?;
    let all: Vec<&str> = fillers.iter().map(String::as_str).collect();
    s.update(&[exemption, ALL_UDP], &all)?;
    s.all_in_force()?;
    s.replace(&with(&[OTHER_HOST, ALL_UDP]))?;
    s.all_in_force()?;
    // What was told to be not in force is withdrawn without a word: it is not in force either when
    // there is room.
    s.update(&[exemption], &[])?;
    s.withdraw_what_failed()?;
    s.update(&[FROM_53_V6], &all)?;
    s.all_in_force()?;
    s.counters_are_those_of_the_rules()?;
    s.intact()
}
