//! The speed of tc flower, in the kernel's own classifier, beside `tc -batch` with the same
//! filters. Not run by default: `cargo test --release -p dataplane --test flower_speed -- --ignored
//! --nocapture`, where the kernel has cls_flower.

use anyhow::{Context, Result, ensure};
use dataplane::flower::{Flower, Settings, capabilities};
use dataplane::{Dataplane, DataplaneError};
use engine::compile::{Verdict, compile_list};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Rule;
use lab::{Netns, needs};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RULES: u32 = 10_000;
const LOADS: usize = 5;
const SINGLE: u32 = 100;

fn host(n: u32) -> String {
    format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)
}

fn compiled(rules: impl Iterator<Item = u32>) -> Result<Vec<Arc<CompiledRule>>> {
    let rules: Vec<Rule> = rules
        .map(|n| Ok(format!("dst {}/32 proto udp sport {} then discard", host(n), 100 + n % 7).parse()?))
        .collect::<Result<_>>()?;
    let verdicts = compile_list(&rules, &capabilities(&Settings::default())).into_iter();
    verdicts
        .map(|verdict| match verdict {
            Verdict::Exact(rule) => Ok(Arc::new(rule)),
            Verdict::Refused(refusal) => anyhow::bail!("{refusal}"),
        })
        .collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The same filters as tc writes them, in a chain of another block.
fn batch() -> String {
    let mut text = String::new();
    for n in 0..RULES {
        let _ = writeln!(
            text,
            "filter add block 3971 chain 5 prio 1 handle {:#x} protocol ip flower skip_hw ip_proto udp dst_ip {} src_port {} action drop",
            n + 1,
            host(n),
            100 + n % 7
        );
    }
    text
}

#[test]
#[ignore = "figures, for a release build on a machine at rest"]
fn rules_and_single_changes_take_as_long_as_with_tc() -> Result<()> {
    needs!(root, "ip", "tc");
    let begun = Instant::now();
    let many = compiled(0..12_500)?;
    println!("12,500 rules: parsed and compiled in {:?}, {} rules", begun.elapsed(), many.len());

    let netns = Netns::new("speed")?;
    for name in ["in", "other"] {
        netns.ip(&["link", "add", name, "type", "veth", "peer", "name", &format!("{name}-peer")])?;
        netns.ip(&["link", "set", name, "up"])?;
    }
    let settings = Settings { interfaces: vec!["in".to_owned()], ..Settings::default() };
    let mut plane = netns.run(|| Flower::open(settings))?;
    let mut rules = compiled(0..RULES)?;
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    let all = Ruleset { protected: Arc::default(), rules };
    if let Err(DataplaneError::Unavailable(why)) = plane.replace(&all) {
        lab::skip_for_kernel(&why);
        return Ok(());
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), batch())?;
    let path = file.path().to_str().context("a path")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        plane.clear()?;
        let begun = Instant::now();
        let applied = plane.replace(&all)?;
        ours.push(begun.elapsed());
        ensure!(applied.failures.is_empty(), "{:?}", applied.failures);

        netns.exec("tc", &["qdisc", "add", "dev", "other", "ingress_block", "3971", "clsact"])?;
        let begun = Instant::now();
        netns.exec("tc", &["-batch", path])?;
        theirs.push(begun.elapsed());
        netns.exec("tc", &["qdisc", "del", "dev", "other", "clsact"])?;
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{RULES} rules: {ours:?} with reading back; tc -batch {theirs:?}; ratio {ratio:.2}");
    let mut single = Vec::new();
    for n in 0..SINGLE {
        let plan = Plan { upsert: compiled(std::iter::once(RULES + n))?, ..Plan::default() };
        let begun = Instant::now();
        plane.update(&plan)?;
        single.push(begun.elapsed());
    }
    println!("one rule more: median {:?}", median(single));
    Ok(())
}
