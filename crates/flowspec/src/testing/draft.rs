//! A packet before it is octets: facts in, valid IPv4 or IPv6 with right checksums out.

use crate::protocol::{ICMP, ICMPV6, TCP, UDP};
use std::net::{IpAddr, Ipv4Addr};

/// An IPv6 extension header, other than the fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its number: 0, 43, 51, 60, 135, 139 or 140.
    pub header: u8,
    /// Its size in units of eight octets, at least 1; authentication takes at least 2.
    pub units: u8,
}

/// What a packet is to be. Addresses of one IP version; the others are used as far as that version
/// has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Source address; its version is the packet's.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Source port. Also written where another protocol would have it, as a trap.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// TCP header octets 12 and 13, without data offset.
    pub tcp_flags: u16,
    /// DSCP.
    pub dscp: u8,
    /// IPv4 don't-fragment bit.
    pub dont_fragment: bool,
    /// More-fragments bit.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 octets.
    pub fragment_offset: u16,
    /// IPv6: a fragment header even where offset and more-fragments are zero (an atomic fragment).
    pub atomic: bool,
    /// IPv6 flow label.
    pub flow_label: u32,
    /// IPv4 time to live, or IPv6 hop limit.
    pub hop_limit: u8,
    /// IPv4: number of 4-octet words of options, at most 10.
    pub option_words: u8,
    /// IPv6: extension headers in front of the fragment header.
    pub extensions: Vec<Extension>,
    /// IPv6: extension headers behind the fragment header, or where it would be. A non-first
    /// fragment names the first and has none.
    pub inner_extensions: Vec<Extension>,
    /// Octets of the IP packet. Raised to what the headers need, and the upper-layer header is cut
    /// only with `truncate`.
    pub length: u32,
    /// Cuts the upper-layer header so that only so many octets of it are in the packet, and
    /// `length` is not looked at.
    pub truncate: Option<u8>,
}

impl Draft {
    /// A packet of `protocol` without anything special.
    #[must_use]
    pub fn new(protocol: u8, source: IpAddr, destination: IpAddr) -> Self {
        Draft {
            source,
            destination,
            protocol,
            source_port: 0,
            destination_port: 0,
            icmp_type: 0,
            icmp_code: 0,
            tcp_flags: 0,
            dscp: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            atomic: false,
            flow_label: 0,
            hop_limit: 64,
            option_words: 0,
            extensions: Vec::new(),
            inner_extensions: Vec::new(),
            length: 0,
            truncate: None,
        }
    }

    /// The packet, from its IP header on.
    #[must_use]
    pub fn to_ip(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.to_ipv4(source, destination),
            _ => self.to_ipv6(),
        }
    }

    /// The packet in an Ethernet frame with these VLAN tags (EtherType and tag), to a unicast
    /// address.
    #[must_use]
    pub fn to_ethernet(&self, tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for (ethertype, tag) in tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(self.to_ip());
        frame
    }

    fn to_ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let words = 5 + self.option_words.min(10);
        let header = usize::from(words) * 4;
        let upper = self.upper(header);
        let total = (header + upper.len()).min(65535) as u16;
        let fragment = u16::from(self.dont_fragment) << 14
            | u16::from(self.more_fragments) << 13
            | (self.fragment_offset & 0x1fff);
        let mut packet = vec![0x40 | words, self.dscp << 2];
        packet.extend(total.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([self.hop_limit, self.protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        // No-operation options: every router lets them pass.
        packet.resize(header, 1);
        let sum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(upper);
        packet
    }

    fn to_ipv6(&self) -> Vec<u8> {
        let is_fragment = self.atomic || self.more_fragments || self.fragment_offset != 0;
        let inner = if self.fragment_offset == 0 { &self.inner_extensions[..] } else { &[] };
        // A non-first fragment names what the first one starts with.
        let inner_first = self.inner_extensions.first().map_or(self.protocol, |extension| extension.header);
        let mut chain = Vec::new();
        let behind_outer = if is_fragment { 44 } else { inner_first };
        push_extensions(&mut chain, &self.extensions, behind_outer);
        if is_fragment {
            chain.extend([inner_first, 0]);
            chain.extend((self.fragment_offset << 3 | u16::from(self.more_fragments)).to_be_bytes());
            chain.extend([0, 0, 0x12, 0x34]);
        }
        push_extensions(&mut chain, inner, self.protocol);
        let upper = self.upper(40 + chain.len());
        let first = self.extensions.first().map_or(behind_outer, |extension| extension.header);
        let word = 6 << 28 | u32::from(self.dscp) << 22 | (self.flow_label & 0xf_ffff);
        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(((chain.len() + upper.len()).min(65535) as u16).to_be_bytes());
        packet.extend([first, self.hop_limit]);
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend(chain);
        packet.extend(upper);
        packet
    }

    /// Upper-layer header and data of a packet with `before` octets in front.
    fn upper(&self, before: usize) -> Vec<u8> {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let mut upper = match self.protocol {
            TCP => {
                let [octet12, octet13] = self.tcp_flags.to_be_bytes();
                vec![s0, s1, d0, d1, 0, 0, 0, 1, 0, 0, 0, 1, 0x50 | octet12 & 0x0f, octet13, 0x10, 0, 0, 0, 0, 0]
            }
            UDP => vec![s0, s1, d0, d1, 0, 0, 0, 0],
            ICMP | ICMPV6 => vec![self.icmp_type, self.icmp_code, 0, 0, 0, 1, 0, 1],
            // Ports where those of TCP would be: a trap for who does not look at the protocol.
            _ => vec![s0, s1, d0, d1],
        };
        if let Some(octets) = self.truncate {
            upper.truncate(octets.into());
            return upper;
        }
        let wanted = (self.length as usize).min(65535 + if self.source.is_ipv4() { 0 } else { 40 });
        let header = upper.len();
        let wanted = wanted.saturating_sub(before).max(if self.fragment_offset == 0 { header } else { 0 });
        upper.resize(wanted, 0xa5);
        if self.fragment_offset == 0 {
            self.finish(&mut upper);
        }
        upper
    }

    /// Writes length and checksum into a whole upper-layer header.
    fn finish(&self, upper: &mut [u8]) {
        let len = upper.len() as u32;
        if self.protocol == UDP {
            upper[4..6].copy_from_slice(&(len as u16).to_be_bytes());
        }
        let at = match self.protocol {
            TCP => 16,
            UDP => 6,
            ICMP | ICMPV6 => 2,
            _ => return,
        };
        let pseudo =
            [&octets(self.source)[..], &octets(self.destination), &len.to_be_bytes(), &[0, 0, 0, self.protocol]];
        let pseudo = pseudo.concat();
        let sum = checksum(&[if self.protocol == ICMP { &[] } else { &pseudo }, upper]);
        // A UDP checksum of zero would mean that there is none.
        let sum = if self.protocol == UDP && sum == 0 { 0xffff } else { sum };
        upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Appends the headers; the last names `behind`.
fn push_extensions(out: &mut Vec<u8>, extensions: &[Extension], behind: u8) {
    for (n, extension) in extensions.iter().enumerate() {
        let next = extensions.get(n + 1).map_or(behind, |next| next.header);
        let start = out.len();
        let units = extension.units.max(1);
        match extension.header {
            // One unknown option that is to be skipped; its data reaches to the end.
            0 | 60 => out.extend([next, units - 1, 0x1e, units * 8 - 4]),
            // An experimental type without segments left.
            43 => out.extend([next, units - 1, 253, 0]),
            // The length counts words of four octets, less two.
            51 => out.extend([next, units.max(2) * 2 - 2, 0, 0]),
            _ => out.extend([next, units - 1, 0, 0]),
        }
        let units = if extension.header == 51 { units.max(2) } else { units };
        out.resize(start + usize::from(units) * 8, 0);
    }
}

/// The Internet checksum (RFC 1071) of parts of even length, but for the last.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum::<u64>();
    let folded = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    !(folded as u16)
}
