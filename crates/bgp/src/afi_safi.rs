//! The address families that this crate supports (RFC 4760), and sets of them.

use flowspec::{Family, IpVersion};
use std::fmt;

/// An AFI/SAFI pair: unicast, FlowSpec (SAFI 133) or VPN FlowSpec (SAFI 134), for IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AfiSafi {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
    /// SAFI 133 or 134.
    Flow(Family),
}

impl AfiSafi {
    /// Every family of this crate.
    pub const ALL: [AfiSafi; 6] = [
        AfiSafi::Ipv4Unicast,
        AfiSafi::Flow(Family::Ipv4),
        AfiSafi::Flow(Family::Vpnv4),
        AfiSafi::Ipv6Unicast,
        AfiSafi::Flow(Family::Ipv6),
        AfiSafi::Flow(Family::Vpnv6),
    ];

    /// Address family identifier: 1 or 2.
    #[must_use]
    pub const fn afi(self) -> u16 {
        match self {
            AfiSafi::Ipv4Unicast => 1,
            AfiSafi::Ipv6Unicast => 2,
            AfiSafi::Flow(family) => family.afi(),
        }
    }

    /// Subsequent address family identifier: 1, 133 or 134.
    #[must_use]
    pub const fn safi(self) -> u8 {
        match self {
            AfiSafi::Ipv4Unicast | AfiSafi::Ipv6Unicast => 1,
            AfiSafi::Flow(family) => family.safi(),
        }
    }

    /// The family of a pair of numbers; `None` if this crate does not support it.
    #[must_use]
    pub const fn from_numbers(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(AfiSafi::Ipv4Unicast),
            (2, 1) => Some(AfiSafi::Ipv6Unicast),
            _ => match Family::from_afi_safi(afi, safi) {
                Some(family) => Some(AfiSafi::Flow(family)),
                None => None,
            },
        }
    }

    /// The IP version of its routes.
    #[must_use]
    pub const fn version(self) -> IpVersion {
        match self {
            AfiSafi::Ipv4Unicast => IpVersion::V4,
            AfiSafi::Ipv6Unicast => IpVersion::V6,
            AfiSafi::Flow(family) => family.version(),
        }
    }

    /// The name used in text and JSON: `ipv4-unicast`, `ipv6-unicast`, `ipv4-flow`, `ipv6-flow`,
    /// `vpnv4-flow`, `vpnv6-flow`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AfiSafi::Ipv4Unicast => "ipv4-unicast",
            AfiSafi::Ipv6Unicast => "ipv6-unicast",
            AfiSafi::Flow(Family::Ipv4) => "ipv4-flow",
            AfiSafi::Flow(Family::Ipv6) => "ipv6-flow",
            AfiSafi::Flow(Family::Vpnv4) => "vpnv4-flow",
            AfiSafi::Flow(Family::Vpnv6) => "vpnv6-flow",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            AfiSafi::Ipv4Unicast => 1,
            AfiSafi::Ipv6Unicast => 2,
            AfiSafi::Flow(Family::Ipv4) => 4,
            AfiSafi::Flow(Family::Ipv6) => 8,
            AfiSafi::Flow(Family::Vpnv4) => 16,
            AfiSafi::Flow(Family::Vpnv6) => 32,
        }
    }
}

impl From<Family> for AfiSafi {
    fn from(family: Family) -> Self {
        AfiSafi::Flow(family)
    }
}

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no family of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected ipv4-unicast, ipv6-unicast, ipv4-flow, ipv6-flow, vpnv4-flow or vpnv6-flow, found `{0}`")]
pub struct UnknownAfiSafi(String);

impl std::str::FromStr for AfiSafi {
    type Err = UnknownAfiSafi;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        AfiSafi::ALL.into_iter().find(|f| f.name() == s).ok_or_else(|| UnknownAfiSafi(s.to_owned()))
    }
}

/// A set of families.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const EMPTY: FamilySet = FamilySet(0);
    /// All that this crate supports.
    pub const ALL: FamilySet = FamilySet(0x3f);
    /// The four FlowSpec families.
    pub const FLOW: FamilySet = FamilySet(0x3c);

    /// Whether it holds `family`.
    #[must_use]
    pub const fn contains(self, family: AfiSafi) -> bool {
        self.0 & family.bit() != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a family.
    pub const fn insert(&mut self, family: AfiSafi) {
        self.0 |= family.bit();
    }

    /// Removes a family.
    pub const fn remove(&mut self, family: AfiSafi) {
        self.0 &= !family.bit();
    }

    /// The families in both.
    #[must_use]
    pub const fn intersection(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & other.0)
    }

    /// The families, in the order of [`AfiSafi::ALL`].
    pub fn iter(self) -> impl Iterator<Item = AfiSafi> {
        AfiSafi::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<AfiSafi> for FamilySet {
    fn from_iter<I: IntoIterator<Item = AfiSafi>>(families: I) -> Self {
        let mut set = FamilySet::EMPTY;
        families.into_iter().for_each(|family| set.insert(family));
        set
    }
}

impl fmt::Debug for FamilySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_sets_agree() {
        for family in AfiSafi::ALL {
            assert_eq!(AfiSafi::from_numbers(family.afi(), family.safi()), Some(family));
            assert_eq!(family.name().parse(), Ok(family));
            let set: FamilySet = [family].into_iter().collect();
            assert!(set.contains(family));
            assert_eq!(set.iter().collect::<Vec<_>>(), [family]);
            assert_eq!(FamilySet::FLOW.contains(family), matches!(family, AfiSafi::Flow(_)));
        }
        assert_eq!(FamilySet::ALL.iter().count(), 6);
        assert_eq!(AfiSafi::from_numbers(1, 2), None);
    }
}
