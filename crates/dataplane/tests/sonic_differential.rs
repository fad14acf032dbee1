//! The oracle against the SONiC back end: random rules go through a real Redis server and the
//! emulator of orchagent, which has the kernel of a namespace enforce the accepted ones, by
//! priority; random packets show the result.
//!
//! `FLOODGATE_SOAK_VERDICTS=1000000` asks for more verdicts than the default, `FLOODGATE_SEED=7`
//! sets the seed.

use anyhow::ensure;
use dataplane::sonic::{Address, Settings, Sonic, capabilities};
use dataplane::{Dataplane, Health};
use engine::compile::{Verdict, compile, compile_list};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::testing::{PacketShape, Seed, Shape, random_packet_for, random_rules};
use flowspec::{IpVersion, Nlri, Packet, Policing, Rule, Scope, decide};
use lab::orchagent::SonicSwitch;
use lab::{End, Netns, Observer, PacketOutcome, needs, veth};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const VERDICTS: usize = 4_000;
const PACKETS_A_ROUND: usize = 60;

fn compiled(rules: &[Rule], settings: &Settings) -> Vec<Arc<CompiledRule>> {
    let exact = |rule: &Rule| match compile(rule, &capabilities(settings)) {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{rule} was refused: {refusal}"),
    };
    rules.iter().map(exact).collect()
}

/// Those of the rules that the back end takes, each with what it exempts.
fn possible(rules: Vec<Rule>, settings: &Settings) -> Vec<Rule> {
    let verdicts = compile_list(&rules, &capabilities(settings));
    let exact = |verdict: &Verdict| matches!(verdict, Verdict::Exact(rule) if rule.entries.len() <= 40);
    rules.into_iter().zip(verdicts).filter(|(_, verdict)| exact(verdict)).map(|(rule, _)| rule).collect()
}

/// What no ACL rule can tell: a message of neighbour discovery passes whatever its hop limit.
fn is_discovery_from_afar(octets: &[u8]) -> bool {
    octets[0] >> 4 == 6 && octets[6] == 58 && matches!(octets.get(40..42), Some([133..=137, 0])) && octets[7] != 255
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_switch_agrees_with_the_oracle_soak() -> anyhow::Result<()> {
    needs!(root, "ip", "nft", "redis-server");
    let (attacker, filter) = (Netns::new("sonic-da")?, Netns::new("sonic-df")?);
    attacker.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    veth(End::new(&attacker, "a0", &[]), End::new(&filter, "f0", &["10.255.255.1/32", "2001:db8:ffff::1/128"]))?;
    let switch = SonicSwitch::new(Some(&filter))?;
    let observer = Observer::new((&attacker, "a0"), &filter, "f0", ("prerouting", -460, -440), PACKETS_A_ROUND + 1)?;
    let wanted = number("FLOODGATE_SOAK_VERDICTS", VERDICTS);
    let mut seed = Seed::new(number("FLOODGATE_SEED", 1) as u64);
    let settings = Settings {
        redis: Address::Unix(switch.socket()),
        release: "2026-08-01".parse()?,
        ranges: true,
        dscp: true,
        max_entries: Some(1000),
        ..Settings::default()
    };
    let mut plane = Sonic::new(settings.clone());
    let actions = Shape::plain().actions;
    let shapes = [
        Shape { max_ops: 1, actions: actions.clone(), wild_values: false, ..Shape::everything() },
        Shape::plain(),
        Shape { max_components: 3, max_ops: 2, actions, ..Shape::everything() },
    ];
    let mut rules: Vec<Rule> = Vec::new();
    let (mut verdicts, mut sent, mut dropped, mut most) = (0, 0, 0, 0);
    for round in 0.. {
        if verdicts >= wanted {
            break;
        }
        let version = if seed.percent(50) { IpVersion::V4 } else { IpVersion::V6 };
        let fresh = random_rules(&mut seed, version, &shapes[round % shapes.len()], [6, 25, 80][round / 3 % 3]);
        let old = rules.clone();
        let mut next: BTreeMap<Nlri, Rule> = BTreeMap::new();
        if round % 4 != 0 {
            next.extend(old.iter().filter(|_| seed.percent(50)).map(|rule| (rule.nlri.clone(), rule.clone())));
        }
        next.extend(fresh.into_iter().map(|rule| (rule.nlri.clone(), rule)));
        rules = possible(next.into_values().collect(), &settings);
        // Ranges run out before entries do.
        rules.truncate(60);
        let new = compiled(&rules, &settings);
        let applied = if round % 4 == 0 {
            plane.replace(&Ruleset { protected: Arc::default(), rules: new })?
        } else {
            let kept: BTreeSet<_> = rules.iter().map(|rule| &rule.nlri).collect();
            let gone = old.iter().filter(|rule| !kept.contains(&rule.nlri)).map(|rule| Arc::new(rule.nlri.clone()));
            plane.update(&Plan { upsert: new, remove: gone.collect(), protected: None })?
        };
        ensure!(plane.health()? == Health::Intact, "round {round}");
        ensure!(switch.errors().is_empty() && switch.rewrites() == 0, "{:?}", switch.errors());
        let failed: BTreeSet<&Nlri> = applied.failures.iter().map(|(nlri, _)| nlri.as_ref()).collect();
        rules.retain(|rule| !failed.contains(&rule.nlri));
        most = most.max(switch.active().len());
        let versions: Vec<IpVersion> = rules.iter().map(|rule| rule.nlri.family().version()).collect();
        let packets: Vec<Vec<u8>> = (0..PACKETS_A_ROUND)
            .map(|_| {
                let version = versions.get(seed.below(versions.len() as u64) as usize).copied().unwrap_or(version);
                let of_version = rules.iter().map(|rule| &rule.nlri).filter(|nlri| nlri.family().version() == version);
                // What an ASIC does behind extension headers is unknown; an IPv6 fragment has one.
                let is_v4 = version == IpVersion::V4;
                let shape =
                    PacketShape { options: is_v4, fragments: is_v4, neighbor_discovery: true, ..PacketShape::plain() };
                random_packet_for(&mut seed, version, of_version.collect::<Vec<_>>().into_iter(), &shape)
            })
            .filter(|octets| Packet::from_ip(octets).is_ok() && !is_discovery_from_afar(octets))
            .chain([Observer::last()])
            .collect();
        let outcomes = observer.send(&filter, &packets)?;
        for (octets, outcome) in packets.iter().zip(&outcomes) {
            let Some(outcome) = outcome else { continue };
            let packet = Packet::from_ip(octets)?;
            let decision = decide(&rules, &packet, Scope::Global);
            let drops = decision.effect.policing == Policing::Discard;
            let expected = if drops { PacketOutcome::Dropped } else { PacketOutcome::passed(packet.dscp()) };
            dropped += usize::from(drops);
            verdicts += 1;
            let hex = || octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
            ensure!(
                *outcome == expected,
                "round {round}: the oracle says {expected:?} by {:?}, the switch {outcome:?}; packet {}; rules:\n{}\n{}",
                decision.rule().map(|at| rules[at].to_string()),
                hex(),
                rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
                filter.exec("nft", &["list", "table", "inet", "sonic"]).unwrap_or_default()
            );
        }
        sent += packets.len();
    }
    println!("{verdicts} verdicts agree, {dropped} of them drops; at most {most} ACL rules in force");
    ensure!(verdicts * 10 > sent * 8, "too many packets did not come as far as the filter");
    ensure!(dropped * 20 > verdicts, "too few drops");
    Ok(())
}
