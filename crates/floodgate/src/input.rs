//! Inputs of the offline commands: arguments, standard input or a file, one item at a time and
//! never all in memory.

use crate::output::ErrorObject;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::rc::Rc;

/// Longest line that is read, in octets; more than the hex of the longest BGP message (65,535
/// octets) with blanks.
pub(crate) const MAX_LINE: u64 = 1 << 20;
/// Some editors write it before a text, and so it occurs before each of several files in one
/// stream.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One input: its number from 0 among the arguments or lines, and its text.
pub(crate) struct Item {
    /// 0-based number of the argument or line.
    pub number: usize,
    text: Result<String, LineTooLong>,
    /// Its source: a file's name, `standard input`; `None` for an argument.
    source: Option<Rc<str>>,
    /// The source alone is the place.
    whole: bool,
}

/// A line that is skipped, since it is longer than any valid input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line is longer than {MAX_LINE} octets")]
pub(crate) struct LineTooLong;

impl LineTooLong {
    /// The error as JSON.
    pub(crate) fn object(self) -> ErrorObject<'static> {
        ErrorObject { kind: "line-too-long", offset: MAX_LINE as usize, message: self.to_string() }
    }
}

impl Item {
    /// The text, without newline and byte order mark.
    ///
    /// # Errors
    /// The line is too long; later lines are read all the same.
    pub(crate) fn text(&self) -> Result<&str, LineTooLong> {
        self.text.as_deref().map_err(|error| *error)
    }

    /// An input that is not a line of text: a packet, by its number from 0 in a file of this name.
    pub(crate) fn packet(number: usize, file: &str) -> Self {
        Item { number, text: Ok(String::new()), source: Some(format!("{file}, packet {number}").into()), whole: true }
    }

    /// Whether it is a command-line argument.
    pub(crate) fn is_argument(&self) -> bool {
        self.source.is_none()
    }

    /// Its lines, each an input with the same number.
    pub(crate) fn lines(&self) -> Vec<Item> {
        let source: Rc<str> = self.place().into();
        let lines = self.text.as_deref().unwrap_or_default().lines();
        let item = |text: &str| Item {
            number: self.number,
            text: Ok(text.to_owned()),
            source: Some(Rc::clone(&source)),
            whole: true,
        };
        lines.map(item).collect()
    }

    /// The place for people, numbered from 1: `filters.txt, line 3` or `argument 2`.
    pub(crate) fn place(&self) -> String {
        match &self.source {
            Some(source) if self.whole => source.to_string(),
            Some(source) => format!("{source}, line {}", self.number + 1),
            None => format!("argument {}", self.number + 1),
        }
    }
}

/// Calls `each` for every argument, or for every line of standard input where the only argument is
/// `-`.
pub(crate) fn for_each(arguments: &[String], mut each: impl FnMut(Item) -> Result<()>) -> Result<()> {
    if arguments == ["-"] {
        return Lines::standard_input().try_for_each(|item| each(item?));
    }
    arguments
        .iter()
        .enumerate()
        .try_for_each(|(number, text)| each(Item { number, text: Ok(text.clone()), source: None, whole: false }))
}

/// The lines of a stream, with a progress bar where the stream is a file and standard error is a
/// terminal.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    number: usize,
    name: Rc<str>,
}

impl Lines {
    /// The lines of standard input.
    pub(crate) fn standard_input() -> Self {
        Lines { reader: BufReader::new(Box::new(io::stdin())), number: 0, name: "standard input".into() }
    }

    /// The lines of a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (reader, name) = open(path)?;
        Ok(Lines { reader: BufReader::with_capacity(1 << 16, reader), number: 0, name: name.into() })
    }
}

/// Opens a file for reading, with a progress bar over its length on a terminal; `-` is standard
/// input.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Read>, String)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), "standard input".to_owned()));
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let length = file.metadata().map(|m| m.len()).unwrap_or(0);
    Ok((Box::new(progress(length).wrap_read(file)), name))
}

/// A bar on standard error for long inputs, hidden where nobody would see it.
fn progress(length: u64) -> ProgressBar {
    const PROGRESS_MIN_OCTETS: u64 = 8 << 20;
    if length < PROGRESS_MIN_OCTETS || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

impl Iterator for Lines {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        let mut octets = Vec::new();
        let number = self.number;
        let name = Rc::clone(&self.name);
        let place = || format!("{name}, line {}", number + 1);
        match (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut octets) {
            Err(error) => return Some(Err(error).with_context(place)),
            Ok(0) => return None,
            Ok(_) => {}
        }
        self.number += 1;
        let source = Some(Rc::clone(&name));
        if octets.len() as u64 == MAX_LINE && octets.last() != Some(&b'\n') {
            // The rest of it must not be read as further lines.
            return match self.reader.skip_until(b'\n') {
                Err(error) => Some(Err(error).with_context(place)),
                Ok(_) => Some(Ok(Item { number, text: Err(LineTooLong), source, whole: false })),
            };
        }
        while octets.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
            octets.pop();
        }
        // Text that is not UTF-8 is an error of that input, which its parser reports; not of the
        // whole run.
        let mut text = String::from_utf8(octets).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        if text.starts_with(BYTE_ORDER_MARK) {
            text.remove(0);
        }
        Some(Ok(Item { number, text: Ok(text), source, whole: false }))
    }
}
