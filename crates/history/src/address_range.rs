//! Destinations as ranges of addresses, which SQLite can compare.

use std::net::IpAddr;

/// The first and the last address of a prefix. IPv4 addresses are those of `::ffff:0:0/96`, so that
/// all addresses have 16 octets and one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address, big-endian.
    pub first: [u8; 16],
    /// The last one.
    pub last: [u8; 16],
}

impl AddressRange {
    /// The addresses with these leading bits. More bits than an address has mean all of them.
    pub fn of_prefix(address: IpAddr, length: u8) -> Self {
        let (bits, length) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), u32::from(length.min(32)) + 96),
            IpAddr::V6(v6) => (u128::from(v6), u32::from(length.min(128))),
        };
        let host = u128::MAX.checked_shr(length).unwrap_or(0);
        AddressRange { first: (bits & !host).to_be_bytes(), last: (bits | host).to_be_bytes() }
    }

    /// All addresses of an IP version.
    pub fn all(is_ipv4: bool) -> Self {
        match is_ipv4 {
            true => Self::of_prefix(IpAddr::from([0; 4]), 0),
            false => Self::of_prefix(IpAddr::from([0; 16]), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_its_first_and_last_address() {
        let range = |text: &str, length| AddressRange::of_prefix(text.parse().unwrap(), length);
        let v4 = range("192.0.2.7", 24);
        assert_eq!((&v4.first[12..], &v4.last[12..]), (&[192, 0, 2, 0][..], &[192, 0, 2, 255][..]));
        assert_eq!(range("192.0.2.7", 32).first, range("192.0.2.7", 32).last);
        assert_eq!(range("2001:db8::1", 128).first, range("2001:db8::1", 128).last);
        assert_eq!((AddressRange::all(false).first, AddressRange::all(false).last), ([0; 16], [255; 16]));
        assert_eq!(AddressRange::all(true).last[8..], [0, 0, 255, 255, 255, 255, 255, 255]);
    }
}
