//! Exit statuses.

/// Everything was done.
pub(crate) const OK: u8 = 0;
/// Some input had errors, or the answer is no. (2 is clap's, for a wrong command line.)
pub(crate) const NEGATIVE: u8 = 1;
/// The daemon does not answer.
pub(crate) const UNREACHABLE: u8 = 3;
/// CRITICAL for Nagios; only `health --nagios` ends with it.
pub(crate) const CRITICAL: u8 = 2;
