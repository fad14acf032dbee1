//! The XDP program against the oracle, through the kernel's test run: random rules of all component
//! types, packets aimed at them.
//!
//! `FLOODGATE_SOAK_VERDICTS=6000` sets the number of verdicts, `FLOODGATE_SEED=7` the seed.
#![cfg(xdp_program)]

#[path = "xdp/rules.rs"]
mod rules;

use anyhow::Result;
use dataplane::xdp::testing::Harness;
use flowspec::testing::{PacketShape, Seed, random_rule, random_rules};
use flowspec::{IpVersion, Nlri, Rule};
use rules::{Tally, alike, check, compiled, frame_for, ruleset, shape, spaces_of};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many, as a rule and for `make soak`.
fn cases(usual: u64, soak: u64) -> u64 {
    if std::env::var_os("FLOODGATE_SOAK").is_some() { soak } else { usual }
}

/// How many verdicts; an emulated machine, where a packet takes a hundred times as long, asks for
/// fewer.
fn verdicts(usual: u64, soak: u64) -> u64 {
    number("FLOODGATE_SOAK_VERDICTS").map_or_else(|| cases(usual, soak), |asked| asked.max(cases(0, soak)))
}

fn beginning() -> u64 {
    number("FLOODGATE_SEED").unwrap_or(0)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn agrees_with_the_oracle_soak() -> Result<()> {
    lab::needs!(root);
    let wanted = verdicts(200_000, 10_000_000);
    let mut harness = Harness::new(4096, 1)?;
    let mut tally = Tally::default();
    let mut round = beginning() * 1_000_003;
    while tally.verdicts < wanted {
        round += 1;
        let mut seed = Seed::new(round);
        let count = seed.pick(&[1usize, 3, 10, 60, 400]).unwrap_or(1);
        let version = if round.is_multiple_of(2) { IpVersion::V4 } else { IpVersion::V6 };
        let rules = random_rules(&mut seed, version, &shape(round), count);
        let protected = if round.is_multiple_of(3) {
            spaces_of(&random_rules(&mut seed, version, &shape(round), 3))
        } else {
            Vec::new()
        };
        harness.replace(&ruleset(&rules, protected.clone()))?;
        assert_eq!(harness.failures(), [], "round {round}");
        let frames: Vec<Vec<u8>> =
            (0..4096).map(|_| frame_for(&mut seed, version, &rules, &PacketShape::everything())).collect();
        tally += check(&mut harness, &rules, &protected, &frames, &format!("round {round}"))?;
    }
    println!("{tally}");
    tally.assert_telling();
    Ok(())
}

#[test]
fn with_the_barriers_of_other_machines_too() -> Result<()> {
    lab::needs!(root);
    let mut harness = Harness::with_barriers(4096)?;
    let mut tally = Tally::default();
    for round in 0..8 {
        let mut seed = Seed::new(round + 7_000_000);
        let version = if round.is_multiple_of(2) { IpVersion::V4 } else { IpVersion::V6 };
        let rules = random_rules(&mut seed, version, &shape(round), 60);
        harness.replace(&ruleset(&rules, Vec::new()))?;
        let frame = |_| frame_for(&mut seed, version, &rules, &PacketShape::everything());
        let frames: Vec<Vec<u8>> = (0..1024).map(frame).collect();
        tally += check(&mut harness, &rules, &[], &frames, &format!("barriers, round {round}"))?;
    }
    assert!(tally.matched > 500, "{tally}");
    Ok(())
}

#[test]
fn long_lists_agree_with_the_oracle_soak() -> Result<()> {
    lab::needs!(root);
    let wanted = verdicts(40_000, 1_000_000);
    let mut harness = Harness::new(4096, 1)?;
    let mut tally = Tally::default();
    let mut round = beginning() * 1_000_003;
    while tally.verdicts < wanted {
        round += 1;
        let mut seed = Seed::new(round + 5);
        let version = if round.is_multiple_of(2) { IpVersion::V4 } else { IpVersion::V6 };
        let mut rules: BTreeMap<Nlri, Rule> = BTreeMap::new();
        for _ in 0..seed.pick(&[100, 500, 1500]).unwrap_or(100) {
            let rule = alike(&mut seed, version, round.is_multiple_of(3))?;
            rules.insert(rule.nlri.clone(), rule);
        }
        let all: Vec<Rule> = rules.into_values().collect();
        // At once; then without half of them; then with all again.
        let some: Vec<Rule> = all.iter().filter(|_| seed.percent(50)).cloned().collect();
        for rules in [&all, &some, &all] {
            harness.replace(&ruleset(rules, Vec::new()))?;
            assert_eq!(harness.failures(), [], "round {round}");
            let frames: Vec<Vec<u8>> =
                (0..1024).map(|_| frame_for(&mut seed, version, rules, &PacketShape::everything())).collect();
            tally += check(&mut harness, rules, &[], &frames, &format!("round {round}"))?;
        }
    }
    println!("{tally}");
    assert!(tally.matched * 2 > tally.verdicts && tally.several > 0, "{tally}");
    Ok(())
}

#[test]
fn changes_leave_what_a_fresh_load_makes_soak() -> Result<()> {
    lab::needs!(root);
    // Both IP versions in one table; rules come, go and change their actions; what is protected
    // changes too.
    const FRESH_EVERY: u64 = 250;
    let changes = cases(1_000, 50_000);
    let mut harness = Harness::new(4096, 1)?;
    let mut seed = Seed::new(beginning() + 99);
    let mut there: BTreeMap<Arc<Nlri>, Rule> = BTreeMap::new();
    let mut protected = Vec::new();
    let mut tally = Tally::default();
    for change in 1..=changes {
        let version = |seed: &mut Seed| seed.pick(&[IpVersion::V4, IpVersion::V6]).unwrap_or(IpVersion::V4);
        let mut upsert = Vec::new();
        for _ in 0..seed.pick(&[0, 1, 1, 2, 5, 30]).unwrap_or(1) {
            let version = version(&mut seed);
            let mut rule = random_rule(&mut seed, version, &shape(change));
            if seed.percent(20) && !there.is_empty() {
                // New actions for a rule that is there.
                let at = seed.below(there.len() as u64) as usize;
                if let Some(old) = there.values().nth(at) {
                    rule = Rule { actions: rule.actions, ..old.clone() };
                }
            }
            upsert.push(compiled(&rule));
            there.insert(Arc::new(rule.nlri.clone()), rule);
        }
        let mut remove = Vec::new();
        // About as many go as come, and now and then nearly all.
        let going = if seed.percent(2) { there.len() as u64 } else { seed.below(there.len() as u64 / 20 + 2) };
        for _ in 0..going {
            let at = seed.below(there.len() as u64 + 1) as usize;
            if let Some(nlri) = there.keys().nth(at).cloned()
                && upsert.iter().all(|rule| rule.nlri != nlri)
            {
                there.remove(&nlri);
                remove.push(nlri);
            }
        }
        let new_protected = seed.percent(10).then(|| {
            let count = seed.below(4) as usize;
            let version = version(&mut seed);
            spaces_of(&random_rules(&mut seed, version, &shape(1), count))
        });
        harness.update(&upsert, &remove, new_protected.clone().map(Arc::new).as_ref())?;
        protected = new_protected.unwrap_or(protected);
        assert_eq!(harness.failures(), [], "change {change}");

        let rules: Vec<Rule> = there.values().cloned().collect();
        let version = version(&mut seed);
        let of_version: Vec<Rule> =
            rules.iter().filter(|rule| rule.nlri.family().version() == version).cloned().collect();
        let frames: Vec<Vec<u8>> =
            (0..32).map(|_| frame_for(&mut seed, version, &of_version, &PacketShape::everything())).collect();
        tally += check(&mut harness, &rules, &protected, &frames, &format!("change {change}"))?;
        if change % FRESH_EVERY == 0 {
            let frames: Vec<Vec<u8>> =
                (0..4096).map(|_| frame_for(&mut seed, version, &of_version, &PacketShape::everything())).collect();
            tally += check(&mut harness, &rules, &protected, &frames, &format!("change {change}"))?;
            let mut fresh = Harness::new(4096, 1)?;
            fresh.replace(&ruleset(&rules, protected.clone()))?;
            let (changed, loaded) = (harness.run_frames(&frames)?, fresh.run_frames(&frames)?);
            for (n, (changed, loaded)) in changed.iter().zip(&loaded).enumerate() {
                let facts = |outcome: &dataplane::xdp::testing::Outcome| (outcome.rules.clone(), outcome.is_protected);
                assert_eq!(facts(changed), facts(loaded), "change {change}, frame {n}");
            }
        }
    }
    // Taking everything out gives every place back.
    let all: Vec<Arc<Nlri>> = there.into_keys().collect();
    harness.update(&[], &all, Some(&Arc::default()))?;
    let left: Vec<_> =
        harness.table_usage().into_iter().filter(|&(name, used, _)| used > 0 && name != "rule numbers").collect();
    assert_eq!(left, []);
    println!("{changes} changes, {tally}");
    tally.assert_telling();
    Ok(())
}
