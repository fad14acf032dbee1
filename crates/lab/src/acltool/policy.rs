//! Policy files: variables, sections, and lists that cl-acltool expands.

use super::rule::{Rule, RuleError, Version};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// cl-acltool's error for a line that it rejects.
#[derive(Debug, thiserror::Error)]
#[error("error: line {line} : {reason} error processing rule '{rule}'")]
pub(super) struct LineError {
    line: usize,
    reason: String,
    rule: String,
}

/// A variable that is used in a line and was not set.
#[derive(Debug, thiserror::Error)]
#[error("variable {0} is not defined")]
struct UndefinedVariable(String);

/// Reads a policy file. Rules of the bridge tables are left out.
pub(super) fn read(path: &Path, release: (u32, u32, u32)) -> Result<Vec<Rule>, LineError> {
    let text = fs::read_to_string(path).map_err(|error| LineError {
        line: 0,
        reason: format!("{}: {error}", path.display()),
        rule: String::new(),
    })?;
    let mut variables = HashMap::new();
    let mut section = None;
    let mut rules = Vec::new();
    for (index, line) in text.lines().enumerate().map(|(index, line)| (index, line.trim())) {
        let error = |reason: String| LineError { line: index + 1, reason, rule: line.to_owned() };
        match line {
            "" => {}
            _ if line.starts_with('#') => {}
            "[iptables]" => section = Some(Some(Version::V4)),
            "[ip6tables]" => section = Some(Some(Version::V6)),
            "[ebtables]" => section = Some(None),
            _ => match (section, line.split_once('=')) {
                (None, Some((name, value))) => {
                    variables.insert(name.trim().to_owned(), value.trim().trim_matches('"').replace(' ', ""));
                }
                (None, None) => return Err(error("rule outside of a section".to_owned())),
                (Some(None), _) => {}
                (Some(Some(version)), _) => {
                    let expanded = substitute(line, &variables).map_err(|undefined| error(undefined.to_string()))?;
                    for rule in expand(&expanded) {
                        match Rule::read(version, &rule, release) {
                            Ok(rule) => rules.push(rule),
                            // The manual says: currently ignored.
                            Err(RuleError::NoMatch) => {}
                            Err(RuleError::Unsupported(reason)) => return Err(error(reason)),
                        }
                    }
                }
            },
        }
    }
    Ok(rules)
}

fn substitute(line: &str, variables: &HashMap<String, String>) -> Result<String, UndefinedVariable> {
    let word = |word: &str| match word.strip_prefix('$') {
        None => Ok(word.to_owned()),
        Some(name) => variables.get(name).cloned().ok_or_else(|| UndefinedVariable(name.to_owned())),
    };
    Ok(line.split_whitespace().map(word).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// One rule for each combination of chain, interface and address in its lists.
fn expand(line: &str) -> Vec<String> {
    const LISTS: [&str; 8] = ["-A", "-i", "--in-interface", "-o", "--out-interface", "-s", "-d", "--append"];
    let mut rules = vec![String::new()];
    let mut previous = "";
    for word in line.split_whitespace() {
        let choices: Vec<&str> = if LISTS.contains(&previous) { word.split(',').collect() } else { vec![word] };
        let with = |rule: &String| choices.iter().map(|choice| format!("{rule} {choice}")).collect::<Vec<_>>();
        rules = rules.iter().flat_map(with).collect();
        previous = word;
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_variables_are_expanded() {
        let variables = HashMap::from([("INTF".to_owned(), "swp1,swp2".to_owned())]);
        let line = substitute("-A INPUT,FORWARD -i $INTF -p udp -j DROP", &variables).unwrap();
        let expanded = expand(&line);
        assert_eq!(expanded.len(), 4);
        assert_eq!(expanded[3].trim(), "-A FORWARD -i swp2 -p udp -j DROP");
        assert!(substitute("-A INPUT -i $OTHER -j DROP", &variables).is_err());
    }

    #[test]
    fn errors_are_worded_as_the_manual_shows_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rule = "-A FORWARD,INPUT -i swp1 -o swp2 -s 10.0.14.2 -d 10.0.15.8 -p tcp -j ACCEPT";
        fs::write(file.path(), format!("[iptables]\n{rule}\n")).unwrap();
        assert_eq!(
            read(file.path(), (4, 4, 0)).unwrap_err().to_string(),
            format!("error: line 2 : output interface specified with INPUT chain error processing rule '{rule}'")
        );
    }
}
