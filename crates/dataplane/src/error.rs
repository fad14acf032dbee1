//! Errors of a whole operation on a data plane.

use std::io;

/// A whole change failed; the previous state is still in force. Or something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// A difference cannot be applied before a full load.
    #[error("nothing was applied yet that could be changed")]
    NothingApplied,
    /// Another program changed what was applied; how. A full load repairs it.
    #[error("{0}")]
    ExternalChange(String),
    /// Other programs change the data plane so often that no change of ours succeeds.
    #[error("another program keeps changing {0}")]
    Contended(&'static str),
    /// A setting of the back end cannot be used, and why.
    #[error("{0}")]
    InvalidSetting(String),
    /// The data plane refused it; its message.
    #[error("{0}")]
    Refused(String),
    /// Something required is missing (a program, a kernel feature, a permission); what to do about
    /// it.
    #[error("{0}")]
    Unavailable(String),
    /// An operating-system error.
    #[error("{context}: {source}")]
    Io {
        /// The operation.
        context: String,
        /// The error.
        source: io::Error,
    },
}

/// Why sampled packets cannot be read through a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSamples {
    /// The back end takes no samples.
    #[error("the back end {backend} takes no samples")]
    NotTaken {
        /// Its name in the configuration.
        backend: &'static str,
    },
    /// The kernel sends them to a group of its packet log (nflog).
    #[error("nftables gives samples to the packet log's group {group}; read them with `tcpdump -i nflog:{group}`")]
    PacketLog {
        /// The group's number.
        group: u16,
    },
    /// The kernel has them in a group of psample.
    #[error(
        "flower gives samples to group {group} of the kernel's psample; read them with a program such as hsflowd or `psample -g {group}`"
    )]
    Psample {
        /// The group's number.
        group: u32,
    },
}
