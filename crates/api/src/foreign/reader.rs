//! Reads a text line by line.

use super::block::{self, Block, Kind};
use super::model::{Entry, ForeignError};

/// Longest form over several lines, in octets: more is not collected.
const MAX_BLOCK: usize = 1 << 20;

/// Reads a text line by line; see the head of [the module](super).
#[derive(Debug, Default)]
pub struct Reader {
    open: Option<Block>,
    /// There was something in another program's form: lines that are headings there are no rules.
    seen: bool,
}

impl Reader {
    /// At the beginning of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a line is not part of another program's form, so that [`take`](Self::take) would
    /// give it back and nothing else.
    pub fn passes(&self, line: &str) -> bool {
        self.open.is_none()
            && (block::is_own(line) || Kind::begins(line).is_none() && !block::is_heading(line, self.seen))
    }

    /// Takes a line, without its end. Returns what is complete now.
    pub fn take(&mut self, number: usize, line: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(block) = &mut self.open {
            if block.wants(line) {
                if block.len() + line.len() <= MAX_BLOCK {
                    block.push(number, line);
                    if block.is_complete() {
                        entries.extend(self.finish());
                    }
                    return entries;
                }
                let (number, form) = (block.number(), block.form());
                let message = format!("it is longer than {MAX_BLOCK} octets");
                self.open = None;
                return vec![Entry::Error { number, error: ForeignError::Unfinished { form, message } }];
            }
            entries.extend(self.finish());
        }
        match Kind::begins(line) {
            Some(kind) => {
                self.seen = true;
                let block = Block::new(kind, number, line);
                let complete = block.is_complete();
                self.open = Some(block);
                if complete {
                    entries.extend(self.finish());
                }
            }
            None if block::is_heading(line, self.seen) => {}
            None => entries.push(Entry::Line { number, text: line.to_owned() }),
        }
        entries
    }

    /// Whether it has lines of a rule that is not complete.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The text has ended: returns the rest.
    pub fn finish(&mut self) -> Vec<Entry> {
        self.open.take().map(Block::read).unwrap_or_default()
    }
}

/// Reads a whole text; lines are counted from 1.
pub fn read(text: &str) -> Vec<Entry> {
    let mut reader = Reader::new();
    let mut entries: Vec<Entry> =
        text.lines().enumerate().flat_map(|(index, line)| reader.take(index + 1, line)).collect();
    entries.extend(reader.finish());
    entries
}
