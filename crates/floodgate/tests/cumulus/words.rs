//! The switch's documented error messages: the refused rule is found, the others are installed.

use crate::{Bench, NTP, PATIENCE, all_in_force, udp};
use anyhow::{Context, Result, ensure};
use api::DataplaneState;
use dataplane::{Dataplane, DataplaneError, Health, RuleFailure};
use engine::plan::Applied;
use flowspec::Space;
use lab::acltool::Switch;
use lab::site::{NEIGHBOUR, VICTIM};
use lab::{Daemon, needs, wait_until};
use std::fs;
use std::sync::Arc;

const OTHER: &str = "dst 192.0.2.7/32 then discard";

/// Rules for hosts of their own, all of one kind.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("dst 10.0.{}.{}/32 proto udp sport 123 then discard", n / 256, n % 256)).collect()
}

fn texts(rules: &[String]) -> Vec<&str> {
    rules.iter().map(String::as_str).collect()
}

/// The rules that are not in force, and why.
fn failed(applied: &Applied) -> Vec<(String, String)> {
    let words = |failure: &RuleFailure| match failure {
        RuleFailure::Failed(words) | RuleFailure::OverCapacity(words) => words.clone(),
    };
    applied.failures.iter().map(|(nlri, failure)| (nlri.to_string(), words(failure))).collect()
}

/// A switch with room, and rules of somebody else in the same chain as ours.
fn roomy(release: &str) -> Result<Bench> {
    let mut bench = Bench::new(release)?;
    bench.settings.capacity = (Some(3000), Some(1000));
    bench.switch.set("capacity4", "3000")?;
    bench.switch.set("capacity6", "1000")?;
    let chain = if bench.settings.release.major < 5 { "-A FORWARD" } else { "-t mangle -A PREROUTING" };
    fs::write(
        bench.switch.policy_directory().join("10mine.rules"),
        format!("INTF = \"swp1, swp2\"\n[iptables]\n{chain} -i $INTF -s 203.0.113.0/24,198.18.0.0/15 -j DROP\n"),
    )?;
    Ok(bench)
}

#[test]
fn one_rule_among_a_thousand_that_the_asic_refuses_costs_three_runs_at_most() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // Words in one line and in several; places counted from 1 and from 0; before and behind others
    // of its kind.
    for (release, from, at) in [("4.4", "1", 500), ("5.14", "1", 0), ("5.14", "0", 500), ("3.7", "0", 999)] {
        let bench = roomy(release)?;
        bench.switch.set("number-from", from)?;
        bench.switch.set("refuse", "--dport 4444 => match is not supported by this ASIC")?;
        let mut rules = many(999);
        let refused = "proto udp dport 4444".to_owned();
        // Ordered by destination: the place of the refused rule is that of its address.
        let refused = format!("dst 10.0.{}.{}/32 {refused} then discard", at / 256, at % 256);
        rules.retain(|rule| !rule.starts_with(&refused[..refused.find(" proto").expect("it has one")]));
        rules.push(refused.clone());
        let mut dataplane = bench.dataplane();
        let applied = dataplane.replace(&bench.ruleset(&texts(&rules)))?;
        let found = failed(&applied);
        let case = format!("{release}, from {from}, at {at}");
        ensure!(found.len() == 1 && found[0].0 == bench.rule(&refused).nlri.to_string(), "{case}: {found:?}");
        ensure!(found[0].1.contains("hw sync failed (Cannot process iptables,"), "{case}: {found:?}");
        let runs = bench.switch.runs().len();
        println!("{case}: {runs} runs");
        ensure!(runs <= 4, "{case}: {runs} runs");
        let ours = bench.switch.programmed().lines().filter(|line| line.contains("--sport 123")).count();
        ensure!(ours == rules.len() - 1, "{case}: {ours} in the ASIC");
        // It is remembered: the next change takes one run.
        dataplane.update(&bench.plan(&[OTHER], &[]))?;
        ensure!(bench.switch.runs().len() == runs + 1, "{case}");
    }
    Ok(())
}

#[test]
fn several_rules_refused_for_reasons_of_their_own() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for from in ["1", "0"] {
        let bench = roomy("5.14")?;
        bench.switch.set("number-from", from)?;
        bench.switch.set("refuse", "--dport 44 => match is not supported by this ASIC")?;
        let odd = [
            "dst 10.0.0.3/32 proto udp dport 44 then discard",
            "dst 10.0.0.4/32 proto tcp dport 44 tcp-flags syn then discard",
            "dst 10.0.0.9/32 proto udp dport 44 dscp 46 then discard",
        ];
        let taken =
            |rule: &String| ["10.0.0.3/32", "10.0.0.4/32", "10.0.0.9/32"].iter().all(|host| !rule.contains(host));
        let rules: Vec<String> = many(40).into_iter().filter(taken).chain(odd.map(str::to_owned)).collect();
        let applied = bench.dataplane().replace(&bench.ruleset(&texts(&rules)))?;
        let mut found: Vec<String> = failed(&applied).into_iter().map(|(rule, _)| rule).collect();
        let mut expected: Vec<String> = odd.iter().map(|rule| bench.rule(rule).nlri.to_string()).collect();
        found.sort();
        expected.sort();
        ensure!(found == expected, "from {from}: {found:?}");
        ensure!(bench.switch.runs().len() <= 6, "from {from}: {:?}", bench.switch.runs());
        ensure!(bench.switch.programmed().matches("--sport 123").count() == 37);
    }
    Ok(())
}

#[test]
fn kinds_of_rules_that_the_asic_refuses_are_given_up_together() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = roomy("5.14")?;
    bench.switch.set("refuse", " -f => frag match extension is not supported by this ASIC")?;
    let fragments: Vec<String> =
        (0..60).map(|n| format!("dst 10.1.0.{n}/32 fragment is-fragment then discard")).collect();
    let rules: Vec<String> = many(100).into_iter().chain(fragments).collect();
    let applied = bench.dataplane().replace(&bench.ruleset(&texts(&rules)))?;
    ensure!(applied.failures.len() == 60, "{}", applied.failures.len());
    ensure!(bench.switch.runs().len() <= 4, "{:?}", bench.switch.runs());
    ensure!(bench.switch.programmed().matches("--sport 123").count() == 100);
    Ok(())
}

#[test]
fn a_refused_rule_that_is_not_named_is_found_by_halves() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let refusal = "--dport 4444 => unsupported qualifier";
    // Of a kind of its own, among a thousand.
    let bench = roomy("5.14")?;
    bench.switch.set("refuse-unnamed", refusal)?;
    let alone = "dst 10.0.1.7/32 proto udp dport 4444 then discard";
    let rules: Vec<String> =
        many(999).into_iter().filter(|rule| !rule.contains("10.0.1.7/32")).chain([alone.to_owned()]).collect();
    let applied = bench.dataplane().replace(&bench.ruleset(&texts(&rules)))?;
    let found = failed(&applied);
    ensure!(found.len() == 1 && found[0].0 == bench.rule(alone).nlri.to_string(), "{found:?}");
    ensure!(found[0].1.contains("unsupported qualifier"), "{found:?}");
    let runs = bench.switch.runs().len();
    println!("not named, of its own kind among a thousand: {runs} runs");
    ensure!(runs <= 4, "{:?}", bench.switch.runs());

    // One of many of a kind: what was in force stays so meanwhile, other kinds are in after three
    // further runs, half of its kind after five.
    for at in [0, 37, 63] {
        let bench = roomy("4.4")?;
        let mut dataplane = bench.dataplane();
        all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
        bench.switch.set("refuse-unnamed", &format!("10.0.0.{at}/32 => bad luck"))?;
        let rules: Vec<String> =
            many(64).into_iter().chain((0..20).map(|n| format!("dst 10.9.0.{n}/32 then discard"))).collect();
        let before = bench.switch.runs().len();
        let found = failed(&dataplane.update(&bench.plan(&texts(&rules), &[]))?);
        ensure!(found.len() == 1 && found[0].0.contains(&format!("10.0.0.{at}/32")), "{found:?}");
        let runs = bench.switch.runs().split_off(before);
        println!("not named, number {at} of 64 of a kind: {} runs", runs.len());
        ensure!(runs.len() <= 12, "{runs:?}");
        let in_force = runs.iter().filter(|run| run.installed).map(|run| run.rules).collect::<Vec<_>>();
        ensure!(runs[..4].iter().any(|run| run.installed && run.rules > 20), "the other kind: {runs:?}");
        ensure!(runs[..6].iter().any(|run| run.installed && run.rules > 20 + 32), "half of its kind: {runs:?}");
        ensure!(in_force.is_sorted(), "no rule goes once it is in: {runs:?}");
        ensure!(bench.switch.programmed().matches("--sport 123").count() == 64);
    }
    Ok(())
}

#[test]
fn a_kind_of_rules_that_is_refused_and_not_named_is_given_up_together() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = roomy("5.14")?;
    bench.switch.set("refuse-unnamed", " -f => unsupported qualifier")?;
    let fragments = (0..60).map(|n| format!("dst 10.1.0.{n}/32 fragment is-fragment then discard"));
    let rules: Vec<String> = many(100).into_iter().chain(fragments).collect();
    let applied = bench.dataplane().replace(&bench.ruleset(&texts(&rules)))?;
    ensure!(applied.failures.len() == 60, "{}", applied.failures.len());
    ensure!(bench.switch.runs().len() <= 6, "{:?}", bench.switch.runs());
    ensure!(bench.switch.programmed().matches("--sport 123").count() == 100);
    Ok(())
}

#[test]
fn two_rules_of_a_half_that_are_refused_and_not_named_are_both_found() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = roomy("5.14")?;
    // Of 64, the second and the ninth: 10.0.0.1 and 10.0.0.8 have an address in common with no
    // other.
    bench.switch.set("refuse-unnamed", "-d 10.0.0.1/32|-d 10.0.0.8/32 => bad luck")?;
    let applied = bench.dataplane().replace(&bench.ruleset(&texts(&many(64))))?;
    let mut found: Vec<String> = failed(&applied).into_iter().map(|(rule, _)| rule).collect();
    found.sort();
    ensure!(found.len() == 2 && found[0].contains("10.0.0.1/32") && found[1].contains("10.0.0.8/32"), "{found:?}");
    let runs = bench.switch.runs().len();
    println!("not named, two of 64 of a kind: {runs} runs");
    ensure!(runs <= 25, "{runs} runs");
    ensure!(bench.switch.programmed().matches("--sport 123").count() == 62);
    Ok(())
}

#[test]
fn a_switch_that_takes_no_comments_gets_rules_without() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for name in ["refuse", "refuse-unnamed"] {
        let bench = roomy("5.14")?;
        bench.switch.set(name, "--comment => comment match extension is not supported by this ASIC")?;
        let mut dataplane = bench.dataplane();
        all_in_force(&dataplane.replace(&bench.ruleset(&texts(&many(50))))?)?;
        ensure!(bench.switch.runs().len() == 2, "{name}: {:?}", bench.switch.runs());
        ensure!(bench.policy().is_some_and(|text| !text.contains("--comment")), "{name}");
        let warnings = dataplane.condition().warnings;
        ensure!(warnings.iter().any(|warning| warning.contains("without their ids as comments")), "{warnings:?}");
        all_in_force(&dataplane.update(&bench.plan(&[OTHER], &[]))?)?;
        ensure!(bench.switch.runs().len() == 3, "{name}: it is remembered");
    }
    Ok(())
}

#[test]
fn ranges_that_the_asic_has_no_checker_for_stay_out() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // An ASIC with fewer than the documents say.
    let bench = roomy("5.14")?;
    bench.switch.set("ranges", "3")?;
    let ranges: Vec<String> =
        (1..=8).map(|n| format!("dst 10.1.0.{n}/32 proto udp sport {n}00-{n}50 then discard")).collect();
    let rules: Vec<String> = many(50).into_iter().chain(ranges).collect();
    let applied = bench.dataplane().replace(&bench.ruleset(&texts(&rules)))?;
    let programmed = bench.switch.programmed();
    ensure!(programmed.matches("--sport 123 ").count() == 50, "{programmed}");
    ensure!(applied.failures.len() == 5 || applied.failures.len() == 8, "{:?}", failed(&applied));
    ensure!(bench.switch.runs().len() <= 6, "{:?}", bench.switch.runs());
    Ok(())
}

#[test]
fn protection_that_the_asic_refuses_costs_the_rules_that_would_need_it() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = roomy("5.14")?;
    let mut wire = bench.site.wire()?;
    bench.switch.set("refuse", &format!("-d {NEIGHBOUR}/32 => not today"))?;
    let broad = "dst 192.0.2.0/24 proto udp then discard";
    let mut rules = bench.ruleset(&[broad, "dst 192.0.2.1/32 proto udp sport 123 then discard"]);
    let protected = format!("dst {NEIGHBOUR}/32 then accept").parse::<flowspec::Rule>()?;
    rules.protected = Arc::new(vec![Space::of(&protected.nlri)]);
    let found = failed(&bench.dataplane().replace(&rules)?);
    ensure!(found.len() == 1 && found[0].1.contains("protected packets"), "{found:?}");
    let arrived = wire.arrivals(&[udp(1, NEIGHBOUR, 1, 10), udp(123, VICTIM, 1, 10), udp(1, VICTIM, 1, 10)])?;
    ensure!(arrived == [true, false, true], "{arrived:?}");
    Ok(())
}

#[test]
fn neighbour_discovery_meets_no_rule() -> Result<()> {
    needs!(root, "ip", "ip6tables-legacy-restore");
    for release in ["4.4", "5.14"] {
        let bench = roomy(release)?;
        let mut dataplane = bench.dataplane();
        let rules = ["dst 2001:db8:2::/64 then discard", "dst 2001:db8:3::1/128 proto udp dport 53 then discard"];
        all_in_force(&dataplane.replace(&bench.ruleset(&rules))?)?;
        let text = bench.policy().context("a policy file")?;
        let lets_through = |kind: u32| format!("--icmpv6-type {kind}/0 -m hl --hl-eq 255 -j ACCEPT\n");
        ensure!((133..=137).all(|kind| text.contains(&lets_through(kind))), "{text}");
        // Where the ASIC does not let them through first, what would touch them stays out, and
        // nothing else.
        bench.switch.set("refuse", "--hl-eq => hl match is not supported by this ASIC")?;
        let found = failed(&bench.dataplane().replace(&bench.ruleset(&rules))?);
        ensure!(found.len() == 1 && found[0].1.contains("hl match is not supported"), "{found:?}");
        ensure!(bench.policy().is_some_and(|text| text.contains("--dport 53")), "{:?}", bench.policy());
    }
    Ok(())
}

#[test]
fn anothers_refused_rule_is_named_with_its_file() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = roomy("5.14")?;
    let mut dataplane = bench.dataplane();
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    bench.switch.set("refuse", "203.0.113.0/24 => not today")?;
    let before = bench.switch.runs().len();
    let error = dataplane.update(&bench.plan(&[OTHER], &[]));
    let told = matches!(&error, Err(DataplaneError::Refused(words))
        if words.contains("10mine.rules") && words.contains("line 3") && words.contains("not today"));
    ensure!(told, "{error:?}");
    ensure!(bench.switch.runs().len() == before + 1, "no rule of ours is suspected");
    ensure!(bench.kernel()?.contains("--sport 123") && dataplane.health()? == Health::Intact);
    Ok(())
}

#[test]
fn unknown_words_are_shown_whole_without_a_suggestion() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    let mut dataplane = bench.dataplane();
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    bench.switch.set("fail", "Es ist etwas Neues geschehen: No More Resources")?;
    let error = dataplane.update(&bench.plan(&[OTHER], &[]));
    let whole = matches!(&error, Err(DataplaneError::Refused(words)) if words.contains("Es ist etwas Neues geschehen: No More Resources"));
    ensure!(whole, "{error:?}");
    ensure!(bench.switch.runs().len() == 2, "neither a full table nor a rule is looked for: {:?}", bench.switch.runs());
    Ok(())
}

#[test]
fn what_a_failed_roll_back_leaves_is_repaired() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    let mut wire = bench.site.wire()?;
    let mut dataplane = bench.dataplane();
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    bench.switch.set("lose-rollback", "yes")?;
    bench.switch.set("crash", "192.0.2.7/32")?;
    let error = dataplane.update(&bench.plan(&[OTHER], &[]));
    ensure!(error.is_err(), "{error:?}");
    ensure!(!wire.passes(&udp(123, VICTIM, 1, 10))?, "what was in force is in force again");
    ensure!(dataplane.health()? == Health::Intact);
    // Where even that does not work, it is told.
    bench.switch.set("crash", "192.0.2.")?;
    ensure!(dataplane.update(&bench.plan(&[OTHER], &[])).is_err());
    ensure!(wire.passes(&udp(123, VICTIM, 1, 10))?, "the switch has lost its rules");
    ensure!(matches!(dataplane.health()?, Health::ExternalChange(_)));
    bench.switch.set("crash", "")?;
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    ensure!(!wire.passes(&udp(123, VICTIM, 1, 10))? && dataplane.health()? == Health::Intact);
    Ok(())
}

#[test]
fn a_run_beside_nv_config_apply_is_tried_again_soon() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    let mut dataplane = bench.dataplane();
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    bench.switch.set("hold-hardware", "yes")?;
    let tool = bench.switch.tool();
    std::thread::scope(|scope| -> Result<()> {
        let nvue = scope.spawn(|| bench.site.switch.exec(&tool, &["-i"]));
        wait_until("its run, with iptables' lock", PATIENCE, || bench.switch.is_holding().then_some(()))?;
        let release = scope.spawn(|| -> Result<()> {
            // Ours has come in its way.
            let has_failed = || bench.switch.runs().iter().any(|run| run.ended.is_some() && !run.installed);
            let failed = wait_until("a run of ours that fails", PATIENCE, || has_failed().then_some(()));
            bench.switch.set("holding", "")?;
            failed
        });
        all_in_force(&dataplane.update(&bench.plan(&[OTHER], &[]))?)?;
        release.join().expect("no panic")?;
        nvue.join().expect("no panic")?;
        Ok(())
    })?;
    ensure!(bench.kernel()?.contains("192.0.2.7"), "{}", bench.kernel()?);
    Ok(())
}

/// A run of somebody else that read the policy files before ours was written, and installs them
/// after.
fn overtaken(bench: &Bench, switch: &Switch, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let tool = switch.tool();
    fs::write(
        switch.policy_directory().join("50_nvue.rules"),
        "[iptables]\n-A INPUT -i swp1 -p udp --dport 50 -j DROP\n",
    )?;
    switch.set("hold-install", "yes")?;
    std::thread::scope(|scope| -> Result<()> {
        let nvue = scope.spawn(|| bench.site.switch.exec(&tool, &["-i"]));
        let changed = wait_until("its run", PATIENCE, || switch.is_holding().then_some(())).and_then(|()| change());
        switch.set("holding", "")?;
        nvue.join().expect("no panic")?;
        changed
    })
}

#[test]
fn a_run_of_others_that_removes_our_rules_is_noticed_soon() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    let mut dataplane = bench.dataplane();
    all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
    ensure!(dataplane.health()? == Health::Intact);
    overtaken(&bench, &bench.switch, || all_in_force(&dataplane.update(&bench.plan(&[OTHER], &[]))?))?;
    ensure!(!bench.kernel()?.contains("192.0.2.7"), "the other run has had the last word");
    ensure!(
        matches!(dataplane.health()?, Health::ExternalChange(_)),
        "at the next look, since the file of another changed"
    );
    Ok(())
}

#[test]
fn a_switch_without_hardware_is_not_healthy() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    bench.switch.set("no-hw-sync", "yes")?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration(""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    let status =
        daemon.wait_status("the tool's warning", PATIENCE, |status| status.dataplane == DataplaneState::Failed)?;
    ensure!(
        status.dataplane_error.as_ref().is_some_and(|why| why.contains("No rules will be programmed in hw")),
        "{status:?}"
    );
    ensure!(status.warnings.iter().any(|warning| warning.contains("Detected platform is Cumulus VX")), "{status:?}");
    Ok(())
}

#[test]
fn rules_that_the_asic_has_lost_are_noticed_where_the_switch_shows_it() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("4.3")?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration("asic = \"trident3\""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    let status = daemon.wait_status("figures of the ASIC", PATIENCE, |status| {
        status.statistics.get("asic_entries_ipv4").is_some_and(|entries| *entries > 0)
    })?;
    ensure!(status.dataplane_error.is_none() && status.statistics["asic_entries_ipv4_max"] > 0, "{status:?}");
    // switchd restarts: the kernel keeps its rules, the ASIC does not.
    bench.switch.clear_hardware()?;
    controller.announce_text(OTHER)?;
    daemon.wait_installed(2)?;
    bench.switch.clear_hardware()?;
    let status = daemon.wait_status("what is lost", PATIENCE, |status| status.dataplane_error.is_some())?;
    let why = status.dataplane_error.context("why")?;
    ensure!(why.contains("cl-resource-query shows 0 IPv4 ACL entries in use"), "{why}");
    Ok(())
}

#[test]
fn what_spectrum_shows_of_its_tables_is_a_warning() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.14")?;
    let controller = bench.controller()?;
    let daemon = Daemon::start(&bench.site.switch, &bench.configuration("asic = \"spectrum2\""))?;
    controller.announce_text(NTP)?;
    daemon.wait_installed(1)?;
    let status = daemon.wait_status("figures of the ASIC", PATIENCE, |status| {
        status.statistics.get("asic_entries_ipv4").is_some_and(|entries| *entries > 0)
    })?;
    ensure!(status.dataplane_error.is_none() && !status.statistics.contains_key("asic_entries_ipv4_max"), "{status:?}");
    ensure!(!status.warnings.iter().any(|warning| warning.contains("cl-resource-query")), "{status:?}");
    bench.switch.clear_hardware()?;
    controller.announce_text(OTHER)?;
    daemon.wait_installed(2)?;
    bench.switch.clear_hardware()?;
    let is_told = |warning: &String| warning.contains("cl-resource-query shows 0 IPv4 ACL entries in use");
    let status = daemon.wait_status("what is lost", PATIENCE, |status| status.warnings.iter().any(is_told))?;
    ensure!(status.dataplane_error.is_none(), "no document shows what these figures mean there: {status:?}");
    Ok(())
}
