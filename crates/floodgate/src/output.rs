//! Output of the commands: standard output, which may be closed at any time; one JSON object a
//! line.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Buffered output: locked standard output, or memory.
pub(crate) struct Output {
    writer: BufWriter<Sink>,
    interactive: bool,
}

enum Sink {
    Standard(StdoutLock<'static>),
    Memory(Vec<u8>),
}

impl Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Standard(output) => output.write(octets),
            Sink::Memory(output) => output.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Standard(output) => output.flush(),
            Sink::Memory(_) => Ok(()),
        }
    }
}

impl Output {
    /// Locks standard output.
    pub(crate) fn new() -> Self {
        let interactive = io::stdout().is_terminal();
        Output { writer: BufWriter::with_capacity(1 << 16, Sink::Standard(io::stdout().lock())), interactive }
    }

    /// Keeps what is written in memory.
    pub(crate) fn in_memory() -> Self {
        Output { writer: BufWriter::new(Sink::Memory(Vec::new())), interactive: false }
    }

    /// What was written, if it is in memory.
    pub(crate) fn into_octets(mut self) -> Result<Vec<u8>> {
        self.writer.flush()?;
        Ok(match self.writer.get_mut() {
            Sink::Memory(octets) => std::mem::take(octets),
            Sink::Standard(_) => Vec::new(),
        })
    }

    /// Whether what is written is kept in memory: nobody reads standard error then.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.writer.get_ref(), Sink::Memory(_))
    }

    /// Writes one JSON object and a line end.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.writer, value)?;
        self.line("")
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.write_all(b"\n")?;
        if self.interactive {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Flushes, so that the text precedes what standard error prints next.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }

    /// Flushes at the end.
    pub(crate) fn finish(mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

/// Writes a line to standard error. A closed standard error is no reason to stop, or to panic as
/// `eprintln!` does.
pub(crate) fn print_error(message: impl Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Whether the reader of our output has closed it, as `head` does: this is not an error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// An error of one input, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorObject<'a> {
    /// Short stable name.
    pub kind: &'a str,
    /// Octets (wire) or characters (text) before the place.
    pub offset: usize,
    /// For people.
    pub message: String,
}
