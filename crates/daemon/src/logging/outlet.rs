//! Lines on their way out. A thread writes them; whoever logs leaves a line and goes on. What finds no room is lost and counted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that were lost since the start: whoever reads them was too slow, or does not read at all.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that nobody read in time, since the start.
pub(super) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Octets that may wait.
const ROOM: usize = 1 << 20;

/// Pause before a descriptor that takes nothing now, and was set not to wait by another program, is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes lines from everywhere.
#[derive(Clone, Debug)]
pub(super) struct Outlet(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was left.
    filled: Condvar,
    /// Everything is written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    octets: usize,
    /// The thread is writing a line that is not in the queue any more.
    busy: bool,
    /// Lines lost since that was last said.
    lost: u64,
}

impl Outlet {
    /// Writes to a copy of this descriptor, and not through the standard library's lock, which others would wait for.
    pub(super) fn start(to: impl AsFd) -> io::Result<Self> {
        let file = std::fs::File::from(to.as_fd().try_clone_to_owned()?);
        let outlet = Outlet(Arc::default());
        let shared = Arc::clone(&outlet.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(file))?;
        Ok(outlet)
    }

    /// Waits until everything is written, but not longer; whether it is.
    pub(super) fn drained(&self, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut queue = self.0.lock();
        while queue.busy || !queue.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.0.drained.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn leave(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.octets + line.len() > ROOM {
            queue.lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.octets += line.len();
        queue.lines.push_back(line.to_owned());
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whole after each statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut file: impl io::Write) {
        loop {
            let (line, lost) = {
                let mut queue = self.lock();
                queue.busy = false;
                while queue.lines.is_empty() && queue.lost == 0 {
                    self.drained.notify_all();
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                queue.busy = true;
                let line = queue.lines.pop_front();
                queue.octets -= line.as_ref().map_or(0, Vec::len);
                // Said behind the lines that came before.
                let lost = if queue.lines.is_empty() { std::mem::take(&mut queue.lost) } else { 0 };
                (line, lost)
            };
            if let Some(line) = line {
                write(&mut file, &line);
            }
            if lost > 0 {
                tracing::warn!(lines = lost, "lines of this log were lost: it was not read fast enough");
            }
        }
    }
}

/// An error means that there is nobody to read; then there is nobody to tell it to.
fn write(file: &mut impl io::Write, mut line: &[u8]) {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return,
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(_) => return,
        }
    }
}

impl io::Write for Outlet {
    /// Called with a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.leave(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = Outlet;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_reader_that_does_not_read_is_not_waited_for_and_costs_no_more_than_the_room() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet::start(writer).unwrap();
        let line = [b'x'; 999].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        for _ in 0..10_000 {
            outlet.write_all(&line).unwrap();
        }
        assert!(!outlet.drained(Duration::from_millis(1)));
        let (octets, lost) = {
            let queue = outlet.0.lock();
            (queue.octets, queue.lost)
        };
        assert!(octets <= ROOM && octets > ROOM / 2, "{octets}");
        // What is neither lost nor waiting is with the kernel: at most a pipe's 64 KiB and the line in hand.
        assert!((10_000 - 1_048 - 70..=10_000 - 1_048).contains(&lost), "{lost}");
        // Read, it goes on.
        let reading = std::thread::spawn(move || {
            let mut octets = vec![0; 1_000_000];
            reader.read_exact(&mut octets).unwrap();
            octets.chunks(1000).all(|read| read == line)
        });
        assert!(reading.join().unwrap());
    }

    #[test]
    fn what_was_left_is_written_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet::start(writer).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            outlet.write_all(line.as_bytes()).unwrap();
        }
        assert!(outlet.drained(Duration::from_secs(30)));
        let mut octets = [0; 14];
        reader.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"one\ntwo\nthree\n");
    }
}
