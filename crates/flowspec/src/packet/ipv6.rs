//! The IPv6 header and its extension headers (RFC 8200).

use super::{Packet, PacketError, Upper};
use crate::family::IpVersion;
use crate::protocol::{EXTENSION_HEADERS, IPV6_FRAGMENT};
use std::net::{IpAddr, Ipv6Addr};

const HEADER: usize = 40;
const AUTHENTICATION: u8 = 51;

pub(super) fn read(octets: &[u8]) -> Result<Packet, PacketError> {
    let truncated = PacketError::TruncatedIp { needed: HEADER, found: octets.len() };
    let fixed: &[u8; HEADER] = octets.first_chunk().ok_or(truncated)?;
    let [v0, v1, v2, v3, l0, l1, next_header, hop_limit, addresses @ ..] = *fixed;
    let mut source = [0u8; 16];
    source.copy_from_slice(&addresses[..16]);
    let mut destination = [0u8; 16];
    destination.copy_from_slice(&addresses[16..]);
    let word = u32::from_be_bytes([v0, v1, v2, v3]);
    let length = usize::from(u16::from_be_bytes([l0, l1])) + HEADER;
    let chain = Chain::walk(next_header, &octets[HEADER..octets.len().min(length)]);
    Ok(Packet {
        source: IpAddr::V6(Ipv6Addr::from(source)),
        destination: IpAddr::V6(Ipv6Addr::from(destination)),
        protocol: chain.protocol,
        upper: chain.upper,
        length: length as u32, // at most 65575
        dscp: (word >> 22 & 0x3f) as u8,
        dont_fragment: false,
        more_fragments: chain.more_fragments,
        fragment_offset: chain.fragment_offset,
        flow_label: Some(word & 0xf_ffff),
        hop_limit,
        next_header,
    })
}

/// What follows the fixed header.
struct Chain {
    protocol: Option<u8>,
    upper: Upper,
    fragment_offset: u16,
    more_fragments: bool,
}

impl Chain {
    /// Follows the Next Header octets. The chain of a non-first fragment ends at its fragment
    /// header, whose Next Header names what the first fragment starts with: the upper-layer
    /// protocol, or an extension header, after which it stays unknown. If a packet has several
    /// fragment headers, the outermost is the one that forwarding nodes see.
    fn walk(first: u8, mut rest: &[u8]) -> Self {
        let mut chain = Chain { protocol: None, upper: Upper::Nothing, fragment_offset: 0, more_fragments: false };
        let mut next_header = first;
        let mut has_fragment_header = false;
        let mut has_upper_header = true;
        while EXTENSION_HEADERS.contains(&next_header) {
            let &[next, length, o0, o1, ..] = rest else { return chain };
            if !has_upper_header {
                return chain;
            }
            let octets = match next_header {
                IPV6_FRAGMENT => 8,
                AUTHENTICATION => (usize::from(length) + 2) * 4,
                _ => (usize::from(length) + 1) * 8,
            };
            let Some(behind) = rest.get(octets..) else { return chain };
            if next_header == IPV6_FRAGMENT {
                let word = u16::from_be_bytes([o0, o1]);
                has_upper_header = word >> 3 == 0;
                if !has_fragment_header {
                    (chain.fragment_offset, chain.more_fragments) = (word >> 3, word & 1 != 0);
                    has_fragment_header = true;
                }
            }
            (next_header, rest) = (next, behind);
        }
        chain.protocol = Some(next_header);
        if has_upper_header {
            chain.upper = Upper::read(IpVersion::V6, next_header, rest);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::FragmentPosition;

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0x6b, 0x81, 0x23, 0x45];
        octets.extend((payload.len() as u16).to_be_bytes());
        octets.extend([next_header, 64]);
        octets.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend(payload);
        octets
    }

    const UDP: [u8; 8] = [0, 53, 1, 0, 0, 8, 0, 0];

    #[test]
    fn reads_the_fixed_header() {
        let packet = Packet::from_ip(&packet(17, &UDP)).unwrap();
        assert_eq!((packet.dscp(), packet.flow_label(), packet.length()), (46, Some(0x12345), 48));
        assert_eq!((packet.source_port(), packet.destination_port()), (Some(53), Some(256)));
        assert_eq!(packet.destination(), "2001:db8::2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn finds_udp_after_each_extension_header() {
        for header in EXTENSION_HEADERS {
            let mut payload = vec![17, 0, 0, 0, 0, 0, 0, 0];
            payload.extend(UDP);
            let packet = Packet::from_ip(&packet(header, &payload)).unwrap();
            assert_eq!((packet.protocol(), packet.source_port()), (Some(17), Some(53)), "{header}");
        }
        let long = [&[60, 1][..], &[0; 14], &[6, 2], &[0; 22]].concat();
        assert_eq!(Packet::from_ip(&packet(0, &long)).unwrap().protocol(), Some(6));
        for protocol in [50, 59, 253] {
            assert_eq!(Packet::from_ip(&packet(protocol, &UDP)).unwrap().protocol(), Some(protocol));
        }
    }

    #[test]
    fn a_chain_that_leaves_the_packet_has_no_protocol() {
        assert_eq!(Packet::from_ip(&packet(0, &[17, 1, 0, 0, 0, 0, 0, 0])).unwrap().protocol(), None);
        assert_eq!(Packet::from_ip(&packet(44, &[17, 0, 0])).unwrap().protocol(), None);
        assert_eq!(Packet::from_ip(&packet(0, &[17, 0, 0, 0, 0, 0, 0, 0])).unwrap().protocol(), Some(17));
    }

    #[test]
    fn fragments() {
        let fragment = |next: u8, word: u16| {
            let [o0, o1] = word.to_be_bytes();
            let payload = [&[next, 0, o0, o1, 0, 0, 0, 1][..], &UDP].concat();
            Packet::from_ip(&packet(44, &payload)).unwrap()
        };
        let atomic = fragment(17, 0);
        assert_eq!((atomic.fragment_position(), atomic.source_port()), (FragmentPosition::Whole, Some(53)));
        let first = fragment(17, 1);
        assert_eq!((first.fragment_position(), first.source_port()), (FragmentPosition::First, Some(53)));
        let middle = fragment(17, 8 | 1);
        assert_eq!((middle.fragment_position(), middle.protocol()), (FragmentPosition::Middle, Some(17)));
        assert_eq!(middle.source_port(), None);
        let last = fragment(60, 8);
        assert_eq!((last.fragment_position(), last.protocol()), (FragmentPosition::Last, None));
    }
}
