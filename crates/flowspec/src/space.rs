//! Canonical match sets: each component's operator list becomes the set of values that it accepts.
//!
//! A [`Space`] is the set of packets that a rule matches (RFC 8955 §4.2, RFC 8956 §3) as one set
//! per packet field, with the conditions that upper-layer components imply by the RFCs made
//! explicit: ports mean TCP or UDP, and never a non-first fragment. Back ends compile spaces, and
//! never look at operator lists. [`Space::matches`] agrees with
//! [`Nlri::matches`](crate::Nlri::matches) on every packet.

use crate::component::{Component, ComponentType};
use crate::family::IpVersion;
use crate::nlri::Nlri;
use crate::packet::Packet;
use crate::prefix::{Ipv6Pattern, Prefix};
use crate::protocol;
use ipnet::Ipv4Net;

mod bits;
mod condition;
mod fields;
mod interval;
mod narrow;
mod relation;
mod tcp_flags;

pub use bits::{DscpSet, FragmentPosition, FragmentSet, ProtocolSet};
pub use condition::Condition;
pub use fields::Fields;
pub use interval::IntervalSet;
pub use tcp_flags::{Cube, TcpFlagSet};

/// Largest port.
pub const MAX_PORT: u32 = 0xffff;
/// Largest ICMP type or code.
pub const MAX_ICMP: u32 = 0xff;
/// Largest flow label.
pub const MAX_LABEL: u32 = 0xf_ffff;

/// Largest length of an IP packet: for IPv6 a payload of 65535 octets behind the header of 40.
#[must_use]
pub const fn max_length(version: IpVersion) -> u32 {
    match version {
        IpVersion::V4 => 65535,
        IpVersion::V6 => 65535 + 40,
    }
}

/// The set of packets that a rule matches: those that every constrained field accepts.
///
/// A field that accepts whatever a packet can have there is not constrained. The upper-layer fields
/// (ports, ICMP, TCP flags) differ: a full set there still asks for the header. What they imply is
/// in the constraints of [`protocol`](Self::protocol) and [`fragment`](Self::fragment). For IPv6 a
/// full protocol set still asks for a protocol, since a packet may tell none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Space {
    destination: Address,
    source: Address,
    fields: Fields,
    version: IpVersion,
    /// Without any kind where the whole space is empty.
    fragment: FragmentSet,
    dscp: DscpSet,
    protocol: ProtocolSet,
    port: IntervalSet,
    destination_port: IntervalSet,
    source_port: IntervalSet,
    icmp_type: IntervalSet,
    icmp_code: IntervalSet,
    length: IntervalSet,
    label: IntervalSet,
    tcp_flags: Option<Box<TcpFlagSet>>,
}

/// A prefix without the alignment of 16 that a `u128` has: a table holds many spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Address {
    octets: [u8; 16],
    offset: u8,
    length: u8,
}

impl Address {
    fn new(prefix: Prefix) -> Self {
        let mut octets = [0u8; 16];
        match prefix {
            Prefix::V4(net) => {
                octets[..4].copy_from_slice(&net.trunc().addr().octets());
                Address { octets, offset: 0, length: net.prefix_len() }
            }
            Prefix::V6(pattern) => {
                octets = pattern.bits().to_be_bytes();
                Address { octets, offset: pattern.offset(), length: pattern.length() }
            }
        }
    }

    fn prefix(self, version: IpVersion) -> Option<Prefix> {
        match version {
            IpVersion::V4 => {
                let [a, b, c, d, ..] = self.octets;
                Ipv4Net::new([a, b, c, d].into(), self.length).ok().map(Prefix::V4)
            }
            IpVersion::V6 => Ipv6Pattern::new(self.octets.into(), self.offset, self.length).map(Prefix::V6),
        }
    }
}

impl Space {
    /// All packets of an IP version.
    #[must_use]
    pub fn all(version: IpVersion) -> Self {
        Space {
            destination: Address::default(),
            source: Address::default(),
            fields: Fields::NONE,
            version,
            fragment: FragmentSet::possible(version),
            dscp: DscpSet::FULL,
            protocol: ProtocolSet::FULL,
            port: IntervalSet::empty(),
            destination_port: IntervalSet::empty(),
            source_port: IntervalSet::empty(),
            icmp_type: IntervalSet::empty(),
            icmp_code: IntervalSet::empty(),
            length: IntervalSet::empty(),
            label: IntervalSet::empty(),
            tcp_flags: None,
        }
    }

    /// The packets that a rule matches. The route distinguisher of a VPN rule plays no part: which
    /// VRF a packet is in is not told by the packet.
    #[must_use]
    pub fn of(nlri: &Nlri) -> Self {
        let mut space = Space::all(nlri.family().version());
        nlri.components().for_each(|component| space.constrain(component));
        space.normalize();
        space
    }

    /// Adds the constraint of one component; each type comes at most once.
    fn constrain(&mut self, component: Component<'_>) {
        let version = self.version;
        let field = component.component_type();
        match component {
            Component::Prefix(_, prefix) => {
                let address = Address::new(prefix);
                if address.length == 0 {
                    return;
                }
                match field {
                    ComponentType::Destination => self.destination = address,
                    _ => self.source = address,
                }
            }
            Component::Numeric(_, ops) => match field {
                ComponentType::Protocol => self.protocol = self.protocol.intersect(ProtocolSet::from_ops(ops)),
                ComponentType::Dscp => self.dscp = DscpSet::from_ops(ops),
                ComponentType::Port => self.port = IntervalSet::from_ops(ops, MAX_PORT),
                ComponentType::DestinationPort => self.destination_port = IntervalSet::from_ops(ops, MAX_PORT),
                ComponentType::SourcePort => self.source_port = IntervalSet::from_ops(ops, MAX_PORT),
                ComponentType::IcmpType => self.icmp_type = IntervalSet::from_ops(ops, MAX_ICMP),
                ComponentType::IcmpCode => self.icmp_code = IntervalSet::from_ops(ops, MAX_ICMP),
                ComponentType::PacketLength => self.length = IntervalSet::from_ops(ops, max_length(version)),
                ComponentType::FlowLabel => self.label = IntervalSet::from_ops(ops, MAX_LABEL),
                ComponentType::Destination
                | ComponentType::Source
                | ComponentType::TcpFlags
                | ComponentType::Fragment => {}
            },
            Component::Bitmask(_, ops) if field == ComponentType::Fragment => {
                self.fragment = self.fragment.intersect(FragmentSet::from_ops(ops, version));
            }
            Component::Bitmask(_, ops) => self.tcp_flags = Some(Box::new(TcpFlagSet::from_ops(ops))),
        }
        self.fields = self.fields.and(field);
    }

    /// Adds the conditions that the upper-layer fields imply, drops fields that accept everything,
    /// and finds out whether nothing is left.
    fn normalize(&mut self) {
        let implied = [
            (Fields::PORTS, ProtocolSet::WITH_PORTS),
            (Fields::ICMP, ProtocolSet::of(&[protocol::icmp_of(self.version)])),
            (Fields::of(ComponentType::TcpFlags), ProtocolSet::of(&[protocol::TCP])),
        ];
        for (fields, protocols) in implied {
            if self.fields.has_any(fields) {
                self.protocol = self.protocol.intersect(protocols);
                self.fragment = self.fragment.intersect(FragmentSet::WITH_L4_HEADER);
                self.fields = self.fields.and(ComponentType::Protocol).and(ComponentType::Fragment);
            }
        }
        let lengths = IntervalSet::range(self.min_length(), max_length(self.version));
        let full = [
            (ComponentType::Protocol, self.version == IpVersion::V4 && self.protocol.is_full()),
            (ComponentType::Dscp, self.dscp.is_full()),
            (ComponentType::Fragment, self.fragment.is_full(self.version)),
            (ComponentType::FlowLabel, self.label.is_full(MAX_LABEL)),
            (ComponentType::PacketLength, self.length.covers(&lengths)),
        ];
        self.fields = self.fields.without(full.into_iter().filter(|(_, full)| *full).map(|(field, _)| field).collect());
        if !self.fields.has(ComponentType::PacketLength) {
            self.length = IntervalSet::empty();
        }
        if !self.fields.has(ComponentType::FlowLabel) {
            self.label = IntervalSet::empty();
        }
        let empty = self.protocol.intersect(ProtocolSet::possible(self.version)).is_empty()
            || self.dscp.is_empty()
            || self.tcp_flags.as_ref().is_some_and(|set| set.is_empty())
            || self.icmp_type().is_some_and(IntervalSet::is_empty)
            || self.icmp_code().is_some_and(IntervalSet::is_empty)
            || self.label().is_some_and(IntervalSet::is_empty)
            || self.length().is_some_and(|set| !set.overlaps(&lengths))
            || self.ports_are_empty();
        if empty {
            self.fragment = FragmentSet(0);
        }
    }

    /// The shortest packet that could be in it, as far as the fields tell: IP header and the octets
    /// of the upper-layer header that are looked at.
    fn min_length(&self) -> u32 {
        let upper = if self.fields.has(ComponentType::TcpFlags) {
            14
        } else if self.fields.has_any(Fields::PORTS) {
            4
        } else if self.fields.has_any(Fields::ICMP) {
            2
        } else {
            0
        };
        upper
            + match self.version {
                IpVersion::V4 => 20,
                IpVersion::V6 => 40,
            }
    }

    /// The IP version of its packets.
    #[must_use]
    pub const fn version(&self) -> IpVersion {
        self.version
    }

    /// Whether no packet at all is in it: the rule never matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fragment.is_empty()
    }

    /// The constrained fields, implied ones included. Those of an empty space say nothing.
    #[must_use]
    pub const fn fields(&self) -> Fields {
        self.fields
    }

    /// Destination prefix; never of length 0.
    #[must_use]
    pub fn destination(&self) -> Option<Prefix> {
        if self.destination.length == 0 { None } else { self.destination.prefix(self.version) }
    }

    /// Source prefix; never of length 0.
    #[must_use]
    pub fn source(&self) -> Option<Prefix> {
        if self.source.length == 0 { None } else { self.source.prefix(self.version) }
    }

    /// Protocols. A set of IPv6 may have numbers of extension headers, which no packet has as its
    /// protocol.
    #[must_use]
    pub fn protocol(&self) -> Option<ProtocolSet> {
        self.given(ComponentType::Protocol, self.protocol)
    }

    /// Ports of which the packet's source port **or** its destination port is one.
    #[must_use]
    pub fn port(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::Port, &self.port)
    }

    /// Destination ports.
    #[must_use]
    pub fn destination_port(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::DestinationPort, &self.destination_port)
    }

    /// Source ports.
    #[must_use]
    pub fn source_port(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::SourcePort, &self.source_port)
    }

    /// ICMP or ICMPv6 types.
    #[must_use]
    pub fn icmp_type(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::IcmpType, &self.icmp_type)
    }

    /// ICMP or ICMPv6 codes.
    #[must_use]
    pub fn icmp_code(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::IcmpCode, &self.icmp_code)
    }

    /// TCP flags.
    #[must_use]
    pub fn tcp_flags(&self) -> Option<&TcpFlagSet> {
        self.tcp_flags.as_deref()
    }

    /// Lengths of the IP packet in octets, header included. May have lengths that no packet has
    /// (below 20 or 40).
    #[must_use]
    pub fn length(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::PacketLength, &self.length)
    }

    /// DSCPs.
    #[must_use]
    pub fn dscp(&self) -> Option<DscpSet> {
        self.given(ComponentType::Dscp, self.dscp)
    }

    /// Kinds of fragment. [`FragmentSet::WITH_L4_HEADER`] beside an upper-layer field says only
    /// what that field implies.
    #[must_use]
    pub fn fragment(&self) -> Option<FragmentSet> {
        self.given(ComponentType::Fragment, self.fragment)
    }

    /// Whether the fragment constraint says no more than that the upper-layer header is there,
    /// which an upper-layer field implies.
    #[must_use]
    pub fn fragment_is_implied(&self) -> bool {
        let implied = FragmentSet::WITH_L4_HEADER.intersect(FragmentSet::possible(self.version));
        self.fields.has_any(Fields::L4) && self.fragment == implied
    }

    /// Flow labels.
    #[must_use]
    pub fn label(&self) -> Option<&IntervalSet> {
        self.given(ComponentType::FlowLabel, &self.label)
    }

    /// The values of a component of numbers, `None` where it is not constrained or its values are
    /// no intervals (prefixes, protocol, TCP flags, DSCP, fragment).
    #[must_use]
    pub fn numbers(&self, component: ComponentType) -> Option<&IntervalSet> {
        match component {
            ComponentType::Port => self.port(),
            ComponentType::DestinationPort => self.destination_port(),
            ComponentType::SourcePort => self.source_port(),
            ComponentType::IcmpType => self.icmp_type(),
            ComponentType::IcmpCode => self.icmp_code(),
            ComponentType::PacketLength => self.length(),
            ComponentType::FlowLabel => self.label(),
            ComponentType::Destination
            | ComponentType::Source
            | ComponentType::Protocol
            | ComponentType::TcpFlags
            | ComponentType::Dscp
            | ComponentType::Fragment => None,
        }
    }

    fn given<T>(&self, field: ComponentType, set: T) -> Option<T> {
        self.fields.has(field).then_some(set)
    }

    /// Whether the packet is in it.
    #[must_use]
    pub fn matches(&self, packet: &Packet) -> bool {
        let prefix = |prefix: Option<Prefix>, address| prefix.is_none_or(|prefix| prefix.contains(address));
        let number = |set: Option<&IntervalSet>, value: Option<u32>| {
            set.is_none_or(|set| value.is_some_and(|value| set.contains(value)))
        };
        let (sport, dport) = (packet.source_port().map(u32::from), packet.destination_port().map(u32::from));
        !self.is_empty()
            && self.version == packet.version()
            && prefix(self.destination(), packet.destination())
            && prefix(self.source(), packet.source())
            && self.protocol().is_none_or(|set| packet.protocol().is_some_and(|protocol| set.contains(protocol)))
            && self.port().is_none_or(|set| [sport, dport].into_iter().flatten().any(|port| set.contains(port)))
            && number(self.destination_port(), dport)
            && number(self.source_port(), sport)
            && number(self.icmp_type(), packet.icmp_type().map(u32::from))
            && number(self.icmp_code(), packet.icmp_code().map(u32::from))
            && self.tcp_flags().is_none_or(|set| packet.tcp_flags().is_some_and(|flags| set.contains(flags)))
            && number(self.length(), Some(packet.length()))
            && self.dscp().is_none_or(|set| set.contains(packet.dscp()))
            && self.fragment().is_none_or(|set| set.contains(packet.dont_fragment(), packet.fragment_position()))
            && number(self.label(), packet.flow_label())
    }
}
