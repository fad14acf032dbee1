//! Junos: `show route table inetflow.0 [detail | extensive]`.

use super::draft::{Draft, hex_mask};
use super::model::{ForeignError, ForeignRule, Form};

/// The match part in a line that begins a rule: `192.0.2.1,*,proto=17,srcport=123/term:1`.
pub(super) fn head(text: &str) -> Option<&str> {
    let text = text.trim_start_matches("* ").trim_start();
    let (flow, _) = text.split_once("/term:")?;
    (flow.contains(',') && !flow.contains(' ')).then_some(flow)
}

/// Reads one rule with the lines below it.
///
/// # Errors
/// It is none.
pub(super) fn read(lines: &[(usize, &str)]) -> Result<ForeignRule, ForeignError> {
    let mut draft = Draft::new(Form::Junos);
    let flow = lines.first().and_then(|(_, line)| head(line.trim_start())).unwrap_or_default();
    components(flow, &mut draft)?;
    let mut shown = false;
    for (_, line) in lines.iter().skip(1) {
        let line = line.trim();
        if let Some(list) = line.strip_prefix("Action(s):") {
            shown = true;
            for action in list.split(',').map(str::trim) {
                match action {
                    "discard" => draft.action("discard"),
                    "accept" | "count" | "" => {}
                    _ => return Err(unknown(format!("`{action}` is not an action that can be read from this"))),
                }
            }
        } else if let Some(list) = line.strip_prefix("Communities:").filter(|_| !shown) {
            // Of several paths of a rule the first counts.
            shown = true;
            list.split_whitespace().try_for_each(|community| self::community(community, &mut draft))?;
        }
    }
    if !shown {
        draft.actions_hidden("`show route table inetflow.0 extensive`");
    }
    draft.finish()
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Junos, message }
}

/// The components and how they are printed; the longer words first.
const NUMERIC: [(&str, &str); 9] = [
    ("icmp-type", "icmp-type"),
    ("icmp-code", "icmp-code"),
    ("dstport", "dport"),
    ("srcport", "sport"),
    ("proto", "proto"),
    ("port", "port"),
    ("dscp", "dscp"),
    ("len", "length"),
    ("flow-label", "label"),
];

const BITS: [(&str, &str); 2] = [("tcp-flag", "tcp-flags"), ("frag", "fragment")];

/// Destination and source, then the others: further values of one follow without its name.
fn components(flow: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    let mut parts = flow.split(',');
    for word in ["dst", "src"] {
        let prefix = parts.next().unwrap_or("*");
        if prefix != "*" {
            draft.component(word, self::prefix(prefix));
        }
    }
    let mut current: Option<(&'static str, bool)> = None;
    for part in parts {
        let name_end = part.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(part.len());
        let (name, values) = part.split_at(name_end);
        if !name.is_empty() {
            let find =
                |table: &[(&str, &'static str)]| table.iter().find(|(word, _)| *word == name).map(|(_, ours)| *ours);
            current = find(&NUMERIC).map(|ours| (ours, false)).or_else(|| find(&BITS).map(|ours| (ours, true)));
        }
        let Some((ours, is_bits)) = current else {
            return Err(unknown(format!("`{part}` is not a component of a rule")));
        };
        draft.component(ours, if is_bits { bits(values)? } else { numeric(values)? });
    }
    Ok(())
}

/// `10/8` is 10.0.0.0/8, `192.0.2.1` a host.
fn prefix(text: &str) -> String {
    if text.contains(':') {
        return text.to_owned();
    }
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let octets = address.split('.').count();
    format!("{address}{}/{length}", ".0".repeat(4_usize.saturating_sub(octets)))
}

/// `>=1024&<=2048`; a value without operator is one of a range's ends or is equal.
fn numeric(text: &str) -> Result<String, ForeignError> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit() || "=<>!&-".contains(c)) {
        return Err(unknown(format!("`{text}` is not a list of comparisons")));
    }
    Ok(text.to_owned())
}

/// `:02` one of the bits, `=02` all of them, in hex; `!` not.
fn bits(text: &str) -> Result<String, ForeignError> {
    let mut read = String::new();
    for item in text.split('&') {
        let wrong = || unknown(format!("`{item}` is not a mask such as :02 or =12"));
        let digits = item.trim_start_matches(['=', ':', '!']);
        let operator = &item[..item.len() - digits.len()];
        let mask = hex_mask(u64::from_str_radix(digits, 16).map_err(|_| wrong())?);
        if !read.is_empty() {
            read.push('&');
        }
        read += &match operator {
            ":" => format!("any({mask})"),
            "=" => format!("={mask}"),
            "!:" | ":!" | "!" => format!("!any({mask})"),
            "!=" | "=!" => format!("!={mask}"),
            _ => return Err(wrong()),
        };
    }
    Ok(read)
}

/// An extended community of the route.
fn community(text: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    let (kind, value) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "traffic-rate" => match value.rsplit_once(':') {
            Some((_, "0")) => draft.action("discard"),
            Some((_, rate)) => {
                return Err(ForeignError::Ambiguous {
                    form: Form::Junos,
                    text: text.to_owned(),
                    first: format!("`rate {rate}` (bytes a second, as in the community)"),
                    second: format!("`rate {rate}bps` (bits, as in `rate-limit`)"),
                });
            }
            None => return Err(unknown(format!("`{text}` is not a rate"))),
        },
        "redirect" => draft.action(format!("redirect {value}")),
        "target" => draft.action(format!("target:{value}")),
        "traffic-marking" | "traffic-mark" => draft.action(format!("mark {value}")),
        // A community of RFC 1997: no filter depends on it.
        _ if kind.bytes().all(|octet| octet.is_ascii_digit()) => {
            draft.note(format!("the community {text} is left out"))
        }
        "no-export" | "no-advertise" | "large" | "origin" => draft.note(format!("the community {text} is left out")),
        _ => return Err(unknown(format!("`{text}` is not an action that can be read from this"))),
    }
    Ok(())
}
