//! What stays reachable whatever a peer sends: these packets are accepted ahead of every rule.

use flowspec::{Comparison, ComponentType, Family, Ipv6Pattern, Nlri, NumericOp, Prefix, Space};
use ipnet::IpNet;
use std::net::IpAddr;

const TCP: u8 = 6;

/// Packets that no rule may touch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protection {
    items: Vec<Protected>,
}

/// Some packets that no rule may touch, and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Protected {
    /// The packets.
    pub space: Space,
    /// What they are, for people.
    pub what: String,
}

impl Protection {
    /// Everything sent to these addresses.
    pub fn destination(&mut self, net: IpNet) {
        self.push(family(net.addr()), &[(ComponentType::Destination, net)], &[], format!("packets to {net}"));
    }

    /// What a BGP peer sends us, whichever side connected: TCP from `peer`, to `own` where that is known, with `port` on either side.
    pub fn session(&mut self, peer: IpAddr, own: Option<IpAddr>, port: u16) {
        let own = own.filter(|own| own.is_ipv4() == peer.is_ipv4());
        let addresses: Vec<_> = [Some((ComponentType::Source, peer)), own.map(|own| (ComponentType::Destination, own))]
            .into_iter()
            .flatten()
            .map(|(kind, address)| (kind, IpNet::from(address)))
            .collect();
        let numbers = [(ComponentType::Protocol, u64::from(TCP)), (ComponentType::Port, u64::from(port))];
        self.push(family(peer), &addresses, &numbers, format!("the BGP session with {peer}"));
    }

    /// What is sent to a port of ours. `protocol` is 6 or 17.
    pub fn port(&mut self, own: IpAddr, protocol: u8, port: u16) {
        let numbers =
            [(ComponentType::Protocol, u64::from(protocol)), (ComponentType::DestinationPort, u64::from(port))];
        let name = if protocol == TCP { "tcp" } else { "udp" };
        self.push(
            family(own),
            &[(ComponentType::Destination, own.into())],
            &numbers,
            format!("{name}/{port} of {own}"),
        );
    }

    /// What is protected.
    pub fn items(&self) -> &[Protected] {
        &self.items
    }

    /// What protects all packets of the rule, in words. Nothing, for a rule that has no packets.
    pub(crate) fn covers(&self, space: &Space) -> Option<&str> {
        let item = self.items.iter().find(|item| !space.is_empty() && item.space.covers(space))?;
        Some(&item.what)
    }

    fn push(
        &mut self,
        family: Family,
        nets: &[(ComponentType, IpNet)],
        numbers: &[(ComponentType, u64)],
        what: String,
    ) {
        let mut builder = Nlri::builder(family);
        for &(kind, net) in nets {
            let prefix = match net.trunc() {
                IpNet::V4(net) => Some(Prefix::V4(net)),
                IpNet::V6(net) => Ipv6Pattern::new(net.addr(), 0, net.prefix_len()).map(Prefix::V6),
            };
            builder = match prefix {
                Some(prefix) => builder.prefix(kind, prefix),
                None => builder,
            };
        }
        for &(kind, number) in numbers {
            builder = builder.numeric(kind, &[NumericOp::new(Comparison::Equal, number)]);
        }
        // Every prefix here is of the family and every number fits: it can be built.
        if let Ok(nlri) = builder.build() {
            self.items.push(Protected { space: Space::of(&nlri), what });
        }
    }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}
