//! The short name of a rule, for people and scripts.

use crate::family::Family;
use std::fmt;
use std::str::FromStr;

/// Short stable name of a rule, shown as 12 hex digits. For people and scripts; two rules may in
/// theory share one, so programs key on the [`Nlri`](crate::Nlri).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl RuleId {
    const DIGITS: usize = 12;

    /// FNV-1a over family and octets, with a final mix, cut to 48 bits. Part of the stable face:
    /// never change it.
    pub(crate) fn of(family: Family, octets: &[u8]) -> Self {
        let [afi_high, afi_low] = family.afi().to_be_bytes();
        let start = [afi_high, afi_low, family.safi()];
        let hash = start.iter().chain(octets).fold(0xcbf2_9ce4_8422_2325u64, |hash, &octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        RuleId((hash ^ (hash >> 33)) >> 16)
    }

    /// The 12 hex digits as octets: data planes name a hundred thousand objects so.
    #[must_use]
    pub fn to_digits(self) -> [u8; RuleId::DIGITS] {
        let digit = |at: usize| b"0123456789abcdef"[(self.0 >> (4 * (RuleId::DIGITS - 1 - at))) as usize & 15];
        std::array::from_fn(digit)
    }

    /// The 48 bits as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_digits()).unwrap_or_default())
    }
}

/// Text that is no rule id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rule id of 12 hex digits, found `{0}`")]
pub struct InvalidRuleId(String);

impl FromStr for RuleId {
    type Err = InvalidRuleId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let valid = s.len() == RuleId::DIGITS && s.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then(|| u64::from_str_radix(s, 16).ok()).flatten().map(RuleId).ok_or_else(|| InvalidRuleId(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlri::Nlri;

    fn id(family: Family, value: &[u8]) -> String {
        Nlri::from_value(family, value).unwrap().id().to_string()
    }

    /// Scripts keep these: if this test fails, the change is wrong.
    #[test]
    fn ids_never_change() {
        let value = [0x01, 0x18, 0xc0, 0x00, 0x02, 0x03, 0x81, 0x06];
        assert_eq!(id(Family::Ipv4, &value), "684bd0ce0156");
        assert_eq!(id(Family::Vpnv4, &[&[0, 0, 0xfd, 0xe8, 0, 0, 0, 100], &value[..]].concat()), "580b2530b792");
        assert_eq!(id(Family::Ipv6, &[0x03, 0x81, 0x06]), "c4b65b5e3253");
        assert_ne!(id(Family::Ipv4, &[0x03, 0x81, 0x06]), id(Family::Ipv6, &[0x03, 0x81, 0x06]));
    }

    #[test]
    fn text_is_twelve_hex_digits() {
        assert_eq!(RuleId(0xab).to_string(), "0000000000ab");
        assert_eq!("0000000000ab".parse(), Ok(RuleId(0xab)));
        for bad in ["", "ab", "0x00000000ab", "0000000000abc", "+000000000ab", "0000000000ag"] {
            assert!(bad.parse::<RuleId>().is_err(), "{bad}");
        }
    }
}
