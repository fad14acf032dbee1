//! Errors in a rule's text, and their places.

use std::fmt;

/// Longest piece of the text that an error quotes, in characters.
const QUOTED: usize = 40;
/// Longest line that is shown whole, in characters; of a longer one this much is shown on each side
/// of the place.
const SHOWN: usize = 160;

/// Text that is not a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextError {
    /// Where, in characters, counted from 1.
    pub column: usize,
    /// What is expected, as a phrase.
    pub expected: String,
    /// What was found: quoted text, or `end of line`.
    pub found: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// A note about text that could be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Where, in characters, counted from 1.
    pub column: usize,
    /// What was interpreted differently than written.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl TextError {
    /// An error at octet `at` of `text`; what was found is the word there.
    pub(super) fn at(text: &str, at: usize, expected: impl Into<String>) -> Self {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let word = rest.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default();
        let word = if word.is_empty() { rest.trim_end() } else { word };
        let found = match word.chars().count() {
            0 => "end of line".to_owned(),
            1..=QUOTED => format!("`{}`", visible(word)),
            _ => format!("`{}...`", visible(&word.chars().take(QUOTED).collect::<String>())),
        };
        TextError { column: before.chars().count() + 1, expected: expected.into(), found, suggestion: None }
    }

    pub(super) fn with_found(self, found: impl Into<String>) -> Self {
        TextError { found: found.into(), ..self }
    }

    pub(super) fn suggest(self, suggestion: impl Into<String>) -> Self {
        TextError { suggestion: Some(suggestion.into()), ..self }
    }

    /// Suggests the candidate that is most similar to `word`, if one is close.
    pub(super) fn suggest_nearest(self, word: &str, candidates: impl Iterator<Item = &'static str>) -> Self {
        let word = word.to_ascii_lowercase();
        let limit = 1 + word.len() / 4;
        let nearest = candidates
            .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit)
            .map(|candidate| (distance(&word, candidate), candidate))
            .min_by_key(|(distance, _)| *distance);
        match nearest {
            Some((distance, candidate)) if distance <= limit => self.suggest(candidate),
            _ => self,
        }
    }

    /// `line`, or the part of a long one around the place, a caret under the place, and the
    /// message: for a terminal.
    ///
    /// ```
    /// let line = "dst 192.0.2.1/32 prot udp then discard";
    /// let error = line.parse::<flowspec::Rule>().unwrap_err();
    /// assert!(error.render(line).starts_with(&format!("{line}\n{:17}^ expected ", "")));
    /// assert_eq!(error.suggestion.as_deref(), Some("proto"));
    /// ```
    #[must_use]
    pub fn render(&self, line: &str) -> String {
        let place = self.column.saturating_sub(1);
        let long = line.chars().nth(SHOWN).is_some();
        let start = if long { place.saturating_sub(SHOWN / 2) } else { 0 };
        let mut shown = if start > 0 { "...".to_owned() } else { String::new() };
        let indent = shown.len() + place - start;
        let mut rest = line.chars().skip(start);
        shown.extend(rest.by_ref().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }));
        if rest.next().is_some() {
            shown.push_str("...");
        }
        format!("{shown}\n{:indent$}^ {}", "", self.message())
    }

    fn message(&self) -> String {
        let message = format!("expected {}, found {}", self.expected, self.found);
        match &self.suggestion {
            Some(suggestion) => format!("{message}; did you mean `{suggestion}`?"),
            None => message,
        }
    }
}

/// Without characters that a terminal would act on.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message())
    }
}

impl std::error::Error for TextError {}

/// Edits between two words, in octets: insert, delete, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let mut edits = (row[j] + usize::from(a[i] != b[j])).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                edits = edits.min(before[j - 1] + 1);
            }
            next.push(edits);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("dst", "dst", 0), ("prot", "proto", 1), ("dts", "dst", 1), ("tpc", "udp", 3)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn a_terminal_gets_the_place_and_no_control_characters() {
        let line = format!("{}\u{1b}[2J{}", "ä ".repeat(500), " z".repeat(500));
        let shown = TextError::at(&line, line.find('\u{1b}').unwrap(), "a word").render(&line);
        let (excerpt, caret) = shown.split_once('\n').unwrap();
        let column = caret.find('^').unwrap();
        assert_eq!(excerpt.chars().skip(column).take(4).collect::<String>(), " [2J");
        assert!(
            excerpt.chars().count() < 2 * SHOWN && excerpt.starts_with("...") && excerpt.ends_with("..."),
            "{shown}"
        );
        assert!(caret.ends_with(r"found `\u{1b}[2J`"), "{shown}");
        let short = TextError::at("dst x", 4, "a prefix").render("dst x");
        assert_eq!(short, "dst x\n    ^ expected a prefix, found `x`");
    }

    #[test]
    fn columns_count_characters_and_long_words_are_cut() {
        let error = TextError::at("äöü xyz", "äöü ".len(), "a word");
        assert_eq!((error.column, error.found.as_str()), (5, "`xyz`"));
        let error = TextError::at(&"x".repeat(1000), 0, "a word");
        assert_eq!(error.found.len(), QUOTED + 5);
        assert_eq!(TextError::at("ab", 2, "more").to_string(), "column 3: expected more, found end of line");
    }
}
