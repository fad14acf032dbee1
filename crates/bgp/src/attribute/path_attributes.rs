//! The attributes of a route as values.

use crate::attribute::as_path::AsPath;
use flowspec::{Action, Community, CommunityError};
use std::net::Ipv4Addr;

/// The path attributes of one UPDATE, without next hop and NLRI, which belong to each group of
/// routes. Shared by its routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct PathAttributes {
    /// ORIGIN, attribute 1.
    pub origin: Origin,
    /// AS_PATH, attribute 2, with AS4_PATH merged into it.
    pub as_path: AsPath,
    /// MULTI_EXIT_DISC, attribute 4.
    pub med: Option<u32>,
    /// LOCAL_PREF, attribute 5; never there from an eBGP peer.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE, attribute 6.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, attribute 7: AS number and router.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES, attribute 8.
    pub communities: Vec<StandardCommunity>,
    /// ORIGINATOR_ID, attribute 9; never there from an eBGP peer.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, attribute 10; never there from an eBGP peer.
    pub cluster_list: Vec<Ipv4Addr>,
    /// EXTENDED COMMUNITIES, attribute 16; the actions are among them.
    pub extended_communities: Vec<[u8; 8]>,
    /// IPv6 address specific extended communities, attribute 25.
    pub ipv6_extended_communities: Vec<[u8; 20]>,
    /// LARGE_COMMUNITY, attribute 32: global administrator and two local numbers.
    pub large_communities: Vec<[u32; 3]>,
    /// Any other optional attribute, as received.
    pub unknown: Vec<RawAttribute>,
}

impl PathAttributes {
    /// Attributes of a locally originated rule with these actions.
    #[must_use]
    pub fn originate(actions: &[Action]) -> Self {
        let mut attributes = PathAttributes::default();
        for action in actions {
            match action.encode() {
                Community::Extended(octets) => attributes.extended_communities.push(octets),
                Community::Ipv6(octets) => attributes.ipv6_extended_communities.push(octets),
            }
        }
        attributes
    }

    /// The actions in the extended communities: those of attribute 16, then those of attribute 25.
    /// Attributes from a session never fail here: such an UPDATE was handled as treat-as-withdraw.
    ///
    /// # Errors
    /// A rate that is NaN.
    pub fn actions(&self) -> Result<Vec<Action>, CommunityError> {
        let extended = self.extended_communities.iter().map(|octets| Community::Extended(*octets));
        let ipv6 = self.ipv6_extended_communities.iter().map(|octets| Community::Ipv6(*octets));
        extended.chain(ipv6).map(Action::decode).collect()
    }

    /// Whether it carries this community.
    #[must_use]
    pub fn has_community(&self, community: StandardCommunity) -> bool {
        self.communities.contains(&community)
    }
}

/// ORIGIN (RFC 4271 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum Origin {
    /// 0.
    #[default]
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// A community of RFC 1997, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct StandardCommunity(pub u32);

impl StandardCommunity {
    /// LLGR_STALE (RFC 9494 §3.3.1).
    pub const LLGR_STALE: StandardCommunity = StandardCommunity(0xffff_0006);
    /// NO_LLGR (RFC 9494 §3.3.2).
    pub const NO_LLGR: StandardCommunity = StandardCommunity(0xffff_0007);
    /// NO_EXPORT (RFC 1997).
    pub const NO_EXPORT: StandardCommunity = StandardCommunity(0xffff_ff01);
    /// NO_ADVERTISE (RFC 1997).
    pub const NO_ADVERTISE: StandardCommunity = StandardCommunity(0xffff_ff02);
}

impl std::fmt::Display for StandardCommunity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            StandardCommunity::LLGR_STALE => f.write_str("llgr-stale"),
            StandardCommunity::NO_LLGR => f.write_str("no-llgr"),
            StandardCommunity::NO_EXPORT => f.write_str("no-export"),
            StandardCommunity::NO_ADVERTISE => f.write_str("no-advertise"),
            StandardCommunity(number) => write!(f, "{}:{}", number >> 16, number & 0xffff),
        }
    }
}

/// An attribute that is kept but not understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct RawAttribute {
    /// Flags octet as received, without the extended length bit.
    pub flags: u8,
    /// Type code.
    pub kind: u8,
    /// Value.
    pub value: Vec<u8>,
}
