//! The queue of log lines. A thread writes them; logging never blocks. Lines that do not fit into
//! the queue are dropped and counted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines dropped since the start: the reader was too slow, or does not read at all.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Number of lines dropped since the start.
pub(super) fn lost() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// Most octets in the queue.
pub(crate) const MAX_QUEUED_OCTETS: usize = 1 << 20;

/// Pause before another attempt at a descriptor that is full, and that another program set to
/// non-blocking.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts lines from all threads.
#[derive(Clone, Debug)]
pub(super) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A line was queued.
    filled: Condvar,
    /// Everything is written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    octets: usize,
    /// The thread is writing a line that is no longer in the queue.
    busy: bool,
    /// Lines dropped since that was last reported.
    lost: u64,
}

impl LogQueue {
    /// Writes to a copy of this descriptor, and not through the standard library's lock, which
    /// would block other users of it.
    pub(super) fn start(to: impl AsFd) -> io::Result<Self> {
        let file = std::fs::File::from(to.as_fd().try_clone_to_owned()?);
        let log_queue = LogQueue(Arc::default());
        let shared = Arc::clone(&log_queue.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(file))?;
        Ok(log_queue)
    }

    /// Waits until everything is written, up to a timeout; true if it is.
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

    fn enqueue(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.octets + line.len() > MAX_QUEUED_OCTETS {
            queue.lost += 1;
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.octets += line.len();
        queue.lines.push_back(line.to_owned());
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The state is consistent after each statement.
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
                // Reported after the lines that came before.
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

/// An error means that there is no reader; there is nobody to report it to.
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

impl io::Write for LogQueue {
    /// Called with a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.enqueue(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LogQueue;

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
        let mut log_queue = LogQueue::start(writer).unwrap();
        let line = [b'x'; 999].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        for _ in 0..10_000 {
            log_queue.write_all(&line).unwrap();
        }
        assert!(!log_queue.drained(Duration::from_millis(1)));
        let (octets, lost) = {
            let queue = log_queue.0.lock();
            (queue.octets, queue.lost)
        };
        assert!(octets <= MAX_QUEUED_OCTETS && octets > MAX_QUEUED_OCTETS / 2, "{octets}");
        // All other lines are in the kernel: at most a pipe's 64 KiB, and the line being written.
        assert!((10_000 - 1_048 - 70..=10_000 - 1_048).contains(&lost), "{lost}");
        // Once it is read, writing continues.
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
        let mut log_queue = LogQueue::start(writer).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log_queue.write_all(line.as_bytes()).unwrap();
        }
        assert!(log_queue.drained(Duration::from_secs(30)));
        let mut octets = [0; 14];
        reader.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"one\ntwo\nthree\n");
    }
}
