//! The limit of open files and sockets of this process: clients of the API must leave enough for
//! sessions, the state file and the data plane.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The highest useful limit. Child processes inherit it, and some iterate over all descriptors.
pub(crate) const MAX_DESCRIPTORS: u64 = 65_536;

/// Raises the soft limit to the hard limit, up to [`MAX_DESCRIPTORS`].
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` means no limit.
    let most = maximum.map_or(MAX_DESCRIPTORS, |maximum| maximum.min(MAX_DESCRIPTORS));
    if current.is_some_and(|current| current < most)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum })
    {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// The current soft limit.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
