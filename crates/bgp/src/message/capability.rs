//! Capabilities (RFC 5492).

use crate::afi_safi::AfiSafi;

/// One capability. Families that this crate does not support keep their numbers, so that a received
/// OPEN can be displayed and encoded again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Capability {
    /// Code 1, multiprotocol extensions (RFC 4760).
    Multiprotocol(FamilyNumbers),
    /// Code 2, route refresh (RFC 2918).
    RouteRefresh,
    /// Code 6, extended messages (RFC 8654).
    ExtendedMessage,
    /// Code 9, role (RFC 9234).
    Role(Role),
    /// Code 64, graceful restart (RFC 4724, RFC 8538).
    GracefulRestart(GracefulRestart),
    /// Code 65, 4-octet AS number (RFC 6793).
    FourOctetAs(u32),
    /// Code 69, add-path (RFC 7911).
    AddPath(Vec<AddPath>),
    /// Code 70, enhanced route refresh (RFC 7313).
    EnhancedRouteRefresh,
    /// Code 71, long-lived graceful restart (RFC 9494).
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// Any other, or one of the above with a value that does not fit: kept, and ignored.
    Unknown {
        /// Capability code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// AFI and SAFI as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct FamilyNumbers {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl FamilyNumbers {
    /// The family, if this crate supports it.
    #[must_use]
    pub const fn known(self) -> Option<AfiSafi> {
        AfiSafi::from_numbers(self.afi, self.safi)
    }
}

impl From<AfiSafi> for FamilyNumbers {
    fn from(family: AfiSafi) -> Self {
        FamilyNumbers { afi: family.afi(), safi: family.safi() }
    }
}

/// BGP role of a speaker in an eBGP session (RFC 9234 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum Role {
    /// Transit provider.
    Provider,
    /// Route server.
    RouteServer,
    /// Client of a route server.
    RouteServerClient,
    /// Customer of a transit provider.
    Customer,
    /// Lateral peer.
    Peer,
}

impl Role {
    const TABLE: [(Role, &'static str); 5] = [
        (Role::Provider, "provider"),
        (Role::RouteServer, "rs"),
        (Role::RouteServerClient, "rs-client"),
        (Role::Customer, "customer"),
        (Role::Peer, "peer"),
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The role of a number, if it is assigned.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Role::TABLE.get(usize::from(number)).map(|(role, _)| *role)
    }

    /// The name used in configuration: `provider`, `rs`, `rs-client`, `customer` or `peer`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Role::TABLE[usize::from(self.number())].1
    }

    /// The role that the other side must have (RFC 9234 §4.2).
    #[must_use]
    pub const fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Customer => Role::Provider,
            Role::Peer => Role::Peer,
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Role::TABLE.iter().find(|(_, name)| *name == s).map(|(role, _)| *role).ok_or_else(|| UnknownRole(s.to_owned()))
    }
}

/// Text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected provider, rs, rs-client, customer or peer, found `{0}`")]
pub struct UnknownRole(String);

/// Graceful restart capability (RFC 4724 §3, RFC 8538 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct GracefulRestart {
    /// R bit: the speaker has restarted and waits for End-of-RIB.
    pub restarted: bool,
    /// N bit: routes are kept over a NOTIFICATION and an expired hold timer too (RFC 8538).
    pub notification: bool,
    /// Seconds until the session is expected back, 12 bits.
    pub restart_time: u16,
    /// The families for which routes are to be kept, each with its F bit: the forwarding state was
    /// preserved.
    pub families: Vec<(FamilyNumbers, bool)>,
}

/// One family of the add-path capability (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct AddPath {
    /// The family.
    pub family: FamilyNumbers,
    /// The sender of the capability can receive several paths.
    pub receive: bool,
    /// The sender of the capability wants to send several paths.
    pub send: bool,
}

/// One family of the long-lived graceful restart capability (RFC 9494 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct LongLivedFamily {
    /// The family.
    pub family: FamilyNumbers,
    /// F bit: the forwarding state was preserved.
    pub preserved: bool,
    /// Long-lived stale time in seconds, 24 bits.
    pub stale_time: u32,
}

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_MESSAGE: u8 = 6;
const ROLE: u8 = 9;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED: u8 = 71;

impl Capability {
    /// The code on the wire.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => MULTIPROTOCOL,
            Capability::RouteRefresh => ROUTE_REFRESH,
            Capability::ExtendedMessage => EXTENDED_MESSAGE,
            Capability::Role(_) => ROLE,
            Capability::GracefulRestart(_) => GRACEFUL_RESTART,
            Capability::FourOctetAs(_) => FOUR_OCTET_AS,
            Capability::AddPath(_) => ADD_PATH,
            Capability::EnhancedRouteRefresh => ENHANCED_ROUTE_REFRESH,
            Capability::LongLivedGracefulRestart(_) => LONG_LIVED,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// Reads one capability value. There is no error: a value of wrong length is
    /// [`Capability::Unknown`].
    #[must_use]
    pub fn decode(code: u8, value: &[u8]) -> Self {
        decode_known(code, value).unwrap_or_else(|| Capability::Unknown { code, value: value.to_vec() })
    }

    /// Appends code, length and value. A value is at most 255 octets; longer ones (which this crate
    /// never makes) are cut.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code(), 0]);
        let start = out.len();
        self.encode_value(out);
        out.truncate(start + 255);
        out[start - 1] = (out.len() - start) as u8;
    }

    fn encode_value(&self, out: &mut Vec<u8>) {
        match self {
            Capability::Multiprotocol(family) => {
                out.extend_from_slice(&family.afi.to_be_bytes());
                out.extend_from_slice(&[0, family.safi]);
            }
            Capability::RouteRefresh | Capability::ExtendedMessage | Capability::EnhancedRouteRefresh => {}
            Capability::Role(role) => out.push(role.number()),
            Capability::GracefulRestart(restart) => {
                let flags = u16::from(restart.restarted) << 15 | u16::from(restart.notification) << 14;
                out.extend_from_slice(&(flags | restart.restart_time & 0x0fff).to_be_bytes());
                for (family, preserved) in &restart.families {
                    push_family(out, *family);
                    out.push(u8::from(*preserved) << 7);
                }
            }
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
            Capability::AddPath(families) => {
                for entry in families {
                    push_family(out, entry.family);
                    out.push(u8::from(entry.receive) | u8::from(entry.send) << 1);
                }
            }
            Capability::LongLivedGracefulRestart(families) => {
                for entry in families {
                    push_family(out, entry.family);
                    out.push(u8::from(entry.preserved) << 7);
                    out.extend_from_slice(&entry.stale_time.to_be_bytes()[1..]);
                }
            }
            Capability::Unknown { value, .. } => out.extend_from_slice(value),
        }
    }
}

fn push_family(out: &mut Vec<u8>, family: FamilyNumbers) {
    out.extend_from_slice(&family.afi.to_be_bytes());
    out.push(family.safi);
}

fn family(afi: [u8; 2], safi: u8) -> FamilyNumbers {
    FamilyNumbers { afi: u16::from_be_bytes(afi), safi }
}

fn decode_known(code: u8, value: &[u8]) -> Option<Capability> {
    Some(match (code, value) {
        (MULTIPROTOCOL, &[a, b, _, safi]) => Capability::Multiprotocol(family([a, b], safi)),
        (ROUTE_REFRESH, []) => Capability::RouteRefresh,
        (EXTENDED_MESSAGE, []) => Capability::ExtendedMessage,
        (ROLE, &[number]) => Capability::Role(Role::from_number(number)?),
        (GRACEFUL_RESTART, &[a, b, ref families @ ..]) if families.len() % 4 == 0 => {
            let word = u16::from_be_bytes([a, b]);
            let entry = |octets: &[u8; 4]| (family([octets[0], octets[1]], octets[2]), octets[3] & 0x80 != 0);
            Capability::GracefulRestart(GracefulRestart {
                restarted: word & 0x8000 != 0,
                notification: word & 0x4000 != 0,
                restart_time: word & 0x0fff,
                families: families.as_chunks::<4>().0.iter().map(entry).collect(),
            })
        }
        (FOUR_OCTET_AS, &[a, b, c, d]) => Capability::FourOctetAs(u32::from_be_bytes([a, b, c, d])),
        (ADD_PATH, families) if families.len() % 4 == 0 => {
            // One mode that is not 1, 2 or 3 makes the whole capability one that is not understood
            // (RFC 7911 §4).
            let entry = |&[a, b, safi, mode]: &[u8; 4]| {
                let (receive, send) = (mode & 1 != 0, mode & 2 != 0);
                (1..=3).contains(&mode).then(|| AddPath { family: family([a, b], safi), receive, send })
            };
            Capability::AddPath(families.as_chunks::<4>().0.iter().map(entry).collect::<Option<_>>()?)
        }
        (ENHANCED_ROUTE_REFRESH, []) => Capability::EnhancedRouteRefresh,
        (LONG_LIVED, families) if families.len() % 7 == 0 => {
            let entry = |&[a, b, safi, flags, x, y, z]: &[u8; 7]| LongLivedFamily {
                family: family([a, b], safi),
                preserved: flags & 0x80 != 0,
                stale_time: u32::from_be_bytes([0, x, y, z]),
            };
            Capability::LongLivedGracefulRestart(families.as_chunks::<7>().0.iter().map(entry).collect())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_has_its_octets_both_ways() {
        let v6_flow = FamilyNumbers { afi: 2, safi: 133 };
        let table: [(&[u8], Capability); 11] = [
            (&[1, 4, 0, 2, 0, 133], Capability::Multiprotocol(v6_flow)),
            (&[2, 0], Capability::RouteRefresh),
            (&[6, 0], Capability::ExtendedMessage),
            (&[9, 1, 3], Capability::Role(Role::Customer)),
            (&[9, 1, 9], Capability::Unknown { code: 9, value: vec![9] }),
            (
                &[64, 6, 0xc0, 0x78, 0, 2, 133, 0x80],
                Capability::GracefulRestart(GracefulRestart {
                    restarted: true,
                    notification: true,
                    restart_time: 120,
                    families: vec![(v6_flow, true)],
                }),
            ),
            (&[65, 4, 0xfa, 0x56, 0xea, 0], Capability::FourOctetAs(4_200_000_000)),
            (
                &[69, 4, 0, 2, 133, 1],
                Capability::AddPath(vec![AddPath { family: v6_flow, receive: true, send: false }]),
            ),
            (&[70, 0], Capability::EnhancedRouteRefresh),
            (
                &[71, 7, 0, 2, 133, 0x80, 0, 0x0e, 0x10],
                Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                    family: v6_flow,
                    preserved: true,
                    stale_time: 3600,
                }]),
            ),
            (&[200, 2, 1, 2], Capability::Unknown { code: 200, value: vec![1, 2] }),
        ];
        for (octets, capability) in table {
            let mut encoded = Vec::new();
            capability.encode_to(&mut encoded);
            assert_eq!(encoded, octets);
            assert_eq!(Capability::decode(octets[0], &octets[2..]), capability);
        }
    }

    #[test]
    fn one_unassigned_mode_makes_the_add_path_capability_not_understood() {
        let right = [0, 1, 133, 3, 0, 2, 133, 1];
        assert!(matches!(Capability::decode(69, &right), Capability::AddPath(entries) if entries.len() == 2));
        for mode in [0, 4, 7, 255] {
            let value = [0, 1, 133, 3, 0, 2, 133, mode];
            assert_eq!(
                Capability::decode(69, &value),
                Capability::Unknown { code: 69, value: value.to_vec() },
                "{mode}"
            );
        }
    }

    #[test]
    fn roles_pair_up() {
        for number in 0..5 {
            let role = Role::from_number(number).unwrap();
            assert_eq!(role.number(), number);
            assert_eq!(role.counterpart().counterpart(), role);
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!(Role::from_number(5), None);
    }
}
