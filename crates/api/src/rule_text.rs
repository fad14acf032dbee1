//! Rules as people write them, and as we show them.

use flowspec::text::Note;
use flowspec::{Action, Nlri, Rule, text};
use std::net::IpAddr;

/// Reads one rule, text or wire line; also says what was read otherwise than it stands there.
///
/// # Errors
/// What is wrong, with a caret below the place.
pub fn parse(line: &str) -> Result<(Rule, Vec<Note>), String> {
    match text::parse_line_with_notes(line) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => {
            Err("no rule; expected a form such as `dst 192.0.2.1/32 proto udp sport 123 then discard`".to_owned())
        }
        Err(error) => Err(error.render(line)),
    }
}

/// Reads the match part of a rule; what comes behind `then` does not matter.
///
/// # Errors
/// What is wrong, with a caret below the place.
pub fn parse_match(line: &str) -> Result<Nlri, String> {
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
