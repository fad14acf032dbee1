//! FastNetMon: rules as JSON, one object or a list of them.

use super::draft::{Draft, entry};
use super::model::{Entry, ForeignError, ForeignRule, Form};
use serde_json::{Map, Value};

/// Reads all rules of the text.
pub(super) fn read(number: usize, json: &str) -> Vec<Entry> {
    let result = match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(rule)) => rule_of(&rule),
        Ok(_) => Err(unknown("a rule is a JSON object".to_owned())),
        Err(error) => Err(unknown(format!("the JSON cannot be read: {error}"))),
    };
    vec![entry(number, result)]
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::FastNetMon, message }
}

const NUMERIC: [(&str, &str); 7] = [
    ("ports", "port"),
    ("destination_ports", "dport"),
    ("source_ports", "sport"),
    ("icmp_types", "icmp-type"),
    ("icmp_codes", "icmp-code"),
    ("packet_lengths", "length"),
    ("protocols", "proto"),
];

fn rule_of(rule: &Map<String, Value>) -> Result<ForeignRule, ForeignError> {
    let mut draft = Draft::new(Form::FastNetMon);
    let mut actions = None;
    for (key, value) in rule {
        match key.as_str() {
            "source_prefix" => draft.component("src", text(key, value)?),
            "destination_prefix" => draft.component("dst", text(key, value)?),
            "action_type" => actions = Some(text(key, value)?),
            // Read with its type.
            "action" => {}
            "fragmentation_flags" => {
                for name in list(key, value)? {
                    draft.component("fragment", format!("any({name})"));
                }
            }
            "tcp_flags" => {
                for names in list(key, value)? {
                    draft.component("tcp-flags", tcp_flags(&names)?);
                }
            }
            // What the attack was, and when: nothing that a rule has.
            "uuid" | "announce_uuid" | "announce_timestamp" | "comment" | "description" => {}
            _ => {
                let Some((_, ours)) = NUMERIC.iter().find(|(name, _)| *name == key) else {
                    return Err(unknown(format!("`{key}` is not a key of a rule")));
                };
                let values = list(key, value)?;
                if !values.is_empty() {
                    draft.component(ours, values.join(","));
                }
            }
        }
    }
    match actions {
        None => draft.actions_hidden("`action_type`, which is missing here,"),
        Some(kind) => action(&kind, rule.get("action"), &mut draft)?,
    }
    if !draft.has("dst") && !draft.has("src") {
        draft.note("the rule has neither source nor destination");
    }
    draft.finish()
}

fn text(key: &str, value: &Value) -> Result<String, ForeignError> {
    value.as_str().map(str::to_owned).ok_or_else(|| unknown(format!("`{key}` is not a text")))
}

fn list(key: &str, value: &Value) -> Result<Vec<String>, ForeignError> {
    let item = |item: &Value| match item {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(unknown(format!("`{key}` is not a list of numbers or names"))),
    };
    let items = value.as_array().ok_or_else(|| unknown(format!("`{key}` is not a list")))?;
    items.iter().map(item).collect()
}

/// `syn`; of `syn|ack` it is not said whether both are asked for.
fn tcp_flags(names: &str) -> Result<String, ForeignError> {
    let all: Vec<&str> = names.split(['|', '+']).map(str::trim).collect();
    match all.as_slice() {
        [name] => Ok(format!("any({name})")),
        several => Err(ForeignError::Ambiguous {
            form: Form::FastNetMon,
            text: names.to_owned(),
            first: format!("`tcp-flags any({})`", several.join("+")),
            second: format!("`tcp-flags ={}`", several.join("+")),
        }),
    }
}

fn action(kind: &str, value: Option<&Value>, draft: &mut Draft) -> Result<(), ForeignError> {
    let rate = || value.and_then(|value| value.get("rate")).and_then(Value::as_u64);
    match kind {
        "accept" => {}
        "discard" => draft.action("discard"),
        "rate-limit" => {
            let rate = rate().ok_or_else(|| unknown("`rate-limit` without `action.rate`".to_owned()))?;
            draft.action(if rate == 0 { "discard".to_owned() } else { format!("rate {rate}") });
        }
        _ => return Err(unknown(format!("`{kind}` is not an action that can be read from this"))),
    }
    Ok(())
}
