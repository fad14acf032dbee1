//! Time and memory for 100,000 rules: `cargo bench -p engine`.
//!
//! Rules against an attack: hosts, protocol, ports; 1% without a destination. The rules are made
//! beforehand, as the session would pass them.

#[path = "../tests/counting/mod.rs"]
mod counting;

use counting::in_use;
use engine::capability::Capabilities;
use engine::plan::Applied;
use engine::protection::Protection;
use engine::{Engine, EngineConfig, PeerConfig, PeerId, Route, Timestamp, Transaction};
use flowspec::Nlri;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PEER: PeerId = PeerId(1);
const NOW: Timestamp = Timestamp(0);

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("{:<44} {:>12} {:>12}", "", "10,000", "100,000");
    let ([small, large], [small_memory, large_memory]) =
        ([10_000, 100_000].map(fastest), [10_000, 100_000].map(memory));
    for ((name, small), (_, large)) in small.into_iter().zip(large) {
        println!("{name:<44} {:>12} {:>12}", show(small), show(large));
        record(name, "ms", small.as_secs_f64() * 1e3, large.as_secs_f64() * 1e3);
    }
    for ((name, small), (_, large)) in small_memory.into_iter().zip(large_memory) {
        println!("{name:<44} {:>12.1} {:>12.1}", small as f64 / 1e6, large as f64 / 1e6);
        record(name, "mb", small as f64 / 1e6, large as f64 / 1e6);
    }
}

/// Appends both figures to the file of `FLOODGATE_BENCH_RECORD` where that is set, for `make
/// bench`.
fn record(name: &str, unit: &str, small: f64, large: f64) {
    let Some(path) = std::env::var_os("FLOODGATE_BENCH_RECORD") else { return };
    let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) else { return };
    for (rules, value) in [(10_000, small), (100_000, large)] {
        let _ =
            writeln!(file, "{{\"bench\":\"engine\",\"what\":{name:?},\"rules\":{rules},\"value_{unit}\":{value:.4}}}");
    }
}

/// Time of this thread on a processor, where the kernel tells: others use this machine, too. To a
/// few milliseconds.
struct Stopwatch {
    processor: Option<Duration>,
    wall: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { processor: processor_time(), wall: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        let wall = self.wall.elapsed();
        match (processor_time(), self.processor) {
            // Short times are not counted well.
            (Some(now), Some(start)) if wall > Duration::from_millis(20) => now.saturating_sub(start),
            _ => wall,
        }
    }
}

fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Each figure as the fastest of several runs: others use this machine, too.
fn fastest(count: u32) -> Vec<(&'static str, Duration)> {
    let mut best = measure(count);
    for _ in 0..6 {
        for (best, again) in best.iter_mut().zip(measure(count)) {
            best.1 = best.1.min(again.1);
        }
    }
    best
}

fn measure(count: u32) -> Vec<(&'static str, Duration)> {
    let rules = rules(count);
    // By turns, so that both meet the same neighbours on this machine.
    let mut limited = empty_with(policy_of_20_statements());
    let again = rules.clone();
    let start = Stopwatch::start();
    announce(&mut limited, again);
    let change = limited.next_transaction();
    let by_policy = start.elapsed();
    drop((change, limited));
    let mut engine = empty();
    let start = Stopwatch::start();
    announce(&mut engine, rules);
    let announced = start.elapsed();
    let start = Stopwatch::start();
    let change = engine.next_transaction();
    let planned = start.elapsed();
    assert!(matches!(change, Some(Transaction::Plan(plan)) if plan.upsert.len() == count as usize));
    engine.applied(&Applied::default());
    let mut times = singles(&mut engine, count);
    times.sort_unstable();
    let start = Stopwatch::start();
    let states = engine.rules_by_state();
    let counted = start.elapsed();
    assert_eq!(states[0].1, u64::from(count));
    let start = Stopwatch::start();
    engine.reload();
    let full = engine.next_transaction();
    let loaded = start.elapsed();
    engine.applied(&Applied::default());
    drop(full);
    let start = Stopwatch::start();
    engine.peer_down(PEER, &[], NOW);
    engine.next_transaction();
    let gone = start.elapsed();
    vec![
        ("announce all", announced),
        ("decide, compile and plan all", planned),
        ("both", announced + planned),
        ("both, a policy of 20 statements", by_policy),
        ("one rule more: announce and plan, median", times[times.len() / 2]),
        ("one rule more: 99th percentile", times[times.len() * 99 / 100]),
        ("count rules by state", counted),
        ("full load", loaded),
        ("session lost: decide and plan", gone),
    ]
}

fn memory(count: u32) -> [(&'static str, usize); 2] {
    let before = in_use();
    let mut engine = empty();
    announce(&mut engine, rules(count));
    let plan = engine.next_transaction();
    engine.applied(&Applied::default());
    let with_plan = in_use() - before;
    drop(plan);
    let alone = in_use() - before;
    [("memory, MB", alone), ("memory with the plan in hand, MB", with_plan)]
}

/// With the first full load behind it.
fn empty() -> Engine {
    empty_with(policy())
}

fn empty_with(policy: engine::import_policy::ImportPolicy) -> Engine {
    let mut engine = engine(policy);
    engine.next_transaction();
    engine.applied(&Applied::default());
    engine
}

fn announce(engine: &mut Engine, rules: Vec<(Nlri, Arc<Route>)>) {
    for (nlri, route) in rules {
        engine.announce(PEER, nlri, None, route, NOW, None);
    }
}

/// Announces and withdraws single rules.
fn singles(engine: &mut Engine, count: u32) -> Vec<Duration> {
    let mut times = Vec::new();
    for (nlri, route) in rules(count + 1000).into_iter().skip(count as usize) {
        let nlri = Arc::new(nlri);
        let start = Instant::now();
        engine.announce(PEER, nlri.clone(), None, route, NOW, None);
        let change = engine.next_transaction();
        times.push(start.elapsed());
        assert!(matches!(change, Some(Transaction::Plan(plan)) if plan.upsert.len() == 1));
        engine.applied(&Applied::default());
        engine.withdraw(PEER, nlri, None);
        engine.next_transaction();
        engine.applied(&Applied::default());
    }
    times
}

fn show(time: Duration) -> String {
    format!("{time:.1?}")
}

fn engine(policy: engine::import_policy::ImportPolicy) -> Engine {
    let mut protection = Protection::default();
    protection.session([192, 0, 2, 1].into(), None, 179);
    protection.destination("198.51.100.0/24".parse().expect("it is a prefix"));
    let peer = PeerConfig { address: Some([192, 0, 2, 1].into()), external: true, policy: Some(policy) };
    Engine::new(EngineConfig {
        capabilities: Capabilities::everything("none"),
        protection,
        peers: [(PEER, peer)].into_iter().collect(),
        monitor: false,
    })
}

fn policy() -> engine::import_policy::ImportPolicy {
    engine::import_policy::ImportPolicy { without_destination: true, ..Default::default() }
}

/// Statements as an operator has them, of which none but the last decides.
fn policy_of_20_statements() -> engine::import_policy::ImportPolicy {
    use engine::import_policy::{Condition, RouteCommunity, Statement, StatementName, Then};
    let within = |n: u32| {
        let net: ipnet::IpNet = format!("198.51.{n}.0/24").parse().expect("it is a prefix");
        Condition::DestinationWithin([net].into_iter().collect())
    };
    let conditions = |n: u32| match n % 5 {
        0 => vec![within(n)],
        1 => vec![Condition::Communities(vec![RouteCommunity::Standard(0xfe2e_0000 + n)]), within(n)],
        2 => vec![Condition::DestinationLength((8..=23).into())],
        3 => vec![Condition::AsPathOrigin(vec![65000 + n, 65100 + n])],
        _ if n == 19 => vec![],
        _ => vec![Condition::Components([flowspec::ComponentType::Fragment].into_iter().collect()), within(n)],
    };
    let statement = |n: u32| Statement {
        name: StatementName { policy: "bench".into(), number: n + 1 },
        conditions: conditions(n),
        set_actions: None,
        discard_becomes: None,
        rate_at_most: None,
        lifetime: None,
        then: if n == 19 { Then::Accept } else { Then::Reject(None) },
    };
    engine::import_policy::ImportPolicy { statements: (0..20).map(statement).collect(), ..policy() }
}

/// Different rules in no order; one in eight limits, each at its own rate.
fn rules(count: u32) -> Vec<(Nlri, Arc<Route>)> {
    (0..count)
        .map(|n| {
            let [_, a, b, c] = n.wrapping_mul(0x9e37_79b1).to_be_bytes();
            let (low, high) = (n % 60_000, 1024 + n % 50_000);
            let text = match n % 100 {
                0 => format!("proto udp sport {low} dport {high} length >=512 then discard"),
                1..20 => format!("dst 10.{a}.{b}.{c}/32 proto tcp dport {high} tcp-flags syn&!ack then discard"),
                20..33 => format!("dst 10.{a}.{b}.{c}/32 proto udp sport {low} then rate {n}bps", n = n + 8),
                _ => format!("dst 10.{a}.{b}.{c}/32 proto udp sport {low} then discard"),
            };
            let rule: flowspec::Rule = text.parse().expect("it is a rule");
            (rule.nlri, Arc::new(Route { actions: rule.actions, ..Route::default() }))
        })
        .collect()
}
