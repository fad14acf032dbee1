//! The queue to the thread that writes.

use crate::writer::{Shared, Writer};
use crate::{Change, Settings};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Batches that wait.
const QUEUE: usize = 4;

/// Between two tries with a file that fails.
const RETRY: Duration = Duration::from_secs(30);

/// Hands what happens to the thread that writes it. It never waits, but for a moment at its end.
#[derive(Debug)]
pub struct Recorder {
    queue: Option<SyncSender<Vec<Change>>>,
    shared: Arc<Shared>,
    /// Told when the thread has ended.
    ended: Receiver<()>,
    patience: Duration,
}

impl Recorder {
    /// Starts the thread. The file is opened there: one that cannot be opened costs no more than
    /// history. At the end, what is in the queue is waited for as long as `patience`.
    ///
    /// # Errors
    /// There can be no further thread.
    pub fn start(settings: Settings, patience: Duration) -> std::io::Result<Self> {
        Self::start_with(settings, RETRY, patience)
    }

    fn start_with(settings: Settings, retry: Duration, patience: Duration) -> std::io::Result<Self> {
        let (queue, changes) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(settings, retry, Arc::clone(&shared));
        let (end, ended) = sync_channel(1);
        std::thread::Builder::new().name("history".to_owned()).spawn(move || {
            writer.run(&changes);
            let _ = end.send(());
        })?;
        Ok(Recorder { queue: Some(queue), shared, ended, patience })
    }

    /// Sends these changes; gives them back if the queue is full.
    ///
    /// # Errors
    /// The changes: the disk is slower than what happens. They may be sent again.
    pub fn try_send(&self, changes: Vec<Change>) -> Result<(), Vec<Change>> {
        let Some(queue) = &self.queue else { return Ok(()) };
        match queue.try_send(changes) {
            Err(TrySendError::Full(changes)) => Err(changes),
            // The thread is gone: there is no history any more.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Whether all rules are to be told anew, since something could not be written; true once.
    pub fn wants_all(&self) -> bool {
        self.shared.take_tell_all()
    }

    /// Changes that could not be written.
    pub fn lost(&self) -> u64 {
        self.shared.lost()
    }

    /// Why nothing is written now, for people.
    pub fn problem(&self) -> Option<String> {
        self.shared.problem()
    }
}

impl Drop for Recorder {
    /// What is in the queue is written, unless the disk takes too long.
    fn drop(&mut self) {
        self.queue = None;
        let _ = self.ended.recv_timeout(self.patience);
    }
}

#[cfg(test)]
mod tests;
