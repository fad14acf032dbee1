//! One daemon for each thing that only one may use: the state file, the API socket, and the place
//! of enforcement. Locks are taken before anything is read, opened or changed, so a second start
//! does not touch anything of the first.
//!
//! A lock is an flock on a file, not the file's existence: a killed daemon holds none.

use crate::backend_spec::BackendSpec;
use crate::host_environment::HostEnvironment;
use anyhow::{Context, Result, bail};
use config::Config;
use dataplane::EnforcementPoint;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory of locks, for all daemons of the machine: in memory, so that a full disk does not
/// prevent a start.
const DIRECTORY: &str = "/run/floodgate";

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The locks of a daemon, by file.
#[derive(Debug, Default)]
pub(crate) struct Locks(BTreeMap<PathBuf, File>);

impl Locks {
    /// Takes the locks that the configuration needs and that are not held yet; waits for a daemon
    /// that is about to end, up to the timeout.
    ///
    /// # Errors
    /// Another daemon has one of them. Then no lock is held that was not held before.
    pub(crate) fn take(&mut self, config: &Config, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        let mut taken = Locks::default();
        for (path, what) in needed(config)? {
            if self.0.contains_key(&path) {
                continue;
            }
            loop {
                match lock(&path) {
                    Ok(lock) => drop(taken.0.insert(path, lock)),
                    Err(LockError::Held(_)) if Instant::now() < end => {
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                    Err(LockError::Held(holder)) => {
                        let pid = holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                        bail!("another floodgate{pid} {what}; stop it first");
                    }
                    // Filtering matters more than knowing that no other daemon filters.
                    Err(LockError::Io(error)) => tracing::warn!(%error, "cannot lock {}", path.display()),
                }
                break;
            }
        }
        self.0.append(&mut taken.0);
        Ok(())
    }

    /// Releases the locks that the configuration no longer needs.
    pub(crate) fn release_unneeded(&mut self, config: &Config) {
        let Ok(needed) = needed(config) else { return };
        let gone = self.0.extract_if(.., |path, _| needed.iter().all(|(needed, _)| needed != path));
        drop(Locks(gone.collect()));
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        // Removed while held, so that no lock of another process is removed.
        self.0.keys().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

/// The lock of a place of enforcement, for a program that filters there for a while and is no
/// daemon.
#[derive(Debug)]
pub struct EnforcementLock {
    _locks: Locks,
}

impl EnforcementLock {
    /// Takes it.
    ///
    /// # Errors
    /// A daemon, or another such program, has it.
    pub fn take(backend: &str, point: &EnforcementPoint) -> Result<Self> {
        let mut locks = Locks::default();
        let directory = directory(Path::new("/run/floodgate/api.sock"));
        if let Some((name, what)) = enforcement(backend, point)? {
            let path = directory.join(name + ".lock");
            match lock(&path) {
                Ok(lock) => drop(locks.0.insert(path, lock)),
                Err(LockError::Held(holder)) => {
                    let pid = holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                    bail!("another floodgate{pid} {what}; stop it first");
                }
                Err(LockError::Io(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        Ok(EnforcementLock { _locks: locks })
    }
}

/// The lock files, and what their holder does.
fn needed(config: &Config) -> Result<Vec<(PathBuf, String)>> {
    let (state, socket) = (&config.state.file, &config.api.socket);
    // Nothing may exist where the socket is to be created.
    if let Some(parent) = socket.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let directory = directory(socket);
    let mut needed = vec![(format!("socket-{}", identity(socket)), format!("answers on {}", socket.display()))];
    if !state.as_os_str().is_empty() {
        needed.push((format!("state-{}", identity(state)), format!("has the state file {}", state.display())));
    }
    let backend = BackendSpec::new(config, &HostEnvironment::default())?;
    needed.extend(enforcement(backend.name(), &backend.enforcement_point())?);
    Ok(needed.into_iter().map(|(name, what)| (directory.join(name + ".lock"), what)).collect())
}

/// A name for the place of enforcement, the same for all daemons with the same back end there; and
/// what its holder does, for people.
fn enforcement(backend: &str, point: &EnforcementPoint) -> Result<Option<(String, String)>> {
    Ok(match point {
        EnforcementPoint::Nowhere => None,
        EnforcementPoint::NetworkNamespace => {
            let namespace =
                std::fs::metadata("/proc/thread-self/ns/net").context("cannot read the network namespace")?;
            let name = format!("{backend}-{}", namespace.ino());
            Some((name, format!("filters with {backend} in this network namespace")))
        }
        EnforcementPoint::Path(path) => {
            let name = format!("{backend}-{}", identity(path));
            Some((name, format!("filters with {backend} through {}", path.display())))
        }
    })
}

/// The same path may be another directory in another mount namespace.
fn identity(path: &Path) -> String {
    let parent = path.parent().unwrap_or(path);
    let device = std::fs::metadata(parent).map_or(0, |metadata| metadata.dev());
    let mut hasher = DefaultHasher::new();
    (device, std::fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned()), path.file_name()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The common directory of data plane locks; for users who may not write there, the socket's
/// directory.
fn directory(socket: &Path) -> PathBuf {
    let directory = Path::new(DIRECTORY);
    let _ = DirBuilder::new().mode(0o755).create(directory);
    match rustix::fs::access(directory, rustix::fs::Access::WRITE_OK) {
        Ok(()) => directory.to_owned(),
        Err(_) => socket.parent().unwrap_or(Path::new("/")).to_owned(),
    }
}

/// Why a lock is not taken.
#[derive(Debug, thiserror::Error)]
enum LockError {
    /// Another process holds it, with this pid if it is known.
    #[error("another process has it")]
    Held(Option<u32>),
    /// It cannot be locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The lock.
fn lock(path: &Path) -> Result<File, LockError> {
    loop {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // Its last holder may have removed the name meanwhile: then it is no longer the
                // lock file.
                let named = std::fs::metadata(path).map(|there| (there.dev(), there.ino())).ok();
                let ours = file.metadata().map(|ours| (ours.dev(), ours.ino()))?;
                if named != Some(ours) {
                    continue;
                }
                file.set_len(0)?;
                file.rewind()?;
                // Only informative: on a full disk it is left out.
                let _ = write!(file, "{}", std::process::id());
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&mut file).take(20).read_to_string(&mut text);
                return Err(LockError::Held(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_by_nobody_after_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.lock");
        // Left by a killed daemon.
        std::fs::write(&path, "1").unwrap();
        let held = lock(&path).unwrap();
        let us = std::process::id();
        assert!(matches!(lock(&path), Err(LockError::Held(Some(pid))) if pid == us));
        let locks = Locks([(path.clone(), held)].into());
        drop(locks);
        assert!(!path.exists());
        lock(&path).unwrap();
    }

    #[test]
    fn only_one_of_many_gets_it_while_names_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let holders = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        if let Ok(held) = lock(&path) {
                            assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                            holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(Locks([(path.clone(), held)].into()));
                        }
                    }
                });
            }
        });
    }
}
