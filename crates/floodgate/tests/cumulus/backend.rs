//! The back end alone: what is dropped, and what happens when the switch refuses, hangs or is full.

use crate::{Bench, NTP, all_in_force, udp};
use anyhow::{Context, Result, ensure};
use dataplane::cumulus::capabilities;
use dataplane::{Dataplane, DataplaneError, Health, RuleFailure};
use engine::compile::{Verdict, compile};
use engine::plan::{Applied, CompiledRule};
use flowspec::{IpVersion, Space};
use lab::{needs, packet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of one rule.
fn failure(applied: &Applied, rule: &CompiledRule) -> Option<RuleFailure> {
    applied.failures.iter().find(|(nlri, _)| *nlri == rule.nlri).map(|(_, failure)| failure.clone())
}

#[test]
fn drops_what_was_asked_for_and_nothing_else() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for release in ["3.7", "4.4", "5.0", "5.14"] {
        let bench = Bench::new(release)?;
        let mut wire = bench.site.wire()?;
        let mut dataplane = bench.dataplane();
        let reflected = udp(123, lab::site::VICTIM, 50_000, 440);
        let others = [
            udp(124, lab::site::VICTIM, 123, 440),
            udp(123, lab::site::NEIGHBOUR, 50_000, 440),
            udp(123, lab::site::VICTIM6, 50_000, 440),
            packet::tcp("198.51.100.1:123".parse()?, "192.0.2.1:80".parse()?, packet::tcp_flags::SYN, b""),
        ];
        ensure!(wire.passes(&reflected)?, "it passes before");
        all_in_force(&dataplane.replace(&bench.ruleset(&[NTP]))?)?;
        ensure!(!wire.passes(&reflected)?, "{release}: dropped");
        ensure!(wire.arrivals(&others)? == [true; 4], "{release}: others pass");
        all_in_force(&dataplane.update(&bench.plan(&[], &[NTP]))?)?;
        ensure!(wire.passes(&reflected)?, "{release}: withdrawn");
        ensure!(bench.policy().is_none() && bench.kernel()?.is_empty(), "nothing of ours is left");
        ensure!(bench.switch.runs().len() == 2, "a run for each change: {:?}", bench.switch.runs());
    }
    Ok(())
}

#[test]
fn six_and_protected_packets_and_marks() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore", "ip6tables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut wire = bench.site.wire()?;
    let mut dataplane = bench.dataplane();
    let mut rules = bench.ruleset(&[
        "dst 192.0.2.0/24 proto udp then discard",
        "dst 2001:db8:2::/64 proto udp dport !=53 then discard",
        "dst 192.0.2.1/32 proto tcp dport 80 then mark 46",
    ]);
    let protected = "dst 192.0.2.2/32 then accept".parse::<flowspec::Rule>()?;
    rules.protected = Arc::new(vec![Space::of(&protected.nlri)]);
    all_in_force(&dataplane.replace(&rules)?)?;
    let arrived = wire.arrivals(&[
        udp(1, lab::site::VICTIM, 1, 10),
        udp(1, lab::site::NEIGHBOUR, 1, 10),
        udp(1, lab::site::VICTIM6, 52, 10),
        udp(1, lab::site::VICTIM6, 53, 10),
    ])?;
    ensure!(arrived == [false, true, false, true], "{arrived:?}");
    wire.seen()?;
    wire.send(&packet::tcp("198.51.100.1:9".parse()?, "192.0.2.1:80".parse()?, packet::tcp_flags::SYN, b""))?;
    let seen = wire.seen()?;
    ensure!(seen.iter().any(|ip| ip[9] == 6 && ip[1] >> 2 == 46), "marked: {seen:?}");
    Ok(())
}

#[test]
fn a_rate_limits_all_of_the_rules_packets() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    for (release, rate) in [("3.7", "100pps"), ("4.4", "100pps"), ("5.14", "100pps"), ("5.0", "80kbps")] {
        let bench = Bench::new(release)?;
        let mut wire = bench.site.wire()?;
        let mut dataplane = bench.dataplane();
        // Behind it a rule that would drop what the limit lets pass.
        let rule = format!("dst 192.0.2.1/32 proto udp sport 123 then rate {rate}");
        let rules = bench.ruleset(&[&rule, "dst 192.0.2.1/32 proto udp then discard"]);
        all_in_force(&dataplane.replace(&rules)?)?;
        wire.seen()?;
        for port in 0..2000 {
            wire.send(&udp(123, lab::site::VICTIM, port, 972))?;
        }
        let arrived = wire.seen()?.iter().filter(|ip| ip[9] == 17).count();
        // The burst (25 packets, or 16 kilobytes) and what the rate allows within a second at most.
        ensure!((10..=150).contains(&arrived), "{release}, {rate}: {arrived} of 2000");
        let counters = dataplane.counters()?;
        let (_, counter) = counters.iter().find(|(nlri, _)| *nlri == bench.rule(&rule).nlri).context("a counter")?;
        ensure!(counter.packets == 2000 && counter.dropped_packets.is_none(), "{counter:?}");
    }
    Ok(())
}

#[test]
fn counters_survive_a_reinstall() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // With comments, and without.
    for release in ["5.9", "4.4"] {
        let bench = Bench::new(release)?;
        let mut wire = bench.site.wire()?;
        let mut dataplane = bench.dataplane();
        dataplane.replace(&bench.ruleset(&[NTP]))?;
        let reflected = udp(123, lab::site::VICTIM, 50_000, 440);
        wire.arrivals(&vec![reflected.clone(); 5])?;
        dataplane.update(&bench.plan(&["dst 192.0.2.1/32 proto udp sport 53 then discard"], &[]))?;
        wire.arrivals(&vec![reflected; 3])?;
        let counters = dataplane.counters()?;
        ensure!(counters.len() == 2, "{counters:?}");
        let ntp = bench.rule(NTP).nlri.clone();
        let (_, counter) = counters.iter().find(|(nlri, _)| *nlri == ntp).context("a counter")?;
        ensure!((counter.packets, counter.bytes, counter.dropped_packets) == (8, 8 * 468, Some(8)), "{counter:?}");
        ensure!(dataplane.usage()?.entries == 2 && dataplane.usage()?.capacity == Some(456));
    }
    Ok(())
}

#[test]
fn unchanged_rules_are_not_installed_again() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut dataplane = bench.dataplane();
    dataplane.replace(&bench.ruleset(&[NTP]))?;
    dataplane.replace(&bench.ruleset(&[NTP]))?;
    dataplane.update(&bench.plan(&[NTP], &[]))?;
    ensure!(bench.switch.runs().len() == 1, "{:?}", bench.switch.runs());
    // What is installed is not known to who has just started, whatever stands in the file: a kill
    // may have come in between.
    bench.site.switch.exec("iptables-legacy", &["-t", "mangle", "-F"])?;
    let mut second = bench.dataplane();
    second.replace(&bench.ruleset(&[NTP]))?;
    ensure!(bench.switch.runs().len() == 2 && bench.kernel()?.contains("192.0.2.1"), "{}", bench.kernel()?);
    Ok(())
}

#[test]
fn the_old_scripts_files_are_taken_over() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("4.4")?;
    let mut wire = bench.site.wire()?;
    let old = bench.switch.policy_directory().join("60flowspec1.rules");
    fs::write(&old, "[iptables]\n-A FORWARD --in-interface swp+ -p udp --dport 53 -j DROP\n")?;
    let foreign = bench.switch.policy_directory().join("70mine.rules");
    fs::write(&foreign, "[iptables]\n-A FORWARD --in-interface swp+ -p udp --dport 7 -j DROP\n")?;
    bench.site.switch.exec(bench.switch.tool(), &["-i"])?;
    let queries = [udp(9, lab::site::VICTIM, 53, 10), udp(9, lab::site::VICTIM, 7, 10)];
    ensure!(wire.arrivals(&queries)? == [false, false], "both drop");
    bench.dataplane().replace(&bench.ruleset(&[NTP]))?;
    ensure!(wire.arrivals(&queries)? == [true, false], "the old one is gone, the foreign one is not");
    ensure!(!old.exists() && foreign.exists());
    bench.dataplane().clear()?;
    ensure!(foreign.exists() && bench.policy().is_none() && wire.passes(&udp(123, lab::site::VICTIM, 1, 10))?);
    Ok(())
}

#[test]
fn a_refused_rule_is_shown_with_the_switchs_words_and_the_rest_is_in_force() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // A switch of an older release than it is said to be: it does not match fragments.
    let bench = Bench::new("5.14")?;
    bench.switch.set("release", "5.9")?;
    let mut dataplane = bench.dataplane();
    let fragments = "dst 192.0.2.9/32 fragment is-fragment then accept";
    let behind = "dst 192.0.2.8/29 then discard";
    let applied = dataplane.replace(&bench.ruleset(&[NTP, fragments, behind]))?;
    let refused = failure(&applied, &bench.rule(fragments));
    ensure!(
        matches!(&refused, Some(RuleFailure::Failed(words)) if words.contains("option -f not supported")),
        "{refused:?}"
    );
    let unsafe_without = failure(&applied, &bench.rule(behind));
    ensure!(
        matches!(&unsafe_without, Some(RuleFailure::Failed(words)) if words.contains("exempts")),
        "it would drop what the other exempts: {unsafe_without:?}"
    );
    ensure!(applied.failures.len() == 2 && bench.kernel()?.contains("--sport 123"), "{applied:?}");
    // It is remembered for a while: the next change takes one run, also when the rules are asked
    // for again.
    let runs = bench.switch.runs().len();
    let applied = dataplane.update(&bench.plan(&["dst 192.0.2.77/32 then discard"], &[]))?;
    ensure!(applied.failures.is_empty() && bench.switch.runs().len() == runs + 1, "{:?}", bench.switch.runs());
    let again = ["dst 192.0.2.78/32 then discard", fragments, behind];
    let applied = dataplane.update(&bench.plan(&again, &[]))?;
    ensure!(applied.failures.len() == 2 && bench.switch.runs().len() == runs + 2, "{:?}", bench.switch.runs());
    Ok(())
}

#[test]
fn a_broken_file_of_someone_else_changes_nothing_of_ours() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut dataplane = bench.dataplane();
    dataplane.replace(&bench.ruleset(&[NTP]))?;
    let before = bench.policy();
    let theirs = bench.switch.policy_directory().join("10theirs.rules");
    fs::write(&theirs, "[iptables]\n-A INPUT -i s+ -j DROP\n")?;
    let error = dataplane.update(&bench.plan(&["dst 192.0.2.7/32 then discard"], &[]));
    ensure!(
        matches!(&error, Err(DataplaneError::Refused(words)) if words.contains("interface s+ not supported") && words.contains("10theirs.rules")),
        "{error:?}"
    );
    ensure!(bench.policy() == before && bench.kernel()?.contains("--sport 123"), "the last good rules stay");
    fs::remove_file(theirs)?;
    all_in_force(&dataplane.update(&bench.plan(&["dst 192.0.2.7/32 then discard"], &[]))?)?;
    ensure!(bench.kernel()?.contains("192.0.2.7"));
    Ok(())
}

#[test]
fn a_tool_that_fails_or_hangs_leaves_the_last_good_rules() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let mut bench = Bench::new("5.0")?;
    bench.settings.timeout = Duration::from_secs(6);
    let mut dataplane = bench.dataplane();
    dataplane.replace(&bench.ruleset(&[NTP]))?;
    let before = bench.policy();
    let change = bench.plan(&["dst 192.0.2.7/32 then discard"], &[]);
    bench.switch.set("switchd", "stopped")?;
    let error = dataplane.update(&change);
    ensure!(matches!(&error, Err(DataplaneError::Refused(words)) if words.contains("/cumulus/switchd")), "{error:?}");
    ensure!(bench.policy() == before && bench.kernel()?.contains("--sport 123"));
    bench.switch.set("switchd", "")?;
    bench.switch.set("hang", "yes")?;
    let began = Instant::now();
    let error = dataplane.update(&change);
    ensure!(matches!(&error, Err(DataplaneError::Refused(words)) if words.contains("did not end")), "{error:?}");
    // The tool would hang for ever.
    ensure!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    ensure!(bench.policy() == before && bench.kernel()?.contains("--sport 123"));
    ensure!(matches!(dataplane.health()?, Health::ExternalChange(_)), "what is in force is not known");
    ensure!(bench.site.switch.processes().is_empty(), "nothing of the hanging run is left");
    bench.switch.set("hang", "")?;
    all_in_force(&dataplane.update(&change)?)?;
    ensure!(bench.kernel()?.contains("192.0.2.7") && dataplane.health()? == Health::Intact);
    Ok(())
}

#[test]
fn a_full_table_takes_what_fits_in_order() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // The budget is known: one run, and the rest stays out.
    let mut bench = Bench::new("5.0")?;
    bench.settings.capacity = (Some(144), None);
    let texts: Vec<String> = (0..150).map(|n| format!("dst 192.0.2.{n}/32 proto udp then discard")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut dataplane = bench.dataplane();
    let applied = dataplane.replace(&bench.ruleset(&texts))?;
    ensure!(applied.failures.len() == 50 && bench.switch.runs().len() == 1, "{}", applied.failures.len());
    let last = failure(&applied, &bench.rule(texts[149]));
    ensure!(matches!(&last, Some(RuleFailure::OverCapacity(words)) if words.contains("0 of 100 are left")), "{last:?}");
    // A withdrawal makes room for the next, when they are asked for again: they may have been
    // withdrawn meanwhile.
    let applied = dataplane.update(&bench.plan(&texts[100..130], &texts[..20]))?;
    ensure!(applied.failures.len() == 10, "{}", applied.failures.len());
    ensure!(bench.policy().is_some_and(|text| text.matches("-j DROP").count() == 100));
    Ok(())
}

#[test]
fn a_table_smaller_than_documented_is_detected() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    bench.switch.set("capacity4", "70")?;
    let texts: Vec<String> = (0..150).map(|n| format!("dst 192.0.2.{n}/32 proto udp then discard")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut dataplane = bench.dataplane();
    let applied = dataplane.replace(&bench.ruleset(&texts))?;
    let placed = 150 - applied.failures.len();
    ensure!((30..70).contains(&placed), "{placed} placed");
    let last = failure(&applied, &bench.rule(texts[149]));
    let told = matches!(&last, Some(RuleFailure::OverCapacity(words)) if words.contains("hw sync failed"));
    ensure!(told, "with the switch's words: {last:?}");
    ensure!(bench.policy().is_some_and(|text| text.matches("-j DROP").count() == placed));
    ensure!(dataplane.health()? == Health::Intact);
    // A withdrawal is installed like an announcement, also now.
    let applied = dataplane.update(&bench.plan(&[], &texts[..1]))?;
    ensure!(!bench.kernel()?.contains("192.0.2.0/32") && applied.failures.len() <= 150 - placed);
    Ok(())
}

#[test]
fn what_others_change_is_noticed() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    let mut dataplane = bench.dataplane();
    let rules = bench.ruleset(&[NTP]);
    dataplane.replace(&rules)?;
    ensure!(dataplane.health()? == Health::Intact);
    let path = bench.switch.policy_directory().join("60flowspec.rules");
    for damage in
        [|path: &std::path::Path| fs::remove_file(path), |path: &std::path::Path| fs::write(path, "[iptables]\n")]
    {
        damage(&path)?;
        ensure!(matches!(dataplane.health()?, Health::ExternalChange(_)));
        dataplane.replace(&rules)?;
        ensure!(dataplane.health()? == Health::Intact && bench.policy().is_some_and(|text| text.contains("123")));
    }
    Ok(())
}

#[test]
fn runs_never_overlap() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let bench = Bench::new("5.0")?;
    bench.switch.set("delay", "150")?;
    // Two programs at once, as after a restart while an old run is still at work.
    let texts = [NTP, "dst 192.0.2.7/32 then discard", "dst 192.0.2.8/32 then discard"];
    std::thread::scope(|scope| -> Result<()> {
        let replace = |text| bench.dataplane().replace(&bench.ruleset(&[text]));
        for thread in texts.map(|text| scope.spawn(move || replace(text))) {
            all_in_force(&thread.join().expect("no panic")?)?;
        }
        Ok(())
    })?;
    let mut runs = bench.switch.runs();
    runs.sort_by_key(|run| run.began);
    ensure!(runs.len() == 3, "{runs:?}");
    for pair in runs.windows(2) {
        ensure!(pair[0].ended.is_some_and(|ended| ended <= pair[1].began), "{pair:?}");
    }
    Ok(())
}

#[test]
fn only_a_rule_of_the_same_table_comes_first() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // The manual: tables mangle and filter are looked up in parallel. What stands in files up to 59
    // comes first in the same one only.
    for (release, theirs, saved) in [
        ("4.4", "-A FORWARD", true),
        ("5.14", "-A FORWARD", false),
        ("5.14", "-A INPUT", false),
        ("5.14", "-t mangle -A PREROUTING", true),
    ] {
        let bench = Bench::new(release)?;
        let mut wire = bench.site.wire()?;
        let file = bench.switch.policy_directory().join("10mine.rules");
        fs::write(file, format!("[iptables]\n{theirs} -i swp+ -d 192.0.2.1/32 -j ACCEPT\n"))?;
        all_in_force(&bench.dataplane().replace(&bench.ruleset(&[NTP]))?)?;
        let passes = wire.passes(&udp(123, lab::site::VICTIM, 50_000, 440))?;
        ensure!(passes == saved, "{release}, {theirs}: passes: {passes}");
        // Bridged packets are matched by these sections as well.
        ensure!(bench.policy().is_some_and(|text| !text.contains("[ebtables]")));
    }
    Ok(())
}

#[test]
fn six_is_refused_where_the_asic_has_no_room_for_it() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    let mut bench = Bench::new("5.0")?;
    bench.settings.asic = "spectrum1-ip-acl-heavy".parse()?;
    let refused = compile(&"dst 2001:db8::1/128 then discard".parse()?, &capabilities(&bench.settings));
    ensure!(matches!(refused, Verdict::Refused(_)), "{refused:?}");
    // Protection against IPv6 rules, of which there can be none, is not in the way.
    let mut rules = bench.ruleset(&[NTP]);
    rules.protected = Arc::new(vec![Space::all(IpVersion::V6)]);
    all_in_force(&bench.dataplane().replace(&rules)?)?;
    Ok(())
}
