//! The path attributes of ExaBGP's JSON. The value of a community is used, never its text:
//! `rate-limit:0` may be a rate of 0.4.

use crate::error::ParseError;
use crate::json::{Pairs, parse};
use bgp::{AsPath, Origin, PathAttributes, Segment, SegmentKind};
use flowspec::Action;
use serde_json::value::RawValue;
use std::net::{IpAddr, Ipv4Addr};

/// The result for the attributes.
#[derive(Debug)]
pub(crate) enum Attributes {
    /// They can be used.
    Good(Box<PathAttributes>),
    /// They are malformed: treat-as-withdraw (RFC 7606).
    Withdraw(ParseError),
}

/// Reads the `attribute` object.
pub(crate) fn attributes(object: Option<&RawValue>) -> Attributes {
    let read = || -> Result<PathAttributes, ParseError> {
        let mut attributes = PathAttributes::default();
        let Some(object) = object else { return Ok(attributes) };
        let members: Pairs<'_> = parse(object)?;
        for (name, value) in &members.0 {
            member(&mut attributes, name, value).map_err(|misread| misread.within(name))?;
        }
        // As a BGP session does with the same communities: a rate that is NaN makes them malformed.
        attributes.actions().map_err(|error| ParseError::new(error.to_string()).within("extended-community"))?;
        Ok(attributes)
    };
    match read() {
        Ok(attributes) => Attributes::Good(Box::new(attributes)),
        Err(misread) => Attributes::Withdraw(misread.within("attribute")),
    }
}

fn member(attributes: &mut PathAttributes, name: &str, value: &RawValue) -> Result<(), ParseError> {
    match name {
        "origin" => {
            attributes.origin = match parse::<String>(value)?.as_str() {
                "igp" => Origin::Igp,
                "egp" => Origin::Egp,
                "incomplete" => Origin::Incomplete,
                other => return Err(ParseError::new(format!("`{other}` is not an ORIGIN"))),
            }
        }
        "as-path" => attributes.as_path.segments.extend(as_path(value)?),
        "as-set" => segment(attributes, SegmentKind::Set, value)?,
        "confederation-path" => segment(attributes, SegmentKind::ConfedSequence, value)?,
        "confederation-set" => segment(attributes, SegmentKind::ConfedSet, value)?,
        "med" => attributes.med = Some(parse(value)?),
        "local-preference" => attributes.local_pref = Some(parse(value)?),
        "originator-id" => attributes.originator_id = Some(parse::<Ipv4Addr>(value)?),
        "cluster-list" => {
            let list: Vec<String> = parse(value)?;
            let address =
                |text: &String| text.parse().map_err(|_| ParseError::new(format!("`{text}` is not an address")));
            attributes.cluster_list = list.iter().map(address).collect::<Result<_, _>>()?;
        }
        "extended-community" => extended(value, &mut attributes.extended_communities)?,
        "extended-community-ipv6" => extended(value, &mut attributes.ipv6_extended_communities)?,
        // Versions that have no name for an attribute print its code and flags: 16 and 25 are
        // extended communities.
        name if name.starts_with("attribute-0x10-") => {
            return Err(ParseError::new("extended communities that ExaBGP could not read"));
        }
        name if name.starts_with("attribute-0x19-") => {
            let text: String = parse(value)?;
            attributes.ipv6_extended_communities.extend(ipv6_from_text(&text)?);
        }
        // `treat-as-withdraw ...` or `discard ...`: with the latter, the attribute is left out and
        // the others are used.
        "error" => {
            let text: String = parse(value)?;
            if !text.starts_with("discard") {
                return Err(ParseError::new(text));
            }
        }
        // Attributes that no traffic filter depends on.
        _ => {}
    }
    Ok(())
}

/// Version 4: `[65070, 65071]`; 5: `{ "0": { "element": "as-sequence", "value": [ 65070 ] } }`.
fn as_path(value: &RawValue) -> Result<Vec<Segment>, ParseError> {
    if let Ok(numbers) = parse::<Vec<u32>>(value) {
        return Ok(AsPath::sequence(numbers).segments);
    }
    #[derive(serde::Deserialize)]
    struct Element {
        element: String,
        value: Vec<u32>,
    }
    let members: Pairs<'_> = parse(value)?;
    let read = |value: &RawValue| -> Result<Segment, ParseError> {
        let Element { element, value } = parse(value)?;
        let kind = match element.as_str() {
            "as-sequence" => SegmentKind::Sequence,
            "as-set" => SegmentKind::Set,
            other => return Err(ParseError::new(format!("`{other}` is not a known kind of segment"))),
        };
        Ok(Segment { kind, numbers: value })
    };
    let segments = members.0.iter().map(|(_, value)| read(value)).collect::<Result<Vec<_>, _>>()?;
    Ok(segments.into_iter().filter(|segment| !segment.numbers.is_empty()).collect())
}

fn segment(attributes: &mut PathAttributes, kind: SegmentKind, value: &RawValue) -> Result<(), ParseError> {
    let numbers: Vec<u32> = parse(value)?;
    if numbers.is_empty() {
        return Ok(());
    }
    let segments = &mut attributes.as_path.segments;
    // The segments of the confederation come first.
    let at = if kind.is_confed() { segments.iter().take_while(|s| s.kind.is_confed()).count() } else { segments.len() };
    segments.insert(at, Segment { kind, numbers });
    Ok(())
}

/// A list of `{ "value": NUMBER, "string": TEXT }`, of `N` octets each.
fn extended<const N: usize>(value: &RawValue, into: &mut Vec<[u8; N]>) -> Result<(), ParseError> {
    #[derive(serde::Deserialize)]
    struct Entry<'a> {
        #[serde(borrow, default)]
        value: Option<&'a RawValue>,
        #[serde(default)]
        string: Option<String>,
    }
    for (index, entry) in parse::<Vec<&RawValue>>(value)?.into_iter().enumerate() {
        let read = || -> Result<[u8; N], ParseError> {
            let entry = match parse::<String>(entry) {
                Ok(text) => Entry { value: None, string: Some(text) },
                Err(_) => parse(entry)?,
            };
            match (entry.value, entry.string) {
                (Some(value), _) => octets(value.get())
                    .ok_or_else(|| ParseError::new(format!("{} is not an integer of at most {N} octets", value.get()))),
                (None, Some(text)) => from_text(&text),
                (None, None) => Err(ParseError::new("neither value nor string")),
            }
        };
        into.push(read().map_err(|misread| misread.within(&index.to_string()))?);
    }
    Ok(())
}

/// A decimal number of any length as `N` octets.
fn octets<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut octets = [0u8; N];
    if digits.is_empty() || digits.len() > 3 * N {
        return None;
    }
    for digit in digits.bytes() {
        let mut carry = u16::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        for octet in octets.iter_mut().rev() {
            let sum = u16::from(*octet) * 10 + carry;
            (*octet, carry) = (sum.to_be_bytes()[1], sum >> 8);
        }
        if carry != 0 {
            return None;
        }
    }
    Some(octets)
}

/// A community of which there is only the text, if the text is unambiguous.
fn from_text<const N: usize>(text: &str) -> Result<[u8; N], ParseError> {
    let lossy = || ParseError::new(format!("`{text}` is ambiguous, and there is no value"));
    let community = match text.split_once(' ') {
        Some(("action", words)) => {
            let mut words = words.split('-');
            let (mut sample, mut continues) = (false, false);
            let known = words.all(|word| match word {
                "sample" => !std::mem::replace(&mut sample, true),
                "terminal" => !std::mem::replace(&mut continues, true),
                _ => false,
            });
            known.then(|| Action::TrafficAction { sample, continues }.encode())
        }
        Some(("mark", dscp)) => {
            dscp.parse().ok().filter(|dscp: &u8| *dscp < 64).map(|dscp| Action::Mark(dscp).encode())
        }
        Some(_) => to_address(text).map(Action::encode),
        None if text == "redirect-to-nexthop" => Some(Action::RedirectNextHop { copy: false }.encode()),
        None if text == "copy-to-nexthop" => Some(Action::RedirectNextHop { copy: true }.encode()),
        None => return hex(text).ok_or_else(lossy),
    };
    community.and_then(|community| community.as_bytes().try_into().ok()).ok_or_else(lossy)
}

/// Version 4 prints attribute 25 as text only: one community, or `[ a b c ]`.
fn ipv6_from_text(text: &str) -> Result<Vec<[u8; 20]>, ParseError> {
    let Some(list) = text.strip_prefix("[ ").and_then(|rest| rest.strip_suffix(" ]")) else {
        return Ok(vec![from_text(text)?]);
    };
    let mut words = list.split(' ').peekable();
    let mut communities = Vec::new();
    while let Some(word) = words.next() {
        let mut text = word.to_owned();
        // `redirect-to-nexthop-ietf ADDRESS`, `copy-to-nexthop-ietf ADDRESS (with copy)`.
        if word.ends_with("-to-nexthop-ietf") {
            for _ in 0..if word.starts_with("copy") { 3 } else { 1 } {
                text = format!("{text} {}", words.next().unwrap_or_default());
            }
        }
        communities.push(from_text(&text)?);
    }
    Ok(communities)
}

fn to_address(text: &str) -> Option<Action> {
    let address = |text: &str| {
        let address = text.parse::<IpAddr>().ok()?;
        // ExaBGP prints one of several possible texts for an address; others are not its own.
        (address.to_string() == text || address.is_ipv6()).then_some(address)
    };
    if let Some(rest) = text.strip_prefix("redirect-to-nexthop-ietf ") {
        return Some(Action::RedirectIp { address: address(rest)?, copy: false });
    }
    let rest = text.strip_prefix("copy-to-nexthop-ietf ")?.strip_suffix(" (with copy)")?;
    Some(Action::RedirectIp { address: address(rest)?, copy: true })
}

/// `0x` and hex digits, leading zeros left out.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?;
    if digits.is_empty() || digits.len() > 2 * N {
        return None;
    }
    let padded = format!("{digits:0>width$}", width = 2 * N);
    flowspec::hex::decode(&padded)?.try_into().ok()
}

/// The next hop as ExaBGP prints it, a key of the announced routes.
pub(crate) fn next_hop(text: &str) -> Result<Option<IpAddr>, ParseError> {
    match text {
        "no-nexthop" | "null" | "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ParseError::new("no next hop that can be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PathAttributes, String> {
        match attributes(Some(&RawValue::from_string(json.to_owned()).unwrap())) {
            Attributes::Good(attributes) => Ok(*attributes),
            Attributes::Withdraw(misread) => Err(misread.to_string()),
        }
    }

    fn actions(json: &str) -> String {
        let attributes = read(json).unwrap();
        let nlri = "dst 192.0.2.1/32".parse().unwrap();
        flowspec::Rule::new(nlri, attributes.actions().unwrap())
            .to_string()
            .replace("dst 192.0.2.1/32", "")
            .trim()
            .into()
    }

    #[test]
    fn values_count_and_not_texts() {
        for (communities, text) in [
            (r#"{"value":9225060886715039744,"string":"rate-limit:0"}"#, "then discard"),
            (r#"{"value":9225060887768648909,"string":"rate-limit:0"}"#, "then rate 0.4"),
            (r#"{"value":9226749737724149760,"string":""}"#, "then rate 1000pps"),
            (r#"{"value":9225060886715039744,"string":"mark 46"}"#, "then discard"),
            (r#"{"value":9225060886715039744},{"value":9225905311645171722}"#, "then discard mark 10"),
        ] {
            assert_eq!(actions(&format!(r#"{{"extended-community":[{communities}]}}"#)), text);
        }
    }

    #[test]
    fn texts_count_where_there_is_no_value_and_they_say_all() {
        for (community, text) in [
            (r#""action sample-terminal""#, "then sample continue"),
            (r#"{"string":"mark 46"}"#, "then mark 46"),
            (r#""redirect-to-nexthop-ietf 192.0.2.254""#, "then redirect 192.0.2.254"),
            (r#""copy-to-nexthop-ietf 192.0.2.254 (with copy)""#, "then redirect 192.0.2.254 copy"),
            (r#""redirect-to-nexthop""#, "then redirect next-hop"),
            (r#""0x8208FA56EA000064""#, "then redirect 4200000000:100"),
        ] {
            assert_eq!(actions(&format!(r#"{{"extended-community":[{community}]}}"#)), text);
        }
        for lossy in
            ["rate-limit:0", "rate-limit:9600", "redirect:100:200", "mark 64", "action", "action stop", "0x", ""]
        {
            let error = read(&format!(r#"{{"extended-community":["{lossy}"]}}"#)).unwrap_err();
            assert!(error.contains("is ambiguous"), "{error}");
        }
    }

    #[test]
    fn attribute_25_of_version_4_is_text() {
        for (text, wanted) in [
            ("redirect-to-nexthop-ietf 2001:db8::9", "then redirect 2001:db8::9"),
            ("copy-to-nexthop-ietf 2001:db8::9 (with copy)", "then redirect 2001:db8::9 copy"),
            ("0xD20010DB80000000000000000000000090064", "then redirect [2001:db8::9]:100"),
            (
                "[ 0xD20010DB80000000000000000000000090064 redirect-to-nexthop-ietf 2001:db8::9 ]",
                "then redirect [2001:db8::9]:100 redirect 2001:db8::9",
            ),
        ] {
            assert_eq!(actions(&format!(r#"{{"attribute-0x19-0xC0":"{text}"}}"#)), wanted);
        }
        assert!(read(r#"{"attribute-0x19-0xC0":"redirect 2001:db8::9:100"}"#).is_err());
        assert!(read(r#"{"attribute-0x10-0x40":"0x8006000000000000"}"#).is_err());
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        assert_eq!(octets::<8>("18446744073709551615"), Some([0xff; 8]));
        assert_eq!(octets::<8>("18446744073709551616"), None);
        for odd in ["9.2e18", "-1", "", "99999999999999999999999999999999", "1_0", "\"1\""] {
            assert_eq!(octets::<8>(odd), None, "{odd}");
        }
        assert_eq!(octets::<20>("270396894049897293703898678829571923249790977").unwrap()[..3], [0, 0x0c, 0x20]);
    }

    #[test]
    fn what_cannot_be_used_treats_the_routes_as_withdrawn() {
        for (json, what) in [
            (r#"{"error":"treat-as-withdraw"}"#, "attribute/error: treat-as-withdraw"),
            (r#"{"extended-community":[{"value":9225060888861270016}]}"#, "not a number"),
            (r#"{"extended-community":[{"value":9.2e18}]}"#, "9.2e18 is not an integer"),
            (r#"{"extended-community":"rate-limit:0"}"#, "extended-community: invalid type"),
            (r#"{"extended-community":[],"extended-community":[]}"#, "there twice"),
            (r#"[]"#, "expected an object"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        assert!(read(r#"{"error":"discard due to aggregator"}"#).is_ok());
    }

    #[test]
    fn paths_of_both_versions() {
        let path = |json: &str| read(json).unwrap().as_path;
        let plain = AsPath::sequence([65070, 65071]);
        assert_eq!(path(r#"{"as-path":[65070,65071],"confederation-path":[]}"#), plain);
        assert_eq!(path(r#"{"as-path":{"0":{"element":"as-sequence","value":[65070,65071]}}}"#), plain);
        let mixed = path(r#"{"as-path":[65070],"as-set":[1,2],"confederation-path":[64512]}"#);
        let kinds: Vec<_> = mixed.segments.iter().map(|segment| segment.kind).collect();
        assert_eq!(kinds, [SegmentKind::ConfedSequence, SegmentKind::Sequence, SegmentKind::Set]);
        assert_eq!(path(r#"{"as-path":{}}"#), AsPath::default());
    }
}
