//! The thread that writes the state file, so that a slow disk does not delay decisions.
//!
//! Octets are queued and written in order. A [`Ticket`] tells when they are in the file, and so
//! survive the process; [`Saved`] when they are on the disk, and so survive the machine. From time
//! to time the whole file is rewritten beside the old one and replaces it; meanwhile changes go to
//! both. If the file cannot be written, nothing appended counts as saved until a rewrite succeeds,
//! which is retried.

use super::Loaded;
use super::journal_error::JournalError;
use super::output::{Output, sync_directory};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Rules of peers are on the disk at most this long after they are in the file.
const SYNC_AFTER: Duration = Duration::from_secs(5);

/// Pause after a failure before the file is rewritten; doubled after each further one.
const RETRY: Duration = Duration::from_millis(500);

/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Most writes that wait for one sync of the disk together.
const GROUP: usize = 1000;

/// A disk that accepts nothing for this long is reported.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Most octets that wait for the disk.
const MOST_QUEUED: u64 = 64 << 20;

/// A shorter file is never rewritten.
const MIN_REWRITE_LENGTH: u64 = 4 << 20;

/// The file is rewritten when it is this many times as long as it has to be.
const REWRITE_FACTOR: u64 = 3;

/// An open state file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    tickets: u64,
    rewriting: bool,
    /// The file must not be replaced.
    frozen: bool,
    thread: Option<JoinHandle<()>>,
}

/// Answered when what was appended is on the disk, or with the error.
pub type Saved = oneshot::Receiver<Result<(), JournalError>>;

/// Those who wait for the disk.
type Durable = oneshot::Sender<Result<(), JournalError>>;

enum Message {
    Append {
        octets: Vec<u8>,
        ticket: u64,
        durable: Option<Durable>,
    },
    /// A rewrite begins.
    Begin,
    /// A part of the rewrite.
    Part(Vec<u8>),
    /// The rewrite has all its parts.
    Finish,
    /// The parts are on the disk, or an error.
    PartsSynced(io::Result<()>),
    /// What was appended before is on the disk, or an error.
    Synced(io::Result<()>),
    Close,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<SharedState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SharedState {
    /// The last ticket whose octets are in the file.
    written: u64,
    /// Octets in the queue.
    queued: u64,
    /// Since when some are queued and none were written.
    stalled_since: Option<Instant>,
    /// Octets in the file.
    length: u64,
    /// A rewrite is needed, and when it may begin.
    rewrite_at: Option<Instant>,
    write_error: Option<JournalError>,
}

impl SharedState {
    fn queue(&mut self, octets: usize) {
        self.queued += octets as u64;
        self.stalled_since.get_or_insert_with(Instant::now);
    }

    fn taken(&mut self, octets: usize) {
        self.queued = self.queued.saturating_sub(octets as u64);
        self.stalled_since = (self.queued > 0).then(Instant::now);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SharedState> {
        // The state is consistent even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group of octets that was appended.
#[derive(Clone, Debug)]
pub struct Ticket {
    number: u64,
    shared: Arc<Shared>,
}

impl Ticket {
    /// Waits until they are in the file, up to the timeout, and not at all while the file cannot be
    /// written. True if they are.
    pub fn wait(&self, most: Duration) -> bool {
        let waiting = |state: &mut SharedState| state.written < self.number && state.write_error.is_none();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), most, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.written >= self.number
    }
}

impl Journal {
    /// Continues a file that was [loaded](super::load()), or creates one. Errors of the disk are in
    /// [`write_error`](Self::write_error).
    ///
    /// # Errors
    /// There are no more threads.
    pub fn open(path: &Path, loaded: &Loaded) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (inbox, messages) = mpsc::channel();
        let mut writer = Writer {
            path: path.to_owned(),
            aside: path.with_extension("new"),
            inbox: inbox.clone(),
            shared: Arc::clone(&shared),
            current: None,
            next: None,
            complete: false,
            waiting: Vec::new(),
            unsynced: Vec::new(),
            failures: 0,
            sync_at: None,
            syncing: false,
        };
        // Left by a run that was killed during a rewrite.
        let _ = std::fs::remove_file(&writer.aside);
        match loaded.append_at {
            _ if loaded.is_unique => {
                shared.lock().write_error = Some(JournalError::NotReplaced { path: path.to_owned() });
            }
            Some(length) => writer.open_at(length),
            None if !loaded.damaged && loaded.restored.rules() == 0 && !path.exists() => writer.begin_file(),
            None => shared.lock().rewrite_at = Some(Instant::now()),
        }
        let thread = std::thread::Builder::new().name("state".to_owned()).spawn(move || writer.run(&messages))?;
        let frozen = loaded.is_unique;
        Ok(Journal { path: path.to_owned(), inbox, shared, tickets: 0, rewriting: false, frozen, thread: Some(thread) })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ticket of the last append.
    pub fn latest(&self) -> Ticket {
        Ticket { number: self.tickets, shared: Arc::clone(&self.shared) }
    }

    /// Why changes are not saved, if they are not.
    pub fn write_error(&self) -> Option<JournalError> {
        let state = self.shared.lock();
        let stuck = state.stalled_since.filter(|since| since.elapsed() > STALL_TIMEOUT);
        let stuck =
            stuck.map(|since| JournalError::Stuck { path: self.path.clone(), seconds: since.elapsed().as_secs() });
        state.write_error.clone().or(stuck)
    }

    /// Appends records. They are in the file once the ticket says so.
    pub fn append(&mut self, octets: Vec<u8>) -> Ticket {
        self.send_append(octets, None)
    }

    /// Appends records whose sender waits for the disk: they are on the disk once the receiver is
    /// answered.
    pub fn append_durably(&mut self, octets: Vec<u8>) -> Saved {
        let (answer, saved) = oneshot::channel();
        self.send_append(octets, Some(answer));
        saved
    }

    fn send_append(&mut self, octets: Vec<u8>, durable: Option<Durable>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket { number: self.tickets, shared: Arc::clone(&self.shared) };
        if self.enqueue(octets.len()) {
            self.send(Message::Append { octets, ticket: ticket.number, durable });
        } else if let Some(answer) = durable {
            let _ = answer.send(Err(JournalError::DiskBehind));
        }
        ticket
    }

    /// Whether the queue has room for this many octets. If not, a rewrite is needed.
    fn enqueue(&self, octets: usize) -> bool {
        let mut state = self.shared.lock();
        let fits = state.queued + octets as u64 <= MOST_QUEUED;
        if fits {
            state.queue(octets);
        } else {
            state.write_error.get_or_insert(JournalError::DiskBehind);
            state.rewrite_at.get_or_insert_with(|| Instant::now() + RETRY);
            self.shared.changed.notify_all();
        }
        fits
    }

    fn send(&self, message: Message) {
        if self.inbox.send(message).is_err() {
            self.shared.lock().write_error.get_or_insert(JournalError::WriterGone);
        }
    }

    /// Requests a rewrite.
    pub fn request_rewrite(&self) {
        self.shared.lock().rewrite_at.get_or_insert_with(Instant::now);
    }

    /// Whether to start a rewrite now, which would take about `octets` octets.
    pub fn is_rewrite_due(&self, octets: u64) -> bool {
        if self.rewriting || self.frozen {
            return false;
        }
        let state = self.shared.lock();
        let grown =
            state.write_error.is_none() && state.length > MIN_REWRITE_LENGTH && state.length / REWRITE_FACTOR > octets;
        grown || state.rewrite_at.is_some_and(|at| at <= Instant::now())
    }

    /// Starts a rewrite. What is appended from now on is in it.
    pub fn begin_rewrite(&mut self) {
        self.rewriting = true;
        self.shared.lock().rewrite_at = None;
        self.send(Message::Begin);
    }

    /// Adds a part of the rewrite.
    pub fn rewrite_part(&self, octets: Vec<u8>) {
        // If there is no room, there is none for appending, either, and that is reported.
        self.shared.lock().queue(octets.len());
        self.send(Message::Part(octets));
    }

    /// The rewrite is complete.
    pub fn finish_rewrite(&mut self) {
        self.rewriting = false;
        self.send(Message::Finish);
    }

    /// Writes everything that is queued, and ends; waits up to the timeout. True if everything is
    /// on the disk.
    pub fn close(mut self, most: Duration) -> bool {
        let end = Instant::now() + most;
        self.send(Message::Close);
        let Some(thread) = self.thread.take() else { return false };
        while !thread.is_finished() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        thread.join().is_ok() && self.write_error().is_none()
    }
}

type Waiting = (u64, Option<Durable>);

struct Writer {
    path: PathBuf,
    aside: PathBuf,
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// The open file at the path; none if it cannot be written, or has an older format.
    current: Option<Output>,
    /// The rewrite in progress.
    next: Option<Output>,
    /// The rewrite has all its parts.
    complete: bool,
    /// Tickets, and those who wait for the disk, until there is a file again.
    waiting: Vec<Waiting>,
    /// Those who wait until the contents of the file are on the disk.
    unsynced: Vec<Durable>,
    failures: u32,
    /// When the contents of the file have to be on the disk, too.
    sync_at: Option<Instant>,
    syncing: bool,
}

impl Writer {
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        loop {
            let message = match self.next_message(messages) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match message {
                Message::Append { octets, ticket, durable } => {
                    self.append(&octets, ticket, durable);
                    self.shared.lock().taken(octets.len());
                }
                Message::Begin => self.begin(),
                Message::Part(octets) => {
                    if let Some(next) = &mut self.next
                        && let Err(error) = next.write(&octets)
                    {
                        self.fail_rewrite(error);
                    }
                    self.shared.lock().taken(octets.len());
                }
                Message::Finish => self.sync_parts_in_background(),
                Message::PartsSynced(outcome) => match outcome.and_then(|()| self.replace_file()) {
                    Ok(()) => self.is_whole(),
                    Err(error) => self.fail_rewrite(error),
                },
                Message::Synced(outcome) => {
                    self.syncing = false;
                    if let Err(error) = outcome {
                        self.fail(error);
                    }
                }
                Message::Close => {
                    self.close();
                    return;
                }
            }
        }
    }

    /// The next message. Those who wait for the disk share one sync.
    fn next_message(&mut self, messages: &mpsc::Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if self.sync_at.is_some_and(|at| at <= Instant::now()) {
            self.sync_in_background();
        }
        if !self.unsynced.is_empty() {
            let message = messages.try_recv().ok();
            if self.unsynced.len() >= GROUP || !matches!(message, Some(Message::Append { .. })) {
                self.sync_group();
            }
            return message.ok_or(RecvTimeoutError::Timeout);
        }
        let patience = self.sync_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        messages.recv_timeout(patience)
    }

    /// Continues after this many octets of the existing file.
    fn open_at(&mut self, length: u64) {
        match Output::open_at(&self.path, length) {
            Ok(output) => self.current = Some(output),
            Err(error) => self.fail(error),
        }
        self.measure();
    }

    fn begin_file(&mut self) {
        let begin = || -> io::Result<Output> {
            let output = Output::create(&self.path)?;
            output.sync()?;
            sync_directory(&self.path)?;
            Ok(output)
        };
        match begin() {
            Ok(output) => self.current = Some(output),
            Err(error) => self.fail(error),
        }
        self.measure();
    }

    fn append(&mut self, octets: &[u8], ticket: u64, durable: Option<Durable>) {
        if let Some(next) = &mut self.next
            && let Err(error) = next.write(octets)
        {
            self.fail_rewrite(error);
        }
        let Some(current) = &mut self.current else {
            match self.shared.lock().write_error.clone() {
                Some(write_error) => answer(durable, Err(write_error)),
                // A rewrite follows soon and contains this.
                None => self.waiting.push((ticket, durable)),
            }
            return;
        };
        let written = current.write(octets);
        if written.is_ok() {
            let mut state = self.shared.lock();
            state.written = state.written.max(ticket);
            state.length = current.length();
            drop(state);
            self.shared.changed.notify_all();
        }
        match written {
            Ok(()) if durable.is_some() => self.unsynced.extend(durable),
            Ok(()) => drop(self.sync_at.get_or_insert_with(|| Instant::now() + SYNC_AFTER)),
            Err(error) => {
                self.waiting.push((ticket, durable));
                self.fail(error);
            }
        }
    }

    /// Syncs the file, and answers all who wait for that.
    fn sync_group(&mut self) {
        let Some(current) = &self.current else { return };
        match current.sync() {
            Ok(()) => self.unsynced.drain(..).for_each(|waiting| answer(Some(waiting), Ok(()))),
            Err(error) => self.fail(error),
        }
    }

    /// Syncs the file without anyone waiting.
    fn sync_in_background(&mut self) {
        self.sync_at = None;
        let Some(file) = self.current.as_ref().filter(|_| !self.syncing).and_then(|current| current.try_clone().ok())
        else {
            return;
        };
        self.syncing = true;
        let inbox = self.inbox.clone();
        let sync = move || drop(inbox.send(Message::Synced(file.sync_data())));
        if std::thread::Builder::new().name("state-sync".to_owned()).spawn(sync).is_err() {
            self.syncing = false;
        }
    }

    fn begin(&mut self) {
        (self.next, self.complete) = (None, false);
        match Output::create(&self.aside) {
            Ok(next) => self.next = Some(next),
            Err(error) => self.fail_rewrite(error),
        }
    }

    /// Syncing most of it may take long; changes continue meanwhile.
    fn sync_parts_in_background(&mut self) {
        let Some(next) = &self.next else { return };
        self.complete = true;
        let inbox = self.inbox.clone();
        let started = next.try_clone().and_then(|file| {
            let sync = move || drop(inbox.send(Message::PartsSynced(file.sync_data())));
            std::thread::Builder::new().name("state-sync".to_owned()).spawn(sync)
        });
        if let Err(error) = started {
            self.fail_rewrite(error);
        }
    }

    /// Replaces the file with the rewritten one.
    fn replace_file(&mut self) -> io::Result<()> {
        let Some(next) = self.next.take() else { return Ok(()) };
        next.sync()?;
        std::fs::rename(&self.aside, &self.path)?;
        // From here on the old file has no name: nothing is written to it any more.
        self.current = Some(next);
        sync_directory(&self.path)
    }

    /// Everything appended so far is on the disk.
    fn is_whole(&mut self) {
        self.measure();
        if self.current.is_none() {
            return;
        }
        self.failures = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let mut state = self.shared.lock();
        // What did not fit into the queue meanwhile is missing: rewrite once more.
        let had_trouble = state.rewrite_at.is_none() && state.write_error.take().is_some();
        state.written = waiting.iter().map(|(ticket, _)| *ticket).max().unwrap_or_default().max(state.written);
        drop(state);
        self.shared.changed.notify_all();
        if had_trouble {
            tracing::info!("{} is written again", self.path.display());
        }
        waiting.into_iter().for_each(|(_, durable)| answer(durable, Ok(())));
    }

    fn measure(&self) {
        if let Some(current) = &self.current {
            self.shared.lock().length = current.length();
        }
    }

    /// The file cannot be written: from here on nothing is saved.
    fn fail(&mut self, error: io::Error) {
        self.current = None;
        self.waiting.extend(self.unsynced.drain(..).map(|durable| (0, Some(durable))));
        self.fail_rewrite(error);
    }

    /// The rewrite failed. It is retried.
    fn fail_rewrite(&mut self, error: io::Error) {
        if self.next.take().is_some() {
            let _ = std::fs::remove_file(&self.aside);
        }
        let wait = RETRY.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures += 1;
        let mut state = self.shared.lock();
        state.rewrite_at = Some(Instant::now() + wait);
        if self.current.is_some() {
            let path = self.path.display();
            tracing::warn!(%error, "{path} could not be rewritten; changes are still appended to it");
            return;
        }
        let write_error = JournalError::Write { path: self.path.clone(), error: Arc::new(error) };
        if !state.write_error.as_ref().is_some_and(|reported| write_error.is_covered_by(reported)) {
            tracing::error!("{write_error}; a restart would begin with what was written before");
        }
        state.write_error = Some(write_error.clone());
        drop(state);
        self.shared.changed.notify_all();
        self.waiting.drain(..).for_each(|(_, durable)| answer(durable, Err(write_error.clone())));
    }

    fn close(&mut self) {
        self.sync_group();
        if self.next.is_some() && self.complete && self.current.is_none() {
            match self.replace_file() {
                Ok(()) => self.is_whole(),
                Err(error) => self.fail(error),
            }
        }
        if self.next.take().is_some() {
            let _ = std::fs::remove_file(&self.aside);
        }
        if let Some(current) = &self.current
            && let Err(error) = current.sync()
        {
            self.fail(error);
        }
    }
}

/// The receiver may have been dropped.
fn answer(durable: Option<Durable>, outcome: Result<(), JournalError>) {
    if let Some(durable) = durable {
        let _ = durable.send(outcome);
    }
}
