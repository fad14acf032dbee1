//! Why something could not be done, as a whole.

use std::io;

/// The whole apply failed; what was in force before still is. Or something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// A difference was to be applied before a full load.
    #[error("nothing was applied yet that could be changed")]
    NothingApplied,
    /// Somebody else changed what was applied; how. A full load puts it right.
    #[error("{0}")]
    ExternalChange(String),
    /// Somebody else changes the data plane so often that no change of ours gets through.
    #[error("somebody else changes {0} without a pause")]
    Contended(&'static str),
    /// A setting of the back end that cannot be used, and why.
    #[error("{0}")]
    InvalidSetting(String),
    /// The data plane refused it; its words.
    #[error("{0}")]
    Refused(String),
    /// Something that it needs is not there (a program, a kernel feature, a right); what to do about it.
    #[error("{0}")]
    Unavailable(String),
    /// An operating-system error.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// The error.
        source: io::Error,
    },
}

/// Why sampled packets cannot be read through a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSamples {
    /// It takes none.
    #[error("the back end {backend} takes no samples")]
    NotTaken {
        /// Its name in the configuration.
        backend: &'static str,
    },
    /// The kernel has them in a group of its packet log.
    #[error("nftables gives samples to the packet log's group {group}; read them with `tcpdump -i nflog:{group}`")]
    PacketLog {
        /// The group's number.
        group: u16,
    },
}
