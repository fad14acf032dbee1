//! Filters in tc's words. With `protocol all` tc itself knows no `eth_type`; the kernel does, and
//! `tc filter show` has the word.

use super::filter::{ALL_PROTOCOLS, Action, Filter, Purpose};
use super::key::{EtherType, FragmentKind, Key, Masked, TCP};
use super::pkt_cls::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6};
use flowspec::IpVersion;
use std::fmt::{self, Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A filter as a line of `tc -batch`.
pub(super) struct Line<'a> {
    pub(super) filter: &'a Filter,
    pub(super) block: u32,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Filter { chain, priority, handle, protocol, key, actions, purpose, hardware } = self.filter;
        write!(f, "filter replace block {} chain {chain} prio {priority} handle {handle:#x}", self.block)?;
        write!(f, " protocol {}", ethertype(*protocol))?;
        write!(f, " flower {}", if *hardware { "skip_sw" } else { "skip_hw" })?;
        match key.ether_type {
            EtherType::IpVersion if *protocol == ALL_PROTOCOLS => write!(f, " eth_type {}", version(key.version))?,
            EtherType::Mpls => f.write_str(" eth_type mpls_uc")?,
            EtherType::IpVersion | EtherType::Any => {}
        }
        write!(f, "{key}")?;
        for action in actions {
            write!(f, " {}", Words(action, key.version))?;
        }
        let cookie = purpose.cookie().iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        });
        write!(f, " cookie {cookie}")?;
        match purpose {
            Purpose::Rule(id) => write!(f, " # {id}"),
            Purpose::Exemption(id) => write!(f, " # {id}: packets that may be its own"),
            Purpose::Protected => f.write_str(" # never filtered"),
            Purpose::Dispatch => Ok(()),
        }
    }
}

const fn version(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4",
        IpVersion::V6 => "ipv6",
    }
}

const fn ethertype(number: u16) -> &'static str {
    match number {
        ETH_P_IP => "ip",
        ETH_P_IPV6 => "ipv6",
        ETH_P_8021Q => "802.1q",
        ETH_P_8021AD => "802.1ad",
        _ => "all",
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_some() {
            write!(f, " vlan_ethtype {}", version(self.version))?;
        }
        if let Some(protocol) = self.protocol {
            let name = match (protocol, self.version) {
                (TCP, _) => "tcp",
                (17, _) => "udp",
                (1, IpVersion::V4) => "icmp",
                (58, IpVersion::V6) => "icmpv6",
                _ => "",
            };
            if name.is_empty() { write!(f, " ip_proto {protocol:#x}")? } else { write!(f, " ip_proto {name}")? }
        }
        for (name, address) in [("dst_ip", self.destination), ("src_ip", self.source)] {
            if let Some(Masked { value, mask }) = address {
                write!(f, " {name} {}/{}", Address(value, self.version), Address(mask, self.version))?;
            }
        }
        for (name, port) in [("dst_port", self.destination_port), ("src_port", self.source_port)] {
            match port {
                Some(Masked { value, mask: u16::MAX }) => write!(f, " {name} {value}")?,
                Some(Masked { value, mask }) => write!(f, " {name} {value}/{mask:#x}")?,
                None => {}
            }
        }
        for (name, value) in [("type", self.icmp_type), ("code", self.icmp_code)] {
            value.map_or(Ok(()), |value| write!(f, " {name} {value}"))?;
        }
        if let Some(Masked { value, mask }) = self.tcp_flags {
            write!(f, " tcp_flags {value:#x}/{mask:#x}")?;
        }
        if let Some(Masked { value, mask }) = self.tos {
            write!(f, " ip_tos {value:#x}/{mask:#x}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, " ip_ttl {ttl}")?;
        }
        f.write_str(match self.fragment {
            None => "",
            Some(FragmentKind::None) => " ip_flags nofrag",
            Some(FragmentKind::First) => " ip_flags frag/firstfrag",
            Some(FragmentKind::Later) => " ip_flags frag/nofirstfrag",
            Some(FragmentKind::Any) => " ip_flags frag",
        })
    }
}

struct Address(u128, IpVersion);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            IpVersion::V4 => Ipv4Addr::from(self.0 as u32).fmt(f),
            IpVersion::V6 => Ipv6Addr::from(self.0).fmt(f),
        }
    }
}

struct Words<'a>(&'a Action, IpVersion);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Action::Pass => f.write_str("action pass"),
            Action::Drop => f.write_str("action drop"),
            Action::Goto(chain) => write!(f, "action goto chain {chain}"),
            Action::Police { index, limit, ends } => {
                let conform = if ends { "ok" } else { "pipe" };
                let burst = (limit.burst as f64 * 64.0 / 1e9 * limit.rate as f64).round() as u64;
                if limit.bytes {
                    write!(f, "action police rate {}bps burst {burst} mtu 1073741824", limit.rate)?;
                } else {
                    write!(f, "action police pkts_rate {} pkts_burst {burst}", limit.rate)?;
                }
                write!(f, " conform-exceed drop/{conform} index {index}")
            }
            Action::Mark(dscp) => match self.1 {
                IpVersion::V4 => write!(f, "action pedit ex munge ip tos set {:#x} retain 0xfc", dscp << 2),
                IpVersion::V6 => write!(f, "action pedit ex munge ip6 traffic_class set {:#x} retain 0xfc", dscp << 2),
            },
            Action::Checksum => f.write_str("action csum ip"),
            Action::Sample { group, octets } => write!(f, "action sample rate 1 group {group} trunc {octets}"),
        }
    }
}
