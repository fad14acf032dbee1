//! Where the history is, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

/// Where and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// How long ended incidents are kept.
    pub keep: Duration,
    /// Octets that the file's content takes at most.
    pub size: u64,
    /// Octets of the disk that are left free for others: with less, nothing is written.
    pub reserve: u64,
}
