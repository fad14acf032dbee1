//! How many files and sockets this process may have open: what clients may take of them must leave enough for sessions, state and filters.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as are of use; programs that we start inherit the limit, and some go through all numbers.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit as far as the hard one allows.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let most = maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if current.is_some_and(|current| current < most)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum })
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// How many may be open at once.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
