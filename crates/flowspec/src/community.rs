//! Extended communities as octets (RFC 4360, RFC 5701), and an iterator over the attributes that
//! contain them.

use crate::error::CommunityError;

/// One extended community as on the wire, network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Community {
    /// Of attribute 16, EXTENDED COMMUNITIES (RFC 4360).
    Extended([u8; 8]),
    /// Of attribute 25, IPv6 Address Specific Extended Community (RFC 5701).
    Ipv6([u8; 20]),
}

impl Community {
    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Community::Extended(octets) => octets,
            Community::Ipv6(octets) => octets,
        }
    }
}

/// The communities in the value of attribute 16 or 25, in wire order.
#[derive(Clone, Debug)]
#[must_use = "iterators are lazy"]
pub struct Communities<'a>(Units<'a>);

#[derive(Clone, Debug)]
enum Units<'a> {
    Extended(std::slice::Iter<'a, [u8; 8]>),
    Ipv6(std::slice::Iter<'a, [u8; 20]>),
}

impl<'a> Communities<'a> {
    /// Of attribute 16, EXTENDED COMMUNITIES.
    ///
    /// # Errors
    /// [`CommunityError::Length`] unless `value` is a non-zero multiple of 8 octets (RFC 7606
    /// §7.14).
    pub fn extended(value: &'a [u8]) -> Result<Self, CommunityError> {
        units(value).map(|units| Communities(Units::Extended(units.iter())))
    }

    /// Of attribute 25, IPv6 Address Specific Extended Community.
    ///
    /// # Errors
    /// [`CommunityError::Length`] unless `value` is a non-zero multiple of 20 octets (RFC 7606
    /// §7.15).
    pub fn ipv6(value: &'a [u8]) -> Result<Self, CommunityError> {
        units(value).map(|units| Communities(Units::Ipv6(units.iter())))
    }
}

impl Iterator for Communities<'_> {
    type Item = Community;

    fn next(&mut self) -> Option<Community> {
        match &mut self.0 {
            Units::Extended(units) => units.next().copied().map(Community::Extended),
            Units::Ipv6(units) => units.next().copied().map(Community::Ipv6),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Units::Extended(units) => units.size_hint(),
            Units::Ipv6(units) => units.size_hint(),
        }
    }
}

impl ExactSizeIterator for Communities<'_> {}

fn units<const N: usize>(value: &[u8]) -> Result<&[[u8; N]], CommunityError> {
    match value.as_chunks() {
        (units, []) if !units.is_empty() => Ok(units),
        _ => Err(CommunityError::Length { found: value.len(), unit: N }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Disposition;

    #[test]
    fn attribute_length_is_a_non_zero_multiple() {
        for len in 0..=60 {
            let value = vec![0u8; len];
            let fits = |unit| {
                if len > 0 && len % unit == 0 {
                    Ok(len / unit)
                } else {
                    Err(CommunityError::Length { found: len, unit })
                }
            };
            assert_eq!(Communities::extended(&value).map(|c| c.len()), fits(8));
            assert_eq!(Communities::ipv6(&value).map(|c| c.len()), fits(20));
        }
        assert_eq!(Communities::extended(&[]).unwrap_err().disposition(), Disposition::TreatAsWithdraw);
    }

    #[test]
    fn walks_in_wire_order() {
        let value: Vec<u8> = (0..40).collect();
        let extended: Vec<_> = Communities::extended(&value).unwrap().collect();
        assert_eq!(extended.len(), 5);
        assert_eq!(extended[1], Community::Extended([8, 9, 10, 11, 12, 13, 14, 15]));
        let ipv6: Vec<_> = Communities::ipv6(&value).unwrap().collect();
        assert_eq!(ipv6.iter().map(|c| c.as_bytes()[0]).collect::<Vec<_>>(), [0, 20]);
    }
}
