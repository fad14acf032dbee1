//! Prefixes: `192.0.2.0/24`, `2001:db8::/32`, and with an offset `::1234:0/64-104` (RFC 8956) or
//! `::1234:0/104/64` (ExaBGP, GoBGP).

use super::cursor::Cursor;
use super::error::{Note, TextError};
use crate::family::IpVersion;
use crate::prefix::{Ipv6Pattern, Prefix};
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Parses a prefix; an address alone is the prefix of full length. Host bits are cleared, as BGP
/// speakers do, and noted.
pub(super) fn prefix(cursor: &mut Cursor<'_>, notes: &mut Vec<Note>) -> Result<Prefix, TextError> {
    cursor.skip_space();
    let start = cursor.at();
    let token = cursor.token();
    let (address, length) = token.split_once('/').map_or((token, None), |(address, length)| (address, Some(length)));
    let wrong = || cursor.error_at(start, "a prefix such as 192.0.2.0/24 or 2001:db8::/32");
    let (prefix, as_written) = if let Ok(address) = address.parse::<Ipv4Addr>() {
        let length = length.map_or(Some(32), number).ok_or_else(wrong)?;
        let net = Ipv4Net::new(address, length)
            .map_err(|_| cursor.error_at(start, "a prefix length from 0 to 32 after an IPv4 address"))?;
        (Prefix::V4(net.trunc()), u128::from(u32::from(address)) == u128::from(u32::from(net.trunc().addr())))
    } else if let Ok(address) = address.parse::<Ipv6Addr>() {
        let (offset, length) = offset_and_length(length).ok_or_else(wrong)?;
        let pattern = Ipv6Pattern::new(address, offset, length).ok_or_else(|| {
            cursor.error_at(start, "a prefix length from 0 to 128, and an offset below it, after an IPv6 address")
        })?;
        (Prefix::V6(pattern), u128::from(address) == pattern.bits())
    } else {
        return Err(wrong());
    };
    if !as_written {
        notes.push(cursor.note_at(start, format!("`{token}` has bits outside of its prefix; it was read as {prefix}")));
    }
    Ok(prefix)
}

/// The IP version of a prefix.
pub(super) const fn version(prefix: &Prefix) -> IpVersion {
    match prefix {
        Prefix::V4(_) => IpVersion::V4,
        Prefix::V6(_) => IpVersion::V6,
    }
}

fn offset_and_length(text: Option<&str>) -> Option<(u8, u8)> {
    let Some(text) = text else { return Some((0, 128)) };
    if let Some((offset, length)) = text.split_once('-') {
        Some((number(offset)?, number(length)?))
    } else if let Some((length, offset)) = text.split_once('/') {
        Some((number(offset)?, number(length)?))
    } else {
        Some((0, number(text)?))
    }
}

/// Decimal digits only, no sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
