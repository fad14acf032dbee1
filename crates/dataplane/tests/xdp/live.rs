//! Rules from text, settings for a namespace, and continuous traffic.

use anyhow::{Result, anyhow};
use dataplane::xdp::Options;
use engine::plan::{CompiledRule, Ruleset};
use flowspec::Rule;
use flowspec::space::Space;
use lab::{Netns, PacketSocket, Site, packet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A rule as the engine hands it over.
pub(crate) fn rule(text: &str) -> Arc<CompiledRule> {
    let rule: Rule = text.parse().unwrap();
    Arc::new(CompiledRule {
        entries: vec![Space::of(&rule.nlri)],
        id: rule.nlri.id(),
        effect: rule.effect(),
        nlri: Arc::new(rule.nlri),
    })
}

pub(crate) fn ruleset(rules: &[Arc<CompiledRule>]) -> Ruleset {
    let mut rules = rules.to_vec();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

/// Small tables, pinned where the namespace's own programs would pin them.
pub(crate) fn options(netns: &Netns, interfaces: &[&str]) -> Options {
    Options {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        capacity: 1024,
        directory: netns.bpf_directory().join("floodgate"),
        ..Options::default()
    }
}

#[allow(dead_code, reason = "not all test programs flood")]
/// The same packet again and again, from the attacker's side, until it is stopped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
    gaps: Arc<Mutex<Vec<Range<Instant>>>>,
}

/// What a policer saves up while no packets come.
const BURST: Duration = Duration::from_millis(10);

#[allow(dead_code, reason = "not all test programs flood")]
impl Flood {
    pub(crate) fn start(site: &Site, ip: Vec<u8>) -> Result<Self> {
        let frame = packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &ip);
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let gaps = Arc::new(Mutex::new(Vec::new()));
        let noted = gaps.clone();
        let thread = std::thread::spawn(move || {
            let (mut sent, mut latest) = (0, Instant::now());
            while !seen.load(Ordering::Relaxed) {
                socket.send(&frame)?;
                sent += 1;
                let now = Instant::now();
                if now - latest > BURST {
                    noted.lock().map_err(|_| anyhow!("a panic"))?.push(latest + BURST..now);
                }
                latest = now;
                // Not all of a processor: what is tested needs some of it.
                if sent % 8 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            Ok(sent)
        });
        Ok(Flood { stop, thread, gaps })
    }

    /// For how much of this time a policer, after its burst, waited in vain for packets: other
    /// programs kept the processor from us.
    pub(crate) fn silence(&self, time: &Range<Instant>) -> Duration {
        let gaps = self.gaps.lock().expect("no panic");
        gaps.iter().map(|gap| gap.end.min(time.end).saturating_duration_since(gap.start.max(time.start))).sum()
    }

    /// How many packets were sent.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}
