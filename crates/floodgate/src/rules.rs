//! Rules as people write them, and as we show them.

use flowspec::{Action, Nlri, Rule, text};
use std::net::IpAddr;

/// Reads one rule, text or wire line.
///
/// # Errors
/// What is wrong, with a caret below the place.
pub fn parse(line: &str) -> Result<Rule, String> {
    match text::parse_line(line) {
        Ok(Some(rule)) => Ok(rule),
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
    parse(line).map(|rule| rule.nlri)
}

/// The canonical text of a rule.
pub fn show(nlri: &Nlri, actions: &[Action], next_hop: Option<IpAddr>) -> String {
    Rule { nlri: nlri.clone(), actions: actions.to_vec(), next_hop }.to_string()
}
