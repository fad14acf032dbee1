//! Why changes are not saved.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why changes are not saved.
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
    /// The disk accepts nothing.
    #[error("cannot write {}: the disk has taken nothing for {seconds} s", path.display())]
    Stuck {
        /// The state file.
        path: PathBuf,
        /// For how long.
        seconds: u64,
    },
    /// More is queued than fits into memory's limit.
    #[error("the disk does not keep up")]
    DiskBehind,
    /// The thread panicked.
    #[error("the thread that writes it has ended")]
    WriterGone,
    /// The file is the only copy of damaged contents.
    #[error("{} could not be read, nor copied: it is not replaced", path.display())]
    NotReplaced {
        /// The state file.
        path: PathBuf,
    },
}

impl JournalError {
    /// Whether a report of `other` already covers this.
    pub(super) fn is_covered_by(&self, other: &JournalError) -> bool {
        match (self, other) {
            (JournalError::Write { error: one, .. }, JournalError::Write { error: other, .. }) => {
                (one.kind(), one.raw_os_error()) == (other.kind(), other.raw_os_error())
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
