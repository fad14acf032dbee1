//! Reads lines from ExaBGP on a thread of its own: of limited length; an end of input within a line
//! is recognised.

use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc;

/// Longest line that is accepted, in octets. The longest UPDATE, of 65535 octets with nothing but
/// TCP flags, makes a line of some 6 million.
pub(crate) const LONGEST: usize = 16 << 20;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its newline.
    Whole(Vec<u8>),
    /// A line longer than [`LONGEST`], of this many octets; it is skipped.
    TooLong(usize),
    /// The input ended within a line, after this many octets of it; it is skipped.
    CutOff(usize),
    /// End of input, and the error that caused it, if any.
    End(Option<String>),
}

/// Most lines in the queue; each can be long.
const QUEUE: usize = 16;

/// Starts the thread. The last item is [`Line::End`].
///
/// # Errors
/// There are no more threads.
pub(super) fn spawn(input: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<Line>> {
    let (lines, queue) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("exabgp".to_owned()).spawn(move || {
        let mut input = BufReader::with_capacity(1 << 16, input);
        loop {
            let line = next(&mut input, LONGEST).unwrap_or_else(|error| Line::End(Some(error.to_string())));
            let ends = matches!(line, Line::End(_));
            if lines.blocking_send(line).is_err() || ends {
                return;
            }
        }
    })?;
    Ok(queue)
}

fn next(input: &mut impl BufRead, longest: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let part = match input.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if part.is_empty() {
            return Ok(if length == 0 { Line::End(None) } else { Line::CutOff(length) });
        }
        let end = part.iter().position(|octet| *octet == b'\n');
        let text = &part[..end.unwrap_or(part.len())];
        length += text.len();
        if length <= longest {
            line.extend_from_slice(text);
        } else {
            line = Vec::new();
        }
        let used = end.map_or(part.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(if length <= longest { Line::Whole(line) } else { Line::TooLong(length) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that returns a few octets at a time, as a pipe may.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(text: &[u8], drop: usize, longest: usize) -> Vec<Line> {
        let mut input = BufReader::with_capacity(7, Drops(text, drop));
        let mut lines = Vec::new();
        loop {
            let line = next(&mut input, longest).unwrap();
            let ends = line == Line::End(None);
            lines.push(line);
            if ends {
                return lines;
            }
        }
    }

    #[test]
    fn whole_long_and_cut_off_lines_in_any_pieces() {
        let whole = |text: &str| Line::Whole(text.into());
        for drop in 1..12 {
            assert_eq!(lines(b"", drop, 5), [Line::End(None)]);
            assert_eq!(lines(b"a\n\nbc\r\n", drop, 5), [whole("a"), whole(""), whole("bc\r"), Line::End(None)]);
            assert_eq!(
                lines(b"12345\n123456\n1234567890\nok\n12", drop, 5),
                [whole("12345"), Line::TooLong(6), Line::TooLong(10), whole("ok"), Line::CutOff(2), Line::End(None)]
            );
        }
    }

    #[tokio::test]
    async fn the_thread_ends_with_its_input() {
        let mut queue = spawn(&b"one\ntwo"[..]).unwrap();
        assert_eq!(queue.recv().await, Some(Line::Whole(b"one".to_vec())));
        assert_eq!(queue.recv().await, Some(Line::CutOff(3)));
        assert_eq!(queue.recv().await, Some(Line::End(None)));
        assert_eq!(queue.recv().await, None);
    }
}
