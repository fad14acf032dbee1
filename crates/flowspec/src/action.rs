//! Traffic-filtering actions (RFC 8955 §7, RFC 8956 §6, draft-ietf-idr-flowspec-redirect-ip, draft-ietf-idr-flowspec-interfaceset):
//! extended communities to actions and back. What several of them do together is in `effect`.

use crate::community::Community;
use crate::error::CommunityError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A traffic rate as sent: IEEE 754 single precision, bytes or packets a second. Compared by its bits; never NaN.
#[derive(Clone, Copy, Debug)]
pub struct Rate(f32);

impl Rate {
    /// `None` for NaN.
    pub fn new(rate: f32) -> Option<Self> {
        (!rate.is_nan()).then_some(Rate(rate))
    }

    /// As sent; may be negative or infinite.
    pub const fn as_f32(self) -> f32 {
        self.0
    }
}

impl PartialEq for Rate {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Rate {}

impl std::hash::Hash for Rate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// What one community asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// 8006 traffic-rate-bytes: bytes a second. The AS number is informational.
    RateBytes {
        /// Informational AS number.
        asn: u16,
        /// Bytes a second.
        rate: Rate,
    },
    /// 800c traffic-rate-packets: packets a second. The AS number is informational.
    RatePackets {
        /// Informational AS number.
        asn: u16,
        /// Packets a second.
        rate: Rate,
    },
    /// 8007 traffic-action.
    TrafficAction {
        /// S bit: sample the packet.
        sample: bool,
        /// T bit: set means that the search goes on with the next rule (RFC 8955 §7.3).
        continues: bool,
    },
    /// 8009 traffic-marking: DSCP, 6 bits.
    Mark(u8),
    /// 8008 rt-redirect, AS2 form.
    RedirectAs2 {
        /// 2-octet AS number.
        asn: u16,
        /// Local number.
        local: u32,
    },
    /// 8108 rt-redirect, IPv4 form.
    RedirectIpv4 {
        /// Administrator address.
        address: Ipv4Addr,
        /// Local number.
        local: u16,
    },
    /// 8208 rt-redirect, AS4 form.
    RedirectAs4 {
        /// 4-octet AS number.
        asn: u32,
        /// Local number.
        local: u16,
    },
    /// 000d of attribute 25, rt-redirect-ipv6; also its old code 800b, which is accepted and never sent.
    RedirectIpv6 {
        /// Administrator address.
        address: Ipv6Addr,
        /// Local number.
        local: u16,
    },
    /// 0800: redirect (or copy) to the next hop of the MP_REACH_NLRI (draft-simpson-idr-flowspec-redirect).
    RedirectNextHop {
        /// C bit: send a copy there and forward the packet as usual.
        copy: bool,
    },
    /// 010c, or 000c of attribute 25: redirect (or copy) to an IP address.
    RedirectIp {
        /// Where to.
        address: IpAddr,
        /// C bit: send a copy there and forward the packet as usual.
        copy: bool,
    },
    /// 0702 or 4702 interface-set.
    InterfaceSet {
        /// Type 0702; otherwise 4702, non-transitive.
        transitive: bool,
        /// 4-octet AS number.
        asn: u32,
        /// O bit: applies to outgoing packets.
        outbound: bool,
        /// I bit: applies to incoming packets.
        inbound: bool,
        /// Group, 14 bits.
        group: u16,
    },
    /// Anything else, kept as it is (route targets among them).
    Other(Community),
}

impl Action {
    /// Reads one community. Reserved bits are ignored.
    ///
    /// # Errors
    /// A rate that is NaN; nothing else can be wrong, unknown communities are [`Action::Other`].
    pub fn decode(community: Community) -> Result<Self, CommunityError> {
        match community {
            Community::Extended(octets) => decode_extended(octets),
            Community::Ipv6(octets) => Ok(decode_ipv6(octets)),
        }
    }

    /// The community that asks for this; reserved bits zero.
    pub fn encode(self) -> Community {
        encode(self)
    }
}

fn decode_extended(octets: [u8; 8]) -> Result<Action, CommunityError> {
    let [t, s, a, b, c, d, e, f] = octets;
    let asn2 = u16::from_be_bytes([a, b]);
    let last4 = u32::from_be_bytes([c, d, e, f]);
    let first4 = u32::from_be_bytes([a, b, c, d]);
    let last2 = u16::from_be_bytes([e, f]);
    let rate = || Rate::new(f32::from_bits(last4)).ok_or(CommunityError::RateNotANumber);
    Ok(match (t, s) {
        (0x80, 0x06) => Action::RateBytes { asn: asn2, rate: rate()? },
        (0x80, 0x0c) => Action::RatePackets { asn: asn2, rate: rate()? },
        (0x80, 0x07) => Action::TrafficAction { sample: f & 0x02 != 0, continues: f & 0x01 != 0 },
        (0x80, 0x09) => Action::Mark(f & 0x3f),
        (0x80, 0x08) => Action::RedirectAs2 { asn: asn2, local: last4 },
        (0x81, 0x08) => Action::RedirectIpv4 { address: Ipv4Addr::from(first4), local: last2 },
        (0x82, 0x08) => Action::RedirectAs4 { asn: first4, local: last2 },
        (0x08, 0x00) => Action::RedirectNextHop { copy: f & 0x01 != 0 },
        (0x01, 0x0c) => Action::RedirectIp { address: IpAddr::V4(Ipv4Addr::from(first4)), copy: f & 0x01 != 0 },
        (0x07 | 0x47, 0x02) => Action::InterfaceSet {
            transitive: t == 0x07,
            asn: first4,
            outbound: e & 0x80 != 0,
            inbound: e & 0x40 != 0,
            group: last2 & 0x3fff,
        },
        _ => Action::Other(Community::Extended(octets)),
    })
}

fn decode_ipv6(octets: [u8; 20]) -> Action {
    let [t, s, address @ .., e, f] = octets;
    let address = Ipv6Addr::from(address);
    match (t, s) {
        (0x00, 0x0c) => Action::RedirectIp { address: IpAddr::V6(address), copy: f & 0x01 != 0 },
        (0x00, 0x0d) | (0x80, 0x0b) => Action::RedirectIpv6 { address, local: u16::from_be_bytes([e, f]) },
        _ => Action::Other(Community::Ipv6(octets)),
    }
}

fn encode(action: Action) -> Community {
    let join = |t: u8, s: u8, first: &[u8], last: &[u8]| {
        let mut octets = [0u8; 8];
        octets[0] = t;
        octets[1] = s;
        octets[2..2 + first.len()].copy_from_slice(first);
        octets[8 - last.len()..].copy_from_slice(last);
        Community::Extended(octets)
    };
    let join6 = |t: u8, s: u8, address: Ipv6Addr, last: u16| {
        let mut octets = [0u8; 20];
        octets[0] = t;
        octets[1] = s;
        octets[2..18].copy_from_slice(&address.octets());
        octets[18..].copy_from_slice(&last.to_be_bytes());
        Community::Ipv6(octets)
    };
    match action {
        Action::RateBytes { asn, rate } => join(0x80, 0x06, &asn.to_be_bytes(), &rate.0.to_be_bytes()),
        Action::RatePackets { asn, rate } => join(0x80, 0x0c, &asn.to_be_bytes(), &rate.0.to_be_bytes()),
        Action::TrafficAction { sample, continues } => {
            join(0x80, 0x07, &[], &[u8::from(sample) << 1 | u8::from(continues)])
        }
        Action::Mark(dscp) => join(0x80, 0x09, &[], &[dscp & 0x3f]),
        Action::RedirectAs2 { asn, local } => join(0x80, 0x08, &asn.to_be_bytes(), &local.to_be_bytes()),
        Action::RedirectIpv4 { address, local } => join(0x81, 0x08, &address.octets(), &local.to_be_bytes()),
        Action::RedirectAs4 { asn, local } => join(0x82, 0x08, &asn.to_be_bytes(), &local.to_be_bytes()),
        Action::RedirectIpv6 { address, local } => join6(0x00, 0x0d, address, local),
        Action::RedirectNextHop { copy } => join(0x08, 0x00, &[], &[u8::from(copy)]),
        Action::RedirectIp { address: IpAddr::V4(address), copy } => {
            join(0x01, 0x0c, &address.octets(), &[u8::from(copy)])
        }
        Action::RedirectIp { address: IpAddr::V6(address), copy } => join6(0x00, 0x0c, address, u16::from(copy)),
        Action::InterfaceSet { transitive, asn, outbound, inbound, group } => {
            let flags = u16::from(outbound) << 15 | u16::from(inbound) << 14 | (group & 0x3fff);
            join(if transitive { 0x07 } else { 0x47 }, 0x02, &asn.to_be_bytes(), &flags.to_be_bytes())
        }
        Action::Other(community) => community,
    }
}
