//! Converts one rule of ExaBGP's JSON, its members and the text beside them, to an NLRI.
//!
//! The members are used, except for TCP flags and fragment, which version 4 splits: for those the
//! text is used, and the members must be what ExaBGP makes of it. If members and text disagree, the
//! rule is refused.

use crate::error::ParseError;
use crate::json::{Pairs, text_list};
use crate::names;
use crate::operators;
use crate::version::Version;
use flowspec::{ComponentType, Family, IpVersion, Ipv6Pattern, Nlri, Prefix, RouteDistinguisher, ValueKind};
use ipnet::Ipv4Net;
use serde_json::value::RawValue;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The members that are components, with the IP version of their rules.
const COMPONENTS: [(&str, ComponentType, Option<IpVersion>); 17] = [
    ("destination-ipv4", ComponentType::Destination, Some(IpVersion::V4)),
    ("destination-ipv6", ComponentType::Destination, Some(IpVersion::V6)),
    ("source-ipv4", ComponentType::Source, Some(IpVersion::V4)),
    ("source-ipv6", ComponentType::Source, Some(IpVersion::V6)),
    ("protocol", ComponentType::Protocol, Some(IpVersion::V4)),
    ("next-header", ComponentType::Protocol, Some(IpVersion::V6)),
    ("port", ComponentType::Port, None),
    ("destination-port", ComponentType::DestinationPort, None),
    ("source-port", ComponentType::SourcePort, None),
    ("icmp-type", ComponentType::IcmpType, None),
    ("icmp-code", ComponentType::IcmpCode, None),
    ("tcp-flags", ComponentType::TcpFlags, None),
    ("packet-length", ComponentType::PacketLength, None),
    ("dscp", ComponentType::Dscp, Some(IpVersion::V4)),
    ("traffic-class", ComponentType::Dscp, Some(IpVersion::V6)),
    ("fragment", ComponentType::Fragment, None),
    ("flow-label", ComponentType::FlowLabel, Some(IpVersion::V6)),
];

/// Parses the object of one rule.
pub(crate) fn nlri(family: Family, version: Version, object: &RawValue) -> Result<Nlri, ParseError> {
    let members: Pairs<'_> = crate::json::parse(object)?;
    let mut builder = Nlri::builder(family);
    let text = members.get("string").map(crate::json::parse::<String>).transpose().map_err(|m| m.within("string"))?;
    // The text of each component: from its name to the name of the next member that is printed
    // there.
    let sections = text.as_deref().map(|text| sections(text, &members)).transpose()?;
    for (name, value) in &members.0 {
        let Some((_, kind, only)) = COMPONENTS.iter().find(|(component, ..)| *component == name.as_ref()) else {
            match name.as_ref() {
                "string" | "next-hop" => {}
                "rd" if family.is_vpn() => {
                    let text: String = crate::json::parse(value).map_err(|m| m.within("rd"))?;
                    let rd = route_distinguisher(&text);
                    builder = builder.route_distinguisher(rd.ok_or_else(|| {
                        ParseError::new(format!("`{text}` is not a route distinguisher")).within("rd")
                    })?);
                }
                // An unknown member may restrict the rule: without it, the rule would match more
                // than what was announced.
                other => return Err(ParseError::new("an unknown member").within(other)),
            }
            continue;
        };
        if only.is_some_and(|only| only != family.version()) {
            return Err(ParseError::new(format!("not a member of rules of {family}")).within(name));
        }
        if builder.has(*kind) {
            return Err(ParseError::new("there twice").within(name));
        }
        let section = sections.as_ref().and_then(|sections| sections.of(name));
        if sections.is_some() && section.is_none() {
            return Err(ParseError::new("not in the text of the rule").within(name));
        }
        let read = || -> Result<_, ParseError> {
            let items = text_list(value)?;
            let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
            Ok(match kind.value_kind() {
                ValueKind::Prefix => builder.clone().prefix(*kind, prefix(version, &items, section)?),
                ValueKind::Numeric => {
                    let ops = operators::numeric(*kind, &items)?;
                    same(section, &items, ops.len())?;
                    builder.clone().numeric(*kind, &ops)
                }
                ValueKind::Bitmask => {
                    let ops = match section {
                        Some(section) => operators::bitmask_text(*kind, section)?,
                        None if version.splits_masks() => return Err(ParseError::new("the rule has no text")),
                        None => operators::bitmask(*kind, &items)?,
                    };
                    if !operators::prints_as(*kind, &ops, &items) {
                        return Err(ParseError::new("the members and the text of the rule disagree"));
                    }
                    builder.clone().bitmask(*kind, &ops)
                }
            })
        };
        builder = read().map_err(|misread| misread.within(name))?;
    }
    builder.build().map_err(|error| ParseError::new(error.to_string()))
}

/// The text of a rule, split at the names of its members.
struct Sections<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Sections<'a> {
    fn of(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(section, _)| *section == name).map(|(_, text)| *text)
    }
}

/// Members and text are in the same order; `next-hop` is last in the text wherever it is among the
/// members, and version 6 leaves it out.
fn sections<'a>(text: &'a str, members: &'a Pairs<'_>) -> Result<Sections<'a>, ParseError> {
    let odd = || ParseError::new("the text of the rule is not as ExaBGP prints it").within("string");
    let names = members.0.iter().map(|(name, _)| name.as_ref()).filter(|name| *name != "string" && *name != "next-hop");
    let mut rest = text.strip_prefix("flow").ok_or_else(odd)?;
    if let Some(at) = rest.rfind(" next-hop ") {
        rest = &rest[..at];
    }
    let mut sections: Vec<(&str, &str)> = Vec::new();
    for name in names {
        let marker = format!(" {name} ");
        let at = rest.find(&marker).ok_or_else(odd)?;
        match sections.last_mut() {
            Some((_, section)) => *section = &rest[..at],
            None if at == 0 => {}
            None => return Err(odd()),
        }
        rest = &rest[at + marker.len()..];
        sections.push((name, rest));
    }
    match sections.is_empty() {
        true if !rest.is_empty() => Err(odd()),
        _ => Ok(Sections(sections)),
    }
}

/// One item without AND is printed alone in the text, everything else in brackets: so two operators
/// that were printed as one can be detected.
fn same(section: Option<&str>, items: &[&str], ops: usize) -> Result<(), ParseError> {
    let Some(section) = section else { return Ok(()) };
    let joined = items.join(" ");
    let expected = if ops == 1 { joined } else { format!("[ {joined} ]") };
    if section == expected {
        return Ok(());
    }
    Err(ParseError::new(format!("the members say `{expected}`, the text of the rule says `{section}`")))
}

/// `192.0.2.0/24`, `2001:db8::/32/0`: address, length and, for IPv6, offset. Host bits are ignored
/// (RFC 8955 §4.2.2.1).
fn prefix(version: Version, items: &[&str], section: Option<&str>) -> Result<Prefix, ParseError> {
    let [text] = items else {
        return Err(ParseError::new(format!("{} prefixes; a rule has one (RFC 8955 §4.2)", items.len())));
    };
    same(section, items, 1)?;
    let odd = || ParseError::new(format!("`{text}` is not a prefix as ExaBGP prints it"));
    let mut parts = text.split('/');
    let mut next = || parts.next().ok_or_else(odd);
    let (address, length) = (next()?, next()?);
    let number = |text: &str| names::decimal(text).and_then(|number| u8::try_from(number).ok()).ok_or_else(odd);
    let length = number(length)?;
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        let net = Ipv4Net::new(address, length).map_err(|_| odd())?;
        return if parts.next().is_none() { Ok(Prefix::V4(net.trunc())) } else { Err(odd()) };
    }
    let address: Ipv6Addr = address.parse().map_err(|_| odd())?;
    let offset = number(next()?)?;
    if parts.next().is_some() {
        return Err(odd());
    }
    let pattern = Ipv6Pattern::new(address, offset, length).ok_or_else(odd)?;
    if offset > 0 && version.misreads_offsets() {
        return Err(ParseError::new(format!(
            "`{text}` has an offset, which ExaBGP 4 does not read as RFC 8956 writes it; 5.0.15 does"
        )));
    }
    // Versions before 5.0.15 confuse the pattern's first bits with those of the address.
    let before = if offset == 0 { 0 } else { u128::MAX << (128 - u32::from(offset)) };
    if u128::from(address) & before != 0 {
        return Err(ParseError::new(format!(
            "`{text}` has bits in front of its offset: ExaBGP before 5.0.15 misreads such a prefix"
        )));
    }
    Ok(Prefix::V6(pattern))
}

/// `100:1`, `192.0.2.9:7`, `4200000000:7`, or the octets in hex for another kind.
fn route_distinguisher(text: &str) -> Option<RouteDistinguisher> {
    let Some(hex) = text.strip_prefix("0x") else { return text.parse().ok() };
    let digits = hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let number = digits.then(|| u64::from_str_radix(hex, 16).ok()).flatten()?;
    Some(RouteDistinguisher(number.to_be_bytes()))
}
