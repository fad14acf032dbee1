//! Rules as text: parsing and formatting.

use flowspec::text::Note;
use flowspec::{Action, Nlri, Rule, text};
use std::net::IpAddr;

/// A line that is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleTextError {
    /// It is empty, or a comment.
    #[error("no rule; expected a form such as `dst 192.0.2.1/32 proto udp sport 123 then discard`")]
    Empty,
    /// It cannot be parsed. Shown as the line, a caret below the place, and what was expected.
    #[error("{}", error.render(line))]
    Text {
        /// What is wrong.
        error: text::TextError,
        /// The line.
        line: String,
    },
}

/// Parses one rule, text or wire line; also returns notes on what was interpreted differently than
/// written.
///
/// # Errors
/// It is not a rule.
pub fn parse(line: &str) -> Result<(Rule, Vec<Note>), RuleTextError> {
    match text::parse_line_with_notes(line) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => Err(RuleTextError::Empty),
        Err(error) => Err(RuleTextError::Text { error, line: line.to_owned() }),
    }
}

/// Parses the match part of a rule; what follows `then` is ignored.
///
/// # Errors
/// It is not a rule.
pub fn parse_match(line: &str) -> Result<Nlri, RuleTextError> {
    parse(line).map(|(rule, _)| rule.nlri)
}

/// The canonical text of a rule.
pub fn show(nlri: &Nlri, actions: &[Action], next_hop: Option<IpAddr>) -> String {
    Rule { nlri: nlri.clone(), actions: actions.to_vec(), next_hop }.to_string()
}

/// `1 rule`, `2 rules`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
