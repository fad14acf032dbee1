//! The measurements.

use crate::mix::{Mix, TRAFFIC, Traffic, frames, rules, ruleset};
use crate::plot::{Cost, Point, draw};
use anyhow::{Context, Result};
use dataplane::xdp::testing::Harness;
use std::io::Write;
use std::time::{Duration, Instant};

pub(crate) const FRAMES: u32 = 65_536;
const REPEAT: u32 = 400_000;
const ROUNDS: usize = 7;
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const MIXES: [(Mix, &str); 3] = [(Mix::V4, "IPv4"), (Mix::V6, "IPv6"), (Mix::Hostile, "hostile")];

/// `compare` measures other means beside it: which of them, and whether as JSON.
pub(crate) fn run(compare: fn(&str, bool) -> Result<()>) -> Result<()> {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: needs root");
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let svg = arguments.iter().position(|argument| argument == "--svg").and_then(|at| arguments.get(at + 1));
    let quick = arguments.iter().any(|argument| argument == "--quick");
    if let Some(part) = arguments.iter().find_map(|argument| argument.strip_prefix("--compare")) {
        return compare(part.trim_start_matches('='), json);
    }
    let mut points = Vec::new();
    if !json {
        println!(
            "XDP, nanoseconds a packet in the kernel's test run (times the floor: the same program, no rules, by turns)"
        );
        println!(
            "{:<8} {:>7} {:>8} {:>16} {:>16} {:>16} {:>16}",
            "rules", "", "floor", "clean", "hot", "victim", "match"
        );
    }
    for (mix, name) in MIXES {
        for size in SIZES {
            if quick && ![1_000, 100_000].contains(&size) {
                continue;
            }
            let point = packets(mix, name, size)?;
            print_point(&point, json);
            points.push(point);
        }
    }
    for (mix, name) in MIXES {
        changes(mix, name, json)?;
    }
    if let Some(path) = svg {
        std::fs::write(path, draw(&points)).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// The cost of packets with so many rules. Rounds with and without rules take turns, and the ratio
/// is the median of the pairs: a virtual machine has faster and slower moments, which would
/// otherwise fall on one of both.
fn packets(mix: Mix, name: &'static str, size: usize) -> Result<Point> {
    let lines = rules(mix, size);
    let capacity = size as u32 + size as u32 / 4;
    let (mut idle, mut harness) = (Harness::new(capacity, FRAMES)?, Harness::new(capacity, FRAMES)?);
    harness.replace(&ruleset(&lines))?;
    anyhow::ensure!(harness.failures().is_empty(), "{size} {name}: {:?}", harness.failures().first());
    let (mut floor, mut costs) = (Duration::MAX, Vec::new());
    for (traffic, _) in TRAFFIC {
        if mix == Mix::Hostile && traffic == Traffic::Victim {
            continue;
        }
        let frames = frames(mix, traffic, &lines, FRAMES as usize);
        let (mut time, mut ratios) = (Duration::MAX, Vec::new());
        for _ in 0..ROUNDS {
            let without = idle.measure(&frames, REPEAT)?;
            let with = harness.measure(&frames, REPEAT)?;
            (floor, time) = (floor.min(without), time.min(with));
            ratios.push(with.as_secs_f64() / without.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        costs.push(Cost { traffic, time, ratio: ratios[ROUNDS / 2] });
    }
    Ok(Point { mix: name, size, floor, costs })
}

/// Appends an object to the file of `FLOODGATE_BENCH_RECORD` where that is set, for `make bench`;
/// with `json` prints it, and says so.
pub(crate) fn record(object: &str, json: bool) -> bool {
    let file = std::env::var_os("FLOODGATE_BENCH_RECORD");
    let file = file.and_then(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok());
    if file.is_some_and(|mut file| writeln!(file, "{object}").is_err()) {
        eprintln!("the figures cannot be recorded");
    }
    if json {
        println!("{object}");
    }
    json
}

fn print_point(point: &Point, json: bool) {
    let Point { mix, size, floor, costs } = point;
    let figures: Vec<String> = costs
        .iter()
        .map(|Cost { traffic, time, ratio }| {
            let name = crate::plot::name(*traffic);
            format!("\"{name}\":{},\"{name}_x\":{ratio:.2}", time.as_nanos())
        })
        .collect();
    let object = format!(
        "{{\"bench\":\"xdp\",\"mix\":\"{mix}\",\"rules\":{size},\"floor\":{},{}}}",
        floor.as_nanos(),
        figures.join(",")
    );
    if record(&object, json) {
        return;
    }
    let mut line = format!("{mix:<8} {size:>7} {:>8}", floor.as_nanos());
    for (traffic, _) in TRAFFIC {
        let found = costs.iter().find(|cost| cost.traffic == traffic);
        line += &found.map_or_else(
            || format!(" {:>16}", "-"),
            |Cost { time, ratio, .. }| format!(" {:>8} ({ratio:>4.1} x)", time.as_nanos()),
        );
    }
    println!("{line}");
}

/// Loading 100,000 rules, and one rule more.
fn changes(mix: Mix, name: &str, json: bool) -> Result<()> {
    const SIZE: usize = 100_000;
    const CHANGES: usize = 400;
    let all = rules(mix, SIZE + CHANGES);
    let mut harness = Harness::new(131_072, 1)?;
    // Spread over the order, as rules come.
    let (more, base): (Vec<_>, Vec<_>) = (0..all.len()).partition(|n| n % (all.len() / CHANGES) == 7);
    let base: Vec<_> = base.into_iter().map(|n| all[n].clone()).collect();
    let set = ruleset(&base);
    let began = Instant::now();
    harness.replace(&set)?;
    let load = began.elapsed();
    anyhow::ensure!(harness.failures().is_empty(), "{:?}", harness.failures().first());
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for n in more {
        let rule = &all[n].compiled;
        let began = Instant::now();
        harness.update(std::slice::from_ref(rule), &[], None)?;
        add.push(began.elapsed());
        let began = Instant::now();
        harness.update(&[], std::slice::from_ref(&rule.nlri), None)?;
        remove.push(began.elapsed());
    }
    let began = Instant::now();
    let counters = harness.counters().len();
    let read = began.elapsed();
    let middle = |times: &mut Vec<Duration>| {
        times.sort();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let ((add, add99), (remove, _)) = (middle(&mut add), middle(&mut remove));
    let usage = harness.usage();
    let memory = usage.memory.unwrap_or(0) >> 20;
    let object = format!(
        "{{\"bench\":\"xdp changes\",\"mix\":\"{name}\",\"load_ms\":{:.1},\"add_us\":{:.1},\"add_99_us\":{:.1},\"remove_us\":{:.1},\"counters_ms\":{:.2},\"memory_mib\":{memory}}}",
        load.as_secs_f64() * 1e3,
        add.as_secs_f64() * 1e6,
        add99.as_secs_f64() * 1e6,
        remove.as_secs_f64() * 1e6,
        read.as_secs_f64() * 1e3
    );
    if !record(&object, json) {
        println!(
            "{name}: {SIZE} rules loaded in {load:.0?}; one more {add:.1?} (99%: {add99:.1?}), one less {remove:.1?}; {counters} counters read in {read:.1?}; {memory} MiB"
        );
    }
    Ok(())
}
