//! Octets as hexadecimal text: two digits each, without separators.

use std::fmt;

/// Shows octets as lower-case hex.
///
/// ```
/// assert_eq!(flowspec::hex::Hex(&[0x0b, 0xff]).to_string(), "0bff");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The octets of an even number of hex digits of either case. `None` for anything else; no digits
/// are no octets.
///
/// ```
/// assert_eq!(flowspec::hex::decode("0bFF"), Some(vec![0x0b, 0xff]));
/// assert_eq!(flowspec::hex::decode("0bF"), None);
/// ```
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect())?
}
