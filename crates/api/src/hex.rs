//! Octets as hexadecimal text.

/// Text that is not hexadecimal: which character, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character that is no hex digit.
    #[error("`{}` is not a hex digit (character {column})", found.escape_debug())]
    Digit {
        /// The character.
        found: char,
        /// 1-based.
        column: usize,
    },
    /// An odd number of digits.
    #[error("an odd number of hex digits: the last octet is cut in half")]
    Odd,
    /// No digits.
    #[error("no octets: expected hex digits")]
    Empty,
}

/// Parses hex; blanks, colons, dashes and a leading `0x` are ignored.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let trimmed = text.trim_start();
    let skipped = text.chars().count() - trimmed.chars().count();
    let (body, skipped) = match trimmed.strip_prefix("0x").or_else(|| trimmed.strip_prefix("0X")) {
        Some(body) => (body, skipped + 2),
        None => (trimmed, skipped),
    };
    let mut octets = Vec::with_capacity(body.len() / 2);
    let mut high = None;
    for (index, found) in body.chars().enumerate() {
        if found.is_whitespace() || matches!(found, ':' | '-') {
            continue;
        }
        let digit = found.to_digit(16).ok_or(HexError::Digit { found, column: skipped + index + 1 })? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => octets.push(high << 4 | digit),
        }
    }
    match (high, octets.is_empty()) {
        (Some(_), _) => Err(HexError::Odd),
        (None, true) => Err(HexError::Empty),
        (None, false) => Ok(octets),
    }
}

/// Lower-case hex.
pub fn to_hex(octets: &[u8]) -> String {
    flowspec::hex::Hex(octets).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_forgiving_about_separators_and_exact_about_digits() {
        assert_eq!(parse_hex(" 0x0b:01 18-c0"), Ok(vec![0x0b, 0x01, 0x18, 0xc0]));
        assert_eq!(parse_hex("0b0"), Err(HexError::Odd));
        assert_eq!(parse_hex("0x0g"), Err(HexError::Digit { found: 'g', column: 4 }));
        assert_eq!(parse_hex("  "), Err(HexError::Empty));
        assert_eq!(to_hex(&[0, 0xff]), "00ff");
    }
}
