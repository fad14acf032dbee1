//! The fields of a packet that rules can match, parsed from raw octets without allocation.
//!
//! A field that is not in the octets is absent, and a component that needs it does not match.
//! Upper-layer fields are read only from octets that are captured and inside of the IP packet's own
//! length, never from link-layer padding.

use crate::family::IpVersion;
use crate::protocol::{ICMPV6, TCP, UDP, icmp_of};
use crate::space::FragmentPosition;
use std::net::IpAddr;

mod ipv4;
mod ipv6;
mod parse;

/// The fields of one IP packet. All numbers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: Option<u8>,
    upper: Upper,
    length: u32,
    dscp: u8,
    dont_fragment: bool,
    more_fragments: bool,
    fragment_offset: u16,
    flow_label: Option<u32>,
    hop_limit: u8,
    /// The protocol of the IP header itself: for IPv6 it may be that of an extension header.
    next_header: u8,
}

/// Facts of the upper-layer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upper {
    Nothing,
    Ports { source: u16, destination: u16, tcp_flags: Option<u16> },
    Icmp { kind: u8, code: u8 },
}

impl Upper {
    /// Reads the header of `protocol` that starts at `octets`, which end where the packet or the
    /// capture ends.
    fn read(version: IpVersion, protocol: u8, octets: &[u8]) -> Self {
        match (protocol, octets) {
            (TCP | UDP, &[s0, s1, d0, d1, ref rest @ ..]) => {
                let tcp_flags = match rest {
                    [_, _, _, _, _, _, _, _, octet12, octet13, ..] if protocol == TCP => {
                        Some(u16::from_be_bytes([octet12 & 0x0f, *octet13]))
                    }
                    _ => None,
                };
                Upper::Ports {
                    source: u16::from_be_bytes([s0, s1]),
                    destination: u16::from_be_bytes([d0, d1]),
                    tcp_flags,
                }
            }
            (_, &[kind, code, ..]) if protocol == icmp_of(version) => Upper::Icmp { kind, code },
            _ => Upper::Nothing,
        }
    }
}

/// Octets that are not an IP packet: no rule matches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Fewer octets than an Ethernet header, or than its VLAN tags, need.
    #[error("the Ethernet header is truncated")]
    TruncatedEthernet,
    /// The frame carries something else.
    #[error("EtherType {0:#06x} is neither IPv4 nor IPv6")]
    NotIp(u16),
    /// No octet at all, or fewer than the IP header has.
    #[error("the IP header is truncated: {found} of {needed} octets")]
    TruncatedIp {
        /// Octets that the header has.
        needed: usize,
        /// Octets that are there.
        found: usize,
    },
    /// The first four bits are neither 4 nor 6, or not what the EtherType says.
    #[error("IP version {0}")]
    Version(u8),
    /// An IPv4 header length below five words.
    #[error("the IPv4 header length is {0} words, at least 5 are needed")]
    HeaderLength(u8),
    /// An IPv4 total length shorter than the header.
    #[error("the IPv4 total length is {total}, shorter than the header of {header}")]
    TotalLength {
        /// Total length.
        total: u16,
        /// Header length in octets.
        header: u16,
    },
}

impl Packet {
    /// IP version.
    #[must_use]
    pub const fn version(&self) -> IpVersion {
        match self.destination {
            IpAddr::V4(_) => IpVersion::V4,
            IpAddr::V6(_) => IpVersion::V6,
        }
    }

    /// Source address.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// Destination address.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.destination
    }

    /// IPv4: the protocol. IPv6: the upper-layer protocol after the
    /// [`EXTENSION_HEADERS`](crate::EXTENSION_HEADERS); absent if it is not in this packet.
    #[must_use]
    pub const fn protocol(&self) -> Option<u8> {
        self.protocol
    }

    /// Source port, of TCP and UDP.
    #[must_use]
    pub const fn source_port(&self) -> Option<u16> {
        match self.upper {
            Upper::Ports { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Destination port, of TCP and UDP.
    #[must_use]
    pub const fn destination_port(&self) -> Option<u16> {
        match self.upper {
            Upper::Ports { destination, .. } => Some(destination),
            _ => None,
        }
    }

    /// ICMP or ICMPv6 type; there only where the code is, too.
    #[must_use]
    pub const fn icmp_type(&self) -> Option<u8> {
        match self.upper {
            Upper::Icmp { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// ICMP or ICMPv6 code.
    #[must_use]
    pub const fn icmp_code(&self) -> Option<u8> {
        match self.upper {
            Upper::Icmp { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Octets 12 and 13 of the TCP header, the data offset zero.
    #[must_use]
    pub const fn tcp_flags(&self) -> Option<u16> {
        match self.upper {
            Upper::Ports { tcp_flags, .. } => tcp_flags,
            _ => None,
        }
    }

    /// Octets of the IP packet, header included, as its header says: IPv4 total length, IPv6
    /// payload length and 40.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// DSCP, 6 bits.
    #[must_use]
    pub const fn dscp(&self) -> u8 {
        self.dscp
    }

    /// The don't-fragment bit; false for IPv6.
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.dont_fragment
    }

    /// The more-fragments bit.
    #[must_use]
    pub const fn more_fragments(&self) -> bool {
        self.more_fragments
    }

    /// Fragment offset in units of 8 octets; 0 for an IPv6 packet without fragment header.
    #[must_use]
    pub const fn fragment_offset(&self) -> u16 {
        self.fragment_offset
    }

    /// Which part of a datagram this is.
    #[must_use]
    pub const fn fragment_position(&self) -> FragmentPosition {
        FragmentPosition::of(self.fragment_offset, self.more_fragments)
    }

    /// IPv6 flow label, 20 bits.
    #[must_use]
    pub const fn flow_label(&self) -> Option<u32> {
        self.flow_label
    }

    /// IPv4 time to live, or IPv6 hop limit. No component compares it.
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Whether this is a message of IPv6 neighbour discovery that its receiver has to accept (RFC
    /// 4861 §6.1, §7.1, §8.1): ICMPv6 type 133 to 137, code 0, hop limit 255. No extension header
    /// may precede it: a fragment header makes receivers drop it (RFC 6980), and no node sends any
    /// other.
    ///
    /// No router forwards it with that hop limit, so a node of this link has sent it.
    #[must_use]
    pub const fn is_neighbor_discovery(&self) -> bool {
        matches!(self.version(), IpVersion::V6)
            && self.next_header == ICMPV6
            && self.hop_limit == u8::MAX
            && matches!(self.upper, Upper::Icmp { kind: 133..=137, code: 0 })
    }
}
