//! The oracle against the kernel: random rules as far as the switch can have them, random packets, and for each packet what `flowspec` says
//! and what the kernel's rules did, as the stand-in loaded them from our policy file.
//!
//! `FLOODGATE_SOAK_VERDICTS=200000` asks for more than the usual number, `FLOODGATE_SEED=7` for another beginning.

use anyhow::{Context, Result, bail, ensure};
use dataplane::Dataplane;
use dataplane::cumulus::{Cumulus, Settings, capabilities};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::arbitrary::{PacketShape, Seed, Shape, random_packet_for, random_rules};
use flowspec::space::Fields;
use flowspec::{ComponentType, IpVersion, Packet, Policing, Rule, Scope, decide};
use lab::acltool::Switch;
use lab::{End, Netns, OnOneProcessor, PacketSocket, needs, veth};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

const VERDICTS: usize = 4_500;
const PACKETS_A_ROUND: usize = 60;

/// DSCPs that the random rules set; a packet with another was not marked.
const MARKS: [u8; 3] = [1, 8, 46];

/// The last packet of a round, which always comes: when it is there, so are those before it.
fn last() -> Vec<u8> {
    lab::packet::udp(([198, 51, 100, 1], 7).into(), ([203, 0, 113, 1], 7).into(), b"last")
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    /// It went on with this DSCP, 64 for any that is none of [`MARKS`].
    Passed(u8),
}

impl Fate {
    fn passed(dscp: u8) -> Self {
        Fate::Passed(if MARKS.contains(&dscp) { dscp } else { 64 })
    }
}

/// A switch with one port, and observers before and behind its rules.
struct Lane {
    _attacker: Netns,
    netns: Netns,
    socket: PacketSocket,
    target: [u8; 6],
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
        // No subnet, so no broadcast address: an ICMP error to a source that is one would come back in as one more packet.
        veth(End::new(&attacker, "a0", &[]), End::new(&netns, "swp1", &["10.255.255.1/32", "2001:db8:ffff::1/128"]))?;
        netns.forward()?;
        netns.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        netns.sysctl("net/ipv4/conf/swp1/rp_filter", "0")?;
        // Somewhere for all that is forwarded.
        veth(End::new(&attacker, "a1", &[]), End::new(&netns, "swp2", &[]))?;
        netns.ip(&["route", "add", "default", "dev", "swp2"])?;
        netns.ip(&["-6", "route", "add", "default", "dev", "swp2"])?;
        let switch = Switch::new(&netns, env!("CARGO_BIN_EXE_cl-acltool"))?;
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
        let hook = if release == "4.4" { ("forward", -10, 10) } else { ("prerouting", -160, -140) };
        let lane = Lane {
            socket: PacketSocket::open(&attacker, "a0")?,
            target: netns.mac("swp1")?,
            dataplane: Cumulus::new(settings.clone()),
            _attacker: attacker,
            netns,
            settings,
            _switch: switch,
        };
        lane.nft(&observers(hook))?;
        Ok(lane)
    }

    fn nft(&self, text: &str) -> Result<()> {
        let mut command = self.netns.command("nft")?;
        let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("a pipe")?, text.as_bytes())?;
        ensure!(child.wait()?.success(), "nft failed on {text}");
        Ok(())
    }

    /// Sends the packets; what became of those that came as far as the rules.
    fn send(&mut self, packets: &[Vec<u8>]) -> Result<Vec<Option<Fate>>> {
        self.nft(&forget())?;
        let here = OnOneProcessor::stay()?;
        for (n, packet) in packets.iter().enumerate() {
            let [n1, n0] = (n as u16).to_be_bytes();
            let mut frame = self.target.to_vec();
            frame.extend([0x02, 0xf0, 0, 0, n1, n0]);
            frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
            frame.extend(packet);
            self.socket.send(&frame)?;
        }
        drop(here);
        // Only the smallest case of a disagreement has no such end; the kernel drops malformed packets before they come.
        let patience = if packets.last() == Some(&last()) { 30_000 } else { 300 };
        let mut fates = vec![None; packets.len()];
        let end = Instant::now() + Duration::from_millis(patience);
        loop {
            self.read(&mut fates)?;
            if fates.last().is_some_and(Option::is_some) || Instant::now() > end {
                // It has come; a moment later it has gone, too.
                self.read(&mut fates)?;
                return Ok(fates);
            }
        }
    }

    fn read(&self, fates: &mut [Option<Fate>]) -> Result<()> {
        let list = |table| self.netns.exec("nft", &["-n", "list", "table", "inet", table]);
        let (came, went) = (list("before")?, list("after")?);
        let counted = |text: &str| -> Vec<usize> {
            let hits = text.split("02:f0:00:00:").skip(1).filter(|item| !item.contains("packets 0 "));
            let number = |item: &str| u16::from_str_radix(&item.get(..5)?.replace(':', ""), 16).ok().map(usize::from);
            hits.filter_map(number).collect()
        };
        for n in counted(&came) {
            fates[n].get_or_insert(Fate::Dropped);
        }
        for set in went.split("set went").skip(1) {
            let dscp = set.split_whitespace().next().context("a name")?.parse()?;
            counted(set).into_iter().for_each(|n| fates[n] = Some(Fate::Passed(dscp)));
        }
        Ok(())
    }

    fn compiled(&self, rule: &Rule) -> Option<Arc<CompiledRule>> {
        match compile(rule, &capabilities(&self.settings)) {
            Verdict::Exact(rule) => Some(Arc::new(rule)),
            Verdict::Refused(_) => None,
        }
    }

    /// Puts these rules in force and compares what the packets meet with what the oracle says; the number of verdicts, or where they differ.
    fn round(&mut self, rules: &[Rule], packets: &[Vec<u8>]) -> Result<std::result::Result<[usize; 2], String>> {
        let compiled = rules.iter().filter_map(|rule| self.compiled(rule)).collect();
        let applied = self.dataplane.replace(&Ruleset { protected: Arc::default(), rules: compiled })?;
        ensure!(applied.failures.is_empty(), "{:?}", applied.failures);
        // The rules may be those of the round before, whose counters go on.
        let before = self.counts()?;
        let fates = self.send(packets)?;
        let after = self.counts()?;
        let mut verdicts = [0; 2];
        let mut counts = vec![0; rules.len()];
        for (octets, fate) in packets.iter().zip(&fates) {
            let Some(fate) = fate else { continue };
            let packet = Packet::from_ip(octets)?;
            let decision = decide(rules, &packet, Scope::Global);
            let expected = match decision.effect.policing {
                Policing::Discard => Fate::Dropped,
                // The random limits are far above what a round sends.
                Policing::Limit { .. } | Policing::None => Fate::passed(decision.effect.mark.unwrap_or(packet.dscp())),
            };
            if *fate != expected {
                return Ok(Err(format!(
                    "{octets:02x?}: the oracle says {expected:?} by {:?}, the kernel {fate:?}",
                    decision.rule()
                )));
            }
            decision.rule().into_iter().for_each(|at| counts[at] += 1);
            verdicts[usize::from(expected == Fate::Dropped)] += 1;
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

/// Two tables around the rules count which packets came and which went on, by their source MAC address: one set for all that came, and one
/// for each DSCP with which they went.
fn observers((hook, before, after): (&str, i32, i32)) -> String {
    let set = |name: &str| format!("set {name} {{ type ether_addr; counter; }}\n");
    let chain =
        |priority, rules: &str| format!("chain c {{ type filter hook {hook} priority {priority}\n{rules}\n}}\n");
    let marks: String = MARKS.map(|dscp| set(&format!("went{dscp}"))).concat();
    let went = |dscp| ["ip", "ip6"].map(|ip| format!("{ip} dscp {dscp} ether saddr @went{dscp} accept\n")).concat();
    let rules = MARKS.map(went).concat();
    format!(
        "table inet before {{\n{}{}}}\ntable inet after {{\n{}{marks}{}}}\n",
        set("came"),
        chain(before, "ether saddr @came"),
        set("went64"),
        chain(after, &format!("{rules}ether saddr @went64"))
    )
}

/// Sets the observers' counters to zero.
fn forget() -> String {
    let macs: Vec<_> = (0..=PACKETS_A_ROUND).map(|n| format!("02:f0:00:00:{:02x}:{:02x}", n >> 8, n & 255)).collect();
    let macs = macs.join(",");
    let names = MARKS.map(|dscp| format!("after went{dscp}"));
    let names = names.into_iter().chain(["before came", "after went64"].map(String::from));
    names.map(|set| format!("flush set inet {set}\nadd element inet {set} {{ {macs} }}\n")).collect()
}

/// Whether netfilter drops the packet by itself as soon as a rule asks for an upper-layer protocol, whatever the rule says: a fragment that
/// begins 8 octets into the packet, where TCP's header would be torn, and an IPv6 fragment that begins within an extension header.
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
    false
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
    let packet_shape = PacketShape { rare_extensions: false, truncated: false, ..PacketShape::everything() };
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
            .chain([last()])
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
    compare("4.4")
}
