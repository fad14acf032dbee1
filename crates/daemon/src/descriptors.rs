//! How many files and sockets this process may have open: what clients may take of them must leave enough for sessions, state and filters.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as are of use; programs that we start inherit the limit, and some go through all numbers.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit as far as the hard one allows.
pub(crate) fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard)
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// How many may be open at once.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}
