//! Traffic-filtering actions (RFC 8955 §7, RFC 8956 §6, draft-ietf-idr-flowspec-redirect-ip,
//! draft-ietf-idr-flowspec-interfaceset): extended communities to actions and back. The combined
//! effect of several actions is in `effect`.

use crate::community::Community;
use crate::error::CommunityError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A traffic rate as sent: IEEE 754 single precision, bytes or packets a second. Compared by its
/// bits; never NaN.
#[derive(Clone, Copy, Debug)]
pub struct Rate(f32);

impl Rate {
    /// Nothing passes: a rule with this rate discards.
    pub const ZERO: Rate = Rate(0.0);

    /// `None` for NaN.
    #[must_use]
    pub fn new(rate: f32) -> Option<Self> {
        (!rate.is_nan()).then_some(Rate(rate))
    }

    /// As sent; may be negative or infinite.
    #[must_use]
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

/// The action of one community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
        /// T bit: set means that evaluation continues with the next rule (RFC 8955 §7.3).
        continues: bool,
    },
    /// 8009 traffic-marking: DSCP, 6 bits; higher bits are not sent.
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
    /// 000d of attribute 25, rt-redirect-ipv6; also its old code 800b, which is accepted and never
    /// sent.
    RedirectIpv6 {
        /// Administrator address.
        address: Ipv6Addr,
        /// Local number.
        local: u16,
    },
    /// 0800: redirect (or copy) to the next hop of the MP_REACH_NLRI
    /// (draft-simpson-idr-flowspec-redirect).
    RedirectNextHop {
        /// C bit: send a copy there and forward the packet as usual.
        copy: bool,
    },
    /// 010c, or 000c of attribute 25: redirect (or copy) to an IP address.
    RedirectIp {
        /// The target.
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
        /// Group, 14 bits; higher bits are not sent.
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

    /// The community for this action; reserved bits zero.
    #[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn extended(octets: u64) -> Community {
        Community::Extended(octets.to_be_bytes())
    }

    /// `t s`, an address and the last two octets.
    fn ipv6(code: u16, address: &str, last: u16) -> Community {
        let address: Ipv6Addr = address.parse().unwrap();
        let octets = [&code.to_be_bytes()[..], &address.octets(), &last.to_be_bytes()].concat();
        Community::Ipv6(octets.try_into().unwrap())
    }

    fn rate(rate: f32) -> Rate {
        Rate::new(rate).unwrap()
    }

    #[test]
    fn every_code_both_ways() {
        let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let v4 = Ipv4Addr::new(192, 0, 2, 1);
        let action = |sample, continues| Action::TrafficAction { sample, continues };
        let set = |transitive, outbound, inbound, group| Action::InterfaceSet {
            transitive,
            asn: 4_200_000_000,
            outbound,
            inbound,
            group,
        };
        let table = [
            (extended(0x8006_0000_0000_0000), Action::RateBytes { asn: 0, rate: rate(0.0) }),
            (extended(0x8006_fdea_4616_0000), Action::RateBytes { asn: 65002, rate: rate(9600.0) }),
            (extended(0x800c_0000_447a_0000), Action::RatePackets { asn: 0, rate: rate(1000.0) }),
            (extended(0x8007_0000_0000_0000), action(false, false)),
            (extended(0x8007_0000_0000_0001), action(false, true)),
            (extended(0x8007_0000_0000_0002), action(true, false)),
            (extended(0x8007_0000_0000_0003), action(true, true)),
            (extended(0x8009_0000_0000_002e), Action::Mark(46)),
            (extended(0x8008_fde8_0000_0064), Action::RedirectAs2 { asn: 65000, local: 100 }),
            (extended(0x8108_c000_0201_0064), Action::RedirectIpv4 { address: v4, local: 100 }),
            (extended(0x8208_fa56_ea00_000a), Action::RedirectAs4 { asn: 4_200_000_000, local: 10 }),
            (extended(0x0800_0000_0000_0000), Action::RedirectNextHop { copy: false }),
            (extended(0x0800_0000_0000_0001), Action::RedirectNextHop { copy: true }),
            (extended(0x010c_c000_0201_0000), Action::RedirectIp { address: v4.into(), copy: false }),
            (extended(0x010c_c000_0201_0001), Action::RedirectIp { address: v4.into(), copy: true }),
            (ipv6(0x000c, "2001:db8::1", 0), Action::RedirectIp { address: v6.into(), copy: false }),
            (ipv6(0x000c, "2001:db8::1", 1), Action::RedirectIp { address: v6.into(), copy: true }),
            (ipv6(0x000d, "2001:db8::1", 100), Action::RedirectIpv6 { address: v6, local: 100 }),
            (extended(0x0702_fa56_ea00_8001), set(true, true, false, 1)),
            (extended(0x0702_fa56_ea00_4001), set(true, false, true, 1)),
            (extended(0x4702_fa56_ea00_ffff), set(false, true, true, 0x3fff)),
            (extended(0x0002_fdea_0000_0064), Action::Other(extended(0x0002_fdea_0000_0064))),
            (ipv6(0x0002, "2001:db8::1", 7), Action::Other(ipv6(0x0002, "2001:db8::1", 7))),
        ];
        for (community, action) in table {
            assert_eq!(Action::decode(community), Ok(action), "{community:x?}");
            assert_eq!(action.encode(), community, "{action:?}");
        }
    }

    #[test]
    fn what_is_ignored_on_receipt_is_sent_as_zero() {
        let table = [
            (extended(0x8007_ffff_ffff_fffc), extended(0x8007_0000_0000_0000)),
            (extended(0x8009_ffff_ffff_ffee), extended(0x8009_0000_0000_002e)),
            // OpenDaylight puts an address there; the target is the MP_REACH next hop all the same.
            (extended(0x0800_7f00_0001_0001), extended(0x0800_0000_0000_0001)),
            (extended(0x010c_c000_0201_fffe), extended(0x010c_c000_0201_0000)),
            (ipv6(0x000c, "2001:db8::1", 0xfffe), ipv6(0x000c, "2001:db8::1", 0)),
            // The old code of rt-redirect-ipv6, sent by GoBGP 3.10.
            (ipv6(0x800b, "2001:db8::1", 100), ipv6(0x000d, "2001:db8::1", 100)),
        ];
        for (received, sent) in table {
            let action = Action::decode(received).unwrap();
            assert!(!matches!(action, Action::Other(_)), "{received:x?}");
            assert_eq!(action.encode(), sent, "{received:x?}");
        }
    }

    #[test]
    fn codes_are_told_apart_by_attribute() {
        // 800b and 000d name an action in attribute 25 only (CVE-2025-43972), 8006 and 0800 in
        // attribute 16 only.
        for community in [
            extended(0x800b_2001_0db8_0000),
            extended(0x000d_2001_0db8_0000),
            extended(0x000c_2001_0db8_0000),
            ipv6(0x8006, "::", 0),
            ipv6(0x0800, "::", 1),
            ipv6(0x010c, "::", 1),
        ] {
            assert_eq!(Action::decode(community), Ok(Action::Other(community)));
        }
    }

    #[test]
    fn every_rate_but_nan_is_kept_bit_for_bit() {
        for code in [0x8006u64, 0x800c] {
            let community = |rate: u32| extended(code << 48 | u64::from(rate));
            for nan in [0x7fc0_0000u32, 0x7f80_0001, 0xffc0_0000, 0xffff_ffff, 0x7fff_ffff] {
                assert_eq!(Action::decode(community(nan)), Err(CommunityError::RateNotANumber), "{nan:x}");
            }
            for bits in [0, 0x8000_0000, 1, 0x8000_0001, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 0xc616_0000] {
                assert_eq!(Action::decode(community(bits)).unwrap().encode(), community(bits), "{bits:x}");
            }
        }
        assert_eq!(Rate::new(f32::NAN), None);
        assert_ne!(rate(0.0), rate(-0.0), "compared as sent");
    }
}
