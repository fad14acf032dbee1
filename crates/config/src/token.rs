//! `[[token]]`: who may do what over TCP.

use crate::limits;
use crate::values::{self, ActionKind};
use api::HumanDuration;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// `[[token]]`. Its name and its hash alone are kept: who has the configuration cannot use it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// A name for people and for the history; unique.
    pub name: String,
    /// SHA-256 of the token.
    #[serde(deserialize_with = "values::from_text")]
    pub hash: TokenHash,
    /// What it is for.
    pub role: Role,
    /// Networks from which it may be used; empty = any.
    #[serde(default, deserialize_with = "values::prefixes")]
    pub sources: Vec<IpNet>,
    /// When it ends; `None`: never.
    #[serde(default, deserialize_with = "some_date")]
    pub expires: Option<SystemTime>,
    /// Destinations that its rules may filter; empty = any.
    #[serde(default, deserialize_with = "values::prefixes")]
    pub destinations: Vec<IpNet>,
    /// Shortest IPv4 destination prefix.
    #[serde(default = "shortest_v4")]
    pub shortest_prefix_v4: u8,
    /// Shortest IPv6 destination prefix.
    #[serde(default = "shortest_v6")]
    pub shortest_prefix_v6: u8,
    /// Whether its rules may have no destination.
    #[serde(default)]
    pub without_destination: bool,
    /// Actions that its rules may ask for; empty = all.
    #[serde(default)]
    pub actions: Vec<ActionKind>,
    /// Addresses that its rules may redirect or copy to; empty = any.
    #[serde(default, deserialize_with = "values::prefixes")]
    pub redirect_to: Vec<IpNet>,
    /// Most rules at the same time.
    #[serde(default = "max_rules")]
    pub max_rules: u32,
    /// Longest lifetime of a rule; `None` = no limit.
    #[serde(default)]
    pub max_lifetime: Option<HumanDuration>,
}

/// What a token is for; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look at everything, and ask what happens to a packet.
    Read,
    /// Announce rules within bounds, and withdraw its own.
    Announce,
    /// Everything, within the bounds of its rules.
    Admin,
}

/// SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// Text that is not the hash of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a token; expected `sha256:` and 64 hex digits, as `floodgate token` prints it")]
pub struct InvalidTokenHash;

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, InvalidTokenHash> {
        let digits =
            text.strip_prefix("sha256:").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let octets = digits.and_then(|digits| api::hex::parse_hex(digits).ok()).ok_or(InvalidTokenHash)?;
        octets.try_into().map(TokenHash).map_err(|_| InvalidTokenHash)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", api::hex::to_hex(&self.0))
    }
}

const fn shortest_v4() -> u8 {
    8
}

const fn shortest_v6() -> u8 {
    16
}

const fn max_rules() -> u32 {
    limits::DEFAULT_TOKEN_RULES
}

fn some_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    // How long ago it was is no end of a token: what is meant would be a distance from now.
    let is_date = text.contains('-');
    let date = api::parse_moment(&text, SystemTime::UNIX_EPOCH).ok().filter(|_| is_date);
    let message = || de::Error::custom(format!("`{text}` is not a date; expected one in UTC such as \"2027-01-01\""));
    date.map(Some).ok_or_else(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let hash: TokenHash = text.parse().unwrap();
        assert_eq!((hash.to_string(), hash.0), (text, [0x0f; 32]));
        for bad in ["", "sha256:", "sha256:0f", "md5:0f", &"0f".repeat(32), &format!("sha256:{}", "0g".repeat(32))] {
            assert_eq!(bad.parse::<TokenHash>(), Err(InvalidTokenHash), "{bad}");
        }
    }

    #[test]
    fn roles_have_an_order() {
        assert!(Role::Read < Role::Announce && Role::Announce < Role::Admin);
    }
}
