//! Named sets of packets that a machine depends on: what `[protect] presets` means, as a table. To
//! add one, add a line to [`PRESETS`] and one to the manual (`docs/manual/configuration.md`); a
//! test holds the two together.

use flowspec::protocol::{TCP, UDP};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The packets, apart from their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// All.
    Everything,
    /// Those of an IP protocol.
    Protocol(u8),
    /// Those of a transport protocol (6 or 17) to this destination port.
    Port {
        /// 6 or 17.
        protocol: u8,
        /// The destination port.
        port: u16,
    },
    /// Those of a transport protocol with this port on either side: sessions, whichever side opened
    /// them.
    Session {
        /// 6 or 17.
        protocol: u8,
        /// The source or destination port.
        port: u16,
    },
    /// ICMP of these types, over IPv4.
    Icmp(&'static [u8]),
    /// ICMPv6 of these types.
    Icmpv6(&'static [u8]),
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |protocol: &u8| if *protocol == TCP { "tcp" } else { "udp" };
        match self {
            Traffic::Everything => f.write_str("packets"),
            Traffic::Protocol(number) => write!(f, "IP protocol {number}"),
            Traffic::Port { protocol, port } => write!(f, "{}/{port}", name(protocol)),
            Traffic::Session { protocol, port } => write!(f, "{}/{port} (source or destination port)", name(protocol)),
            Traffic::Icmp(types) => write!(f, "icmp type {}", list(types)),
            Traffic::Icmpv6(types) => write!(f, "icmpv6 type {}", list(types)),
        }
    }
}

fn list(numbers: &[u8]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The destinations of the packets of a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// To the addresses of this machine.
    Own,
    /// To this address or network.
    Net(IpNet),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Own => f.write_str("this machine"),
            Target::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Target::Net(net) => net.fmt(f),
        }
    }
}

/// A named set of packets that can be protected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its purpose, for people.
    pub about: &'static str,
    /// The packets: each traffic to each of its targets.
    pub items: &'static [(Traffic, &'static [Target])],
}

impl Preset {
    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Target {
    Target::Net(IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 32))
}

/// `ff02::` and these last two groups.
const fn link(high: u16, low: u16) -> Target {
    Target::Net(IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, high, low)), 128))
}

const IPV4_MULTICAST: Target = Target::Net(IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4));
const IPV6_MULTICAST: Target =
    Target::Net(IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8));
const BROADCAST: Target = v4(255, 255, 255, 255);
const OWN: &[Target] = &[Target::Own];

const fn tcp(port: u16) -> Traffic {
    Traffic::Port { protocol: TCP, port }
}

const fn udp(port: u16) -> Traffic {
    Traffic::Port { protocol: UDP, port }
}

const fn tcp_session(port: u16) -> Traffic {
    Traffic::Session { protocol: TCP, port }
}

/// All presets, by name.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "bfd",
        about: "BFD of other daemons: control packets of one hop, many hops and of members of a bundle, and echoes that come back",
        items: &[(udp(3784), OWN), (udp(4784), OWN), (udp(6784), OWN), (udp(3785), OWN)],
    },
    Preset {
        name: "bgp",
        about: "BGP sessions of other daemons, whichever side opened them",
        items: &[(tcp_session(179), OWN)],
    },
    Preset {
        name: "dhcp",
        about: "DHCP: server, relay and client of this machine",
        items: &[
            (udp(67), &[Target::Own, BROADCAST]),
            (udp(68), &[Target::Own, BROADCAST]),
            (udp(546), OWN),
            (udp(547), &[Target::Own, link(1, 2)]),
        ],
    },
    Preset {
        name: "igmp",
        about: "IPv4 multicast groups of hosts and routers",
        items: &[(Traffic::Protocol(2), &[IPV4_MULTICAST])],
    },
    Preset {
        name: "ipsec",
        about: "IPsec tunnels that end here, and IKE",
        items: &[(udp(500), OWN), (udp(4500), OWN), (Traffic::Protocol(50), OWN), (Traffic::Protocol(51), OWN)],
    },
    Preset {
        name: "ldp",
        about: "LDP: hellos and sessions",
        items: &[(udp(646), &[Target::Own, v4(224, 0, 0, 2), link(0, 2)]), (tcp_session(646), OWN)],
    },
    Preset { name: "mlag", about: "MLAG of Cumulus Linux (clagd)", items: &[(tcp_session(5342), OWN)] },
    Preset {
        name: "mld",
        about: "IPv6 multicast groups of hosts and routers",
        items: &[(Traffic::Icmpv6(&[130, 131, 132, 143]), &[IPV6_MULTICAST])],
    },
    Preset {
        name: "ospf",
        about: "OSPFv2 and OSPFv3",
        items: &[(Traffic::Protocol(89), &[Target::Own, v4(224, 0, 0, 5), v4(224, 0, 0, 6), link(0, 5), link(0, 6)])],
    },
    Preset {
        name: "path-mtu",
        about: "messages without which connections of this machine stall: destination unreachable and packet too big",
        items: &[(Traffic::Icmp(&[3]), OWN), (Traffic::Icmpv6(&[1, 2]), OWN)],
    },
    Preset {
        name: "pim",
        about: "PIM",
        items: &[(Traffic::Protocol(103), &[Target::Own, v4(224, 0, 0, 13), link(0, 0xd)])],
    },
    Preset {
        name: "rip",
        about: "RIP and RIPng",
        items: &[(udp(520), &[Target::Own, v4(224, 0, 0, 9)]), (udp(521), &[Target::Own, link(0, 9)])],
    },
    Preset { name: "snmp", about: "SNMP to this machine", items: &[(udp(161), OWN)] },
    Preset { name: "ssh", about: "SSH to this machine", items: &[(tcp(22), OWN)] },
    Preset {
        name: "vrrp",
        about: "VRRP (and CARP), by multicast or to this machine",
        items: &[(Traffic::Protocol(112), &[Target::Own, v4(224, 0, 0, 18), link(0, 0x12)])],
    },
    Preset { name: "vxlan", about: "VXLAN tunnels that end here", items: &[(udp(4789), OWN)] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_in_order_and_say_something() {
        assert!(PRESETS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(PRESETS.iter().all(|preset| !preset.items.is_empty() && !preset.about.is_empty()));
        assert_eq!(Preset::named("ospf").map(|preset| preset.name), Some("ospf"));
        assert_eq!(Preset::named("ospff"), None);
    }

    /// The manual has exactly the table of the code.
    #[test]
    fn the_manual_has_every_preset() {
        let manual = include_str!("../../../../docs/manual/configuration.md");
        let mut table = String::new();
        for preset in PRESETS {
            let items = preset.items.iter().map(|(traffic, targets)| {
                let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
                format!("{traffic} to {}", targets.join(", "))
            });
            table += &format!("| {} | {} | {} |\n", preset.name, preset.about, items.collect::<Vec<_>>().join("; "));
        }
        assert!(manual.contains(&table), "docs/manual/configuration.md should have\n{table}");
    }
}
