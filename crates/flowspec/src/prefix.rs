//! Prefix components: IPv4 (RFC 8955 §4.2.2.1) and IPv6 with an offset (RFC 8956 §3.1).

use ipnet::Ipv4Net;
use std::fmt;
use std::net::Ipv6Addr;

/// The address pattern of a destination or source component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// IPv4: the host bits are zero.
    V4(Ipv4Net),
    /// IPv6, with an offset.
    V6(Ipv6Pattern),
}

/// Bits `offset..length` of an IPv6 address, counted from the most significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Pattern {
    bits: u128,
    offset: u8,
    length: u8,
}

impl Ipv6Pattern {
    /// The pattern that matches every address: `::/0`.
    pub const ANY: Ipv6Pattern = Ipv6Pattern { bits: 0, offset: 0, length: 0 };

    /// The bits `offset..length` of `address`; bits outside are dropped. `None` unless `offset <
    /// length <= 128`, or both are 0.
    #[must_use]
    pub fn new(address: Ipv6Addr, offset: u8, length: u8) -> Option<Self> {
        let valid = length <= 128 && (offset < length || (offset == 0 && length == 0));
        valid.then(|| Ipv6Pattern { bits: u128::from(address) & mask(offset, length), offset, length })
    }

    /// The compared bits at their position in the address, all others zero.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.bits
    }

    /// Ones for the compared bits.
    #[must_use]
    pub const fn mask(self) -> u128 {
        mask(self.offset, self.length)
    }

    /// Leading bits that are not compared.
    #[must_use]
    pub const fn offset(self) -> u8 {
        self.offset
    }

    /// Where the compared bits end, counted from the first bit of the address (not from the
    /// offset).
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether `address` has this pattern.
    #[must_use]
    pub fn contains(self, address: Ipv6Addr) -> bool {
        u128::from(address) & self.mask() == self.bits
    }
}

const fn mask(offset: u8, length: u8) -> u128 {
    let upto_length = if length == 0 { 0 } else { u128::MAX << (128 - length as u32) };
    let from_offset = if offset >= 128 { 0 } else { u128::MAX >> offset };
    upto_length & from_offset
}

/// `2001:db8::/32`, or `::1234:5678:9a00:0/64-104` with an offset of 64, as RFC 8956 §3.8 writes
/// it.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::V4(net) => net.fmt(f),
            Prefix::V6(p) if p.offset == 0 => write!(f, "{}/{}", Ipv6Addr::from(p.bits), p.length),
            Prefix::V6(p) => write!(f, "{}/{}-{}", Ipv6Addr::from(p.bits), p.offset, p.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_bits_are_not_compared() {
        let pattern = Ipv6Pattern::new("::1234:5678:9a00:0".parse().unwrap(), 64, 104).unwrap();
        assert!(pattern.contains("2001:db8::1234:5678:9aff:1".parse().unwrap()));
        assert!(!pattern.contains("2001:db8::1234:5678:9b00:0".parse().unwrap()));
        assert_eq!(Prefix::V6(pattern).to_string(), "::1234:5678:9a00:0/64-104");
    }

    #[test]
    fn offset_must_be_below_length() {
        let any = Ipv6Addr::UNSPECIFIED;
        assert_eq!(Ipv6Pattern::new(any, 0, 0), Some(Ipv6Pattern::ANY));
        for (offset, length) in [(64, 64), (1, 0), (0, 129), (128, 128)] {
            assert_eq!(Ipv6Pattern::new(any, offset, length), None, "{offset}-{length}");
        }
        assert!(Ipv6Pattern::new(any, 127, 128).is_some());
    }
}
