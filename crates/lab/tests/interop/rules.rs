//! The rules that every program announces in its own language, with packets that each must drop and
//! packets that it must not.

use std::net::{IpAddr, SocketAddr};

use lab::packet::{self, tcp_flags};
use lab::site::{NEIGHBOUR, VICTIM, VICTIM6};

/// A rule.
#[derive(Debug)]
pub(crate) struct Case {
    /// How the languages of the programs look it up.
    pub name: &'static str,
    hits: fn() -> Vec<Vec<u8>>,
    misses: fn() -> Vec<Vec<u8>>,
}

impl Case {
    /// Packets that the rule drops.
    pub(crate) fn hits(&self) -> Vec<Vec<u8>> {
        (self.hits)()
    }

    /// Packets that look alike and that it leaves alone.
    pub(crate) fn misses(&self) -> Vec<Vec<u8>> {
        (self.misses)()
    }
}

/// The filter of the demo: UDP from port 123 to the victim.
pub(crate) const NTP4: Case = Case {
    name: "ntp4",
    hits: || vec![udp(4, 123, VICTIM, 4000), udp(4, 123, VICTIM, 123)],
    misses: || {
        vec![
            udp(4, 53, VICTIM, 4000),
            udp(4, 4000, VICTIM, 123),
            udp(4, 123, NEIGHBOUR, 4000),
            tcp(123, 22, tcp_flags::SYN),
        ]
    },
};

/// The same in IPv6.
pub(crate) const NTP6: Case = Case {
    name: "ntp6",
    hits: || vec![udp(6, 123, VICTIM6, 4000)],
    misses: || vec![udp(6, 53, VICTIM6, 4000), udp(6, 124, VICTIM6, 4000), udp(6, 4000, VICTIM6, 123)],
};

/// TCP to ports 80, 443 and 8000 to 8080 of the victim.
pub(crate) const WEB: Case = Case {
    name: "web",
    hits: || [80, 443, 8000, 8040, 8080].map(|port| tcp(4000, port, tcp_flags::ACK)).to_vec(),
    misses: || {
        let mut packets = [79, 81, 442, 444, 7999, 8081].map(|port| tcp(4000, port, tcp_flags::ACK)).to_vec();
        packets.extend([tcp(80, 4000, tcp_flags::ACK), udp(4, 4000, VICTIM, 80)]);
        packets
    },
};

/// TCP with SYN and without ACK from source port 7777 to the victim.
pub(crate) const SYN: Case = Case {
    name: "syn",
    hits: || vec![tcp(7777, 22, tcp_flags::SYN), tcp(7777, 22, tcp_flags::SYN | tcp_flags::PSH)],
    misses: || {
        let flags = [tcp_flags::SYN | tcp_flags::ACK, tcp_flags::ACK, tcp_flags::RST, 0];
        flags.map(|flags| tcp(7777, 22, flags)).to_vec()
    },
};

/// A datagram from the attacker's side.
pub(crate) fn udp(version: u8, from: u16, to: &str, port: u16) -> Vec<u8> {
    let source: IpAddr = if version == 4 { [198, 51, 100, 7].into() } else { "2001:db8:1::7".parse().unwrap() };
    let to: IpAddr = to.parse().unwrap();
    packet::udp(SocketAddr::new(source, from), SocketAddr::new(to, port), b"payload")
}

fn tcp(from: u16, port: u16, flags: u8) -> Vec<u8> {
    let to: IpAddr = VICTIM.parse().unwrap();
    packet::tcp(([198, 51, 100, 7], from).into(), SocketAddr::new(to, port), flags, b"")
}
