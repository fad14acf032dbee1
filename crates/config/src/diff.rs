//! The differences between two configuration files, key by key, as text for `floodgate reload`.

use crate::redact::SECRETS;
use toml::{Table, Value};

/// Longest value that is shown, in characters.
const MAX_VALUE_CHARS: usize = 60;

/// Each key that differs, with both values: `[dataplane] mode "enforce" -> "monitor"`, `peer
/// controller: added`. A text that cannot be parsed counts as an empty file.
pub fn differences(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (document(old), document(new));
    let mut differences = Vec::new();
    let (old_peers, new_peers) = (peers(&old), peers(&new));
    for (name, peer) in &new_peers {
        match old_peers.iter().find(|(other, _)| other == name) {
            Some((_, before)) => compare(&format!("peer {name}:"), "", before, peer, &mut differences),
            None => differences.push(format!("peer {name}: added")),
        }
    }
    for (name, _) in &old_peers {
        if !new_peers.iter().any(|(other, _)| other == name) {
            differences.push(format!("peer {name}: removed"));
        }
    }
    let is_list = |document: &Table, key: &str| document.get(key).is_some_and(Value::is_array);
    for key in sections(&old, &new) {
        if (is_list(&old, key) || is_list(&new, key)) && old.get(key) != new.get(key) {
            differences.push(format!("[[{key}]] changed"));
        }
    }
    let empty = Table::new();
    for section in sections(&old, &new) {
        let table = |document: &Table| document.get(section).and_then(Value::as_table).cloned();
        let (before, after) = (table(&old), table(&new));
        let (before, after) = (before.as_ref().unwrap_or(&empty), after.as_ref().unwrap_or(&empty));
        compare(&format!("[{section}]"), "", before, after, &mut differences);
    }
    differences
}

fn document(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

/// By name.
fn peers(document: &Table) -> Vec<(String, Table)> {
    let peers = document.get("peer").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table);
    let name = |peer: &Table| peer.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
    peers.map(|peer| (name(peer), peer.clone())).collect()
}

fn sections<'a>(old: &'a Table, new: &'a Table) -> Vec<&'a str> {
    keys(old, new).into_iter().filter(|key| *key != "peer").collect()
}

/// The keys of both, each once, in order.
fn keys<'a>(old: &'a Table, new: &'a Table) -> Vec<&'a str> {
    let mut keys: Vec<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Records the differences between two tables; `place` and `prefix` locate them in the file.
fn compare(place: &str, prefix: &str, old: &Table, new: &Table, differences: &mut Vec<String>) {
    for key in keys(old, new) {
        let name = format!("{prefix}{key}");
        match (old.get(key), new.get(key)) {
            (before, after) if before == after => {}
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                compare(place, &format!("{name}."), before, after, differences);
            }
            (Some(Value::Table(before)), None) => {
                compare(place, &format!("{name}."), before, &Table::new(), differences);
            }
            (None, Some(Value::Table(after))) => {
                compare(place, &format!("{name}."), &Table::new(), after, differences);
            }
            (_, _) if SECRETS.contains(&key) => differences.push(format!("{place} {name} changed")),
            (before, after) => differences.push(format!("{place} {name} {} -> {}", shown(before), shown(after))),
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "default".to_owned() };
    let text = value.to_string();
    match text.chars().count() > MAX_VALUE_CHARS {
        true => format!("{}...", text.chars().take(MAX_VALUE_CHARS).collect::<String>()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_key_is_named_with_both_values_and_no_secret() {
        let old = "[router]\nas = 1\n[[peer]]\nname = \"a\"\nhold-time = 90\nmd5 = \"hush\"\nallow.actions = [\"discard\"]\n\
                   [[peer]]\nname = \"b\"\n[dataplane]\nmode = \"enforce\"\n";
        let new = "[router]\nas = 1 # the same\n[[peer]]\nname = \"a\"\nhold-time = \"30s\"\nmd5 = \"secret\"\n\
                   allow.actions = [\"discard\", \"rate\"]\n[[peer]]\nname = \"c\"\n[dataplane]\nmode = \"monitor\"\nxdp.capacity = 2048\n";
        assert_eq!(
            differences(old, new),
            [
                "peer a: allow.actions [\"discard\"] -> [\"discard\", \"rate\"]",
                "peer a: hold-time 90 -> \"30s\"",
                "peer a: md5 changed",
                "peer c: added",
                "peer b: removed",
                "[dataplane] mode \"enforce\" -> \"monitor\"",
                "[dataplane] xdp.capacity default -> 2048",
            ]
        );
        assert_eq!(differences(new, new), [] as [&str; 0]);
        let token = |name: &str| format!("[[token]]\nname = \"{name}\"\n");
        assert_eq!(differences(&token("a"), &token("b")), ["[[token]] changed"]);
        assert_eq!(differences(&token("a"), &token("a")), [] as [&str; 0]);
        assert_eq!(differences("", "[log]\nlevel = \"debug\"\n"), ["[log] level default -> \"debug\""]);
        let long = format!("[log]\nlevel = \"{}\"\n", "x".repeat(500));
        assert!(differences("", &long)[0].len() < 120);
    }
}
