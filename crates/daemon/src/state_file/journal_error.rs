//! Why what happens is not kept.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why what happens is not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// It could not be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The state file.
        path: PathBuf,
        /// The error.
        error: Arc<io::Error>,
    },
    /// It takes nothing.
    #[error("cannot write {}: the disk has taken nothing for {seconds} s", path.display())]
    Stuck {
        /// The state file.
        path: PathBuf,
        /// For how long.
        seconds: u64,
    },
    /// More is to be written than may wait for it.
    #[error("the disk does not keep up")]
    DiskBehind,
    /// A bug ended the thread that writes.
    #[error("the thread that writes it is gone")]
    WriterGone,
    /// What it has is there only once.
    #[error("{} could not be read, nor kept aside: it is not replaced", path.display())]
    NotReplaced {
        /// The state file.
        path: PathBuf,
    },
}

impl JournalError {
    /// Whether it is told already where `other` was told.
    pub(super) fn is_told_by(&self, other: &JournalError) -> bool {
        match (self, other) {
            (JournalError::Write { error: one, .. }, JournalError::Write { error: other, .. }) => {
                (one.kind(), one.raw_os_error()) == (other.kind(), other.raw_os_error())
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
