//! What is wrong with a configuration: where, what, what was expected, and what was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// All that is wrong with a file; one line each when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1, in characters; `None` where it is no single place.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// A mistake without a place.
    pub fn new(message: String) -> Self {
        Problem { place: None, message }
    }

    /// A mistake at this part of the text.
    pub(super) fn at(text: &str, span: Option<Range<usize>>, message: String) -> Self {
        Problem { place: span.map(|span| line_column(text, span.start)), message }
    }
}

impl ConfigError {
    pub(super) fn new(path: &Path, problems: Vec<Problem>) -> Self {
        ConfigError { path: path.to_owned(), problems }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::new(path, vec![Problem::new(format!("cannot read the configuration: {error}"))])
    }

    /// The error of the TOML parser or of a value in it.
    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::new(
            path,
            vec![Problem::at(text, error.span(), address(text, error).unwrap_or_else(|| explain(error.message())))],
        )
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some((line, column)) = problem.place {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The standard library does not say what it found where it expected an address.
fn address(text: &str, error: &toml::de::Error) -> Option<String> {
    let expected = match error.message() {
        "invalid IPv4 address syntax" => "no IPv4 address; expected a form such as 192.0.2.10",
        "invalid IP address syntax" => {
            "no IP address; expected a form such as 192.0.2.10 or 2001:db8::10, and for a prefix 192.0.2.0/24"
        }
        _ => return None,
    };
    let found = text.get(error.span()?)?.trim_matches('"');
    Some(format!("`{found}` is {expected}"))
}

/// Serde's words in ours, with a suggestion.
fn explain(message: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join("; ");
    for (theirs, ours) in [("unknown field ", "unknown key"), ("unknown variant ", "unknown value")] {
        let Some((found, expected)) = message.strip_prefix(theirs).and_then(|rest| rest.split_once(", ")) else {
            continue;
        };
        let found = found.trim_matches('`');
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let meant = nearest(found, &known).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        let separator = if meant.is_empty() { ";" } else { "" };
        let expected =
            if meant.is_empty() { expected.to_owned() } else { expected.replacen("expected", "Expected", 1) };
        return format!("{ours} `{found}`{meant}{separator} {expected}");
    }
    match message.strip_prefix("missing field ") {
        Some(field) => format!("missing key {field}"),
        None => in_words(&message),
    }
}

/// Names of Rust's types, as words for what to write.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        (", expected u8", ", expected a number from 0 to 255"),
        (", expected u16", ", expected a number from 0 to 65535"),
        (", expected u32", ", expected a number from 0 to 4294967295"),
        (", expected u64", ", expected a number, at least 0"),
        (", expected usize", ", expected a number, at least 0"),
        ("map, expected a sequence", "a single table, expected one of a list; write its name as in [[peer]]"),
        (", expected a sequence", ", expected a list, in square brackets"),
    ];
    let message = message
        .replace("invalid IPv4 address syntax", "no IPv4 address")
        .replace("invalid IP address syntax", "no IP address");
    let found = WORDS.iter().find_map(|(theirs, ours)| Some(message.strip_suffix(theirs)?.to_owned() + ours));
    found.unwrap_or(message)
}

/// The known word that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.replace('_', "-");
    known
        .iter()
        .map(|word| (distance(&found, word), *word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

/// Edit distance with transpositions (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["hold-time", "hold-on-loss", "passive", "port"];
        for (found, meant) in [
            ("hold_time", Some("hold-time")),
            ("holdtime", Some("hold-time")),
            ("pasive", Some("passive")),
            ("prot", Some("port")),
            ("banana", None),
        ] {
            assert_eq!(nearest(found, &known), meant, "{found}");
        }
    }
}
