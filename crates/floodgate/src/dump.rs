//! Parses hex dumps of other tools: tcpdump -x, -X and -XX, Wireshark and tshark, xxd, hexdump -C.
//! Each line has an offset, and perhaps the octets as characters at its end.

use crate::input::Item;
use anyhow::Result;
use api::hex::{HexError, parse_hex};
use std::rc::Rc;

/// Most octets in a line.
const MAX_OCTETS_PER_LINE: usize = 64;

/// Most lines that are neither octets nor part of a dump and are kept until it is known whether a
/// dump follows, whose heading they may be.
const MAX_HEADING_LINES: usize = 100;

/// One input.
pub(crate) enum Octets {
    /// The octets of a line, or of the lines of a dump.
    Read {
        /// The octets.
        octets: Vec<u8>,
        /// Whether they were printed with offsets, which means that they are packets or messages.
        dump: bool,
    },
    /// The line is not hex.
    NoHex(HexError),
    /// A line of a dump does not continue the previous one.
    Gap {
        /// Its offset.
        found: usize,
        /// The octets before it.
        expected: usize,
    },
    /// The line contains 16-bit words in an unknown byte order.
    UnknownOrder,
}

/// Calls `each` for every input: a line, or the lines of a dump together with the first of them.
pub(crate) struct Assembler<F> {
    each: F,
    /// The dump that is being read, and its first line.
    dump: Option<(Rc<Item>, Vec<u8>)>,
    /// Lines that cannot be parsed.
    held: Vec<(Rc<Item>, HexError)>,
    /// There was a dump: lines between its parts are headings.
    seen: bool,
}

impl<F: FnMut(&Item, Octets) -> Result<()>> Assembler<F> {
    /// Nothing was taken yet.
    pub(crate) fn new(each: F) -> Self {
        Assembler { each, dump: None, held: Vec::new(), seen: false }
    }

    /// There was something else than octets: lines that are neither are headings of that.
    pub(crate) fn forget_headings(&mut self) {
        self.held.clear();
        self.seen = true;
    }

    /// Takes a line.
    pub(crate) fn take(&mut self, item: Rc<Item>) -> Result<()> {
        let Ok(text) = item.text() else {
            self.flush()?;
            return (self.each)(&item, Octets::Read { octets: Vec::new(), dump: false });
        };
        match Line::read(text) {
            Some(Line::Octets(offset, octets)) => self.line(item, offset, octets),
            Some(Line::UnknownOrder) => {
                self.flush()?;
                self.seen = true;
                (self.each)(&item, Octets::UnknownOrder)
            }
            None if text.trim().is_empty() && item.is_argument() => (self.each)(&item, Octets::NoHex(HexError::Empty)),
            None if text.trim().is_empty() => self.flush(),
            // The last line of hexdump's output.
            None if self
                .dump
                .as_ref()
                .is_some_and(|(_, octets)| usize::from_str_radix(text.trim(), 16) == Ok(octets.len())) =>
            {
                self.flush()
            }
            None => match parse_hex(text) {
                Ok(octets) => {
                    self.end()?;
                    (self.each)(&item, Octets::Read { octets, dump: false })
                }
                Err(error) => {
                    self.flush()?;
                    if !self.seen {
                        self.held.push((item, error));
                    }
                    if self.held.len() > MAX_HEADING_LINES { self.print_error() } else { Ok(()) }
                }
            },
        }
    }

    fn line(&mut self, item: Rc<Item>, offset: usize, octets: Vec<u8>) -> Result<()> {
        self.held.clear();
        self.seen = true;
        match &mut self.dump {
            Some((_, before)) if offset == before.len() && offset > 0 => {
                before.extend(octets);
                return Ok(());
            }
            _ if offset == 0 => {}
            dump => {
                let expected = dump.as_ref().map_or(0, |(_, before)| before.len());
                self.flush()?;
                return (self.each)(&item, Octets::Gap { found: offset, expected });
            }
        }
        self.flush()?;
        self.dump = Some((item, octets));
        Ok(())
    }

    /// The dump is complete.
    fn flush(&mut self) -> Result<()> {
        match self.dump.take() {
            Some((item, octets)) => (self.each)(&item, Octets::Read { octets, dump: true }),
            None => Ok(()),
        }
    }

    /// The lines that were kept are not a heading.
    fn print_error(&mut self) -> Result<()> {
        std::mem::take(&mut self.held)
            .into_iter()
            .try_for_each(|(item, error)| (self.each)(&item, Octets::NoHex(error)))
    }

    /// All lines were taken.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.flush()?;
        self.print_error()
    }
}

/// A line of a dump.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Octets(usize, Vec<u8>),
    UnknownOrder,
}

impl Line {
    /// `None` if it is not a line of a dump.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(text.len());
        let (offset, rest) = text.split_at(end);
        let digits = offset.strip_prefix("0x").unwrap_or(offset);
        let colon = rest.starts_with(':');
        let gap = rest.chars().take_while(|c| c.is_whitespace()).count();
        // Without a colon, two blanks distinguish an offset from four digits of octets.
        if !(4..=8).contains(&digits.len()) || !(colon || gap >= 2 || digits.len() == 7 && gap == 1) {
            return None;
        }
        let offset = usize::from_str_radix(digits, 16).ok()?;
        let rest = rest.trim_start_matches(':');
        // Text between bars is the octets as characters.
        let rest = rest.split('|').next().unwrap_or_default();
        if !colon && rest.trim_start().split(' ').next().is_some_and(|word| word.len() == 4) {
            return is_hex(rest.trim_start().get(..4)?).then_some(Line::UnknownOrder);
        }
        let mut octets = Vec::new();
        let mut rest = rest.trim_start();
        loop {
            let word = rest.split(char::is_whitespace).next().unwrap_or_default();
            if word.is_empty()
                || word.len() % 2 != 0
                || !is_hex(word)
                || octets.len() + word.len() / 2 > MAX_OCTETS_PER_LINE
            {
                break;
            }
            octets.extend(parse_hex(word).ok()?);
            let behind = &rest[word.len()..];
            let gap = behind.len() - behind.trim_start().len();
            // The octets as characters are separated by a gap; some tools have a wider gap in the
            // middle, too.
            if gap > 1 && !(octets.len() == 8 && word.len() == 2 && gap == 2) {
                break;
            }
            rest = behind.trim_start();
        }
        (!octets.is_empty()).then_some(Line::Octets(offset, octets))
    }
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|octet| octet.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::hex::to_hex;

    fn read(arguments: &str) -> Vec<String> {
        let mut told = Vec::new();
        let mut assembler = Assembler::new(|_: &Item, octets| {
            told.push(match octets {
                Octets::Read { octets, dump } => {
                    format!("{}{}", if dump { "dump " } else { "" }, to_hex(&octets))
                }
                Octets::NoHex(error) => error.to_string(),
                Octets::Gap { found, expected } => format!("gap {found} {expected}"),
                Octets::UnknownOrder => "unknown order".to_owned(),
            });
            Ok(())
        });
        crate::input::for_each(&[arguments.to_owned()], |item| {
            let several = arguments.trim_end().contains('\n');
            let lines = if several { item.lines() } else { vec![item] };
            lines.into_iter().try_for_each(|line| assembler.take(Rc::new(line)))
        })
        .unwrap();
        assembler.end().unwrap();
        told
    }

    #[test]
    fn lines_of_each_tool() {
        let line = |text: &str| match Line::read(text) {
            Some(Line::Octets(offset, octets)) => Some((offset, to_hex(&octets))),
            Some(Line::UnknownOrder) => Some((0, "?".to_owned())),
            None => None,
        };
        for (text, offset, octets) in [
            ("\t0x0000:  4500 0073 0000", 0, "450000730000"),
            ("\t0x0010:  7f00 0001 00                            ..@.*", 16, "7f00000100"),
            ("\t0x0000:  4500 0073 beef  E..s be", 0, "45000073beef"),
            ("00000010: ffff ff  ...", 16, "ffffff"),
            (
                "00000000: ff00 0102 0304 0506 0708 090a 0b0c 0d0e  ab cd ef 01 23 4",
                0,
                "ff000102030405060708090a0b0c0d0e",
            ),
            ("0000   ff ff ff ff 00 ab   ......", 0, "ffffffff00ab"),
            (
                "0010  01 02 03 04 05 06 07 08  09 0a 0b 0c 0d 0e 0f 10   ................",
                16,
                "0102030405060708090a0b0c0d0e0f10",
            ),
            ("00000020  01 02 03 04 05 06 07 08  09 0a                     |..........|", 32, "0102030405060708090a"),
            ("0000  01 02 03 04 05 06 07 08   abcdefgh", 0, "0102030405060708"),
            ("0000000 ffff ffff 4500", 0, "?"),
        ] {
            assert_eq!(line(text), Some((offset, octets.to_owned())), "{text}");
        }
        for text in [
            "0b01 18c0 0002",
            "0b0118c00002038106048119",
            "12:00:00.1 IP 10.0.0.1.179 > 10.0.0.2.4000: Flags [P.]",
            "",
            "0000",
            "00000030",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_put_together_and_headings_left_out() {
        let two = "12:00:00.1 IP a.179 > b.4000: BGP\n\tUpdate Message (2)\n\t0x0000:  0102 0304\n\t0x0004:  05\n12:00:00.2 IP a > b\n\t0x0000:  0a0b\n";
        assert_eq!(read(two), ["dump 0102030405", "dump 0a0b"]);
        assert_eq!(read("0000   01 02\n0002   03\n\n0000   04 05\n"), ["dump 010203", "dump 0405"]);
        assert_eq!(read("0000   01 02\n0004   03\n"), ["dump 0102", "gap 4 2"]);
        assert_eq!(read("zz\n0b01"), ["`z` is not a hex digit (character 1)", "0b01"]);
        assert_eq!(read("00000000  01 02  |..|\n00000002\n0b01\n"), ["dump 0102", "0b01"]);
        assert_eq!(read("0000000 ffff 0102\n").len(), 1);
    }
}
