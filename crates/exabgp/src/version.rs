//! Versions of ExaBGP's JSON.

use crate::error::ParseError;

/// The JSON's version: the first number of `exabgp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
    V6,
}

impl Version {
    pub(crate) fn of(text: Option<&str>) -> Result<Self, ParseError> {
        match text.and_then(|text| text.split('.').next()) {
            Some("4") => Ok(Version::V4),
            Some("5") => Ok(Version::V5),
            Some("6") => Ok(Version::V6),
            _ => {
                let text = text.unwrap_or("no version");
                Err(ParseError::new(format!("JSON of {text}; versions 4, 5 and 6 can be read")).within("exabgp"))
            }
        }
    }

    /// Several bits of one mask may be printed as several items.
    pub(crate) const fn splits_masks(self) -> bool {
        matches!(self, Version::V4)
    }

    /// IPv6 prefixes with an offset are parsed as in the drafts before RFC 8956.
    pub(crate) const fn misreads_offsets(self) -> bool {
        matches!(self, Version::V4)
    }
}
