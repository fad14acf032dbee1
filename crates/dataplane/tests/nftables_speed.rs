//! The speed of the nftables back end. Not run by default: `cargo test --release -p dataplane
//! --test nftables_speed -- --ignored --nocapture`.

use dataplane::Dataplane;
use dataplane::nftables::{Nftables, Options};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::Space;
use flowspec::{Comparison, ComponentType, Effect, Family, Nlri, NumericOp, Policing, Prefix};
use lab::{Netns, needs};
use std::sync::Arc;
use std::time::Instant;

/// A rule as detectors of attacks announce it, the `n`-th.
fn rule(n: u32) -> Arc<CompiledRule> {
    let equal = |value: u32| NumericOp::new(Comparison::Equal, value.into());
    let host = Prefix::V4(ipnet::Ipv4Net::new((0x0a00_0000 + n / 2 * 3).into(), 32).unwrap());
    let builder = Nlri::builder(Family::Ipv4)
        .prefix(ComponentType::Destination, host)
        .numeric(ComponentType::Protocol, &[equal(17)]);
    let port = [123, 53, 389, 1900, 11211][n as usize % 5];
    let builder = match n % 4 {
        0 => builder.numeric(ComponentType::DestinationPort, &[equal(port)]),
        1 => builder
            .numeric(ComponentType::SourcePort, &[equal(port)])
            .numeric(ComponentType::PacketLength, &[NumericOp::new(Comparison::GreaterOrEqual, 468)]),
        _ => builder.numeric(ComponentType::SourcePort, &[equal(port)]),
    };
    let nlri = builder.build().unwrap();
    let entries = vec![Space::of(&nlri)];
    let effect = Effect { policing: Policing::Discard, ..Effect::ACCEPT };
    Arc::new(CompiledRule { id: nlri.id(), nlri: Arc::new(nlri), effect, entries })
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time of this process, in ms: what counts on a machine that others use, too.
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

#[test]
#[ignore = "a measurement"]
fn loads_and_changes() -> anyhow::Result<()> {
    needs!(root, "ip");
    for count in [1_000u32, 10_000, 100_000] {
        let netns = Netns::new("nft-speed")?;
        let mut rules: Vec<_> = (0..count).map(rule).collect();
        rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        let ruleset = Ruleset { protected: Arc::default(), rules };
        let mut nft = netns.run(|| Nftables::open(Options::default()))?;
        let (start, before) = (Instant::now(), processor_ms());
        assert_eq!(nft.replace(&ruleset)?.failures, Vec::new());
        let (load, processor) = (start.elapsed(), processor_ms() - before);
        let mut times = Vec::new();
        for n in 0..200 {
            let rule = rule(count + 1000 + n);
            let plan = Plan { upsert: vec![rule], ..Plan::default() };
            let start = Instant::now();
            nft.update(&plan)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let start = Instant::now();
        let counters = nft.counters()?;
        let read = start.elapsed();
        assert_eq!(counters.len(), count as usize + 200);
        let start = Instant::now();
        nft.replace(&ruleset)?;
        let again = start.elapsed();
        let start = Instant::now();
        nft.clear()?;
        println!(
            "{count}: load {load:?} ({processor} ms of processor), one more median {:?} p99 {:?}, counters {read:?}, again {again:?}, clear {:?}, resident {} KiB",
            times[100],
            times[197],
            start.elapsed(),
            resident_kib(),
        );
    }
    Ok(())
}

/// What each rule costs a packet that every packet is compared with, against a table without such
/// rules in the same run.
#[test]
#[ignore = "a measurement"]
fn a_rule_that_every_packet_meets() -> anyhow::Result<()> {
    needs!(root, "ip");
    const PACKETS: u32 = 20_000;
    let (attacker, victim) = (Netns::new("nft-la")?, Netns::new("nft-lv")?);
    lab::veth(lab::End::new(&attacker, "a0", &["10.0.0.1/24"]), lab::End::new(&victim, "v0", &["10.0.0.2/24"]))?;
    let sender = lab::PacketSocket::open(&attacker, "a0")?;
    // To an address that is not there and without forwarding: the packet ends right behind the
    // hook.
    let octets = lab::packet::udp("10.0.0.1:1".parse()?, "10.9.9.9:9".parse()?, b"hello");
    let frame = lab::packet::ethernet(attacker.mac("a0")?, victim.mac("v0")?, &octets);
    let range = |n: u32| {
        let ops = [
            NumericOp::new(Comparison::GreaterOrEqual, (2 * n + 10).into()),
            NumericOp { and: true, ..NumericOp::new(Comparison::LessOrEqual, (2 * n + 11).into()) },
        ];
        let builder =
            Nlri::builder(Family::Ipv4).numeric(ComponentType::Protocol, &[NumericOp::new(Comparison::Equal, 17)]);
        let nlri = builder.numeric(ComponentType::SourcePort, &ops).build().unwrap();
        let entries = vec![Space::of(&nlri)];
        let effect = Effect { policing: Policing::Discard, ..Effect::ACCEPT };
        Arc::new(CompiledRule { id: nlri.id(), nlri: Arc::new(nlri), effect, entries })
    };
    let options = Options { max_chain_rules: usize::MAX, ..Options::default() };
    let mut nft = victim.run(|| Nftables::open(options))?;
    let mut best = [f64::MAX; 4];
    let counts = [1, 100, 1_000, 10_000];
    let mut loads = [0.0f64; 4];
    for _ in 0..5 {
        for (at, count) in counts.into_iter().enumerate() {
            let mut rules: Vec<_> = (0..count).map(range).collect();
            rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
            let start = Instant::now();
            assert_eq!(nft.replace(&Ruleset { protected: Arc::default(), rules })?.failures, Vec::new());
            loads[at] = start.elapsed().as_secs_f64() * 1e3;
            let packets = if count > 1_000 { PACKETS / 10 } else { PACKETS };
            let start = Instant::now();
            for _ in 0..packets {
                sender.send(&frame)?;
            }
            best[at] = best[at].min(start.elapsed().as_nanos() as f64 / f64::from(packets));
        }
    }
    for (at, count) in counts.into_iter().enumerate() {
        let each = (best[at] - best[0]) / f64::from(count.max(2) - 1);
        println!(
            "{count:>6} rules: {:>7.0} ns a packet, {:>5.1} times one rule, {each:>5.1} ns each; load {:.0} ms",
            best[at],
            best[at] / best[0],
            loads[at]
        );
    }
    Ok(())
}
