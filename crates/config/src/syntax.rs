//! Syntax errors of a file: the parser's messages, and the mistakes of authors who know other
//! formats.

use crate::error::{Problem, line_column};
use std::ops::Range;

/// The result.
#[derive(Default)]
pub(crate) struct Findings {
    /// The errors, one a line.
    pub(crate) problems: Vec<Problem>,
    /// Keys whose values could not be used.
    pub(crate) spoiled: Vec<&'static str>,
    /// Lines after a header that could not be parsed, up to the next header.
    pub(crate) misplaced: Vec<Range<usize>>,
}

/// The errors that the parser reports, one for each line: further ones on the same line are
/// consequences.
pub(crate) fn problems(text: &str, errors: &[toml::de::Error]) -> Findings {
    let mut findings = Findings::default();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let (number, _) = line_column(text, span.start);
        if findings.problems.iter().any(|problem: &Problem| problem.line() == Some(number)) {
            continue;
        }
        if findings.misplaced.iter().any(|lines| lines.contains(&number)) {
            continue;
        }
        let line = Line::around(text, &span);
        if line.text.trim_start().starts_with('[') {
            let below = text.lines().enumerate().skip(number);
            let next = below.filter(|(_, line)| line.trim_start().starts_with('[')).map(|(index, _)| index + 1).next();
            findings.misplaced.push(number + 1..next.unwrap_or(usize::MAX));
        }
        if line.text.trim_start().starts_with("[[peer]]")
            && let Some(above) = single_peer_above(text, line.start)
        {
            findings.spoiled.push("peer");
            let header = above.1;
            let message = if header == "[peer]" {
                format!("line {} has [peer] where each peer is one of a list: write [[peer]] there, too", above.0)
            } else {
                format!(
                    "{header} in line {} is above its [[peer]]; it belongs below the [[peer]] that it is about",
                    above.0
                )
            };
            findings.problems.push(Problem::at(text, Some(span), message).with_key("peer".to_owned()).of_syntax());
            continue;
        }
        let message = line.explain(text, &span, error.message());
        let key = line.assignment().map(|(key, _)| key.to_owned()).unwrap_or_default();
        let place = line.place(text, &span, &message);
        findings.problems.push(Problem::at(text, Some(place), message).with_key(key).of_syntax());
    }
    findings
}

/// The line of a header `[peer]` or `[peer.something]` before this place, and the header.
fn single_peer_above(text: &str, end: usize) -> Option<(usize, &str)> {
    let lines = text.get(..end)?.lines().enumerate();
    let headers = lines.map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()));
    let mut headers = headers.filter(|(_, line)| line.starts_with('['));
    headers.find(|(_, line)| *line == "[peer]" || line.starts_with("[peer."))
}

/// One line of the file.
struct Line<'a> {
    text: &'a str,
    /// Octets before it.
    start: usize,
}

impl<'a> Line<'a> {
    fn around(text: &'a str, span: &Range<usize>) -> Self {
        let at = span.start.min(text.len());
        let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let rest = text.get(start..).unwrap_or_default();
        Line { text: rest.lines().next().unwrap_or_default(), start }
    }

    /// Key and value, if it looks like one; a comment after it is left out.
    fn assignment(&self) -> Option<(&'a str, &'a str)> {
        let (key, value) = self.text.split_once('=')?;
        let value = value.split(" #").next().unwrap_or_default();
        Some((key.trim(), value.trim()))
    }

    /// Where the error is shown: at the value, if the message is about it as a whole.
    fn place(&self, text: &str, span: &Range<usize>, message: &str) -> Range<usize> {
        match self.assignment() {
            None if !self.text.trim_start().starts_with('[') => {
                let at = self.start + self.text.len() - self.text.trim_start().len();
                at..at
            }
            Some((_, value)) if message.contains("must be in quotes") && value.starts_with('[') => {
                self.word(text, span).map_or(span.clone(), |(at, _)| at..at)
            }
            Some((_, value)) if message.contains("must be in quotes") && !value.starts_with('[') => {
                let at = self.start + self.text.find(value).unwrap_or_default();
                at..at + value.len()
            }
            _ => span.clone(),
        }
    }

    fn explain(&self, text: &str, span: &Range<usize>, message: &str) -> String {
        let trimmed = self.text.trim();
        if message.starts_with("duplicate key") {
            return self.duplicate(text, span);
        }
        if trimmed.starts_with("//") || trimmed.starts_with(';') || trimmed.starts_with("--") {
            return "no key and no section; a comment begins with `#`".to_owned();
        }
        if trimmed.starts_with('[') {
            return format!("a section is written as in [router] or [[peer]]: {}", one_line(message));
        }
        let Some((key, value)) = self.assignment() else {
            return match trimmed.split_once(':') {
                Some((key, value)) if !key.contains(' ') => {
                    format!(
                        "`{}: {}` is not TOML; did you mean `{} = {}`?",
                        key.trim(),
                        value.trim(),
                        key.trim(),
                        value.trim()
                    )
                }
                _ => match trimmed.split_once(' ') {
                    Some((key, value)) => format!("no `=` after the key; did you mean `{key} = {}`?", value.trim()),
                    None => format!("neither a section nor a key with a value (`key = value`): `{trimmed}`"),
                },
            };
        };
        if value.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
            let plain = value.replace(['\u{201c}', '\u{201d}'], "\"").replace(['\u{2018}', '\u{2019}'], "'");
            return format!("these quotes are not those of TOML; did you mean `{key} = {plain}`?");
        }
        if value.is_empty() {
            return format!("`{key}` has no value");
        }
        if let Some(rest) = value.strip_suffix([';', ',']) {
            return format!("nothing may follow a value; did you mean `{key} = {rest}`?");
        }
        if value.starts_with('[') {
            return match self.word(text, span) {
                Some((_, word)) => format!("text must be in quotes; did you mean `\"{word}\"`?"),
                None => one_line(message),
            };
        }
        if value.starts_with(['"', '\'', '{']) {
            return one_line(message);
        }
        if matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "on") {
            return format!("`{value}` is written `true`; did you mean `{key} = true`?");
        }
        if matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off") {
            return format!("`{value}` is written `false`; did you mean `{key} = false`?");
        }
        if value.starts_with('0') && value.len() > 1 && value.bytes().all(|b| b.is_ascii_digit()) {
            return format!(
                "a number has no zeros in front; did you mean `{key} = {}`?",
                value.trim_start_matches('0')
            );
        }
        format!("text must be in quotes; did you mean `{key} = \"{value}\"`?")
    }

    /// The word in a list at which the parser stopped, and where it begins, unless it is quoted.
    fn word(&self, text: &str, span: &Range<usize>) -> Option<(usize, &'a str)> {
        let end = self.start + self.text.len();
        let delimiter = |c: char| matches!(c, ',' | '[' | ']' | ' ' | '"' | '\'');
        let before = text.get(self.start..span.start.min(end))?;
        let from = before.rfind(delimiter).map_or(0, |at| at + 1);
        let rest = self.text.get(from..)?;
        let word = rest.split(delimiter).next().unwrap_or_default();
        let quoted = self.text[..from].ends_with(['"', '\'']);
        (!word.is_empty() && !quoted).then_some((self.start + from, word))
    }

    /// A duplicate key or section.
    fn duplicate(&self, text: &str, span: &Range<usize>) -> String {
        let before: Vec<&str> = text.get(..self.start).unwrap_or_default().lines().collect();
        let trimmed = self.text.trim();
        if trimmed.starts_with('[') {
            let header = trimmed.split('#').next().unwrap_or_default().trim();
            let first = before.iter().position(|line| line.trim().starts_with(header));
            let first = first.map(|index| format!("; the first is in line {}", index + 1)).unwrap_or_default();
            return format!("a second {header}{first}");
        }
        let key = text.get(span.clone()).unwrap_or_default();
        let same = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        let section = before.iter().rposition(|line| line.trim().starts_with('[')).unwrap_or(0);
        let first = before.iter().enumerate().skip(section).find(|(_, line)| same(line));
        let first = first.map(|(index, _)| format!("; the first is in line {}", index + 1)).unwrap_or_default();
        format!("a second `{key}`{first}")
    }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}
