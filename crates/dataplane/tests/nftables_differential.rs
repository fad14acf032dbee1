//! The oracle against the kernel: random rules, random packets, and for each packet the verdict of
//! `flowspec` and that of the kernel, through a real interface and a real table, loaded at once and
//! changed step by step.
//!
//! `FLOODGATE_SOAK_VERDICTS=1000000` asks for more verdicts than the default, `FLOODGATE_SEED=7`
//! sets the seed.

use anyhow::{Context, ensure};
use dataplane::nftables::{Nftables, Options, capabilities};
use dataplane::{Dataplane, Health};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::{Fields, Space};
use flowspec::testing::{PacketShape, Seed, Shape, random_packet_for, random_rules};
use flowspec::{Action, ComponentType, Decision, IpVersion, Nlri, Packet, Policing, Rule, Scope, decide};
use lab::{End, Netns, Observer, PacketOutcome, needs, veth};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const VERDICTS: usize = 24_000;
const PACKETS_A_ROUND: usize = 60;

struct Bench {
    _attacker: Netns,
    filter: Netns,
    observer: Observer,
    nft: Nftables,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let (attacker, filter) = (Netns::new("nft-da")?, Netns::new("nft-df")?);
        // Its own router solicitations and group reports would be counted as ours.
        attacker.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        // No subnet, so no broadcast address: an ICMP error to a source that is one would come back
        // in as one more packet.
        veth(End::new(&attacker, "a0", &[]), End::new(&filter, "f0", &["10.255.255.1/32", "2001:db8:ffff::1/128"]))?;
        let bench = Bench {
            observer: Observer::new((&attacker, "a0"), &filter, "f0", ("prerouting", -460, -440), PACKETS_A_ROUND + 1)?,
            nft: filter.run(|| Nftables::open(Options::default()))?,
            _attacker: attacker,
            filter,
        };
        Ok(bench)
    }
}

fn compiled(rules: &[Rule]) -> Vec<Arc<CompiledRule>> {
    let capabilities = capabilities();
    let exact = |rule: &Rule| match compile(rule, &capabilities) {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{rule} was refused: {refusal:?}"),
    };
    rules.iter().map(exact).collect()
}

/// Whether the back end can have this rule: random rules ask for more than it can do, and those it
/// says so of are left out.
fn possible(rule: &Rule) -> bool {
    let effect = rule.effect();
    let marks_on = effect.continues && effect.mark.is_some() && effect.policing != Policing::Discard;
    !marks_on && matches!(compile(rule, &capabilities()), Verdict::Exact(_))
}

/// Whether nf_tables does not see what is in the packet: an authentication header is to it the
/// upper-layer protocol.
fn is_opaque(packet: &[u8]) -> bool {
    let (mut next, mut at) = match packet[0] >> 4 {
        6 => (packet[6], 40),
        _ => return false,
    };
    while let (0 | 43 | 44 | 60, Some(&[following, units, o0, o1])) = (next, packet.get(at..at + 4)) {
        if next == 44 && u16::from_be_bytes([o0, o1]) >> 3 != 0 {
            return false;
        }
        at += if next == 44 { 8 } else { (usize::from(units) + 1) * 8 };
        next = following;
    }
    next == 51
}

/// The rules that an opaque packet can match, and its decision among all.
fn decision(rules: &[Rule], octets: &[u8], packet: &Packet) -> Decision {
    if !is_opaque(octets) {
        return decide(rules, packet, Scope::Global);
    }
    let asks = Fields::L4.and(ComponentType::Protocol);
    let seen: Vec<usize> = (0..rules.len()).filter(|&at| !Space::of(&rules[at].nlri).fields().has_any(asks)).collect();
    let mut decision = decide(seen.iter().map(|&at| &rules[at]), packet, Scope::Global);
    decision.ended_by = decision.ended_by.map(|at| seen[at]);
    decision.continued.iter_mut().for_each(|at| *at = seen[*at]);
    decision
}

fn expected(decision: &Decision, packet: &Packet) -> PacketOutcome {
    match decision.effect.policing {
        Policing::Discard => PacketOutcome::Dropped,
        // The random limits are far above what a round sends.
        Policing::Limit { .. } | Policing::None => PacketOutcome::passed(decision.effect.mark.unwrap_or(packet.dscp())),
    }
}

/// Rules that count the packet: those that matched, up to the first that dropped it.
fn counted(rules: &[Rule], decision: &Decision) -> Vec<usize> {
    let mut counted = Vec::new();
    for at in decision.matched() {
        counted.push(at);
        if rules[at].effect().policing == Policing::Discard {
            break;
        }
    }
    counted
}

/// One list of rules in force, and some packets.
struct Round<'a> {
    rules: &'a [Rule],
    packets: &'a [Vec<u8>],
}

/// Where the kernel and the oracle differ.
#[derive(Debug)]
struct Disagreement {
    packet: usize,
    text: String,
}

impl Round<'_> {
    /// Sends the packets and compares; the number of verdicts.
    fn run(&self, bench: &mut Bench) -> anyhow::Result<Result<usize, Disagreement>> {
        let counters = |bench: &mut Bench| -> anyhow::Result<BTreeMap<Arc<Nlri>, u64>> {
            Ok(bench.nft.counters()?.into_iter().map(|(nlri, counter)| (nlri, counter.packets)).collect())
        };
        let before = counters(bench)?;
        let fates = bench.observer.send(&bench.filter, self.packets)?;
        let after = counters(bench)?;
        let mut counts = vec![0u64; self.rules.len()];
        let mut verdicts = 0;
        for (at, (octets, fate)) in self.packets.iter().zip(&fates).enumerate() {
            let Some(fate) = fate else { continue };
            let packet = Packet::from_ip(octets)?;
            let decision = decision(self.rules, octets, &packet);
            counted(self.rules, &decision).into_iter().for_each(|rule| counts[rule] += 1);
            let expected = expected(&decision, &packet);
            verdicts += 1;
            if *fate != expected {
                let text = format!("the oracle says {expected:?} by {:?}, the kernel {fate:?}", decision.rule());
                return Ok(Err(Disagreement { packet: at, text }));
            }
        }
        for (rule, count) in self.rules.iter().zip(counts) {
            let kernel = after.get(&rule.nlri).unwrap_or(&0) - before.get(&rule.nlri).unwrap_or(&0);
            if kernel != count {
                let text = format!("{rule} matched {count} packets, the kernel counted {kernel}");
                return Ok(Err(Disagreement { packet: 0, text }));
            }
        }
        Ok(Ok(verdicts))
    }

    /// The same disagreement with fewer rules and one packet, as text.
    fn shrink(&self, bench: &mut Bench, found: &Disagreement) -> anyhow::Result<String> {
        let fails = |bench: &mut Bench, rules: &[Rule], packets: &[Vec<u8>]| -> anyhow::Result<Option<String>> {
            bench.nft.replace(&ruleset(rules))?;
            Ok(Round { rules, packets }.run(bench)?.err().map(|found| found.text))
        };
        let mut packets: Vec<_> = self.packets.get(found.packet).cloned().into_iter().collect();
        if fails(bench, self.rules, &packets)?.is_none() {
            packets = self.packets.to_vec();
        }
        let mut rules = self.rules.to_vec();
        let Some(mut text) = fails(bench, &rules, &packets)? else {
            return Ok(format!("{} (only after these changes, not after a full load)", found.text));
        };
        let mut at = 0;
        while at < rules.len() {
            let removed = rules.remove(at);
            match fails(bench, &rules, &packets)? {
                Some(still) => text = still,
                None => {
                    rules.insert(at, removed);
                    at += 1;
                }
            }
        }
        let mut at = 0;
        while packets.len() > 1 && at < packets.len() {
            let removed = packets.remove(at);
            match fails(bench, &rules, &packets)? {
                Some(still) => text = still,
                None => {
                    packets.insert(at, removed);
                    at += 1;
                }
            }
        }
        fails(bench, &rules, &packets)?;
        let list = bench.filter.exec("nft", &["list", "ruleset"]);
        let table = list.unwrap_or_else(|error| error.to_string());
        let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
        let hex = |octets: &Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let packets: Vec<_> = packets.iter().map(hex).collect();
        Ok(format!("{text}\nrules:\n{}\npackets:\n{}\n{table}", rules.join("\n"), packets.join("\n")))
    }
}

fn ruleset(rules: &[Rule]) -> Ruleset {
    Ruleset { protected: Arc::default(), rules: compiled(rules) }
}

fn shapes() -> Vec<Shape> {
    let common = [ComponentType::Destination, ComponentType::Protocol, ComponentType::SourcePort].into_iter().chain([
        ComponentType::DestinationPort,
        ComponentType::PacketLength,
        ComponentType::Source,
    ]);
    let actions = Shape::everything().actions;
    vec![
        Shape::everything(),
        Shape { actions: actions.clone(), ..Shape::plain() },
        Shape {
            fields: common.collect::<Fields>(),
            max_ops: 1,
            wild_values: false,
            actions: actions.clone(),
            ..Shape::everything()
        },
        Shape { max_ops: 1, actions: vec![vec![], vec![discard()]], ..Shape::everything() },
    ]
}

fn discard() -> Action {
    let rate = flowspec::Rate::new(0.0).unwrap();
    Action::RateBytes { asn: 0, rate }
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_kernel_agrees_with_the_oracle_soak() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let wanted = number("FLOODGATE_SOAK_VERDICTS", VERDICTS);
    let mut seed = Seed::new(number("FLOODGATE_SEED", 1) as u64);
    let mut bench = Bench::new()?;
    let shapes = shapes();
    let packet_shape = PacketShape { rare_extensions: false, ..PacketShape::everything() };
    let (mut verdicts, mut sent, mut dropped_rounds) = (0, 0, 0);
    let mut rules: Vec<Rule> = Vec::new();
    let mut round = 0;
    let mut fates = [0usize; 2];
    while verdicts < wanted {
        let version = if seed.percent(50) { IpVersion::V4 } else { IpVersion::V6 };
        let shape = &shapes[round % shapes.len()];
        let count = [3, 12, 60][round / 3 % 3];
        let fresh = random_rules(&mut seed, version, shape, count).into_iter().filter(possible);
        let by_change = round % 4 != 0;
        if by_change {
            // About half of the old rules go, new ones come, some of them in the place of an old
            // one with another action.
            let old = rules.clone();
            let mut next: BTreeMap<Nlri, Rule> =
                old.iter().filter(|_| seed.percent(50)).map(|rule| (rule.nlri.clone(), rule.clone())).collect();
            let actions: Vec<_> = old.iter().map(|rule| rule.actions.clone()).collect();
            for rule in next.values_mut().filter(|_| !actions.is_empty()) {
                if seed.percent(20) {
                    rule.actions = actions[seed.below(actions.len() as u64) as usize].clone();
                }
            }
            next.extend(fresh.map(|rule| (rule.nlri.clone(), rule)));
            rules = next.into_values().filter(possible).collect();
            let kept: BTreeSet<_> = rules.iter().map(|rule| &rule.nlri).collect();
            let plan = Plan {
                upsert: compiled(&rules),
                remove: old
                    .iter()
                    .filter(|rule| !kept.contains(&rule.nlri))
                    .map(|rule| Arc::new(rule.nlri.clone()))
                    .collect(),
                protected: None,
            };
            let applied = bench.nft.update(&plan).with_context(|| format!("round {round}"))?;
            ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
        } else {
            rules = fresh.collect();
            let applied = bench.nft.replace(&ruleset(&rules))?;
            ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
        }
        let versions: Vec<IpVersion> = rules.iter().map(|rule| rule.nlri.family().version()).collect();
        let packets: Vec<_> = (0..PACKETS_A_ROUND)
            .map(|_| {
                let version = versions.get(seed.below(versions.len() as u64) as usize).copied().unwrap_or(version);
                let of_version: Vec<_> =
                    rules.iter().map(|rule| &rule.nlri).filter(|nlri| nlri.family().version() == version).collect();
                random_packet_for(&mut seed, version, of_version.into_iter(), &packet_shape)
            })
            .filter(|packet| Packet::from_ip(packet).is_ok())
            .chain([Observer::last()])
            .collect();
        let this = Round { rules: &rules, packets: &packets };
        match this.run(&mut bench)? {
            Ok(count) => {
                verdicts += count;
                for octets in &packets {
                    let packet = Packet::from_ip(octets)?;
                    fates[usize::from(
                        expected(&decision(&rules, octets, &packet), &packet) == PacketOutcome::Dropped,
                    )] += 1;
                }
            }
            Err(found) => {
                let smallest = this.shrink(&mut bench, &found)?;
                panic!("round {round}, by change: {by_change}: {}\nsmallest case: {smallest}", found.text);
            }
        }
        // What we make must not make the operator's tool fail.
        bench.filter.exec("nft", &["list", "ruleset"]).with_context(|| format!("round {round}: {rules:#?}"))?;
        // Somebody else's change makes it look at everything; not each time, since the kernel takes
        // its time to delete a table.
        if round % 4 == 1 {
            bench.filter.exec("nft", &["add table ip theirs; delete table ip theirs"])?;
        }
        let health = bench.nft.health()?;
        ensure!(health == Health::Intact, "round {round}: {health:?}");
        sent += packets.len();
        dropped_rounds += usize::from(rules.is_empty());
        round += 1;
    }
    println!(
        "{verdicts} verdicts agree ({round} rule sets, {dropped_rounds} of them empty, {sent} packets sent, {} of them to be passed and {} dropped)",
        fates[0], fates[1]
    );
    ensure!(verdicts * 10 > sent * 8, "too many packets did not come as far as the filter");
    Ok(())
}
