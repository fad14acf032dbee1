//! Rule sets and packets to measure with, the same in each run.

use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Space;
use flowspec::testing::Seed;
use flowspec::{Nlri, Prefix, Rule};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How a rule set is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// As in a DDoS: 99% of the rules protect an address or network of 10.0.0.0/8, about four rules
    /// each; 1% have none.
    V4,
    /// The same in IPv6, in 2001:db8::/32, with prefix lengths from 32 to 128.
    V6,
    /// No rule has a destination: sources of all lengths, ports, port ranges, lengths, flags.
    Hostile,
}

/// What packets are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// No rule for the address.
    Clean,
    /// 256 rules hit.
    Hot,
    /// An address with rules, none of which matches.
    Victim,
    /// Each a match of some rule, all rules alike.
    Match,
}

pub(crate) const TRAFFIC: [(Traffic, &str); 4] =
    [(Traffic::Clean, "clean"), (Traffic::Hot, "hot"), (Traffic::Victim, "victim"), (Traffic::Match, "match")];

/// A rule, and a packet that it matches (not necessarily as the first).
#[derive(Clone)]
pub(crate) struct Line {
    pub compiled: Arc<CompiledRule>,
    packet: Packet,
    has_destination: bool,
}

#[derive(Clone, Copy)]
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: (u16, u16),
    flags: u8,
    length: u16,
}

/// Ports of reflectors.
const REFLECTORS: [u16; 10] = [53, 123, 161, 389, 1900, 11211, 19, 17, 137, 3702];

/// `count` different rules.
pub(crate) fn rules(mix: Mix, count: usize) -> Vec<Line> {
    let mut seed = Seed::new(0x5eed + mix as u64);
    let mut lines: BTreeMap<Nlri, Line> = BTreeMap::new();
    // One address for about four rules.
    let mut destination = None;
    while lines.len() < count {
        if destination.is_none() || seed.percent(25) {
            destination = Some(destination_of(&mut seed, mix));
        }
        let (text, packet, has_destination) = match mix {
            Mix::Hostile => hostile(&mut seed),
            Mix::V4 | Mix::V6 if seed.percent(1) => without_destination(&mut seed, mix),
            Mix::V4 | Mix::V6 => aimed(&mut seed, destination.as_ref().expect("just set"), mix),
        };
        let rule: Rule = format!("{text} then discard").parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let compiled = Arc::new(CompiledRule {
            id: rule.nlri.id(),
            effect: rule.effect(),
            entries: vec![Space::of(&rule.nlri)],
            nlri: Arc::new(rule.nlri.clone()),
        });
        lines.insert(rule.nlri, Line { compiled, packet, has_destination });
    }
    lines.into_values().collect()
}

pub(crate) fn ruleset(lines: &[Line]) -> Ruleset {
    Ruleset { protected: Arc::default(), rules: lines.iter().map(|line| line.compiled.clone()).collect() }
}

struct Destination {
    prefix: String,
    address: IpAddr,
}

/// The network of this length around an address.
fn prefix(address: IpAddr, length: u8) -> String {
    let network: IpAddr = match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u64::MAX << (32 - length)) as u32).into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    };
    format!("{network}/{length}")
}

fn random_v4(seed: &mut Seed) -> Ipv4Addr {
    Ipv4Addr::from_bits(10 << 24 | seed.below(1 << 24) as u32)
}

fn random_v6(seed: &mut Seed) -> Ipv6Addr {
    let hi = 0x2001_0db8_0000_0000 | seed.below(1 << 12) << 20 | seed.below(1 << 8) << 8;
    Ipv6Addr::from_bits(u128::from(hi) << 64 | u128::from(seed.below(1 << 16)))
}

fn destination_of(seed: &mut Seed, mix: Mix) -> Destination {
    let (address, length): (IpAddr, u8) = if mix == Mix::V6 {
        let length = match seed.below(100) {
            0..=84 => 128,
            85..=92 => 64,
            93..=96 => 48,
            _ => seed.within(48, 127) as u8,
        };
        (random_v6(seed).into(), length)
    } else {
        let length = match seed.below(100) {
            0..=84 => 32,
            85..=94 => 24,
            _ => seed.within(20, 31) as u8,
        };
        (random_v4(seed).into(), length)
    };
    Destination { prefix: prefix(address, length), address }
}

fn source_of(seed: &mut Seed, ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::from_bits(0x2400 << 112 | u128::from(seed.next_u64()) << 32).into()
    } else {
        Ipv4Addr::from_bits(100 << 24 | seed.below(1 << 27) as u32).into()
    }
}

/// A rule for an address: what detectors announce.
fn aimed(seed: &mut Seed, to: &Destination, mix: Mix) -> (String, Packet, bool) {
    let ipv6 = mix == Mix::V6;
    let family = if ipv6 { "ipv6 " } else { "" };
    let mut packet = Packet {
        source: source_of(seed, ipv6),
        destination: to.address,
        protocol: 17,
        ports: (40000 + seed.below(1000) as u16, 30000 + seed.below(1000) as u16),
        flags: 0x10,
        length: 90,
    };
    let head = format!("{family}dst {}", to.prefix);
    let text = match seed.below(10) {
        0..=4 => {
            let port = REFLECTORS[seed.below(10) as usize];
            packet.ports.0 = port;
            if seed.percent(30) {
                format!("{head} proto udp sport {port} length >={}", seed.within(60, 90))
            } else {
                format!("{head} proto udp sport {port}")
            }
        }
        5..=6 => {
            (packet.protocol, packet.flags, packet.ports.1) = (6, 2, seed.below(60000) as u16 + 1);
            format!("{head} proto tcp dport {} tcp-flags syn&!ack", packet.ports.1)
        }
        7 => {
            let first = seed.within(1, 60000) as u16;
            packet.ports.1 = first + seed.below(20) as u16;
            format!("{head} proto udp dport {first}-{}", first + 20)
        }
        8 => {
            let length = if ipv6 { 48 } else { 24 };
            format!("{head} src {} proto udp", prefix(packet.source, length))
        }
        _ => {
            packet.protocol = 47;
            format!("{head} proto 47,{}", seed.within(50, 250))
        }
    };
    (text, packet, true)
}

/// One rule of a hundred in a DDoS: a botnet's sources, a port of reflectors, a kind of packet.
fn without_destination(seed: &mut Seed, mix: Mix) -> (String, Packet, bool) {
    let ipv6 = mix == Mix::V6;
    let mut packet = Packet {
        source: source_of(seed, ipv6),
        destination: if ipv6 { random_v6(seed).into() } else { random_v4(seed).into() },
        protocol: 17,
        ports: (REFLECTORS[seed.below(10) as usize], seed.within(1, 65535) as u16),
        flags: 2,
        length: seed.within(60, 90) as u16,
    };
    let family = if ipv6 { "ipv6 " } else { "" };
    let lengths: [u8; 4] = if ipv6 { [128, 64, 56, 48] } else { [32, 24, 22, 16] };
    let text = match seed.below(10) {
        0..=3 => format!("{family}src {} proto udp sport {}", prefix(packet.source, lengths[0]), packet.ports.0),
        4..=6 => format!("{family}src {}", prefix(packet.source, lengths[1])),
        7 => format!("{family}src {} proto udp", prefix(packet.source, lengths[2 + seed.below(2) as usize])),
        8 => format!("{family}proto udp sport {} dport {} length {}", packet.ports.0, packet.ports.1, packet.length),
        _ => {
            packet.protocol = 6;
            format!("{family}proto tcp dport {} tcp-flags syn&!ack length {}", packet.ports.1, packet.length)
        }
    };
    (text, packet, false)
}

/// A rule without destination.
fn hostile(seed: &mut Seed) -> (String, Packet, bool) {
    let mut packet = Packet {
        source: source_of(seed, false),
        destination: random_v4(seed).into(),
        protocol: 17,
        ports: (seed.within(1, 65535) as u16, seed.within(1, 65535) as u16),
        flags: 0x10,
        length: seed.within(60, 90) as u16,
    };
    let length = seed.within(8, 32) as u8;
    let text = match seed.below(6) {
        0 => format!("src {}/32 proto udp sport {}", packet.source, packet.ports.0),
        1 => format!("src {} proto udp", prefix(packet.source, length)),
        2 => {
            let last = packet.ports.1.saturating_add(seed.below(300) as u16);
            format!("src {} proto udp dport {}-{last}", prefix(packet.source, length), packet.ports.1)
        }
        3 => format!("proto udp dport {} sport {} length {}", packet.ports.1, packet.ports.0, packet.length),
        4 => {
            (packet.protocol, packet.flags) = (6, 2);
            format!("src {} proto tcp dport {} tcp-flags syn&!ack", prefix(packet.source, length), packet.ports.1)
        }
        _ => format!("src {}/32 proto udp dport {} length >={}", packet.source, packet.ports.1, packet.length),
    };
    (text, packet, false)
}

/// `count` different frames.
pub(crate) fn frames(mix: Mix, traffic: Traffic, lines: &[Line], count: usize) -> Vec<Vec<u8>> {
    let mut seed = Seed::new(77 + traffic as u64);
    let aimed: Vec<&Line> = lines.iter().filter(|line| line.has_destination).collect();
    let ipv6 = mix == Mix::V6;
    // Every network that has a rule, by length.
    let networks: std::collections::HashSet<(u8, u128)> =
        lines.iter().filter_map(|line| network(&line.compiled)).collect();
    let lengths: std::collections::BTreeSet<u8> = networks.iter().map(|(length, _)| *length).collect();
    let is_clean =
        |address: IpAddr| lengths.iter().all(|&length| !networks.contains(&(length, bits(address) >> (128 - length))));
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        let mut packet = match traffic {
            Traffic::Match if !lines.is_empty() => lines[seed.below(lines.len() as u64) as usize].packet,
            Traffic::Hot if !lines.is_empty() => {
                lines[(seed.below(256) as usize * lines.len() / 256) % lines.len()].packet
            }
            Traffic::Victim if !aimed.is_empty() => {
                let mut packet = aimed[seed.below(aimed.len() as u64) as usize].packet;
                harmless(&mut packet, &mut seed, ipv6);
                packet
            }
            _ => {
                let destination = if ipv6 { random_v6(&mut seed).into() } else { random_v4(&mut seed).into() };
                if !is_clean(destination) {
                    continue;
                }
                let source = source_of(&mut seed, ipv6);
                let mut packet = Packet { source, destination, protocol: 6, ports: (0, 443), flags: 0x10, length: 80 };
                harmless(&mut packet, &mut seed, ipv6);
                packet
            }
        };
        packet.length = packet.length.max(60);
        frames.push(frame(&packet));
    }
    frames
}

/// Left-aligned bits of an address.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Length and bits of the destination that a rule protects.
fn network(rule: &CompiledRule) -> Option<(u8, u128)> {
    match rule.entries[0].destination()? {
        Prefix::V4(net) => Some((net.prefix_len(), bits(net.network().into()) >> (128 - net.prefix_len()))),
        Prefix::V6(pattern) => Some((pattern.length(), pattern.bits() >> (128 - pattern.length()))),
    }
}

/// An ordinary connection to a web server.
fn harmless(packet: &mut Packet, seed: &mut Seed, ipv6: bool) {
    packet.source = if ipv6 {
        Ipv6Addr::from_bits(0x2600 << 112 | u128::from(seed.next_u64()) << 32).into()
    } else {
        Ipv4Addr::from_bits(150 << 24 | seed.below(1 << 24) as u32).into()
    };
    packet.protocol = 6;
    packet.ports = (20000 + seed.below(40000) as u16, 443);
    packet.flags = 0x10;
}

fn frame(packet: &Packet) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend(packet.length.to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, packet.protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((packet.length - 40).to_be_bytes());
            frame.extend([packet.protocol, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => unreachable!("both addresses are of one family"),
    }
    frame.extend(packet.ports.0.to_be_bytes());
    frame.extend(packet.ports.1.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([0x50, packet.flags]);
    frame
}
