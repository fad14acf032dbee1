//! IOS XR: `show flowspec ipv4 [detail]`. IOS XE and IOS XR: `show bgp ipv4 flowspec [detail]`.

use super::draft::{Draft, hex_mask, number};
use super::model::{ForeignError, ForeignRule, Form};

/// The match part in a line that begins a rule.
pub(super) fn head(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("Flow") {
        return rest.trim_start().strip_prefix(':');
    }
    let rest = text.strip_prefix("BGP routing table entry for ")?;
    let flow = rest.split(", version").next().unwrap_or(rest);
    ["Dest:", "Source:", "Proto:", "Port:", "DPort:", "SPort:"]
        .iter()
        .any(|name| flow.starts_with(name))
        .then_some(flow)
}

/// Reads one rule with the lines below it.
///
/// # Errors
/// It is none.
pub(super) fn read(lines: &[(usize, &str)]) -> Result<ForeignRule, ForeignError> {
    let mut draft = Draft::new(Form::IosXr);
    let flow = lines.first().and_then(|(_, line)| head(line.trim_start())).unwrap_or_default();
    for part in flow.trim().trim_end_matches('/').split(',').filter(|part| !part.trim().is_empty()) {
        component(part.trim(), &mut draft)?;
    }
    let mut shown = false;
    for (_, line) in lines.iter().skip(1) {
        let line = line.trim();
        if let Some(actions) = line.strip_prefix("Actions").and_then(|rest| rest.trim_start().strip_prefix(':')) {
            shown = true;
            printed_actions(actions, &mut draft)?;
        } else if let Some(communities) = line.strip_prefix("Extended Community:") {
            // Of several paths of a rule the first counts.
            if !shown {
                community_actions(communities, &mut draft)?;
            }
            shown = true;
        }
    }
    if !shown {
        draft.actions_hidden("`show flowspec ipv4 detail`");
    }
    draft.finish()
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::IosXr, message }
}

const NUMERIC: [(&str, &str); 8] = [
    ("Proto", "proto"),
    ("Port", "port"),
    ("DPort", "dport"),
    ("SPort", "sport"),
    ("ICMPType", "icmp-type"),
    ("ICMPCode", "icmp-code"),
    ("Length", "length"),
    ("DSCP", "dscp"),
];

fn component(part: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    let (name, values) =
        part.split_once(':').ok_or_else(|| unknown(format!("`{part}` is not a component of a rule")))?;
    match name {
        "Dest" => draft.component("dst", values),
        "Source" => draft.component("src", values),
        // Of a VPN rule, or where the table prints the length first.
        "TCPFlags" => draft.component("tcp-flags", bits(values, |text| number(text).map(hex_mask))?),
        "Frag" => draft.component("fragment", bits(values, |text| Some(fragment(text)?.to_owned()))?),
        _ => match NUMERIC.iter().find(|(word, _)| *word == name) {
            Some((_, ours)) => draft.component(ours, numeric(values)?),
            None => return Err(unknown(format!("`{name}` is not a component of a rule"))),
        },
    }
    Ok(())
}

fn fragment(name: &str) -> Option<&'static str> {
    match name {
        "DF" => Some("dont-fragment"),
        "IsF" => Some("is-fragment"),
        "FF" => Some("first-fragment"),
        "LF" => Some("last-fragment"),
        _ => None,
    }
}

/// `>=1024&<=2048|=53`: the operators are Floodgate's, `|` is or.
fn numeric(text: &str) -> Result<String, ForeignError> {
    let good = text.chars().all(|c| c.is_ascii_digit() || "=<>!&|".contains(c));
    if !good {
        return Err(unknown(format!("`{text}` is not a list of comparisons")));
    }
    Ok(text.replace('|', ","))
}

/// `=IsF`, `~0x10`: `=` all of the bits, `~` one of them; `!` not.
fn bits(text: &str, mask: impl Fn(&str) -> Option<String>) -> Result<String, ForeignError> {
    let mut read = String::new();
    for (index, group) in text.split('|').enumerate() {
        for (at, item) in group.split('&').enumerate() {
            if index > 0 || at > 0 {
                read.push(if at > 0 { '&' } else { ',' });
            }
            let name = item.trim_start_matches(['=', '~', '!']);
            let operator = &item[..item.len() - name.len()];
            let mask = mask(name).ok_or_else(|| unknown(format!("`{item}` is not a mask")))?;
            read += &match operator {
                "=" => format!("={mask}"),
                "~" => format!("any({mask})"),
                "!=" | "=!" => format!("!={mask}"),
                "!~" | "~!" => format!("!any({mask})"),
                _ => return Err(unknown(format!("`{item}`: `{operator}` is not an operator of masks"))),
            };
        }
    }
    Ok(read)
}

/// `Traffic-rate: 0 bps  (bgp.1)`.
fn printed_actions(text: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    // Where the rule came from stands in brackets at the end.
    let text = text.rsplit_once('(').map_or(text, |(actions, _)| actions).trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    while let [first, after @ ..] = rest {
        rest = match (first.to_ascii_lowercase().as_str(), after) {
            ("transmit", _) => after,
            ("traffic-rate:", ["0", unit, more @ ..]) if unit.starts_with("bps") || unit.starts_with("pps") => {
                draft.action("discard");
                more
            }
            ("traffic-rate:", [rate, unit, more @ ..]) if *unit == "bps" || *unit == "pps" => {
                draft.action(format!("rate {rate}{unit}"));
                more
            }
            ("dscp:" | "set", ["dscp" | "DSCP", value, more @ ..]) => {
                draft.action(format!("mark {}", value.trim_start_matches(':')));
                more
            }
            ("dscp:", [value, more @ ..]) => {
                draft.action(format!("mark {value}"));
                more
            }
            ("nexthop:", [address, more @ ..]) => {
                draft.action(format!("redirect next-hop {address}"));
                more
            }
            ("redirect:", ["VRF", _, more @ ..]) => more,
            ("route-target:", [target, more @ ..]) => {
                let numbers =
                    target.trim_start_matches("ASN2-").trim_start_matches("ASN4-").trim_start_matches("IPv4-");
                draft.action(format!("redirect {numbers}"));
                more
            }
            _ => return Err(unknown(format!("`{text}`: `{first}` is not an action that can be read from this"))),
        };
    }
    Ok(())
}

/// `FLOWSPEC Traffic-rate:0,0`: AS number, and bytes a second.
fn community_actions(text: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    for word in text.split_whitespace().filter(|word| *word != "FLOWSPEC") {
        let wrong = || unknown(format!("`{word}` is not an action that can be read from this"));
        if let Some(rate) = word.strip_prefix("Traffic-rate:") {
            let (_, rate) = rate.split_once(',').ok_or_else(wrong)?;
            let rate = number(rate).ok_or_else(wrong)?;
            draft.action(if rate == 0 { "discard".to_owned() } else { format!("rate {rate}") });
        } else if let Some(target) = word.strip_prefix("RT:") {
            draft.action(format!("target:{target}"));
        } else {
            return Err(wrong());
        }
    }
    Ok(())
}
