//! The thread that writes.

use crate::{Change, HistoryError, Settings, Store, Time};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two rounds of maintenance.
const MAINTENANCE: Duration = Duration::from_secs(300);

/// After a batch, the thread rests as long as it worked, and no longer than this: while a hundred
/// thousand rules come, the processor is for them.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Where the scheduler's niceness ends.
const NICEST: i32 = 19;

/// What those who send changes are told.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The file may not have what was sent: everything is to be told anew.
    tell_all: AtomicBool,
    /// Changes that are not in the file.
    lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn take_tell_all(&self) -> bool {
        self.tell_all.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

pub(crate) struct Writer {
    settings: Settings,
    retry: Duration,
    shared: Arc<Shared>,
    store: Option<Store>,
    /// When a file that failed is tried again.
    next_try: Option<Instant>,
    /// It was found to be damaged: a new one is to be begun.
    damaged: bool,
    /// That nothing is written was told.
    warned: bool,
}

impl Writer {
    pub(crate) fn new(settings: Settings, retry: Duration, shared: Arc<Shared>) -> Self {
        Writer { settings, retry, shared, store: None, next_try: None, damaged: false, warned: false }
    }

    /// Writes until nobody can send changes any more.
    pub(crate) fn run(mut self, changes: &Receiver<Vec<Change>>) {
        // Of this thread alone. Where it is not allowed, the rests have to do.
        let _ = rustix::process::setpriority_process(None, NICEST);
        let mut next_maintenance = Instant::now() + MAINTENANCE;
        loop {
            let retry = self.next_try.unwrap_or(next_maintenance);
            let received = changes.recv_timeout(retry.min(next_maintenance).saturating_duration_since(Instant::now()));
            let began = Instant::now();
            match received {
                Ok(changes) => self.write(&changes),
                Err(RecvTimeoutError::Timeout) => self.try_again(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_maintenance {
                self.maintain();
                next_maintenance = Instant::now() + MAINTENANCE;
            }
            std::thread::sleep(began.elapsed().min(LONGEST_REST));
        }
    }

    /// Although nothing new comes: all that there is has to be told again.
    fn try_again(&mut self) {
        match self.store() {
            Ok(Some(_)) => self.works(),
            Ok(None) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.warned) {
            self.shared.set_problem(None);
            tracing::info!("history is written again");
        }
    }

    fn write(&mut self, changes: &[Change]) {
        let room = if self.store.is_some() { leave_room(&self.settings) } else { Ok(()) };
        let outcome = match room.and_then(|()| self.store()) {
            Ok(Some(store)) => store.apply(changes),
            Ok(None) => return self.lose(changes),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => self.works(),
            Err(error) => {
                self.lose(changes);
                self.failed(&error);
            }
        }
    }

    /// The file; `None` while it is not to be tried.
    fn store(&mut self) -> Result<Option<&mut Store>, HistoryError> {
        if self.store.is_none() {
            if self.next_try.is_some_and(|at| at > Instant::now()) {
                return Ok(None);
            }
            let reopened = self.next_try.take().is_some();
            leave_room(&self.settings)?;
            if std::mem::take(&mut self.damaged) {
                put_aside(&self.settings.file)?;
            }
            self.store = Some(Store::open(&self.settings.file)?);
            // What happened meanwhile is not in it.
            if reopened {
                self.shared.tell_all.store(true, Ordering::Relaxed);
            }
        }
        Ok(self.store.as_mut())
    }

    fn lose(&self, changes: &[Change]) {
        self.shared.lost.fetch_add(changes.len() as u64, Ordering::Relaxed);
    }

    /// Told once, until it works again.
    fn failed(&mut self, error: &HistoryError) {
        self.store = None;
        if error.is_damage() {
            self.damaged = true;
            self.next_try = Some(Instant::now());
            return;
        }
        self.next_try = Some(Instant::now() + self.retry);
        if !std::mem::replace(&mut self.warned, true) {
            self.shared.set_problem(Some(error.to_string()));
            let file = self.settings.file.display();
            tracing::warn!(%error, %file, "no history is written; rules are decided and enforced as before");
        }
    }

    fn maintain(&mut self) {
        let (keep, size) = (self.settings.keep, self.settings.size);
        let Some(store) = &mut self.store else { return };
        let now = now();
        let before = now.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let outcome =
            store.coarsen(now).and_then(|()| store.forget_before(before)).and_then(|()| store.forget_over(size));
        if let Err(error) = outcome {
            self.failed(&error);
        }
    }
}

/// A damaged file stays for whoever wants to save something of it; an earlier one goes.
fn put_aside(path: &Path) -> Result<(), HistoryError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    std::fs::rename(path, beside(".damaged"))?;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(end));
    }
    tracing::warn!(aside = %beside(".damaged").display(), "the history is damaged: it is put aside, and a new one begins");
    Ok(())
}

/// What others need of the disk, the state file before all, is left to them.
fn leave_room(settings: &Settings) -> Result<(), HistoryError> {
    let directory = settings.file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(directory).map_err(std::io::Error::from)?;
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    if left < settings.reserve { Err(HistoryError::NoRoom { left, reserve: settings.reserve }) } else { Ok(()) }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
