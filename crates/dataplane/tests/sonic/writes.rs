//! What is written for a change, and how quickly it is in force.

use super::switch::{Bench, discards};
use anyhow::{Result, ensure};
use dataplane::{Dataplane, RuleFailure};
use redis::Commands;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[test]
fn a_change_touches_the_entries_that_it_is_about() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    let mut rules = discards(100);
    rules.push("dst 192.0.2.0/24 proto udp then discard".to_owned());
    bench.replace(&rules)?;
    let before = bench.written()?;
    // An exception in the middle, and one rule less.
    bench.update(&["dst 192.0.2.1/32 proto udp sport 7777 then accept".to_owned()], &rules[..1])?;
    let after = bench.written()?;
    let keys = |rules: &BTreeMap<String, _>| rules.keys().cloned().collect::<BTreeSet<String>>();
    let (before, after) = (keys(&before), keys(&after));
    ensure!(before.difference(&after).count() == 1 && after.difference(&before).count() == 1);
    // The full load of what is there changes nothing.
    let mut all = rules[1..].to_vec();
    all.push("dst 192.0.2.1/32 proto udp sport 7777 then accept".to_owned());
    bench.replace(&all)?;
    ensure!(keys(&bench.written()?) == after);
    bench.verify(101)
}

#[test]
fn the_next_run_takes_over_what_is_there() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    let rules = discards(20);
    bench.replace(&rules)?;
    let before = bench.written()?;
    bench.restart_program();
    ensure!(bench.plane.leftovers()?.len() == 20);
    bench.replace(&rules)?;
    ensure!(bench.written()? == before);
    // Killed in the middle: what was written and not yet taken is there as well.
    bench.restart_program();
    bench.replace(&rules[..5])?;
    bench.verify(5)?;
    bench.plane.clear()?;
    bench.verify(0)?;
    let left: Vec<String> = bench.switch.database(0)?.keys("*")?;
    ensure!(left.iter().all(|key| !key.contains("FLOODGATE")), "{left:?}");
    Ok(())
}

#[test]
fn other_settings_make_other_tables_and_leave_nothing_of_the_old_ones() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    bench.replace(&discards(3))?;
    bench.settings.dscp = true;
    bench.restart_program();
    bench.replace(&discards(3))?;
    bench.verify(3)?;
    ensure!(bench.switch.active().iter().all(|(table, _)| table == "FLOODGATE_V4_3"));
    let tables: Vec<String> = bench.switch.database(6)?.keys("ACL_TABLE_TABLE|*")?;
    ensure!(tables == ["ACL_TABLE_TABLE|FLOODGATE_V4_3"], "{tables:?}");
    Ok(())
}

#[test]
fn members_of_a_port_channel_stand_for_it() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    for (interfaces, ports) in [
        (&[][..], "Ethernet0,Ethernet4,PortChannel1"),
        (&["Ethernet0", "Ethernet8"], "Ethernet0,PortChannel1"),
        (&["Ethernet*", "!Ethernet0"], "Ethernet4,PortChannel1"),
    ] {
        bench.settings.interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        bench.restart_program();
        bench.replace(&discards(1))?;
        let written: String = bench.switch.database(0)?.hget("ACL_TABLE_TABLE:FLOODGATE_V4_1", "ports")?;
        ensure!(written == ports, "{interfaces:?}: {written}");
        bench.verify(1)?;
    }
    bench.settings.interfaces = vec!["swp1".to_owned()];
    bench.restart_program();
    let error = bench.replace(&discards(1)).expect_err("no such port").to_string();
    ensure!(error.contains("none of the switch's ports"), "{error}");
    Ok(())
}

#[test]
fn policers_come_before_their_rules_and_go_after_them() -> Result<()> {
    let change = |settings: &mut dataplane::sonic::Settings| {
        settings.policers = true;
        settings.release = "2026-08-01".parse().expect("a date");
    };
    let Some(mut bench) = Bench::new(change)? else { return Ok(()) };
    let policers = |bench: &Bench| -> Result<usize> {
        let keys: Vec<String> = bench.switch.database(4)?.keys("POLICER|*")?;
        Ok(keys.len())
    };
    bench.replace(&["dst 192.0.2.1/32 then rate 8mbps".to_owned(), "dst 192.0.2.2/32 then rate 8mbps".to_owned()])?;
    bench.verify(2)?;
    // Whether an ASIC would meter the sum of both is unknown.
    ensure!(policers(&bench)? == 2);
    bench.update(&["dst 192.0.2.1/32 then rate 9mbps".to_owned()], &["dst 192.0.2.2/32 then rate 8mbps".to_owned()])?;
    bench.verify(1)?;
    ensure!(policers(&bench)? == 1);
    bench.plane.clear()?;
    ensure!(policers(&bench)? == 0);
    Ok(())
}

#[test]
fn ranges_are_scarce() -> Result<()> {
    let change = |settings: &mut dataplane::sonic::Settings| {
        settings.ranges = true;
        settings.release = "2026-03-01".parse().expect("a date");
    };
    let Some(mut bench) = Bench::new(change)? else { return Ok(()) };
    let rule = |n: usize| format!("dst 192.0.2.{n}/32 proto udp dport {}-65000 then discard", 1000 + n);
    let mut rules: Vec<String> = (1..=13).map(rule).collect();
    rules.push("dst 192.0.2.99/32 proto udp dport 1001-65000 then discard".to_owned());
    let applied = bench.replace(&rules)?;
    ensure!(
        matches!(&applied.failures[..], [(_, RuleFailure::OverCapacity(why))] if why.contains("ranges")),
        "{applied:?}"
    );
    bench.verify(13)
}

#[test]
fn a_thousand_rules_are_active_soon_and_one_at_once() -> Result<()> {
    let Some(mut bench) = Bench::new(|settings| settings.max_entries = Some(2000))? else { return Ok(()) };
    bench.switch.set(|behaviour| {
        behaviour.capacity = 2000;
        behaviour.delay = Duration::from_micros(500);
    });
    bench.replace(&[])?;
    let rules = discards(1000);
    let begun = Instant::now();
    bench.update(&rules, &[])?;
    let all = begun.elapsed();
    let begun = Instant::now();
    bench.update(&["dst 192.0.2.1/32 proto udp sport 5000 then discard".to_owned()], &[])?;
    println!("1,000 rules active in {all:?} (0.5 ms a rule), one more in {:?}", begun.elapsed());
    bench.verify(1001)
}
