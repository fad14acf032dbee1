//! ExaBGP's JSON: the flow routes that an UPDATE announces. (Its commands and its configuration are
//! text: see [`flowspec::text`] and `braces`.)

use super::draft::entry;
use super::model::{Entry, ForeignError, ForeignRule, Form};
use flowspec::{Rule, text};
use serde_json::Value;

/// Reads all rules of a message.
pub(super) fn read_json(number: usize, json: &str) -> Vec<Entry> {
    let wrong = |message: String| vec![entry(number, Err(ForeignError::Unknown { form: Form::Exabgp, message }))];
    let message: Value = match serde_json::from_str(json) {
        Ok(message) => message,
        Err(error) => return wrong(format!("the JSON cannot be read: {error}")),
    };
    let Some(update) = message.pointer("/neighbor/message/update") else {
        return wrong("the message is not an update".to_owned());
    };
    let communities = update.pointer("/attribute/extended-community");
    let mut entries = Vec::new();
    for family in ["ipv4 flow", "ipv6 flow", "ipv4 flow-vpn", "ipv6 flow-vpn"] {
        let Some(announced) = update.get("announce").and_then(|announce| announce.get(family)) else { continue };
        // By next hop; older releases have no next hop between.
        let groups: Vec<(Option<&str>, Vec<Value>)> = match announced {
            Value::Object(groups) => {
                let rules = |rules: &'_ Value| -> Vec<Value> { rules.as_array().cloned().unwrap_or_default() };
                groups.iter().map(|(hop, group)| (Some(hop.as_str()), rules(group))).collect()
            }
            Value::Array(rules) => vec![(None, rules.clone())],
            _ => continue,
        };
        for (hop, rules) in groups {
            for rule in &rules {
                entries.push(entry(number, read(rule, hop, communities)));
            }
        }
    }
    if entries.is_empty() {
        return wrong("no flow route is announced in it".to_owned());
    }
    entries
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Exabgp, message }
}

fn read(rule: &Value, hop: Option<&str>, communities: Option<&Value>) -> Result<ForeignRule, ForeignError> {
    let string = rule.get("string").and_then(Value::as_str);
    let mut words = string.ok_or_else(|| unknown("the rule has no `string`".to_owned()))?.to_owned();
    if let Some(hop) = hop.filter(|hop| hop.parse::<std::net::IpAddr>().is_ok() && !words.contains("next-hop")) {
        words += &format!(" next-hop {hop}");
    }
    let mut then = Vec::new();
    for community in communities.and_then(Value::as_array).into_iter().flatten() {
        let value = community.get("value").and_then(Value::as_u64);
        let value = value.ok_or_else(|| unknown(format!("`{community}` is not an extended community of 8 octets")))?;
        then.push(format!("community {value:016x}"));
    }
    if !then.is_empty() {
        words += &format!(" then {}", then.join(" "));
    }
    match text::parse_line_with_notes(&words) {
        Ok(Some((Rule { nlri, actions, next_hop }, notes))) => {
            let notes = notes.into_iter().map(|note| note.message).collect();
            Ok(ForeignRule { form: Form::Exabgp, nlri, actions: Ok(actions), next_hop, notes })
        }
        Ok(None) => Err(unknown("an empty rule".to_owned())),
        Err(error) => Err(ForeignError::NotARule { form: Form::Exabgp, text: words, error }),
    }
}
