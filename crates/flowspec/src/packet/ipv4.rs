//! The IPv4 header (RFC 791).

use super::{Packet, PacketError, Upper};
use crate::family::IpVersion;
use std::net::{IpAddr, Ipv4Addr};

const MIN_HEADER: usize = 20;

pub(super) fn read(octets: &[u8]) -> Result<Packet, PacketError> {
    let truncated = |needed| PacketError::TruncatedIp { needed, found: octets.len() };
    let fixed: &[u8; MIN_HEADER] = octets.first_chunk().ok_or(truncated(MIN_HEADER))?;
    let [version_ihl, tos, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s @ .., d0, d1, d2, d3] = *fixed;
    let words = version_ihl & 0x0f;
    if words < 5 {
        return Err(PacketError::HeaderLength(words));
    }
    let header = usize::from(words) * 4;
    let total = u16::from_be_bytes([l0, l1]);
    if usize::from(total) < header {
        return Err(PacketError::TotalLength { total, header: u16::from(words) * 4 });
    }
    if octets.len() < header {
        return Err(truncated(header));
    }
    let payload = &octets[header..octets.len().min(usize::from(total))];
    let fragment = u16::from_be_bytes([f0, f1]);
    let fragment_offset = fragment & 0x1fff;
    Ok(Packet {
        source: IpAddr::V4(Ipv4Addr::from(s)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        protocol: Some(protocol),
        upper: if fragment_offset == 0 { Upper::read(IpVersion::V4, protocol, payload) } else { Upper::Nothing },
        length: u32::from(total),
        dscp: tos >> 2,
        dont_fragment: fragment & 0x4000 != 0,
        more_fragments: fragment & 0x2000 != 0,
        fragment_offset,
        flow_label: None,
        hop_limit: ttl,
        next_header: protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::FragmentPosition;

    fn header(total: u16, fragment: u16, protocol: u8) -> Vec<u8> {
        let mut octets = vec![0x45, 46 << 2 | 1];
        octets.extend(total.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(fragment.to_be_bytes());
        octets.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
        octets
    }

    #[test]
    fn reads_a_tcp_packet() {
        let mut octets = header(40, 0x4000, 6);
        octets.extend([0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x51, 0x12, 0, 0, 0, 0, 0, 0]);
        let packet = Packet::from_ip(&octets).unwrap();
        assert_eq!(packet.source(), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(packet.destination(), "198.51.100.2".parse::<IpAddr>().unwrap());
        assert_eq!((packet.source_port(), packet.destination_port()), (Some(12345), Some(80)));
        assert_eq!(packet.tcp_flags(), Some(0x112));
        assert_eq!((packet.protocol(), packet.length(), packet.dscp()), (Some(6), 40, 46));
        assert!(packet.dont_fragment() && packet.icmp_type().is_none() && packet.flow_label().is_none());
    }

    #[test]
    fn padding_after_the_total_length_is_no_header() {
        let mut octets = header(23, 0, 17);
        octets.extend([0, 53, 0, 53, 0, 0, 0, 0]);
        assert_eq!(Packet::from_ip(&octets).unwrap().destination_port(), None);
        octets[3] = 24;
        assert_eq!(Packet::from_ip(&octets).unwrap().destination_port(), Some(53));
        assert_eq!(Packet::from_ip(&octets[..23]).unwrap().destination_port(), None);
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        for (fragment, position, ports) in [
            (0x2000, FragmentPosition::First, true),
            (0x2001, FragmentPosition::Middle, false),
            (0x0001, FragmentPosition::Last, false),
            (0x4000, FragmentPosition::Whole, true),
        ] {
            let mut octets = header(28, fragment, 17);
            octets.extend([0, 53, 0, 53, 0, 8, 0, 0]);
            let packet = Packet::from_ip(&octets).unwrap();
            assert_eq!(packet.fragment_position(), position);
            assert_eq!(packet.source_port().is_some(), ports);
            assert_eq!(packet.protocol(), Some(17));
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        let good = header(20, 0, 17);
        let with = |at: usize, octet: u8| {
            let mut octets = good.clone();
            octets[at] = octet;
            Packet::from_ip(&octets)
        };
        assert!(Packet::from_ip(&good).is_ok());
        assert_eq!(Packet::from_ip(&good[..19]), Err(PacketError::TruncatedIp { needed: 20, found: 19 }));
        assert_eq!(Packet::from_ip(&[]), Err(PacketError::TruncatedIp { needed: 20, found: 0 }));
        assert_eq!(with(0, 0x44), Err(PacketError::HeaderLength(4)));
        assert_eq!(with(0, 0x46), Err(PacketError::TotalLength { total: 20, header: 24 }));
        assert_eq!(with(3, 19), Err(PacketError::TotalLength { total: 19, header: 20 }));
        assert_eq!(with(0, 0x55), Err(PacketError::Version(5)));
        let mut options = good.clone();
        options[0] = 0x46;
        options[3] = 24;
        assert_eq!(Packet::from_ip(&options), Err(PacketError::TruncatedIp { needed: 24, found: 20 }));
    }
}
