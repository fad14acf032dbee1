//! Parses a file and finds all of its errors: a value that cannot be parsed is recorded, removed or
//! replaced, and the rest is parsed again.

use crate::error::Problem;
use crate::explain::{self, Step};
use crate::file::Config;
use crate::sections;
use crate::{check, syntax};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Most errors that are searched for: with more, the file is probably not a configuration.
const MAX_PROBLEMS: usize = 100;

/// Placeholders for required values that are missing or wrong, so that the rest can be parsed.
const PLACEHOLDERS: &str = "as = 64511\nid = \"192.0.2.1\"\n[router]\nas = 64511\nid = \"192.0.2.1\"\n";

/// The configuration, if the file can be parsed that far, and all errors, in the order of the text.
pub(crate) fn read(text: &str) -> (Option<Config>, Vec<Problem>) {
    let mut reader = Reader::new(text);
    let config = reader.deserialize();
    if let Some(config) = &config {
        let document = reader.document.clone().into_inner();
        let known: BTreeSet<usize> = reader.problems.iter().filter_map(|problem| problem.line()).collect();
        // A value that is missing because it could not be parsed is not a second error.
        let more = check::problems(config, text, document, reader.problems.is_empty());
        reader
            .problems
            .extend(more.into_iter().filter(|problem| problem.line().is_none_or(|line| !known.contains(&line))));
    }
    reader.problems.sort_by_key(|problem| problem.place.unwrap_or_default());
    (config, reader.problems)
}

struct Reader<'a> {
    text: &'a str,
    document: Spanned<DeTable<'a>>,
    problems: Vec<Problem>,
    /// Lines after a header that could not be parsed: their keys are in the wrong table.
    misplaced: Vec<Range<usize>>,
    placeholders: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let (mut document, errors) = DeTable::parse_recoverable(text);
        let syntax::Findings { problems, spoiled, misplaced } = syntax::problems(text, &errors);
        for key in spoiled {
            document.get_mut().remove(key);
        }
        let mut reader = Reader { text, document, problems, misplaced, placeholders: 0 };
        reader.single_tables();
        reader
    }

    /// Serde would accept a list for a table, with its elements in the order of the keys.
    fn single_tables(&mut self) {
        let key = |key: &str| Step::Key(key.to_owned());
        let peers =
            self.document.get_ref().get("peer").and_then(|peers| peers.get_ref().as_array()).map_or(0, |p| p.len());
        let mut places: Vec<(&str, Vec<Step>)> = Vec::new();
        for (section, _) in sections::sections().into_iter().filter(|(section, _)| !section.starts_with("[[")) {
            let name = section.trim_matches(['[', ']']);
            match name.strip_prefix("peer.") {
                Some(table) => {
                    places.extend((0..peers).map(|index| (section, vec![key("peer"), Step::Index(index), key(table)])))
                }
                None => places.push((section, name.split('.').map(key).collect())),
            }
        }
        for (section, path) in places {
            let Some(DeValue::Array(array)) = value_mut(self.document.get_mut(), &path) else { continue };
            let first = array.first().map(|value| (value.span(), value.get_ref().clone()));
            let span = first.as_ref().map(|(span, _)| span.clone());
            if let Some(value) = value_mut(self.document.get_mut(), &path) {
                *value = match first {
                    Some((_, table @ DeValue::Table(_))) => table,
                    _ => DeValue::Table(DeTable::new()),
                };
            }
            self.add(&path, span, format!("a list, where there is one table; it is written as {section}"));
        }
    }

    /// Deserializes repeatedly, until there is no error left or one cannot be repaired.
    fn deserialize(&mut self) -> Option<Config> {
        while self.problems.len() < MAX_PROBLEMS {
            match Config::deserialize(toml::Deserializer::from(self.document.clone())) {
                Ok(config) => return Some(config),
                Err(error) => {
                    let known = self.problems.len();
                    if !self.note(&error) {
                        return None;
                    }
                    debug_assert!(self.problems.len() <= known + 1);
                }
            }
        }
        None
    }

    /// Records the error, and repairs the document so that the next one can be found. False if that
    /// is not possible.
    fn note(&mut self, error: &toml::de::Error) -> bool {
        let Some(span) = error.span() else {
            return self.note_missing(error, &[], None);
        };
        if error.message().starts_with("missing field ") {
            let path = self.table_at(&span, missing(error).unwrap_or_default());
            return self.note_missing(error, &path, Some(span));
        }
        let Some(path) = find(self.document.get_ref(), &span) else {
            self.add(&[], Some(span), explain::message(self.text, &[], error));
            return false;
        };
        self.add(&path, Some(span), explain::message(self.text, &path, error));
        self.remove_value(&path)
    }

    fn note_missing(&mut self, error: &toml::de::Error, path: &[Step], span: Option<Range<usize>>) -> bool {
        // It may be in a part that could not be parsed.
        let lines = self.lines_below(span.as_ref());
        let unreadable = |problem: &Problem| {
            problem.from_syntax
                && problem.key.as_deref() == missing(error)
                && problem.line().is_some_and(|line| lines.contains(&line))
        };
        let hidden = path.is_empty() && !self.misplaced.is_empty() || self.problems.iter().any(unreadable);
        if !hidden {
            self.add(path, span, explain::message(self.text, path, error));
        }
        missing(error).is_some_and(|key| self.insert_placeholder(path, key))
    }

    /// The lines of the section whose header is at this place.
    fn lines_below(&self, header: Option<&Range<usize>>) -> Range<usize> {
        let first = header.map_or(0, |span| crate::error::line_column(self.text, span.start).0);
        let below = self.text.lines().enumerate().skip(first);
        let next = below.filter(|(_, line)| line.trim_start().starts_with('[')).map(|(index, _)| index + 1).next();
        first..next.unwrap_or(usize::MAX)
    }

    /// A recovered error on a line that has one already is the same one.
    fn add(&mut self, path: &[Step], span: Option<Range<usize>>, message: String) {
        let problem = Problem::at(self.text, span, message).with_key(explain::dotted(path));
        let repeated = |other: &Problem| other.from_syntax && other.line().is_some() && other.line() == problem.line();
        let misplaced = problem.line().is_some_and(|line| self.misplaced.iter().any(|lines| lines.contains(&line)));
        if !misplaced && !self.problems.iter().any(repeated) {
            self.problems.push(problem);
        }
    }

    /// The innermost table with this place that has no such key.
    fn table_at(&self, span: &Range<usize>, key: &str) -> Vec<Step> {
        let mut found = Vec::new();
        walk(self.document.get_ref(), &mut Vec::new(), &mut |path, value| {
            if value.span() == *span && value.get_ref().as_table().is_some_and(|table| table.get(key).is_none()) {
                found = path.to_vec();
            }
        });
        found
    }

    /// Removes a value. A required one is replaced by a placeholder.
    fn remove_value(&mut self, path: &[Step]) -> bool {
        let Some((last, parent)) = path.split_last() else { return false };
        match last {
            Step::Index(index) => {
                let Some(DeValue::Array(array)) = value_mut(self.document.get_mut(), parent) else { return false };
                let mut rest = DeArray::new();
                let kept = array.iter().enumerate().filter(|(at, _)| at != index).map(|(_, value)| value.clone());
                kept.for_each(|value| rest.push(value));
                *array = rest;
                true
            }
            Step::Key(key) => {
                let key = key.clone();
                let Some(table) = table_mut(self.document.get_mut(), parent) else { return false };
                table.remove(key.as_str());
                let required = matches!(
                    (parent, key.as_str()),
                    ([], "router")
                        | ([Step::Key(_)], "as" | "id")
                        | ([Step::Key(_), Step::Index(_)], "as" | "name" | "address")
                );
                if required {
                    self.insert_placeholder(parent, &key);
                }
                true
            }
        }
    }

    /// Inserts a placeholder for a missing required value.
    fn insert_placeholder(&mut self, path: &[Step], key: &str) -> bool {
        self.placeholders += 1;
        let number = self.placeholders;
        let spanned = |value| Spanned::new(0..0, value);
        let value = match key {
            "name" => spanned(DeValue::String(Cow::Owned(format!("stand-in-{number}")))),
            "address" => spanned(DeValue::String(Cow::Owned(format!("192.0.2.{}", 1 + number % 254)))),
            _ => {
                let known = DeTable::parse(PLACEHOLDERS).ok().and_then(|table| table.get_ref().get(key).cloned());
                let Some(value) = known else { return false };
                value
            }
        };
        let Some(table) = table_mut(self.document.get_mut(), path) else { return false };
        table.insert(Spanned::new(0..0, Cow::Owned(key.to_owned())), value);
        true
    }
}

/// The key that serde reports as missing.
fn missing(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("missing field ")?.split('`').nth(1)
}

/// The path of the key or the value at this place; of several, the innermost.
fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<Step>> {
    let mut found = None;
    for_each_key(table, &mut Vec::new(), &mut |path, key| {
        if key == span {
            found = Some(path.to_vec());
        }
    });
    if found.is_none() {
        walk(table, &mut Vec::new(), &mut |path, value| {
            if value.span() == *span {
                found = Some(path.to_vec());
            }
        });
    }
    found
}

fn for_each_key(table: &DeTable<'_>, path: &mut Vec<Step>, each: &mut impl FnMut(&[Step], &Range<usize>)) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        each(path, &key.span());
        keys_within(value.get_ref(), path, each);
        path.pop();
    }
}

fn keys_within(value: &DeValue<'_>, path: &mut Vec<Step>, each: &mut impl FnMut(&[Step], &Range<usize>)) {
    match value {
        DeValue::Table(table) => for_each_key(table, path, each),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                path.push(Step::Index(index));
                keys_within(value.get_ref(), path, each);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Visits every value, outer ones first.
fn walk(table: &DeTable<'_>, path: &mut Vec<Step>, each: &mut impl FnMut(&[Step], &Spanned<DeValue<'_>>)) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        walk_value(value, path, each);
        path.pop();
    }
}

fn walk_value(
    value: &Spanned<DeValue<'_>>,
    path: &mut Vec<Step>,
    each: &mut impl FnMut(&[Step], &Spanned<DeValue<'_>>),
) {
    each(path, value);
    match value.get_ref() {
        DeValue::Table(table) => walk(table, path, each),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                path.push(Step::Index(index));
                walk_value(value, path, each);
                path.pop();
            }
        }
        _ => {}
    }
}

fn value_mut<'t, 'a>(table: &'t mut DeTable<'a>, path: &[Step]) -> Option<&'t mut DeValue<'a>> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    let mut value = table.get_mut(first.as_str())?.get_mut();
    for step in rest {
        value = match (step, value) {
            (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str())?.get_mut(),
            (Step::Index(index), DeValue::Array(array)) => array.get_mut(*index)?.get_mut(),
            _ => return None,
        };
    }
    Some(value)
}

fn table_mut<'t, 'a>(table: &'t mut DeTable<'a>, path: &[Step]) -> Option<&'t mut DeTable<'a>> {
    if path.is_empty() {
        return Some(table);
    }
    match value_mut(table, path)? {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
