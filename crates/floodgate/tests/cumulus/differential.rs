//! The oracle against the kernel: random rules within the switch's capabilities, random packets,
//! and for each packet the verdict of `flowspec` and that of the kernel's rules, as the emulator
//! loaded them from our policy file.
//!
//! `FLOODGATE_SOAK_VERDICTS=200000` asks for more verdicts than the default, `FLOODGATE_SEED=7`
//! sets the seed.

use anyhow::{Context, Result, bail, ensure};
use dataplane::Dataplane;
use dataplane::cumulus::{Cumulus, Release, Settings, capabilities};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Fields;
use flowspec::testing::{PacketShape, Seed, Shape, random_packet_for, random_rules};
use flowspec::{ComponentType, IpVersion, Packet, Policing, Rule, Scope, decide};
use lab::acltool::Switch;
use lab::{End, Netns, Observer, PacketOutcome, needs, veth};
use std::collections::BTreeMap;
use std::sync::Arc;

const VERDICTS: usize = 4_500;
const PACKETS_A_ROUND: usize = 60;

/// A switch with one port, and observers before and behind its rules.
struct Lane {
    _attacker: Netns,
    netns: Netns,
    observer: Observer,
    settings: Settings,
    dataplane: Cumulus,
    _switch: Switch,
}

impl Lane {
    fn new(release: &str) -> Result<Self> {
        let (attacker, netns) = (Netns::new("cumulus-da")?, Netns::new("cumulus-ds")?);
        // It is to send nothing of its own, such as router solicitations, which would be counted.
        attacker.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        attacker.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        // No subnet, so no broadcast address: an ICMP error to a source that is one would come back
        // in as one more packet.
        veth(End::new(&attacker, "a0", &[]), End::new(&netns, "swp1", &["10.255.255.1/32", "2001:db8:ffff::1/128"]))?;
        netns.forward()?;
        netns.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        netns.sysctl("net/ipv4/conf/swp1/rp_filter", "0")?;
        // Somewhere for all that is forwarded.
        veth(End::new(&attacker, "a1", &[]), End::new(&netns, "swp2", &[]))?;
        netns.ip(&["route", "add", "default", "dev", "swp2"])?;
        netns.ip(&["-6", "route", "add", "default", "dev", "swp2"])?;
        let switch = Switch::new(&netns, &lab::acltool::stand_in()?)?;
        for (name, value) in [("release", release), ("capacity4", "1000000"), ("capacity6", "1000000")] {
            switch.set(name, value)?;
        }
        let settings = Settings {
            policy_directory: switch.policy_directory(),
            tool: switch.tool(),
            save: switch.save(),
            release: release.parse()?,
            capacity: (Some(100_000), Some(100_000)),
            ..Settings::default()
        };
        let hook =
            if settings.release < Release::new(5, 0) { ("forward", -10, 10) } else { ("prerouting", -160, -140) };
        Ok(Lane {
            observer: Observer::new((&attacker, "a0"), &netns, "swp1", hook, PACKETS_A_ROUND + 1)?,
            dataplane: Cumulus::new(settings.clone()),
            _attacker: attacker,
            netns,
            settings,
            _switch: switch,
        })
    }

    fn compiled(&self, rule: &Rule) -> Option<Arc<CompiledRule>> {
        match compile(rule, &capabilities(&self.settings)) {
            Verdict::Exact(rule) => Some(Arc::new(rule)),
            Verdict::Refused(_) => None,
        }
    }

    /// Puts these rules in force and compares what the packets meet with what the oracle says; the
    /// number of verdicts, or where they differ.
    fn round(&mut self, rules: &[Rule], packets: &[Vec<u8>]) -> Result<std::result::Result<[usize; 2], String>> {
        let compiled = rules.iter().filter_map(|rule| self.compiled(rule)).collect();
        let applied = self.dataplane.replace(&Ruleset { protected: Arc::default(), rules: compiled })?;
        ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
        // The rules may be those of the round before, whose counters go on.
        let before = self.counts()?;
        let fates = self.observer.send(&self.netns, packets)?;
        let after = self.counts()?;
        let mut verdicts = [0; 2];
        let mut counts = vec![0; rules.len()];
        for (octets, fate) in packets.iter().zip(&fates) {
            let Some(fate) = fate else { continue };
            let packet = Packet::from_ip(octets)?;
            let decision = decide(rules, &packet, Scope::Global);
            let expected = match decision.effect.policing {
                Policing::Discard => PacketOutcome::Dropped,
                // The random limits are far above what a round sends.
                Policing::Limit { .. } | Policing::None => {
                    PacketOutcome::passed(decision.effect.mark.unwrap_or(packet.dscp()))
                }
            };
            if *fate != expected {
                return Ok(Err(format!(
                    "{octets:02x?}: the oracle says {expected:?} by {:?}, the kernel {fate:?}",
                    decision.rule()
                )));
            }
            decision.rule().into_iter().for_each(|at| counts[at] += 1);
            verdicts[usize::from(expected == PacketOutcome::Dropped)] += 1;
        }
        for (rule, count) in rules.iter().zip(counts) {
            let of = |counts: &BTreeMap<_, u64>| counts.get(&rule.nlri).copied().unwrap_or_default();
            let kernel = of(&after) - of(&before);
            if kernel != count {
                return Ok(Err(format!("{rule} matched {count} packets, the counters say {kernel}")));
            }
        }
        Ok(Ok(verdicts))
    }

    fn counts(&mut self) -> Result<BTreeMap<flowspec::Nlri, u64>> {
        let counters = self.dataplane.counters()?;
        Ok(counters.into_iter().map(|(nlri, counter)| (nlri.as_ref().clone(), counter.packets)).collect())
    }

    /// The same disagreement with as few rules and packets as there can be, as text.
    fn smallest(&mut self, mut rules: Vec<Rule>, mut packets: Vec<Vec<u8>>, mut text: String) -> Result<String> {
        let mut at = 0;
        while at < rules.len() {
            let removed = rules.remove(at);
            match self.round(&rules, &packets)? {
                Err(still) => text = still,
                Ok(_) => {
                    rules.insert(at, removed);
                    at += 1;
                }
            }
        }
        let mut at = 0;
        while packets.len() > 1 && at < packets.len() {
            let removed = packets.remove(at);
            match self.round(&rules, &packets)? {
                Err(still) => text = still,
                Ok(_) => {
                    packets.insert(at, removed);
                    at += 1;
                }
            }
        }
        let file = std::fs::read_to_string(self.settings.policy_directory.join("60flowspec.rules")).unwrap_or_default();
        Ok(format!("{text}\npackets: {packets:02x?}\n{file}"))
    }
}

/// Whether netfilter drops the packet by itself as soon as a rule asks for an upper-layer protocol,
/// whatever the rule says: a fragment that begins 8 octets into the packet, where TCP's header
/// would be torn, an IPv6 fragment that begins within an extension header, and an ICMPv6 message
/// that is cut off.
fn is_unwelcome(octets: &[u8], packet: &Packet) -> bool {
    if packet.fragment_offset() == 1 {
        return true;
    }
    let (mut next, mut at) = if octets[0] >> 4 == 6 { (octets[6], 40) } else { return false };
    while let (0 | 43 | 44 | 51 | 60, Some(&[following, units, ..])) = (next, octets.get(at..at + 4)) {
        if next == 44 && packet.fragment_offset() != 0 {
            return matches!(following, 0 | 43 | 44 | 51 | 60);
        }
        at += match next {
            44 => 8,
            51 => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        next = following;
    }
    // A message too short for its header is dropped likewise. And netfilter finds neighbour
    // discovery behind extension headers, too, which the oracle takes for none: such a message of
    // the own link passes.
    let discovers = at > 40 && octets[7] == 255 && matches!(octets.get(at..at + 2), Some(&[133..=137, 0]));
    next == 58 && (octets.len() < at + 8 || discovers)
}

fn shapes() -> [Shape; 3] {
    let can = [
        ComponentType::Destination,
        ComponentType::Source,
        ComponentType::Protocol,
        ComponentType::Port,
        ComponentType::DestinationPort,
        ComponentType::SourcePort,
        ComponentType::IcmpType,
        ComponentType::IcmpCode,
        ComponentType::TcpFlags,
        ComponentType::Dscp,
        ComponentType::Fragment,
    ];
    let fields: Fields = can.into_iter().collect();
    let everything = Shape::everything();
    [
        Shape { fields, max_components: 4, max_ops: 2, offsets: false, ..everything.clone() },
        Shape { fields, max_components: 3, max_ops: 1, offsets: false, wild_values: false, ..everything.clone() },
        Shape { fields, max_components: 3, max_ops: 3, offsets: false, actions: Vec::new(), ..everything },
    ]
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn compare(release: &str) -> Result<()> {
    let wanted = number("FLOODGATE_SOAK_VERDICTS", VERDICTS) / 3;
    let mut seed = Seed::new(number("FLOODGATE_SEED", 1) as u64);
    let mut lane = Lane::new(release)?;
    let shapes = shapes();
    let packet_shape = PacketShape {
        rare_extensions: false,
        truncated: false,
        // The kernel has lowered the hop limit by the time that a routed packet meets FORWARD; the
        // ASIC has not.
        neighbor_discovery: release.starts_with('5'),
        ..PacketShape::everything()
    };
    let (mut verdicts, mut round, mut installed) = ([0; 2], 0, 0);
    while verdicts[0] + verdicts[1] < wanted {
        let mut rules = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            // Most random rules ask for more than the switch can do.
            let count = [8, 40, 120][round % 3];
            rules.extend(random_rules(&mut seed, version, &shapes[round / 3 % 3], count));
        }
        rules.retain(|rule| lane.compiled(rule).is_some());
        installed += rules.len();
        let versions: Vec<IpVersion> = rules.iter().map(|rule| rule.nlri.family().version()).collect();
        let packets: Vec<Vec<u8>> = (0..PACKETS_A_ROUND)
            .map(|_| {
                let version =
                    versions.get(seed.below(versions.len().max(1) as u64) as usize).copied().unwrap_or(IpVersion::V4);
                let of_version = rules.iter().map(|rule| &rule.nlri).filter(|nlri| nlri.family().version() == version);
                let of_version: Vec<_> = of_version.collect();
                random_packet_for(&mut seed, version, of_version.into_iter(), &packet_shape)
            })
            .filter(|octets| Packet::from_ip(octets).is_ok_and(|packet| !is_unwelcome(octets, &packet)))
            .chain([Observer::last()])
            .collect();
        match lane.round(&rules, &packets).with_context(|| format!("{release}, round {round}"))? {
            Ok([passed, dropped]) => verdicts = [verdicts[0] + passed, verdicts[1] + dropped],
            Err(text) => bail!("{release}, round {round}: {}", lane.smallest(rules, packets, text)?),
        }
        round += 1;
    }
    println!(
        "{release}: {} packets passed and {} dropped as the oracle says, with {installed} rules in {round} sets",
        verdicts[0], verdicts[1]
    );
    ensure!(verdicts.iter().all(|&count| count * 10 > wanted), "one-sided: {verdicts:?}");
    Ok(())
}

#[test]
fn the_kernel_agrees_with_the_oracle_before_routing() -> Result<()> {
    needs!(root, "ip", "nft", "iptables-legacy-restore", "ip6tables-legacy-restore");
    compare("5.0")?;
    compare("5.14")
}

#[test]
fn the_kernel_agrees_with_the_oracle_on_forwarded_packets() -> Result<()> {
    needs!(root, "ip", "nft", "iptables-legacy-restore", "ip6tables-legacy-restore");
    compare("3.7")?;
    compare("4.4.1")
}
