//! Rules files: one rule a line, `#` comments, `wire` lines, or what other programs print. A line
//! with an error is reported and the others are used.

use crate::foreign::{Part, Parts};
use crate::input::{Item, Lines};
use crate::output::{ErrorObject, Output, print_error};
use anyhow::Result;
use api::foreign::ForeignError;
use flowspec::text::TextError;
use flowspec::{Rule, text};
use serde::Serialize;
use std::path::Path;

/// A rule with its number in the file.
pub(crate) struct NumberedRule {
    /// 0-based among the file's lines that are neither blank nor comments.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
}

/// Reads a rules file (`-` or `None`: standard input) and sorts it into enforcement order; equal
/// rules keep their order. The second value is whether a line had an error; those are reported and
/// keep their number.
pub(crate) fn load(path: Option<&Path>, json: bool, output: &mut Output) -> Result<(Vec<NumberedRule>, bool)> {
    let lines = path.map_or_else(|| Ok(Lines::standard_input()), Lines::open)?;
    let mut rules = Vec::new();
    let mut index = 0;
    let mut failed = false;
    let mut parts = Parts::default();
    let mut each = |part: Part| {
        match rule(&part, output) {
            Ok(None) => return Ok(()),
            Ok(Some(rule)) => rules.push(NumberedRule { index, rule }),
            Err(failure) => {
                failed = true;
                failure.report(json, output)?;
            }
        }
        index += 1;
        Ok(())
    };
    for item in lines {
        parts.take(item?, &mut each)?;
    }
    parts.finish(&mut each)?;
    rules.sort_by(|a, b| a.rule.nlri.cmp(&b.rule.nlri));
    Ok((rules, failed))
}

/// The rule in a part of an input, if there is one: in Floodgate's words or another program's.
/// Notes go to standard error.
pub(crate) fn rule<'a>(part: &'a Part, output: &mut Output) -> std::result::Result<Option<Rule>, Box<LineError<'a>>> {
    let foreign = |item: &'a Item, error: &ForeignError| {
        let error = ErrorObject { kind: "foreign", offset: 0, message: error.to_string() };
        Box::new(LineError { input: item.number, error, item, source: None })
    };
    match part {
        Part::Line(item) => read(item, output),
        Part::Rule(item, read) => {
            let rule = read.rule().map_err(|error| foreign(item, &error))?;
            print_notes(item, &read.notes, output);
            Ok(Some(rule))
        }
        Part::Error(item, error) => Err(foreign(item, error)),
    }
}

/// Prints notes on standard error, behind what was printed before.
pub(crate) fn print_notes<N: std::fmt::Display>(item: &Item, notes: &[N], output: &mut Output) {
    for note in notes {
        // Closed output is noticed when the rule is written.
        let _ = output.flush();
        print_error(format_args!("floodgate: {}: note: {note}", item.place()));
    }
}

/// The rule in a line, if there is one. Notes on what was interpreted differently than written go
/// to standard error.
fn read<'a>(item: &'a Item, output: &mut Output) -> std::result::Result<Option<Rule>, Box<LineError<'a>>> {
    let failure = |error, source| Box::new(LineError { input: item.number, error, item, source });
    let text = item.text().map_err(|error| failure(error.object(), None))?;
    let read = text::parse_line_with_notes(text).map_err(|error| {
        let offset = error.column.saturating_sub(1);
        failure(ErrorObject { kind: "text", offset, message: error.to_string() }, Some(error))
    })?;
    Ok(read.map(|(rule, notes)| {
        print_notes(item, &notes, output);
        rule
    }))
}

/// A line that is not a rule.
#[derive(Serialize)]
pub(crate) struct LineError<'a> {
    input: usize,
    error: ErrorObject<'static>,
    #[serde(skip)]
    item: &'a Item,
    #[serde(skip)]
    source: Option<TextError>,
}

impl LineError<'_> {
    /// Reports it: an object on standard output, or the line with a caret on standard error.
    pub(crate) fn report(&self, json: bool, output: &mut Output) -> Result<()> {
        if json {
            return output.json(self);
        }
        output.flush()?;
        let place = self.item.place();
        match (&self.source, self.item.text()) {
            (Some(source), Ok(text)) => print_error(format_args!("floodgate: {place}:\n{}", source.render(text))),
            _ => print_error(format_args!("floodgate: {place}: {}", self.error.message)),
        }
        Ok(())
    }
}
