//! What can go wrong with the file.

use std::path::PathBuf;

/// Why there is no history, or not now.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file was written by a later version of this program. It is left alone.
    #[error("{path} was written by a newer version of floodgate (format {found}, this one knows {known}); nothing is written to it", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest format that this version knows.
        known: i64,
    },
    /// It is a database of something else.
    #[error("{path} is a database of another program; nothing is written to it", path = .0.display())]
    Foreign(PathBuf),
    /// The disk is nearly full, and what is left is for others.
    #[error("{left} octets are left on the disk, and {reserve} are left to others")]
    NoRoom {
        /// Octets that are free.
        left: u64,
        /// Octets that are to stay free.
        reserve: u64,
    },
    /// A question took too long.
    #[error("the search took too long; ask for a shorter time, or for fewer")]
    TooLong,
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// What the system says.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => HistoryError::TooLong,
            _ => HistoryError::Sqlite(error),
        }
    }
}

impl HistoryError {
    /// The file is there, and its content is not what SQLite writes.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, HistoryError::Sqlite(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)))
    }
}
