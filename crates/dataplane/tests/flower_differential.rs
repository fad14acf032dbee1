//! The oracle against the kernel's own classifier: random rules, random packets, with and without
//! VLAN tags and cut into fragments, and for each the verdict that `flowspec` says and what went on
//! through a bridge whose port has the filters. Loaded at once and changed step by step.
//!
//! Where the classifier is known to see less of a packet than the oracle, the expected verdict is
//! that of what it sees; whatever it drops, the oracle drops, too. `FLOODGATE_SOAK_VERDICTS` and
//! `FLOODGATE_SEED` as in the other differential tests.

use anyhow::{Context, Result, ensure};
use dataplane::flower::{Flower, Settings, capabilities};
use dataplane::{Dataplane, DataplaneError, Health};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::{Fields, FragmentPosition, IntervalSet, MAX_ICMP, MAX_PORT, Space};
use flowspec::testing::{PacketShape, Seed, Shape, random_draft_for, random_rules};
use flowspec::{ComponentType, EXTENSION_HEADERS, IpVersion, Nlri, Packet, Policing, Rule, Scope, decide};
use lab::{Netns, PATIENCE, PacketSocket, needs};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

const VERDICTS: usize = 20_000;
const PACKETS_A_ROUND: usize = 400;
/// The end of a round's packets: a frame that is no IP.
const LAST: u16 = 0xffff;
/// RFC 4023.
const MPLS_IN_IP: u8 = 137;

/// Attacker, bridge with the filters on the port `in`, and who sees what went on.
struct Bench {
    _namespaces: [Netns; 2],
    filter: Netns,
    sender: PacketSocket,
    receiver: PacketSocket,
    plane: Flower,
}

impl Bench {
    fn new() -> Result<Option<Self>> {
        let (attacker, filter, victim) = (Netns::new("fl-a")?, Netns::new("fl-f")?, Netns::new("fl-v")?);
        for netns in [&attacker, &filter, &victim] {
            netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        }
        for (netns, outer, inner) in [(&attacker, "a0", "in"), (&victim, "v0", "out")] {
            filter.ip(&["link", "add", inner, "type", "veth", "peer", "name", outer, "netns", netns.name()])?;
            netns.ip(&["link", "set", outer, "up"])?;
        }
        filter.ip(&["link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "ageing_time", "0"])?;
        for port in ["in", "out"] {
            filter.ip(&["link", "set", port, "master", "br0"])?;
            filter.ip(&["link", "set", port, "up"])?;
        }
        filter.ip(&["link", "set", "br0", "up"])?;
        forwards(&filter, &["in", "out"])?;
        let settings = Settings { interfaces: vec!["in".to_owned()], ..Settings::default() };
        let mut plane = filter.run(|| Flower::open(settings))?;
        let probe: Rule = "dst 192.0.2.1/32 then discard".parse()?;
        if let Err(error) = plane.replace(&ruleset(&[probe])) {
            ensure!(matches!(error, DataplaneError::Unavailable(_)), "{error}");
            lab::skip_for_kernel(&format!("{error}"));
            return Ok(None);
        }
        let (sender, receiver) = (PacketSocket::open(&attacker, "a0")?, PacketSocket::open(&victim, "v0")?);
        Ok(Some(Bench { _namespaces: [attacker, victim], filter, sender, receiver, plane }))
    }

    /// Sends the frames; the IP packet of each that went on.
    fn send(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        self.receiver.drain()?;
        let mut arrived: Vec<Option<Vec<u8>>> = vec![None; frames.len()];
        let mut last =
            [&[2, 0xf1, 0, 0, 0, 1, 2, 0xf0, 0, 0][..], &LAST.to_be_bytes(), &[0x88, 0xb5], &[0; 46]].concat();
        last.resize(60, 0);
        for (n, frame) in frames.iter().chain([&last]).enumerate() {
            self.sender.send(frame).with_context(|| format!("frame {n} of {} octets", frame.len()))?;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(frame) = self.receiver.receive(end.saturating_duration_since(Instant::now()))? else {
                let came = arrived.iter().flatten().count();
                let statistics = self.filter.exec("tc", &["-s", "filter", "show", "block", "3970", "chain", "0"])?;
                let links = self.filter.exec("ip", &["-s", "-s", "link"])?;
                let frames = frames.len();
                anyhow::bail!("the last frame did not come; {came} of {frames} others did\n{statistics}\n{links}");
            };
            if frame[6..8] != [2, 0xf0] {
                continue;
            }
            match u16::from_be_bytes([frame[10], frame[11]]) {
                LAST => break,
                number => arrived[usize::from(number)] = Some(frame[14..].to_vec()),
            }
        }
        ensure!(self.receiver.lost()? == 0, "the observer missed frames");
        Ok(arrived)
    }
}

/// Waits until the ports of the bridge forward: the kernel tells it up to a second after the last
/// of them came up that there is a carrier.
fn forwards(filter: &Netns, ports: &[&str]) -> Result<()> {
    let begun = Instant::now();
    for port in ports {
        lab::wait_until("a port of the bridge", PATIENCE, || {
            let told = filter.ip(&["-details", "link", "show", "dev", port]).ok()?;
            told.contains("state forwarding").then_some(())
        })?;
    }
    println!("the bridge forwards after {:?}", begun.elapsed());
    Ok(())
}

impl Bench {
    /// Sends the packets once more, each alone, and tells the first of which this rule counts
    /// another number than it should.
    fn miscounted(
        &mut self,
        packets: &[(Tags, Vec<u8>)],
        at: usize,
        prepared: &[Prepared],
        nlri: &Nlri,
    ) -> Result<String> {
        let count = |plane: &mut Flower| -> Result<u64> {
            let counters = plane.counters()?;
            Ok(counters.iter().find(|(of, _)| **of == *nlri).map_or(0, |(_, counter)| counter.packets))
        };
        for (tags, octets) in packets {
            let seen = Seen::of(octets).context("it was one")?;
            let expected = seen.decision(prepared, *tags) == Some((at, true));
            let before = count(&mut self.plane)?;
            self.send(&[frame(0, *tags, octets)])?;
            if (count(&mut self.plane)? - before == 1) != expected {
                let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
                return Ok(format!("expected: {expected}, {tags:?}: {hex}"));
            }
        }
        Ok("each packet alone is counted as it should be".to_owned())
    }
}

fn settings() -> Settings {
    Settings { interfaces: vec!["in".to_owned()], ..Settings::default() }
}

fn compiled(rules: &[Rule]) -> Vec<Arc<CompiledRule>> {
    let capabilities = capabilities(&settings());
    let exact = |rule: &Rule| match compile(rule, &capabilities) {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{rule} was refused: {refusal:?}"),
    };
    rules.iter().map(exact).collect()
}

fn ruleset(rules: &[Rule]) -> Ruleset {
    let mut rules = compiled(rules);
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

fn possible(rule: &Rule) -> bool {
    matches!(compile(rule, &capabilities(&settings())), Verdict::Exact(_))
}

/// How a frame carries its packet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tags {
    None,
    One(u16),
    Two,
}

fn frame(number: usize, tags: Tags, packet: &[u8]) -> Vec<u8> {
    let mut frame = lab::packet::ethernet([0x02, 0xf0, 0, 0, 0, 0], [0x02, 0xf1, 0, 0, 0, 1], packet);
    frame[10..12].copy_from_slice(&(number as u16).to_be_bytes());
    let tag = |kind: u16| [kind.to_be_bytes(), [0x00, 0x05]].concat();
    let tags = match tags {
        Tags::None => Vec::new(),
        Tags::One(kind) => tag(kind),
        Tags::Two => [tag(0x88a8), tag(0x8100)].concat(),
    };
    frame.splice(12..12, tags);
    frame
}

/// What the classifier sees of a packet.
struct Seen {
    packet: Packet,
    /// It has a fragment header, or is a fragment of IPv4, and is the first or only one: nothing of
    /// the upper-layer header is seen.
    blind: bool,
    /// The classifier's walk along the extension headers ends at one of them.
    hidden: bool,
    /// The walk comes to a fragment header.
    has_fragment_header: bool,
    /// It is whole and has MPLS inside: nothing but the addresses is seen.
    mpls: bool,
    neighbor_discovery: bool,
}

impl Seen {
    fn of(octets: &[u8]) -> Option<Seen> {
        let packet = Packet::from_ip(octets).ok()?;
        let (mut blind, mut hidden) = (packet.fragment_position() == FragmentPosition::First, false);
        let mut has_fragment_header = false;
        let mut mpls = packet.protocol() == Some(MPLS_IN_IP) && packet.fragment_position() == FragmentPosition::Whole;
        if octets[0] >> 4 == 6 {
            blind = false;
            let (mut next, mut at) = (octets[6], 40);
            while let (0 | 43 | 44 | 60, Some(&[following, units, ..])) = (next, octets.get(at..at + 4)) {
                if next == 44 {
                    has_fragment_header = true;
                    blind = matches!(packet.fragment_position(), FragmentPosition::First | FragmentPosition::Whole);
                    next = following;
                    break;
                }
                at += (usize::from(units) + 1) * 8;
                next = following;
            }
            hidden = EXTENSION_HEADERS.contains(&next);
            mpls = next == MPLS_IN_IP && !has_fragment_header;
            if next == 58 && !blind && octets.len() < at + 8 {
                // Cut within the ICMP header, of which the classifier then sees nothing.
                return None;
            }
        }
        let neighbor_discovery = packet.version() == IpVersion::V6
            && packet.hop_limit() == 255
            && packet.protocol() == Some(58)
            && !blind
            && !hidden
            && packet.icmp_type().is_some_and(|kind| (133..=137).contains(&kind));
        Some(Seen { packet, blind, hidden, has_fragment_header, mpls, neighbor_discovery })
    }

    /// Of these rules, in enforcement order, the one that decides, and whether it counts the
    /// packet.
    fn decision(&self, rules: &[Prepared], tags: Tags) -> Option<(usize, bool)> {
        // Not every frame is sent to the rules.
        let is_compared = match tags {
            Tags::None => true,
            Tags::One(_) => !self.mpls,
            Tags::Two => false,
        };
        if !is_compared || self.neighbor_discovery {
            return None;
        }
        rules.iter().enumerate().find_map(|(at, rule)| {
            let asks_for_what_is_seen = self.has_fragment_header && rule.asks_for_fragments_only;
            if self.hidden && rule.asks_behind_fixed_header && !asks_for_what_is_seen {
                let may_match = rule.exempts && rule.fixed_header.matches(&self.packet);
                return may_match.then_some((at, false));
            }
            if self.mpls && rule.fields.has(ComponentType::Dscp) {
                let may_match = rule.exempts && rule.may_have_mpls && rule.addresses.matches(&self.packet);
                return may_match.then_some((at, false));
            }
            if self.blind && rule.fields.has_any(Fields::L4) {
                let matches = (rule.exempts || !rule.asks_for_values) && rule.without_upper_layer.matches(&self.packet);
                return matches.then_some((at, !rule.asks_for_values));
            }
            rule.space.matches(&self.packet).then_some((at, true))
        })
    }
}

/// What is asked of a rule for each packet.
struct Prepared {
    space: Space,
    without_upper_layer: Space,
    fixed_header: Space,
    addresses: Space,
    /// Whole packets with MPLS inside may be among its packets.
    may_have_mpls: bool,
    asks_behind_fixed_header: bool,
    /// Of what stands behind the fixed header, for a kind of fragment and nothing else.
    asks_for_fragments_only: bool,
    fields: Fields,
    exempts: bool,
    asks_for_values: bool,
}

impl Prepared {
    fn new(rule: &Rule) -> Self {
        let space = Space::of(&rule.nlri);
        let behind = Fields::L4.and(ComponentType::Protocol).and(ComponentType::Fragment);
        Prepared {
            fixed_header: space.without_fields_behind_fixed_header(),
            addresses: space.without_fields_but_addresses(),
            may_have_mpls: !space.fields().has_any(Fields::L4)
                && space.protocol().is_none_or(|protocols| protocols.contains(MPLS_IN_IP))
                && space.fragment().is_none_or(|kinds| {
                    kinds.contains(false, FragmentPosition::Whole) || kinds.contains(true, FragmentPosition::Whole)
                }),
            asks_for_fragments_only: !space.fields().has_any(Fields::L4.and(ComponentType::Protocol)),
            asks_behind_fixed_header: space.version() == IpVersion::V6 && space.fields().has_any(behind),
            without_upper_layer: space.without_upper_layer_fields(),
            fields: space.fields(),
            exempts: rule.effect().policing != Policing::Discard && !space.is_empty(),
            asks_for_values: asks_for_values(&space),
            space,
        }
    }
}

fn asks_for_values(space: &Space) -> bool {
    let is_full = |set: Option<&IntervalSet>, max| set.is_none_or(|set| set.is_full(max));
    !([space.port(), space.source_port(), space.destination_port()].into_iter().all(|set| is_full(set, MAX_PORT))
        && [space.icmp_type(), space.icmp_code()].into_iter().all(|set| is_full(set, MAX_ICMP))
        && space.tcp_flags().is_none_or(flowspec::space::TcpFlagSet::is_full))
}

fn shapes() -> Vec<Shape> {
    let fields = [
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
    let fields: Fields = fields.into_iter().collect();
    vec![
        Shape { fields, max_ops: 2, ..Shape::everything() },
        Shape { fields, max_ops: 1, wild_values: false, ..Shape::everything() },
        Shape { fields, ..Shape::plain() },
    ]
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn dscp(packet: &[u8]) -> u8 {
    let word = u16::from_be_bytes([packet[0], packet[1]]);
    if packet[0] >> 4 == 4 { packet[1] >> 2 } else { (word >> 6 & 0x3f) as u8 }
}

#[test]
fn the_classifier_agrees_with_the_oracle_soak() -> Result<()> {
    needs!(root, "ip", "tc");
    let wanted = number("FLOODGATE_SOAK_VERDICTS", VERDICTS);
    let mut seed = Seed::new(number("FLOODGATE_SEED", 1) as u64);
    let Some(mut bench) = Bench::new()? else { return Ok(()) };
    let shapes = shapes();
    let packet_shape = PacketShape { truncated: false, ..PacketShape::everything() };
    let mut rules: Vec<Rule> = Vec::new();
    let mut told: HashMap<&str, usize> = HashMap::new();
    let (mut round, mut verdicts) = (0, 0);
    while verdicts < wanted {
        let version = if seed.percent(50) { IpVersion::V4 } else { IpVersion::V6 };
        let count = [5, 20, 60][round % 3];
        let fresh = random_rules(&mut seed, version, &shapes[round % shapes.len()], 3 * count);
        let fresh = fresh.into_iter().filter(possible).take(count);
        let by_change = round % 4 != 0;
        let old = std::mem::take(&mut rules);
        let mut next: BTreeMap<Nlri, Rule> = BTreeMap::new();
        if by_change {
            next.extend(old.iter().filter(|_| seed.percent(50)).map(|rule| (rule.nlri.clone(), rule.clone())));
            let actions: Vec<_> = old.iter().map(|rule| rule.actions.clone()).collect();
            for rule in next.values_mut().filter(|_| !actions.is_empty()) {
                if seed.percent(20) {
                    rule.actions = actions[seed.below(actions.len() as u64) as usize].clone();
                }
            }
        }
        next.extend(fresh.map(|rule| (rule.nlri.clone(), rule)));
        rules = next.into_values().filter(possible).collect();
        let applied = if by_change {
            let kept: BTreeSet<_> = rules.iter().map(|rule| &rule.nlri).collect();
            let gone = old.iter().filter(|rule| !kept.contains(&rule.nlri)).map(|rule| Arc::new(rule.nlri.clone()));
            bench.plane.update(&Plan { upsert: compiled(&rules), remove: gone.collect(), protected: None })
        } else {
            bench.plane.replace(&ruleset(&rules))
        };
        let applied = applied.with_context(|| format!("round {round}"))?;
        ensure!(applied.failures.is_empty(), "round {round}: {:?}", applied.failures);
        let packets: Vec<(Tags, Vec<u8>)> = (0..PACKETS_A_ROUND)
            .map(|_| {
                let tags = match seed.below(10) {
                    0..=5 => Tags::None,
                    6 | 7 => Tags::One(0x8100),
                    8 => Tags::One(0x88a8),
                    _ => Tags::Two,
                };
                let nlris = rules.iter().map(|rule| &rule.nlri);
                let mut draft = random_draft_for(&mut seed, version, nlris, &packet_shape);
                if seed.percent(2) {
                    draft.protocol = MPLS_IN_IP;
                }
                (tags, draft.to_ip())
            })
            .filter(|(_, octets)| octets.len() <= 1490 && Seen::of(octets).is_some())
            .collect();
        let frames: Vec<Vec<u8>> =
            packets.iter().enumerate().map(|(n, (tags, packet))| frame(n, *tags, packet)).collect();
        let before: HashMap<Arc<Nlri>, u64> =
            bench.plane.counters()?.into_iter().map(|(nlri, counter)| (nlri, counter.packets)).collect();
        let arrived = bench.send(&frames).with_context(|| format!("round {round}, {verdicts} verdicts"))?;
        let after: HashMap<Arc<Nlri>, u64> =
            bench.plane.counters()?.into_iter().map(|(nlri, counter)| (nlri, counter.packets)).collect();
        let prepared: Vec<Prepared> = rules.iter().map(Prepared::new).collect();
        let mut counts = vec![0u64; rules.len()];
        for ((tags, octets), arrived) in packets.iter().zip(&arrived) {
            let seen = Seen::of(octets).context("it was one")?;
            let decision = seen.decision(&prepared, *tags);
            if let Some((at, true)) = decision {
                counts[at] += 1;
            }
            let effect = decision.filter(|(_, counts)| *counts).map(|(at, _)| rules[at].effect());
            let dropped = effect.is_some_and(|effect| effect.policing == Policing::Discard);
            let explain = || {
                let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
                let by = decision.map(|(at, _)| rules[at].to_string());
                let list = rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                format!("round {round}, by change: {by_change}, {tags:?}, expected {effect:?} by {by:?}: {hex}\n{list}")
            };
            ensure!(arrived.is_none() == dropped, "{} {}", if dropped { "passes" } else { "is dropped" }, explain());
            let oracle = decide(rules.iter(), &seen.packet, Scope::Global);
            let drops = oracle.effect.policing == Policing::Discard;
            ensure!(arrived.is_some() || drops, "dropped, which the oracle would not do: {}", explain());
            if let Some(packet) = arrived.as_ref().filter(|_| *tags != Tags::Two) {
                let mark = effect.and_then(|effect| effect.mark).unwrap_or(seen.packet.dscp());
                ensure!(dscp(packet) == mark, "DSCP {} and not {mark}: {}", dscp(packet), explain());
            }
            verdicts += 1;
            *told.entry(if dropped { "dropped" } else { "passed" }).or_default() += 1;
            for (name, is) in [
                ("tagged", matches!(tags, Tags::One(_))),
                ("fragments", seen.packet.fragment_position() != FragmentPosition::Whole),
                ("blind", seen.blind),
                ("hidden", seen.hidden),
                ("with MPLS inside", seen.mpls),
                ("exempted", decision.is_some_and(|(_, counts)| !counts)),
                ("marked", effect.is_some_and(|effect| effect.mark.is_some())),
            ] {
                *told.entry(name).or_default() += usize::from(is);
            }
        }
        for (at, (rule, count)) in rules.iter().zip(counts).enumerate() {
            let counted = after.get(&rule.nlri).unwrap_or(&0) - before.get(&rule.nlri).unwrap_or(&0);
            if counted != count {
                let packet = bench.miscounted(&packets, at, &prepared, &rule.nlri)?;
                anyhow::bail!("round {round}: {rule} matched {count} packets, the kernel counted {counted}; {packet}");
            }
        }
        let health = bench.plane.health()?;
        ensure!(health == Health::Intact, "round {round}: {health:?}");
        round += 1;
    }
    println!("{verdicts} verdicts agree ({round} rule sets): {told:?}");
    for (name, least) in [
        ("dropped", 10),
        ("tagged", 10),
        ("fragments", 20),
        ("blind", 30),
        ("hidden", 200),
        ("with MPLS inside", 200),
        ("exempted", 500),
        ("marked", 100),
    ] {
        let count = told.get(name).copied().unwrap_or_default();
        ensure!(count * least >= verdicts, "only {count} of {verdicts} packets were {name}");
    }
    Ok(())
}

/// What an encapsulated packet says is not what the packet says.
#[test]
fn nothing_inside_a_tunnel_is_compared() -> Result<()> {
    needs!(root, "ip", "tc");
    let Some(mut bench) = Bench::new()? else { return Ok(()) };
    let rules = [
        "dst 192.0.2.1/32 proto udp then discard",
        "dst 192.0.2.1/32 dport 53 then discard",
        "dst 198.51.100.1/32 then discard",
        "dst 2001:db8::1/128 proto udp then discard",
        "dst 2001:db8::1/128 dport 53 then discard",
        "dst 2001:db8::2/128 then discard",
    ];
    let rules: Vec<Rule> = rules.iter().map(|text| Ok(text.parse()?)).collect::<Result<_>>()?;
    bench.plane.replace(&ruleset(&rules))?;
    let udp = |to: &str| -> Result<Vec<u8>> {
        let to: std::net::IpAddr = to.parse()?;
        let from: std::net::IpAddr = if to.is_ipv4() { "203.0.113.1" } else { "2001:db8::9" }.parse()?;
        Ok(lab::packet::udp((from, 9).into(), (to, 53).into(), b"inner"))
    };
    let outer = |to: &str, protocol: u8, inner: &[u8]| -> Result<Vec<u8>> {
        // The header of a packet with a payload of the same length, which is then put in its place.
        let mut octets = udp(to)?;
        let header = if octets[0] >> 4 == 4 { 20 } else { 40 };
        octets.truncate(header);
        octets.extend(inner);
        if header == 20 {
            let length = octets.len() as u16;
            octets[2..4].copy_from_slice(&length.to_be_bytes());
            (octets[9], octets[10], octets[11]) = (protocol, 0, 0);
            let sum: u32 = octets[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            octets[10..12].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
        } else {
            octets[4..6].copy_from_slice(&(inner.len() as u16).to_be_bytes());
            octets[6] = protocol;
        }
        Ok(octets)
    };
    let (in_ip, in_ipv6, in_gre) = (4, 41, 47);
    for to in ["192.0.2.1", "2001:db8::1"] {
        let gre = |kind: u16, inner: Vec<u8>| [&[0, 0][..], &kind.to_be_bytes(), &inner].concat();
        let packets = [
            outer(to, in_ip, &udp("198.51.100.1")?)?,
            outer(to, in_ip, &udp("192.0.2.1")?)?,
            outer(to, in_ipv6, &udp("2001:db8::2")?)?,
            outer(to, in_ipv6, &udp("2001:db8::1")?)?,
            outer(to, in_gre, &gre(0x0800, udp("198.51.100.1")?))?,
            outer(to, in_gre, &gre(0x86dd, udp("2001:db8::1")?))?,
            udp(to)?,
        ];
        let frames: Vec<_> = packets.iter().enumerate().map(|(n, packet)| frame(n, Tags::None, packet)).collect();
        let passed: Vec<bool> = bench.send(&frames)?.iter().map(Option::is_some).collect();
        ensure!(passed == [true, true, true, true, true, true, false], "{to}: {passed:?}");
    }
    Ok(())
}
