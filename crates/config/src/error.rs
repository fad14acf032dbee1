//! Errors of a configuration: where, what, what was expected, and what was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// All errors of a file; one line each when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1, in characters; `None` if it has no single place.
    pub place: Option<(usize, usize)>,
    /// The key concerned, such as `peer[0].allow.actions`; `None` if it concerns no key, or the
    /// file as a whole.
    pub key: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
    /// The text could not be parsed here; further errors on the same line are consequences and not
    /// reported.
    pub(crate) from_syntax: bool,
}

impl Problem {
    /// An error without a place.
    pub fn new(message: String) -> Self {
        Problem { place: None, key: None, message, from_syntax: false }
    }

    /// An error at this part of the text.
    pub(crate) fn at(text: &str, span: Option<Range<usize>>, message: String) -> Self {
        Problem { place: span.map(|span| line_column(text, span.start)), ..Problem::new(message) }
    }

    /// The same, for this key.
    pub(crate) fn with_key(self, key: String) -> Self {
        Problem { key: Some(key).filter(|key| !key.is_empty()), ..self }
    }

    /// The same, found by the parser.
    pub(crate) fn of_syntax(self) -> Self {
        Problem { from_syntax: true, ..self }
    }

    /// Its line, from 1.
    pub(crate) fn line(&self) -> Option<usize> {
        self.place.map(|(line, _)| line)
    }

    /// What was probably meant, if the message says it.
    pub fn suggestion(&self) -> Option<&str> {
        self.message.split_once("did you mean `")?.1.split_once("`?").map(|(meant, _)| meant)
    }
}

impl ConfigError {
    pub(crate) fn new(path: &Path, problems: Vec<Problem>) -> Self {
        ConfigError { path: path.to_owned(), problems }
    }

    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "; -c FILE names another, and the manual's page \"Configuration\" begins with one"
            }
            std::io::ErrorKind::InvalidData => "; it must be text in UTF-8",
            _ => "",
        };
        Self::new(path, vec![Problem::new(format!("cannot read the configuration: {error}{hint}"))])
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

/// Line and column of an octet, from 1, in characters.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The known word that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.replace('_', "-").to_ascii_lowercase();
    let slips = known.iter().map(|word| (distance(&found, word), *word));
    let nearest = slips.filter(|(distance, word)| *distance <= (word.len() / 3).max(1)).min().map(|(_, word)| word);
    // `monitoring` for `monitor`.
    let begins = |word: &&&str| found.len() > 3 && (found.starts_with(**word) || word.starts_with(found.as_str()));
    nearest.or_else(|| known.iter().find(begins).copied())
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
    fn mistyped_words_are_recognised_and_unrelated_ones_are_not() {
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
