//! Parses octets to a [`Packet`].

use super::{Packet, PacketError, ipv4, ipv6};

/// EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the old number of stacked tags.
const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

impl Packet {
    /// Reads an Ethernet frame with any number of VLAN tags, without preamble and checksum.
    ///
    /// # Errors
    /// The frame contains no IP packet, or one whose header cannot be parsed.
    pub fn from_ethernet(frame: &[u8]) -> Result<Self, PacketError> {
        let mut rest = frame.get(12..).ok_or(PacketError::TruncatedEthernet)?;
        loop {
            let [t0, t1, payload @ ..] = rest else { return Err(PacketError::TruncatedEthernet) };
            let (ethertype, version) = match u16::from_be_bytes([*t0, *t1]) {
                tag if VLAN_TAGS.contains(&tag) => {
                    rest = payload.get(2..).ok_or(PacketError::TruncatedEthernet)?;
                    continue;
                }
                0x0800 => (0x0800, 4),
                0x86dd => (0x86dd, 6),
                other => (other, 0),
            };
            return match payload.first() {
                _ if version == 0 => Err(PacketError::NotIp(ethertype)),
                Some(first) if first >> 4 != version => Err(PacketError::Version(first >> 4)),
                _ => Packet::from_ip(payload),
            };
        }
    }

    /// Parses an IP packet; octets after its own length are ignored, and so are its checksums.
    ///
    /// # Errors
    /// The header cannot be parsed. A truncated packet is not an error.
    pub fn from_ip(octets: &[u8]) -> Result<Self, PacketError> {
        match octets.first().map(|first| first >> 4) {
            Some(4) => ipv4::read(octets),
            Some(6) => ipv6::read(octets),
            Some(version) => Err(PacketError::Version(version)),
            None => Err(PacketError::TruncatedIp { needed: 20, found: 0 }),
        }
    }
}
