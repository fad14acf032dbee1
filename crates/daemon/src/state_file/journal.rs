//! The thread that writes the state file, so that a slow disk delays no decision.
//!
//! Octets are handed over in order and written in that order. A [`Ticket`] tells when they are in the file, so that they outlive the
//! process; [`Saved`] when they are on the disk, so that they outlive the machine. Now and then the whole is written anew beside the file
//! and takes its place; meanwhile changes go to both. When the file cannot be written, nothing that is appended counts until the whole has been
//! written anew, which is tried again and again.

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

/// What peers announced is on the disk at most so long after it is in the file.
const SYNC_AFTER: Duration = Duration::from_secs(5);

/// Wait after a failure before the whole is written anew; doubled after each further one.
const RETRY: Duration = Duration::from_millis(500);

/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// So many wait for the disk together at most.
const GROUP: usize = 1000;

/// A disk that takes nothing for so long is trouble.
const STUCK: Duration = Duration::from_secs(5);

/// Octets that may wait for the disk.
const MOST_QUEUED: u64 = 64 << 20;

/// A file shorter than this is never worth writing anew.
const SMALL: u64 = 4 << 20;

/// The file is written anew when it is so many times as long as it has to be.
const GROWN: u64 = 3;

/// A state file that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    tickets: u64,
    rewriting: bool,
    /// Nothing may take the file's place.
    frozen: bool,
    thread: Option<JoinHandle<()>>,
}

/// Told when what was appended is on the disk, or why it is not.
pub type Saved = oneshot::Receiver<Result<(), JournalError>>;

/// Who waits for the disk.
type Durable = oneshot::Sender<Result<(), JournalError>>;

enum Message {
    Append {
        octets: Vec<u8>,
        ticket: u64,
        durable: Option<Durable>,
    },
    /// The whole is going to be written anew.
    Begin,
    /// A part of the whole.
    Part(Vec<u8>),
    /// That was all of it.
    Finish,
    /// The parts are on the disk, or are not.
    PartsSynced(io::Result<()>),
    /// What was appended before is on the disk, or is not.
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
    /// Octets that wait to be written.
    queued: u64,
    /// Some wait, and none were written since.
    stuck_since: Option<Instant>,
    /// Octets in the file.
    length: u64,
    /// The whole is to be written anew, and from when on.
    rewrite_at: Option<Instant>,
    trouble: Option<JournalError>,
}

impl SharedState {
    fn queue(&mut self, octets: usize) {
        self.queued += octets as u64;
        self.stuck_since.get_or_insert_with(Instant::now);
    }

    fn taken(&mut self, octets: usize) {
        self.queued = self.queued.saturating_sub(octets as u64);
        self.stuck_since = (self.queued > 0).then(Instant::now);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SharedState> {
        // What is in it is valid whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some octets that were appended.
#[derive(Clone, Debug)]
pub struct Ticket {
    number: u64,
    shared: Arc<Shared>,
}

impl Ticket {
    /// Waits until they are in the file, but no longer than this, and not at all while the file cannot be written. Whether they are.
    pub fn wait(&self, most: Duration) -> bool {
        let waiting = |state: &mut SharedState| state.written < self.number && state.trouble.is_none();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), most, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.written >= self.number
    }
}

impl Journal {
    /// Goes on with a file that was [loaded](super::load()), or begins one. What is wrong with the disk shows as [`trouble`](Self::trouble).
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
        // Left by a run that was killed while it wrote.
        let _ = std::fs::remove_file(&writer.aside);
        match loaded.append_at {
            _ if loaded.is_unique => {
                shared.lock().trouble = Some(JournalError::NotReplaced { path: path.to_owned() });
            }
            Some(length) => writer.go_on(length),
            None if !loaded.damaged && loaded.restored.rules() == 0 && !path.exists() => writer.begin_file(),
            None => shared.lock().rewrite_at = Some(Instant::now()),
        }
        let thread = std::thread::Builder::new().name("state".to_owned()).spawn(move || writer.run(&messages))?;
        let frozen = loaded.is_unique;
        Ok(Journal { path: path.to_owned(), inbox, shared, tickets: 0, rewriting: false, frozen, thread: Some(thread) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ticket of what was appended last.
    pub fn latest(&self) -> Ticket {
        Ticket { number: self.tickets, shared: Arc::clone(&self.shared) }
    }

    /// Why what happens is not kept, if it is not.
    pub fn trouble(&self) -> Option<JournalError> {
        let state = self.shared.lock();
        let stuck = state.stuck_since.filter(|since| since.elapsed() > STUCK);
        let stuck =
            stuck.map(|since| JournalError::Stuck { path: self.path.clone(), seconds: since.elapsed().as_secs() });
        state.trouble.clone().or(stuck)
    }

    /// Appends records. They are in the file once the ticket says so.
    pub fn append(&mut self, octets: Vec<u8>) -> Ticket {
        self.hand_over(octets, None)
    }

    /// Appends records that somebody waits for: they are on the disk once the answer says so.
    pub fn append_durably(&mut self, octets: Vec<u8>) -> Saved {
        let (answer, saved) = oneshot::channel();
        self.hand_over(octets, Some(answer));
        saved
    }

    fn hand_over(&mut self, octets: Vec<u8>, durable: Option<Durable>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket { number: self.tickets, shared: Arc::clone(&self.shared) };
        if self.enqueue(octets.len()) {
            self.send(Message::Append { octets, ticket: ticket.number, durable });
        } else if let Some(answer) = durable {
            let _ = answer.send(Err(JournalError::DiskBehind));
        }
        ticket
    }

    /// Whether there is room for so many octets more. Where there is not, the whole has to be written anew.
    fn enqueue(&self, octets: usize) -> bool {
        let mut state = self.shared.lock();
        let fits = state.queued + octets as u64 <= MOST_QUEUED;
        if fits {
            state.queue(octets);
        } else {
            state.trouble.get_or_insert(JournalError::DiskBehind);
            state.rewrite_at.get_or_insert_with(|| Instant::now() + RETRY);
            self.shared.changed.notify_all();
        }
        fits
    }

    fn send(&self, message: Message) {
        if self.inbox.send(message).is_err() {
            self.shared.lock().trouble.get_or_insert(JournalError::WriterGone);
        }
    }

    /// Has the whole written anew soon.
    pub fn request_rewrite(&self) {
        self.shared.lock().rewrite_at.get_or_insert_with(Instant::now);
    }

    /// Whether it is time to write the whole anew, which would take about so many octets.
    pub fn is_rewrite_due(&self, octets: u64) -> bool {
        if self.rewriting || self.frozen {
            return false;
        }
        let state = self.shared.lock();
        let grown = state.trouble.is_none() && state.length > SMALL && state.length / GROWN > octets;
        grown || state.rewrite_at.is_some_and(|at| at <= Instant::now())
    }

    /// Begins to write the whole anew. What is appended from now on is in it.
    pub fn begin_rewrite(&mut self) {
        self.rewriting = true;
        self.shared.lock().rewrite_at = None;
        self.send(Message::Begin);
    }

    /// A part of the whole.
    pub fn rewrite_part(&self, octets: Vec<u8>) {
        // Where there is no room, the room is short for appending, too, and that is told.
        self.shared.lock().queue(octets.len());
        self.send(Message::Part(octets));
    }

    /// That was the whole.
    pub fn finish_rewrite(&mut self) {
        self.rewriting = false;
        self.send(Message::Finish);
    }

    /// Writes what there is to write, and ends; waits for it no longer than this. Whether all is on the disk.
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
        thread.join().is_ok() && self.trouble().is_none()
    }
}

type Waiting = (u64, Option<Durable>);

struct Writer {
    path: PathBuf,
    aside: PathBuf,
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// What the path names; none where that cannot be written, or is of another form.
    current: Option<Output>,
    /// The whole, being written anew.
    next: Option<Output>,
    /// All parts of it are there.
    complete: bool,
    /// Tickets, and who waits for the disk, until there is a file again.
    waiting: Vec<Waiting>,
    /// Who waits for the disk to have what is in the file.
    unsynced: Vec<Durable>,
    failures: u32,
    /// When what is in the file is to be on the disk, too.
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
                        self.abandon(error);
                    }
                    self.shared.lock().taken(octets.len());
                }
                Message::Finish => self.sync_parts_beside(),
                Message::PartsSynced(outcome) => match outcome.and_then(|()| self.take_place()) {
                    Ok(()) => self.is_whole(),
                    Err(error) => self.abandon(error),
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

    /// The next message. Those who wait for the disk do so together: it is asked once for all that came meanwhile.
    fn next_message(&mut self, messages: &mpsc::Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if self.sync_at.is_some_and(|at| at <= Instant::now()) {
            self.sync_beside();
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

    /// Goes on behind so many octets of what is there.
    fn go_on(&mut self, length: u64) {
        match Output::go_on(&self.path, length) {
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
            self.abandon(error);
        }
        let Some(current) = &mut self.current else {
            match self.shared.lock().trouble.clone() {
                Some(trouble) => answer(durable, Err(trouble)),
                // Soon the whole is written, and this with it.
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

    /// What is in the file goes to the disk, and all are told who wait for that.
    fn sync_group(&mut self) {
        let Some(current) = &self.current else { return };
        match current.sync() {
            Ok(()) => self.unsynced.drain(..).for_each(|waiting| answer(Some(waiting), Ok(()))),
            Err(error) => self.fail(error),
        }
    }

    /// What is in the file goes to the disk, and nobody waits for that.
    fn sync_beside(&mut self) {
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
            Err(error) => self.abandon(error),
        }
    }

    /// Most of it may take long; changes go on meanwhile.
    fn sync_parts_beside(&mut self) {
        let Some(next) = &self.next else { return };
        self.complete = true;
        let inbox = self.inbox.clone();
        let started = next.try_clone().and_then(|file| {
            let sync = move || drop(inbox.send(Message::PartsSynced(file.sync_data())));
            std::thread::Builder::new().name("state-sync".to_owned()).spawn(sync)
        });
        if let Err(error) = started {
            self.abandon(error);
        }
    }

    /// What was written anew becomes the file.
    fn take_place(&mut self) -> io::Result<()> {
        let Some(next) = self.next.take() else { return Ok(()) };
        next.sync()?;
        std::fs::rename(&self.aside, &self.path)?;
        // From here on the file before has no name: nothing is written to it any more.
        self.current = Some(next);
        sync_directory(&self.path)
    }

    /// All that was appended so far is on the disk.
    fn is_whole(&mut self) {
        self.measure();
        if self.current.is_none() {
            return;
        }
        self.failures = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let mut state = self.shared.lock();
        // What found no room meanwhile is not in it: then it is written once more.
        let had_trouble = state.rewrite_at.is_none() && state.trouble.take().is_some();
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

    /// The file cannot be written: from here on nothing is kept.
    fn fail(&mut self, error: io::Error) {
        self.current = None;
        self.waiting.extend(self.unsynced.drain(..).map(|durable| (0, Some(durable))));
        self.abandon(error);
    }

    /// The whole could not be written anew. It is tried again.
    fn abandon(&mut self, error: io::Error) {
        if self.next.take().is_some() {
            let _ = std::fs::remove_file(&self.aside);
        }
        let wait = RETRY.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures += 1;
        let mut state = self.shared.lock();
        state.rewrite_at = Some(Instant::now() + wait);
        if self.current.is_some() {
            let path = self.path.display();
            tracing::warn!(%error, "{path} could not be written anew; changes are still appended to it");
            return;
        }
        let trouble = JournalError::Write { path: self.path.clone(), error: Arc::new(error) };
        if !state.trouble.as_ref().is_some_and(|told| trouble.is_told_by(told)) {
            tracing::error!("{trouble}; a restart would begin with what was written before");
        }
        state.trouble = Some(trouble.clone());
        drop(state);
        self.shared.changed.notify_all();
        self.waiting.drain(..).for_each(|(_, durable)| answer(durable, Err(trouble.clone())));
    }

    fn close(&mut self) {
        self.sync_group();
        if self.next.is_some() && self.complete && self.current.is_none() {
            match self.take_place() {
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

/// Who asked may have gone.
fn answer(durable: Option<Durable>, outcome: Result<(), JournalError>) {
    if let Some(durable) = durable {
        let _ = durable.send(outcome);
    }
}
