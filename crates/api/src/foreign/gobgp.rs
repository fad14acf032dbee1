//! GoBGP: a line of `gobgp global rib -a ipv4-flowspec`.

use super::draft::number;
use super::model::{ForeignError, ForeignRule, Form};
use flowspec::{Rule, text};

/// Whether a line is one of the table. A match part alone, in brackets, is read as Floodgate's own
/// words are.
pub(super) fn begins(line: &str) -> bool {
    let Some(at) = line.find('[') else { return false };
    let marked = line.starts_with('*') || line.starts_with("S*") || line.starts_with("R*");
    let known = ["destination:", "source:", "protocol:", "port:", "destination-port:", "source-port:", "rd:"];
    let is_rule = known.iter().any(|name| line[at + 1..].starts_with(name)) || line[at + 1..].contains(": ");
    is_rule && (marked || line.contains("{Extcomms:") || line.contains("{Origin:"))
}

/// Reads a line of the table.
///
/// # Errors
/// It is not a rule.
pub(super) fn read(line: &str) -> Result<ForeignRule, ForeignError> {
    let start = line.find('[').unwrap_or(0);
    let end = match_end(&line[start..]) + start;
    let (flow, rest) = (&line[start..end], &line[end..]);
    let mut actions = Vec::new();
    let mut notes = Vec::new();
    if let Some((_, list)) = rest.split_once("{Extcomms: [") {
        let list = list.split_once("]}").map_or(list, |(list, _)| list);
        for community in split(list) {
            action(community, &mut actions, &mut notes)?;
        }
    }
    let then = if actions.is_empty() { String::new() } else { format!(" then {}", actions.join(" ")) };
    let words = format!("{flow}{then}");
    match text::parse_line_with_notes(&words) {
        Ok(Some((Rule { nlri, actions, next_hop }, more))) => {
            let notes = notes.into_iter().chain(more.into_iter().map(|note| note.message)).collect();
            // Without attributes it is not known whether there are actions.
            let shown = rest.contains('{');
            let actions = if shown { Ok(actions) } else { Err("`gobgp global rib` with its attributes") };
            Ok(ForeignRule { form: Form::Gobgp, nlri, actions, next_hop, notes })
        }
        Ok(None) => Err(unknown(format!("`{line}` is not a rule"))),
        Err(error) => Err(ForeignError::NotARule { form: Form::Gobgp, text: words, error }),
    }
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Gobgp, message }
}

/// Where the match part ends: behind the last of the brackets that follow each other.
fn match_end(text: &str) -> usize {
    let mut end = 0;
    while text[end..].starts_with('[') {
        match text[end..].find(']') {
            Some(close) => end += close + 1,
            None => return text.len(),
        }
    }
    end
}

/// `[discard], [rate: 9600.000000(as: 65002)]`, or without the inner brackets.
fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split("], ").flat_map(|part| part.split(", ")).map(|part| part.trim().trim_matches(['[', ']']).trim())
}

fn action(community: &str, actions: &mut Vec<String>, notes: &mut Vec<String>) -> Result<(), ForeignError> {
    let wrong = || unknown(format!("`{community}` is not an action that can be read from this"));
    let (word, value) = community.split_once(": ").unwrap_or((community, ""));
    match word {
        "" => {}
        "discard" => actions.push("discard".to_owned()),
        "rate" => {
            let (rate, number) = match value.split_once("(as:") {
                Some((rate, number)) => (rate.trim(), Some(number.trim().trim_end_matches(')'))),
                None => (value, None),
            };
            let rate: f64 = rate.parse().map_err(|_| wrong())?;
            let of = match number {
                Some(number) if number != "0" => format!(" as {number}"),
                _ => String::new(),
            };
            actions.push(if rate == 0.0 && of.is_empty() { "discard".to_owned() } else { format!("rate {rate}{of}") });
        }
        "redirect" if value.matches(':').count() == 1 => actions.push(format!("redirect {value}")),
        "redirect" => {
            let (address, port) = value.rsplit_once(':').ok_or_else(wrong)?;
            actions.push(format!("redirect [{address}]:{port}"));
        }
        "remark" => actions.push(format!("mark {}", number(value).ok_or_else(wrong)?)),
        "action" => actions.push(format!("action {value}")),
        // A route target is printed without a word before it.
        _ if community.split_once(':').is_some_and(|(asn, value)| number(asn).is_some() && number(value).is_some()) => {
            actions.push(format!("target:{community}"));
        }
        _ => {
            notes.push(format!("the community `{community}` is left out"));
        }
    }
    Ok(())
}
