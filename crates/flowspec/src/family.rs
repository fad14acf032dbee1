//! Address families that carry FlowSpec, and the route distinguisher of the VPN ones (RFC 8955 §4
//! and §8, RFC 8956 §2).

use std::fmt;
use std::str::FromStr;

/// The IP version whose packets a rule filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An AFI/SAFI pair of FlowSpec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 133.
    Ipv4,
    /// AFI 2, SAFI 133.
    Ipv6,
    /// AFI 1, SAFI 134: the NLRI starts with a route distinguisher.
    Vpnv4,
    /// AFI 2, SAFI 134: the NLRI starts with a route distinguisher.
    Vpnv6,
}

impl Family {
    /// Every family, in the order of AFI and SAFI.
    pub const ALL: [Family; 4] = [Family::Ipv4, Family::Vpnv4, Family::Ipv6, Family::Vpnv6];

    /// Address family identifier: 1 or 2.
    #[must_use]
    pub const fn afi(self) -> u16 {
        match self.version() {
            IpVersion::V4 => 1,
            IpVersion::V6 => 2,
        }
    }

    /// Subsequent address family identifier: 133, or 134 for VPN.
    #[must_use]
    pub const fn safi(self) -> u8 {
        if self.is_vpn() { 134 } else { 133 }
    }

    /// The family of an AFI/SAFI pair, if that pair is FlowSpec.
    #[must_use]
    pub const fn from_afi_safi(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 133) => Some(Family::Ipv4),
            (2, 133) => Some(Family::Ipv6),
            (1, 134) => Some(Family::Vpnv4),
            (2, 134) => Some(Family::Vpnv6),
            _ => None,
        }
    }

    /// The IP version of the packets that rules of this family filter.
    #[must_use]
    pub const fn version(self) -> IpVersion {
        match self {
            Family::Ipv4 | Family::Vpnv4 => IpVersion::V4,
            Family::Ipv6 | Family::Vpnv6 => IpVersion::V6,
        }
    }

    /// Whether the NLRI starts with a route distinguisher.
    #[must_use]
    pub const fn is_vpn(self) -> bool {
        matches!(self, Family::Vpnv4 | Family::Vpnv6)
    }

    /// The name used in text and JSON: `ipv4`, `ipv6`, `vpnv4` or `vpnv6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
            Family::Vpnv4 => "vpnv4",
            Family::Vpnv6 => "vpnv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no FlowSpec family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected ipv4, ipv6, vpnv4 or vpnv6, found `{0}`")]
pub struct UnknownFamily(String);

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Family::ALL.into_iter().find(|f| f.name() == s).ok_or_else(|| UnknownFamily(s.to_owned()))
    }
}

/// Route distinguisher (RFC 4364 §4.2): eight octets, network byte order, kept whatever their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteDistinguisher(pub [u8; 8]);

impl RouteDistinguisher {
    /// Number of octets on the wire.
    pub const LEN: usize = 8;
}

/// `65000:100` (type 0), `192.0.2.1:100` (type 1), `4200000000L:100` (type 2, the L tells it from
/// type 0), or `0x` and 16 hex digits for a type without a text form.
impl fmt::Display for RouteDistinguisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [t0, t1, a, b, c, d, e, g] = self.0;
        match u16::from_be_bytes([t0, t1]) {
            0 => write!(f, "{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g])),
            1 => write!(f, "{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([e, g])),
            2 => {
                let asn = u32::from_be_bytes([a, b, c, d]);
                let suffix = if asn <= u32::from(u16::MAX) { "L" } else { "" };
                write!(f, "{asn}{suffix}:{}", u16::from_be_bytes([e, g]))
            }
            _ => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

/// Text that is not a route distinguisher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a route distinguisher such as 65000:100, 192.0.2.1:100 or 4200000000:100, found `{0}`")]
pub struct InvalidRouteDistinguisher(String);

impl FromStr for RouteDistinguisher {
    type Err = InvalidRouteDistinguisher;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        parse_rd(s).ok_or_else(|| InvalidRouteDistinguisher(s.to_owned()))
    }
}

fn parse_rd(s: &str) -> Option<RouteDistinguisher> {
    if let Some(hex) = s.strip_prefix("0x") {
        let digits = hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        return digits
            .then(|| u64::from_str_radix(hex, 16).ok())
            .flatten()
            .map(|v| RouteDistinguisher(v.to_be_bytes()));
    }
    let (admin, local) = s.split_once(':')?;
    // Integer parsing would take a plus sign.
    if s.contains('+') {
        return None;
    }
    let mut rd = [0u8; 8];
    if let Ok(addr) = admin.parse::<std::net::Ipv4Addr>() {
        rd[1] = 1;
        rd[2..6].copy_from_slice(&addr.octets());
        rd[6..].copy_from_slice(&local.parse::<u16>().ok()?.to_be_bytes());
        return Some(RouteDistinguisher(rd));
    }
    let (digits, four_octet) = match admin.strip_suffix(['L', 'l']) {
        Some(digits) => (digits, true),
        None => (admin, false),
    };
    let asn: u32 = digits.parse().ok()?;
    match u16::try_from(asn) {
        Ok(asn) if !four_octet => {
            rd[2..4].copy_from_slice(&asn.to_be_bytes());
            rd[4..].copy_from_slice(&local.parse::<u32>().ok()?.to_be_bytes());
        }
        _ => {
            rd[1] = 2;
            rd[2..6].copy_from_slice(&asn.to_be_bytes());
            rd[6..].copy_from_slice(&local.parse::<u16>().ok()?.to_be_bytes());
        }
    }
    Some(RouteDistinguisher(rd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afi_and_safi_name_each_family() {
        for family in Family::ALL {
            assert_eq!(Family::from_afi_safi(family.afi(), family.safi()), Some(family));
            assert_eq!(family.name().parse(), Ok(family));
        }
        assert_eq!(Family::from_afi_safi(1, 1), None);
    }

    #[test]
    fn route_distinguisher_text_is_reversible() {
        for text in ["65000:100", "192.0.2.1:100", "4200000000:10", "100L:7", "0x0003000000000001"] {
            let rd: RouteDistinguisher = text.parse().unwrap();
            assert_eq!(rd.to_string(), text);
        }
        for bad in ["", "1", "1:", "70000:70000", "1.2.3.4:65536", "x:1", "0x12", "+1:1", "1:+1", "-1:1", "1:1:1"] {
            assert!(bad.parse::<RouteDistinguisher>().is_err(), "{bad}");
        }
    }
}
