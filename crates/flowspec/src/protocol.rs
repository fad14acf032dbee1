//! Numbers of IP protocols (IANA) that FlowSpec components imply.

use crate::family::IpVersion;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// The IPv6 fragment header.
pub const IPV6_FRAGMENT: u8 = 44;

/// The IPv6 extension headers behind which the upper-layer protocol is looked for (RFC 8956 §3.3:
/// the first Next Header that is no extension header): hop-by-hop options, routing, fragment,
/// authentication, destination options, mobility, HIP and Shim6, from the registry of RFC 7045.
///
/// Of that registry ESP (50) is left out, since what it hides cannot be read, and so are 253 and
/// 254, which have no known form: those three count as the upper-layer protocol, as does No Next
/// Header (59). In IPv4 the protocol is the header's, whatever its number.
pub const EXTENSION_HEADERS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// The protocol number of ICMP in an IP version.
pub(crate) const fn icmp_of(version: IpVersion) -> u8 {
    match version {
        IpVersion::V4 => ICMP,
        IpVersion::V6 => ICMPV6,
    }
}
