//! Parses the description of a packet, as `explain` takes it, into the octets of an IP packet.

use etherparse::{
    IpDscp, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, TcpHeader, UdpHeader,
};
use flowspec::Packet;
use flowspec::names;
use flowspec::protocol::{ICMP, ICMPV6, IPV6_FRAGMENT, TCP, UDP};
use flowspec::space::FragmentPosition;
use std::net::{IpAddr, SocketAddr};

/// A word that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: expected {expected}", place(*position, found))]
pub struct WordError {
    /// 1-based.
    pub position: usize,
    /// The word, empty if one is missing.
    pub found: String,
    /// What would be valid.
    pub expected: String,
}

fn place(position: usize, found: &str) -> String {
    if found.is_empty() { format!("word {position} is missing") } else { format!("word {position}, `{found}`") }
}

/// Why a word is not an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum OptionError {
    /// It is a TCP flag.
    #[error("no TCP flag: the packet is not tcp")]
    TcpFlag,
    /// Its value is missing, or too large.
    #[error("a number up to {0} after the `=`")]
    Number(u32),
    /// It is unknown.
    #[error(
        "a TCP flag (syn ack fin rst psh urg ece cwr), type=N, code=N, length=N, dscp=N, label=N, hop-limit=N, df, first, middle or last"
    )]
    Unknown,
}

struct Options {
    tcp_flags: u16,
    icmp_type: u8,
    icmp_code: u8,
    length: Option<u16>,
    dscp: u8,
    label: u32,
    hop_limit: u8,
    dont_fragment: bool,
    more_fragments: bool,
    /// In units of 8 octets.
    fragment_offset: u16,
}

/// The options of a packet for which none are given.
const HOP_LIMIT: u8 = 64;

impl Default for Options {
    fn default() -> Self {
        Options {
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            length: None,
            dscp: 0,
            label: 0,
            hop_limit: HOP_LIMIT,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
        }
    }
}

/// The octets of the IP packet that `words` describe: `PROTOCOL SOURCE[:PORT] DESTINATION[:PORT]
/// [OPTION..]`.
///
/// # Errors
/// The first invalid word, with what would be valid.
pub fn packet(words: &[String]) -> Result<Vec<u8>, WordError> {
    let word =
        |index: usize, expected: &str| words.get(index).map(String::as_str).ok_or_else(|| error(index, "", expected));
    let protocol = word(0, "a protocol: tcp, udp, icmp, or a name or number")?;
    let (source, source_port) = endpoint(1, word(1, "the source address, with :PORT for tcp and udp")?)?;
    let (destination, destination_port) = endpoint(2, word(2, "the destination address, with :PORT for tcp and udp")?)?;
    if source.is_ipv4() != destination.is_ipv4() {
        let version =
            if source.is_ipv4() { "an IPv4 address, like the source" } else { "an IPv6 address, like the source" };
        return Err(error(2, &words[2], version));
    }
    let protocol = protocol_number(protocol, source.is_ipv6())
        .ok_or_else(|| error(0, protocol, "a protocol: tcp, udp, icmp, gre, esp, ... or a number up to 255"))?;
    let has_ports = matches!(protocol, TCP | UDP);
    if !has_ports {
        for (index, port) in [(1, source_port), (2, destination_port)] {
            if port.is_some() {
                return Err(error(index, &words[index], "no port: only tcp and udp have ports"));
            }
        }
    }
    let mut options = Options::default();
    for (index, word) in words.iter().enumerate().skip(3) {
        options.take(word, protocol).map_err(|expected| error(index, word, &expected.to_string()))?;
    }
    let payload = options.payload(protocol, source_port.unwrap_or(0), destination_port.unwrap_or(0));
    options.wrap(protocol, source, destination, payload).ok_or_else(|| {
        let is_length = |word: &String| word.to_ascii_lowercase().starts_with("length=");
        let at = words.iter().rposition(is_length).unwrap_or(0);
        error(at, &words[at], "a length that holds the headers")
    })
}

/// The words that describe `packet`; [`packet`] reads them back.
pub fn describe(packet: &Packet) -> String {
    let endpoint = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let source = endpoint(packet.source(), packet.source_port());
    let destination = endpoint(packet.destination(), packet.destination_port());
    let protocol = match packet.protocol() {
        Some(TCP) => "tcp".to_owned(),
        Some(UDP) => "udp".to_owned(),
        Some(ICMP) if packet.source().is_ipv4() => "icmp".to_owned(),
        Some(ICMPV6) if packet.source().is_ipv6() => "icmp".to_owned(),
        Some(number) => number.to_string(),
        None => "unknown-protocol".to_owned(),
    };
    let mut text = format!("{protocol} {source} {destination}");
    let mut add = |word: String| {
        text.push(' ');
        text.push_str(&word);
    };
    for name in names::bit_names(names::TCP_FLAGS, packet.tcp_flags().unwrap_or_default()) {
        add(name.to_owned());
    }
    if let Some((kind, code)) = packet.icmp_type().zip(packet.icmp_code()) {
        add(format!("type={kind} code={code}"));
    }
    add(format!("length={}", packet.length()));
    if packet.dscp() != 0 {
        add(format!("dscp={}", packet.dscp()));
    }
    if let Some(label) = packet.flow_label().filter(|label| *label != 0) {
        add(format!("label={label}"));
    }
    // Rules do not match it; it decides whether this is neighbour discovery.
    if packet.flow_label().is_some() && matches!(packet.icmp_type(), Some(133..=137)) && packet.hop_limit() != HOP_LIMIT
    {
        add(format!("hop-limit={}", packet.hop_limit()));
    }
    if packet.dont_fragment() {
        add("df".to_owned());
    }
    match packet.fragment_position() {
        FragmentPosition::Whole => {}
        FragmentPosition::First => add("first".to_owned()),
        FragmentPosition::Middle => add("middle".to_owned()),
        FragmentPosition::Last => add("last".to_owned()),
    }
    text
}

fn error(index: usize, found: &str, expected: &str) -> WordError {
    WordError { position: index + 1, found: found.to_owned(), expected: expected.to_owned() }
}

fn endpoint(index: usize, word: &str) -> Result<(IpAddr, Option<u16>), WordError> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok((address, None));
    }
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(Ok(address)) = bare.map(str::parse) {
        return Ok((address, None));
    }
    let socket: SocketAddr = word.parse().map_err(|_| {
        error(index, word, "an address such as 192.0.2.1, 192.0.2.1:80, 2001:db8::1 or [2001:db8::1]:80")
    })?;
    Ok((socket.ip(), Some(socket.port())))
}

/// By name or number; `icmp` means that of the packet's IP version.
fn protocol_number(word: &str, ipv6: bool) -> Option<u8> {
    match names::protocol(word).or_else(|| word.parse().ok()) {
        Some(ICMP) if ipv6 && word.eq_ignore_ascii_case("icmp") => Some(ICMPV6),
        number => number,
    }
}

impl Options {
    /// Parses one word.
    fn take(&mut self, word: &str, protocol: u8) -> Result<(), OptionError> {
        let lower = word.to_ascii_lowercase();
        if let Some(bit) = names::tcp_flag(word) {
            if protocol != TCP {
                return Err(OptionError::TcpFlag);
            }
            self.tcp_flags |= bit;
            return Ok(());
        }
        let number =
            |text: &str, max: u32| text.parse::<u32>().ok().filter(|n| *n <= max).ok_or(OptionError::Number(max));
        match lower.split_once('=') {
            None => match lower.as_str() {
                "df" => self.dont_fragment = true,
                "first" => self.more_fragments = true,
                "middle" => (self.more_fragments, self.fragment_offset) = (true, 185),
                "last" => self.fragment_offset = 370,
                _ => return Err(OptionError::Unknown),
            },
            Some(("type", value)) => self.icmp_type = number(value, 255)? as u8,
            Some(("code", value)) => self.icmp_code = number(value, 255)? as u8,
            Some(("length", value)) => self.length = Some(number(value, 65_535)? as u16),
            Some(("dscp", value)) => self.dscp = number(value, 63)? as u8,
            Some(("hop-limit" | "ttl", value)) => self.hop_limit = number(value, 255)? as u8,
            Some(("label", value)) => self.label = number(value, 0xf_ffff)?,
            Some(_) => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    /// The upper-layer header; empty for a non-first fragment.
    fn payload(&self, protocol: u8, source_port: u16, destination_port: u16) -> Vec<u8> {
        if self.fragment_offset != 0 {
            return vec![0; 8];
        }
        match protocol {
            TCP => {
                let bit = |mask: u16| self.tcp_flags & mask != 0;
                let mut header = TcpHeader::new(source_port, destination_port, 0, 1024);
                (header.fin, header.syn, header.rst, header.psh) = (bit(0x01), bit(0x02), bit(0x04), bit(0x08));
                (header.ack, header.urg, header.ece, header.cwr) = (bit(0x10), bit(0x20), bit(0x40), bit(0x80));
                header.ns = bit(0x100);
                header.to_bytes().to_vec()
            }
            UDP => UdpHeader { source_port, destination_port, length: 8, checksum: 0 }.to_bytes().to_vec(),
            ICMP | ICMPV6 => vec![self.icmp_type, self.icmp_code, 0, 0, 0, 0, 0, 0],
            _ => Vec::new(),
        }
    }

    /// Adds the IP header; `None` if the length does not fit.
    fn wrap(&self, protocol: u8, source: IpAddr, destination: IpAddr, mut payload: Vec<u8>) -> Option<Vec<u8>> {
        let offset = IpFragOffset::try_new(self.fragment_offset).ok()?;
        let fragmented = self.more_fragments || self.fragment_offset != 0;
        let header_len = match (source, fragmented) {
            (IpAddr::V4(_), _) => 20,
            (IpAddr::V6(_), false) => 40,
            (IpAddr::V6(_), true) => 48,
        };
        if let Some(length) = self.length {
            let wanted = usize::from(length).checked_sub(header_len)?;
            if wanted < payload.len() {
                return None;
            }
            payload.resize(wanted, 0);
        }
        let mut octets = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let len = u16::try_from(payload.len()).ok()?;
                let mut header =
                    Ipv4Header::new(len, self.hop_limit, IpNumber(protocol), source.octets(), destination.octets())
                        .ok()?;
                header.dscp = IpDscp::try_new(self.dscp).ok()?;
                header.dont_fragment = self.dont_fragment;
                header.more_fragments = self.more_fragments;
                header.fragment_offset = offset;
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: self.dscp << 2,
                    flow_label: Ipv6FlowLabel::try_new(self.label).ok()?,
                    payload_length: u16::try_from(payload.len() + header_len - 40).ok()?,
                    next_header: IpNumber(if fragmented { IPV6_FRAGMENT } else { protocol }),
                    hop_limit: self.hop_limit,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                let mut octets = header.to_bytes().to_vec();
                if fragmented {
                    let fragment = Ipv6FragmentHeader::new(IpNumber(protocol), offset, self.more_fragments, 1);
                    octets.extend_from_slice(&fragment.to_bytes());
                }
                octets
            }
            _ => return None,
        };
        octets.extend_from_slice(&payload);
        Some(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, WordError> {
        packet(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_a_packet() {
        for text in [
            "udp 198.51.100.7:123 192.0.2.1:4000",
            "tcp 198.51.100.7:4000 192.0.2.1:80 syn ack length=60 dscp=46 df",
            "icmp 198.51.100.7 192.0.2.1 type=8 code=0",
            "tcp [2001:db8::1]:1 [2001:db8::2]:2 label=74565 length=1280 first",
            "gre 2001:db8::1 2001:db8::2 last",
            "icmp fe80::1 ff02::1:ff00:2 type=135 code=0 hop-limit=255",
        ] {
            let octets = read(text).unwrap();
            let said = describe(&Packet::from_ip(&octets).unwrap());
            assert_eq!(read(&said).unwrap(), octets, "{text}: {said}");
        }
    }

    #[test]
    fn a_word_that_does_not_fit_is_pointed_at() {
        for (text, position) in [
            ("", 1),
            ("tcp", 2),
            ("tcp 192.0.2.1:80", 3),
            ("tcp 192.0.2.1:80 2001:db8::1", 3),
            ("nonsense 192.0.2.1 192.0.2.2", 1),
            ("icmp 192.0.2.1:80 192.0.2.2", 2),
            ("udp 192.0.2.1:1 192.0.2.2:2 syn", 4),
            ("udp 192.0.2.1:1 192.0.2.2:2 dscp=64", 4),
            ("udp 192.0.2.1:1 192.0.2.2:2 length=20 df", 4),
        ] {
            assert_eq!(read(text).map_err(|e| e.position), Err(position), "{text}");
        }
    }
}
