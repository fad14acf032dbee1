//! Packets of a capture file, pcap or pcapng, one at a time.

use anyhow::{Context, Result, bail};
use flowspec::{Packet, PacketError};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::io::{Cursor, Read};

/// First octets of a pcapng file: the type of its section header block.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The link type of a captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With this many octets that are skipped, and then the IP header.
    Ip(usize),
    /// Linux cooked capture ("any" device), 16 octets of which the last two are the EtherType.
    Cooked,
    /// The same, version 2: 20 octets of which the first two are the EtherType.
    Cooked2,
}

impl Link {
    fn of(link: DataLink) -> Result<Self> {
        Ok(match link {
            DataLink::ETHERNET => Link::Ethernet,
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Link::Ip(0),
            DataLink::NULL | DataLink::LOOP => Link::Ip(4),
            DataLink::LINUX_SLL => Link::Cooked,
            DataLink::LINUX_SLL2 => Link::Cooked2,
            // Values of operating systems for raw IP.
            DataLink::Unknown(12 | 14) => Link::Ip(0),
            other => bail!(
                "link type {other:?} is not supported; capture with an Ethernet, raw IP, loopback or Linux \"any\" link type"
            ),
        })
    }

    /// The packet in `octets`.
    pub(crate) fn packet(self, octets: &[u8]) -> Result<Packet, PacketError> {
        match self {
            Link::Ethernet => Packet::from_ethernet(octets),
            Link::Ip(skip) => Packet::from_ip(octets.get(skip..).unwrap_or_default()),
            // From the 12 octets before the EtherType on it is a frame, VLAN tags included.
            Link::Cooked => Packet::from_ethernet(octets.get(2..).unwrap_or_default()),
            Link::Cooked2 => match octets.split_at_checked(20) {
                Some((header, payload)) => Packet::from_ethernet(&[&[0; 12], &header[..2], payload].concat()),
                None => Err(PacketError::TruncatedEthernet),
            },
        }
    }
}

/// Calls `each` with number, link type and octets of every packet.
pub(crate) fn for_each(mut reader: impl Read, mut each: impl FnMut(usize, Link, &[u8]) -> Result<()>) -> Result<()> {
    let mut magic = [0u8; 4];
    reader.read_exact(&mut magic).context("too short for a capture file")?;
    let reader = Cursor::new(magic).chain(reader);
    let mut number = 0;
    if magic == PCAPNG {
        let mut reader = PcapNgReader::new(reader).context("not a pcapng file")?;
        let mut links = Vec::new();
        while let Some(block) = reader.next_block() {
            let (interface, octets) = match block.with_context(|| after(number))? {
                Block::SectionHeader(_) => {
                    links.clear();
                    continue;
                }
                Block::InterfaceDescription(interface) => {
                    links.push(interface.linktype);
                    continue;
                }
                Block::EnhancedPacket(packet) => (packet.interface_id as usize, packet.data),
                Block::SimplePacket(packet) => (0, packet.data),
                Block::Packet(packet) => (usize::from(packet.interface_id), packet.data),
                _ => continue,
            };
            let link = links.get(interface).with_context(|| format!("packet {number} names an unknown interface"))?;
            each(number, Link::of(*link)?, &octets)?;
            number += 1;
        }
    } else {
        let mut reader = PcapReader::new(reader).context("neither a pcap nor a pcapng file")?;
        // The link type has 16 bits; those above describe checksums after the frames.
        let link = Link::of(DataLink::from(u32::from(reader.header().datalink) & 0xffff))?;
        // Raw, since the checked reader rejects a packet longer than the snapshot length: a
        // deliberately truncated capture.
        while let Some(packet) = reader.next_raw_packet() {
            each(number, link, &packet.with_context(|| after(number))?.data)?;
            number += 1;
        }
    }
    Ok(())
}

fn after(number: usize) -> String {
    format!("the capture is damaged or cut off after {number} packets")
}
