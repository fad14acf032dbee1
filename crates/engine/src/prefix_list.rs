//! Lists of prefixes, as import policy has them, and the destination that is compared with them.

use crate::prefix_map::PrefixMap;
use flowspec::{Component, ComponentType, Nlri, Prefix};
use ipnet::{IpNet, Ipv6Net};

/// A list of allowed destinations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrefixList {
    prefixes: PrefixMap<()>,
    /// The same, where there are so few that comparing each is faster than a search.
    few: Vec<IpNet>,
}

/// Most prefixes that are compared one by one.
const FEW: usize = 8;

impl PrefixList {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether all of `net` is within one of its prefixes.
    pub fn covers(&self, net: IpNet) -> bool {
        if self.few.is_empty() {
            self.prefixes.longest_match(net).is_some()
        } else {
            self.few.iter().any(|own| own.contains(&net))
        }
    }
}

impl FromIterator<IpNet> for PrefixList {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut list = PrefixList::default();
        for net in nets {
            list.prefixes.insert(net, ());
            list.few.push(net.trunc());
        }
        if list.few.len() > FEW {
            list.few = Vec::new();
        }
        list
    }
}

/// The destination of a rule as a plain prefix; an IPv6 prefix with an offset is none.
pub(crate) fn destination(nlri: &Nlri) -> Option<IpNet> {
    ip_net(nlri.destination()?)
}

/// The source of a rule as a plain prefix; an IPv6 prefix with an offset is none.
pub(crate) fn source(nlri: &Nlri) -> Option<IpNet> {
    // Components are in the order of their types: it is the first or the second.
    nlri.components().take(2).find_map(|component| match component {
        Component::Prefix(ComponentType::Source, prefix) => ip_net(prefix),
        _ => None,
    })
}

fn ip_net(prefix: Prefix) -> Option<IpNet> {
    match prefix {
        Prefix::V4(net) => Some(IpNet::V4(net)),
        Prefix::V6(pattern) if pattern.offset() == 0 => {
            Ipv6Net::new(pattern.bits().into(), pattern.length()).ok().map(IpNet::V6)
        }
        Prefix::V6(_) => None,
    }
}
