//! The terminal in full-screen mode: reads single keys, and restores the terminal afterwards.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};
use tokio::sync::mpsc;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character.
    Char(char),
    /// Enter.
    Enter,
    /// Backspace.
    Back,
    /// Escape.
    Escape,
    /// Control-C, or the end of input.
    Interrupt,
}

/// The previous state of the terminal, restored on drop.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Switches the terminal to full screen, if standard input and output are one.
    pub(super) fn take() -> Option<(Self, mpsc::Receiver<Key>)> {
        let stdin = io::stdin();
        if !stdin.is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut changed = before.clone();
        changed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        changed.special_codes[SpecialCodeIndex::VMIN] = 1;
        changed.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &changed).ok()?;
        // The alternate screen, without a cursor.
        write("\x1b[?1049h\x1b[?25l");
        let (sender, keys) = mpsc::channel(16);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&sender)).ok()?;
        Some((Terminal { before }, keys))
    }

    /// Shows these lines and nothing else.
    pub(super) fn show(&self, lines: &[String]) {
        let mut text = "\x1b[H".to_owned();
        for (index, line) in lines.iter().enumerate() {
            text.push_str(if index > 0 { "\r\n" } else { "" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) {
    let mut stdout = io::stdout();
    // A terminal that is gone ends the program.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Until the receiver is dropped. The thread ends with the program.
fn read(keys: &mpsc::Sender<Key>) {
    let mut octets = [0; 64];
    loop {
        let count = io::stdin().lock().read(&mut octets).unwrap_or(0);
        let read = if count == 0 { vec![Key::Interrupt] } else { decode(&octets[..count]) };
        if read.into_iter().any(|key| keys.blocking_send(key).is_err()) || count == 0 {
            return;
        }
    }
}

/// The keys in what was read at once. Escape sequences, such as arrows, are ignored.
fn decode(octets: &[u8]) -> Vec<Key> {
    if octets.len() > 1 && octets.first() == Some(&0x1b) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(octets);
    let key = |c| match c {
        '\r' | '\n' => Some(Key::Enter),
        '\u{7f}' | '\u{8}' => Some(Key::Back),
        '\u{1b}' => Some(Key::Escape),
        '\u{3}' | '\u{4}' => Some(Key::Interrupt),
        c if c.is_control() => None,
        c => Some(Key::Char(c)),
    };
    text.chars().filter_map(key).collect()
}

/// Rows and columns, if standard output is a terminal that reports them.
pub(super) fn window() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_sequences() {
        assert_eq!(decode(b"qp"), [Key::Char('q'), Key::Char('p')]);
        assert_eq!(decode(b"\x1b[A"), []);
        assert_eq!(decode(b"\x1b"), [Key::Escape]);
        assert_eq!(decode(b"\x03\r\x7f\x01"), [Key::Interrupt, Key::Enter, Key::Back]);
    }
}
