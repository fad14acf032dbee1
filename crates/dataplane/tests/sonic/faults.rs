//! Changes when the switch is slow, full, refuses, crashes or restarts, or when another program
//! interferes.

use super::switch::{Bench, discards};
use anyhow::{Result, ensure};
use dataplane::{Dataplane, Health, RuleFailure};
use lab::{PATIENCE, wait_until};
use redis::Commands;
use std::time::Duration;

#[test]
fn a_slow_switch_is_waited_for_as_long_as_it_continues() -> Result<()> {
    let Some(mut bench) = Bench::new(|settings| settings.timeout = Duration::from_secs(2))? else { return Ok(()) };
    // In all longer than the timeout.
    bench.switch.set(|behaviour| behaviour.delay = Duration::from_millis(50));
    let applied = bench.replace(&discards(60))?;
    ensure!(applied.failures.is_empty(), "{applied:?}");
    bench.verify(60)
}

#[test]
fn a_rule_without_a_status_fails_and_others_do_not() -> Result<()> {
    let Some(mut bench) = Bench::new(|settings| settings.timeout = Duration::from_secs(1))? else { return Ok(()) };
    bench.switch.set(|behaviour| behaviour.silent = vec!["L4_SRC_PORT=3 ".to_owned()]);
    let applied = bench.replace(&discards(10))?;
    ensure!(
        matches!(&applied.failures[..], [(_, RuleFailure::Failed(why))] if why.contains("no status")),
        "{applied:?}"
    );
    bench.verify(9)
}

#[test]
fn a_rule_that_is_refused_in_part_is_removed_whole() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.switch.set(|behaviour| behaviour.refused = vec!["L4_DST_PORT=2001 ".to_owned()]);
    let rules = ["dst 192.0.2.1/32 proto udp dport 2000-2003 then discard", "dst 192.0.2.2/32 then discard"];
    let applied = bench.replace(&rules.map(str::to_owned))?;
    ensure!(applied.failures.len() == 1, "{applied:?}");
    bench.verify(1)
}

#[test]
fn a_full_table_keeps_what_fits_and_nothing_pends() -> Result<()> {
    for parks in [true, false] {
        let Some(mut bench) = Bench::new(|settings| settings.timeout = Duration::from_secs(1))? else { return Ok(()) };
        bench.switch.set(|behaviour| (behaviour.capacity, behaviour.parks) = (30, parks));
        let applied = bench.replace(&discards(40))?;
        ensure!(applied.failures.len() == 10, "{} failed", applied.failures.len());
        let over = applied.failures.iter().filter(|(_, why)| matches!(why, RuleFailure::OverCapacity(_))).count();
        // Without the status nobody can know that room is what is missing.
        ensure!(over == if parks { 10 } else { 0 }, "{over}");
        bench.verify(30)?;
        ensure!(matches!(bench.plane.health()?, Health::Intact));
        // Who does not know how full the table is puts new ones beside the old ones first: they may
        // have no room until those are gone.
        bench.replace(&discards(5))?;
        bench.replace(&discards(5))?;
        bench.verify(5)?;
    }
    Ok(())
}

#[test]
fn what_the_switch_tells_of_its_tables_is_never_used_up() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.switch.set(|behaviour| {
        behaviour.capacity = 40;
        behaviour.crm_interval = Duration::from_millis(20);
    });
    bench.replace(&discards(10))?;
    let mut counters = bench.switch.database(2)?;
    wait_until("CRM", PATIENCE, || {
        let keys: Vec<String> = counters.keys("CRM:ACL_TABLE_STATS:*").ok()?;
        (!keys.is_empty()).then_some(())
    })?;
    // As after a restart: the figures are read at the start of a change.
    bench.restart_program();
    bench.replace(&discards(10))?;
    let applied = bench.replace(&discards(60))?;
    let told = applied.failures.iter().find(|(_, why)| why.message().contains("reports 40")).is_some();
    ensure!(applied.failures.len() == 22 && told, "{applied:?}");
    bench.verify(38)?;
    ensure!(bench.switch.most_rules() == 38, "{}", bench.switch.most_rules());
    // All others at once: old and new do not fit side by side.
    let others: Vec<String> =
        (0..38).map(|n| format!("dst 192.0.2.9/32 proto tcp dport {} then discard", n + 1)).collect();
    let applied = bench.replace(&others)?;
    ensure!(applied.failures.is_empty(), "{applied:?}");
    ensure!(bench.switch.most_rules() == 38, "{}", bench.switch.most_rules());
    bench.verify(38)
}

#[test]
fn orchagent_that_dies_in_the_middle_leaves_nothing_half() -> Result<()> {
    let Some(mut bench) = Bench::new(|settings| settings.timeout = Duration::from_secs(1))? else { return Ok(()) };
    bench.replace(&discards(5))?;
    bench.switch.set(|behaviour| {
        behaviour.crash_after = Some(20);
        behaviour.delay = Duration::from_millis(1);
    });
    ensure!(bench.update(&discards(50), &[]).is_err(), "it died");
    bench.switch.set(|behaviour| behaviour.crash_after = None);
    // What it had not taken is taken now, if it is there still; then swss starts with empty
    // databases.
    bench.switch.restart()?;
    ensure!(matches!(bench.plane.health()?, Health::ExternalChange(_)));
    let applied = bench.replace(&discards(50))?;
    ensure!(applied.failures.is_empty(), "{applied:?}");
    bench.verify(50)
}

#[test]
fn a_restart_of_the_switch_in_the_middle_is_reported() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.switch.set(|behaviour| behaviour.delay = Duration::from_millis(20));
    bench.replace(&discards(2))?;
    let rules = discards(200);
    let (outcome, mut bench) = std::thread::scope(|scope| {
        let Bench { mut switch, settings, mut plane } = bench;
        let all = super::switch::ruleset(&rules, &settings);
        let worker = scope.spawn(move || {
            let outcome = plane.replace(&all);
            (outcome, plane)
        });
        wait_until("some rules", PATIENCE, || (switch.active().len() > 10).then_some(()))?;
        switch.restart()?;
        switch.set(|behaviour| behaviour.delay = Duration::ZERO);
        let (outcome, plane) = worker.join().expect("the worker does not panic");
        anyhow::Ok((outcome, Bench { switch, settings, plane }))
    })?;
    ensure!(outcome.is_err(), "its rules are gone: {outcome:?}");
    let applied = bench.replace(&rules)?;
    ensure!(applied.failures.is_empty(), "{applied:?}");
    bench.verify(200)
}

#[test]
fn a_switch_that_cannot_be_used_is_not_changed() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    let mut config = bench.switch.database(4)?;
    let () = config.hset("DEVICE_METADATA|localhost", "synchronous_mode", "disable")?;
    let error = bench.replace(&discards(1)).expect_err("failures would not be told").to_string();
    ensure!(error.contains("synchronous_mode"), "{error}");
    let () = config.hset("DEVICE_METADATA|localhost", "synchronous_mode", "enable")?;
    let () = config.del("CONFIG_DB_INITIALIZED")?;
    let error = bench.replace(&discards(1)).expect_err("the switch starts").to_string();
    ensure!(error.contains("starting"), "{error}");
    let written: Vec<String> = bench.switch.database(0)?.keys("*")?;
    ensure!(written.is_empty(), "{written:?}");
    let () = config.set("CONFIG_DB_INITIALIZED", "1")?;
    bench.replace(&discards(1))?;
    bench.verify(1)
}

#[test]
fn a_table_without_room_makes_the_back_end_unavailable() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.switch.set(|behaviour| behaviour.tables = 0);
    let error = bench.replace(&discards(1)).expect_err("no room for a table").to_string();
    ensure!(error.contains("FLOODGATE_V4_1") && error.contains("Inactive"), "{error}");
    bench.switch.set(|behaviour| behaviour.tables = 1);
    bench.replace(&discards(1))?;
    bench.verify(1)
}

#[test]
fn batches_in_the_order_of_older_releases_lead_to_the_same() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.switch.set(|behaviour| behaviour.sorts = false);
    bench.replace(&discards(50))?;
    let accepts: Vec<String> =
        (0..20).map(|n| format!("dst 192.0.2.1/32 proto udp sport {} then accept", n + 1)).collect();
    let mut rest = discards(50).split_off(40);
    bench.update(&accepts, &rest)?;
    rest.push("dst 192.0.2.1/32 then discard".to_owned());
    bench.update(&rest, &[])?;
    bench.verify(51)
}

#[test]
fn what_others_do_to_our_rules_is_repaired() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.replace(&discards(10))?;
    // The keys themselves, past orchagent; and all of the database.
    let mut appl = bench.switch.database(0)?;
    let keys: Vec<String> = appl.keys("ACL_RULE_TABLE:FLOODGATE*")?;
    let () = appl.del(&keys[0])?;
    ensure!(matches!(bench.plane.health()?, Health::ExternalChange(_)));
    bench.replace(&discards(10))?;
    let () = redis::cmd("FLUSHDB").query(&mut appl)?;
    ensure!(matches!(bench.plane.health()?, Health::ExternalChange(_)));
    let applied = bench.replace(&discards(10))?;
    ensure!(applied.failures.is_empty() && bench.plane.health()? == Health::Intact, "{applied:?}");
    Ok(())
}
