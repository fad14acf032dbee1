//! A configuration without secrets, for others to read.

use toml::{Table, Value};

/// Keys whose values are secrets, in any section.
pub(crate) const SECRETS: [&str; 2] = ["md5", "token"];

/// The text that replaces a secret.
const REMOVED: &str = "(removed)";

/// The configuration without its secrets, and without comments, since a comment may contain one,
/// too.
///
/// # Errors
///
/// The text is not TOML: its secrets cannot be found.
pub fn without_secrets(text: &str) -> Result<String, toml::de::Error> {
    let mut document: Table = text.parse()?;
    redact(&mut document);
    Ok(document.to_string())
}

fn redact(table: &mut Table) {
    for (key, value) in table {
        if SECRETS.contains(&key.as_str()) {
            *value = Value::String(REMOVED.to_owned());
        } else {
            redact_value(value);
        }
    }
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Table(table) => redact(table),
        Value::Array(values) => values.iter_mut().for_each(redact_value),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_left_and_everything_else_is() {
        let text = "# token = \"hush-hush-hush-hush\"\n[router]\nas = 1\n[[peer]]\nname = \"a\"\nmd5 = \"hush\"\nmd5-file = \"/etc/a\"\n\
                    [api]\ntoken = \"hush-hush-hush-hush\" # hush\n[other]\nlist = [{ md5 = \"hush\" }]\n";
        let shown = without_secrets(text).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        for kept in ["as = 1", "name = \"a\"", "md5 = \"(removed)\"", "md5-file = \"/etc/a\"", "token = \"(removed)\""]
        {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn what_is_no_toml_is_not_shown() {
        assert!(without_secrets("md5 = hush").is_err());
    }
}
