//! Packets to send: IP packets with correct lengths and checksums, and Ethernet frames.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader};

/// Hop limit of all packets made here: large enough, and recognisable.
const TTL: u8 = 61;

/// TCP flag bits as in the header's octet 13, to be combined with `|`.
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// First packet of a connection.
    pub const SYN: u8 = 0x02;
    /// Connection refused or broken.
    pub const RST: u8 = 0x04;
    /// Deliver now.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// An IP packet with a UDP datagram.
///
/// # Panics
/// The addresses are of different families, or the payload does not fit: an error in the test.
#[must_use]
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ip(headers(from.ip(), to.ip()))
        .udp(from.port(), to.port())
        .write(&mut packet, payload)
        .expect("the payload fits into a datagram");
    packet
}

/// An IP packet with a TCP segment that has these [flags](tcp_flags).
///
/// # Panics
/// As [`udp`].
#[must_use]
pub fn tcp(from: SocketAddr, to: SocketAddr, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(from.port(), to.port(), 1, 64_000);
    header.fin = flags & tcp_flags::FIN != 0;
    header.syn = flags & tcp_flags::SYN != 0;
    header.rst = flags & tcp_flags::RST != 0;
    header.psh = flags & tcp_flags::PSH != 0;
    header.ack = flags & tcp_flags::ACK != 0;
    header.urg = flags & tcp_flags::URG != 0;
    header.ece = flags & tcp_flags::ECE != 0;
    header.cwr = flags & tcp_flags::CWR != 0;
    let mut packet = Vec::new();
    PacketBuilder::ip(headers(from.ip(), to.ip()))
        .tcp_header(header)
        .write(&mut packet, payload)
        .expect("the payload fits into a segment");
    packet
}

/// An IP packet with an ICMP message (ICMPv6 between IPv6 addresses) of this type and code.
///
/// # Panics
/// As [`udp`].
#[must_use]
pub fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ip(headers(from, to));
    let mut packet = Vec::new();
    let written = if from.is_ipv4() {
        builder.icmpv4_raw(kind, code, [0; 4]).write(&mut packet, payload)
    } else {
        builder.icmpv6_raw(kind, code, [0; 4]).write(&mut packet, payload)
    };
    written.expect("the payload fits into a message");
    packet
}

/// An IP packet with any protocol and payload; no checksum is computed inside the payload.
///
/// # Panics
/// As [`udp`].
#[must_use]
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ip(headers(from, to))
        .write(&mut packet, IpNumber(protocol), payload)
        .expect("the payload fits into a packet");
    packet
}

/// Splits an IPv4 packet without options into fragments whose payloads have `size` octets (a
/// multiple of 8), except the last.
///
/// # Panics
/// The packet is not such a packet, or the size is not a multiple of 8: an error in the test.
#[must_use]
pub fn fragments(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    assert!(size > 0 && size.is_multiple_of(8), "fragment offsets count units of 8 octets");
    let (header, payload) = Ipv4Header::from_slice(packet).expect("an IPv4 packet");
    let count = payload.chunks(size).len();
    let piece = |(index, chunk): (usize, &[u8])| {
        let mut header = header.clone();
        header.identification = 0x4647;
        header.dont_fragment = false;
        header.more_fragments = index + 1 < count;
        let offset = u16::try_from(index * size / 8).expect("a packet is shorter than 65,536 octets");
        header.fragment_offset = IpFragOffset::try_new(offset).expect("and so its offsets fit into 13 bits");
        header.set_payload_len(chunk.len()).expect("a piece of a packet that fitted");
        header.header_checksum = header.calc_header_checksum();
        let mut fragment = Vec::with_capacity(20 + chunk.len());
        header.write(&mut fragment).expect("writing to memory");
        fragment.extend_from_slice(chunk);
        fragment
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

/// A frame with this IP packet; its type follows from the packet's version.
///
/// # Panics
/// The packet is neither IPv4 nor IPv6.
#[must_use]
pub fn ethernet(from: [u8; 6], to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = match packet.first().map(|first| first >> 4) {
        Some(4) => [0x08, 0x00],
        Some(6) => [0x86, 0xdd],
        version => panic!("no IP packet: version {version:?}"),
    };
    [&to[..], &from[..], &kind[..], packet].concat()
}

fn headers(from: IpAddr, to: IpAddr) -> IpHeaders {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(0, TTL, IpNumber::UDP, from.octets(), to.octets())
                .expect("an empty payload fits into a packet");
            IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => IpHeaders::Ipv6(
            Ipv6Header { hop_limit: TTL, source: from.octets(), destination: to.octets(), ..Ipv6Header::default() },
            etherparse::Ipv6Extensions::default(),
        ),
        _ => panic!("{from} and {to} are of different families"),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn udp_of_both_families() {
        for (from, to) in [("192.0.2.1:123", "192.0.2.2:53"), ("[2001:db8::1]:123", "[2001:db8::2]:53")] {
            let packet = udp(from.parse().unwrap(), to.parse().unwrap(), b"hello");
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Udp(datagram)) = sliced.transport else { panic!("{sliced:?}") };
            assert_eq!((datagram.source_port(), datagram.destination_port()), (123, 53));
            assert_eq!(datagram.payload(), b"hello");
        }
    }

    #[test]
    fn tcp_flags_are_the_octet_of_the_header() {
        for flags in [0, tcp_flags::SYN, tcp_flags::SYN | tcp_flags::ACK, 0xff] {
            let packet = tcp("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap(), flags, b"");
            assert_eq!(packet[20 + 13], flags);
        }
    }

    #[test]
    fn icmp_type_and_code() {
        let packet = icmp("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap(), 8, 0, b"");
        assert_eq!((packet[9], &packet[20..22]), (1, &[8, 0][..]));
        let packet = icmp("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), 128, 0, b"");
        assert_eq!((packet[6], &packet[40..42]), (58, &[128, 0][..]));
    }

    #[test]
    fn fragments_make_up_the_packet() {
        let packet = udp("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap(), &[7; 50]);
        let pieces = fragments(&packet, 24);
        assert_eq!(pieces.len(), 3);
        let flags: Vec<[u8; 2]> = pieces.iter().map(|piece| [piece[6], piece[7]]).collect();
        assert_eq!(flags, [[0x20, 0], [0x20, 3], [0, 6]]);
        let payload: Vec<u8> = pieces.iter().flat_map(|piece| piece[20..].to_vec()).collect();
        assert_eq!(payload, packet[20..]);
    }

    #[test]
    fn the_frame_type_follows_the_packet() {
        let packet = ip("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), 47, b"x");
        let frame = ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], &packet);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
        assert_eq!(frame[14 + 6], 47);
    }
}
