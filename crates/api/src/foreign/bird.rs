//! BIRD: `flow4 { dst 192.0.2.1/32; proto = 17; }` as its configuration and `show route` have it,
//! with the filter that adds the action, or with the attributes of `show route all`.

use super::draft::{Draft, hex_mask, number};
use super::model::{ForeignError, ForeignRule, Form};

/// Whether a line begins a rule.
pub(super) fn begins(text: &str) -> bool {
    let text = text.strip_prefix("route ").unwrap_or(text).trim_start();
    ["flow4", "flow6"].iter().any(|word| {
        text.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('{') && !rest.contains("table"))
    })
}

/// Reads one rule with all that follows it.
///
/// # Errors
/// It is none, or its action is not shown.
pub(super) fn read(text: &str) -> Result<ForeignRule, ForeignError> {
    let text = text.trim_start();
    let (configured, text) = match text.strip_prefix("route ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let (word, rest) = text.split_once('{').ok_or_else(|| unknown("a rule is flow4 { ... }".to_owned()))?;
    let (body, after) = rest.split_once('}').ok_or_else(|| unknown("`}` is missing".to_owned()))?;
    let mut draft = Draft::new(Form::Bird);
    draft.family(if word.trim() == "flow6" { "ipv6" } else { "ipv4" });
    if body.contains("...") {
        return Err(unknown("the rule was cut off (`...`): it is too long for this form".to_owned()));
    }
    // The attributes of `show route all` are indented below it; without any, it accepts.
    let has_attributes = after.lines().skip(1).any(|line| !line.trim().is_empty());
    let is_statement = configured || after.trim().is_empty() || after.trim() == ";" || after.contains('{');
    for part in body.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        component(part, is_statement, &mut draft)?;
    }
    communities(after, &mut draft)?;
    if !is_statement && !has_attributes {
        draft.actions_hidden("`show route all`");
    }
    draft.finish()
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Bird, message }
}

/// The components, the longer words first.
const NUMERIC: [(&str, &str); 9] = [
    ("next header", "proto"),
    ("proto", "proto"),
    ("dport", "dport"),
    ("sport", "sport"),
    ("port", "port"),
    ("icmp type", "icmp-type"),
    ("icmp code", "icmp-code"),
    ("length", "length"),
    ("dscp", "dscp"),
];

fn component(part: &str, is_statement: bool, draft: &mut Draft) -> Result<(), ForeignError> {
    let after = |word: &str| {
        part.strip_prefix(word).filter(|rest| rest.starts_with([' ', '=', '<', '>', '!', '\t'])).map(str::trim)
    };
    for word in ["dst", "src"] {
        if let Some(prefix) = after(word) {
            draft.component(word, self::prefix(prefix)?);
            return Ok(());
        }
    }
    for (word, ours) in NUMERIC {
        if let Some(values) = after(word) {
            draft.component(ours, numeric(values)?);
            return Ok(());
        }
    }
    if let Some(values) = after("label") {
        let read = numeric(values)?;
        let cut = number(values.trim_start_matches('=').trim()).filter(|label| *label > 0xffff && is_statement);
        if let Some(label) = cut {
            return Err(ForeignError::Ambiguous {
                form: Form::Bird,
                text: part.to_owned(),
                first: format!("`label {label}`"),
                second: format!("`label {}` (what BIRD before 2.19.1 makes of it: the lower 16 bits)", label & 0xffff),
            });
        }
        draft.component("label", read);
        return Ok(());
    }
    if let Some(values) = after("tcp flags") {
        draft.component("tcp-flags", bits(values)?);
        return Ok(());
    }
    if let Some(values) = after("fragment") {
        draft.component("fragment", bits(values)?);
        return Ok(());
    }
    Err(unknown(format!("`{part}` is not a component of a rule")))
}

/// `2001:db8::/64 offset 32` is `2001:db8::/32-64` here.
fn prefix(text: &str) -> Result<String, ForeignError> {
    let Some((prefix, offset)) = text.split_once("offset") else { return Ok(text.to_owned()) };
    let (address, length) =
        prefix.trim().split_once('/').ok_or_else(|| unknown(format!("`{text}` is not a prefix")))?;
    Ok(format!("{address}/{}-{length}", offset.trim()))
}

/// Splits at `||`, `,` and `&&`; each item with whether it is joined by and.
fn items(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let groups = text.split(',').flat_map(|part| part.split("||"));
    groups.flat_map(|group| group.split("&&").enumerate().map(|(index, item)| (index > 0, item.trim())))
}

fn join(items: impl Iterator<Item = Result<(bool, String), ForeignError>>) -> Result<String, ForeignError> {
    let mut text = String::new();
    for item in items {
        let (and, item) = item?;
        if !text.is_empty() {
            text.push(if and { '&' } else { ',' });
        }
        text += &item;
    }
    Ok(text)
}

fn numeric(text: &str) -> Result<String, ForeignError> {
    join(items(text).map(|(and, item)| Ok((and, numeric_item(item)?))))
}

fn numeric_item(item: &str) -> Result<String, ForeignError> {
    let wrong = || unknown(format!("`{item}` is not a number, a range such as 10..20, or a comparison"));
    if let Some((from, to)) = item.split_once("..") {
        let (from, to) = number(from.trim()).zip(number(to.trim())).ok_or_else(wrong)?;
        return Ok(format!("{from}-{to}"));
    }
    for word in ["true", "false"] {
        if let Some(rest) = item.strip_prefix(word) {
            return match rest.trim() {
                "" | "0" => Ok(word.to_owned()),
                value => number(value).map(|value| format!("{word}:{value}")).ok_or_else(wrong),
            };
        }
    }
    let operator = ["!=", "<=", ">=", "<", ">", "="].iter().find(|operator| item.starts_with(**operator));
    let rest = operator.map_or(item, |operator| &item[operator.len()..]);
    let value = number(rest.trim()).ok_or_else(wrong)?;
    Ok(format!("{}{value}", operator.copied().unwrap_or_default()))
}

/// `VALUE/MASK`, or names of fragments, each perhaps after `!`.
fn bits(text: &str) -> Result<String, ForeignError> {
    let spaced = text.replace(" || ", "||").replace(" && ", "&&");
    join(items(&spaced).map(|(and, item)| Ok((and, bits_item(item)?))))
}

fn bits_item(item: &str) -> Result<String, ForeignError> {
    let wrong = || unknown(format!("`{item}` is not a value and a mask such as 0x02/0x12, or a kind of fragment"));
    let rest = item.trim_start_matches('!').trim();
    let bangs = item.len() - item.trim_start_matches('!').len();
    if let Some((value, mask)) = rest.split_once('/') {
        let (value, mask) = number(value.trim()).zip(number(mask.trim())).ok_or_else(wrong)?;
        let (value, all) = (value & mask, hex_mask(mask));
        return match (bangs, value) {
            (0, 0) => Ok(format!("!any({all})")),
            (0, value) if value == mask => Ok(format!("={all}")),
            (0, value) => Ok(format!("={}&!any({})", hex_mask(value), hex_mask(mask & !value))),
            (1, 0) => Ok(format!("any({all})")),
            (1, value) if value == mask => Ok(format!("!={all}")),
            _ => Err(wrong()),
        };
    }
    let name = rest.replace('_', "-");
    if !["dont-fragment", "is-fragment", "first-fragment", "last-fragment"].contains(&name.as_str()) {
        return Err(wrong());
    }
    match bangs {
        0 => Ok(format!("={name}")),
        1 => Ok(format!("!any({name})")),
        2 => Ok(format!("any({name})")),
        _ => Err(wrong()),
    }
}

/// The extended communities, in a filter or below `show route all`: `(generic, 0x80060000, 0x0)`
/// and route targets.
fn communities(text: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    for (at, _) in text.match_indices('(') {
        let Some((inside, _)) = text[at + 1..].split_once(')') else { continue };
        let words: Vec<&str> = inside.split(',').map(str::trim).collect();
        let &[kind, first, second] = words.as_slice() else { continue };
        match kind {
            "generic" => {
                let half = |text: &str| number(text).and_then(|value| u32::try_from(value).ok());
                let (first, second) = half(first)
                    .zip(half(second))
                    .ok_or_else(|| unknown(format!("`({inside})` is not an extended community")))?;
                draft.action(format!("community {first:08x}{second:08x}"));
            }
            "rt" => draft.action(format!("target:{first}:{second}")),
            _ => {}
        }
    }
    Ok(())
}
