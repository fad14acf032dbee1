//! Rewrites serde's messages about a value for the author of the file: what is there, what is
//! expected, and what was probably meant.

use crate::error::nearest;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One step of a path in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To a key of a table.
    Key(String),
    /// To an element of a list, from 0.
    Index(usize),
}

/// A path as text: `peer[0].allow.destinations[1]`.
pub(crate) fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// What is wrong with the value, or the key, at `path`.
pub(crate) fn message(text: &str, path: &[Step], error: &toml::de::Error) -> String {
    let written = error.span().and_then(|span| text.get(span)).unwrap_or_default().trim();
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    let parts = Parts { message: &message, written, path };
    parts.address().or_else(|| parts.unknown()).or_else(|| parts.missing()).unwrap_or_else(|| parts.value())
}

/// The data for an explanation.
struct Parts<'a> {
    message: &'a str,
    /// The text in the file.
    written: &'a str,
    path: &'a [Step],
}

impl Parts<'_> {
    fn key(&self) -> &str {
        let keys =
            self.path.iter().rev().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None });
        keys.into_iter().next().unwrap_or_default()
    }

    /// The text without its quotes.
    fn bare(&self) -> &str {
        self.written.trim_matches(['"', '\''])
    }

    /// The standard library does not say what it found instead of an address.
    fn address(&self) -> Option<String> {
        let found = self.bare();
        match self.message {
            "invalid IPv4 address syntax" => {
                let hint = if found.parse::<Ipv6Addr>().is_ok() {
                    "; a BGP identifier is written as an IPv4 address also where all is IPv6".to_owned()
                } else {
                    address_hint(found, "")
                };
                Some(format!("`{found}` is not an IPv4 address; expected a form such as 192.0.2.10{hint}"))
            }
            "invalid IP address syntax" => {
                let hint = address_hint(found, self.key());
                Some(format!(
                    "`{found}` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10{hint}"
                ))
            }
            _ => None,
        }
    }

    /// An unknown key or word.
    fn unknown(&self) -> Option<String> {
        for (theirs, ours) in [("unknown field ", "unknown key"), ("unknown variant ", "unknown value")] {
            let Some((found, expected)) = self.message.strip_prefix(theirs).and_then(|rest| rest.split_once(", "))
            else {
                continue;
            };
            let found = found.trim_matches('`');
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let probable_value = nearest(found, &known);
            let home = if ours == "unknown key" && self.path.len() > 1 { section_of(found) } else { None };
            return Some(match (probable_value, home) {
                // It is spelled correctly, and belongs to another section.
                (_, Some(home)) if !known.contains(&found) => {
                    format!("unknown key `{found}` here; it belongs in {home}; {expected}")
                }
                (Some(word), _) => {
                    let expected = expected.replacen("expected", "Expected", 1);
                    format!("{ours} `{found}`; did you mean `{word}`? {expected}")
                }
                (None, _) => format!("{ours} `{found}`; {expected}"),
            });
        }
        None
    }

    fn missing(&self) -> Option<String> {
        let field = self.message.strip_prefix("missing field ")?;
        let what = if self.path.is_empty() && !field.contains(' ') {
            format!("missing section [{}]", field.trim_matches('`'))
        } else {
            format!("missing key {field}")
        };
        let example = match field.trim_matches('`') {
            "as" => ", such as `as = 65140`",
            "id" => ", such as `id = \"192.0.2.10\"`",
            "name" => ", such as `name = \"controller\"`",
            "address" => ", such as `address = \"192.0.2.1\"`",
            _ => "",
        };
        Some(format!("{what}{example}"))
    }

    /// A value of another type is expected here.
    fn value(&self) -> String {
        let message = replace_type_names(self.message);
        match self.probable_value() {
            Some(probable_value) => format!("{message}; did you mean `{probable_value}`?"),
            None => message,
        }
    }

    /// What was probably meant by a value of the wrong type.
    fn probable_value(&self) -> Option<String> {
        let found = self.bare();
        let expects =
            |what: &str| self.message.rsplit_once("expected ").is_some_and(|(_, expected)| expected.contains(what));
        if expects("a boolean") || expects("true, false") {
            return match found.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" | "enable" | "enabled" => Some("true".to_owned()),
                "false" | "no" | "off" | "0" | "disable" | "disabled" => Some("false".to_owned()),
                _ => None,
            };
        }
        if expects("an AS number") {
            return as_number(found).map(|number| number.to_string());
        }
        if ["u8", "u16", "u32", "u64", "usize"].iter().any(|number| expects(number)) {
            return self
                .written
                .starts_with(['"', '\''])
                .then(|| found.parse::<u64>().ok())
                .flatten()
                .map(|n| n.to_string());
        }
        if expects("a sequence") && !self.written.is_empty() && !self.written.starts_with(['[', '{']) {
            return Some(format!("[{}]", self.written));
        }
        let is_text = expects("string") || expects("path") || expects("borrowed or owned");
        (is_text && !self.written.is_empty() && !self.written.starts_with(['[', '{', '"', '\'']))
            .then(|| format!("\"{}\"", self.written))
    }
}

/// Why a text is not an address, if that can be determined.
fn address_hint(found: &str, key: &str) -> String {
    if let Some((address, _)) = found.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return format!("; did you mean `{address}`?");
    }
    if let Ok(socket) = found.parse::<SocketAddr>() {
        let port = if key == "address" { format!(" and `port = {}`", socket.port()) } else { String::new() };
        return format!("; did you mean `{}`{port}?", socket.ip());
    }
    if let Some(bare) = found.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && bare.parse::<Ipv6Addr>().is_ok()
    {
        return format!("; did you mean `{bare}`?");
    }
    if let Some((address, _)) = found.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return "; a zone is not taken".to_owned();
    }
    let is_name = found.starts_with(|c: char| c.is_ascii_alphabetic()) && !found.contains(':');
    if is_name { "; names are not looked up".to_owned() } else { leading_zeros(found) }
}

/// `192.000.2.1` is refused, since some programs read leading zeros as octal.
fn leading_zeros(found: &str) -> String {
    let parts: Option<Vec<u8>> = found.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[a, b, c, d]) => format!("; did you mean `{}`?", Ipv4Addr::new(a, b, c, d)),
        _ => String::new(),
    }
}

/// `"65070"`, `"AS65070"`, and asdot: `1.10` and `"1.10"` (RFC 5396).
fn as_number(found: &str) -> Option<u32> {
    let digits = found.trim_start_matches(['A', 'S', 'a', 's']).trim();
    if let Some((high, low)) = digits.split_once('.') {
        let (high, low) = (high.parse::<u16>().ok()?, low.parse::<u16>().ok()?);
        return Some(u32::from(high) << 16 | u32::from(low));
    }
    digits.parse().ok().filter(|number| *number > 0)
}

/// The section that a key belongs to, if it belongs to only one. The bounds of a token have the
/// names of those of a peer, which are meant more often.
fn section_of(key: &str) -> Option<&'static str> {
    let sections = crate::sections::sections().into_iter();
    let homes: Vec<&str> =
        sections.filter(|(_, keys)| keys.iter().any(|known| known == key)).map(|(section, _)| section).collect();
    let others: Vec<&str> = homes.iter().copied().filter(|section| *section != "[[token]]").collect();
    match (homes.as_slice(), others.as_slice()) {
        ([section], _) | (_, [section]) => Some(section),
        _ => None,
    }
}

/// Replaces names of Rust's types by what to write.
fn replace_type_names(message: &str) -> String {
    const WORDS: [(&str, &str); 13] = [
        (", expected u8", ", expected a number from 0 to 255"),
        (", expected u16", ", expected a number from 0 to 65535"),
        (", expected u32", ", expected a number from 0 to 4294967295"),
        (", expected u64", ", expected a number, at least 0"),
        (", expected usize", ", expected a number, at least 0"),
        (", expected a boolean", ", expected true or false, without quotes"),
        ("map, expected a sequence", "a single table, expected one of a list; write its name as in [[peer]]"),
        (", expected a sequence", ", expected a list, in square brackets"),
        (", expected a string", ", expected text in quotes"),
        (", expected string", ", expected text in quotes"),
        (", expected path string", ", expected a path in quotes"),
        (", expected string or map", ", expected a word in quotes"),
        (", expected a borrowed or owned string", ", expected text in quotes"),
    ];
    if let Some((found, table)) = message.split_once(", expected struct ") {
        let found = found.replace("invalid type: sequence", "invalid type: a list of tables");
        return format!("{found}, expected one table, written as [{}]", table.to_ascii_lowercase());
    }
    if message == "wanted string or table" {
        return "expected a word in quotes".to_owned();
    }
    let message = message.replace("invalid type: sequence", "invalid type: a list");
    let found = WORDS.iter().find_map(|(theirs, ours)| Some(message.strip_suffix(theirs)?.to_owned() + ours));
    found.unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_numbers_are_recognised_in_what_others_write() {
        for (written, number) in [
            ("65070", Some(65070)),
            ("AS65070", Some(65070)),
            ("as 1.10", Some(65546)),
            ("0", None),
            ("x", None),
            ("1.70000", None),
        ] {
            assert_eq!(as_number(written), number, "{written}");
        }
    }
}
