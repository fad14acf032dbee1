//! Whether a packet matches a rule. Written directly from RFC 8955 §4.2 and RFC 8956 §3, without
//! any optimisation: this is the oracle with which [`Space`](crate::Space) and every data plane are
//! compared. Keep it simple.

use crate::component::{Component, ComponentType};
use crate::family::IpVersion;
use crate::nlri::Nlri;
use crate::op::{BitmaskOp, NumericOp};
use crate::packet::Packet;
use crate::prefix::Prefix;
use crate::protocol;
use std::net::IpAddr;

mod decision;
mod mismatch;

pub use decision::{Decision, Exemption, Scope, decide, explain};
pub use mismatch::{Absence, Found, Mismatch};

impl Nlri {
    /// Whether `packet` matches: the version is the rule's, and every component accepts the packet.
    /// The route distinguisher of a VPN rule is ignored.
    ///
    /// # Errors
    /// The first component, in wire order, that does not accept it, and why.
    pub fn matches(&self, packet: &Packet) -> Result<(), Mismatch<'_>> {
        let rule = self.family().version();
        if rule != packet.version() {
            return Err(Mismatch::Version { packet: packet.version(), rule });
        }
        self.components().try_for_each(|component| component_matches(component, packet))
    }
}

fn component_matches<'a>(component: Component<'a>, packet: &Packet) -> Result<(), Mismatch<'a>> {
    let accepted = |accepted, found| if accepted { Ok(()) } else { Err(Mismatch::Value { component, found }) };
    let absent = |why| Mismatch::Absent { component, why };
    match component {
        Component::Prefix(kind, prefix) => {
            let address = if kind == ComponentType::Source { packet.source() } else { packet.destination() };
            accepted(prefix_holds(prefix, address), Found::Address(address))
        }
        Component::Numeric(ComponentType::Port, ops) => {
            // RFC 8955 §4.2.2.4: either of the two ports.
            let (source, destination) = ports(packet).map_err(absent)?;
            let either = numeric_list_holds(ops, source.into()) || numeric_list_holds(ops, destination.into());
            accepted(either, Found::Ports { source, destination })
        }
        Component::Numeric(kind, ops) => {
            let found = numeric_fact(kind, packet).map_err(absent)?;
            accepted(numeric_list_holds(ops, found), Found::Number(found))
        }
        Component::Bitmask(ComponentType::TcpFlags, ops) => {
            let flags = tcp_flags(packet).map_err(absent)?;
            accepted(bitmask_list_holds(ops, flags.into()), Found::TcpFlags(flags))
        }
        Component::Bitmask(_, ops) => {
            let bits = fragment_bits(packet);
            accepted(bitmask_list_holds(ops, bits.into()), Found::Fragment(bits))
        }
    }
}

fn prefix_holds(prefix: Prefix, address: IpAddr) -> bool {
    match (prefix, address) {
        (Prefix::V4(net), IpAddr::V4(address)) => net.contains(&address),
        (Prefix::V6(pattern), IpAddr::V6(address)) => pattern.contains(address),
        _ => false,
    }
}

/// The number that a numeric component other than `port` compares.
fn numeric_fact(kind: ComponentType, packet: &Packet) -> Result<u64, Absence> {
    match kind {
        ComponentType::Protocol => packet.protocol().map(u64::from).ok_or(Absence::Protocol),
        ComponentType::DestinationPort => ports(packet).map(|(_, destination)| destination.into()),
        ComponentType::SourcePort => ports(packet).map(|(source, _)| source.into()),
        ComponentType::IcmpType => icmp(packet).map(|(kind, _)| kind.into()),
        ComponentType::IcmpCode => icmp(packet).map(|(_, code)| code.into()),
        ComponentType::PacketLength => Ok(packet.length().into()),
        ComponentType::Dscp => Ok(packet.dscp().into()),
        ComponentType::FlowLabel => packet.flow_label().map(u64::from).ok_or(Absence::FlowLabel),
        ComponentType::Destination
        | ComponentType::Source
        | ComponentType::Port
        | ComponentType::TcpFlags
        | ComponentType::Fragment => Err(Absence::NotNumeric),
    }
}

/// Source and destination port: only TCP and UDP, only in the first fragment, only if the header is
/// complete (RFC 8955 §4.2.2.4).
fn ports(packet: &Packet) -> Result<(u16, u16), Absence> {
    upper_layer(packet, &[protocol::TCP, protocol::UDP], Absence::Ports)?;
    packet.source_port().zip(packet.destination_port()).ok_or(Absence::Truncated)
}

/// Type and code: only ICMP, or ICMPv6 for IPv6, only in the first fragment (RFC 8955 §4.2.2.7, RFC
/// 8956 §3.4).
fn icmp(packet: &Packet) -> Result<(u8, u8), Absence> {
    upper_layer(packet, &[protocol::icmp_of(packet.version())], Absence::Icmp)?;
    packet.icmp_type().zip(packet.icmp_code()).ok_or(Absence::Truncated)
}

/// Only TCP, only in the first fragment, only if the header is complete (RFC 8955 §4.2.2.9).
fn tcp_flags(packet: &Packet) -> Result<u16, Absence> {
    upper_layer(packet, &[protocol::TCP], Absence::TcpFlags)?;
    packet.tcp_flags().ok_or(Absence::Truncated)
}

fn upper_layer(packet: &Packet, wanted: &[u8], otherwise: fn(IpVersion, u8) -> Absence) -> Result<(), Absence> {
    let protocol = packet.protocol().ok_or(Absence::Protocol)?;
    if !wanted.contains(&protocol) {
        Err(otherwise(packet.version(), protocol))
    } else if packet.fragment_offset() != 0 {
        Err(Absence::NonFirstFragment)
    } else {
        Ok(())
    }
}

/// The bits of RFC 8955 §4.2.2.12 and RFC 8956 §3.6.
fn fragment_bits(packet: &Packet) -> u8 {
    let offset = packet.fragment_offset();
    let more_fragments = packet.more_fragments();
    let dont_fragment = packet.dont_fragment();
    let is_fragment = offset != 0;
    let first_fragment = offset == 0 && more_fragments;
    let last_fragment = offset != 0 && !more_fragments;
    u8::from(dont_fragment) | u8::from(is_fragment) << 1 | u8::from(first_fragment) << 2 | u8::from(last_fragment) << 3
}

/// AND binds tighter than OR (RFC 8955 §4.2.1.1): the list is the OR of groups, and a pair without
/// the AND bit starts one.
fn numeric_list_holds(ops: impl Iterator<Item = NumericOp>, data: u64) -> bool {
    list_holds(ops.map(|op| (op.and, op.comparison.holds(data, op.value))))
}

fn bitmask_list_holds(ops: impl Iterator<Item = BitmaskOp>, data: u64) -> bool {
    list_holds(ops.map(|op| (op.and, op.holds(data))))
}

fn list_holds(pairs: impl Iterator<Item = (bool, bool)>) -> bool {
    let mut groups: Vec<Vec<bool>> = Vec::new();
    for (and, holds) in pairs {
        match groups.last_mut() {
            Some(group) if and => group.push(holds),
            _ => groups.push(vec![holds]),
        }
    }
    groups.iter().any(|group| group.iter().all(|&holds| holds))
}
