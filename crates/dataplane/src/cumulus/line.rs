//! One compiled entry as a netfilter rule.

use super::capabilities::{ECN_FLAGS, NON_FIRST};
use super::settings::Settings;
use flowspec::protocol::{ICMP, ICMPV6, TCP, UDP};
use flowspec::space::{Condition, Cube, IntervalSet, ProtocolSet};
use flowspec::{ComponentType, Effect, IpVersion, Policing, Prefix, RuleId, Space};
use std::fmt::Write;

/// The prefix of an installed rule's comment; the rule's id follows.
pub(super) const COMMENT: &str = "floodgate:";

/// Smallest burst of a policer that counts kilobytes: room for a jumbo frame.
const MIN_BURST_KILOBYTES: u64 = 16;

/// Smallest burst of a policer that counts packets.
const MIN_BURST_PACKETS: u64 = 10;

const TCP_FLAGS: [(u16, &str); 6] =
    [(0x01, "FIN"), (0x02, "SYN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG")];

/// ICMPv6 types of neighbour discovery, from router solicitation to redirect.
const NEIGHBOR_DISCOVERY: std::ops::RangeInclusive<u32> = 133..=137;

/// Messages of IPv6 neighbour discovery, whatever their hop limit.
pub(super) fn neighbor_discovery() -> Space {
    let (first, last) = (*NEIGHBOR_DISCOVERY.start(), *NEIGHBOR_DISCOVERY.end());
    Space::all(IpVersion::V6)
        .narrowed(Condition::Protocol(ProtocolSet::of(&[58])))
        .narrowed(Condition::IcmpType(IntervalSet::range(first, last)))
        .narrowed(Condition::IcmpCode(IntervalSet::range(0, 0)))
}

/// Entries that [`write_neighbor_discovery`] takes for each interface.
pub(super) const NEIGHBOR_DISCOVERY_ENTRIES: u64 = 5;

/// Accepts link-local messages of neighbour discovery: without them IPv6 stops working on the link.
pub(super) fn write_neighbor_discovery(out: &mut String, settings: &Settings) {
    let (chain, interfaces) = (settings.release.chain(), settings.interfaces.join(","));
    for kind in NEIGHBOR_DISCOVERY {
        let _ = writeln!(
            out,
            "{chain} --in-interface {interfaces} -p ipv6-icmp -m icmp6 --icmpv6-type {kind}/0 -m hl --hl-eq 255 -j ACCEPT"
        );
    }
}

/// An entry that netfilter's syntax cannot express. The compiler makes none, so this would be a
/// bug, which must not reach the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of one of its entries cannot be written as a netfilter rule")]
pub(super) struct InexpressibleEntry(ComponentType);

/// Writes the rules of one entry: the match, once for each of its targets.
pub(super) fn write(
    out: &mut String,
    settings: &Settings,
    entry: &Space,
    effect: &Effect,
    id: Option<RuleId>,
) -> Result<(), InexpressibleEntry> {
    let start = out.len();
    let _ = write!(out, "{} --in-interface {}", settings.release.chain(), settings.interfaces.join(","));
    if let Some(id) = id.filter(|_| settings.has_comments()) {
        let _ = write!(out, " -m comment --comment {COMMENT}{id}");
    }
    write_match(out, entry)?;
    let end = out.len();
    match effect.policing {
        Policing::Discard => out.push_str(" -j DROP\n"),
        Policing::None => match effect.mark {
            Some(dscp) => drop(writeln!(out, " -j SETQOS --set-dscp {dscp}")),
            None => out.push_str(" -j ACCEPT\n"),
        },
        Policing::Limit { bytes, packets } => {
            let (mode, rate, least) = match (bytes, packets) {
                (Some(bytes), _) => ("KB", kilobytes(bytes), MIN_BURST_KILOBYTES),
                (None, packets) => ("pkt", whole(packets.unwrap_or(f32::MAX).into()), MIN_BURST_PACKETS),
            };
            let _ = writeln!(
                out,
                " -j POLICE --set-mode {mode} --set-rate {rate} --set-burst {}",
                burst(settings, rate, least)
            );
            if settings.accepts_behind_policers() {
                let again = out[start..end].to_owned();
                out.push_str(&again);
                out.push_str(" -j ACCEPT\n");
            }
        }
    }
    Ok(())
}

/// Bytes a second as kilobytes of 1,000, rounded up.
fn kilobytes(bytes: f32) -> u64 {
    whole(f64::from(bytes) / 1000.0)
}

/// Rounded up, at least 1, at most what the option takes.
fn whole(rate: f64) -> u64 {
    // A cast from a float saturates.
    (rate.ceil() as u64).clamp(1, u64::from(u32::MAX))
}

fn burst(settings: &Settings, rate: u64, least: u64) -> u64 {
    let burst = (rate as f64 * settings.burst.as_secs_f64()).ceil() as u64;
    burst.clamp(least, u64::from(u32::MAX))
}

fn write_match(out: &mut String, entry: &Space) -> Result<(), InexpressibleEntry> {
    for field in entry.fields().iter() {
        let inexpressible = Err(InexpressibleEntry(field));
        match field {
            ComponentType::Protocol => match entry.protocol().and_then(|set| set.single()) {
                Some(protocol) => drop(write!(out, " -p {}", Protocol(protocol))),
                None => return inexpressible,
            },
            ComponentType::Destination | ComponentType::Source => {}
            ComponentType::Dscp
            | ComponentType::DestinationPort
            | ComponentType::SourcePort
            | ComponentType::IcmpType
            | ComponentType::IcmpCode
            | ComponentType::TcpFlags
            | ComponentType::Fragment => {}
            ComponentType::Port | ComponentType::PacketLength | ComponentType::FlowLabel => return inexpressible,
        }
    }
    for (option, field, prefix) in
        [("-d", ComponentType::Destination, entry.destination()), ("-s", ComponentType::Source, entry.source())]
    {
        match prefix {
            None => {}
            Some(Prefix::V4(net)) => drop(write!(out, " {option} {net}")),
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 => {
                let _ = write!(out, " {option} {}/{}", std::net::Ipv6Addr::from(pattern.bits()), pattern.length());
            }
            Some(Prefix::V6(_)) => return Err(InexpressibleEntry(field)),
        }
    }
    write_fragment(out, entry)?;
    write_upper(out, entry)?;
    if let Some(set) = entry.dscp() {
        let dscp = set.to_intervals().single().ok_or(InexpressibleEntry(ComponentType::Dscp))?;
        let _ = write!(out, " -m dscp --dscp {dscp}");
    }
    Ok(())
}

fn write_fragment(out: &mut String, entry: &Space) -> Result<(), InexpressibleEntry> {
    match entry.fragment() {
        Some(kinds) if !entry.fragment_is_implied() => {
            if entry.version() == IpVersion::V6 || kinds != NON_FIRST {
                return Err(InexpressibleEntry(ComponentType::Fragment));
            }
            out.push_str(" -f");
        }
        _ => {}
    }
    Ok(())
}

fn write_upper(out: &mut String, entry: &Space) -> Result<(), InexpressibleEntry> {
    for (option, field, ports) in [
        ("--sport", ComponentType::SourcePort, entry.source_port()),
        ("--dport", ComponentType::DestinationPort, entry.destination_port()),
    ] {
        let Some(ports) = ports else { continue };
        match interval(ports) {
            Some((first, last)) if first == last => drop(write!(out, " {option} {first}")),
            Some((first, last)) => drop(write!(out, " {option} {first}:{last}")),
            None => return Err(InexpressibleEntry(field)),
        }
    }
    if let Some(types) = entry.icmp_type() {
        let option = match entry.version() {
            IpVersion::V4 => "--icmp-type",
            IpVersion::V6 => "-m icmp6 --icmpv6-type",
        };
        let kind = types.single().ok_or(InexpressibleEntry(ComponentType::IcmpType))?;
        let _ = write!(out, " {option} {kind}");
        if let Some(codes) = entry.icmp_code() {
            let code = codes.single().ok_or(InexpressibleEntry(ComponentType::IcmpCode))?;
            let _ = write!(out, "/{code}");
        }
    } else if entry.icmp_code().is_some() {
        return Err(InexpressibleEntry(ComponentType::IcmpCode));
    }
    if let Some(flags) = entry.tcp_flags() {
        let cubes = flags.cubes();
        let [Cube { value, mask }] = cubes[..] else { return Err(InexpressibleEntry(ComponentType::TcpFlags)) };
        write_tcp_flags(out, value, mask)?;
    }
    Ok(())
}

fn write_tcp_flags(out: &mut String, value: u16, mask: u16) -> Result<(), InexpressibleEntry> {
    let named = mask & !ECN_FLAGS;
    if named == 0 {
        // It excludes fragments, which have no TCP header.
        out.push_str(" -m tcp");
    } else {
        out.push_str(" --tcp-flags ");
        write_flags(out, named);
        out.push(' ');
        write_flags(out, value & named);
    }
    if mask & !value & ECN_FLAGS != 0 {
        return Err(InexpressibleEntry(ComponentType::TcpFlags));
    }
    if mask & ECN_FLAGS != 0 {
        out.push_str(" -m ecn");
        for (bit, option) in [(0x80, " --ecn-tcp-cwr"), (0x40, " --ecn-tcp-ece")] {
            out.push_str(if mask & bit != 0 { option } else { "" });
        }
    }
    Ok(())
}

fn write_flags(out: &mut String, flags: u16) {
    let mut separator = "";
    for (_, name) in TCP_FLAGS.into_iter().filter(|(bit, _)| flags & bit != 0) {
        out.push_str(separator);
        out.push_str(name);
        separator = ",";
    }
    if separator.is_empty() {
        out.push_str("NONE");
    }
}

fn interval(set: &IntervalSet) -> Option<(u32, u32)> {
    if set.len() == 1 { set.bounds() } else { None }
}

/// A protocol as netfilter names it: by name if an option of its own follows.
struct Protocol(u8);

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ICMP => f.write_str("icmp"),
            TCP => f.write_str("tcp"),
            UDP => f.write_str("udp"),
            ICMPV6 => f.write_str("ipv6-icmp"),
            number => number.fmt(f),
        }
    }
}
