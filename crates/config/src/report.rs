//! Errors with their places in the text.

use crate::error::Problem;
use crate::explain;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// One step of a path in the document.
pub(crate) enum Step {
    Key(&'static str),
    Index(usize),
}
use Step::{Index, Key};

/// Errors with their places in the text.
pub(crate) struct Report<'a> {
    text: &'a str,
    document: Option<DeTable<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Report { text, document: Some(DeTable::parse_recoverable(text).0.into_inner()), problems: Vec::new() }
    }

    /// All errors.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// For a text that was parsed already.
    pub(crate) fn of(text: &'a str, document: DeTable<'a>) -> Self {
        Report { text, document: Some(document), problems: Vec::new() }
    }

    pub(crate) fn at(&mut self, path: &[Step], message: String) {
        let span = self.document.as_ref().and_then(|table| span(table, path));
        let steps: Vec<explain::Step> = path
            .iter()
            .map(|step| match step {
                Key(key) => explain::Step::Key((*key).to_owned()),
                Index(index) => explain::Step::Index(*index),
            })
            .collect();
        self.problems.push(Problem::at(self.text, span, message).with_key(explain::dotted(&steps)));
    }
}

/// The place of the value at `path`, or of the innermost value around it that exists.
fn span(table: &DeTable<'_>, path: &[Step]) -> Option<Range<usize>> {
    let (Key(first), rest) = path.split_first()? else { return None };
    let mut value = table.get(*first)?;
    for step in rest {
        let next = match (step, value.get_ref()) {
            (Key(key), DeValue::Table(table)) => table.get(*key),
            (Index(index), DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    Some(value.span())
}
