//! A position in the text.

use super::error::{Note, TextError};

/// Reads a text from left to right.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    /// Octets before the place.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips `wanted` if it is next.
    pub(super) fn eat(&mut self, wanted: &str) -> bool {
        let here = self.rest().starts_with(wanted);
        if here {
            self.at += wanted.len();
        }
        here
    }

    /// Skips a whole word, in any case, if it is next after optional space; otherwise stays.
    pub(super) fn eat_word(&mut self, wanted: &str) -> bool {
        let mut ahead = self.clone();
        ahead.skip_space();
        let here = ahead.word().eq_ignore_ascii_case(wanted);
        if here {
            *self = ahead;
        }
        here
    }

    pub(super) fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// Letters, digits, `-` and `_`; may be empty.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    }

    /// Everything up to space or punctuation that groups; may be empty.
    pub(super) fn token(&mut self) -> &'a str {
        self.take_while(|c| !c.is_whitespace() && !matches!(c, ';' | ',' | '{' | '}' | '[' | ']' | '\'' | '"'))
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// A note about the text at a position.
    pub(super) fn note_at(&self, at: usize, message: String) -> Note {
        let before = self.text.get(..at).unwrap_or(self.text);
        Note { column: before.chars().count() + 1, message }
    }

    /// An error at this position.
    pub(super) fn error(&self, expected: impl Into<String>) -> TextError {
        self.error_at(self.at, expected)
    }

    /// An error at another position of the text.
    pub(super) fn error_at(&self, at: usize, expected: impl Into<String>) -> TextError {
        TextError::at(self.text, at, expected)
    }
}
