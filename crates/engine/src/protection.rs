//! Protected packets: they are accepted ahead of every rule, whatever a peer sends.

use crate::capability::Capabilities;
use crate::compile;
use flowspec::protocol::{ICMP, ICMPV6, TCP};
use flowspec::{Comparison, ComponentType, Family, Ipv6Pattern, Nlri, NumericOp, Prefix, Space};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

mod presets;

pub use presets::{PRESETS, Preset, Target, Traffic};

/// Packets that no rule may affect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protection {
    items: Vec<Protected>,
    /// The match parts of the items: two presets, or a preset and a port, may mean the same
    /// packets.
    known: BTreeSet<Nlri>,
}

/// Some protected packets, and the reason.
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
        self.push(family(net.addr()), &[(ComponentType::Destination, net)], Vec::new(), format!("packets to {net}"));
    }

    /// Everything sent from these addresses.
    pub fn source(&mut self, net: IpNet) {
        self.push(family(net.addr()), &[(ComponentType::Source, net)], Vec::new(), format!("packets from {net}"));
    }

    /// What a BGP peer sends us, whichever side connected: TCP from `peer`, to `own` where that is
    /// known, with `port` on either side.
    pub fn session(&mut self, peer: IpAddr, own: Option<IpAddr>, port: u16) {
        let own = own.filter(|own| own.is_ipv4() == peer.is_ipv4());
        let addresses: Vec<_> = [Some((ComponentType::Source, peer)), own.map(|own| (ComponentType::Destination, own))]
            .into_iter()
            .flatten()
            .map(|(kind, address)| (kind, IpNet::from(address)))
            .collect();
        let numbers = vec![(ComponentType::Protocol, vec![TCP.into()]), (ComponentType::Port, vec![port.into()])];
        self.push(family(peer), &addresses, numbers, format!("the BGP session with {peer}"));
    }

    /// Traffic to some addresses, all of it or only from `from`. Nothing, if that is of another IP
    /// version than the addresses or the traffic.
    pub fn traffic(&mut self, traffic: Traffic, to: IpNet, from: Option<IpNet>) {
        self.add_traffic(traffic, to, from, "");
    }

    /// The packets of a preset for a machine with these addresses, all of them or those that come
    /// from `from`.
    pub fn preset(&mut self, preset: &Preset, own: &BTreeSet<IpAddr>, from: Option<IpNet>) {
        let prefix = format!("{}: ", preset.name);
        for (traffic, targets) in preset.items {
            for target in *targets {
                match *target {
                    Target::Net(net) => self.add_traffic(*traffic, net, from, &prefix),
                    Target::Own => own.iter().for_each(|own| self.add_traffic(*traffic, (*own).into(), from, &prefix)),
                }
            }
        }
    }

    fn add_traffic(&mut self, traffic: Traffic, to: IpNet, from: Option<IpNet>, prefix: &str) {
        let is_ipv4 = to.addr().is_ipv4();
        if from.is_some_and(|from| from.addr().is_ipv4() != is_ipv4) {
            return;
        }
        let one = |kind, value: u16| (kind, vec![u64::from(value)]);
        let numbers = match traffic {
            Traffic::Everything => Vec::new(),
            Traffic::Icmp(_) if !is_ipv4 => return,
            Traffic::Icmpv6(_) if is_ipv4 => return,
            Traffic::Protocol(number) => vec![one(ComponentType::Protocol, number.into())],
            Traffic::Port { protocol, port } => {
                vec![one(ComponentType::Protocol, protocol.into()), one(ComponentType::DestinationPort, port)]
            }
            Traffic::Session { protocol, port } => {
                vec![one(ComponentType::Protocol, protocol.into()), one(ComponentType::Port, port)]
            }
            Traffic::Icmp(types) | Traffic::Icmpv6(types) => {
                let protocol = if is_ipv4 { ICMP } else { ICMPV6 };
                let types = types.iter().map(|kind| u64::from(*kind)).collect();
                vec![one(ComponentType::Protocol, protocol.into()), (ComponentType::IcmpType, types)]
            }
        };
        let target = Target::Net(to);
        let mut what = format!("{prefix}{traffic} to {target}");
        let mut nets = vec![(ComponentType::Destination, to)];
        if let Some(from) = from {
            what += &format!(" from {}", Target::Net(from));
            nets.push((ComponentType::Source, from));
        }
        self.push(family(to.addr()), &nets, numbers, what);
    }

    /// What is protected.
    pub fn items(&self) -> &[Protected] {
        &self.items
    }

    /// What protects all packets of the rule, for people. `None` for a rule that has no packets.
    pub(crate) fn covers(&self, space: &Space) -> Option<&str> {
        let item = self.items.iter().find(|item| !space.is_empty() && item.space.covers(space))?;
        Some(&item.what)
    }

    /// `numbers` are components, each with values of which one must match.
    fn push(
        &mut self,
        family: Family,
        nets: &[(ComponentType, IpNet)],
        numbers: Vec<(ComponentType, Vec<u64>)>,
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
        for (kind, values) in numbers {
            let equal: Vec<_> = values.into_iter().map(|value| NumericOp::new(Comparison::Equal, value)).collect();
            builder = builder.numeric(kind, &equal);
        }
        // Every prefix here is of the family and every number fits: building succeeds.
        if let Ok(nlri) = builder.build() {
            let space = Space::of(&nlri);
            if self.known.insert(nlri) {
                self.items.push(Protected { space, what });
            }
        }
    }
}

/// The protected packets as entries of a data plane, which accepts them ahead of every rule.
#[derive(Debug)]
pub(crate) struct ProtectedEntries {
    entries: Arc<Vec<Space>>,
    impossible: Vec<(Protected, String)>,
}

impl ProtectedEntries {
    pub(crate) fn compile(protection: &Protection, capabilities: &Capabilities) -> Self {
        let (mut entries, mut impossible) = (Vec::new(), Vec::new());
        for item in protection.items() {
            match compile::split_into_entries(item.space.clone(), capabilities) {
                Ok(parts) => entries.extend(parts),
                Err(kind) => impossible.push((item.clone(), compile::Refusal::new(kind, capabilities).to_string())),
            }
        }
        ProtectedEntries { entries: Arc::new(entries), impossible }
    }

    pub(crate) const fn entries(&self) -> &Arc<Vec<Space>> {
        &self.entries
    }

    /// The packets that the data plane cannot accept ahead of the rules, and why.
    pub(crate) fn impossible(&self) -> &[(Protected, String)] {
        &self.impossible
    }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

#[cfg(test)]
mod tests;
