//! Prefixes with values, for both IP versions: longest match, and everything within.

use flowspec::IpVersion;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// Values by prefix. Ordered by first address, then by length: what is within a prefix follows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PrefixMap<T> {
    v4: BTreeMap<(u32, u8), T>,
    v6: BTreeMap<(u128, u8), T>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        PrefixMap { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<T> PrefixMap<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(crate) fn get_mut(&mut self, net: IpNet) -> Option<&mut T> {
        match net {
            IpNet::V4(net) => self.v4.get_mut(&(u32::from(net.network()), net.prefix_len())),
            IpNet::V6(net) => self.v6.get_mut(&(u128::from(net.network()), net.prefix_len())),
        }
    }

    pub(crate) fn insert(&mut self, net: IpNet, value: T) {
        match net {
            IpNet::V4(net) => drop(self.v4.insert((u32::from(net.network()), net.prefix_len()), value)),
            IpNet::V6(net) => drop(self.v6.insert((u128::from(net.network()), net.prefix_len()), value)),
        }
    }

    pub(crate) fn remove(&mut self, net: IpNet) {
        match net {
            IpNet::V4(net) => drop(self.v4.remove(&(u32::from(net.network()), net.prefix_len()))),
            IpNet::V6(net) => drop(self.v6.remove(&(u128::from(net.network()), net.prefix_len()))),
        }
    }

    /// The value of the longest prefix that covers all of `net`.
    pub(crate) fn longest_match(&self, net: IpNet) -> Option<&T> {
        match net {
            IpNet::V4(net) => longest_match(&self.v4, u32::from(net.network()), net.prefix_len()),
            IpNet::V6(net) => longest_match(&self.v6, u128::from(net.network()), net.prefix_len()),
        }
    }

    /// The values of longer prefixes within `net`.
    pub(crate) fn within(&self, net: IpNet) -> impl Iterator<Item = (IpNet, &T)> {
        let (v4, v6) = match net {
            IpNet::V4(net) => {
                let (first, last, length) = (u32::from(net.network()), u32::from(net.broadcast()), net.prefix_len());
                (Some(self.v4.range((first, length.saturating_add(1))..=(last, u8::MAX))), None)
            }
            IpNet::V6(net) => {
                let (first, last, length) = (u128::from(net.network()), u128::from(net.broadcast()), net.prefix_len());
                (None, Some(self.v6.range((first, length.saturating_add(1))..=(last, u8::MAX))))
            }
        };
        // Every prefix that starts within `net` after it is longer, but a shorter one never starts
        // later and overlaps.
        let v4 = v4.into_iter().flatten().filter_map(|(&(address, length), value)| {
            Some((ipnet::Ipv4Net::new(address.into(), length).ok()?.into(), value))
        });
        let v6 = v6.into_iter().flatten().filter_map(|(&(address, length), value)| {
            Some((ipnet::Ipv6Net::new(address.into(), length).ok()?.into(), value))
        });
        v4.chain(v6)
    }

    /// Calls `visit` for each value of one IP version, and removes those for which it says so.
    /// Returns the prefixes whose values were changed or removed.
    pub(crate) fn retain(&mut self, mut visit: impl FnMut(&mut T) -> Retain, version: IpVersion) -> Vec<IpNet> {
        let mut touched = Vec::new();
        let mut note = |net: Option<IpNet>, outcome: Retain| {
            if outcome != Retain::Unchanged {
                touched.extend(net);
            }
            outcome != Retain::Removed
        };
        match version {
            IpVersion::V4 => self.v4.retain(|&(address, length), value| {
                note(ipnet::Ipv4Net::new(address.into(), length).ok().map(IpNet::V4), visit(value))
            }),
            IpVersion::V6 => self.v6.retain(|&(address, length), value| {
                note(ipnet::Ipv6Net::new(address.into(), length).ok().map(IpNet::V6), visit(value))
            }),
        }
        touched
    }
}

/// What a visit did to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retain {
    Unchanged,
    Changed,
    Removed,
}

/// An address as a number, most significant bit first.
trait Bits: Copy + Ord + std::ops::BitXor<Output = Self> + std::ops::BitAnd<Output = Self> {
    fn common(self, other: Self) -> u8;
    fn first(self, length: u8) -> Self;
}

macro_rules! bits {
    ($type:ty) => {
        impl Bits for $type {
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn first(self, length: u8) -> Self {
                self & !<$type>::MAX.checked_shr(u32::from(length)).unwrap_or(0)
            }
        }
    };
}

bits!(u32);
bits!(u128);

/// Goes from one candidate to the next shorter one: the last prefix at or before the key either
/// covers it, or bounds the length of a prefix that does.
fn longest_match<B: Bits, T>(map: &BTreeMap<(B, u8), T>, address: B, mut length: u8) -> Option<&T> {
    loop {
        let (&(found, found_length), value) = map.range(..=(address.first(length), length)).next_back()?;
        let common = found.common(address);
        if found_length <= length && found_length <= common {
            return Some(value);
        }
        let shorter = common.min(length);
        // Strictly shorter each time, so that it ends.
        length = if shorter < length { shorter } else { length.checked_sub(1)? };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::testing::Seed;

    /// Nested and neighbouring prefixes: few values in each octet.
    fn random_net(seed: &mut Seed) -> IpNet {
        let octet = |seed: &mut Seed| seed.pick(&[0u8, 1, 2, 128, 255]).unwrap();
        if seed.percent(50) {
            let address: [u8; 4] = std::array::from_fn(|_| octet(seed));
            IpNet::new(address.into(), seed.below(33) as u8).unwrap().trunc()
        } else {
            let address: [u8; 16] = std::array::from_fn(|_| octet(seed));
            IpNet::new(address.into(), seed.below(129) as u8).unwrap().trunc()
        }
    }

    #[test]
    fn matches_are_those_of_a_plain_search() {
        let mut hits = 0;
        for number in 0..60 {
            let mut seed = Seed::new(number);
            let mut map = PrefixMap::default();
            let mut all: Vec<IpNet> = Vec::new();
            for _ in 0..seed.below(60) {
                let net = random_net(&mut seed);
                map.insert(net, net);
                all.push(net);
            }
            for net in all.split_off(all.len() / 2 + all.len() / 4) {
                map.remove(net);
                all.retain(|other| *other != net);
            }
            all.sort();
            all.dedup();
            for _ in 0..60 {
                let net = random_net(&mut seed);
                let longest = all.iter().filter(|other| other.contains(&net)).max_by_key(|other| other.prefix_len());
                assert_eq!(map.longest_match(net), longest, "{net}");
                let within = all.iter().filter(|other| net.contains(*other) && **other != net);
                let mut found: Vec<_> = map.within(net).map(|(net, _)| net).collect();
                found.sort();
                assert_eq!(found.iter().collect::<Vec<_>>(), within.collect::<Vec<_>>(), "{net}");
                hits += usize::from(longest.is_some()) + found.len();
            }
        }
        assert!(hits > 1000, "{hits}");
    }
}
